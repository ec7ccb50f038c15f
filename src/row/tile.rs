//! The fold of one tile into a caller's statistics, compiled once for each element type.

use core::marker::PhantomData;
use core::slice::from_mut;

use super::block::{Copies, HELD};
use super::extra::{Details, Extra, Nothing};
use super::fold::{Fold, fold_all};
use super::stats::RowStats;
use crate::Element;
use crate::element::per_type;
use crate::simd::Dispatch;

/// The fold of a tile, for a caller's statistics.
struct Tile<'a, E, D: Extra> {
    stats: &'a mut RowStats<D>,
    elements: &'a [E],
    first_column: u32,
}

/// An [`Extra`] whose fold is compiled here, for each element type.
trait Folded: Extra {
    fn fold<E: Element>(dispatch: Dispatch, tile: Tile<'_, E, Self>);
}

macro_rules! folded {
    ($extra:ident, $job:ident) => {
        struct $job<'a>(PhantomData<&'a ()>);
        per_type!($job<'a>, E, Tile<'a, E, $extra> => (), fold_tile);

        impl Folded for $extra {
            #[inline]
            fn fold<E: Element>(dispatch: Dispatch, tile: Tile<'_, E, Self>) {
                E::call::<$job<'_>>(dispatch, tile);
            }
        }
    };
}

folded!(Nothing, PlainFold);
folded!(Details, DetailedFold);

fn fold_tile<E: Element, D: Extra>(dispatch: Dispatch, tile: Tile<'_, E, D>) {
    let Tile { stats, elements, first_column } = tile;
    let mut fold = Fold::new(*stats, elements, first_column);
    let mut copies = [const { Copies::NEW }; HELD];
    fold_all(dispatch, from_mut(&mut fold), &mut copies);
    *stats = fold.stats;
}

#[allow(private_bounds, reason = "sealed: () and Details")]
impl<D: Folded> RowStats<D> {
    /// Folds the columns `first_column..first_column + tile.len()` of the row, none of which was
    /// folded before.
    ///
    /// # Panics
    /// Never. A column of NaN or +inf makes the results NaN.
    #[inline]
    pub fn fold<E: Element>(&mut self, dispatch: Dispatch, tile: &[E], first_column: u32) {
        D::fold(dispatch, Tile { stats: self, elements: tile, first_column });
    }
}
