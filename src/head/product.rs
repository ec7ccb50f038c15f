//! The built-in product of matrices: a few rows by a panel of columns, in registers.
//!
//! ```text
//! c[i][j] = Σ_k a[i][k] · b[k][j]
//! ```
//!
//! The simple version is three loops. This one differs in that
//! 1. lanes are columns, never the contraction: a sum is a chain of multiply-adds in the order of
//!    k, whatever the width of the machine, so all levels give the same bits;
//! 2. a chain has [`DEPTH`] terms at most, from fixed positions on, and chains are added in their
//!    order. The error grows with the length of a chain, not of the sum, and no result depends on
//!    how many rows or columns are made at once;
//! 3. the right operand is copied into panels of [`WIDTH`] columns (`pack.rs`), widened to f32,
//!    which the loop reads from end to end out of the second-level cache; the left one is read by
//!    broadcasts, out of the first;
//! 4. sums go from registers to where they are added: a chain ends without a trip through memory.

#![allow(
    clippy::indexing_slicing,
    clippy::needless_range_loop,
    reason = "indices below a constant length; a zip of lanes is not inlined at every level of optimisation"
)]

use crate::Element;
use crate::simd::{Kernel, LANES, Loop, Simd};

/// Rows of a block of the left operand.
pub(super) const ROWS: usize = 12;
/// Vectors of a panel.
pub(super) const VECTORS: usize = 2;
/// Columns of a panel.
pub(super) const WIDTH: usize = VECTORS * LANES;
/// Terms of a chain.
pub(super) const DEPTH: usize = 256;

/// The elements of a panel at one k.
pub(super) type PanelRow = [[f32; LANES]; VECTORS];
/// The elements of a block of rows at one k.
pub(super) type BlockColumn = [f32; ROWS];
/// The sums of a block of rows and a panel.
pub(super) type Sums = [PanelRow; ROWS];

pub(super) const ZEROS: Sums = [[[0.0; LANES]; VECTORS]; ROWS];

/// Numbers that [`panel_rows`] may leave out.
pub(super) const UNALIGNED: usize = LANES - 1;

/// Numbers as the rows of a panel, from the first one on that begins a vector of the largest
/// registers. Buffers of an allocator seldom do, and every second load of AVX2 would cross a line of
/// the cache: 6 % of a product's time.
pub(super) fn panel_rows(numbers: &mut [f32]) -> &mut [PanelRow] {
    let skipped = numbers.as_ptr().align_offset(size_of::<[f32; LANES]>());
    let numbers = numbers.get_mut(skipped..).unwrap_or_default();
    numbers.as_chunks_mut::<LANES>().0.as_chunks_mut::<VECTORS>().0
}

/// A block of [`ROWS`] rows of the left operand.
pub(super) trait Left: Copy {
    /// Adds a chain to the sums of `M` rows from `row` on and of `V` vectors of a panel, from
    /// `vector` on.
    fn chain<S: Simd, const M: usize, const V: usize>(
        self,
        s: S,
        row: usize,
        panel: &[PanelRow],
        vector: usize,
        sums: &mut [[S::F; V]; M],
    );
}

/// Column after column.
#[derive(Clone, Copy)]
struct Columns<'a>(&'a [BlockColumn]);

/// Row after row, each of `STRIDE` elements, of which those from `from` on are meant.
#[derive(Clone, Copy)]
struct InRows<'a, const STRIDE: usize> {
    rows: &'a [[f32; STRIDE]; ROWS],
    from: usize,
}

/// One k of a chain. Indices are taken modulo lengths that they are below, so that none is checked.
#[inline(always)]
pub(super) fn step<S: Simd, const M: usize, const V: usize>(
    s: S,
    a: [f32; M],
    b: &PanelRow,
    vector: usize,
    sums: &mut [[S::F; V]; M],
) {
    let mut vectors = [s.splat(0.0); V];
    for v in 0..V {
        vectors[v] = s.load_f32(&b[(vector + v) % VECTORS]);
    }
    for i in 0..M {
        let a = s.splat(a[i]);
        for v in 0..V {
            sums[i][v] = s.mul_add(a, vectors[v], sums[i][v]);
        }
    }
}

impl Left for Columns<'_> {
    #[inline(always)]
    fn chain<S: Simd, const M: usize, const V: usize>(
        self,
        s: S,
        row: usize,
        panel: &[PanelRow],
        vector: usize,
        sums: &mut [[S::F; V]; M],
    ) {
        for (a, b) in self.0.iter().zip(panel) {
            let mut part = [0.0; M];
            for i in 0..M {
                part[i] = a[(row + i) % ROWS];
            }
            step::<S, M, V>(s, part, b, vector, sums);
        }
    }
}

impl<const STRIDE: usize> Left for InRows<'_, STRIDE> {
    #[inline(always)]
    fn chain<S: Simd, const M: usize, const V: usize>(
        self,
        s: S,
        row: usize,
        panel: &[PanelRow],
        vector: usize,
        sums: &mut [[S::F; V]; M],
    ) {
        let len = STRIDE.saturating_sub(self.from).min(panel.len());
        for k in 0..len {
            let mut part = [0.0; M];
            for i in 0..M {
                part[i] = self.rows[(row + i) % ROWS][(self.from + k).min(STRIDE - 1)];
            }
            step::<S, M, V>(s, part, &panel[k], vector, sums);
        }
    }
}

/// What the sums of a chain are added to, as they come out of registers.
pub(super) trait Total {
    /// Adds the sum of a row and a vector.
    fn add<S: Simd>(&mut self, s: S, row: usize, vector: usize, sum: S::F);
}

/// The sums of a chain: of `M` rows and `V` vectors at once, as many as there are registers for.
#[inline(always)]
fn sum_block<S: Simd, L: Left, T: Total, const M: usize, const V: usize>(
    s: S,
    left: L,
    panel: &[PanelRow],
    to: &mut T,
) {
    for vector in (0..VECTORS).step_by(V) {
        for s in s.parts() {
            for row in (0..ROWS).step_by(M) {
                let mut sums = [[s.splat(0.0); V]; M];
                left.chain::<S, M, V>(s, row, panel, vector, &mut sums);
                for i in 0..M {
                    for v in 0..V {
                        to.add(s, row + i, vector + v, sums[i][v]);
                    }
                }
            }
        }
    }
}

#[inline(always)]
pub(super) fn sum<S: Simd, L: Left, T: Total>(s: S, left: L, panel: &[PanelRow], to: &mut T) {
    match S::PRODUCT {
        (12, 2) => sum_block::<S, L, T, 12, 2>(s, left, panel, to),
        (6, 2) => sum_block::<S, L, T, 6, 2>(s, left, panel, to),
        _ => sum_block::<S, L, T, 6, 1>(s, left, panel, to),
    }
}

/// Adds a chain to a block of rows of a tile: `out[i][j] += Σ_k block[k][i] · panels[j][k]`.
pub(super) struct AddChain<'a, const STRIDE: usize> {
    pub(super) block: &'a [BlockColumn],
    /// Panel after panel, each with a row for every column of the block.
    pub(super) panels: &'a [PanelRow],
    /// Up to [`ROWS`] rows.
    pub(super) out: &'a mut [[f32; STRIDE]],
    /// The first panel's first column, a multiple of [`WIDTH`].
    pub(super) first: usize,
    /// Whether what is there is replaced.
    pub(super) is_first: bool,
}

/// Rows of a tile.
struct TileRows<'a, const STRIDE: usize> {
    rows: &'a mut [[f32; STRIDE]],
    /// The panel's first vector.
    first: usize,
    /// Whether what is there is replaced.
    is_first: bool,
}

impl<const STRIDE: usize> Total for TileRows<'_, STRIDE> {
    #[inline(always)]
    fn add<S: Simd>(&mut self, s: S, row: usize, vector: usize, sum: S::F) {
        let Some(row) = self.rows.get_mut(row) else { return };
        let Some(to) = row.as_chunks_mut().0.get_mut(self.first + vector) else { return };
        s.store_f32(if self.is_first { sum } else { s.add(s.load_f32(to), sum) }, to);
    }
}

impl<const STRIDE: usize> Kernel for AddChain<'_, STRIDE> {
    type Output = ();

    const LOOP: Loop = Loop::Product;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { block, panels, out, first, is_first } = self;
        for (i, panel) in panels.chunks_exact(block.len().max(1)).enumerate() {
            let first = first / LANES + i * VECTORS;
            sum(s, Columns(block), panel, &mut TileRows { rows: &mut *out, first, is_first });
        }
    }
}

/// `out[i][..] = scales[i] · out[i][..] + Σ_j tile[i][j] · panel[j][..]` of some panels of columns,
/// in chains. A block of rows of the tile is near while it is multiplied by all panels.
pub(super) struct AddRows<'a, I, const STRIDE: usize> {
    /// Whole blocks of rows.
    pub(super) tile: &'a [[f32; STRIDE]],
    /// The tile's column that the panels' first row is weighted by, a multiple of [`DEPTH`].
    pub(super) first: usize,
    /// Panel after panel, each of `count` rows.
    pub(super) panels: &'a [PanelRow],
    pub(super) count: usize,
    /// Of each row that counts, the place of the panels' columns in `out`, and its scale.
    pub(super) rows: I,
    pub(super) out: &'a mut [f32],
}

/// Sums of a block of rows and a panel, and by what they are taken before a chain is added.
struct Scaled<'a> {
    sums: &'a mut Sums,
    scales: [f32; ROWS],
}

impl Total for Scaled<'_> {
    #[inline(always)]
    fn add<S: Simd>(&mut self, s: S, row: usize, vector: usize, sum: S::F) {
        let to = &mut self.sums[row % ROWS][vector % VECTORS];
        let before = s.mul(s.load_f32(to), s.splat(self.scales[row % ROWS]));
        s.store_f32(s.add(before, sum), to);
    }
}

impl<I: Iterator<Item = (core::ops::Range<usize>, f32)>, const STRIDE: usize> Kernel
    for AddRows<'_, I, STRIDE>
{
    type Output = ();

    const LOOP: Loop = Loop::Product;

    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) {
        let mut sums = ZEROS;
        for rows in self.tile.as_chunks::<ROWS>().0 {
            let (mut places, mut scales) = ([const { 0..0 }; ROWS], [1.0; ROWS]);
            for (i, (place, scale)) in (0..ROWS).zip(&mut self.rows) {
                places[i] = place;
                if self.first == 0 {
                    scales[i] = scale;
                }
            }
            for panel in self.panels.chunks_exact(self.count.max(1)) {
                for (sums, place) in sums.iter_mut().zip(&places) {
                    copy(self.out.get(place.clone()).unwrap_or_default(), sums.as_flattened_mut());
                }
                let mut scales = scales;
                for (chain, panel) in panel.chunks(DEPTH).enumerate() {
                    let from = self.first.saturating_add(chain * DEPTH);
                    sum(s, InRows { rows, from }, panel, &mut Scaled { sums: &mut sums, scales });
                    scales = [1.0; ROWS];
                }
                for (sums, place) in sums.iter().zip(&mut places) {
                    let to = self.out.get_mut(place.clone()).unwrap_or_default();
                    copy(sums.as_flattened(), to);
                    place.start = place.end.min(place.start.saturating_add(WIDTH));
                }
            }
        }
    }
}

/// As many numbers as both have: nearly always a panel's, which vectors copy.
#[inline(always)]
pub(super) fn copy(from: &[f32], to: &mut [f32]) {
    match (from.first_chunk::<WIDTH>(), to.first_chunk_mut::<WIDTH>()) {
        (Some(from), Some(to)) => *to = *from,
        _ => {
            for (to, from) in to.iter_mut().zip(from) {
                *to = *from;
            }
        }
    }
}

/// Up to sixteen elements, widened; zeros after them.
#[inline(always)]
pub(super) fn widen<S: Simd, E: Element>(s: S, from: &[E], to: &mut [f32; LANES]) {
    if let Some(from) = from.first_chunk::<LANES>() {
        for s in s.parts() {
            s.store_f32(E::load(s, from), to);
        }
    } else {
        *to = [0.0; LANES];
        for (to, from) in to.iter_mut().zip(from) {
            *to = from.to_f32();
        }
    }
}

/// Adds a bias to each row of a tile.
pub(super) struct AddBias<'a, const STRIDE: usize> {
    pub(super) rows: &'a mut [[f32; STRIDE]],
    pub(super) bias: &'a [f32],
}

impl<const STRIDE: usize> Kernel for AddBias<'_, STRIDE> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let mut padded = [0.0; LANES];
        for (i, bias) in self.bias.chunks(LANES).enumerate() {
            widen(s, bias, &mut padded);
            for row in &mut *self.rows {
                let Some(row) = row.as_chunks_mut::<LANES>().0.get_mut(i) else { return };
                for s in s.parts() {
                    s.store_f32(s.add(s.load_f32(row), s.load_f32(&padded)), row);
                }
            }
        }
    }
}
