//! What cannot be audited is refused with file, field and numbers, and nothing is written.

use std::path::{Path, PathBuf};

use crate::files::{Tensor, f32s, i64s, log_probs, npy, positions, spans, tensors, tokens};
use crate::{folder, run};

/// A directory with a good dump.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Self {
        Self(folder(&format!("refusals-{name}")))
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn good(&self) -> String {
        tensors(&self.at("good.safetensors"), &[log_probs(&[-1.0, -2.0, -0.5]), tokens(&[3, 1, 2])])
    }
}

/// Refused with these words, and without a file.
#[track_caller]
fn refused(place: &Place, arguments: &[&str], words: &[&str]) {
    let (json, svg) = (place.at("no.json"), place.at("no.svg"));
    let mut all = arguments.to_vec();
    all.extend(["--json", json.to_str().unwrap(), "--svg", svg.to_str().unwrap()]);
    let (status, out, err) = run(&all);
    assert_eq!((status, out.as_str()), (2, ""), "{err}");
    for word in words {
        assert!(err.contains(word), "{word:?} is named in {err}");
    }
    assert!(err.starts_with("audit: ") && !Path::new(&json).exists() && !svg.exists(), "{err}");
}

#[test]
fn a_wrong_command_line_is_refused() {
    for (arguments, message) in [
        (&[][..], "0 dumps where two are needed; --help says more"),
        (&["a.npy"], "1 dumps where two are needed; --help says more"),
        (&["a", "b", "c"], "3 dumps where two are needed; --help says more"),
        (&["--fast", "1"], "there is no option `--fast`: --help lists them"),
        (&["--temperature", "1"], "there is no option `--temperature`: --help lists them"),
        (&["--clip"], "--clip needs a value"),
        (&["--clip", "-1"], "--clip takes a number of at least 0, not `-1`"),
        (&["--tolerance", "nan"], "--tolerance takes a number of at least 0, not `nan`"),
        (&["--a-temperature", "0"], "--a-temperature takes a number above 0, not `0`"),
        (&["--b-softcap", "inf"], "--b-softcap takes a number above 0, not `inf`"),
        (&["--worst", "-1"], "--worst takes a count, not `-1`"),
        (&["--dtype", "f8"], "--dtype takes bf16, not `f8`"),
        (&["--clip", "1", "--clip", "2"], "--clip is given twice"),
        (&["a.npy", "b.txt"], "a.npy"),
        (&["a.txt", "b.txt"], "a.txt: a dump is a .npy, .safetensors or .json (manifest) file"),
        (&["a.json", "b.json", "--tokens", "t.npy"], "--tokens and --positions are for .npy dumps"),
    ] {
        let (status, out, err) = run(arguments);
        assert_eq!((status, out.as_str()), (2, ""), "{arguments:?}");
        assert!(err.contains(message), "{message} is in {err}");
    }
    let (status, out, _) = run(&["--help"]);
    assert!(status == 0 && out.starts_with("usage: audit A B [options]"), "{out}");
}

#[test]
fn wrong_tensors_are_refused() {
    let place = Place::new("tensors");
    let good = place.good();
    let bad = place.at("bad.safetensors");
    let three = || log_probs(&[-1.0, -2.0, -0.5]);
    let logits = |vocab: usize| Tensor {
        name: "logits",
        dtype: "F32",
        shape: vec![3, vocab],
        bytes: f32s(&vec![0.0; 3 * vocab]),
    };
    let cases: Vec<(Vec<Tensor>, &[&str])> = vec![
        (vec![tokens(&[1, 2, 3])], &["either log_probs or logits is needed, neither are there"]),
        (vec![three(), logits(4)], &["either log_probs or logits is needed, both are there"]),
        (vec![log_probs(&[])], &["it holds no tokens"]),
        (vec![three(), tokens(&[1, 2])], &["2 tokens where 3 are needed"]),
        (vec![three(), positions(&[1, 2, 3, 4])], &["4 positions where 3 are needed"]),
        (vec![logits(4)], &["logits need their tokens"]),
        (vec![logits(4), tokens(&[1, 4, 2])], &["tokens[1]: 4 is not below 4 (vocabulary)"]),
        (vec![logits(0), tokens(&[1, 2, 3])], &["tokens[0]: 1 is not below 0"]),
        (vec![three(), spans(&[[0, 4]])], &["spans: 0 to 4 of 3 rows"]),
        (vec![three(), spans(&[[2, 1]])], &["spans: 2 to 1 of 3 rows"]),
        (vec![three(), spans(&[[0, 2], [1, 3]])], &["spans: 1 to 3 begins before 2"]),
        (vec![three(), spans(&[[-1, 2]])], &["spans: -1 to 2 are no rows"]),
        (
            vec![three(), Tensor { name: "weights", ..three() }],
            &["weights: unknown tensor; known are log_probs, logits, tokens, positions, spans"],
        ),
        (
            vec![Tensor { name: "log_probs", ..tokens(&[1, 2, 3]) }],
            &["log_probs: i64 where floats are needed"],
        ),
        (
            vec![three(), Tensor { name: "tokens", ..three() }],
            &["tokens: f32 where whole numbers are needed"],
        ),
        (
            vec![Tensor { shape: vec![3, 1], ..three() }],
            &["log_probs: shape [3, 1] where one dimension is needed"],
        ),
        (
            vec![Tensor { name: "logits", dtype: "F64", shape: vec![1, 1], bytes: vec![0; 8] }],
            &["logits are f32, f16 or bf16, not f64"],
        ),
        (
            vec![Tensor { dtype: "BOOL", shape: vec![12], ..three() }],
            &["BOOL is no type of floats or whole numbers"],
        ),
    ];
    for (all, words) in cases {
        let path = tensors(&bad, &all);
        let mut words = words.to_vec();
        words.push("bad.safetensors");
        refused(&place, &[&good, &path], &words);
        refused(&place, &[&path, &good], &words);
    }
    // A file that is cut, that goes on, and one that is none.
    let whole = std::fs::read(tensors(&bad, &[three()])).unwrap();
    let more = [whole.clone(), vec![0]].concat();
    for (bytes, words) in [
        (&whole[..5], "5 bytes, too few for a safetensors file"),
        (&whole[..20], "a header of "),
        (&whole[..whole.len() - 1], "11 bytes of elements where the header needs 12"),
        (&more[..], "13 bytes of elements where the header needs 12"),
        (b"\x02\0\0\0\0\0\0\0[]", "no safetensors header"),
    ] {
        std::fs::write(&bad, bytes).unwrap();
        refused(&place, &[&good, bad.to_str().unwrap()], &[words]);
    }
    refused(&place, &[&good, "/nowhere/x.safetensors"], &["/nowhere/x.safetensors: "]);
}

#[test]
fn wrong_arrays_are_refused() {
    let place = Place::new("arrays");
    let good = npy(&place.at("good.npy"), "<f4", "(3,)", &f32s(&[-1.0, -2.0, -0.5]));
    let ids = npy(&place.at("ids.npy"), "<i8", "(3,)", &i64s(&[0, 1, 2]));
    let flat = npy(&place.at("flat.npy"), "<i8", "(1, 3)", &i64s(&[0, 1, 2]));
    let cube = npy(&place.at("cube.npy"), "<f4", "(1, 1, 3)", &f32s(&[0.0; 3]));
    let raw = npy(&place.at("raw.npy"), "|V2", "(3, 2)", &[0; 12]);
    let logits = npy(&place.at("logits.npy"), "<f4", "(3, 2)", &f32s(&[0.0; 6]));
    let row = npy(&place.at("row.npy"), "<f4", "(1, 3)", &f32s(&[-1.0; 3]));
    let column = npy(&place.at("column.npy"), "<f4", "(3, 1)", &f32s(&[-1.0; 3]));
    let huge = npy(&place.at("huge.npy"), "<u8", "(3,)", &[0xff; 24]);
    for (arguments, words) in [
        (&[&good, &cube][..], "cube.npy: shape [1, 1, 3]: [T] are log-probs, [T, V] logits"),
        (&[&good, &logits], "logits.npy: logits need their tokens: --tokens FILE.npy\n"),
        (&[&good, &row], "--tokens FILE.npy; log-probs have one dimension, this has 1 x 3\n"),
        (&[&good, &column], "--tokens FILE.npy; log-probs have one dimension, this has 3 x 1\n"),
        (&[&good, &raw], "raw.npy: 2 bytes without a type where logits are needed: --dtype bf16"),
        (&[&good, &ids], "ids.npy: i64 where floats are needed"),
        (&[&good, &good, &"--tokens".into(), &flat], "flat.npy: shape [1, 3] where one dimension"),
        (&[&good, &good, &"--tokens".into(), &huge], "huge.npy: a number above 2^63 - 1"),
        (&[&good, &logits, &"--tokens".into(), &ids], "tokens[2]: 2 is not below 2 (vocabulary)"),
        (&[&good, &good, &"--dtype".into(), &"bf16".into()], "--dtype bf16: neither dump"),
        (&[&good, &good, &"--b-scale".into(), &"2".into()], "good.npy: a scale, softcap or"),
    ] {
        let arguments: Vec<&str> = arguments.iter().map(|x| x.as_str()).collect();
        refused(&place, &arguments, &[words]);
    }
    let other = place.good();
    let tokens = ["--b-tokens", ids.as_str()];
    let words = "good.safetensors: --tokens and --positions are for .npy files";
    refused(&place, &[&good, &other, tokens[0], tokens[1]], &[words]);
}

#[test]
fn dumps_of_other_lengths_are_refused() {
    let place = Place::new("lengths");
    let three = tensors(&place.at("three.safetensors"), &[log_probs(&[-1.0; 3])]);
    let four = tensors(&place.at("four.safetensors"), &[log_probs(&[-1.0; 4])]);
    let six = tensors(&place.at("six.safetensors"), &[log_probs(&[-1.0; 6])]);
    let hint = "does one leave out the first token";
    refused(
        &place,
        &[&three, &four],
        &["three.safetensors: 3 tokens", "four.safetensors: 4", hint],
    );
    refused(&place, &[&three, &six], &["3 tokens, ", "six.safetensors: 6; they must be as many"]);
    let (_, _, err) = run(&[&three, &six]);
    assert!(!err.contains(hint), "{err}");
}

#[test]
fn what_cannot_be_written_is_named() {
    let place = Place::new("written");
    let good = place.good();
    for option in ["--svg", "--json"] {
        let (status, out, err) = run(&[&good, &good, option, "/nowhere/x"]);
        assert_eq!((status, out.as_str()), (2, ""));
        assert!(err.contains("/nowhere/x: "), "{err}");
    }
}
