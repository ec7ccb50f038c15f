//! A row on its way through the head.

use crate::Transform;
use crate::row::{DetailSums, ExtraSums, RowNorm, RowStats};

/// Room for a row on its way through the head: where it is, and what was folded of it.
#[derive(Clone, Copy, Debug)]
pub struct HeadRow {
    pub(super) row: usize,
    pub(super) stats: RowStats,
    /// And beside, where details are asked for.
    pub(super) details: DetailSums,
    /// Whether the target's logit is the lowest finite number.
    pub(super) is_masked: bool,
    /// By what its sums are taken before a tile is added.
    pub(super) scale: f32,
    /// In a trained backward, what the forward kept of it, and c.
    pub(super) norm: RowNorm,
    pub(super) coefficient: f64,
}

impl HeadRow {
    /// Of no row.
    pub const NEW: Self = Self {
        row: usize::MAX,
        stats: RowStats::new(Transform::NONE, None),
        details: DetailSums::NONE,
        is_masked: false,
        scale: 1.0,
        norm: RowNorm::INVALID,
        coefficient: 0.0,
    };
}

impl Default for HeadRow {
    fn default() -> Self {
        Self::NEW
    }
}
