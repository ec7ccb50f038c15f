//! Causal attention with rotary positions and grouped heads, as one operation.
//!
//! ```text
//! p = softmax(rotate(q) · rotate(k)ᵀ / √d)  over what a token sees        o = p · v
//! ```
//!
//! Written with candle's operations it keeps five matrices of tokens × tokens × heads for the
//! backward; here they are made again, for one group of heads at a time.

use std::ops::Range;
use std::sync::Arc;

use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CustomOp3, Error, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

use crate::numbers::{dot, numbers, with_numbers};
use crate::rotary::Rotary;
use crate::tree::Tree;

/// Heads of queries, heads of keys and values, and numbers of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Heads {
    pub(crate) queries: usize,
    pub(crate) keys: usize,
    pub(crate) size: usize,
}

/// The operation, of packed sequences; queries are those of each sequence's last tokens.
#[derive(Clone, Debug)]
pub(crate) struct Attention {
    pub(crate) heads: Heads,
    pub(crate) rotary: Arc<Rotary>,
    pub(crate) trees: Arc<[Tree]>,
    /// Tokens of every sequence that have keys and values and no queries.
    pub(crate) past: usize,
}

/// A matrix of one group of heads.
struct Matrix {
    data: CpuStorage,
    rows: usize,
    columns: usize,
}

/// How a matrix stands in a product.
#[derive(Clone, Copy)]
enum As {
    Is,
    Transposed,
}

impl Matrix {
    fn new(data: Vec<f32>, columns: usize) -> Self {
        Self { rows: data.len() / columns.max(1), data: CpuStorage::F32(data), columns }
    }

    fn view(&self, how: As) -> (Layout, usize, usize) {
        let (rows, columns) = (self.rows, self.columns);
        match how {
            As::Is => (Layout::new((rows, columns).into(), vec![columns, 1], 0), rows, columns),
            As::Transposed => {
                (Layout::new((columns, rows).into(), vec![1, columns], 0), columns, rows)
            }
        }
    }

    fn product((a, how_a): (&Self, As), (b, how_b): (&Self, As)) -> Result<Self> {
        let ((a_layout, m, k), (b_layout, _, n)) = (a.view(how_a), b.view(how_b));
        let data = a.data.matmul(&b.data, (1, m, n, k), &a_layout, &b_layout)?;
        Ok(Self { data, rows: m, columns: n })
    }

    fn numbers(&self) -> &[f32] {
        self.data.as_slice().unwrap_or_default()
    }

    fn rows_mut(&mut self) -> impl IndexedParallelIterator<Item = &mut [f32]> {
        let data: &mut [f32] = match &mut self.data {
            CpuStorage::F32(data) => data,
            _ => &mut [],
        };
        data.par_chunks_mut(self.columns.max(1)).with_min_len(16)
    }
}

/// Numbers of packed tokens, `width` of each.
struct Packed<'a> {
    all: &'a [f32],
    width: usize,
}

/// Queries, keys and values of one group, rotated; queries of its heads below one another.
struct Group {
    tree: Tree,
    q: Matrix,
    k: Matrix,
    v: Matrix,
}

/// Where a group's numbers are: the first token, how many, the heads.
struct Place {
    first: usize,
    count: usize,
    heads: Range<usize>,
}

impl Attention {
    fn tokens(&self) -> usize {
        self.trees.iter().map(Tree::len).sum()
    }

    fn queries(&self) -> usize {
        self.trees.iter().map(|tree| tree.len().saturating_sub(self.past)).sum()
    }

    fn check(&self, q: (usize, usize), k: (usize, usize), v: (usize, usize)) -> Result<()> {
        let Heads { queries, keys, size } = self.heads;
        let (wide, narrow) = (queries * size, keys * size);
        let expected = [(self.queries(), wide), (self.tokens(), narrow), (self.tokens(), narrow)];
        if [q, k, v] == expected {
            return Ok(());
        }
        Err(Error::msg(format!("attention of {:?} where {expected:?} are meant", [q, k, v])))
    }

    /// Each sequence and each group of heads: which heads of queries and of keys, which tokens.
    fn places(&self) -> impl Iterator<Item = (Tree, Place, Place)> {
        let Heads { queries, keys, .. } = self.heads;
        let share = queries / keys.max(1);
        let (mut key, mut query) = (0, 0);
        self.trees.iter().flat_map(move |&tree| {
            let (tokens, asking) = (tree.len(), tree.len().saturating_sub(self.past));
            let (first_key, first_query) = (key, query);
            (key, query) = (key + tokens, query + asking);
            (0..keys).map(move |group| {
                let heads = group * share..(group + 1) * share;
                let asking = Place { first: first_query, count: asking, heads };
                let seen = Place { first: first_key, count: tokens, heads: group..group + 1 };
                (tree, asking, seen)
            })
        })
    }

    /// A group's numbers, heads below one another; turned if they begin at some position.
    fn gather(&self, from: &Packed<'_>, place: &Place, turned: Option<(Tree, usize)>) -> Matrix {
        let size = self.heads.size;
        let mut out = Vec::with_capacity(place.heads.len() * place.count * size);
        for head in place.heads.clone() {
            for token in 0..place.count {
                let start = (place.first + token) * from.width + head * size;
                let at = out.len();
                out.extend_from_slice(from.all.get(start..start + size).unwrap_or_default());
                if let (Some((tree, past)), Some(head)) = (turned, out.get_mut(at..)) {
                    self.rotary.turn(tree.position(past + token), head, 1.0);
                }
            }
        }
        Matrix::new(out, size)
    }

    /// The way back.
    fn scatter(
        &self,
        from: &Matrix,
        place: &Place,
        to: &mut [f32],
        width: usize,
        turned: Option<(Tree, usize)>,
    ) {
        let size = self.heads.size;
        let mut rows = from.numbers().chunks_exact(size.max(1));
        for head in place.heads.clone() {
            for token in 0..place.count {
                let start = (place.first + token) * width + head * size;
                let out = to.get_mut(start..start + size);
                let (Some(out), Some(row)) = (out, rows.next()) else { return };
                out.copy_from_slice(row);
                if let Some((tree, past)) = turned {
                    self.rotary.turn(tree.position(past + token), out, -1.0);
                }
            }
        }
    }

    fn group(&self, [q, k, v]: [&[f32]; 3], tree: Tree, asking: &Place, seen: &Place) -> Group {
        let Heads { queries, keys, size } = self.heads;
        let of = |all, heads| Packed { all, width: heads * size };
        Group {
            tree,
            q: self.gather(&of(q, queries), asking, Some((tree, self.past))),
            k: self.gather(&of(k, keys), seen, Some((tree, 0))),
            v: self.gather(&of(v, keys), seen, None),
        }
    }

    #[allow(clippy::cast_precision_loss, reason = "a head's size is exact in f32")]
    fn scale(&self) -> f32 {
        (self.heads.size as f32).sqrt().recip()
    }

    /// The probabilities of a group: 0 where a query does not see a key.
    fn probabilities(&self, group: &Group) -> Result<Matrix> {
        let mut p = Matrix::product((&group.q, As::Is), (&group.k, As::Transposed))?;
        let (scale, past) = (self.scale(), self.past);
        let asking = group.tree.len().saturating_sub(past).max(1);
        p.rows_mut().enumerate().for_each(|(i, row)| {
            let [early, late] = group.tree.seen(past + i % asking);
            softmax(row, early, late, scale);
        });
        Ok(p)
    }

    fn forward(&self, inputs: [&[f32]; 3]) -> Result<Vec<f32>> {
        let width = self.heads.queries * self.heads.size;
        let mut out = vec![0.0; self.queries() * width];
        for (tree, asking, seen) in self.places() {
            let group = self.group(inputs, tree, &asking, &seen);
            let p = self.probabilities(&group)?;
            let o = Matrix::product((&p, As::Is), (&group.v, As::Is))?;
            self.scatter(&o, &asking, &mut out, width, None);
        }
        Ok(out)
    }

    /// With P made again: `dV = Pᵀ·dO`, `dS = P∘(dP − Σ P∘dP)/√d` of `dP = dO·Vᵀ`, `dQ = dS·K`,
    /// `dK = dSᵀ·Q`. The heads of a group are rows of one matrix, so their sums are in the products.
    fn backward(&self, inputs: [&[f32]; 3], grad: &[f32]) -> Result<[Vec<f32>; 3]> {
        let Heads { queries, keys, size } = self.heads;
        let (wide, narrow) = (queries * size, keys * size);
        let mut dq = vec![0.0; self.queries() * wide];
        let (mut dk, mut dv) =
            (vec![0.0; self.tokens() * narrow], vec![0.0; self.tokens() * narrow]);
        let scale = self.scale();
        for (tree, asking, seen) in self.places() {
            let group = self.group(inputs, tree, &asking, &seen);
            let p = self.probabilities(&group)?;
            let d_out = self.gather(&Packed { all: grad, width: wide }, &asking, None);
            let d_values = Matrix::product((&p, As::Transposed), (&d_out, As::Is))?;
            let mut ds = Matrix::product((&d_out, As::Is), (&group.v, As::Transposed))?;
            let columns = p.columns.max(1);
            ds.rows_mut().zip(p.numbers().par_chunks(columns)).for_each(|(ds, p)| {
                let sum = dot(ds, p);
                for (ds, p) in ds.iter_mut().zip(p) {
                    *ds = p * (*ds - sum) * scale;
                }
            });
            let d_queries = Matrix::product((&ds, As::Is), (&group.k, As::Is))?;
            let d_keys = Matrix::product((&ds, As::Transposed), (&group.q, As::Is))?;
            self.scatter(&d_queries, &asking, &mut dq, wide, Some((tree, self.past)));
            self.scatter(&d_keys, &seen, &mut dk, narrow, Some((tree, 0)));
            self.scatter(&d_values, &seen, &mut dv, narrow, None);
        }
        Ok([dq, dk, dv])
    }
}

/// In place over two ranges of a row, 0 elsewhere.
fn softmax(row: &mut [f32], early: Range<usize>, late: Range<usize>, scale: f32) {
    let mut top = f32::NEG_INFINITY;
    for range in [&early, &late] {
        let seen = row.get(range.clone()).unwrap_or_default();
        top = seen.iter().fold(top, |top, x| if *x > top { *x } else { top });
    }
    let mut sum = 0.0;
    let mut end = 0;
    for range in [early, late] {
        if range.is_empty() {
            continue;
        }
        row.get_mut(end..range.start).unwrap_or_default().fill(0.0);
        for x in row.get_mut(range.clone()).unwrap_or_default() {
            *x = ((*x - top) * scale).exp();
            sum += *x;
        }
        end = range.end;
    }
    row.get_mut(end..).unwrap_or_default().fill(0.0);
    let share = f32::recip(sum);
    for x in row {
        *x *= share;
    }
}

impl CustomOp3 for Attention {
    fn name(&self) -> &'static str {
        "attention"
    }

    fn cpu_fwd(
        &self,
        q: &CpuStorage,
        q_layout: &Layout,
        k: &CpuStorage,
        k_layout: &Layout,
        v: &CpuStorage,
        v_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let shape = q_layout.shape().dims2()?;
        self.check(shape, k_layout.shape().dims2()?, v_layout.shape().dims2()?)?;
        let inputs = [numbers(q, q_layout)?, numbers(k, k_layout)?, numbers(v, v_layout)?];
        Ok((CpuStorage::F32(self.forward(inputs)?), shape.into()))
    }

    fn bwd(
        &self,
        q: &Tensor,
        k: &Tensor,
        v: &Tensor,
        _out: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let grad = grad.contiguous()?;
        let grads = with_numbers(q, |q| {
            with_numbers(k, |k| {
                with_numbers(v, |v| with_numbers(&grad, |grad| self.backward([q, k, v], grad)))
            })
        })?;
        let [dq, dk, dv] = grads;
        let of =
            |data: Vec<f32>, like: &Tensor| Tensor::from_vec(data, like.shape(), like.device());
        Ok((Some(of(dq, q)?), Some(of(dk, k)?), Some(of(dv, v)?)))
    }
}
