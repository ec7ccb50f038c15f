//! Kernels and limits in turns: the best of many short laps each.
//!
//! Another process, or the machine next door, slows whoever is running. Turns of all runners are
//! interleaved and each keeps its best lap: that is the time without disturbance, if there was one
//! such moment, and ratios within a race see the same machine.

use std::time::{Duration, Instant};

use crate::arena::Laps;
use crate::work::Work;

/// Rounds at the very least.
const ROUNDS: usize = 5;

/// Best nanoseconds per logit of each (buffer, work), in rounds for as long as `time`.
pub fn race(buffers: &mut [&mut dyn Laps], runners: &[(usize, Work)], time: Duration) -> Vec<f64> {
    let mut best = vec![f64::INFINITY; runners.len()];
    let start = Instant::now();
    let mut round = 0;
    while round < ROUNDS || start.elapsed() < time {
        for (&(buffer, work), best) in runners.iter().zip(&mut best) {
            *best = best.min(buffers[buffer].turn(work));
        }
        round += 1;
    }
    best
}
