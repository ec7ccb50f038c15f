//! What is printed of each figure, and the verdict of each, both ways.

use dpo_kernel::{Arithmetic, Dispatch, Level};
use serde_json::{Value, json};

use crate::replay::compare::compare;
use crate::replay::manifest::Manifest;
use crate::replay::pipeline::{self, Found, Gradient};
use crate::replay::report::{Figure, Report, worst_and_typical};
use crate::replay::storage::Storage;
use crate::synthetic::Dump;
use crate::{edited, run};

const INF: f64 = f64::INFINITY;
const PORTABLE: [&str; 4] = ["--level", "baseline", "--arithmetic", "portable"];

/// What one dispatch prints of a dump.
fn printed(dump: &Dump) -> (u8, Vec<String>) {
    let (status, out) = run(dump, &PORTABLE);
    (status, out.lines().map(str::to_owned).collect())
}

/// The numbers of a line: behind `found`, `expected`, `error` and `of`.
fn numbers(line: &str) -> [f64; 4] {
    let words: Vec<&str> = line.split_whitespace().collect();
    let behind = |word: &str| {
        let place = words.iter().rposition(|other| *other == word).unwrap();
        words[place + 1].parse().unwrap_or_else(|_| panic!("a number behind {word} in {line}"))
    };
    ["found", "expected", "error", "of"].map(behind)
}

/// Every line of a dump's report in its order, each error and each bound computed anew.
#[test]
fn every_line_has_its_error_and_its_bound() {
    // Bits of a number, and the smallest half step.
    for (dtype, bits, least) in [("f32", 24, 150), ("f16", 11, 25), ("bf16", 8, 134)] {
        let dump = Dump::new(&format!("lines-{dtype}"), dtype);
        let expected = &dump.manifest["expected"];
        let (status, lines) = printed(&dump);
        assert_eq!(status, 0, "{lines:#?}");
        assert!(lines[0].ends_with("manifest.json"), "{}", lines[0]);
        assert_eq!(lines[1], format!("9 rows of 37 in {dtype}, 4 sequences, 2 pairs"));
        assert_eq!((lines[2].as_str(), lines[3].as_str()), ("the plain reference", ""));
        assert_eq!(lines[4], "baseline portable");
        assert!(lines[5].starts_with("  token log-probs: worst error "), "{}", lines[5]);
        assert!(lines[5].contains(" of 1.0e-5, typical ") && lines[5].ends_with(" of 2.0e-6"));
        let tokens = [2, 1, 1, 3];
        for (sequence, tokens) in tokens.into_iter().enumerate() {
            let start = format!("    sequence {sequence}: {tokens} tokens, worst error ");
            assert!(lines[6 + sequence].starts_with(&start), "{} is {start}", lines[6 + sequence]);
        }
        let number = |value: &Value| value.as_f64().unwrap();
        let list = |name: &str, i: usize| number(&expected[name][i]);
        let mut figures = Vec::new();
        for (i, tokens) in tokens.into_iter().enumerate() {
            let bound = 2e-6 * f64::from(tokens);
            figures.push((
                format!("log π of sequence {i}"),
                list("policy_sequence_logps", i),
                bound,
            ));
        }
        for (i, tokens) in tokens.into_iter().enumerate() {
            let bound = 2e-6 * f64::from(tokens);
            let value = list("reference_sequence_logps", i);
            figures.push((format!("log π_ref of sequence {i}"), value, bound));
        }
        for i in 0..2 {
            figures.push((format!("loss of pair {i}"), list("pair_losses", i), 1e-6));
        }
        figures.push(("mean loss".to_owned(), number(&expected["loss"]), 1e-6));
        let flushed = 2.0_f64.powi(-124);
        let (unit, step) = (2.0_f64.powi(-bits), 2.0_f64.powi(-least) + flushed);
        // Seven rows of 37 columns are scored.
        let places = [
            ("f32".to_owned(), 1e-5, 0.0),
            (format!("{dtype} in place"), 1e-5 + unit, 259.0 * step),
        ];
        for (place, relative, absolute) in places {
            let [l1, l2] = ["grad_l1", "grad_l2"].map(|name| number(&expected[name]));
            let of_l2 = relative * l2 + absolute / 259.0_f64.sqrt();
            figures.push((format!("gradient L1, {place}"), l1, relative * l1 + absolute));
            figures.push((format!("gradient L2, {place}"), l2, of_l2));
            figures.push((format!("gradient entries, {place}"), f64::NAN, f64::NAN));
        }
        let mut shown = lines[10..].iter();
        for (name, value, bound) in figures {
            let line = shown.next().unwrap().strip_prefix("  ").unwrap();
            assert!(line.starts_with(&name), "{line} is of {name}");
            if bound.is_nan() {
                let start = format!("{name}: 8 entries, worst [");
                assert!(line.starts_with(&start), "{line} starts with {start}");
                continue;
            }
            let [found, expected, error, of] = numbers(line);
            assert_eq!(expected.to_bits(), value.to_bits(), "{line}");
            assert_eq!(
                format!("{error:.1e}"),
                format!("{:.1e}", (found - expected).abs()),
                "{line}"
            );
            assert_eq!(format!("{of:.1e}"), format!("{bound:.1e}"), "{line}");
        }
        let differ = "  0 of 259 elements are not those in f32, rounded";
        let differ = differ.replacen("  ", &format!("  {dtype} in place: "), 1);
        assert_eq!(*shown.next().unwrap(), differ);
        let last = shown.next().unwrap();
        let start = "replay: baseline portable: 7 tokens, 2 pairs, worst token log-prob error ";
        assert!(last.starts_with(start) && last.ends_with(": ok"), "{last}");
        assert!(shown.next().is_none(), "nothing follows");
        let parts: Vec<&str> = last.split(", ").collect();
        assert!(parts[3].starts_with("typical ") && parts[4].starts_with("loss "), "{last}");
        assert!(parts[5].starts_with("grad L2 ") && parts[5].contains(" relative: ok"), "{last}");
        summary_repeats_the_lines(last, &lines);
    }
}

/// The last line has the errors of those above it.
fn summary_repeats_the_lines(last: &str, lines: &[String]) {
    let of = |start: &str| lines.iter().find(|line| line.trim_start().starts_with(start)).unwrap();
    let tokens = of("token log-probs: ");
    let word = |text: &str, behind: &str| -> String {
        let (_, rest) = text.split_once(behind).unwrap();
        rest.split([' ', ',', ':']).next().unwrap().to_owned()
    };
    assert_eq!(word(last, "worst token log-prob error "), word(tokens, "worst error "));
    assert_eq!(word(last, ", typical "), word(tokens, "typical "));
    assert_eq!(word(last, ", loss "), word(of("mean loss"), " error "));
    let [found, expected, ..] = numbers(of("gradient L2, f32"));
    let relative = format!("{:.1e}", (found - expected).abs() / expected);
    assert_eq!(word(last, ", grad L2 "), relative);
}

/// Moves one expected figure and sets one tolerance; whether the program passes it.
fn passes(name: &str, edit: impl Fn(&mut Value), tolerance: (&str, f64)) -> bool {
    let mut dump = Dump::new(name, "f32");
    edit(&mut dump.manifest["expected"]);
    dump.manifest["tolerances"] = json!({ tolerance.0: tolerance.1 });
    printed(&dump).0 == 0
}

/// What is done to the expected figures.
type Edit<'a> = &'a dyn Fn(&mut Value);

/// Each tolerance lets pass what is within it, and nothing else; each figure is moved by a
/// thousandth, where the crate's own error is a ten-thousandth of that.
#[test]
fn each_tolerance_bounds_its_own_figures() {
    let by = |value: &mut Value, off: f64| *value = json!(value.as_f64().unwrap() + off);
    let times = |value: &mut Value, off: f64| *value = json!(value.as_f64().unwrap() * (1.0 + off));
    let cases: [(&str, Edit<'_>, &str, f64); 10] = [
        ("token", &|e| by(&mut e["policy_token_logps"][3], 1e-3), "token_log_prob", 1e-3),
        ("token-down", &|e| by(&mut e["policy_token_logps"][0], -1e-3), "token_log_prob", 1e-3),
        (
            "typical",
            &|e| {
                // Four of seven by less than the worst may be: the median moves.
                for row in [0, 1, 3, 4] {
                    by(&mut e["policy_token_logps"][row], 8e-6);
                }
            },
            "token_log_prob_typical",
            8e-6,
        ),
        // Three tokens, three times the bound.
        ("sequence", &|e| by(&mut e["policy_sequence_logps"][3], 3e-3), "sequence_log_prob", 1e-3),
        (
            "reference",
            &|e| by(&mut e["reference_sequence_logps"][0], 2e-3),
            "sequence_log_prob",
            1e-3,
        ),
        ("pair", &|e| by(&mut e["pair_losses"][1], -1e-3), "loss", 1e-3),
        ("loss", &|e| by(&mut e["loss"], 1e-3), "loss", 1e-3),
        ("l1", &|e| times(&mut e["grad_l1"], 1e-3), "grad_norm_relative", 1e-3),
        ("l2", &|e| times(&mut e["grad_l2"], 1e-3), "grad_norm_relative", 1e-3),
        ("entry", &|e| times(&mut e["grad_entries"][2][2], 1e-3), "grad_entry_relative", 1e-3),
    ];
    let names = [
        "token_log_prob",
        "token_log_prob_typical",
        "sequence_log_prob",
        "loss",
        "grad_norm_relative",
        "grad_entry_relative",
    ];
    for (what, edit, own, size) in cases {
        for name in names {
            let name_of = |kind: &str| format!("tolerance-{what}-{name}-{kind}");
            let within = passes(&name_of("wide"), edit, (name, 1.1 * size));
            assert_eq!(within, name == own, "{what} under a {name} of {}", 1.1 * size);
        }
        let outside = passes(&format!("tolerance-{what}-narrow"), edit, (own, 0.9 * size));
        assert!(!outside, "{what} under an {own} of {}", 0.9 * size);
    }
}

/// The worst entry is the one with the largest share of its bound.
#[test]
fn the_worst_entry_is_named() {
    let dump = edited("worst-entry", |m| {
        for (i, factor) in [(0, 1.02), (1, 1.04), (5, 1.01)] {
            let value = &mut m["expected"]["grad_entries"][i][2];
            *value = json!(value.as_f64().unwrap() * factor);
        }
        m["tolerances"] = json!({ "grad_entry_relative": 0.125 });
    });
    let (status, lines) = printed(&dump);
    assert_eq!(status, 0, "within an eighth: {lines:#?}");
    let line = lines.iter().find(|line| line.contains("gradient entries, f32: ")).unwrap();
    // 0.04/1.04 of what is expected, of 0.125.
    for part in ["8 entries, worst [3, 12]: found ", "relative error 3.8e-2, 0.308 of its bound"] {
        assert!(line.contains(part), "{part} in {line}");
    }
    // Of eight errors, sorted, the fifth: three are 0, and those of the crate are tiny.
    let typical: f64 = line.rsplit(' ').next().unwrap().parse().unwrap();
    assert!(typical < 1e-6, "{typical} in {line}");
}

/// Nothing found may be off unseen: every field of what the crate found, moved by itself.
#[test]
fn every_field_that_is_found_is_judged() {
    let dump = Dump::new("fields", "f32");
    let manifest = Manifest::read(dump.write().as_ref()).unwrap();
    let storage = Storage::read(&manifest).unwrap();
    let dispatch = Dispatch::new(Level::Baseline, Arithmetic::Portable).unwrap();
    let verdict = |edit: &dyn Fn(&mut Found)| {
        let mut found = pipeline::run(&manifest, &storage, dispatch).unwrap();
        edit(&mut found);
        let report = compare(&manifest, &found);
        (report.ok(), report.summary())
    };
    assert!(verdict(&|_| {}).0, "as it is");
    // Without `..`: a new field needs a line below.
    let Found { tokens, sequences, reference, losses, loss, apart, in_place, elements, differing } =
        pipeline::run(&manifest, &storage, dispatch).unwrap();
    let Gradient { l1, l2, entries } = apart;
    assert_eq!((tokens.len(), sequences.len(), reference.len(), losses.len()), (9, 4, 4, 2));
    assert!(loss.is_finite() && l1 > l2 && in_place.l1 > 0.0, "{loss} {l1} {l2}");
    assert_eq!((entries.len(), elements, differing), (8, 259, 0));
    for (what, faults, edit) in [
        ("a token", 1, (|f| f.tokens[3] += 1e-3) as fn(&mut Found)),
        ("a sequence", 1, |f| f.sequences[2].sum += 1e-3),
        ("a reference", 1, |f| f.reference[0] -= 1e-3),
        ("a loss", 1, |f| f.losses[1] += 1e-3),
        ("the mean", 1, |f| f.loss += 1e-3),
        ("L1", 1, |f| f.apart.l1 *= 1.001),
        ("L2", 1, |f| f.apart.l2 *= 0.999),
        ("an entry", 1, |f| f.apart.entries[1] *= 1.001),
        ("L1 in place", 1, |f| f.in_place.l1 *= 1.001),
        ("L2 in place", 1, |f| f.in_place.l2 *= 0.999),
        ("an entry in place", 1, |f| f.in_place.entries[1] *= 1.001),
        ("an element", 1, |f| f.differing = 1),
        ("NaN", 1, |f| f.loss = f64::NAN),
        ("two", 2, |f| {
            f.loss += 1.0;
            f.apart.l1 += 1.0;
        }),
    ] {
        let (ok, summary) = verdict(&edit);
        assert!(!ok, "{what} passed");
        assert!(summary.ends_with(&format!(": {faults} OUT OF TOLERANCE")), "{what}: {summary}");
    }
    // A count that differs is no figure; it scales the bounds.
    assert!(verdict(&|f| f.elements = 300).0, "elements only widen the bounds");
}

#[test]
fn errors_are_those_of_a_figure() {
    let figure = |found, expected, bound| Figure { found, expected, bound };
    for (figure, error, relative, share, ok) in [
        (figure(1.5, 1.0, 0.5), 0.5, 0.5, 1.0, true),
        (figure(0.5, 2.0, 3.0), 1.5, 0.75, 0.5, true),
        (figure(-3.0, -2.0, 0.5), 1.0, 0.5, 2.0, false),
        (figure(2.0, 2.0, 0.0), 0.0, 0.0, 0.0, true),
        (figure(0.0, 0.0, 0.0), 0.0, 0.0, 0.0, true),
        (figure(INF, INF, 1.0), 0.0, 0.0, 0.0, true),
        (figure(1.0, 0.0, 2.0), 1.0, INF, 0.5, true),
        (figure(1.0, 1.0 + 1e-9, 0.0), 1.0 + 1e-9 - 1.0, 9.999_999_9e-10, INF, false),
    ] {
        assert!((figure.error() - error).abs() < 1e-15, "{figure:?}");
        let near = |x: f64, y: f64| x.to_bits() == y.to_bits() || (x - y).abs() < 1e-15;
        assert!(near(figure.relative_error(), relative), "{figure:?}: {}", figure.relative_error());
        assert!(near(figure.share(), share), "{figure:?}: {}", figure.share());
        assert_eq!(figure.ok(), ok, "{figure:?}");
    }
    let bad = [figure(INF, -INF, INF), figure(INF, 1.0, 5.0)];
    assert_eq!(bad.map(|figure| figure.error().to_bits()), [INF.to_bits(); 2]);
    assert!(figure(f64::NAN, 1.0, INF).error().is_nan() && !figure(f64::NAN, 1.0, INF).ok());
}

#[test]
fn the_worst_and_the_middle_error() {
    let of = |errors: &[f64]| worst_and_typical(errors.iter().copied());
    assert_eq!(of(&[]), None);
    assert_eq!(of(&[3.0]), Some((3.0, 3.0)));
    assert_eq!(of(&[5.0, 1.0, 3.0]), Some((5.0, 3.0)));
    assert_eq!(of(&[4.0, 1.0, 3.0, 2.0]), Some((4.0, 3.0)), "of two in the middle the larger");
    let (worst, typical) = of(&[1.0, f64::NAN, 2.0]).unwrap();
    assert!(worst.is_nan() && typical.to_bits() == 2.0_f64.to_bits(), "{worst} {typical}");
}

#[test]
fn reports_count_their_faults() {
    let mut report = Report::default();
    report.line("a line");
    report.judge("good", true);
    report.summarise("first".to_owned());
    assert_eq!((report.ok(), report.summary().as_str()), (true, "first: ok"));
    report.judge("bad", false);
    report.figure("figure", &Figure { found: 1.5, expected: 1.0, bound: 0.25 });
    report.summarise("second".to_owned());
    assert!(!report.ok(), "two faults");
    assert_eq!(report.summary(), "first, second: 2 OUT OF TOLERANCE");
    let figure =
        format!("{:<28} found {:<22} expected {:<22} error 5.0e-1 of 2.5e-1", "figure", 1.5, 1.0);
    let lines =
        ["a line", "good", "bad   OUT OF TOLERANCE", &format!("{figure}   OUT OF TOLERANCE")];
    assert_eq!(report.lines(), lines.map(|line| format!("  {line}\n")).concat());
}
