//! Cost per logit against the vocabulary and against the number of rows: it must not depend on
//! them.

use std::time::Duration;

use dpo_kernel::Dispatch;

use crate::arena::{Arena, Laps};
use crate::race::race;
use crate::work::Work;

/// Vocabularies of small and large models, and round ones.
pub const VOCABS: [usize; 11] =
    [1000, 2000, 4096, 8192, 16_384, 32_000, 50_257, 65_536, 128_256, 151_936, 262_144];
/// Rows in one call.
pub const ROWS: [usize; 13] = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096];
/// The vocabulary of the sweep over rows.
pub const VOCAB: usize = 16_384;
/// Logits of a call in the sweep over vocabularies.
const CALL: usize = 1 << 20;

/// One axis and the curves over it, in nanoseconds per logit.
pub struct Sweep {
    pub kernel: &'static str,
    pub axis: &'static str,
    pub points: Vec<usize>,
    pub limit: Vec<f64>,
    pub curves: Vec<(Dispatch, Vec<f64>)>,
}

impl Sweep {
    fn empty(kernel: &'static str, axis: &'static str) -> Self {
        let curves = Dispatch::available().map(|dispatch| (dispatch, Vec::new())).collect();
        Self { kernel, axis, points: Vec::new(), limit: Vec::new(), curves }
    }

    fn measure(&mut self, arena: &mut Arena<f32>, point: usize, time: Duration) {
        let (limit, work): (Work, fn(Dispatch) -> Work) = match self.kernel {
            "tokens" => (Work::Read, Work::Tokens),
            _ => (Work::Update, Work::Grads),
        };
        let mut runners = vec![(0, limit)];
        runners.extend(self.curves.iter().map(|&(dispatch, _)| (0, work(dispatch))));
        let found = race(&mut [arena as &mut dyn Laps], &runners, time);
        self.points.push(point);
        self.limit.push(found[0]);
        for ((_, curve), &ns) in self.curves.iter_mut().zip(&found[1..]) {
            curve.push(ns);
        }
    }

    pub fn over_vocabularies(kernel: &'static str, arena: &mut Arena<f32>, time: Duration) -> Self {
        let mut sweep = Self::empty(kernel, "V");
        for vocab in VOCABS {
            arena.cut(CALL / vocab, vocab);
            sweep.measure(arena, vocab, time / VOCABS.len() as u32);
        }
        sweep
    }

    pub fn over_rows(kernel: &'static str, arena: &mut Arena<f32>, time: Duration) -> Self {
        let mut sweep = Self::empty(kernel, "T");
        for rows in ROWS {
            arena.cut(rows, VOCAB);
            sweep.measure(arena, rows, time / ROWS.len() as u32);
        }
        sweep
    }

    /// A line a point; below, how far the dearest point of a curve is above the cheapest.
    pub fn print(&self) {
        print!("\n  {:>9} {:>8}", self.axis, "limit");
        for (dispatch, _) in &self.curves {
            let name = format!("{:?} {:?}", dispatch.level(), dispatch.arithmetic());
            print!(" {name:>18}");
        }
        println!();
        for (i, point) in self.points.iter().enumerate() {
            print!("  {point:>9} {:>8.3}", self.limit[i]);
            for (_, curve) in &self.curves {
                print!(" {:>18.3}", curve[i]);
            }
            println!();
        }
        print!("  {:>9} {:>8.2}", "max / min", spread(&self.limit));
        for (_, curve) in &self.curves {
            print!(" {:>18.2}", spread(curve));
        }
        println!();
    }
}

fn spread(curve: &[f64]) -> f64 {
    let most = curve.iter().copied().fold(0.0, f64::max);
    most / curve.iter().copied().fold(f64::INFINITY, f64::min)
}
