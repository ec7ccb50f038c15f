//! A*PO: the value of a prompt, and the loss of single answers.

use dpo_kernel::error::{Buffer, Parameter};
use dpo_kernel::loss::{AStarPo, UnpairedLoss};
use dpo_kernel::training::optimal_value;
use dpo_kernel::unpaired::{
    AnswerLoss, Label, UnpairedAnswer, UnpairedBatch, UnpairedOut, unpaired_loss,
};
use dpo_kernel::{Error, Reference, SequenceLogProb};

use crate::close;

const REWARDS: [f64; 8] = [1.0, 0.0, 1.0, 1.0, 0.0, 0.25, -1.5, 0.75];

/// 50-digit arithmetic (mpmath) of β₁·log mean e^(r/β₁).
#[test]
fn golden_values() {
    for (beta, expected) in [
        (0.5, 0.666_634_087_449_355_96),
        (1e3, 0.312_818_256_112_842_83),
        (1e-3, 0.999_019_170_746_988_28),
    ] {
        close("V*", optimal_value(beta, &REWARDS).unwrap() / expected, 1.0, 2e-15);
    }
}

/// What needs no arithmetic: one reward, equal rewards, a shift of all, and the two ends of β₁.
#[test]
fn values_of_special_rewards() {
    for beta in [1e-6, 0.5, 1e9] {
        assert_eq!(optimal_value(beta, &[0.75]), Ok(0.75));
        assert_eq!(optimal_value(beta, &[-3.5; 5]), Ok(-3.5));
        let shifted = REWARDS.map(|r| r + 1024.0);
        let (one, two) =
            (optimal_value(beta, &REWARDS).unwrap(), optimal_value(beta, &shifted).unwrap());
        close("shifted", two - 1024.0, one, 1e-12);
    }
    let mean = REWARDS.iter().sum::<f64>() / 8.0;
    close("β₁ → ∞", optimal_value(1e12, &REWARDS).unwrap(), mean, 1e-12);
    assert_eq!(optimal_value(1e-300, &REWARDS), Ok(1.0));
    // Rewards whose difference is beyond f64, and exponentials that overflow.
    assert_eq!(optimal_value(1e-3, &[1e308, -1e308]), Ok(1e308));
    assert_eq!(optimal_value(1e-3, &[900.0, 900.0]), Ok(900.0));
}

#[test]
fn values_that_are_refused() {
    let parameter = Parameter::Beta;
    for value in [0.0, -1.0, f64::INFINITY] {
        let error = Error::Parameter { parameter, value };
        assert_eq!(optimal_value(value, &REWARDS), Err(error));
    }
    let buffer = Buffer::Scores;
    assert_eq!(optimal_value(0.5, &[]), Err(Error::Length { buffer, expected: 1, found: 0 }));
    let value = f64::INFINITY;
    let error = Error::InvalidValue { buffer, index: 1, value };
    assert_eq!(optimal_value(0.5, &[0.0, value, 1.0]), Err(error));
}

/// By hand: β₂ = 0.25, log-ratios of ½ and −¾, an advantage of ¾ and −¼.
#[test]
fn a_regression_of_single_answers() {
    let policy = [-20.5, -25.25].map(|sum| SequenceLogProb { sum, count: 10 });
    let figures = [
        (Label::Desirable, 0.75, 0.125 - 0.75),
        (Label::Undesirable, -0.25, -0.1875 + 0.25),
        (Label::Undesirable, 0.75, -0.1875 - 0.75),
    ];
    for (i, (label, advantage, distance)) in figures.into_iter().enumerate() {
        let sequence = i.min(1);
        let loss = AStarPo::new(0.25, advantage).unwrap();
        let answers = [UnpairedAnswer { sequence, label }];
        let batch = UnpairedBatch::new(&answers, &policy, Reference::Sums(&[-21.0, -24.5]), 2.0);
        let (mut losses, mut d) = ([AnswerLoss::default()], [f64::NAN; 2]);
        let out = UnpairedOut::new(&mut losses, &mut d);
        unpaired_loss(&loss, &batch, out).unwrap();
        // Powers of two: no rounding.
        assert_eq!(losses[0].loss, distance * distance);
        assert_eq!(losses[0].d_log_prob, 0.5 * distance);
        assert_eq!((d[sequence], d[1 - sequence]), (0.25 * distance, 0.0));
    }
}

/// The slope is that of the value, on both labels.
#[test]
fn the_slope_is_the_derivative() {
    let loss = AStarPo::new(1e-3, 0.6).unwrap();
    for x in [-300.0, -2.0, 0.0, 1.5, 900.0] {
        let h = 0.5;
        let slope = (loss.chosen(x + h).value - loss.chosen(x - h).value) / (2.0 * h);
        close("slope", loss.chosen(x).slope / slope, 1.0, 1e-11);
        assert_eq!(loss.chosen(x), loss.rejected(x));
    }
}
