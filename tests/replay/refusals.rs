//! Manifests and logits that cannot be used, each refused by what was found and where.

use std::ffi::OsString;
use std::fs;

use serde_json::{Value, json};

use crate::replay;
use crate::synthetic::Dump;
use crate::{edited, faulty, run};

#[test]
fn malformed_manifests_are_named() {
    let edit = |name: &str, edit: &dyn Fn(&mut Value), words: &[&str]| {
        faulty(&edited(name, edit), words);
    };
    edit("no-beta", &|m| drop(m.as_object_mut().unwrap().remove("beta")), &["beta", "missing"]);
    edit("beta", &|m| m["beta"] = json!(0), &["beta: beta is 0 but must be finite and > 0"]);
    edit(
        "misspelt",
        &|m| m["label_smooting"] = json!(0.1),
        &["unknown field label_smooting; known are source, file, "],
    );
    edit("dtype", &|m| m["dtype"] = json!("f64"), &["dtype: none of f32, f16, bf16"]);
    edit("role", &|m| m["spans"][1]["role"] = json!("best"), &["spans[1].role"]);
    edit("twice", &|m| m["spans"][1]["role"] = json!("chosen"), &["spans[1].pair"]);
    edit("gap", &|m| m["spans"][3]["pair"] = json!(2), &["spans: each pair"]);
    edit(
        "end",
        &|m| m["spans"][2]["end"] = json!(-1),
        &["spans[2].end: -1 where a count is needed"],
    );
    edit("rows", &|m| m["spans"][3]["end"] = json!(99), &["span 3 is", "manifest.json"]);
    edit(
        "target",
        &|m| m["targets"][0] = json!(37),
        &["targets[0]: 37 is not a token id below 37"],
    );
    edit("few", &|m| drop(m["targets"].as_array_mut().unwrap().pop()), &["targets: 8 entries"]);
    edit(
        "text",
        &|m| m["targets"][4] = json!("the"),
        &["targets[4]: a string where a token id, a whole number of 32 bits, is needed"],
    );
    edit("losses", &|m| m["expected"]["pair_losses"] = json!([0.1]), &["expected.pair_losses: 1"]);
    edit(
        "entry",
        &|m| m["expected"]["grad_entries"][1] = json!([0, 37, 0.0]),
        &["grad_entries[1]"],
    );
    edit("cap", &|m| m["transform"]["softcap"] = json!(-3), &["transform: softcap is -3"]);
    edit("both", &|m| m["reference_sequence_logps"] = json!([0, 0, 0, 0]), &["either reference"]);
    edit("file", &|m| m["file"] = json!("elsewhere.bf16"), &["elsewhere.bf16"]);
}

#[test]
fn logits_of_the_wrong_length_are_named() {
    let mut dump = Dump::new("short", "bf16");
    dump.logits.pop();
    faulty(&dump, &["logits.bf16: 719 bytes where 9 rows of 40 in bf16 are needed"]);
}

#[test]
fn logits_that_are_not_numbers_are_named() {
    let mut dump = Dump::new("nan", "bf16");
    // The second row of the first sequence: a quiet NaN.
    dump.logits[2 * 40..2 * 40 + 2].copy_from_slice(&[0xC0, 0x7F]);
    faulty(&dump, &["manifest.json", "row 1 is NaN"]);
}

/// Trainers' targets are i64, with −100 where nothing is scored.
#[test]
fn targets_are_read_as_trainers_write_them() {
    let ignored = |name: &str, written: Value, ignore: Option<Value>| {
        let dump = edited(name, |m| {
            m["targets"][2] = written;
            match ignore {
                Some(ignore) => m["ignore_index"] = ignore,
                None => drop(m.as_object_mut().unwrap().remove("ignore_index")),
            }
        });
        let (status, out) = run(&dump, &[]);
        assert_eq!(status, 0, "{name}: {out}");
    };
    ignored("minus-100", json!(-100), None);
    ignored("minus-100-unsigned", json!(4_294_967_196_u32), None);
    ignored("minus-1", json!(-1), Some(json!(-1)));
    ignored("minus-1-unsigned", json!(4_294_967_295_u32), Some(json!(-1)));
    ignored("past-the-vocabulary", json!(37), Some(json!(37)));
}

/// A target that is no token is named as it was meant, with the way to ignore it.
#[test]
fn negative_targets_are_named_with_their_sign() {
    let named = |name: &str, written: Value, target: &str, ignore: &str| {
        let dump = edited(name, |m| {
            m["targets"][4] = written;
            if ignore == "-100" {
                m.as_object_mut().unwrap().remove("ignore_index");
                m["targets"][2] = json!(-100);
            }
        });
        let message = format!(
            "manifest.json: targets[4]: {target} is not a token id below 37 (`vocab`); if it marks \
             rows that are not scored, set `ignore_index` to {target} (it is {ignore})\n"
        );
        faulty(&dump, &[&message]);
    };
    named("target-minus-1", json!(-1), "-1", "-100");
    named("target-minus-1-unsigned", json!(4_294_967_295_u32), "-1", "-100");
    named("target-minus-100", json!(-100), "-100", "7");
    named("target-lowest", json!(i32::MIN), "-2147483648", "7");
    named("target-2-31", json!(1_u32 << 31), "-2147483648", "7");
    named("target-vocab", json!(37), "37", "7");
    for (name, written) in [
        ("wide", json!(4_294_967_296_u64)),
        ("low", json!(-2_147_483_649_i64)),
        ("float", json!(-100.0)),
    ] {
        let message = format!("targets[4]: {written} where a token id, a whole number of 32 bits,");
        faulty(&edited(name, |m| m["targets"][4] = written), &[&message]);
    }
}

#[test]
fn values_of_the_wrong_shape_are_named_by_what_they_are() {
    let edit = |name: &str, edit: &dyn Fn(&mut Value), message: &str| {
        faulty(&edited(name, edit), &["manifest.json: ", message]);
    };
    edit("list", &|m| *m = json!([m]), "the manifest: a list where an object is needed");
    edit("nested", &|m| m["targets"] = json!([[1, 2]]), "targets: 1 entries where 9 are needed");
    edit("object", &|m| m["targets"] = json!({}), "targets: an object where a list is needed");
    edit("span", &|m| m["spans"][0] = json!([0, 2]), "spans[0]: a list where an object is needed");
    edit("half", &|m| m["rows"] = json!(9.5), "rows: 9.5 where a count is needed");
    edit("word", &|m| m["file"] = json!(true), "file: true or false where a string is needed");
    edit("beta-text", &|m| m["beta"] = json!([]), "beta: a list where a number is needed");
    edit(
        "quoted",
        &|m| m["beta"] = json!("0.25"),
        "beta: a string where a number, or \"inf\" or \"-inf\", is needed",
    );
    edit(
        "tolerance",
        &|m| m["tolerances"] = json!({"loss": -1e-6}),
        "tolerances.loss: -1e-6 where a bound of at least 0 is needed",
    );
}

/// Infinite figures stand as strings and are held to; NaN is no figure.
#[test]
fn figures_that_are_not_finite_are_held_to_or_named() {
    let nan = "NaN, which no figure can be held to: leave it out";
    for (name, edit) in [
        ("expected.loss", (|m| m["expected"]["loss"] = json!("nan")) as fn(&mut Value)),
        ("expected.pair_losses[1]", |m| m["expected"]["pair_losses"][1] = json!("NaN")),
        ("expected.pair_losses[0]", |m| m["expected"]["pair_losses"][0] = json!(null)),
        ("tolerances.token_log_prob", |m| m["tolerances"] = json!({"token_log_prob": "nan"})),
    ] {
        faulty(&edited(&format!("nan-{name}"), edit), &[&format!("{name}: {nan}")]);
    }
    for word in ["inf", "-inf", "Infinity", "-Infinity"] {
        let dump = edited(&format!("figure{word}"), |m| m["expected"]["loss"] = json!(word));
        let expected = if word.starts_with('-') { "expected -inf" } else { "expected inf" };
        faulty(&dump, &["mean loss", expected, "OUT OF TOLERANCE"]);
    }
}

/// The manifest as text, for what no JSON value holds.
fn faulty_text(name: &str, edit: impl Fn(String) -> String, message: &str) {
    let dump = Dump::new(name, "bf16");
    let path = dump.write();
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, edit(text)).unwrap();
    let mut err = Vec::new();
    let status = replay::run([OsString::from(&path)].into_iter(), &mut Vec::new(), &mut err);
    let err = String::from_utf8(err).unwrap();
    assert_eq!((status, err), (1, format!("replay: {path}: no manifest: {message}\n")), "{name}");
}

#[test]
fn text_that_is_not_json_is_named() {
    let python = "is not JSON, though Python writes it: write null, or a string such as \"-inf\"";
    for word in ["NaN", "Infinity", "-Infinity"] {
        let edit = |_| format!("{{\n\"rows\": 9,\n\"beta\": {word}}}");
        // `-Infinity` goes wrong behind its sign.
        let column = 9 + usize::from(word.starts_with('-'));
        let message = format!("line 3, column {column}: `{word}` {python}");
        faulty_text(&format!("python{word}"), edit, &message);
    }
    let large =
        "a number above the largest f64: write the string \"inf\" or \"-inf\" if it is meant";
    let message = format!("line 1, column 14: {large}");
    faulty_text("large", |_| "{\"beta\": 1e999}".to_owned(), &message);
    let message = "line 1, column 2: a single quote is not JSON but what Python prints: write the file by \
                   json.dumps, not by str or print";
    faulty_text("quotes", |_| "{'beta': 1}".to_owned(), message);
    let deep = |_| format!("{{\"beta\": {}", "[".repeat(100_000));
    let message = "line 1, column 136: lists or objects inside one another, more than 127 deep";
    faulty_text("deep", deep, message);
    let cut = |text: String| text[..20].to_owned();
    faulty_text("cut", cut, "line 1, column 20: the text ends inside a value: was it cut off?");
    faulty_text(
        "empty",
        |_| String::new(),
        "line 1, column 0: the text ends inside a value: was it cut off?",
    );
    let twice = |text: String| format!("{{}}\n\u{feff}{text}");
    let message = "line 2, column 1: a byte-order mark (U+FEFF) inside the file, as if files had been \
                   joined: remove it";
    faulty_text("joined", twice, message);
    let two = |text: String| format!("{{}}\n{text}");
    faulty_text("two", two, "line 2, column 1: not JSON: trailing characters");
}

#[test]
fn a_byte_order_mark_at_the_start_is_accepted() {
    let dump = Dump::new("marked", "bf16");
    let path = dump.write();
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, format!("\u{feff}{text}")).unwrap();
    let mut err = Vec::new();
    let status = replay::run([OsString::from(&path)].into_iter(), &mut Vec::new(), &mut err);
    assert_eq!(status, 0, "{}", String::from_utf8_lossy(&err));
}
