//! Figures that other people's code made: rows from PyTorch, preference losses from TRL.

use dpo_kernel::row::{Details, RowStats};
use dpo_kernel::{
    Dpo, Pair, PairBatch, PairLoss, PairOut, Reference, SequenceLogProb, bf16, f16,
    preference_loss, verify,
};

use crate::accuracy::probabilities::part_of_contract;
use crate::common::golden::{RowCase, TrlCase, rows, trl_sigmoid};
use crate::common::levels::for_each_dispatch;
use crate::common::measure::Worst;
use crate::rows::{Params, Store, stored, ulp, widen};
use crate::run::{forward, gradient};

fn params(case: &RowCase) -> Params {
    Params {
        scale: case.scale as f32,
        softcap: case.softcap.map(|c| c as f32),
        temperature: case.temperature as f32,
    }
}

/// What f32 rounds away of `exact`, and what the f32 sums may add: 3e-8, and under a softcap two
/// ulp of c/temperature. PyTorch used temperature 0.7 in f64, the kernel 0.7 in f32.
fn allowed(case: &RowCase, exact: f64) -> f64 {
    let cap = case.softcap.map_or(0.0, |c| 2.0 * ulp(c / case.temperature));
    let parameter = case.temperature - f64::from(case.temperature as f32);
    0.5 * ulp(exact)
        + 3e-8
        + cap
        + parameter.abs() / case.temperature * case.log_sum_exp.abs()
        + (parameter / case.temperature * exact).abs()
}

#[test]
fn every_row_of_torch() {
    let cases = rows();
    assert_eq!(cases.len(), 93, "rows of the golden file");
    let mut worst = Worst::of("gradients of PyTorch rows, part of (4 + 2c/T + |ln p|) 2^-24");
    let mut entropy = Worst::of("entropy of PyTorch rows, beyond its rounding");
    let mut squares = Worst::of("log of the sum of p^2 of PyTorch rows, beyond its rounding");
    let at = |i: usize| format!("row {i}");
    for (i, case) in cases.iter().enumerate() {
        let (params, target) = (params(case), u32::try_from(case.target).unwrap());
        let transform = params.kernel();
        for_each_dispatch(|dispatch| {
            let check = |what: &str, found: f64, exact: f64| {
                let near = (found - exact).abs() <= allowed(case, exact);
                assert!(near || found == exact, "{dispatch:?}, row {i}, {what}: {found} {exact}");
            };
            let mut stats = RowStats::<Details>::new(transform, Some(target));
            stats.fold(dispatch, &case.logits, 0);
            check("log Z", stats.log_z(), case.log_sum_exp);
            check("log-prob", stats.log_prob().unwrap(), case.log_prob);
            let y = params.apply(&widen(&case.logits));
            check("target logit", stats.target_logit().unwrap(), y[case.target]);
            assert_eq!(stats.columns(), case.logits.len() as u64, "row {i}");

            let found = forward(dispatch, &case.logits, target, transform).unwrap();
            assert_eq!(found.details, stats.details(), "row {i}: the same sweep");
            assert_eq!(Some(found.norm), stats.norm(), "row {i}: the same norm");
            assert_eq!(
                found.log_prob,
                stats.log_prob().unwrap() as f32,
                "row {i}: the same figure"
            );
            let error = (f64::from(found.details.entropy) - case.entropy).abs();
            entropy.see(dispatch, (error - 0.5 * ulp(case.entropy)).max(0.0), || at(i));
            let error = f64::from(found.details.log_sum_sq_probs) - case.log_sum_sq_probs;
            squares.see(
                dispatch,
                (error.abs() - 0.5 * ulp(case.log_sum_sq_probs)).max(0.0),
                || at(i),
            );
            let mean = f64::from(found.details.mean_logit);
            let size = y.iter().copied().filter(|y| y.is_finite()).fold(0.0, |m, y| y.abs().max(m));
            let near = (mean - case.mean_logit).abs() <= allowed(case, size);
            assert!(near || mean == case.mean_logit, "{dispatch:?}, row {i}, mean {mean}");
            assert_eq!(found.details.argmax as usize, case.argmax, "{dispatch:?}, row {i}");

            let grads = gradient::<f32, f32>(dispatch, &case.logits, target, transform, 1.0);
            let extra = case.softcap.map_or(0.0, |c| 2.0 * c / case.temperature);
            for (j, (&found, &exact)) in grads.iter().zip(&case.grad_log_prob).enumerate() {
                let ln_p = if y[j].is_finite() { y[j] - case.log_sum_exp } else { 0.0 };
                // 0.7 in f32 is 0.7 to 2e-8: it moves every y by as much.
                let moved =
                    2.0 * y[j].abs().min(1e6) * f64::from(u8::from(case.temperature != 1.0));
                // PyTorch forms 1 − p of its targets by subtraction.
                let cancelled = (f64::from(found) - exact).abs() < 1e-15;
                let part = part_of_contract(found, exact, ln_p.abs() + moved, extra);
                let part = if cancelled { 0.0 } else { part };
                worst.see(dispatch, part, || format!("row {i}, column {j}"));
            }
        });
    }
    worst.settle();
    entropy.settle();
    squares.settle();
}

/// The same rows as 16-bit storage holds them, against the reference on what is held.
#[test]
fn every_row_of_torch_in_16_bits() {
    fn rounded<E: Store>(case: &RowCase, i: usize) {
        let row: Vec<E> = stored(&case.logits);
        let y = params(case).apply(&widen(&row));
        let exact = verify::log_prob(&y, case.target);
        let case = &RowCase { log_sum_exp: verify::log_sum_exp(&y), ..case.clone() };
        for_each_dispatch(|dispatch| {
            let target = u32::try_from(case.target).unwrap();
            let Ok(found) = forward(dispatch, &row, target, params(case).kernel()) else {
                assert!(exact.is_nan(), "{} row {i} is a row", E::NAME);
                return;
            };
            let error = (f64::from(found.log_prob) - exact).abs();
            assert!(
                error <= allowed(case, exact) || f64::from(found.log_prob) == exact,
                "{dispatch:?}, {} row {i}: {found:?} {exact}",
                E::NAME
            );
        });
    }
    for (i, case) in rows().iter().enumerate() {
        rounded::<f16>(case, i);
        rounded::<bf16>(case, i);
    }
}

/// What [`preference_loss`] makes of a TRL case; N = 2P sequences, chosen before rejected.
fn trl(case: &TrlCase, pairs: &[Pair]) -> (dpo_kernel::Summary, Vec<PairLoss>, Vec<f64>) {
    let answers = || case.pairs.iter().flat_map(|pair| [&pair.chosen, &pair.rejected]);
    let sequence =
        |tokens: &Vec<f64>| SequenceLogProb { sum: tokens.iter().sum(), count: tokens.len() };
    let policy: Vec<_> = answers().map(|answer| sequence(&answer.policy)).collect();
    let reference: Vec<_> = answers().map(|answer| sequence(&answer.reference)).collect();
    let sums: Vec<f64> = reference.iter().map(|s| s.sum).collect();
    let divisor = pairs.len() as f64;
    let run = |reference| {
        let batch = PairBatch::new(pairs, &policy, reference, divisor);
        let mut losses = vec![PairLoss::default(); pairs.len()];
        let mut d_log_probs = vec![f64::NAN; policy.len()];
        let out = PairOut::new(&mut losses, &mut d_log_probs);
        let summary = preference_loss(&Dpo::new(case.beta).unwrap(), &batch, out).unwrap();
        (summary, losses, d_log_probs)
    };
    let found = run(Reference::Sequences(&reference));
    assert_eq!(found, run(Reference::Sums(&sums)), "sums and sequences say the same");
    found
}

#[test]
fn every_figure_of_trl() {
    const TOLERANCE: f64 = 1e-12;
    let cases = trl_sigmoid();
    assert_eq!(cases.len(), 2, "plain sigmoid cases of the golden file");
    for case in &cases {
        let n = case.pairs.len();
        let pairs: Vec<Pair> = (0..n).map(|i| Pair::new(2 * i, 2 * i + 1)).collect();
        let (summary, losses, d_log_probs) = trl(case, &pairs);
        let close = |found: f64, expected: f64| {
            (found - expected).abs() <= TOLERANCE * expected.abs().max(1.0)
        };
        let means = [
            (summary.mean_loss(), case.loss),
            (summary.mean_reward_chosen(), case.reward_chosen),
            (summary.mean_reward_rejected(), case.reward_rejected),
            (summary.mean_margin(), case.margin),
            // An f32 mean of TRL's.
            (f64::from(summary.accuracy() as f32), case.accuracy),
            (losses.iter().map(|loss| loss.loss).sum::<f64>() / n as f64, case.loss),
        ];
        for (i, (found, expected)) in means.into_iter().enumerate() {
            assert!(close(found, expected), "beta {}, {i}: {found} {expected}", case.beta);
        }
        for (i, pair) in case.pairs.iter().enumerate() {
            for (answer, d) in [(&pair.chosen, 2 * i), (&pair.rejected, 2 * i + 1)] {
                for &grad in &answer.grad {
                    assert!(close(d_log_probs[d], grad), "pair {i}: {} {grad}", d_log_probs[d]);
                }
            }
        }
        // The control: another β and swapped answers must not pass.
        let swapped: Vec<Pair> = pairs.iter().map(|p| Pair::new(p.rejected, p.chosen)).collect();
        assert!(!close(trl(case, &swapped).0.mean_loss(), case.loss), "swapped answers passed");
        let other = TrlCase { beta: case.beta * 1.001, ..case.clone() };
        assert!(!close(trl(&other, &pairs).0.mean_loss(), case.loss), "another beta passed");
    }
}
