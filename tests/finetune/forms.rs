//! The forms in which trainers write a pair: each becomes the same text, or is refused by name.

use serde_json::{Value, json};

use crate::finetune::jsonl;
use crate::pair;
use crate::reader::refused;

const QUESTION: &str = "Is the bridge open?";

fn message(role: &str, content: &str) -> Value {
    json!({"role": role, "content": content})
}

#[track_caller]
fn read(line: &Value) -> jsonl::Pair {
    let mut pairs = jsonl::parse("f", line.to_string().as_bytes()).expect("a pair");
    assert_eq!(pairs.len(), 1, "one line is one pair: {line}");
    pairs.remove(0)
}

#[track_caller]
fn refuse(line: &Value, message: &str) {
    refused(line.to_string().as_bytes(), &format!("f:1: {message}"));
}

/// One pair, in all forms.
#[test]
fn every_form_becomes_the_same_text() {
    let user = message("user", QUESTION);
    let (yes, no) = (message("assistant", "It is."), message("assistant", "It is not."));
    let prompt = "\n\nHuman: Is the bridge open?\n\nAssistant:";
    let parts = json!({"role": "user", "content": [
        {"type": "text", "text": "Is the "}, {"type": "text", "text": "bridge open?"},
    ]});
    let forms = [
        json!({"prompt": prompt, "chosen": " It is.", "rejected": " It is not."}),
        json!({"chosen": format!("{prompt} It is."), "rejected": format!("{prompt} It is not.")}),
        json!({"prompt": [user], "chosen": [yes], "rejected": [no]}),
        json!({"prompt": [parts], "chosen": [yes], "rejected": [no]}),
        json!({"chosen": [user, yes], "rejected": [user, no]}),
        json!({"prompt": QUESTION, "chosen": [user, yes], "rejected": [parts, no], "score": [1]}),
        json!({
            "chosen": [{"role": "user", "content": QUESTION, "name": null}, yes],
            "rejected": [user, no],
        }),
    ];
    let lines = forms.each_ref().map(Value::to_string).join("\n");
    let pairs = jsonl::parse("f", lines.as_bytes()).expect("forms may differ from line to line");
    assert_eq!(pairs, vec![pair(prompt, " It is.", " It is not."); forms.len()], "in every form");
}

#[test]
fn conversations_keep_their_turns() {
    let talk = |last: &str| {
        json!([
            message("system", "Be brief."),
            message("user", "a"),
            message("assistant", "b"),
            message("user", "c"),
            message("assistant", last),
        ])
    };
    let found = read(&json!({"chosen": talk("d"), "rejected": talk("e")}));
    let prompt = "\n\nSystem: Be brief.\n\nHuman: a\n\nAssistant: b\n\nHuman: c\n\nAssistant:";
    assert_eq!(found, pair(prompt, " d", " e"), "the whole conversation is the prompt");

    // An answer of several turns; and the shared answer before them is not the end of the prompt.
    let (user, more) = (message("user", "a"), message("user", "more"));
    let (b, d) = (message("assistant", "b"), message("assistant", "d"));
    let found = read(&json!({"chosen": [user, b, more, d], "rejected": [user, b]}));
    let long = " b\n\nHuman: more\n\nAssistant: d";
    assert_eq!(found, pair("\n\nHuman: a\n\nAssistant:", long, " b"), "turns of an answer");
}

/// By hand: where two texts part.
#[test]
fn the_prompt_of_two_texts_is_their_common_beginning() {
    for (chosen, rejected, want) in [
        // hh-rlhf: behind the last tag, even where the answers begin alike or hold tags of their
        // own.
        (
            "\n\nHuman: a\n\nAssistant: I am",
            "\n\nHuman: a\n\nAssistant: I was",
            pair("\n\nHuman: a\n\nAssistant:", " I am", " I was"),
        ),
        (
            "\n\nHuman: a\n\nAssistant: b\n\nHuman: c\n\nAssistant: d",
            "\n\nHuman: a\n\nAssistant: e",
            pair("\n\nHuman: a\n\nAssistant:", " b\n\nHuman: c\n\nAssistant: d", " e"),
        ),
        // Others: before the last white space, so that no word and no character is split.
        ("Q: car? A: cat", "Q: car? A: car", pair("Q: car? A:", " cat", " car")),
        ("to be", "to be sure", pair("to", " be", " be sure")),
        ("na\u{ef}ve é", "na\u{ef}ve è", pair("na\u{ef}ve", " é", " è")),
        ("same text", "same text", pair("same", " text", " text")),
    ] {
        let found = read(&json!({"chosen": chosen, "rejected": rejected}));
        assert_eq!(found, want, "{chosen:?} and {rejected:?}");
    }
    let none = "the field `prompt` is missing, and `chosen` and `rejected` begin with no whole word in \
                common that could be it: give it as `prompt`";
    for (chosen, rejected) in [("yes", "no"), ("yes sir", "yes"), (" a", " b"), ("", "")] {
        refuse(&json!({"chosen": chosen, "rejected": rejected}), none);
    }
}

#[test]
fn messages_out_of_place_are_named() {
    let user = message("user", QUESTION);
    let (yes, no) = (message("assistant", "Yes."), message("assistant", "No."));
    let with_prompt = |prompt: Value, message: &str| {
        refuse(&json!({"prompt": prompt, "chosen": [yes], "rejected": [no]}), message);
    };
    with_prompt(json!([]), "`prompt` is an empty list of messages");
    with_prompt(
        json!([user, yes]),
        "the last message of `prompt` is the assistant's, which the answer would follow without a \
         question: move it into `chosen` and `rejected`",
    );
    with_prompt(
        json!(["hello"]),
        "`prompt[0]` is a string where a message, {\"role\": …, \"content\": …}, is needed",
    );
    with_prompt(json!([{"from": "human", "value": "x"}]), "the field `prompt[0].role` is missing");
    with_prompt(json!([user, {"role": "user"}]), "the field `prompt[1].content` is missing");
    let roles = "only system, user and assistant have a place in the text";
    with_prompt(json!([message("tool", "x")]), &format!("`prompt[0].role` is `tool`: {roles}"));
    let long = format!("`prompt[0].role` is `{}…`: {roles}", "x".repeat(40));
    with_prompt(json!([message(&"x".repeat(1000), "x")]), &long);
    let contents = |content: Value, message: &str| {
        with_prompt(json!([user, {"role": "user", "content": content}]), message);
    };
    let wanted = "where a string or a list of text parts is needed";
    contents(json!(null), &format!("`prompt[1].content` is null {wanted}"));
    contents(json!(3), &format!("`prompt[1].content` is a number {wanted}"));
    contents(json!([]), "`prompt[1].content` is an empty list of parts");
    contents(
        json!([{"type": "text", "text": "see"}, {"type": "image", "url": "x"}]),
        "`prompt[1].content[1].type` is `image`: only parts of type `text` can be read",
    );
    contents(json!([{"type": "text"}]), "the field `prompt[1].content[0].text` is missing");
    contents(
        json!(["text"]),
        "`prompt[1].content[0]` is a string where a part, {\"type\": \"text\", \"text\": …}, is needed",
    );
    refuse(
        &json!({"prompt": [user], "chosen": [], "rejected": [no]}),
        "`chosen` is an empty list of messages",
    );
    refuse(
        &json!({"prompt": [user], "chosen": [yes], "rejected": [user, no]}),
        "`rejected`: the answer begins with a message of the user, not of the assistant",
    );
}

#[test]
fn forms_that_contradict_each_other_are_named() {
    let user = message("user", QUESTION);
    let (yes, no) = (message("assistant", "Yes."), message("assistant", "No."));
    let both = "write both as strings or both as lists of messages";
    refuse(
        &json!({"prompt": "p", "chosen": [yes], "rejected": "No."}),
        &format!("`chosen` is a list of messages and `rejected` a string: {both}"),
    );
    refuse(
        &json!({"prompt": [user], "chosen": "Yes.", "rejected": "No."}),
        &format!("`prompt` is a list of messages and `chosen` a string: {both}"),
    );
    let missing = "the field `prompt` is missing, and `chosen` and `rejected` begin with no message in \
                   common that could be it: give it as `prompt`";
    refuse(&json!({"chosen": [yes], "rejected": [no]}), missing);
    refuse(&json!({"chosen": [yes, user, no], "rejected": [yes, no]}), missing);
    refuse(
        &json!({"prompt": "Another?", "chosen": [user, yes], "rejected": [user, no]}),
        "`prompt` is a string, and no message with which both `chosen` and `rejected` begin has it as \
         its content: write it as a list of messages",
    );
}
