//! The backward of a trained head in C, over more rows than a chain of tokens has and more columns than
//! a tile: the results of Rust to the bit, on every level, for every type of states and of gradients.

use std::ptr;

use dpo_kernel::c::*;
use dpo_kernel::gradient::GradBatch;
use dpo_kernel::head::{
    HeadGrads, HeadRow, HeadScratch, Hidden, HiddenMut, Linear, head_grads, head_token_log_probs,
};
use dpo_kernel::row::RowNorm;
use dpo_kernel::{
    Arithmetic, Dispatch, Element, IGNORE_INDEX, Layout, Level, Span, TokenOut, Transform, bf16,
    f16,
};

use crate::abi::Same;
use crate::host::zeroed;

const ROWS: usize = 150;
/// Those in the spans, without the one whose target is ignored.
const SCORED: usize = ROWS - 2;
const HIDDEN: usize = 37;
const VOCAB: usize = 530;
/// Of the hidden states and of the weights.
const STRIDE: usize = 39;
/// Of the gradients of the weights.
const GRADS_STRIDE: usize = 41;
/// Of those of the hidden states.
const HIDDEN_STRIDE: usize = 38;

struct Case<E, W> {
    states: Vec<E>,
    weights: Vec<W>,
    bias: Vec<f32>,
    targets: Vec<u32>,
    spans: Vec<Span>,
    norms: Vec<RowNorm>,
    coefficients: Vec<f64>,
}

/// Where gradients go, which held something before.
#[derive(Clone)]
struct Grads<G> {
    hidden: Vec<f32>,
    weights: Vec<G>,
    bias: Vec<f32>,
}

/// Of what gradients are asked for.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Of {
    Both,
    Weights,
    Bias,
}

fn number(i: usize) -> f32 {
    ((i * 37 + i / 7 * 11 + 5) % 61) as f32 / 30.5 - 1.0
}

/// Rows with padding of NaN.
fn rows<E: Element>(rows: usize, stride: usize, seed: usize) -> Vec<E> {
    let of = |i: usize| if i % stride < HIDDEN { number(i + seed) } else { f32::NAN };
    (0..rows * stride).map(|i| E::from_f32(of(i))).collect()
}

impl<E: Element, W: Element> Case<E, W> {
    fn new() -> Self {
        let mut case = Self {
            states: rows(ROWS, STRIDE, 40),
            weights: rows(VOCAB, STRIDE, 0),
            bias: (0..VOCAB).map(|i| number(3 * i)).collect(),
            targets: (0..ROWS).map(|row| (row * 131 % VOCAB) as u32).collect(),
            spans: vec![Span::new(0, 60), Span::new(61, ROWS)],
            norms: vec![RowNorm::default(); ROWS],
            coefficients: (0..ROWS).map(|row| f64::from(number(row)) / 8.0).collect(),
        };
        case.targets[5] = IGNORE_INDEX;
        case.coefficients[7] = 0.0;
        case
    }

    fn head(&self, transform: Transform) -> Linear<'_, W> {
        let head = Linear::with_stride(&self.weights, VOCAB, HIDDEN, STRIDE).unwrap();
        head.with_bias(&self.bias).unwrap().with_transform(transform)
    }

    fn states(&self) -> Hidden<'_, E> {
        Hidden::with_stride(&self.states, ROWS, HIDDEN, STRIDE).unwrap()
    }

    fn layout(&self) -> Layout<'_> {
        Layout::new(&self.targets, &self.spans, VOCAB).unwrap()
    }

    fn forward(&mut self, dispatch: Dispatch, transform: Transform) {
        let mut norms = vec![RowNorm::default(); ROWS];
        let (head, mut room) = (self.head(transform), [HeadRow::NEW; 12]);
        let mut numbers = vec![0.0; HeadScratch::numbers::<E, _>(&head, 12)];
        let mut log_probs = vec![0.0; ROWS];
        let out = TokenOut::new(&mut log_probs).with_norms(&mut norms);
        let scratch = HeadScratch::new(&mut room, &mut numbers);
        head_token_log_probs(dispatch, self.states(), &head, &self.layout(), out, scratch).unwrap();
        self.norms = norms;
    }

    /// By Rust, with room for all rows.
    fn by_rust<G: Element>(
        &self,
        dispatch: Dispatch,
        transform: Transform,
        (of, is_added): (Of, bool),
        to: &mut Grads<G>,
    ) {
        let (head, layout) = (self.head(transform), self.layout());
        let batch = GradBatch::new(&layout, &self.norms, &self.coefficients);
        let hidden = HiddenMut::with_stride(&mut to.hidden, ROWS, HIDDEN, HIDDEN_STRIDE).unwrap();
        let mut room = vec![HeadRow::NEW; ROWS];
        if of == Of::Bias {
            let grads = HeadGrads::of_bias(&mut to.bias);
            let grads = if is_added { grads.added() } else { grads };
            let mut numbers = numbers_of::<E, W, f32>(&head, &grads);
            let scratch = HeadScratch::new(&mut room, &mut numbers);
            head_grads(dispatch, self.states(), &head, &batch, hidden, grads, scratch).unwrap();
        } else {
            let grads =
                HeadGrads::of_weights_with_stride(&mut to.weights, VOCAB, HIDDEN, GRADS_STRIDE);
            let mut grads = grads.unwrap();
            if of == Of::Both {
                grads = grads.with_bias(&mut to.bias);
            }
            let grads = if is_added { grads.added() } else { grads };
            let mut numbers = numbers_of::<E, W, G>(&head, &grads);
            let scratch = HeadScratch::new(&mut room, &mut numbers);
            head_grads(dispatch, self.states(), &head, &batch, hidden, grads, scratch).unwrap();
        }
    }

    /// By C, with room for so many rows.
    fn by_c<G: Element>(
        &self,
        dispatch: dpo_dispatch,
        (transform, types, at_once): (dpo_transform, [i32; 3], usize),
        (of, is_added): (Of, bool),
        to: &mut Grads<G>,
    ) {
        let mut error = dpo_error::default();
        let error = &raw mut error;
        let layout = dpo_layout {
            size: size_of::<dpo_layout>(),
            targets: self.targets.as_ptr(),
            rows: ROWS,
            spans: self.spans.as_ptr(),
            count: self.spans.len(),
            vocab: VOCAB,
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
        let states = dpo_hidden {
            size: size_of::<dpo_hidden>(),
            data: self.states.as_ptr().cast(),
            len: self.states.len(),
            rows: ROWS,
            hidden: HIDDEN,
            stride: STRIDE,
            r#type: types[0],
            reserved: 0,
        };
        let d_hidden = dpo_hidden_mut {
            size: size_of::<dpo_hidden_mut>(),
            data: to.hidden.as_mut_ptr().cast(),
            len: to.hidden.len(),
            rows: ROWS,
            hidden: HIDDEN,
            stride: HIDDEN_STRIDE,
            r#type: 1,
            reserved: 0,
        };
        let mode = if is_added { DPO_GRADS_ADD } else { DPO_GRADS_REPLACE };
        let bias = if of == Of::Weights { ptr::null_mut() } else { to.bias.as_mut_ptr() };
        let none = dpo_head_mut { size: size_of::<dpo_head_mut>(), mode, bias, ..zeroed() };
        let d_head = match of {
            Of::Bias => none,
            Of::Both | Of::Weights => dpo_head_mut {
                weights: to.weights.as_mut_ptr().cast(),
                len: to.weights.len(),
                stride: GRADS_STRIDE,
                r#type: types[2],
                ..none
            },
        };
        let batch = dpo_grads {
            size: size_of::<dpo_grads>(),
            norms: self.norms.as_ptr(),
            coefficients: self.coefficients.as_ptr(),
            unscored: DPO_UNSCORED_KEEP,
            reserved: 0,
        };
        let (head, d_head, mut len) = (&raw const head, &raw const d_head, 0);
        // SAFETY: structs over memory of their lengths.
        succeed(unsafe { dpo_head_grads_scratch_len(head, d_head, at_once, &raw mut len, error) });
        let mut numbers = vec![f64::NAN; len];
        let size = size_of::<dpo_head_scratch>();
        let (numbers, states) = (numbers.as_mut_ptr(), &raw const states);
        let (layout, batch, d_hidden) = (&raw const layout, &raw const batch, &raw const d_hidden);
        let make = |len: usize, rows: usize| {
            let scratch = dpo_head_scratch { size, numbers, len, rows };
            let scratch = &raw const scratch;
            // SAFETY: as above, and the report is there.
            unsafe {
                let returned = dpo_head_grads(
                    dispatch, states, head, layout, batch, d_hidden, d_head, scratch, error,
                );
                let report = error.read();
                assert_eq!(returned, report.status);
                report
            }
        };
        // A double fewer, and a row fewer than a chain has, are too few.
        let report = make(len - 1, at_once);
        assert_eq!((report.status, report.subject), (DPO_ERROR_LENGTH, DPO_BUFFER_HEAD_NUMBERS));
        assert_eq!(report.numbers, [len, len - 1, 0, 0]);
        let report = make(len, 127);
        assert_eq!((report.status, report.subject), (DPO_ERROR_LENGTH, DPO_BUFFER_HEAD_ROWS));
        assert_eq!(report.numbers, [128, 127, 0, 0]);
        succeed(make(len, at_once).status);
    }
}

fn numbers_of<E: Element, W: Element, G: Element>(
    head: &Linear<'_, W>,
    grads: &HeadGrads<'_, G>,
) -> Vec<f32> {
    let dispatch = Dispatch::detect();
    vec![0.0; HeadScratch::numbers_trained::<_, E, _, G>(dispatch, head, ROWS, grads)]
}

impl<G: Element> Grads<G> {
    fn dirty() -> Self {
        Self {
            hidden: vec![7.0; ROWS * HIDDEN_STRIDE],
            weights: rows(VOCAB, GRADS_STRIDE, 99),
            bias: (0..VOCAB).map(|i| number(i + 3)).collect(),
        }
    }
}

fn succeed(status: dpo_status) {
    assert_eq!(status, DPO_OK);
}

fn same<T: Same>(a: &[T], b: &[T]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.same(b))
}

/// Elements that are padding.
fn padding<T: Copy>(all: &[T], stride: usize) -> Vec<T> {
    let of = all.chunks(stride).flat_map(|row| &row[HIDDEN..]);
    of.copied().collect()
}

fn agree<E: Element, W: Element, G: Element + Same>(types: [i32; 3]) {
    let mut case = Case::<E, W>::new();
    let arithmetics = [(Arithmetic::Fused, 1), (Arithmetic::Portable, 2)];
    let (of_rust, of_c) = (
        Transform::new(1.25, Some(6.0), 0.75).unwrap(),
        dpo_transform { scale: 1.25, softcap: 6.0, temperature: 0.75 },
    );
    let mut tried = 0;
    for (level, number) in Level::ALL.iter().copied().zip(1..) {
        for (arithmetic, of) in arithmetics {
            let Ok(by) = Dispatch::new(level, arithmetic) else { continue };
            let dispatch = dpo_dispatch { level: number, arithmetic: of };
            case.forward(by, of_rust);
            for what in [Of::Both, Of::Weights, Of::Bias] {
                let mut due = Grads::<G>::dirty();
                let mut found = [SCORED, 128].map(|at_once| (at_once, due.clone()));
                let before = due.clone();
                // Replaced, and added to what that gave.
                for is_added in [false, true, true] {
                    let how = (what, is_added);
                    case.by_rust(by, of_rust, how, &mut due);
                    for (at_once, found) in &mut found {
                        case.by_c(dispatch, (of_c, types, *at_once), how, found);
                        let of = format!("{types:?}, {by:?}, {how:?}, {at_once} at once");
                        assert!(same(&found.hidden, &due.hidden), "{of}: hidden states");
                        assert!(same(&found.weights, &due.weights), "{of}: weights");
                        assert!(same(&found.bias, &due.bias), "{of}: bias");
                        assert_eq!(padding(&found.hidden, HIDDEN_STRIDE), [7.0; ROWS], "{of}");
                        let padding = padding(&found.weights, GRADS_STRIDE);
                        assert!(padding.iter().all(|x| x.to_f32().is_nan()), "{of}: padding");
                    }
                }
                let is_kept = same(&due.weights, &before.weights);
                assert_eq!(is_kept, what == Of::Bias, "{what:?}");
                assert_eq!(same(&due.bias, &before.bias), what == Of::Weights, "{what:?}");
                tried += 1;
            }
        }
    }
    assert!(tried >= 3, "{types:?}: no level was tried");
}

#[test]
fn trained_heads_are_those_of_rust() {
    agree::<f32, f32, f32>([1, 1, 1]);
    agree::<f32, f16, f16>([1, 2, 2]);
    agree::<f32, bf16, bf16>([1, 3, 3]);
    agree::<f16, f32, f32>([2, 1, 1]);
    agree::<f16, f16, f16>([2, 2, 2]);
    agree::<f16, f16, bf16>([2, 2, 3]);
    agree::<bf16, bf16, f32>([3, 3, 1]);
    agree::<bf16, f32, f16>([3, 1, 2]);
    agree::<bf16, bf16, bf16>([3, 3, 3]);
}
