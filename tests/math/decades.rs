//! The functions of one variable over all decades, and on both sides of every number at which a
//! formula changes: against figures of 700 digits (`docs/decades.py`).

use dpo_kernel::math;

use crate::ulps;

/// x, σ(x), softplus(x) and log(1 − eˣ); the last where x < 0.
type Row = (f64, f64, f64, Option<f64>);

fn rows() -> Vec<Row> {
    let file: serde_json::Value =
        serde_json::from_str(include_str!("../data/decades.json")).expect("JSON");
    let rows = file["scalars"].as_array().expect("a list");
    rows.iter()
        .map(|row| {
            let [x, sigmoid, softplus] = [0, 1, 2].map(|i| row[i].as_f64().expect("a number"));
            (x, sigmoid, softplus, row[3].as_f64())
        })
        .collect()
}

/// What a function says otherwise, in the ulps that its page allows.
fn objections(name: &str, bound: f64, pairs: impl Iterator<Item = (f64, f64, f64)>) -> Vec<String> {
    pairs
        .filter(|&(_, found, expected)| {
            let near = ulps(found, expected) <= bound;
            !near
        })
        .map(|(x, found, expected)| format!("{name}({x:e}) is {found:e}, not {expected:e}"))
        .collect()
}

#[test]
fn over_all_decades() {
    let rows = rows();
    let below = rows.iter().filter(|row| row.0 < 0.0).count();
    assert!(rows.len() > 90 && below > 45 && rows.len() - below > 40, "both signs");
    let of = |f: fn(f64) -> f64, expected: fn(&Row) -> Option<f64>| {
        rows.iter().filter_map(move |row| Some((row.0, f(row.0), expected(row)?)))
    };
    let mut wrong = objections("sigmoid", 2.5, of(math::sigmoid, |row| Some(row.1)));
    wrong.extend(objections("softplus", 1.7, of(math::softplus, |row| Some(row.2))));
    wrong.extend(objections("log1mexp", 2.1, of(math::log1mexp, |row| row.3)));
    let mirrored = rows.iter().map(|row| (-row.0, math::log_sigmoid(-row.0), -row.2));
    wrong.extend(objections("log_sigmoid", 1.7, mirrored));
    // log(eᵃ + eᵇ) with equal terms, and with one that is as good as none.
    let equal = rows.iter().filter(|row| row.0.abs() < 1e300).map(|row| {
        let expected = row.0 + core::f64::consts::LN_2;
        (row.0, math::logaddexp(row.0, row.0), expected)
    });
    wrong.extend(objections("logaddexp of equal", 1.0, equal));
    let of_zero = rows.iter().map(|row| (row.0, math::logaddexp(row.0, 0.0), row.2));
    wrong.extend(objections("logaddexp of 0", 1.7, of_zero));
    let none = |x: f64| (x, math::logaddexp(x, f64::NEG_INFINITY), x);
    wrong.extend(objections("logaddexp of nothing", 0.0, rows.iter().map(|row| none(row.0))));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The forms that lose digits in the middle are seen.
#[test]
fn planted_faults_are_caught() {
    let rows = rows();
    let of = |f: fn(f64) -> f64, bound: f64, expected: fn(&Row) -> Option<f64>| {
        let pairs = rows.iter().filter_map(|row| Some((row.0, f(row.0), expected(row)?)));
        objections("planted", bound, pairs).len()
    };
    assert_eq!(of(|x| 1.0 / (1.0 + (-x).exp()), 2.5, |row| Some(row.1)), 0, "no fault up to 1");
    assert!(of(|x| 1.0 - 1.0 / (1.0 + x.exp()), 2.5, |row| Some(row.1)) > 5, "a lost tail");
    assert!(of(|x| (1.0 + x.exp()).ln(), 1.7, |row| Some(row.2)) > 5, "log of a sum");
    assert!(of(|x| (-x.exp()).ln_1p(), 2.0, |row| row.3) > 3, "the left form on the right");
    assert!(of(|x| (-x.exp_m1()).ln(), 2.0, |row| row.3) > 3, "the right form on the left");
}
