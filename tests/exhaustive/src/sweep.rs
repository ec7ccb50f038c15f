//! Runs one function over a range of f32 bit patterns, on all processors.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use crate::oracle::{Function, correctly_rounded};

/// What a sweep found.
#[derive(Clone, Debug, Default)]
pub(crate) struct Found {
    pub(crate) inputs: u64,
    /// Inputs that took arbitrary precision.
    pub(crate) hard: u64,
    /// The exact value nearest to a rounding boundary: relative distance and input.
    pub(crate) hardest: Option<(f64, f32)>,
    pub(crate) mismatches: u64,
    /// The first mismatches of each thread: input, result, correct result.
    pub(crate) examples: Vec<(f32, f32, f32)>,
}

impl Found {
    fn check(&mut self, function: &Function, x: f32) {
        let result = (function.tested)(x);
        let (correct, distance) = correctly_rounded(function, x);
        self.inputs += 1;
        if let Some(distance) = distance {
            self.hard += 1;
            if self.hardest.is_none_or(|(least, _)| distance < least) {
                self.hardest = Some((distance, x));
            }
        }
        if result.to_bits() != correct.to_bits() && !(result.is_nan() && correct.is_nan()) {
            self.mismatches += 1;
            if self.examples.len() < 8 {
                self.examples.push((x, result, correct));
            }
        }
    }

    fn merge(mut self, other: Self) -> Self {
        self.inputs += other.inputs;
        self.hard += other.hard;
        self.mismatches += other.mismatches;
        self.examples.extend(other.examples);
        self.hardest = match (self.hardest, other.hardest) {
            (Some(a), Some(b)) => Some(if b.0 < a.0 { b } else { a }),
            (a, b) => a.or(b),
        };
        self
    }
}

/// Checks `function` on the inputs whose bits lie in `bits`.
pub(crate) fn sweep(function: &Function, bits: Range<u64>) -> Found {
    const CHUNK: u64 = 1 << 20;
    let next = AtomicU64::new(bits.start);
    let worker = || {
        let mut found = Found::default();
        loop {
            let start = next.fetch_add(CHUNK, Ordering::Relaxed);
            if start >= bits.end {
                return found;
            }
            for bits in start..bits.end.min(start + CHUNK) {
                let bits = u32::try_from(bits).expect("the range ends at 2^32");
                found.check(function, f32::from_bits(bits));
            }
        }
    };
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        let handles: Vec<_> = (0..threads).map(|_| scope.spawn(worker)).collect();
        handles
            .into_iter()
            .map(|handle| handle.join().expect("no worker panics"))
            .fold(Found::default(), Found::merge)
    })
}
