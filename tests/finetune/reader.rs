//! The reader of lines: what it accepts, and what it says of everything else.

use crate::finetune::jsonl;
use crate::{LINE, pair};

/// Fails unless the whole message is the one given.
#[track_caller]
pub(crate) fn refused(bytes: &[u8], message: &str) {
    let error = jsonl::parse("f", bytes).expect_err("a fault must be found");
    assert_eq!(error.to_string(), message, "for {:?}", String::from_utf8_lossy(bytes));
}

/// The line with a further field.
fn with_score(value: &str) -> String {
    LINE.replace('}', &format!(r#","score":{value}}}"#))
}

#[test]
fn reader_accepts_every_harmless_form() {
    let one = vec![pair("p", "c", "r")];
    for text in [
        LINE.to_owned(),
        format!("{LINE}\n"),
        format!("\u{feff}{LINE}\r\n"),
        format!("  {LINE}\t\n\n \r\n\n"),
        LINE.replace("\"p\"", "\"x\",\"prompt\":\"p\""),
    ] {
        assert_eq!(jsonl::parse("f", text.as_bytes()), Ok(one.clone()), "for {text:?}");
    }
    let two = jsonl::parse("f", format!("{LINE}\r\n{LINE}").as_bytes()).expect("two lines");
    assert_eq!(two.len(), 2, "two lines are two pairs");
    let escaped = r#"{"prompt":"","chosen":"\u00e9\n","rejected":"é"}"#;
    let escaped = jsonl::parse("f", escaped.as_bytes());
    assert_eq!(escaped, Ok(vec![pair("", "é\n", "é")]), "escapes, and an empty prompt is a prompt");
    let marked = LINE.replace("\"c\"", "\"\u{feff}c\"");
    let marked = jsonl::parse("f", marked.as_bytes());
    assert_eq!(marked, Ok(vec![pair("p", "\u{feff}c", "r")]), "U+FEFF inside a text is text");
}

/// What no f64, no recursion and no text could hold.
#[test]
fn unused_fields_may_hold_any_json() {
    let one = vec![pair("p", "c", "r")];
    let deep = |depth| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    let objects = format!("{}1{}", r#"{"a":"#.repeat(100_000), "}".repeat(100_000));
    for value in [
        "1e999",
        "-1e999",
        "123456789012345678901234567890",
        "0.1e-99999999999999999999",
        r#"[1,{"x":null}]"#,
        r#""\ud800""#,
        &deep(200),
        &deep(100_000),
        &objects,
    ] {
        let read = jsonl::parse("f", with_score(value).as_bytes());
        assert_eq!(read, Ok(one.clone()), "score {}", value.get(..40).unwrap_or(value));
    }
}

#[test]
fn reader_names_the_line_and_the_problem() {
    refused(b"", "f: the file has no preference pairs");
    refused(b"\xef\xbb\xbf \r\n\n", "f: the file has no preference pairs");
    refused(b"hello", "f:1: column 1: not JSON: expected value");
    refused(b"3.5", "f:1: a number, not an object with `chosen` and `rejected`");
    refused(b"\"p\"", "f:1: a string, not an object with `chosen` and `rejected`");
    refused(b"{}", "f:1: the field `chosen` is missing");
    refused(br#"{"prompt":"p","rejected":"r"}"#, "f:1: the field `chosen` is missing");
    refused(br#"{"prompt":"p","chosen":"c"}"#, "f:1: the field `rejected` is missing");
    let wanted = "where a string or a list of messages is needed";
    for (value, found) in [
        ("3", "a number"),
        ("-1e999", "a number"),
        ("null", "null"),
        ("true", "true or false"),
        ("{}", "an object"),
    ] {
        for name in ["prompt", "chosen", "rejected"] {
            let field = format!("\"{name}\":");
            let text = &LINE[LINE.find(&field).expect("the field") + field.len()..][..3];
            let line = LINE.replace(&format!("{field}{text}"), &format!("{field}{value}"));
            refused(line.as_bytes(), &format!("f:1: `{name}` is {found} {wanted}"));
        }
    }
    let bad_utf8 = [LINE.as_bytes(), b"\n{\"prompt\":\"", &[0xff]].concat();
    refused(&bad_utf8, "f:2: byte 12 of the line is not UTF-8: save the file as UTF-8");
    let utf16: Vec<u8> = LINE.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let utf16 = [&[0xff, 0xfe], utf16.as_slice()].concat();
    refused(&utf16, "f:1: byte 1 of the line is not UTF-8: save the file as UTF-8");
    let hole = format!("{LINE}\n\n{LINE}\n");
    refused(hole.as_bytes(), "f:2: a blank line between pairs: remove it");
    refused(
        LINE.replace("\"c\"", r#""\ud800""#).as_bytes(),
        "f:1: `chosen` is not text (unexpected end of hex escape): write the character whole",
    );
}

#[test]
fn what_python_writes_is_named() {
    for word in ["NaN", "Infinity", "-Infinity", "nan", "-inf"] {
        for value in [word.to_owned(), format!("[0, {word}]")] {
            let text = format!("{LINE}\n{}\n", with_score(&value));
            let line = with_score(&value);
            let column = line.find(word.trim_start_matches('-')).expect("the word") + 1;
            let message = format!(
                "f:2: column {column}: `{word}` is not JSON, though Python writes it: write null, or \
                 a string such as \"-inf\""
            );
            refused(text.as_bytes(), &message);
        }
    }
    let printed = |line: &str, column: usize, what: &str| {
        let advice = "is not JSON but what Python prints: write the file by json.dumps, not by str \
                      or print";
        refused(line.as_bytes(), &format!("f:1: column {column}: {what} {advice}"));
    };
    printed("{'prompt': 'p'}", 2, "a single quote");
    printed(&with_score("None"), 51, "`None`");
    printed(&with_score("True"), 51, "`True`");
    printed(&with_score("False"), 51, "`False`");
}

#[test]
fn files_of_another_shape_are_named() {
    let array = "f:1: a JSON array, not an object a line: `jq -c '.[]' FILE` writes a list's objects as lines";
    refused(b"[1]", array);
    refused(format!("[{LINE}, {LINE}]").as_bytes(), array);
    refused(format!("\u{feff} [\n  {LINE},\n  {LINE}\n]\n").as_bytes(), array);
    refused("[".repeat(100_000).as_bytes(), array);
    let unfinished = "the line ends inside its object: a pair takes one line (`jq -c . FILE` writes it \
                      so), or the file was cut off";
    let pretty = LINE.replace(',', ",\n  ");
    refused(pretty.as_bytes(), &format!("f:1: column 14: {unfinished}"));
    let cut = format!("{LINE}\n{}", &LINE[..20]);
    refused(cut.as_bytes(), &format!("f:2: column 20: {unfinished}"));
    let more = "f:1: column 43: more text after the object: one pair a line, no commas";
    refused(format!("{LINE}{LINE}").as_bytes(), more);
    refused(format!("{LINE},\n{LINE}").as_bytes(), more);
    let mark = "a byte-order mark (U+FEFF) inside the file, as if files had been joined: remove it";
    let joined = format!("\u{feff}{LINE}\n\u{feff}{LINE}\n");
    refused(joined.as_bytes(), &format!("f:2: column 1: {mark}"));
    let twice = format!("\u{feff}\u{feff}{LINE}\n");
    refused(twice.as_bytes(), &format!("f:1: column 1: {mark}"));
    let inside = LINE.replace(",\"chosen", ",\u{feff}\"chosen");
    refused(inside.as_bytes(), &format!("f:1: column 15: {mark}"));
}
