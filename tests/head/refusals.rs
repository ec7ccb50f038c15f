//! What is refused, with its numbers, and what is written then: nothing.

use dpo_kernel::error::Buffer;
use dpo_kernel::gradient::{GradBatch, Unscored};
use dpo_kernel::head::{
    HeadRow, HeadScratch, Hidden, HiddenMut, Linear, head_forward, head_token_log_probs,
    hidden_grads, hidden_grads_in_place,
};
use dpo_kernel::row::{RowDetails, RowNorm};
use dpo_kernel::{Dispatch, Error, Layout, Span, TokenOut, bf16, f16};

use crate::case::{Case, DIRT, numbers_of, run};
use crate::forward::bits;

const fn length(buffer: Buffer, expected: usize, found: usize) -> Error {
    Error::Length { buffer, expected, found }
}

#[test]
fn views_have_their_shapes() {
    let of = |len: usize, rows, size, stride| {
        let (data, mut room) = (vec![0.5_f32; len], vec![0.5_f32; len]);
        let view = Hidden::with_stride(&data, rows, size, stride).map(|h| (h.rows(), h.size()));
        let place =
            HiddenMut::with_stride(&mut room, rows, size, stride).map(|h| (h.rows(), h.size()));
        match (view, place) {
            (Err(Error::Length { buffer, expected, found }), place) => {
                assert_eq!(buffer, Buffer::Hidden);
                assert_eq!(place, Err(length(Buffer::HiddenGrads, expected, found)));
                Err(length(buffer, expected, found))
            }
            (view, place) => {
                assert_eq!(view, place);
                view
            }
        }
    };
    assert_eq!(of(6, 2, 3, 3), Ok((2, 3)));
    assert_eq!(of(10, 2, 3, 5), Ok((2, 3)));
    assert_eq!(of(8, 2, 3, 5), Ok((2, 3)), "the padding of the last row may be missing");
    assert_eq!(of(7, 2, 3, 5), Err(length(Buffer::Hidden, 8, 7)));
    assert_eq!(of(11, 2, 3, 5), Err(length(Buffer::Hidden, 10, 11)));
    assert_eq!(of(0, 0, 3, 5), Ok((0, 3)));
    assert_eq!(of(4, 2, 0, 5), Err(Error::EmptyHidden));
    assert_eq!(of(4, 2, 3, 2), Err(Error::StrideBelowHidden { stride: 2, size: 3 }));
    let rows = usize::MAX / 2;
    assert_eq!(of(4, rows, 3, 3), Err(Error::ShapeOverflow { rows, stride: 3 }));
    let view = Hidden::new(&[1.0_f32, 2.0, 3.0, 4.0], 2, 2).unwrap();
    assert_eq!((view.row(1), view.row(2)), (&[3.0, 4.0][..], &[][..]));
    let mut data = [1.0_f32, 2.0, 3.0, 4.0];
    let mut view = HiddenMut::new(&mut data, 2, 2).unwrap();
    assert_eq!((view.row(0), view.row(9)), (&[1.0, 2.0][..], &[][..]));
    view.row_mut(1)[0] = 7.0;
    assert_eq!(view.row_mut(2), &[]);
    assert_eq!(data, [1.0, 2.0, 7.0, 4.0]);
}

#[test]
fn heads_have_their_shapes() {
    let weights = [0.5_f32; 12];
    let of = |vocab, size| Linear::new(&weights, vocab, size).map(|_| ());
    assert_eq!(of(4, 3), Ok(()));
    assert_eq!(of(0, 3), Err(Error::EmptyVocabulary));
    assert_eq!(of(1 << 40, 3), Err(Error::VocabularyTooLarge { vocab: 1 << 40 }));
    assert_eq!(of(4, 0), Err(Error::EmptyHidden));
    assert_eq!(of(4, 4), Err(length(Buffer::HeadWeights, 16, 12)));
    assert_eq!(of(3, 3), Err(length(Buffer::HeadWeights, 9, 12)));
    let strided = |stride| Linear::with_stride(&weights, 4, 3, stride).map(|_| ());
    assert_eq!(strided(2), Err(Error::StrideBelowHidden { stride: 2, size: 3 }));
    assert_eq!(strided(4), Err(length(Buffer::HeadWeights, 15, 12)));
    let head = Linear::new(&weights, 4, 3).unwrap();
    assert_eq!(head.with_bias(&[0.0; 5]).map(|_| ()), Err(length(Buffer::HeadBias, 4, 5)));
    assert_eq!(numbers_of::<f32>(&head, 13), 24 * 528 + 3 * 524 + 15);
    // A head by reference asks for as much.
    assert_eq!(HeadScratch::numbers::<f32, _>(&&head, 13), 24 * 528 + 3 * 524 + 15);
    assert_eq!(numbers_of::<f32>(&head.with_panels(0), 1), 12 * 528 + 3 * 44 + 15);
    let weights = vec![0.5_f32; 600 * 300];
    let large = Linear::new(&weights, 600, 300).unwrap();
    assert_eq!(numbers_of::<f32>(&large.with_panels(99), 25), 36 * 528 + 256 * 524 + 15);
    assert_eq!(numbers_of::<f32>(&large.with_panels(1), 1), 12 * 528 + 256 * 44 + 15);
}

/// The arguments of both entries, each of which can be spoiled.
struct Args {
    rows: usize,
    size: usize,
    targets: Vec<u32>,
    vocab: usize,
    log_probs: usize,
    norms: usize,
    details: usize,
    sums: (usize, usize),
    coefficients: Vec<f64>,
    room: usize,
    short: usize,
}

const R: usize = 5;
const H: usize = 3;
const V: usize = 7;

/// The error of the forward, and of the backward on norms of a forward that was not spoiled.
fn errors(spoil: impl FnOnce(&mut Args)) -> [Result<(), Error>; 3] {
    let mut args = Args {
        rows: R,
        size: H,
        targets: vec![1; R],
        vocab: V,
        log_probs: R,
        norms: R,
        details: R,
        sums: (R, H),
        coefficients: vec![0.5; R],
        room: 4,
        short: 0,
    };
    let weights: Vec<f32> = (0..V * H).map(|i| i as f32 * 0.25).collect();
    let head = Linear::new(&weights, V, H).unwrap();
    let dispatch = Dispatch::detect();
    let good = {
        let (mut log_probs, mut norms) = (vec![0.0; R], vec![RowNorm::default(); R]);
        let states = vec![0.5_f32; R * H];
        let (spans, mut rows) = ([Span::new(0, R)], [HeadRow::NEW; 4]);
        let layout = Layout::new(&args.targets, &spans, V).unwrap();
        let mut numbers = vec![0.0; numbers_of::<f32>(&head, 4)];
        let out = TokenOut::new(&mut log_probs).with_norms(&mut norms);
        let scratch = HeadScratch::new(&mut rows, &mut numbers);
        let states = Hidden::new(&states, R, H).unwrap();
        head_token_log_probs(dispatch, states, &head, &layout, out, scratch).unwrap();
        norms
    };
    spoil(&mut args);
    let states = vec![0.5_f32; args.rows * args.size];
    let states = Hidden::new(&states, args.rows, args.size).unwrap();
    let spans = [Span::new(0, args.targets.len())];
    let layout = Layout::new(&args.targets, &spans, args.vocab).unwrap();
    let mut numbers = vec![0.0; numbers_of::<f32>(&head, args.room) - args.short];
    let mut rows = vec![HeadRow::NEW; args.room];
    let mut log_probs = vec![DIRT; args.log_probs];
    let mut norms = vec![RowNorm::default(); args.norms];
    let mut details = vec![RowDetails::default(); args.details];
    let mut sums = vec![DIRT; args.sums.0 * args.sums.1];
    let out = TokenOut::new(&mut log_probs).with_norms(&mut norms).with_details(&mut details);
    let view = HiddenMut::new(&mut sums, args.sums.0, args.sums.1).unwrap();
    let scratch = HeadScratch::new(&mut rows, &mut numbers);
    let forward = head_forward(dispatch, states, &head, &layout, out, view, scratch).map(|_| ());
    if forward.is_err() {
        assert!(log_probs.iter().chain(&sums).all(|&x| x == DIRT));
        assert!(norms.iter().all(|norm| *norm == RowNorm::default()));
        assert!(details.iter().all(|of| *of == RowDetails::default()));
    }
    sums.fill(DIRT);
    let mut given = good;
    given.resize(args.norms, RowNorm::default());
    let batch = GradBatch::new(&layout, &given, &args.coefficients).with_unscored(Unscored::Zero);
    let view = HiddenMut::new(&mut sums, args.sums.0, args.sums.1).unwrap();
    let scratch = HeadScratch::new(&mut rows, &mut numbers);
    let backward = hidden_grads_in_place(dispatch, states, &head, &batch, view, scratch);
    if backward.is_err() {
        assert!(sums.iter().all(|&x| x == DIRT));
    }
    let mut narrow = vec![bf16::from_f32(DIRT); args.sums.0 * args.sums.1];
    let sums = vec![0.5; R * H];
    let view = HiddenMut::new(&mut narrow, args.sums.0, args.sums.1).unwrap();
    let sums = Hidden::new(&sums, R, H).unwrap();
    let scratch = HeadScratch::new(&mut rows, &mut numbers);
    let apart = hidden_grads(dispatch, states, &head, &batch, sums, view, scratch);
    if apart.is_err() {
        assert!(narrow.iter().all(|&x| x == bf16::from_f32(DIRT)));
    }
    [forward, backward, apart]
}

fn refused(error: Error, spoil: impl FnOnce(&mut Args)) {
    assert_eq!(errors(spoil), [Err(error); 3]);
}

#[test]
fn refusals_have_their_numbers_and_write_nothing() {
    assert_eq!(errors(|_| ()), [Ok(()); 3]);
    let (expected, found) = ((R, H), (R, H + 1));
    refused(Error::HiddenMismatch { expected, found }, |a| a.size = H + 1);
    let expected = (R - 1, V);
    refused(Error::ShapeMismatch { expected, found: (R, V) }, |a| {
        a.targets.truncate(R - 1);
    });
    let expected = (R, V + 1);
    refused(Error::ShapeMismatch { expected, found: (R, V) }, |a| a.vocab = V + 1);
    refused(length(Buffer::HeadRows, 1, 0), |a| a.room = 0);
    let due = 12 * 528 + 3 * 524 + 15;
    refused(length(Buffer::HeadNumbers, due, due - 1), |a| a.short = 1);
    let (expected, found) = ((R, H), (R - 1, H));
    refused(Error::HiddenMismatch { expected, found }, |a| a.sums = found);
    let found = (R, H - 1);
    refused(Error::HiddenMismatch { expected, found }, |a| a.sums = found);
    for by in [R - 1, R + 1] {
        let of = |buffer| length(buffer, R, by);
        let [forward, backward, apart] = errors(|a| a.norms = by);
        assert_eq!([forward, backward, apart], [Err(of(Buffer::RowNorms)); 3]);
        assert_eq!(errors(|a| a.log_probs = by)[0], Err(of(Buffer::TokenLogProbs)));
        assert_eq!(errors(|a| a.details = by)[0], Err(of(Buffer::RowDetails)));
        let [_, backward, apart] = errors(|a| a.coefficients.resize(by, 0.5));
        assert_eq!([backward, apart], [Err(of(Buffer::TokenCoefficients)); 2]);
    }
    let (buffer, value) = (Buffer::TokenCoefficients, f64::INFINITY);
    let [_, backward, apart] = errors(|a| a.coefficients[2] = value);
    assert_eq!([backward, apart], [Err(Error::InvalidValue { buffer, index: 2, value }); 2]);
}

/// A row whose hidden state or logits are not numbers: NaN for that row, all others complete.
#[test]
fn broken_rows_are_named() {
    let clean = Case::<f32, f32>::new(9, 20, 700, 3);
    for (value, at) in [(f32::NAN, 3), (f32::INFINITY, 6)] {
        let mut case = clean.clone();
        case.states[at * case.stride + 11] = value;
        for at_once in [1, 4, 9] {
            let found = run(&case, Dispatch::detect(), at_once, Unscored::Keep);
            assert_eq!(found.summary, Err(Error::NonFiniteRows { first: at, count: 1 }), "{value}");
            let due = run(&clean, Dispatch::detect(), 9, Unscored::Keep);
            for row in (0..9).filter(|&row| case.is_scored(row)) {
                if row == at {
                    assert!(found.log_probs[row].is_nan() && found.details[row].entropy.is_nan());
                } else {
                    assert_eq!(found.log_probs[row].to_bits(), due.log_probs[row].to_bits());
                    assert_eq!(found.norms[row], due.norms[row]);
                    assert_eq!(found.details[row], due.details[row]);
                }
            }
        }
    }
    // A weight that is none spoils every row.
    let mut case = clean;
    case.weights[650 * case.stride + 7] = f32::NAN;
    let found = run(&case, Dispatch::detect(), 9, Unscored::Keep);
    let found = found.summary.map(|_| ()).map_err(|error| error.to_string());
    assert_eq!(found, Err("weights of the head[650] is NaN, outside its domain".into()));
}

/// Into 16 bits: rounded once, what is in place in f32.
#[test]
fn gradients_apart_are_those_in_place_rounded() {
    let case = Case::<bf16, f16>::new(8, 600, 40, 4).with_transform(1.0, Some(20.0), 0.9);
    let (head, layout, dispatch) = (case.head(), case.layout(), Dispatch::detect());
    let due = run(&case, dispatch, 8, Unscored::Zero);
    let (mut log_probs, mut norms) = (vec![0.0; 8], vec![RowNorm::default(); 8]);
    let mut sums = vec![0.0; 8 * 600];
    let (mut rows, mut numbers) = ([HeadRow::NEW; 3], vec![0.0; numbers_of::<bf16>(&head, 3)]);
    let out = TokenOut::new(&mut log_probs).with_norms(&mut norms);
    let view = HiddenMut::new(&mut sums, 8, 600).unwrap();
    let scratch = HeadScratch::new(&mut rows, &mut numbers);
    head_forward(dispatch, case.hidden(), &head, &layout, out, view, scratch).unwrap();
    let batch = GradBatch::new(&layout, &norms, &case.coefficients).with_unscored(Unscored::Zero);
    let mut grads = vec![bf16::from_f32(DIRT); 8 * 600];
    let view = HiddenMut::new(&mut grads, 8, 600).unwrap();
    let sums = Hidden::new(&sums, 8, 600).unwrap();
    let scratch = HeadScratch::new(&mut rows, &mut numbers);
    hidden_grads(dispatch, case.hidden(), &head, &batch, sums, view, scratch).unwrap();
    let grads: Vec<f32> = grads.iter().map(|d| d.to_f32()).collect();
    let due: Vec<f32> = due
        .grads
        .chunks(601)
        .flat_map(|row| row[..600].iter().map(|&d| bf16::from_f32(d).to_f32()))
        .collect();
    assert_eq!(bits(&grads), bits(&due));
}

/// An infinite weight whose column is masked for it: log-probs are right, gradients are not, and so
/// the row of the head is named, by the frozen way and by the trained one.
#[test]
fn infinite_weights_are_named_where_they_spoil_gradients() {
    let mut case = Case::<f32, f32>::new(9, 20, 700, 3);
    for row in (0..9).filter(|&row| case.is_scored(row)).collect::<Vec<_>>() {
        let state = &mut case.states[row * case.stride + 7];
        *state = state.abs() + 0.5;
    }
    case.weights[650 * case.stride + 7] = f32::NEG_INFINITY;
    let alone = crate::case::score(&case, Dispatch::detect(), 9);
    assert!((0..9).filter(|&row| case.is_scored(row)).all(|row| alone[row].is_finite()));
    let due = "weights of the head[650] is -inf, outside its domain";
    let found = run(&case, Dispatch::detect(), 9, Unscored::Keep);
    assert_eq!(found.summary.map(|_| ()).map_err(|error| error.to_string()), Err(due.into()));
    assert!((0..9).filter(|&row| case.is_scored(row)).all(|row| found.log_probs[row].is_nan()));
    let found = crate::trained::train::<_, _, f32>(&case, Dispatch::detect(), 9, false);
    assert_eq!(found.result.map_err(|error| error.to_string()), Err(due.into()));
}
