//! Measuring: the worst error of a run against the table of bounds.

use dpo_kernel::{Arithmetic, Dispatch};

use super::bounds::{BOUNDS, Bound};

/// The worst of one figure, found by one run.
#[derive(Debug)]
pub struct Worst {
    name: &'static str,
    found: Vec<(Arithmetic, f64, String)>,
}

impl Worst {
    pub fn of(name: &'static str) -> Self {
        Self { name, found: Vec::new() }
    }

    /// Notes an error; NaN is as bad as can be.
    pub fn see(&mut self, dispatch: Dispatch, error: f64, input: impl FnOnce() -> String) {
        let arithmetic = dispatch.arithmetic();
        let error = if error.is_nan() { f64::INFINITY } else { error };
        match self.found.iter_mut().find(|(seen, ..)| *seen == arithmetic) {
            None => self.found.push((arithmetic, error, input())),
            Some((_, worst, at)) if error > *worst => (*worst, *at) = (error, input()),
            Some(_) => {}
        }
    }

    /// Fails if a bound is missing, exceeded, or can be tightened.
    pub fn settle(self) {
        let failures: Vec<String> = self.failures(BOUNDS);
        assert!(failures.is_empty(), "{}", failures.join("\n"));
    }

    /// What [`settle`](Self::settle) objects to.
    pub fn failures(&self, table: &[Bound]) -> Vec<String> {
        let judge = |(arithmetic, worst, at): &(Arithmetic, f64, String)| {
            let name = self.name;
            let entry = table.iter().find(|b| b.name == name && b.arithmetic == *arithmetic);
            let verdict = match entry {
                None => "has no bound",
                Some(entry) if *worst > entry.most => "exceeds its bound",
                Some(entry) if entry.most > 2.0 * worst => "has a bound that can be tightened",
                Some(entry) if (entry.worst.0 / worst - 1.0).abs() > 0.01 => {
                    "is not what the table says was measured"
                }
                Some(_) => return None,
            };
            Some(format!("MEASURED {name:?} {arithmetic:?} {worst:.4e} {at:?} {verdict}"))
        };
        assert!(!self.found.is_empty(), "nothing was measured of {}", self.name);
        self.found.iter().filter_map(judge).collect()
    }
}
