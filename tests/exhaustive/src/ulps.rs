//! The largest errors of the f64 functions that a search finds.

use std::thread;

use dpo_kernel::math;

use crate::oracle::{self, Big, exact};
use crate::random::Random;

struct Double {
    name: &'static str,
    tested: fn(f64, f64) -> f64,
    precise: fn(f64, f64) -> Big,
    /// Where to look: from `x` and `y` in ±40 to arguments of the function.
    arguments: fn(f64, f64) -> (f64, f64),
    /// What the error is counted in the units of.
    unit: fn(f64, f64, f64) -> f64,
}

const DOUBLES: [Double; 5] = [
    Double {
        name: "sigmoid",
        tested: |x, _| math::sigmoid(x),
        precise: |x, _| oracle::sigmoid(x),
        arguments: |x, _| (x, 0.0),
        unit: |_, _, value| value,
    },
    Double {
        name: "log_sigmoid",
        tested: |x, _| math::log_sigmoid(x),
        precise: |x, _| oracle::log_sigmoid(x),
        arguments: |x, _| (x, 0.0),
        unit: |_, _, value| value,
    },
    Double {
        name: "softplus",
        tested: |x, _| math::softplus(x),
        precise: |x, _| -oracle::log_sigmoid(-x),
        arguments: |x, _| (x, 0.0),
        unit: |_, _, value| value,
    },
    Double {
        name: "log1mexp",
        tested: |x, _| math::log1mexp(x),
        precise: |x, _| oracle::log1mexp(x),
        arguments: |x, _| (-x.abs(), 0.0),
        unit: |_, _, value| value,
    },
    Double {
        name: "logaddexp",
        tested: math::logaddexp,
        precise: oracle::logaddexp,
        arguments: |x, y| (x, x - y.abs()),
        // The terms may cancel, so the error is relative to the larger of them; and the difference
        // is rounded, which moves the smaller by that much times its derivative.
        unit: |a, b, value| {
            let gap = (a - b).abs();
            value.abs().max(a.max(b).abs()).max(gap * (-gap).exp())
        },
    },
];

/// An error in ulp and the arguments it was found at.
type Worst = (f64, (f64, f64));

impl Double {
    fn error(&self, (x, y): (f64, f64)) -> f64 {
        let value = (self.tested)(x, y);
        let unit = (self.unit)(x, y, value).abs();
        let ulp = unit - unit.next_down();
        ((self.precise)(x, y) - exact(value)).to_f64().value().abs() / ulp
    }

    /// The worst of `samples` random arguments and of as many near the worst ones.
    fn search(&self, samples: u64, seed: u64) -> Worst {
        let mut random = Random::new(seed);
        let mut best: Vec<Worst> = Vec::new();
        for _ in 0..samples {
            // Most of the interest is where neither term is negligible; the tails are all alike.
            let largest = [1.0, 4.0, 40.0, 700.0][usize::from(random.bits().to_le_bytes()[0] & 3)];
            let arguments = (self.arguments)(random.real(largest), random.real(largest));
            best.push((self.error(arguments), arguments));
            if best.len() == 4096 {
                keep(&mut best, 64);
            }
        }
        keep(&mut best, 64);
        // The error has a smooth part, the conditioning, which the neighbours share.
        for round in 0..8 {
            let width = (-10.0 - 4.0 * f64::from(round)).exp2();
            let around = best.clone();
            for (_, (x, y)) in around.iter().cycle().take(usize::try_from(samples / 8).unwrap_or(0))
            {
                let near = |v: f64, unit: f64| v + v * width * (2.0 * unit - 1.0);
                let arguments = (near(*x, random.unit()), near(*y, random.unit()));
                best.push((self.error(arguments), arguments));
            }
            keep(&mut best, 64);
        }
        best[0]
    }
}

fn keep(best: &mut Vec<Worst>, count: usize) {
    best.sort_by(|a, b| b.0.total_cmp(&a.0));
    best.truncate(count);
}

/// Searches the functions named, or all, with `samples` random arguments each; prints the worst.
pub(crate) fn run(samples: u64, names: &[String]) {
    let threads = thread::available_parallelism().map_or(1, usize::from) as u64;
    for function in &DOUBLES {
        if !names.is_empty() && names.iter().all(|name| name != function.name) {
            continue;
        }
        let worst = thread::scope(|scope| {
            let handles: Vec<_> = (0..threads)
                .map(|seed| scope.spawn(move || function.search(samples / threads, seed)))
                .collect();
            handles
                .into_iter()
                .map(|handle| handle.join().expect("no search panics"))
                .max_by(|a, b| a.0.total_cmp(&b.0))
        });
        if let Some((ulps, (x, y))) = worst {
            println!("{}: {ulps:.4} ulp at {x:?}, {y:?}", function.name);
        }
    }
}
