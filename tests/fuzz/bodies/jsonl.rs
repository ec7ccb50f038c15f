//! The example's reader of preference pairs: any bytes give pairs or one error with its line; pairs
//! that are written again, in any form, are read again as the same text.

#[path = "../../../examples/finetune/jsonl/mod.rs"]
mod reader;

use serde_json::{Value, json};

use reader::Pair;
use reader::problem::{DataError, Problem};

pub fn check(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let mut parts = text.splitn(3, '/');
    let [question, yes, no] = [(); 3].map(|()| parts.next().unwrap_or_default());
    let checked = accepts(data, &reader::parse("fuzz", data), read)
        .and_then(|()| forms(question, yes, no, read));
    if let Err(why) = checked {
        panic!("{why}\n{:?}", String::from_utf8_lossy(data));
    }
}

type Read = Result<Vec<Pair>, DataError>;

fn read(text: &str) -> Read {
    reader::parse("fuzz", text.as_bytes())
}

fn accepts(data: &[u8], found: &Read, read: fn(&str) -> Read) -> Result<(), String> {
    let lines = data.split(|&byte| byte == b'\n').count();
    match found {
        Err(why) => {
            let message = why.to_string();
            if !message.starts_with("fuzz:") || why.line.is_some_and(|n| n == 0 || n > lines) {
                return Err(format!("{lines} lines: {message}"));
            }
            if message.contains('\n') {
                return Err(format!("more than one line: {message}"));
            }
        }
        Ok(pairs) => {
            if pairs.is_empty() || pairs.len() > lines {
                return Err(format!("{} pairs in {lines} lines", pairs.len()));
            }
            let again: String = pairs.iter().map(|pair| line(&as_text(pair))).collect();
            if read(&again).as_ref() != Ok(pairs) {
                return Err(format!("{pairs:?} are not read again from {again}"));
            }
            for Pair { prompt, chosen, rejected } in pairs {
                forms(prompt, chosen, rejected, read)?;
            }
        }
    }
    Ok(())
}

fn line(value: &Value) -> String {
    format!("{value}\n")
}

fn as_text(Pair { prompt, chosen, rejected }: &Pair) -> Value {
    json!({"prompt": prompt, "chosen": chosen, "rejected": rejected})
}

/// A question with two answers, in every form that can say it, is the same text pair.
fn forms(question: &str, yes: &str, no: &str, read: fn(&str) -> Read) -> Result<(), String> {
    let tag = "\n\nAssistant:";
    let answer = |x: &str| if x.is_empty() { String::new() } else { format!(" {x}") };
    let (prompt, chosen, rejected) =
        (format!("\n\nHuman: {question}{tag}"), answer(yes), answer(no));
    let user = json!({"role": "user", "content": question});
    let parts = json!({"role": "user", "content": [{"type": "text", "text": question}]});
    let [chosen_said, rejected_said] =
        [yes, no].map(|x| json!({"role": "assistant", "content": x}));
    let mut written = vec![
        json!({"prompt": [user], "chosen": [chosen_said], "rejected": [rejected_said]}),
        json!({"prompt": [parts], "chosen": [chosen_said], "rejected": [rejected_said]}),
        json!({"chosen": [user, chosen_said], "rejected": [user, rejected_said]}),
        json!({"prompt": question, "chosen": [user, chosen_said], "rejected": [parts, rejected_said]}),
    ];
    // The last mark that both have in common ends the prompt, so the answers must not bring one.
    if !(yes.contains(tag) && no.contains(tag)) {
        let [chosen, rejected] = [&chosen, &rejected].map(|answer| format!("{prompt}{answer}"));
        written.push(json!({"chosen": chosen, "rejected": rejected}));
    }
    let want = Pair { prompt, chosen, rejected };
    written.push(as_text(&want));
    let text: String = written.iter().map(line).collect();
    match read(&text) {
        Ok(pairs) if pairs == vec![want.clone(); written.len()] => Ok(()),
        other => Err(format!("{want:?} became {other:?} by way of {text}")),
    }
}

/// Readings that [`accepts`] must reject.
pub fn planted_faults() -> Vec<(&'static str, Result<(), String>)> {
    let line = br#"{"prompt":"p","chosen":"c","rejected":"r"}"#;
    let pair =
        |chosen: &str| Pair { prompt: "p".into(), chosen: chosen.into(), rejected: "r".into() };
    let error = |file: &str, line, problem| Err(DataError { file: file.into(), line, problem });
    let blank = |file: &str, line| error(file, line, Problem::BlankLine);
    let path = "chosen\n".to_owned();
    let one = Ok(vec![pair("c")]);
    let accepts_line = |found: &Read| accepts(line, found, read);
    // Readers that err in one form only.
    let swapped = |text: &str| {
        let mut pairs = read(text)?;
        for Pair { chosen, rejected, .. } in &mut pairs {
            std::mem::swap(chosen, rejected);
        }
        Ok(pairs)
    };
    let without_space = |text: &str| {
        let mut pairs = read(text)?;
        for pair in &mut pairs {
            pair.chosen = pair.chosen.trim_start().to_owned();
        }
        Ok(pairs)
    };
    let without_messages = |text: &str| {
        let problem = Problem::NoPairs;
        let refusal = Err(DataError { file: "fuzz".into(), line: None, problem });
        if text.contains("role") { refusal } else { read(text) }
    };
    vec![
        ("no pair", accepts_line(&Ok(vec![]))),
        ("two pairs in a line", accepts_line(&Ok(vec![pair("a"), pair("b")]))),
        ("another file", accepts_line(&blank("other", None))),
        ("line 0", accepts_line(&blank("fuzz", Some(0)))),
        ("a line past the last", accepts_line(&blank("fuzz", Some(2)))),
        (
            "a message of two lines",
            accepts_line(&error("fuzz", Some(1), Problem::Missing { path })),
        ),
        ("answers swapped", accepts(line, &one, swapped)),
        ("answers without their space", accepts(line, &one, without_space)),
        ("messages refused", accepts(line, &one, without_messages)),
    ]
}
