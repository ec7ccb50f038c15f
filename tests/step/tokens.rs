//! A loss of tokens needs nothing new of the backward: three steps of GRPO against autograd's
//! figures (`docs/grpo.py`).

use dpo_kernel::gradient::{GradBatch, logit_grads};
use dpo_kernel::row::RowNorm;
use dpo_kernel::{Dispatch, Layout, Logits, LogitsMut, Span, TokenOut, token_log_probs};
use serde_json::Value;

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect()
}

/// Loss of a token and its derivative with respect to its log-prob: clipped policy gradient and k3.
fn grpo(log_prob: f64, old: f64, reference: f64, advantage: f64) -> (f64, f64) {
    let ratio = (log_prob - old).exp();
    let (plain, clipped) = (ratio * advantage, ratio.clamp(0.8, 1.2) * advantage);
    let inside = (0.8..=1.2).contains(&ratio);
    let slope = if plain < clipped || inside { plain } else { 0.0 };
    let gap = reference - log_prob;
    (-plain.min(clipped) + 0.04 * (gap.exp() - gap - 1.0), -slope + 0.04 * (1.0 - gap.exp()))
}

#[test]
fn three_steps_of_grpo_are_those_of_autograd() {
    let figures: Value = serde_json::from_str(include_str!("../data/grpo.json")).unwrap();
    let of = |name: &str| numbers(&figures[name]);
    let (rows, vocab) = (6, 7);
    let targets: Vec<u32> = of("targets").into_iter().map(|x| x as u32).collect();
    let (advantages, old, reference) = (of("advantages"), of("old"), of("reference"));
    let spans = [Span::new(0, 3), Span::new(3, 5), Span::new(5, 6)];
    let layout = Layout::new(&targets, &spans, vocab).unwrap();
    let start: Vec<f32> = of("logits").into_iter().map(|x| x as f32).collect();
    for dispatch in Dispatch::available() {
        let mut logits = start.clone();
        for (step, expected) in figures["steps"].as_array().unwrap().iter().enumerate() {
            let (mut log_probs, mut norms) = (vec![0.0; rows], vec![RowNorm::default(); rows]);
            let view = Logits::new(&logits, rows, vocab).unwrap();
            let out = TokenOut::new(&mut log_probs).with_norms(&mut norms);
            token_log_probs(dispatch, view, &layout, out).unwrap();
            let each = (0..rows).map(|row| {
                grpo(f64::from(log_probs[row]), old[row], reference[row], advantages[row])
            });
            let (losses, slopes): (Vec<f64>, Vec<f64>) = each.unzip();
            let loss = losses.iter().sum::<f64>() / rows as f64;
            let coefficients: Vec<f64> = slopes.iter().map(|d| d / rows as f64).collect();
            let mut grads = vec![f32::NAN; rows * vocab];
            let to = LogitsMut::new(&mut grads, rows, vocab).unwrap();
            logit_grads(dispatch, view, &GradBatch::new(&layout, &norms, &coefficients), to)
                .unwrap();
            let autograd = numbers(&figures["losses"])[step];
            assert!(
                (loss - autograd).abs() < 2e-7,
                "{dispatch:?}, step {step}: {loss}, {autograd}"
            );
            for (i, (found, exact)) in grads.iter().zip(numbers(&expected["grad"])).enumerate() {
                let error = f64::from(*found) - exact;
                assert!(
                    error.abs() < 1e-7,
                    "{dispatch:?}, step {step}, {i}: {found} is not {exact}"
                );
            }
            for (x, grad) in logits.iter_mut().zip(&grads) {
                *x -= 8.0 * grad;
            }
            for (found, exact) in logits.iter().zip(numbers(&expected["logits"])) {
                assert!((f64::from(*found) - exact).abs() < 1e-6, "{found} is not {exact}");
            }
        }
        let moved = logits.iter().zip(&start).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(moved > 0.5, "the steps move the logits: {moved}");
    }
}
