//! A kernel on one row again and again, for those who count its instructions:
//! `cost KERNEL TYPE LEVEL ARITHMETIC VOCAB TIMES`.
//!
//! The difference between two numbers of times is what the kernel costs, without the program.

use std::env::args;
use std::process::ExitCode;

use dpo_kernel::gradient::{GradBatch, logit_grads_in_place};
use dpo_kernel::row::RowNorm;
use dpo_kernel::{
    Arithmetic, Dispatch, Element, Error, Layout, Level, Logits, LogitsMut, Span, TokenOut, bf16,
    f16, token_log_probs,
};

/// Multiples of 1/8 in ±4, which every type has.
fn row<E: Element>(vocab: usize) -> Vec<E> {
    let numbers = (0_u16..64).cycle().take(vocab);
    numbers.map(|j| E::from_f32(f32::from(j * 37 % 64) / 8.0 - 4.0)).collect()
}

fn forward<E: Element>(dispatch: Dispatch, vocab: usize, times: usize) -> Result<(), Error> {
    let (row, mut log_probs) = (row::<E>(vocab), [0.0]);
    let (targets, spans) = ([5], [Span::new(0, 1)]);
    let layout = Layout::new(&targets, &spans, vocab)?;
    for _ in 0..times {
        let out = TokenOut::new(&mut log_probs);
        token_log_probs(dispatch, Logits::new(&row, 1, vocab)?, &layout, out)?;
    }
    Ok(())
}

/// In place, so all but the first are of gradients: as good as any logits.
fn gradient<E: Element>(dispatch: Dispatch, vocab: usize, times: usize) -> Result<(), Error> {
    let (mut row, mut log_probs, mut norms) = (row::<E>(vocab), [0.0], [RowNorm::default()]);
    let (targets, spans) = ([5], [Span::new(0, 1)]);
    let layout = Layout::new(&targets, &spans, vocab)?;
    let out = TokenOut::new(&mut log_probs).with_norms(&mut norms);
    token_log_probs(dispatch, Logits::new(&row, 1, vocab)?, &layout, out)?;
    let batch = GradBatch::new(&layout, &norms, &[0.5]);
    for _ in 0..times {
        logit_grads_in_place(dispatch, LogitsMut::new(&mut row, 1, vocab)?, &batch)?;
    }
    Ok(())
}

type Job = fn(Dispatch, usize, usize) -> Result<(), Error>;

fn chosen(words: &[String]) -> Option<(Job, Dispatch, [usize; 2])> {
    let [kernel, element, level, arithmetic, vocab, times] = words else { return None };
    let job: Job = match (kernel.as_str(), element.as_str()) {
        ("forward", "f32") => forward::<f32>,
        ("forward", "f16") => forward::<f16>,
        ("forward", "bf16") => forward::<bf16>,
        ("gradient", "f32") => gradient::<f32>,
        ("gradient", "f16") => gradient::<f16>,
        ("gradient", "bf16") => gradient::<bf16>,
        _ => return None,
    };
    let level = Level::ALL.iter().find(|found| format!("{found:?}") == *level)?;
    let arithmetic = [Arithmetic::Fused, Arithmetic::Portable]
        .into_iter()
        .find(|found| format!("{found:?}") == *arithmetic)?;
    let sizes = [vocab.parse().ok()?, times.parse().ok()?];
    Some((job, Dispatch::new(*level, arithmetic).ok()?, sizes))
}

fn main() -> ExitCode {
    let words: Vec<String> = args().skip(1).collect();
    match chosen(&words).map(|(job, dispatch, [vocab, times])| job(dispatch, vocab, times)) {
        Some(Ok(())) => ExitCode::SUCCESS,
        other => {
            eprintln!("{other:?}");
            ExitCode::FAILURE
        }
    }
}
