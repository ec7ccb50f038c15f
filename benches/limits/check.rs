//! Results before times: every kernel against a plain f64 loop, and the comparison against planted
//! faults.

use dpo_kernel::Dispatch;

use crate::arena::{Arena, COEFFICIENT, Inspection, Storage};
use crate::work::Work;

/// Stops the bench unless every kernel on every level is right about both rows of a ragged
/// vocabulary and of a small one.
pub fn all<E: Storage>() {
    for vocab in [256, 50_257] {
        let mut arena = Arena::<E>::new(2 * vocab, 1);
        arena.cut(2, vocab);
        kernels(&mut arena);
    }
}

fn kernels<E: Storage>(arena: &mut Arena<E>) {
    for dispatch in Dispatch::available() {
        let work = [Work::Tokens(dispatch), Work::Details(dispatch), Work::Grads(dispatch)];
        #[cfg(feature = "rayon")]
        let work =
            work.into_iter().chain([Work::ThreadedTokens(dispatch), Work::ThreadedGrads(dispatch)]);
        for work in work {
            arena.inspect(work, |found| {
                for row in [0, found.targets.len() - 1] {
                    let truth = Truth::of(found, row);
                    if let Err(message) = truth.compare(found, row, work) {
                        panic!("{} {work:?} row {row}: {message}", E::NAME);
                    }
                    assert!(truth.shifted().compare(found, row, work).is_err(), "a planted fault");
                }
            });
        }
    }
}

/// A row's results in f64.
struct Truth {
    log_prob: f64,
    entropy: f64,
    argmax: usize,
    grads: Vec<f64>,
}

impl Truth {
    fn of<E: Storage>(found: &Inspection<'_, E>, row: usize) -> Self {
        let row = row * found.vocab..(row + 1) * found.vocab;
        let target = found.targets[row.start / found.vocab] as usize;
        let x = found.before[row].iter().map(|x| f64::from(x.to_f32())).collect::<Vec<_>>();
        let argmax = (0..x.len()).rev().max_by(|&a, &b| x[a].total_cmp(&x[b])).unwrap_or(0);
        let top = x[argmax];
        let log_z = top + x.iter().map(|x| (x - top).exp()).sum::<f64>().ln();
        let p = x.iter().map(|x| (x - log_z).exp());
        let entropy = x.iter().zip(p.clone()).map(|(x, p)| -p * (x - log_z)).sum();
        let mut grads = p.map(|p| -COEFFICIENT * p).collect::<Vec<_>>();
        grads[target] += COEFFICIENT;
        Self { log_prob: x[target] - log_z, entropy, argmax, grads }
    }

    /// What no kernel should find: every figure off by little.
    fn shifted(&self) -> Self {
        let mut grads = self.grads.clone();
        grads[self.argmax] *= 1.02;
        Self {
            log_prob: self.log_prob + 2e-5,
            entropy: self.entropy + 5e-4,
            argmax: self.argmax + 1,
            grads,
        }
    }

    fn compare<E: Storage>(
        &self,
        found: &Inspection<'_, E>,
        row: usize,
        work: Work,
    ) -> Result<(), String> {
        let close = |name: &str, found: f64, expected: f64, tolerance: f64| {
            if (found - expected).abs() <= tolerance {
                Ok(())
            } else {
                Err(format!("{name} is {found}, expected {expected} within {tolerance}"))
            }
        };
        match work {
            Work::Tokens(_) => {
                close("log-prob", f64::from(found.log_probs[row]), self.log_prob, 1e-5)
            }
            Work::Details(_) => {
                let details = found.details[row];
                close("argmax", f64::from(details.argmax), self.argmax as f64, 0.0)?;
                close("entropy", f64::from(details.entropy), self.entropy, 1e-4)
            }
            Work::Grads(_) => {
                let (relative, least) = E::ROUNDING;
                let row = &found.after[row * found.vocab..(row + 1) * found.vocab];
                for (column, (x, &expected)) in row.iter().zip(&self.grads).enumerate() {
                    let tolerance = relative * expected.abs() + least;
                    close("gradient", f64::from(x.to_f32()), expected, tolerance)
                        .map_err(|message| format!("column {column}: {message}"))?;
                }
                Ok(())
            }
            #[cfg(feature = "rayon")]
            Work::ThreadedTokens(dispatch) => self.compare(found, row, Work::Tokens(dispatch)),
            #[cfg(feature = "rayon")]
            Work::ThreadedGrads(dispatch) => self.compare(found, row, Work::Grads(dispatch)),
            Work::Read | Work::Update => Ok(()),
        }
    }
}
