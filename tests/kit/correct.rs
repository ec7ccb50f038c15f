//! Correct backends, written in many ways: no failure, no broken relation, no cause named.

use dpo_kernel::verify::kit::{
    Additions, Backend, Difference, Format, Output, Plan, Precision, Target, Ulps, run,
};
use dpo_kernel::{Element, bf16, f16};

use crate::plain::{Grad, LogProb, Order, Pass, Plain, Ratio, Style};
use crate::real::{Real, Soft};

/// `KIT_SEEDS=20` takes more of them.
const SEED: u64 = 11;

fn passes<E: Element, A: Real>(style: Style, precision: Precision) {
    let seeds = std::env::var("KIT_SEEDS").ok().and_then(|n| n.parse::<u64>().ok());
    for seed in SEED..SEED + seeds.unwrap_or(1) {
        let mut backend = Plain::<E, A>::new(style, precision);
        assert_eq!(backend.precision(), precision);
        let report = run(&mut backend, Plan::new(seed));
        let lines: Vec<String> = report.to_string().lines().take(24).map(String::from).collect();
        assert!(report.is_clean(), "{style:?}\n{}", lines.join("\n"));
        assert!(report.causes.is_empty());
        assert_eq!(report.unexplained(), 0);
    }
}

/// f32 throughout, in any order.
const SINGLE: Precision = Precision::new(Format::F32, Format::F32);

#[test]
fn f64_in_two_passes() {
    passes::<f32, f64>(Style::PLAIN, Precision::new(Format::F64, Format::F64));
    passes::<bf16, f64>(Style::PLAIN, Precision::new(Format::F64, Format::F32));
}

#[test]
fn f32_in_two_passes() {
    passes::<f32, f32>(Style::PLAIN, SINGLE);
    passes::<f16, f32>(Style::PLAIN, SINGLE);
    passes::<bf16, f32>(Style::PLAIN, SINGLE);
}

#[test]
fn f32_in_reverse_by_quotients() {
    let style = Style { order: Order::Reverse, grad: Grad::Quotient, ..Style::PLAIN };
    passes::<f32, f32>(style, SINGLE);
}

#[test]
fn f32_shifted_by_reciprocals() {
    let style = Style {
        log_prob: LogProb::Shifted,
        grad: Grad::Reciprocal,
        reciprocal: true,
        ratio: Ratio::Models,
        ..Style::PLAIN
    };
    passes::<f32, f32>(style, Precision { difference: Difference::Shifted, ..SINGLE });
}

#[test]
fn f32_in_a_tree() {
    let style = Style { order: Order::Tree, ..Style::PLAIN };
    // Halves of 2¹⁷ columns, and the last two terms.
    passes::<f32, f32>(style, Precision { additions: Additions::Chain(18), ..SINGLE });
}

#[test]
fn f32_in_lanes() {
    for lanes in [8, 16, 32] {
        let style = Style { order: Order::Lanes(lanes), ..Style::PLAIN };
        let longest = 131_072 / lanes + 6;
        passes::<f32, f32>(style, Precision { additions: Additions::Chain(longest), ..SINGLE });
    }
}

#[test]
fn f32_in_a_block_of_threads() {
    let style = Style { order: Order::Block, grad: Grad::Reciprocal, ..Style::PLAIN };
    passes::<f32, f32>(style, Precision { additions: Additions::Chain(512 + 5 + 3), ..SINGLE });
}

#[test]
fn f32_with_kahan_sums() {
    let style = Style { order: Order::Kahan, ..Style::PLAIN };
    // 2u of each term, and n u² of all: below one more u.
    passes::<f32, f32>(style, Precision { additions: Additions::Chain(3), ..SINGLE });
}

#[test]
fn f32_online() {
    let style = Style { pass: Pass::Online, ..Style::PLAIN };
    passes::<f32, f32>(style, Precision { rescales: usize::MAX, ..SINGLE });
}

#[test]
fn f32_online_in_tiles() {
    for tile in [64, 128] {
        let style = Style { pass: Pass::Tiles(tile), ..Style::PLAIN };
        passes::<f32, f32>(style, Precision { rescales: 131_072_usize.div_ceil(tile), ..SINGLE });
    }
}

#[test]
fn f32_by_exp2() {
    let style = Style { pass: Pass::Exp2, ..Style::PLAIN };
    // x · log₂e has two roundings, the constant's and the product's: u|x| each, 1 ulp is 2u.
    passes::<f32, f32>(style, Precision { exp: Ulps::new(1.0).and_slope(1.0), ..SINGLE });
}

#[test]
fn f32_with_the_target_apart() {
    let style = Style { log_prob: LogProb::Apart, order: Order::Tree, ..Style::PLAIN };
    let precision = Precision {
        difference: Difference::Shifted,
        target: Target::Apart,
        additions: Additions::Chain(18),
        ..SINGLE
    };
    passes::<f32, f32>(style, precision);
    passes::<bf16, f32>(style, precision);
}

#[test]
fn figures_of_16_bits() {
    passes::<bf16, f32>(Style::PLAIN, Precision::new(Format::F32, Format::Bf16));
    passes::<f16, f32>(Style::PLAIN, Precision::new(Format::F32, Format::F16));
}

/// β comes before the difference, and each product is rounded.
#[test]
fn margins_as_differences_of_rewards() {
    for ratio in [Ratio::Rewards, Ratio::RewardsOfModels] {
        for pair in [Format::F32, Format::F16, Format::Bf16] {
            let style = Style { ratio, ..Style::PLAIN };
            let precision = Precision { pair, ..SINGLE };
            for seed in 0..40 {
                let plain = Plain::<f32, f32>::new(style, precision);
                let report = run(&mut plain.offering(&[Output::PairLoss]), Plan::new(seed));
                assert!(report.is_clean(), "{ratio:?} in {}: {report}", pair.name());
            }
        }
    }
}

/// As automatic derivatives of two log-sigmoids are, on a device without subnormal numbers.
#[test]
fn slopes_as_two_sigmoids() {
    for pair in [Format::F32, Format::F16, Format::Bf16] {
        let style = Style { two_slopes: true, ..Style::PLAIN };
        for seed in 0..40 {
            let plain = Plain::<f32, f32>::new(style, Precision { pair, ..SINGLE });
            let report = run(&mut plain.offering(&[Output::PairLoss]), Plan::new(seed));
            assert!(report.is_clean(), "{} {seed}: {report}", pair.name());
        }
    }
}

#[test]
fn losses_in_f64_beside_rows_in_f32() {
    let style = Style { ratio: Ratio::Models, ..Style::PLAIN };
    passes::<f32, f32>(style, Precision { pair: Format::F64, ..SINGLE });
}

#[test]
fn a_head_whose_logits_are_rounded() {
    for format in [Format::Bf16, Format::F16] {
        let style = Style { head_logits: Some(format), ..Style::PLAIN };
        passes::<bf16, f32>(style, Precision { head_logits: format, ..SINGLE });
    }
}

/// Sums of 16 bits are worth little, and what is left of the bounds holds.
#[test]
fn arithmetic_of_16_bits() {
    let style = Style { order: Order::Tree, ..Style::PLAIN };
    let precision = Precision::new(Format::F16, Format::F16);
    passes::<f16, Soft<f16>>(style, Precision { additions: Additions::Chain(18), ..precision });
}

/// In any order γ(V) has no end once V u is ½, and figures of rows whose sizes are 0 are right still.
#[test]
fn arithmetic_of_16_bits_in_any_order() {
    let of = |format| Precision::new(format, format);
    passes::<f16, Soft<f16>>(Style::PLAIN, of(Format::F16));
    passes::<bf16, Soft<bf16>>(Style::PLAIN, of(Format::Bf16));
    let style = Style { order: Order::Reverse, grad: Grad::Quotient, ..Style::PLAIN };
    passes::<bf16, Soft<bf16>>(style, of(Format::Bf16));
}

/// What keeps more digits than it promises is right too.
#[test]
fn better_than_promised() {
    for format in [Format::F16, Format::Bf16] {
        passes::<f32, f64>(Style::PLAIN, Precision::new(format, Format::F32));
        passes::<f32, f32>(Style::PLAIN, Precision::new(format, Format::F32));
    }
}
