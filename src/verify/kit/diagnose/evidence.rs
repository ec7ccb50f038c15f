//! What is kept of a call to find causes in.

use alloc::rc::Rc;
use core::ops::Range;

use super::super::Output;
use super::super::input::Input;
use super::super::judge::Judged;

/// The calls of a kind that are kept: so many that passed, that failed, and that failed and are
/// wide.
pub(in super::super) const KEPT: [usize; 3] = [24, KEPT_FAILING, 4];
pub(super) const KEPT_FAILING: usize = 64;

/// A call with its answer, kept to find causes in.
#[derive(Debug)]
pub(in super::super) struct Evidence {
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
