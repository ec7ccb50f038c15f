//! The example's reader of preference pairs: any bytes give pairs or one error with its line; pairs that
//! are written again are read again.

#[path = "../../../examples/finetune/jsonl.rs"]
mod reader;

use serde_json::json;

pub fn check(data: &[u8]) {
    if let Err(why) = accepts(data, &reader::parse("fuzz", data)) {
        panic!("{why}\n{:?}", String::from_utf8_lossy(data));
    }
}

type Read = Result<Vec<reader::Pair>, reader::DataError>;

fn accepts(data: &[u8], read: &Read) -> Result<(), String> {
    let lines = data.split(|&byte| byte == b'\n').count();
    match read {
        Err(why) => {
            let message = why.to_string();
            if !message.starts_with("fuzz:") || why.line.is_some_and(|n| n == 0 || n > lines) {
                return Err(format!("{lines} lines: {message}"));
            }
        }
        Ok(pairs) => {
            if pairs.is_empty() || pairs.len() > lines {
                return Err(format!("{} pairs in {lines} lines", pairs.len()));
            }
            let write = |pair: &reader::Pair| {
                let reader::Pair { prompt, chosen, rejected } = pair;
                format!("{}\n", json!({"prompt": prompt, "chosen": chosen, "rejected": rejected}))
            };
            let again: String = pairs.iter().map(write).collect();
            if reader::parse("fuzz", again.as_bytes()).as_ref() != Ok(pairs) {
                return Err(format!("{pairs:?} are not read again from {again}"));
            }
        }
    }
    Ok(())
}

/// Readings that [`accepts`] must reject.
pub fn planted_faults() -> Vec<(&'static str, Result<(), String>)> {
    let line = br#"{"prompt":"p","chosen":"c","rejected":"r"}"#;
    let pair = |chosen: &str| reader::Pair {
        prompt: "p".into(),
        chosen: chosen.into(),
        rejected: "r".into(),
    };
    let error = |file: &str, line| {
        let problem = reader::Problem::BlankLine;
        Err(reader::DataError { file: file.into(), line, problem })
    };
    vec![
        ("no pair", accepts(line, &Ok(vec![]))),
        ("two pairs in a line", accepts(line, &Ok(vec![pair("a"), pair("b")]))),
        ("an answer that is empty", accepts(line, &Ok(vec![pair("")]))),
        ("identical answers", accepts(line, &Ok(vec![pair("r")]))),
        ("another file", accepts(line, &error("other", None))),
        ("line 0", accepts(line, &error("fuzz", Some(0)))),
        ("a line past the last", accepts(line, &error("fuzz", Some(2)))),
    ]
}
