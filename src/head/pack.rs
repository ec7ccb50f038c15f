//! Copies of a product's operands in the order in which it reads them, widened to f32.
//!
//! Rows become columns by squares of sixteen, which registers transpose. What takes the time is to
//! wait for memory: squares are of rows that lie far apart, a line of the cache from each, where the
//! processor does not foresee what is read next. So it is told ([`fetch`]).

#![allow(
    clippy::indexing_slicing,
    clippy::needless_range_loop,
    reason = "indices below a constant length; a zip of lanes is not inlined at every level of optimisation"
)]

use super::product::{BlockColumn, PanelRow, ROWS, VECTORS, WIDTH, widen};
use crate::Element;
use crate::simd::{Kernel, LANES, Simd, fetch};

/// Squares between one and that whose rows are asked for with it.
const AHEAD: usize = 4;

/// Sixteen rows of sixteen.
type Square = [[f32; LANES]; LANES];

/// A square, transposed.
#[inline(always)]
fn transpose<S: Simd>(s: S, square: &Square, to: &mut Square) {
    for four in 0..LANES / 4 {
        let mut rows = [&[0.0; 4]; LANES];
        for j in 0..LANES {
            rows[j] = &square[j].as_chunks().0[four];
        }
        for s in s.parts() {
            let columns = s.columns(rows);
            for i in 0..4 {
                s.store_f32(columns[i], &mut to[4 * four + i]);
            }
        }
    }
}

/// Panels of a matrix's rows, transposed: row j of it is column j of the panels. Columns without a
/// row are 0.
pub(super) struct Across<'a, E> {
    /// From the first element that counts on.
    pub(super) rows: &'a [E],
    pub(super) stride: usize,
    pub(super) count: usize,
    /// Elements of each row that count: rows of a panel.
    pub(super) depth: usize,
    pub(super) panels: &'a mut [PanelRow],
}

impl<E: Element> Kernel for Across<'_, E> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let (mut square, mut turned) = ([[0.0; LANES]; LANES], [[0.0; LANES]; LANES]);
        for (p, panel) in self.panels.chunks_exact_mut(self.depth.max(1)).enumerate() {
            for v in 0..VECTORS {
                for (i, to) in panel.chunks_mut(LANES).enumerate() {
                    for (j, square) in square.iter_mut().enumerate() {
                        let row = p * WIDTH + v * LANES + j;
                        let start = row.saturating_mul(self.stride).saturating_add(i * LANES);
                        // The row that takes this one's place a panel's length later.
                        let next = start.saturating_add(LANES.saturating_mul(self.stride));
                        if let Some(next) = self.rows.get(next) {
                            fetch(next);
                        }
                        let row = if row < self.count { self.rows.get(start..) } else { None };
                        let row = row.unwrap_or_default();
                        widen(s, row.get(..to.len()).unwrap_or(row), square);
                    }
                    transpose(s, &square, &mut turned);
                    for (to, from) in to.iter_mut().zip(&turned) {
                        to[v] = *from;
                    }
                }
            }
        }
    }
}

/// Panels of a matrix's columns: row k of each is of row k. Columns that it lacks are 0.
pub(super) struct Along<'a, E> {
    /// From the first element that counts on.
    pub(super) rows: &'a [E],
    pub(super) stride: usize,
    /// How many rows there are.
    pub(super) count: usize,
    /// Elements of each row that count.
    pub(super) columns: usize,
    pub(super) panels: &'a mut [PanelRow],
}

impl<E: Element> Kernel for Along<'_, E> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { rows, stride, count, columns, panels } = self;
        for k in 0..count {
            let row = rows.get(k.saturating_mul(stride)..).unwrap_or_default();
            let row = row.get(..columns).unwrap_or(row);
            // Not a zip with the panels, which divides by their length to know its own.
            let mut at = k;
            for row in row.chunks(WIDTH) {
                let Some(to) = panels.get_mut(at) else { return };
                at = at.saturating_add(count);
                for (v, to) in to.iter_mut().enumerate() {
                    widen(s, row.get(v * LANES..).unwrap_or_default(), to);
                }
            }
        }
    }
}

/// A block of rows, transposed: `block[k][i] = rows[i][k]`. Rows that are empty are 0.
pub(super) struct Block<'a, E> {
    pub(super) rows: [&'a [E]; ROWS],
    pub(super) block: &'a mut [BlockColumn],
}

impl<E: Element> Kernel for Block<'_, E> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let (mut square, mut turned) = ([[0.0; LANES]; LANES], [[0.0; LANES]; LANES]);
        for (part, to) in self.block.chunks_mut(LANES).enumerate() {
            for (row, to) in self.rows.iter().zip(&mut square) {
                if let Some(next) = row.get((part + AHEAD) * LANES) {
                    fetch(next);
                }
                widen(s, row.get(part * LANES..).unwrap_or_default(), to);
            }
            transpose(s, &square, &mut turned);
            for (to, from) in to.iter_mut().zip(&turned) {
                if let Some(from) = from.first_chunk() {
                    *to = *from;
                }
            }
        }
    }
}
