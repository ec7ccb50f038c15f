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
    clippy::too_many_arguments,
    clippy::similar_names,
    reason = "a test may panic, and makes its own data from integers"
)]

mod suite;

use dpo_kernel::Dispatch;
use dpo_kernel::row::BLOCK;
use suite::{Buffers, EXPECTED, FULL, FullBuffers, Plan, SMALL, SmallBuffers};

fn check<const N: usize, const N_F16: usize>(
    plan: &Plan,
    mut buffers: Box<Buffers<N, N_F16>>,
    least_results: u64,
) {
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
    check(&FULL, Box::new(FullBuffers::new()), 500_000);
}

#[test]
fn every_level_has_the_small_suites_digest() {
    check(&SMALL, Box::new(SmallBuffers::new()), 10_000);
}

#[test]
fn tiles_have_the_digest_of_whole_rows() {
    assert_eq!(FULL.tile % BLOCK, 0, "tiles at multiples of a block have the bits of whole rows");
    let mut buffers = Box::new(FullBuffers::new());
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

#[test]
fn a_digest_sees_every_bit_but_those_of_nan() {
    let of = |results: [f32; 3]| {
        let mut digest = suite::Digest::new();
        digest.add_all(&results);
        digest.value()
    };
    let sound = of([1.0, 0.0, f32::NAN]);
    assert_eq!(sound, of([1.0, 0.0, -f32::NAN]), "the sign of a NaN is no result");
    assert_ne!(sound, of([1.0_f32.next_up(), 0.0, f32::NAN]), "an ulp is");
    assert_ne!(sound, of([1.0, -0.0, f32::NAN]), "the sign of zero is");
    assert_ne!(sound, of([0.0, 1.0, f32::NAN]), "the order is");
}
