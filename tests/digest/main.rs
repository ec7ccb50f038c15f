//! The same bits on every machine: results of all stages, reduced to one digest an arithmetic.
//!
//! Here for every level of the machine that runs the tests; `.ci/cross` runs the same suite on the
//! other targets. See `suite` for what is run.

#![allow(
    unreachable_pub,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_possible_wrap,
    clippy::new_without_default,
    reason = "a test may panic, and makes its own data from integers"
)]

mod suite;

use dpo_kernel::{BLOCK, Dispatch};
use suite::{Buffers, EXPECTED, FULL, FULL_LEN, Plan, SMALL, SMALL_LEN};

fn check<const N: usize>(plan: &Plan, least_results: u64) {
    let mut buffers = Box::new(Buffers::<N>::new());
    for dispatch in Dispatch::available() {
        let digest = suite::run(plan, dispatch, &mut buffers, |_, _| ());
        let expected = EXPECTED.iter().find(|e| e.arithmetic == dispatch.arithmetic()).unwrap();
        assert!(
            digest.value() == (plan.expected)(expected),
            "the {} suite on {dispatch:?} has the digest {:#018x}, not {:#018x}: its results have \
             changed. If that is meant, say so in the CHANGELOG under \"Numerics\" and put the new \
             digests, which `.ci/cross` must find on every target, into tests/digest/suite/mod.rs",
            plan.name,
            digest.value(),
            (plan.expected)(expected),
        );
        assert!(digest.results() >= least_results, "{} results", digest.results());
    }
}

#[test]
fn every_level_has_the_full_suites_digest() {
    check::<FULL_LEN>(&FULL, 500_000);
}

#[test]
fn every_level_has_the_small_suites_digest() {
    check::<SMALL_LEN>(&SMALL, 10_000);
}

#[test]
fn tiles_have_the_digest_of_whole_rows() {
    assert_eq!(FULL.tile % BLOCK, 0, "tiles at multiples of a block have the bits of whole rows");
    let mut buffers = Box::new(Buffers::<FULL_LEN>::new());
    let mut row = vec![0.0_f32; FULL.long];
    let dispatch = Dispatch::detect();
    let whole = suite::long_whole(&FULL, dispatch, &mut row);
    let mut tiled = None;
    suite::run(&FULL, dispatch, &mut buffers, |name, digest| {
        if name == "long f32" {
            tiled = Some(*digest);
        }
    });
    assert_eq!(tiled, Some(whole), "a row of {} columns", FULL.long);
}
