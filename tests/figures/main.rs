//! Every figure of every result, every default, every text and every name, each against a figure
//! of its own.
//!
//! The inputs are such that no two figures of a result agree, so one that stands in the place of
//! another shows. A field, a variant or a result that is new does not compile or fails here until
//! it is asserted.

#![allow(
    unreachable_pub,
    dead_code,
    unused_imports,
    unused_macros,
    clippy::unwrap_used,
    clippy::panic,
    clippy::float_cmp,
    clippy::indexing_slicing,
    clippy::cast_precision_loss,
    clippy::too_many_lines,
    clippy::missing_assert_message,
    reason = "a test may panic and compares bits where bits are promised; a module of the library is compiled here once more"
)]

mod batches;
mod defaults;
mod errors;
mod every_loss;
mod guard;
mod means;
mod rows;
mod summaries;

/// The library's errors, compiled here once more: within one crate a match over its enums needs no
/// wildcard, so a new variant or field does not compile until it is asserted.
#[path = "../../src/error/mod.rs"]
mod error;
use dpo_kernel::Level;

use core::fmt::Debug;

/// Name and value of every field, as `Debug` prints them; those of a struct within a struct follow
/// it, and it has itself the value NaN.
fn fields(of: &impl Debug) -> Vec<(String, f64)> {
    let text = format!("{of:?}");
    let mut found: Vec<(String, f64)> = Vec::new();
    for part in text.split(['{', ',', '}']) {
        if let Some((name, value)) = part.split_once(':') {
            found.push((name.trim().to_owned(), value.trim().parse().unwrap_or(f64::NAN)));
        }
    }
    found
}

/// What a result lacks, has beside the expected figures, or says otherwise.
fn objections(of: &impl Debug, expected: &[(&str, f64)], tolerance: f64) -> Vec<String> {
    let found = fields(of);
    let names = |fields: &[(String, f64)]| fields.iter().map(|f| f.0.clone()).collect::<Vec<_>>();
    let wanted: Vec<String> = expected.iter().map(|field| field.0.to_owned()).collect();
    if names(&found) != wanted {
        return vec![format!("the fields are {:?}, asserted are {wanted:?}", names(&found))];
    }
    let same = |x: f64, y: f64| x.total_cmp(&y).is_eq() || (x - y).abs() <= tolerance * y.abs();
    let differ = found.iter().zip(expected).filter(|(found, (_, value))| !same(found.1, *value));
    differ
        .map(|(found, (_, value))| format!("{}: {:e} is not {value:e}", found.0, found.1))
        .collect()
}

/// Every field has its figure, and no two expected figures are one.
#[track_caller]
fn assert_fields(of: &impl Debug, expected: &[(&str, f64)]) {
    assert_near(of, expected, 1e-14);
}

/// The same within a relative tolerance.
#[track_caller]
fn assert_near(of: &impl Debug, expected: &[(&str, f64)], tolerance: f64) {
    let wrong = objections(of, expected, tolerance);
    assert!(wrong.is_empty(), "{of:?}: {}", wrong.join("; "));
    for (i, (name, value)) in expected.iter().enumerate() {
        let twin = expected[..i].iter().find(|(_, other)| other.abs() == value.abs());
        assert!(twin.is_none(), "{name} and {twin:?} agree, so one could stand for the other");
    }
}

#[test]
fn planted_faults_are_caught() {
    #[derive(Debug)]
    struct Figures {
        count: u64,
        sum: f64,
        inner: Inner,
    }
    #[derive(Debug)]
    struct Inner {
        share: f64,
    }
    let found = Figures { count: 3, sum: -0.5, inner: Inner { share: 0.25 } };
    let right = [("count", 3.0), ("sum", -0.5), ("inner", f64::NAN), ("share", 0.25)];
    assert_eq!(objections(&found, &right, 0.0), [""; 0]);
    assert_fields(&found, &right);
    let wrong = Figures { sum: 0.25, inner: Inner { share: -0.5 }, ..found };
    assert_eq!(objections(&wrong, &right, 0.0).len(), 2, "two figures swapped");
    assert_eq!(objections(&found, &right[..3], 0.0).len(), 1, "a field that is not asserted");
    let other = [("count", 3.0), ("total", -0.5), ("inner", f64::NAN), ("share", 0.25)];
    assert_eq!(objections(&found, &other, 0.0).len(), 1, "another name");
    let twins = [("count", 3.0), ("sum", -0.5), ("inner", f64::NAN), ("share", 0.5)];
    let same = Figures { inner: Inner { share: 0.5 }, ..found };
    assert!(std::panic::catch_unwind(|| assert_fields(&same, &twins)).is_err(), "two of one size");
}
