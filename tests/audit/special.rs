//! Tokens that are not scored, impossible or no numbers; other tokens; other files of the same
//! dump.

use serde_json::{Value, json};

use crate::files::{
    Tensor, bf16s, f32s, i64s, log_probs, logits, npy, positions, spans, tensors, tokens,
};
use crate::random::{Case, Random, bf16};
use crate::{folder, report, run};

fn causes(found: &Value) -> &[Value] {
    found["verdict"]["causes"].as_array().unwrap()
}

/// Tokens that one side has at −∞, 0, NaN, or does not score, are counted and named with the first;
/// the others agree, so nothing else is.
#[test]
fn masked_tokens_are_named() {
    let folder = folder("masked");
    let mut random = Random::new(3);
    let plain: Vec<f64> = (0..50).map(|_| -random.between(0.5, 6.0)).collect();
    let ids: Vec<i64> = (0..50).collect();
    let a = tensors(&folder.join("a.safetensors"), &[log_probs(&plain), tokens(&ids)]);
    for (how, value) in [
        ("-inf", f64::NEG_INFINITY),
        ("0", 0.0),
        ("not a number", f64::NAN),
        ("not a number", f64::INFINITY),
    ] {
        let mut other = plain.clone();
        (other[7], other[31], other[49]) = (value, value, value);
        let b = tensors(&folder.join("b.safetensors"), &[log_probs(&other), tokens(&ids)]);
        for (x, y, side) in [(&a, &b, "B"), (&b, &a, "A")] {
            let (status, found) = report(&[x, y], &folder);
            assert_eq!((status, causes(&found).len()), (1, 1), "{found:#}");
            let cause = &causes(&found)[0];
            let expected = json!(["masked_tokens", side, how, 3, 7]);
            let told = ["kind", "side", "how", "tokens", "first_row"].map(|name| &cause[name]);
            assert_eq!(json!(told), expected);
        }
        // On both sides alike, there is nothing to tell.
        if !value.is_finite() {
            let (status, found) = report(&[&b, &b], &folder);
            assert_eq!((status, causes(&found).len()), (0, 0));
            assert_eq!(found["figures"]["tokens_compared"], 47);
        }
    }
    let mut unscored = ids.clone();
    (unscored[7], unscored[9]) = (-100, -1);
    let b = tensors(&folder.join("b.safetensors"), &[log_probs(&plain), tokens(&unscored)]);
    let (status, found) = report(&[&a, &b], &folder);
    let told = ["side", "how", "tokens", "first_row"].map(|name| &causes(&found)[0][name]);
    assert_eq!((status, json!(told)), (1, json!(["B", "not scored", 2, 7])));
    let b =
        tensors(&folder.join("b.safetensors"), &[log_probs(&plain), spans(&[[0, 20], [25, 50]])]);
    let (_, found) = report(&[&b, &a], &folder);
    let told = ["side", "how", "tokens", "first_row"].map(|name| &causes(&found)[0][name]);
    assert_eq!(json!(told), json!(["A", "not scored", 5, 20]));
}

/// Seven tokens to base 2 may be luck; eight are told.
#[test]
fn few_tokens_tell_nothing() {
    let folder = folder("few");
    for (count, kinds) in [(7, json!([])), (8, json!(["log_base"]))] {
        let mut random = Random::new(8);
        let plain: Vec<f64> = (0..count).map(|_| -random.between(0.5, 6.0)).collect();
        let other: Vec<f64> = plain.iter().map(|x| x / std::f64::consts::LN_2).collect();
        let a = tensors(&folder.join("a.safetensors"), &[log_probs(&plain)]);
        let b = tensors(&folder.join("b.safetensors"), &[log_probs(&other)]);
        let (status, found) = report(&[&a, &b], &folder);
        let named: Vec<_> = causes(&found).iter().map(|cause| &cause["kind"]).collect();
        assert_eq!((status, json!(named)), (1, kinds), "{found:#}");
        assert_eq!(found["verdict"]["notes"].to_string().contains("too few to tell"), count == 7);
    }
}

/// Log-probs in every type of floats.
#[test]
fn log_probs_are_read_in_every_type() {
    let folder = folder("types");
    // Numbers that all of the types hold.
    let x: Vec<f64> = (1..40).map(|i| -0.125 * f64::from(i)).collect();
    let halves: Vec<u8> = x.iter().flat_map(|&x| half(x).to_le_bytes()).collect();
    let doubles: Vec<u8> = x.iter().flat_map(|x| x.to_le_bytes()).collect();
    let plain = tensors(&folder.join("f32.safetensors"), &[log_probs(&x)]);
    for (dtype, bytes) in [("BF16", bf16s(&x)), ("F16", halves.clone()), ("F64", doubles.clone())] {
        let other = Tensor { dtype, bytes, ..log_probs(&x) };
        let other = tensors(&folder.join("other.safetensors"), &[other]);
        assert_eq!(report(&[&plain, &other, "--tolerance", "0"], &folder).0, 0, "{dtype}");
    }
    for (descr, bytes) in [("<f2", &halves), ("<f8", &doubles)] {
        let other = npy(&folder.join("other.npy"), descr, "(39,)", bytes);
        assert_eq!(report(&[&plain, &other, "--tolerance", "0"], &folder).0, 0, "{descr}");
    }
}

/// The bits of a normal f16 number: 5 of the exponent, 10 behind it.
fn half(x: f64) -> u16 {
    let bits = (x as f32).to_bits();
    let exponent = ((bits >> 23) & 0xff) + 15 - 127;
    ((bits >> 16) & 0x8000) as u16 | (exponent << 10) as u16 | ((bits >> 13) & 0x3ff) as u16
}

/// A cause is found beside masked tokens.
#[test]
fn masks_hide_no_cause() {
    let folder = folder("beside");
    let case = Case::new(&mut Random::new(4));
    let mut other = case.map(|x| x / 1.3).log_probs();
    (other[2], other[5]) = (f64::NEG_INFINITY, 0.0);
    let a = tensors(&folder.join("a.safetensors"), &[logits(&case, "F32"), tokens(&case.tokens)]);
    let b = tensors(&folder.join("b.safetensors"), &[log_probs(&other), tokens(&case.tokens)]);
    let (_, found) = report(&[&a, &b], &folder);
    let kinds: Vec<_> =
        causes(&found).iter().map(|cause| cause["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["masked_tokens", "masked_tokens", "temperature"], "{found:#}");
}

/// Rows of NaN, +inf or nothing but −inf have no log-prob; the others are compared.
#[test]
fn broken_rows_of_logits_leave_the_others() {
    let folder = folder("broken");
    let mut case = Case::new(&mut Random::new(5));
    let b = tensors(
        &folder.join("b.safetensors"),
        &[log_probs(&case.log_probs()), tokens(&case.tokens)],
    );
    case.logits[3][0] = f64::NAN;
    case.logits[8][1] = f64::INFINITY;
    case.logits[20].fill(f64::NEG_INFINITY);
    let token = case.tokens[30] as usize;
    case.logits[30][token] = f64::NEG_INFINITY;
    let a = tensors(&folder.join("a.safetensors"), &[logits(&case, "F32"), tokens(&case.tokens)]);
    let (status, found) = report(&[&a, &b], &folder);
    let told: Vec<_> =
        causes(&found).iter().map(|of| json!([of["how"], of["tokens"], of["first_row"]])).collect();
    assert_eq!((status, told), (1, vec![json!(["not a number", 3, 3]), json!(["-inf", 1, 30])]));
    assert_eq!(found["figures"]["tokens_compared"], case.tokens.len() - 4);
    assert_eq!(found["worst"][0]["delta"], "inf");
}

#[test]
fn other_tokens_are_a_different_tokenisation() {
    let folder = folder("tokens");
    let ids: Vec<i64> = (0..40).map(|i| 7 * i % 31).collect();
    let write = |name: &str, ids: &[i64]| {
        tensors(&folder.join(name), &[log_probs(&vec![-1.0; ids.len()]), tokens(ids)])
    };
    let a = write("a.safetensors", &ids);
    let mut other = ids.clone();
    other[17] = 30;
    let longer: Vec<i64> = [&ids[..], &[5, 6]].concat();
    for (ids, row, of_a, of_b) in
        [(&other, 17, json!(ids[17]), json!(30)), (&longer, 40, Value::Null, json!(5))]
    {
        let b = write("b.safetensors", ids);
        let (status, found) = report(&[&a, &b], &folder);
        let cause = &causes(&found)[0];
        assert_eq!(
            (status, &cause["kind"], &cause["row"]),
            (1, &json!("tokenisation"), &json!(row))
        );
        assert_eq!((&cause["token_a"], &cause["token_b"]), (&of_a, &of_b));
        let (_, out, _) = run(&[&a, &b]);
        assert!(out.contains(&format!("the tokens differ from row {row} on")), "{out}");
        // There is nothing to draw, which is said and not passed over; what else is asked for is
        // written.
        let (svg, json) = (folder.join("none.svg"), folder.join("tokens.json"));
        let asked = ["--svg", svg.to_str().unwrap(), "--json", json.to_str().unwrap()];
        let (status, out, _) = run(&[&[a.as_str(), b.as_str()][..], &asked].concat());
        assert!(status == 1 && !svg.exists() && out.contains("none.svg is not drawn"), "{out}");
        let found: Value = serde_json::from_slice(&std::fs::read(&json).unwrap()).unwrap();
        let notes = found["verdict"]["notes"].to_string();
        assert!(notes.contains("none.svg is not drawn"), "{found:#}");
    }
    // Neither a list that is mostly one token, nor one of which a fifth is no neighbour's, is a shift.
    let mut single = vec![4; 100];
    single[60] = 9;
    let one = write("one.safetensors", &[4; 100]);
    let (_, found) = report(&[&one, &write("b.safetensors", &single)], &folder);
    assert_eq!(
        (&causes(&found)[0]["kind"], &causes(&found)[0]["row"]),
        (&json!("tokenisation"), &json!(60))
    );
    let mut mostly = [&[3], &ids[..39]].concat();
    for row in (4..40).step_by(5) {
        mostly[row] = 99;
    }
    let (_, found) = report(&[&a, &write("b.safetensors", &mostly)], &folder);
    assert_eq!(causes(&found)[0]["kind"], "tokenisation", "{found:#}");
    // One row later, and earlier, of as many or fewer tokens.
    for (moved, by) in [
        ([&[3], &ids[..39]].concat(), 1),
        (ids[1..].to_vec(), -1),
        ([&ids[1..], &[3]].concat(), -1),
    ] {
        let (status, found) = report(&[&a, &write("b.safetensors", &moved)], &folder);
        let cause = &causes(&found)[0];
        assert_eq!(
            (status, &cause["kind"], &cause["by"]),
            (1, &json!("shifted_tokens"), &json!(by))
        );
    }
}

#[test]
fn other_positions_are_named() {
    let folder = folder("positions");
    let of = |name: &str, from: i64| {
        let places: Vec<i64> = (0..9).map(|i| if i < 4 { i } else { i + from }).collect();
        tensors(&folder.join(name), &[log_probs(&[-1.0; 9]), positions(&places)])
    };
    let (a, b) = (of("a.safetensors", 0), of("b.safetensors", 1));
    let (status, found) = report(&[&a, &b], &folder);
    let cause = &causes(&found)[0];
    assert_eq!((status, &cause["kind"], &cause["row"]), (1, &json!("positions"), &json!(4)));
    assert_eq!(report(&[&a, &a], &folder).0, 0);
}

/// Within sequences, a shift leaves the first token of each aside.
#[test]
fn shifts_stop_at_the_bounds_of_sequences() {
    let folder = folder("bounds");
    let mut random = Random::new(6);
    let plain: Vec<f64> = (0..60).map(|_| -random.between(0.0, 6.0)).collect();
    let moved: Vec<f64> = (0..60).map(|t| if t % 4 == 0 { -9.5 } else { plain[t - 1] }).collect();
    let cut: Vec<[i64; 2]> = (0..15).map(|i| [4 * i, 4 * i + 4]).collect();
    let a = tensors(&folder.join("a.safetensors"), &[log_probs(&plain), spans(&cut)]);
    let without = tensors(&folder.join("w.safetensors"), &[log_probs(&plain)]);
    let b = tensors(&folder.join("b.safetensors"), &[log_probs(&moved)]);
    let (_, found) = report(&[&a, &b], &folder);
    assert_eq!(causes(&found)[0]["kind"], "shifted_log_probs", "{found:#}");
    assert_eq!(causes(&found)[0]["evidence"]["tokens_used"], 45);
    // Without them a quarter of the tokens is not explained.
    assert_ne!(causes(&report(&[&without, &b], &folder).1), causes(&found));
}

/// Logits of a model beside the ids that it was given, one row off on both sides: the dumps agree, and
/// it is told all the same.
#[test]
fn rows_that_predict_other_tokens_are_told() {
    let folder = folder("misplaced");
    let case = Case::confident(&mut Random::new(11));
    for (by, which) in [(0_usize, ""), (1, "before"), (case.tokens.len() - 1, "after")] {
        let mut ids = case.tokens.clone();
        ids.rotate_right(by);
        let a = tensors(&folder.join("a.safetensors"), &[logits(&case, "F32"), tokens(&ids)]);
        let (status, found) = report(&[&a, &a], &folder);
        let notes = found["verdict"]["notes"].to_string();
        assert_eq!(
            (status, notes.matches("row t has to hold").count()),
            (0, if by == 0 { 0 } else { 2 }),
            "{notes}"
        );
        assert_eq!(notes.contains(&format!("by the row {which} their own")), by != 0, "{notes}");
    }
}

/// The same dump as safetensors, .npy and manifest, in every type, gives the same log-probs, bit
/// for bit.
#[test]
fn files_of_every_kind_hold_the_same() {
    let folder = folder("kinds");
    let case = Case::new(&mut Random::new(7)).map(bf16);
    let (rows, vocab) = (case.logits.len(), case.vocab);
    let flat = case.logits.concat();
    let ids = npy(&folder.join("ids.npy"), "<i8", &format!("({rows},)"), &i64s(&case.tokens));
    let shape = format!("({rows}, {vocab})");
    let single =
        tensors(&folder.join("f32.safetensors"), &[logits(&case, "F32"), tokens(&case.tokens)]);
    let half =
        tensors(&folder.join("bf16.safetensors"), &[logits(&case, "BF16"), tokens(&case.tokens)]);
    let array = npy(&folder.join("f32.npy"), "<f4", &shape, &f32s(&flat));
    let raw = npy(&folder.join("raw.npy"), "|V2", &shape, &bf16s(&flat));
    let unsigned = npy(&folder.join("u16.npy"), "<u2", &shape, &bf16s(&flat));
    // With padding that holds NaN.
    let padded: Vec<f64> =
        case.logits.iter().flat_map(|row| [&row[..], &[f64::NAN; 3]].concat()).collect();
    std::fs::write(folder.join("padded.f32"), f32s(&padded)).unwrap();
    let manifest = json!({
        "file": "padded.f32", "dtype": "f32", "rows": rows, "vocab": vocab, "stride": vocab + 3,
        "targets": case.tokens, "beta": 0.1, "reference_sequence_logps": [-1.0, -2.0],
        "spans": [
            { "start": 0, "end": 9, "pair": 0, "role": "chosen" },
            { "start": 9, "end": rows, "pair": 0, "role": "rejected" },
        ],
    });
    let path = folder.join("manifest.json");
    std::fs::write(&path, manifest.to_string()).unwrap();
    let path = path.to_str().unwrap();
    let exact = ["--tolerance", "0"];
    for (other, options) in [
        (half.as_str(), &[][..]),
        (&array, &["--tokens", &ids]),
        (&raw, &["--b-tokens", &ids, "--dtype", "bf16"]),
        (&unsigned, &["--b-tokens", &ids, "--dtype", "bf16"]),
        (path, &[]),
    ] {
        let arguments = [&[single.as_str(), other][..], options, &exact].concat();
        let (status, found) = report(&arguments, &folder);
        assert_eq!(status, 0, "{other}: {found:#}");
        assert_eq!(found["figures"]["tokens_compared"], rows);
    }
    // The control: one logit in another place.
    let mut other = flat.clone();
    other[vocab + 1] += 1.0;
    let array = npy(&folder.join("f32.npy"), "<f4", &shape, &f32s(&other));
    let arguments = [&[single.as_str(), &array, "--tokens", &ids][..], &exact].concat();
    let (status, found) = report(&arguments, &folder);
    assert_eq!((status, &found["worst"][0]["row"]), (1, &json!(1)));
    // A manifest that states a transform takes no other.
    let mut stated = manifest;
    stated["transform"] = json!({ "temperature": 2.0 });
    std::fs::write(folder.join("manifest.json"), stated.to_string()).unwrap();
    let (status, _, err) = run(&[&single, path, "--b-scale", "2"]);
    assert!(status == 2 && err.contains("its manifest states a transform"), "{err}");
    let (status, found) = report(&[&single, path, "--a-temperature", "2"], &folder);
    assert_eq!(status, 0, "{found:#}");
    let (_, found) = report(&[&single, path], &folder);
    assert_eq!(causes(&found)[0]["kind"], "missing_transform", "{found:#}");
}
