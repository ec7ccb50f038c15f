//! A fixed suite of calls whose results are reduced to one number: the same on every machine.
//!
//! Every result bit of every stage goes into a [`Digest`]: log-probs, gradients, statistics,
//! losses, scalar functions. An arithmetic promises one result, so it has one digest a suite,
//! [`EXPECTED`]; `tests/digest/main.rs` compares it on every level of the machine that runs the
//! tests, and the programs of `tests/digest/targets` on every other target (`.ci/cross`).
//!
//! `no_std`, no allocation: two sizes of one suite, the smaller for a machine with 16 KiB of
//! memory.

mod digest;
mod head;
mod logits;
mod pairs;
mod rows;
mod scalars;

use dpo_kernel::{Arithmetic, Dispatch, bf16, f16};

pub use digest::Digest;

/// The digests that every machine must find. They change only when results do, which the CHANGELOG
/// announces under "Numerics".
pub const EXPECTED: [Expected; 2] = [
    Expected {
        arithmetic: Arithmetic::Portable,
        full: 0x390f_3905_969b_5a4f,
        small: 0x6063_282e_2d39_bcbc,
    },
    Expected {
        arithmetic: Arithmetic::Fused,
        full: 0x0f0d_ad5f_0488_5d91,
        small: 0x920d_3d5f_b68c_1f6d,
    },
];

/// The digests of one arithmetic.
#[derive(Clone, Copy, Debug)]
pub struct Expected {
    pub arithmetic: Arithmetic,
    pub full: u64,
    pub small: u64,
}

/// How much a suite runs.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub name: &'static str,
    pub expected: fn(&Expected) -> u64,
    /// Vocabularies of the rows that are held whole.
    pub vocabs: &'static [usize],
    /// Vocabulary of the rows that come tile by tile, and their tiles.
    pub long: usize,
    pub tile: usize,
    /// Whether every row's details are asked for; else those of some.
    pub details: bool,
    /// Inputs of each scalar function.
    pub scalars: u32,
    /// Pairs of each loss.
    pub pairs: u32,
}

/// Elements that the buffers of [`FULL`] hold.
pub const FULL_LEN: usize = 16_384;

/// For machines with memory for [`Buffers`] of it: 192 KiB.
pub const FULL: Plan = Plan {
    name: "full",
    expected: |expected| expected.full,
    vocabs: &[
        1, 2, 3, 5, 15, 16, 17, 31, 33, 63, 64, 65, 127, 129, 257, 511, 512, 513, 700, 1023, 1025,
        1500, 2048, 2561, 4096, 5000, 8192,
    ],
    long: 200_000,
    tile: 8192,
    details: true,
    scalars: 4001,
    pairs: 97,
};

/// Elements that the buffers of [`SMALL`] hold.
pub const SMALL_LEN: usize = 160;

/// For a Cortex-M0 with 16 KiB of memory, of which a kernel's stack takes up to 13, and 256 KiB of
/// flash, which hold the kernels of two types.
pub const SMALL: Plan = Plan {
    name: "small",
    expected: |expected| expected.small,
    vocabs: &[1, 2, 3, 16, 17, 63, 64, 65, 130, 160],
    long: 2085,
    tile: 160,
    details: false,
    scalars: 211,
    pairs: 13,
};

/// Memory of a suite: rows of each type (without f16 in the small one), and their gradients in f32.
#[derive(Debug)]
pub struct Buffers<const N: usize, const N_F16: usize> {
    f32: [f32; N],
    f16: [f16; N_F16],
    bf16: [bf16; N],
    grads: [f32; N],
}

/// What [`FULL`] needs.
pub type FullBuffers = Buffers<FULL_LEN, FULL_LEN>;

/// What [`SMALL`] needs.
pub type SmallBuffers = Buffers<SMALL_LEN, 0>;

impl<const N: usize, const N_F16: usize> Buffers<N, N_F16> {
    pub const fn new() -> Self {
        Self { f32: [0.0; N], f16: [f16::ZERO; N_F16], bf16: [bf16::ZERO; N], grads: [0.0; N] }
    }
}

/// Runs a suite; `section` is told each part's name and digest, so that a difference can be
/// located.
pub fn run<const N: usize, const N_F16: usize>(
    plan: &Plan,
    dispatch: Dispatch,
    buffers: &mut Buffers<N, N_F16>,
    mut section: impl FnMut(&'static str, &Digest),
) -> Digest {
    let Buffers { f32, f16, bf16, grads } = buffers;
    let mut whole = Digest::new();
    let mut done = |name, digest: Digest| {
        section(name, &digest);
        whole.absorb(&digest);
    };
    done("rows f32", rows::rows(plan, dispatch, f32, grads));
    done("rows bf16", rows::rows(plan, dispatch, bf16, grads));
    done("special f32", rows::special(plan, dispatch, f32, grads));
    done("special bf16", rows::special(plan, dispatch, bf16, grads));
    done("long f32", rows::long(plan, dispatch, f32, plan.tile));
    done("long bf16", rows::long(plan, dispatch, bf16, plan.tile));
    done("shards f32", rows::shards(plan, dispatch, f32));
    done("batch f32", pairs::batch(plan, dispatch, f32));
    done("batch bf16", pairs::batch(plan, dispatch, bf16));
    done("moved f32", pairs::moved(dispatch, f32));
    done("moved bf16", pairs::moved(dispatch, bf16));
    // Known when it is compiled, so that the small suite's program does not hold these kernels.
    if N_F16 > 0 {
        done("rows f16", rows::rows(plan, dispatch, f16, grads));
        done("special f16", rows::special(plan, dispatch, f16, grads));
        done("long f16", rows::long(plan, dispatch, f16, plan.tile));
        done("shards f16", rows::shards(plan, dispatch, f16));
        done("shards bf16", rows::shards(plan, dispatch, bf16));
        done("batch f16", pairs::batch(plan, dispatch, f16));
        done("moved f16", pairs::moved(dispatch, f16));
        done("head f32", head::heads(dispatch, f32, grads));
        done("head f16", head::heads(dispatch, f16, grads));
        done("head bf16", head::heads(dispatch, bf16, grads));
        done("trained head f32", head::trained(dispatch, f32, grads));
        done("trained head f16", head::trained(dispatch, f16, grads));
        done("trained head bf16", head::trained(dispatch, bf16, grads));
    }
    done("losses", pairs::losses(plan));
    done("theory", pairs::theory());
    done("math f32", scalars::single(plan));
    done("math f64", scalars::double(plan));
    whole
}

/// The rows that [`run`] takes tile by tile, as (a) whole row(s): the same digest.
pub fn long_whole(plan: &Plan, dispatch: Dispatch, row: &mut [f32]) -> Digest {
    rows::long(plan, dispatch, row, plan.long)
}
