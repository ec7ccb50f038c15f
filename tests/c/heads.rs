//! The head in C on shapes that a loop of the product, and more than one tile, is needed for: the
//! results of Rust to the bit, on every level and for every pair of types; and a row by a host's own
//! loop over tiles.

use std::ptr;

use dpo_kernel::c::*;
use dpo_kernel::gradient::GradBatch;
use dpo_kernel::head::{
    HeadRow, HeadScratch, Hidden, HiddenMut, Linear, head_forward, head_token_log_probs,
    hidden_grads, hidden_grads_in_place, hidden_row_grads_in_place, tile_terms_in_place,
};
use dpo_kernel::row::{Details, RowDetails, RowNorm, RowStats};
use dpo_kernel::{
    Arithmetic, Dispatch, Element, IGNORE_INDEX, Layout, Level, Span, TokenOut, Transform, bf16,
    f16,
};

use crate::abi::Same;
use crate::host::zeroed;

const ROWS: usize = 14;
const HIDDEN: usize = 37;
const VOCAB: usize = 700;
const STRIDE: usize = 39;

/// Everything that a head reads, and where it writes.
struct Case<E, W> {
    states: Vec<E>,
    weights: Vec<W>,
    bias: Vec<f32>,
    targets: Vec<u32>,
    spans: Vec<Span>,
    coefficients: Vec<f64>,
}

/// What comes of it.
#[derive(Clone)]
struct Found<O> {
    tokens: dpo_token_summary,
    log_probs: Vec<f32>,
    alone: Vec<f32>,
    norms: Vec<RowNorm>,
    details: Vec<RowDetails>,
    sums: Vec<f32>,
    grads: Vec<O>,
}

fn number(i: usize) -> f32 {
    ((i * 37 + i / 7 * 11 + 5) % 61) as f32 / 30.5 - 1.0
}

impl<E: Element, W: Element> Case<E, W> {
    fn new() -> Self {
        let of = |i: usize| if i % STRIDE < HIDDEN { number(i) } else { f32::NAN };
        Self {
            states: (0..ROWS * STRIDE).map(|i| E::from_f32(of(i + STRIDE))).collect(),
            weights: (0..VOCAB * STRIDE).map(|i| W::from_f32(of(i))).collect(),
            bias: (0..VOCAB).map(|i| number(3 * i)).collect(),
            targets: (0..ROWS)
                .map(|row| if row == 5 { IGNORE_INDEX } else { (row * 131 % VOCAB) as u32 })
                .collect(),
            spans: vec![Span::new(0, 6), Span::new(7, ROWS)],
            coefficients: (0..ROWS).map(|row| f64::from(number(row)) / 8.0).collect(),
        }
    }

    fn by_rust<O: Element>(&self, dispatch: Dispatch, transform: Transform) -> Found<O> {
        let head = Linear::with_stride(&self.weights, VOCAB, HIDDEN, STRIDE).unwrap();
        let head = head.with_bias(&self.bias).unwrap().with_transform(transform);
        let states = Hidden::with_stride(&self.states, ROWS, HIDDEN, STRIDE).unwrap();
        let layout = Layout::new(&self.targets, &self.spans, VOCAB).unwrap();
        let mut found = Found::<O>::dirty();
        let mut rows = [HeadRow::NEW; 13];
        let mut numbers = vec![0.0; HeadScratch::numbers::<E, _>(&head, 13)];
        let (rows, numbers) = (&mut rows, &mut numbers);
        macro_rules! scratch {
            () => {
                HeadScratch::new(&mut *rows, &mut *numbers)
            };
        }
        let out = TokenOut::new(&mut found.alone);
        head_token_log_probs(dispatch, states, &head, &layout, out, scratch!()).unwrap();
        let out = TokenOut::new(&mut found.log_probs)
            .with_norms(&mut found.norms)
            .with_details(&mut found.details);
        let sums = HiddenMut::new(&mut found.sums, ROWS, HIDDEN).unwrap();
        let tokens = head_forward(dispatch, states, &head, &layout, out, sums, scratch!());
        found.tokens = tokens.unwrap();
        let batch = GradBatch::new(&layout, &found.norms, &self.coefficients);
        let sums = Hidden::new(&found.sums, ROWS, HIDDEN).unwrap();
        let out = HiddenMut::with_stride(&mut found.grads, ROWS, HIDDEN, STRIDE).unwrap();
        hidden_grads(dispatch, states, &head, &batch, sums, out, scratch!()).unwrap();
        let sums = HiddenMut::new(&mut found.sums, ROWS, HIDDEN).unwrap();
        hidden_grads_in_place(dispatch, states, &head, &batch, sums, scratch!()).unwrap();
        found
    }

    /// The same by C, with room for other numbers of rows.
    fn by_c<O: Element>(
        &self,
        dispatch: dpo_dispatch,
        transform: dpo_transform,
        types: [i32; 3],
        at_once: usize,
    ) -> Found<O> {
        let mut found = Found::<O>::dirty();
        let (mut none, reserved) = (dpo_error::default(), 0);
        let none = &raw mut none;
        let layout = dpo_layout {
            targets: self.targets.as_ptr(),
            rows: ROWS,
            spans: self.spans.as_ptr(),
            count: self.spans.len(),
            vocab: VOCAB,
            size: size_of::<dpo_layout>(),
            ..zeroed()
        };
        let head = dpo_head {
            size: size_of::<dpo_head>(),
            weights: self.weights.as_ptr().cast(),
            len: self.weights.len(),
            vocab: VOCAB,
            hidden: HIDDEN,
            stride: STRIDE,
            r#type: types[1],
            transform,
            bias: self.bias.as_ptr(),
            panels: at_once % 3,
        };
        let (size, rows, hidden) = (size_of::<dpo_hidden>(), ROWS, HIDDEN);
        let (data, len) = (self.states.as_ptr().cast(), self.states.len());
        let stride = STRIDE;
        let states =
            dpo_hidden { size, data, len, rows, hidden, stride, r#type: types[0], reserved };
        let (data, len) = (found.grads.as_mut_ptr().cast(), found.grads.len());
        let grads =
            dpo_hidden_mut { size, data, len, rows, hidden, stride, r#type: types[2], reserved };
        let (data, len, stride) = (found.sums.as_mut_ptr().cast(), found.sums.len(), 0);
        let sums = dpo_hidden_mut { size, data, len, rows, hidden, stride, r#type: 1, reserved };
        let data = data.cast_const();
        let sums_in = dpo_hidden { size, data, len, rows, hidden, stride, r#type: 1, reserved };
        let mut len = 0;
        // SAFETY: structs over memory of their lengths.
        succeed(unsafe { dpo_head_scratch_len(&raw const head, at_once, &raw mut len, none) });
        let mut numbers = vec![f64::NAN; len];
        let numbers = numbers.as_mut_ptr();
        let size = size_of::<dpo_head_scratch>();
        let scratch = dpo_head_scratch { size, numbers, len, rows: at_once };
        let batch = dpo_grads {
            size: size_of::<dpo_grads>(),
            norms: found.norms.as_ptr(),
            coefficients: self.coefficients.as_ptr(),
            unscored: DPO_UNSCORED_KEEP,
            reserved,
        };
        let (norms, details) = (found.norms.as_mut_ptr(), found.details.as_mut_ptr());
        let (head, layout, scratch) = (&raw const head, &raw const layout, &raw const scratch);
        let (states, batch) = (&raw const states, &raw const batch);
        // SAFETY: as above; sums are written and read by turns.
        unsafe {
            let (to, (a, b, c)) =
                (found.alone.as_mut_ptr(), (ptr::null_mut(), ptr::null_mut(), ptr::null_mut()));
            succeed(dpo_head_token_log_probs(
                dispatch, states, head, layout, to, a, b, c, scratch, none,
            ));
            let (to, summary) = (found.log_probs.as_mut_ptr(), &raw mut found.tokens);
            let sums = &raw const sums;
            succeed(dpo_head_forward(
                dispatch, states, head, layout, to, norms, details, summary, sums, scratch, none,
            ));
            let (from, to) = (&raw const sums_in, &raw const grads);
            succeed(dpo_hidden_grads(
                dispatch, states, head, layout, batch, from, to, scratch, none,
            ));
            succeed(dpo_hidden_grads_in_place(
                dispatch, states, head, layout, batch, sums, scratch, none,
            ));
        }
        found
    }
}

impl<O: Element> Found<O> {
    fn dirty() -> Self {
        let details = RowDetails { entropy: 7.0, mean_logit: 7.0, ..RowDetails::default() };
        Self {
            tokens: dpo_token_summary::default(),
            log_probs: vec![7.0; ROWS],
            alone: vec![7.0; ROWS],
            norms: vec![RowNorm::default(); ROWS],
            details: vec![details; ROWS],
            sums: vec![7.0; ROWS * HIDDEN],
            grads: vec![O::from_f32(7.0); ROWS * STRIDE],
        }
    }
}

fn succeed(status: dpo_status) {
    assert_eq!(status, DPO_OK);
}

fn same<T: Same>(a: &[T], b: &[T]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.same(b))
}

fn agree<E: Element, W: Element, O: Element + Same>(types: [i32; 3]) {
    let case = Case::<E, W>::new();
    let levels = Level::ALL.iter().copied().zip(1..);
    let arithmetics = [(Arithmetic::Fused, 1), (Arithmetic::Portable, 2)];
    let mut tried = 0;
    for (level, number) in levels {
        for (arithmetic, of) in arithmetics {
            let Ok(dispatch) = Dispatch::new(level, arithmetic) else { continue };
            let transform = Transform::new(1.25, Some(6.0), 0.75).unwrap();
            let due = case.by_rust::<O>(dispatch, transform);
            let transform = dpo_transform { scale: 1.25, softcap: 6.0, temperature: 0.75 };
            let dispatch = dpo_dispatch { level: number, arithmetic: of };
            for at_once in [1, 12, 40] {
                let found = case.by_c::<O>(dispatch, transform, types, at_once);
                let of = format!("{types:?}, {level:?}, {arithmetic:?}, {at_once} at once");
                assert!(found.tokens.same(&due.tokens) && found.tokens.tokens == 12, "{of}");
                assert!(same(&found.log_probs, &due.log_probs), "{of}: log-probs");
                assert!(same(&found.alone, &due.alone), "{of}: log-probs alone");
                assert!(same(&found.alone, &found.log_probs), "{of}: with and without sums");
                assert!(same(&found.norms, &due.norms), "{of}: norms");
                assert!(same(&found.details, &due.details), "{of}: details");
                assert!(same(&found.sums, &due.sums), "{of}: in place");
                assert!(same(&found.grads, &due.grads), "{of}: apart");
                tried += 1;
            }
        }
    }
    assert!(tried >= 3, "{types:?}: no level was tried");
}

#[test]
fn heads_are_those_of_rust() {
    agree::<f32, f32, f32>([1, 1, 1]);
    agree::<f32, f16, f32>([1, 2, 1]);
    agree::<f32, bf16, f32>([1, 3, 1]);
    agree::<f16, f32, f16>([2, 1, 2]);
    agree::<f16, f16, f32>([2, 2, 1]);
    agree::<f16, bf16, f16>([2, 3, 2]);
    agree::<bf16, f32, bf16>([3, 1, 3]);
    agree::<bf16, f16, f32>([3, 2, 1]);
    agree::<bf16, bf16, bf16>([3, 3, 3]);
}

/// Fold, terms, sums, gradient: each by C and by Rust.
fn row_agrees<W: Element>(number_of_type: i32, flags: u32) {
    let (fastest, none) = (dpo_dispatch { level: 0, arithmetic: 0 }, ptr::null_mut());
    let dispatch = Dispatch::detect();
    let of_c = dpo_transform { scale: 1.5, softcap: 30.0, temperature: 0.0 };
    let transform = Transform::new(1.5, Some(30.0), 1.0).unwrap();
    let logits: Vec<f32> = (0..VOCAB).map(|j| 4.0 * number(j) + (j / 256 * 9) as f32).collect();
    let target = 300;
    let target_row: Vec<W> = (0..HIDDEN).map(|h| W::from_f32(number(h))).collect();
    let mut stats = zeroed::<dpo_row_stats>();
    let mut due = RowStats::<Details>::new(transform, Some(target));
    let (mut sums, mut due_sums) = (vec![0.5_f32; HIDDEN], vec![0.5_f32; HIDDEN]);
    let mut rescaled = 0;
    // SAFETY: every pointer is to a struct, or to memory of its length.
    unsafe {
        let flags = flags | DPO_ROW_TARGET;
        succeed(dpo_row_stats_new(&raw const of_c, flags, target, &raw mut stats, none));
        for (i, tile) in logits.chunks(256).enumerate() {
            let (mut tile, mut due_tile, first) = (tile.to_vec(), tile.to_vec(), 256 * i as u32);
            let (before, due_before) = (stats, due);
            let (data, len, mut scale) = (tile.as_mut_ptr(), tile.len(), 7.0);
            let at = &raw mut stats;
            succeed(dpo_row_stats_fold(fastest, at, 1, data.cast(), len, first, none));
            let (before, at, to) = (&raw const before, at.cast_const(), &raw mut scale);
            succeed(dpo_tile_terms_in_place(fastest, before, at, data, len, first, to, none));
            due.fold(dispatch, &due_tile, first);
            let due_scale = tile_terms_in_place(dispatch, &due_before, &due, &mut due_tile, first);
            assert!(scale.same(&due_scale), "{scale} {due_scale}");
            assert!(same(&tile, &due_tile), "terms");
            rescaled += u32::from(scale != 1.0);
            for (sums, tile, scale) in
                [(&mut sums, &tile, scale), (&mut due_sums, &due_tile, due_scale)]
            {
                for (h, sum) in sums.iter_mut().enumerate() {
                    *sum = *sum * scale + tile[h];
                }
            }
        }
        let (c, x) = (-0.375, logits[target as usize]);
        let (row, to) = (target_row.as_ptr().cast(), sums.as_mut_ptr());
        let at = &raw const stats;
        succeed(dpo_hidden_row_grads_in_place(
            fastest,
            at,
            c,
            x,
            number_of_type,
            row,
            to,
            HIDDEN,
            none,
        ));
        hidden_row_grads_in_place(dispatch, &due, c, x, &target_row, &mut due_sums).unwrap();
    }
    assert!(rescaled > 0, "the base has risen");
    assert!(same(&sums, &due_sums), "gradients");
    // The scale between statistics, without a tile.
    let (first, mut scale) = (zeroed::<dpo_row_stats>(), 7.0);
    let (of, to) = ([&raw const first, &raw const stats], &raw mut scale);
    // SAFETY: a tile of no columns may be NULL.
    succeed(unsafe { dpo_tile_terms_in_place(fastest, of[0], of[1], none.cast(), 0, 0, to, none) });
    assert_eq!(scale, 1.0, "nothing was folded before");
}

#[test]
fn rows_by_a_host_s_loop_are_those_of_rust() {
    for flags in [0, DPO_ROW_DETAILS] {
        row_agrees::<f32>(1, flags);
        row_agrees::<f16>(2, flags);
        row_agrees::<bf16>(3, flags);
    }
}
