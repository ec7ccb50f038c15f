//! Every figure of the report, on log-probs that were chosen by hand, and the picture.

use serde_json::Value;

use crate::audit::figures::Figures;
use crate::files::{log_probs, positions, spans, tensors, tokens};
use crate::random::Random;
use crate::{folder, report, run};

fn near(found: &Value, expected: f64) {
    let found = found.as_f64().unwrap();
    let off = (found - expected).abs();
    assert!(off <= 1e-12 * expected.abs().max(1e-3), "{found} is not {expected}");
}

/// Differences 0, −1/4, 1/2, −1, 1/8 and others between numbers that f32 holds exactly.
#[test]
fn figures_are_those_of_the_formulas() {
    let a = [-1.0, -2.0, -0.5, -3.0, -4.0, -0.25, -8.0];
    let deltas = [0.0, -0.25, 0.125, -1.0, 0.5, -0.125, 0.0625];
    let b: Vec<f64> = a.iter().zip(&deltas).map(|(a, delta)| a + delta).collect();
    let folder = folder("figures");
    let ids = [5, 6, 7, 8, 9, 10, 11];
    let x = tensors(&folder.join("a.safetensors"), &[log_probs(&a), tokens(&ids)]);
    let y = tensors(&folder.join("b.safetensors"), &[log_probs(&b), tokens(&ids)]);
    let (status, found) = report(&[&x, &y, "--clip", "0.3", "--worst", "3"], &folder);
    assert_eq!(status, 1);
    let figures = &found["figures"];
    assert_eq!(figures["tokens_compared"], 7);
    let sizes = &figures["abs_delta"];
    // Sorted: 0, 1/16, 1/8, 1/8, 1/4, 1/2, 1; ranks ⌈0.5·7⌉ = 4, ⌈0.9·7⌉ = 7, 7, 7.
    for (name, value) in
        [("median", 0.125), ("q90", 1.0), ("q99", 1.0), ("q999", 1.0), ("max", 1.0)]
    {
        near(&sizes[name], value);
    }
    let n = 7.0;
    let mean = |f: &dyn Fn(f64) -> f64| {
        let mean = deltas.iter().map(|&x| f(x)).sum::<f64>() / n;
        let squares: f64 = deltas.iter().map(|&x| (f(x) - mean).powi(2)).sum();
        (mean, (squares / 6.0).sqrt() / n.sqrt())
    };
    let check = |found: &Value, (mean, error): (f64, f64)| {
        near(&found["mean"], mean);
        near(&found["standard_error"], error);
    };
    check(&figures["ratio"], mean(&f64::exp));
    check(&figures["kl"]["k1"], mean(&|x| -x));
    check(&figures["kl"]["k2"], mean(&|x| x * x / 2.0));
    check(&figures["kl"]["k3"], mean(&|x| x.exp() - 1.0 - x));
    near(&figures["ratio"]["min"], (-1.0_f64).exp());
    near(&figures["ratio"]["max"], 0.5_f64.exp());
    // e^−1 = 0.37 and e^0.5 = 1.65 lie outside of 0.7 to 1.3, e^−0.25 = 0.78 does not.
    near(&figures["ratio"]["share_clipped"], 2.0 / 7.0);
    let worst: Vec<_> =
        found["worst"].as_array().unwrap().iter().map(|of| of["row"].as_u64()).collect();
    assert_eq!(worst, [Some(3), Some(4), Some(1)]);
    let first = &found["worst"][0];
    assert_eq!((first["token"].as_i64(), first["position"].as_i64()), (Some(8), Some(3)));
    near(&first["delta"], -1.0);
    near(&first["probability_a"], (-3.0_f64).exp());
    // Six tokens differ: nothing is told of so few.
    let notes = found["verdict"]["notes"].to_string();
    assert!(notes.contains("6 tokens differ by more than rounding: too few"), "{notes}");
    assert_eq!(found["verdict"]["causes"], serde_json::json!([]));
}

#[test]
fn quantiles_are_nearest_ranks() {
    let deltas: Vec<f64> =
        (1..=2000).rev().map(|i| f64::from(i) * if i % 2 == 0 { 1.0 } else { -1.0 }).collect();
    let found = Figures::of(&deltas, 0.2).unwrap();
    assert_eq!(
        found.quantiles.map(f64::to_bits),
        [1000.0, 1800.0, 1980.0, 1998.0, 2000.0].map(f64::to_bits)
    );
    let one = Figures::of(&[f64::NAN, 0.5, f64::INFINITY], 0.2).unwrap();
    assert_eq!((one.count, one.quantiles.map(f64::to_bits)), (1, [0.5_f64.to_bits(); 5]));
    assert!(one.k1.error.is_nan(), "one token has no spread");
    assert!(Figures::of(&[f64::NAN, f64::NEG_INFINITY], 0.2).is_none());
}

#[test]
fn the_report_says_what_the_json_says() {
    let mut random = Random::new(1);
    let a: Vec<f64> = (0..40).map(|_| -random.between(0.0, 4.0)).collect();
    let b: Vec<f64> = a.iter().map(|x| x - 0.25).collect();
    let folder = folder("text");
    let x = tensors(&folder.join("a.safetensors"), &[log_probs(&a)]);
    let y = tensors(&folder.join("b.safetensors"), &[log_probs(&b)]);
    let (status, out, err) = run(&[&x, &y, "--worst", "1"]);
    assert_eq!((status, err.as_str()), (1, ""));
    for words in [
        "40 of 40 tokens compared",
        "median 2.500e-1, 90 % 2.500e-1",
        "mean 0.778801, from 0.77880 to 0.77880; outside of 1 ± 0.2: 100.00 %",
        "k1 = -ln r             2.5000e-1",
        "k2 = (ln r)^2 / 2      3.1250e-2",
        "the dumps differ by more than 3.05e-5 max(1, |log p|); no cause is named",
        "from log-probs alone a temperature",
        "neither dump names its tokens",
    ] {
        assert!(out.contains(words), "{words:?} is in {out}");
    }
    let (status, out, _) = run(&[&x, &y, "--tolerance", "0.2500002"]);
    assert_eq!(status, 0, "{out}");
    assert!(
        out.contains("the dumps agree within 2.50e-1 max(1, |log p|); no cause is named"),
        "{out}"
    );
}

/// Dots of every token, lines of median and most, axes that hold them.
#[test]
fn the_picture_holds_every_token() {
    let spans_of_one = |count: i64| spans(&(0..count).map(|i| [i, i + 1]).collect::<Vec<_>>());
    let mut random = Random::new(2);
    let a: Vec<f64> = (0..61).map(|_| -random.between(0.0, 9.0)).collect();
    let b: Vec<f64> = a.iter().map(|x| x - 1e-3 - 0.1 * random.uniform()).collect();
    let folder = folder("picture");
    let rows = [spans(&[[0, 30], [30, 61]]), positions(&(0..61).collect::<Vec<i64>>())];
    let [spans, places] = rows;
    let x = tensors(&folder.join("a.safetensors"), &[log_probs(&a), spans]);
    let y = tensors(&folder.join("b.safetensors"), &[log_probs(&b), places]);
    let path = folder.join("picture.svg");
    let draw = |x: &str, y: &str| {
        let (_, _, err) = run(&[x, y, "--svg", path.to_str().unwrap()]);
        assert_eq!(err, "");
        std::fs::read_to_string(&path).unwrap()
    };
    let svg = draw(&x, &y);
    assert_eq!(svg.matches("h0").count(), 2 * 61, "a dot a token and panel");
    assert!(svg.contains("viewBox=\"0 0 920 424\""), "{svg}");
    // The last position is at the end of its axis.
    assert!(svg.contains("M440.0 "), "{svg}");
    assert!(svg.contains("H440\"") && !svg.contains("H480\""), "lines end with the panel: {svg}");
    assert_eq!(svg.matches("<text").count(), svg.matches("</text>").count());
    assert!(svg.ends_with("</svg>\n") && !svg.contains("NaN") && !svg.contains("inf"), "{svg}");
    for words in
        ["of 61 tokens<", ">90 % quantile<", ">median<", ">|Δ|<", "A: a.safetensors, B: b."]
    {
        assert!(svg.contains(words), "{words}: {svg}");
    }
    assert!(svg.contains("role=\"img\"") && svg.contains("<title>Log-probs of the same tokens"));
    // Positions of the spans go to 30, those that B names by itself to 60.
    assert!(svg.contains(">30<") && !svg.contains(">60<"), "{svg}");
    let of_b = draw(&y, &x);
    assert!(of_b.contains(">60<"));
    // 61 places in parts of four: a line of sixteen points.
    let line = of_b.lines().find(|line| line.contains("stroke-width=\"2.2\" fill")).unwrap();
    assert_eq!(line.matches('L').count(), 15, "{line}");
    // Of equal places there is one point a line: sequences of one token are all at 0.
    let ones = spans_of_one(61);
    let x = tensors(&folder.join("x.safetensors"), &[log_probs(&a), ones]);
    let drawn = draw(&x, &y);
    let lines: Vec<&str> =
        drawn.lines().filter(|line| line.contains("stroke-width=\"2.2\" fill")).collect();
    assert_eq!(lines.len(), 4, "{drawn}");
    assert!(lines[..2].iter().all(|line| !line.contains('L')), "{lines:?}");
    assert!(lines[2..].iter().all(|line| line.contains('L')), "{lines:?}");
    // What has no difference is not drawn, and counted.
    let mut holes = b.clone();
    (holes[3], holes[9], holes[60]) = (f64::NEG_INFINITY, f64::NAN, 0.0);
    let z = tensors(&folder.join("z.safetensors"), &[log_probs(&holes)]);
    let drawn = draw(&x, &z);
    assert!(
        drawn.contains("of 58 tokens; 3 with −∞, NaN or 0 on one side are not drawn"),
        "{drawn}"
    );
    // Equal dumps have a picture too.
    let (_, out, _) = run(&[&y, &y]);
    assert!(out.contains(" 0.0000e0 ") && !out.contains("-0.0000e0"), "{out}");
    let svg = draw(&y, &y);
    assert!(!svg.contains("NaN") && svg.matches("h0").count() == 2 * 61, "{svg}");
}
