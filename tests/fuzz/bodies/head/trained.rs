//! A trained head: gradients of weights, bias and adapter within the bounds of f64, and the same
//! bits whatever the memory that it works in.

use dpo_kernel::error::Buffer;
use dpo_kernel::gradient::{GradBatch, Unscored};
use dpo_kernel::head::{
    Adapted, Adapter, Head, HeadGrads, HeadRow, HeadScratch, Hidden, HiddenMut, Linear, head_grads,
    head_token_log_probs,
};
use dpo_kernel::row::RowNorm;
use dpo_kernel::{Arithmetic, Dispatch, Error, Layout, TokenOut};

use super::case::{Case, Stored, chains};
use super::terms::{Term, row_terms, sum};
use super::{DIRT, is_broken, row_of};
use crate::bodies::batch::transform;
use crate::bodies::store::Store;

/// What was in the gradients before.
const BEFORE: f32 = 0.25;
const SCALE: f32 = 1.5;

/// An adapter of rank 1 to 3, or of none, where matrices are empty.
pub struct Low {
    rank: usize,
    a: Vec<f32>,
    b: Vec<f32>,
}

/// What forward and backward leave.
#[derive(Clone, Debug)]
pub struct Trained {
    pub norms: Vec<RowNorm>,
    pub result: Result<(), Error>,
    /// u, R × r
    pub projected: Vec<f32>,
    /// R × (H + r), before and after what went through A.
    pub rows: [Vec<f32>; 2],
    /// V × (H + padding), widened
    pub weights: Vec<f32>,
    pub bias: Vec<f32>,
    /// r × H, V × r
    pub a: Vec<f32>,
    pub b: Vec<f32>,
}

impl Low {
    pub fn of(case: &Case) -> Self {
        let rank = usize::from(case.seed % 4);
        let fill = |len: usize, by: usize| {
            (0..len).map(|i| ((i * by + 5) % 37) as f32 / 64.0 - 0.25).collect()
        };
        Self { rank, a: fill(rank * case.size, 11), b: fill(rank * case.vocab, 23) }
    }

    /// Logits of the head, and the adapter's after the bias.
    fn written_out<E: Store, W: Store>(
        &self,
        stored: &Stored<'_, E, W>,
        projected: &[f32],
        arithmetic: Arithmetic,
    ) -> Vec<f32> {
        let mut logits = stored.written_out(arithmetic);
        for (i, logit) in logits.iter_mut().enumerate().filter(|_| self.rank > 0) {
            let (row, column) = (i / stored.case.vocab, i % stored.case.vocab);
            let term = |k| (projected[row * self.rank + k], self.b[column * self.rank + k]);
            *logit += chains(self.rank, arithmetic, term);
        }
        logits
    }
}

/// Gradients are of W, or of f32; they replace what is there, or are added.
const fn is_narrow(case: &Case) -> bool {
    case.seed / 4 % 2 == 1
}

const fn is_added(case: &Case) -> bool {
    case.seed / 8 % 2 == 1
}

pub fn check<E: Store, W: Store>(case: &Case, dispatch: Dispatch) -> Result<String, String> {
    let found = run::<E, W>(case, dispatch, 0);
    let other = run::<E, W>(case, dispatch, case.scratch[0]);
    let (text, other) = (format!("{found:?}"), format!("{other:?}"));
    if text != other {
        return Err(format!("in other memory:\n{text}, not\n{other}"));
    }
    accepts::<E, W>(case, dispatch, &found).map_err(|why| format!("trained: {why}\n{text}"))?;
    Ok(text)
}

/// With room for so many rows more than there are.
pub fn run<E: Store, W: Store>(case: &Case, dispatch: Dispatch, more: usize) -> Trained {
    if is_narrow(case) {
        run_into::<E, W, W>(case, dispatch, more)
    } else {
        run_into::<E, W, f32>(case, dispatch, more)
    }
}

fn run_into<E: Store, W: Store, G: Store>(case: &Case, dispatch: Dispatch, more: usize) -> Trained {
    let stored = case.in_memory::<E, W>();
    let low = Low::of(case);
    let (rows, size, vocab, rank) = (stored.rows, case.size, case.vocab, low.rank);
    let [of_states, of_weights, of_grads] = case.padding.map(|padding| size + padding);
    let layout = Layout::new(&stored.targets, &stored.spans, vocab).expect("a layout");
    let states = Hidden::with_stride(&stored.states, rows, size, of_states).expect("a view");
    let head = Linear::with_stride(&stored.weights, vocab, size, of_weights).expect("a head");
    let head = head.with_transform(transform(&case.transform));
    let head = if more == 0 { head } else { head.with_panels(case.scratch[1]) };
    let head = stored.bias.as_ref().map_or(head, |bias| head.with_bias(bias).expect("V numbers"));
    let mut found = Trained {
        norms: vec![RowNorm::default(); rows],
        result: Ok(()),
        projected: vec![DIRT; rows * rank],
        rows: [vec![DIRT; rows * (size + rank)], Vec::new()],
        weights: Vec::new(),
        bias: vec![BEFORE; vocab],
        a: vec![DIRT; rank * size],
        b: vec![BEFORE; vocab * rank],
    };
    let mut weights = vec![G::from_f32(BEFORE); vocab * of_grads];
    let mut room = vec![HeadRow::NEW; rows.max(1) + more];
    let adapter = Adapter::new(&low.a, &low.b, rank, size, vocab, SCALE).ok();
    let mut numbers = vec![f32::POISON; adapter.map_or(0, |of| of.numbers(room.len()))];
    if let Some(adapter) = &adapter {
        let to = HiddenMut::new(&mut found.projected, rows, rank).expect("a view");
        let scratch = HeadScratch::new(&mut room, &mut numbers);
        adapter.project(dispatch, states, &layout, to, scratch).expect("u");
    }
    let projected = found.projected.clone();
    let projected = Hidden::new(&projected, rows, rank);
    let with_adapter = adapter.as_ref().zip(projected.ok()).map(|(adapter, projected)| {
        Adapted::new::<E>(head, adapter, projected).expect("of one shape")
    });
    let head: &dyn Head<E> = with_adapter.as_ref().map_or(&head, |head| head as &dyn Head<E>);

    let grads = HeadGrads::of_weights_with_stride(&mut weights, vocab, size, of_grads);
    let mut grads = grads.expect("a view").with_bias(&mut found.bias);
    if rank > 0 {
        grads = grads.with_adapter(projected.expect("u"), &mut found.b).expect("V · r numbers");
    }
    if is_added(case) {
        grads = grads.added();
    }
    let needed = HeadScratch::numbers_trained(dispatch, head, room.len(), &grads);
    numbers.resize(needed.max(numbers.len()), f32::POISON);
    let mut log_probs = vec![DIRT; rows];
    let out = TokenOut::new(&mut log_probs).with_norms(&mut found.norms);
    let scratch = HeadScratch::new(&mut room, &mut numbers);
    // Rows that are broken have no norm, which the backward says.
    let _ = head_token_log_probs(dispatch, states, head, &layout, out, scratch);
    let batch = GradBatch::new(&layout, &found.norms, &case.coefficients);
    let batch = batch.with_unscored(Unscored::Keep);
    let wide = size + rank;
    let to = HiddenMut::new(&mut found.rows[0], rows, wide).expect("a view");
    let scratch = HeadScratch::new(&mut room, &mut numbers);
    found.result = head_grads(dispatch, states, head, &batch, to, grads, scratch);
    let [through_head, through_both] = &mut found.rows;
    through_both.clone_from(through_head);
    if let (Some(adapter), Ok(())) = (&adapter, found.result) {
        let to = HiddenMut::new(&mut found.rows[1], rows, wide).expect("a view");
        let (a, scratch) = (Some(&mut found.a[..]), HeadScratch::new(&mut room, &mut numbers));
        adapter.grads_in_place(dispatch, states, &layout, to, a, scratch).expect("as before");
    }
    found.weights = weights.iter().map(|d| d.to_f32()).collect();
    found
}

/// Whether these are the gradients of a case.
pub fn accepts<E: Store, W: Store>(
    case: &Case,
    dispatch: Dispatch,
    found: &Trained,
) -> Result<(), String> {
    let (stored, low) = (case.in_memory::<E, W>(), Low::of(case));
    let (size, rank, wide) = (case.size, low.rank, case.size + low.rank);
    let logits = low.written_out(&stored, &found.projected, dispatch.arithmetic());
    let active: Vec<usize> = (0..stored.rows)
        .filter(|&row| case.is_scored(row) && case.coefficients[row] != 0.0)
        .collect();
    if let Some(first) = active.iter().find(|&&row| is_broken(case, row, &logits)) {
        return match found.result {
            Err(Error::InvalidValue { buffer: Buffer::RowNorms, index, .. }) if index == *first => {
                Ok(())
            }
            other => Err(format!("row {first} has no norm: {other:?}")),
        };
    }
    let of_row = |&row: &usize| (row, row_terms(&row_of(case, row, &logits)));
    let terms: Vec<(usize, Vec<Term>)> = active.iter().map(of_row).collect();
    let state = |row: usize, h: usize| f64::from(stored.state(row, h));
    for (at, &found) in found.projected.iter().enumerate() {
        let (row, k) = (at / rank, at % rank);
        let term = |h: usize| (stored.state(row, h), low.a[k * size + h]);
        let u = SCALE * chains(size, dispatch.arithmetic(), term);
        let due = if case.is_scored(row) { u } else { DIRT };
        if found.to_bits() != due.to_bits() && !due.is_nan() {
            return Err(format!("u of row {row} at {k}: {found}, not {due}"));
        }
    }

    // Rows of [W | B], and then what went through A.
    let mut through = Vec::new();
    for (row, of) in &terms {
        let weight = |j: usize, h: usize| match h.checked_sub(size) {
            None => f64::from(stored.weight(j, h)),
            Some(k) => f64::from(low.b[j * rank + k]),
        };
        let sums: Vec<Term> = (0..wide)
            .map(|h| sum(of.iter().enumerate().map(|(j, d)| (*d, weight(j, h)))))
            .collect();
        if sums.iter().any(Term::is_beyond) && found.result.is_err() {
            return Ok(());
        }
        for (h, due) in sums.iter().enumerate() {
            due.holds::<f32>(found.rows[0][row * wide + h], || format!("row {row} at {h}"))?;
        }
        let (of_head, of_u) = sums.split_at(size);
        for (h, due) in of_head.iter().enumerate() {
            let down = (0..rank).map(|k| (of_u[k], f64::from(SCALE * low.a[k * size + h])));
            let due = sum(down.chain([(*due, 1.0)]));
            due.holds::<f32>(found.rows[1][row * wide + h], || format!("row {row}, A, at {h}"))?;
        }
        through.push((*row, of_u.to_vec()));
    }
    found.result.map_err(|error| error.to_string())?;
    let before = Term::exact(if is_added(case) { BEFORE.into() } else { 0.0 });
    let of_column = |j: usize, with: &dyn Fn(usize) -> f64| {
        sum(terms.iter().map(|(row, of)| (of[j], with(*row))).chain([(before, 1.0)]))
    };
    for j in 0..case.vocab {
        let row = &found.weights[j * (size + case.padding[2])..][..size + case.padding[2]];
        for (h, &found) in row.iter().enumerate() {
            let what = || format!("weights of {j} at {h}");
            if h >= size {
                Term::exact(BEFORE.into()).holds::<f32>(found, what)?;
            } else if is_narrow(case) {
                of_column(j, &|row| state(row, h)).holds::<W>(found, what)?;
            } else {
                of_column(j, &|row| state(row, h)).holds::<f32>(found, what)?;
            }
        }
        of_column(j, &|_| 1.0).holds::<f32>(found.bias[j], || format!("bias of {j}"))?;
        for k in 0..rank {
            let u = |row: usize| f64::from(found.projected[row * rank + k]);
            of_column(j, &u).holds::<f32>(found.b[j * rank + k], || format!("B of {j} at {k}"))?;
        }
    }
    for (at, &found) in found.a.iter().enumerate() {
        let (k, h) = (at / size, at % size);
        let due = sum(through.iter().map(|(row, d)| (d[k], f64::from(SCALE) * state(*row, h))));
        due.holds::<f32>(found, || format!("A of {k} at {h}"))?;
    }
    Ok(())
}
