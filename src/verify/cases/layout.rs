//! Where sequences lie among the rows, well-formed or not.

use alloc::vec;
use alloc::vec::Vec;

use super::Place;
use crate::verify::IGNORE_INDEX;

/// Targets and spans of a batch, as they come from a host: perhaps wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayoutCase {
    /// Columns: targets are below it, unless they are wrong.
    pub vocab: usize,
    /// One a row.
    pub targets: Vec<u32>,
    /// The target of rows that are not scored.
    pub ignore: u32,
    /// `[start, end)` of each sequence.
    pub spans: Vec<(usize, usize)>,
}

impl LayoutCase {
    /// Whether every span lies inside the rows, shares none of them with another, and scores one at
    /// least, with a target that the vocabulary has.
    #[must_use]
    pub fn is_well_formed(&self) -> bool {
        self.spans_are_disjoint() && self.spans.iter().all(|&span| self.scores(span))
    }

    /// Whether a row is scored: inside a span, and not ignored.
    #[must_use]
    pub fn is_scored(&self, row: usize) -> bool {
        self.spans.iter().any(|&(start, end)| (start..end).contains(&row))
            && self.targets.get(row).is_some_and(|&target| target != self.ignore)
    }

    /// A well-formed layout of sequences one after another in memory, listed by their ranks.
    ///
    /// Rows between them have a target that no vocabulary has: nobody looks.
    pub(super) fn lay_out(vocab: usize, ignore: Option<u16>, sequences: &[Sequence]) -> Self {
        let id = |at| u32::try_from(Place::At(at).column(vocab, 0)).unwrap_or_default();
        // A vocabulary of one id that is ignored could not be scored.
        let ignore = ignore.filter(|_| vocab > 1).map_or(IGNORE_INDEX, id);
        let other = u32::from(ignore == 0);
        let mut targets = Vec::new();
        let mut ranked = Vec::new();
        for Sequence { gap, tokens, rank } in sequences {
            targets.resize(targets.len() + gap, u32::MAX - 1);
            let start = targets.len();
            targets.extend(tokens.iter().map(|token| token.map_or(ignore, id)));
            if let Some(first) = targets.get_mut(start..)
                && first.iter().all(|&target| target == ignore)
            {
                first.iter_mut().take(1).for_each(|target| *target = other);
            }
            ranked.push((*rank, (start, targets.len())));
        }
        ranked.sort_by_key(|&(rank, _)| rank);
        let spans = ranked.into_iter().map(|(_, span)| span).collect();
        Self { vocab, targets, ignore, spans }
    }

    /// By painting the rows one by one.
    fn spans_are_disjoint(&self) -> bool {
        let mut free = vec![true; self.targets.len()];
        self.spans.iter().all(|&(start, end)| {
            let Some(rows) = free.get_mut(start..end) else { return false };
            rows.iter_mut().all(core::mem::take)
        })
    }

    fn scores(&self, (start, end): (usize, usize)) -> bool {
        let rows = self.targets.get(start..end).unwrap_or_default();
        let scored = || rows.iter().filter(|&&target| target != self.ignore);
        let fits = |&target: &u32| usize::try_from(target).is_ok_and(|t| t < self.vocab);
        scored().count() > 0 && scored().all(fits)
    }
}

/// A sequence to lay out.
#[derive(Clone, Debug)]
pub(super) struct Sequence {
    /// Rows before it that belong to nobody.
    pub(super) gap: usize,
    /// Its targets in 65536ths of the vocabulary, one at least; None is ignored, unless all are.
    pub(super) tokens: Vec<Option<u16>>,
    /// Its place in the list of spans.
    pub(super) rank: u16,
}
