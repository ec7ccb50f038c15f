//! What is kept of a call to find causes in.

use alloc::rc::Rc;
use core::ops::Range;

use super::super::Output;
use super::super::input::Input;
use super::super::judge::Judged;

/// Why a call is kept, and how many of a kind of kernel are: a sample of those that passed, spread
/// over the plan; the first that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Slot {
    Passed,
    /// It passed with figures that are NaN or infinite: few do, and some mistakes show there alone.
    PassedSpecial,
    Failed,
    FailedWide,
}

impl Slot {
    pub(in super::super) const COUNT: usize = 4;

    pub(in super::super) const fn most(self, input: &Input) -> usize {
        match self {
            // Pairs are few and cheap: all of them.
            Self::Passed | Self::PassedSpecial if matches!(input, Input::Pairs(_)) => 200,
            Self::Passed => 24,
            Self::PassedSpecial => 12,
            Self::Failed => KEPT_FAILING,
            Self::FailedWide => 4,
        }
    }

    pub(in super::super) const fn is_sampled(self) -> bool {
        matches!(self, Self::Passed | Self::PassedSpecial)
    }
}

pub(super) const KEPT_FAILING: usize = 64;

/// A call with its answer, kept to find causes in.
#[derive(Debug)]
pub(in super::super) struct Evidence {
    /// Which call of the run it is.
    pub(in super::super) call: usize,
    pub(in super::super) input: Input,
    /// What outputs held before the call.
    pub(in super::super) before: f64,
    /// The figures of the call before.
    pub(in super::super) last: Rc<[Judged]>,
    pub(in super::super) judged: Rc<[Judged]>,
    /// Its failures in the report.
    pub(in super::super) failures: Range<usize>,
}

impl Evidence {
    pub(super) fn of(&self, output: Output) -> impl Iterator<Item = &Judged> {
        self.judged.iter().filter(move |one| one.output == output)
    }

    pub(super) fn fails(&self, output: Output) -> bool {
        self.of(output).any(|one| !one.ok)
    }
}
