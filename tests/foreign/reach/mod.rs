//! How far the cases reach, from both sources: every number stays within its range and comes near
//! both ends of it, every kind occurs.

mod layouts;
mod losses;
mod rows;

use std::collections::{BTreeMap, BTreeSet};

use proptest::strategy::{Strategy, ValueTree};

use crate::cases::{runner, unstructured};

/// The least and the largest of each number that was seen, and how often each kind was.
#[derive(Default)]
struct Reach {
    ranges: BTreeMap<&'static str, (f64, f64)>,
    kinds: BTreeMap<&'static str, u32>,
    cases: u32,
}

impl Reach {
    fn see(&mut self, name: &'static str, x: f64) {
        let range = self.ranges.entry(name).or_insert((f64::INFINITY, f64::NEG_INFINITY));
        *range = (range.0.min(x), range.1.max(x));
    }

    fn kind(&mut self, name: &'static str) {
        *self.kinds.entry(name).or_insert(0) += 1;
    }

    /// Each within its range, and near both ends: a twentieth of it, or of its decades. Numbers that
    /// are not listed are not there.
    #[track_caller]
    fn spans(&self, expected: &[(&'static str, f64, f64)]) {
        let names: BTreeSet<_> = expected.iter().map(|row| row.0).collect();
        let seen: BTreeSet<_> = self.ranges.keys().copied().collect();
        assert_eq!(seen, names, "what was seen is what is listed");
        for &(name, low, high) in expected {
            let (least, largest) = self.ranges[name];
            assert!(
                low <= least && largest <= high,
                "{name}: {least} to {largest}, not {low} to {high}"
            );
            let decades = low > 0.0 && high / low > 50.0;
            let scale = |x: f64| if decades { x.ln() } else { x };
            let share = |x: f64| (scale(x) - scale(low)) / (scale(high) - scale(low));
            let near =
                share(least) < 0.05 && share(largest) > 0.95 || (low == high && least == largest);
            assert!(near, "{name}: only {least} to {largest} of {low} to {high}");
        }
    }

    /// Each kind at least so often, and no other.
    #[track_caller]
    fn counts(&self, least: u32, expected: &[&'static str]) {
        let seen: BTreeSet<_> = self.kinds.keys().copied().collect();
        assert_eq!(seen, expected.iter().copied().collect(), "the kinds that occur");
        for (name, count) in &self.kinds {
            assert!(*count >= least, "{name}: {count} of {} cases", self.cases);
        }
    }
}

fn grown<S: Strategy>(cases: u32, strategy: &S, see: impl Fn(&mut Reach, &S::Value)) -> Reach {
    let mut runner = runner();
    let mut reach = Reach::default();
    for _ in 0..cases {
        reach.cases += 1;
        see(&mut reach, &strategy.new_tree(&mut runner).unwrap().current());
    }
    reach
}

fn parsed<T: for<'a> arbitrary::Arbitrary<'a>>(cases: u64, see: impl Fn(&mut Reach, &T)) -> Reach {
    let mut reach = Reach::default();
    unstructured(cases, |case| {
        reach.cases += 1;
        see(&mut reach, case);
    });
    reach
}
