//! That peers do the same work.

use dpo_kernel::Element;

use crate::work::{BETA, Found, Work, apart, columns};

/// The loss of a pair.
pub fn loss<E>(work: &Work<E>, found: &Found) -> f64 {
    let sum = |of: &[f32]| of.iter().map(|&x| f64::from(x)).sum::<f64>();
    let (chosen, rejected) = found.log_probs.split_at(work.rows / 2);
    (-BETA * (sum(chosen) - sum(rejected))).exp().ln_1p()
}

/// The largest difference of hidden gradients, relative to the largest number of their row.
pub fn hidden<E>(work: &Work<E>, found: &Found, other: &[f32]) -> f64 {
    assert_eq!(other.len(), found.grads.len(), "a gradient for each hidden number");
    let rows = found.grads.chunks(work.size).zip(other.chunks(work.size));
    rows.map(|(due, other)| {
        let due = due.iter().map(|&x| f64::from(x)).collect::<Vec<_>>();
        apart(other, &due)
    })
    .fold(0.0, f64::max)
}

/// The same of weights' gradients in [`columns`]. What is due is f64, of log-probs that were checked.
pub fn weights<E: Element>(work: &Work<E>, found: &Found, other: &[f32]) -> f64 {
    assert_eq!(other.len(), 4 * work.size, "the gradients of four rows of weights");
    let rows = columns(work).into_iter().zip(other.chunks(work.size));
    rows.map(|(column, other)| apart(other, &work.exact_of_weights(column, found)))
        .fold(0.0, f64::max)
}
