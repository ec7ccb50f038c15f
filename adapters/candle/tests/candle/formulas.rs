//! Every loss of pairs in candle's operations, by its name.

use candle_core::{Result, Tensor};
use dpo_kernel_candle::dpo_kernel::loss::{LossName, LossOptions};

use crate::case::Answers;

/// log(1 + eˣ)
pub(crate) fn softplus(x: &Tensor) -> Result<Tensor> {
    (x.exp()? + 1.0)?.log()
}

pub(crate) fn sigmoid(x: &Tensor) -> Result<Tensor> {
    (x.neg()?.exp()? + 1.0)?.recip()
}

/// sp(−z) + ε z
pub(crate) fn logistic(z: &Tensor, epsilon: f64) -> Result<Tensor> {
    softplus(&z.neg()?)? + (z * epsilon)?
}

/// p − log(1 − eᵖ)
fn log_odds(p: &Tensor) -> Result<Tensor> {
    p - (1.0 - p.exp()?)?.log()?
}

/// KL(σ(x) ‖ σ(y))
fn divergence(x: &Tensor, y: &Tensor) -> Result<Tensor> {
    let part = |x: &Tensor, y: &Tensor| {
        let (p, q) = (sigmoid(x)?, sigmoid(y)?);
        &p * (p.log()? - q.log()?)?
    };
    part(x, y)? + part(&x.neg()?, &y.neg()?)?
}

/// Δ of a pair, as a tensor like z.
fn gap(z: &Tensor) -> Result<Tensor> {
    z.zeros_like()? + 0.7
}

/// Each from the least on.
fn sorted(x: &Tensor) -> Result<Tensor> {
    Ok(x.contiguous()?.sort_last_dim(true)?.0)
}

/// (1 − e^(−p/4))·4
fn power(p: &Tensor) -> Result<Tensor> {
    (1.0 - (p * -0.25)?.exp()?)? * 4.0
}

/// A loss of each pair, or of the batch.
pub(crate) type Formula = fn(&Answers) -> Result<Tensor>;

pub(crate) struct Entry {
    pub(crate) name: LossName,
    pub(crate) options: LossOptions,
    pub(crate) has_reference: bool,
    pub(crate) formula: Formula,
}

const fn entry(
    name: LossName,
    options: &LossOptions,
    has_reference: bool,
    formula: Formula,
) -> Entry {
    Entry { name, options: *options, has_reference, formula }
}

/// Losses of a difference of log-ratios: they take an f-divergence.
pub(crate) fn of_log_ratios() -> Vec<Entry> {
    let none = LossOptions::default();
    let beta = |beta| LossOptions { beta: Some(beta), ..none };
    let smooth = |of, epsilon| LossOptions { label_smoothing: Some(epsilon), ..beta(of) };
    let gapped = |of| LossOptions { reward_gap: Some(0.7), ..beta(of) };
    vec![
        entry(LossName::Sigmoid, &smooth(0.3, 0.1), true, |x| {
            logistic(&((&x.a - &x.b)? * 0.3)?, 0.1)
        }),
        entry(LossName::Robust, &smooth(0.3, 0.2), true, |x| {
            let z = ((&x.a - &x.b)? * 0.3)?;
            softplus(&z.neg()?)? - (z * (0.2 / 0.6))?
        }),
        entry(LossName::Hinge, &beta(0.3), true, |x| (1.0 - ((&x.a - &x.b)? * 0.3)?)?.relu()),
        entry(LossName::Ipo, &beta(0.5), true, |x| {
            (((&x.a / &x.nw)? - (&x.b / &x.nl)?)? - 1.0)?.sqr()
        }),
        entry(LossName::IpoSum, &beta(0.5), true, |x| ((&x.a - &x.b)? - 1.0)?.sqr()),
        entry(LossName::Exo, &smooth(0.3, 0.05), true, |x| {
            let z = ((&x.a - &x.b)? * 0.3)?;
            let (up, down) = (softplus(&z.neg()?)?.neg()?, softplus(&z)?.neg()?);
            (up.exp()? * (&up - 0.95_f64.ln())?)? + (down.exp()? * (&down - 0.05_f64.ln())?)?
        }),
        entry(LossName::DiscoPop, &beta(0.1), true, |x| {
            let z = ((&x.a - &x.b)? * 0.1)?;
            let m = sigmoid(&(&z / 0.05)?)?;
            let logistic = softplus(&z.neg()?)?;
            ((1.0 - &m)? * logistic)? + (m * z.neg()?.exp()?)?
        }),
        entry(LossName::SigmoidNorm, &beta(5.0), true, |x| {
            logistic(&(((&x.a / &x.nw)? - (&x.b / &x.nl)?)? * 5.0)?, 0.0)
        }),
        entry(LossName::RpoForward, &gapped(0.3), true, |x| {
            let z = ((&x.a - &x.b)? * 0.3)?;
            divergence(&z, &gap(&z)?)
        }),
        entry(LossName::RpoBackward, &gapped(0.3), true, |x| {
            let z = ((&x.a - &x.b)? * 0.3)?;
            divergence(&gap(&z)?, &z)
        }),
        entry(LossName::RpoSquare, &gapped(0.3), true, |x| {
            let z = ((&x.a - &x.b)? * 0.3)?;
            (&z - gap(&z)?)?.sqr()
        }),
    ]
}

/// Losses that see no reference.
fn without_reference() -> Vec<Entry> {
    let none = LossOptions::default();
    let beta = |beta| LossOptions { beta: Some(beta), ..none };
    let smooth = |of, epsilon| LossOptions { label_smoothing: Some(epsilon), ..beta(of) };
    let margin = |of, margin| LossOptions { target_margin: Some(margin), ..beta(of) };
    vec![
        entry(LossName::SimPo, &margin(2.0, 0.5), false, |x| {
            logistic(&(((&x.p - &x.q)? * 2.0)? - 0.5)?, 0.0)
        }),
        entry(
            LossName::AlphaPo,
            &LossOptions { reward_exponent: Some(0.25), ..margin(0.5, 0.5) },
            false,
            |x| logistic(&(((power(&x.p)? - power(&x.q)?)? * 0.5)? - 0.5)?, 0.0),
        ),
        entry(LossName::Cpo, &smooth(0.2, 0.1), false, |x| logistic(&((&x.w - &x.l)? * 0.2)?, 0.1)),
        entry(LossName::CpoHinge, &beta(0.2), false, |x| (1.0 - ((&x.w - &x.l)? * 0.2)?)?.relu()),
        entry(LossName::CpoIpo, &beta(0.5), false, |x| ((&x.p - &x.q)? - 1.0)?.sqr()),
        entry(LossName::Slic, &none, false, |x| (1.0 - (&x.w - &x.l)?)?.relu()),
        entry(LossName::Tpo, &smooth(0.1, 0.2), false, |x| logistic(&((&x.w - &x.l)? * 0.1)?, 0.2)),
        entry(LossName::TpoHinge, &beta(0.1), false, |x| (1.0 - ((&x.w - &x.l)? * 0.1)?)?.relu()),
        entry(LossName::TpoIpo, &beta(0.25), false, |x| ((&x.p - &x.q)? - 2.0)?.sqr()),
        entry(LossName::TpoL, &margin(1.5, 0.25), false, |x| {
            logistic(&(((&x.p - &x.q)? * 1.5)? - 0.25)?, 0.0)
        }),
        entry(LossName::Orpo, &LossOptions { odds_weight: Some(0.2), ..none }, false, |x| {
            logistic(&(log_odds(&x.p)? - log_odds(&x.q)?)?, 0.0)? * 0.2
        }),
        entry(LossName::RewardModel, &LossOptions { centering: Some(0.01), ..none }, false, |x| {
            logistic(&(&x.w - &x.l)?, 0.0)? + ((&x.w + &x.l)?.sqr()? * 0.01)?
        }),
    ]
}

/// Losses of both log-ratios, of groups, and of the batch.
fn of_answers() -> Vec<Entry> {
    let none = LossOptions::default();
    let beta = |beta| LossOptions { beta: Some(beta), ..none };
    let smooth = |of, epsilon| LossOptions { label_smoothing: Some(epsilon), ..beta(of) };
    let penalty = |of, lambda| LossOptions { drop_penalty: Some(lambda), ..beta(of) };
    let kto = LossOptions {
        reference_kl: Some(0.4),
        desirable_weight: Some(0.75),
        undesirable_weight: Some(1.5),
        ..beta(0.3)
    };
    vec![
        entry(LossName::Nca, &beta(0.3), true, |x| {
            let (a, b) = ((&x.a * 0.3)?, (&x.b * 0.3)?);
            softplus(&a.neg()?)? + ((softplus(&a)? + softplus(&b)?)? * 0.5)?
        }),
        entry(LossName::Bco, &LossOptions { reward_shift: Some(0.2), ..beta(0.3) }, true, |x| {
            softplus(&(0.2 - (&x.a * 0.3)?)?)? + softplus(&((&x.b * 0.3)? - 0.2)?)?
        }),
        entry(LossName::SppoHard, &beta(0.5), true, |x| {
            (&x.a - 1.0)?.sqr()? + (&x.b + 1.0)?.sqr()?
        }),
        entry(LossName::ApoZero, &beta(0.3), true, |x| {
            sigmoid(&(&x.a * -0.3)?)? + sigmoid(&(&x.b * 0.3)?)?
        }),
        entry(LossName::ApoDown, &beta(0.3), true, |x| {
            sigmoid(&(&x.a * 0.3)?)? + sigmoid(&((&x.a - &x.b)? * -0.3)?)?
        }),
        entry(LossName::Kto, &kto, true, |x| {
            let good = sigmoid(&((&x.a - 0.4)? * -0.3)?)?;
            (good * 0.75)? + (sigmoid(&((&x.b - 0.4)? * 0.3)?)? * 1.5)?
        }),
        entry(LossName::CalDpo, &beta(0.5), true, |x| {
            let squares = ((&x.a - 1.0)?.sqr()? + (&x.b + 1.0)?.sqr()?)?;
            softplus(&(&x.b - &x.a)?)? + (squares * 0.5)?
        }),
        entry(LossName::DpopInside, &penalty(0.3, 0.5), true, |x| {
            let dropped = (x.a.neg()?.relu()? * 0.5)?;
            logistic(&(((&x.a - &x.b)? - dropped)? * 0.3)?, 0.0)
        }),
        entry(LossName::DpopOutside, &penalty(0.3, 2.0), true, |x| {
            softplus(&((&x.b - &x.a)? * 0.3)?)? + (x.a.neg()?.relu()? * 2.0)?
        }),
        // The first two pairs are one group: they name one chosen answer.
        entry(LossName::SoftmaxDpo, &beta(0.3), true, |x| {
            let odds = ((&x.b - &x.a)? * 0.3)?.exp()?;
            let of_groups = Tensor::new(&[[1.0_f64, 1.0, 0.0], [0.0, 0.0, 1.0]], odds.device())?;
            (of_groups.matmul(&odds.reshape((3, 1))?)? + 1.0)?.log()
        }),
        entry(LossName::Aot, &smooth(0.3, 0.1), true, |x| {
            let reference = ((&x.w - &x.a)? - (&x.l - &x.b)?)?.detach();
            let ranks = (sorted(&(&x.w - &x.l)?)? - sorted(&reference)?)?;
            logistic(&(ranks * 0.3)?, 0.1)
        }),
        entry(LossName::AotUnpaired, &smooth(0.3, 0.1), true, |x| {
            logistic(&((sorted(&x.a)? - sorted(&x.b)?)? * 0.3)?, 0.1)
        }),
    ]
}

pub(crate) fn all() -> Vec<Entry> {
    of_log_ratios().into_iter().chain(without_reference()).chain(of_answers()).collect()
}
