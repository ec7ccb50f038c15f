//! Every refusal: the typed error with its numbers, and no output changed.

use dpo_kernel::error::{Buffer, Parameter};
use dpo_kernel::gradient::{
    GradBatch, logit_grads, logit_grads_in_place, tile_grads_in_place, token_coefficients,
};
use dpo_kernel::row::{RowDetails, RowNorm};
use dpo_kernel::step::StepScratch;
use dpo_kernel::{
    Dispatch, Dpo, Error, IGNORE_INDEX, Layout, Logits, LogitsMut, Pair, PairBatch, PairLoss,
    PairOut, Reference, SequenceLogProb, Span, StepBatch, Targets, TokenOut, Transform,
    preference_loss, preference_step, sequence_log_probs, token_log_probs,
};

const R: usize = 6;
const V: usize = 3;
const SENTINEL: f32 = 12345.678;
const LENGTH: usize = R * V;

fn logits() -> [f32; LENGTH] {
    std::array::from_fn(|i| (i * i % 7) as f32)
}

/// Arguments of every stage; a test changes one of them.
#[derive(Clone, Debug)]
struct Args {
    targets: Vec<u32>,
    spans: Vec<Span>,
    pairs: Vec<Pair>,
    policy: Vec<SequenceLogProb>,
    reference: Vec<SequenceLogProb>,
    sums: Option<Vec<f64>>,
    weights: Option<Vec<f32>>,
    offsets: Option<Vec<f32>>,
    token_weights: Option<Vec<f32>>,
    divisor: f64,
    d_log_probs: Vec<f64>,
    d_nll: Option<Vec<f64>>,
    coefficients: Option<Vec<f64>>,
    norms: Option<Vec<RowNorm>>,
    /// Lengths of log-probs, norms, details, sequences, losses, sequence gradients, the log-probs
    /// that are summed, coefficients.
    lengths: [usize; 8],
    /// Rows and columns of the gradients.
    out: (usize, usize),
}

impl Args {
    fn new() -> Self {
        let sequence = |sum| SequenceLogProb { sum, count: 2 };
        Self {
            targets: vec![0, 1, 2, 0, 1, 2],
            spans: vec![Span::new(0, 2), Span::new(2, 4), Span::new(4, 6)],
            pairs: vec![Pair::new(0, 1), Pair::new(2, 1)],
            policy: [-1.0, -2.0, -3.0].map(sequence).to_vec(),
            reference: [-1.5, -1.5, -2.5].map(sequence).to_vec(),
            sums: None,
            weights: None,
            offsets: None,
            token_weights: None,
            divisor: 2.0,
            d_log_probs: vec![0.5, -0.5, 0.25],
            d_nll: None,
            coefficients: None,
            norms: None,
            lengths: [R, R, R, 3, 2, 3, R, R],
            out: (R, V),
        }
    }

    fn layout(&self) -> Result<Layout<'_>, Error> {
        Layout::new(&self.targets, &self.spans, V)
    }

    fn reference(&self) -> Reference<'_> {
        self.sums.as_deref().map_or(Reference::Sequences(&self.reference), Reference::Sums)
    }
}

fn norms() -> Vec<RowNorm> {
    let (mut log_probs, mut norms) = ([0.0; R], vec![RowNorm::default(); R]);
    let data = logits();
    let out = TokenOut::new(&mut log_probs).with_norms(&mut norms);
    let args = Args::new();
    let view = Logits::new(&data, R, V).unwrap();
    let dispatch = Dispatch::detect();
    let layout = Layout::new(&args.targets, &args.spans, V).unwrap();
    token_log_probs(dispatch, view, &layout, out).unwrap();
    norms
}

fn tokens(args: &Args) -> Result<(), Error> {
    let data = logits();
    let dirty = norms()[0];
    let mut log_probs = vec![SENTINEL; args.lengths[0]];
    let mut kept = vec![dirty; args.lengths[1]];
    let details = RowDetails { entropy: SENTINEL, ..RowDetails::default() };
    let mut all = vec![details; args.lengths[2]];
    let out = TokenOut::new(&mut log_probs).with_norms(&mut kept).with_details(&mut all);
    let view = Logits::new(&data, R, V).unwrap();
    let dispatch = Dispatch::detect();
    let layout = args.layout()?;
    let result = token_log_probs(dispatch, view, &layout, out).map(|_| ());
    if result.is_err() {
        assert!(log_probs.iter().all(|x| x.to_bits() == SENTINEL.to_bits()), "{result:?}: written");
        assert!(kept.iter().all(|x| *x == dirty), "{result:?}: norms written");
        assert!(all.iter().all(|x| *x == details), "{result:?}: details written");
    }
    result
}

const DIRTY: SequenceLogProb = SequenceLogProb { sum: 9.25, count: 77 };

fn sequences(args: &Args) -> Result<(), Error> {
    let mut out = vec![DIRTY; args.lengths[3]];
    let weights = args.token_weights.as_deref();
    let log_probs = vec![-0.5; args.lengths[6]];
    let result = sequence_log_probs(&log_probs, &args.layout()?, weights, &mut out);
    assert!(result.is_ok() || out.iter().all(|x| *x == DIRTY), "{result:?}: written");
    result
}

fn preferences(args: &Args) -> Result<(), Error> {
    let dirty = PairLoss { loss: 3.5, ..PairLoss::default() };
    let mut losses = vec![dirty; args.lengths[4]];
    let mut d = vec![7.5; args.lengths[5]];
    let mut batch = PairBatch::new(&args.pairs, &args.policy, args.reference(), args.divisor);
    batch.weights = args.weights.as_deref();
    batch.offsets = args.offsets.as_deref();
    let out = PairOut::new(&mut losses, &mut d);
    let result = preference_loss(&Dpo::new(0.1).unwrap(), &batch, out);
    if result.is_err() {
        assert!(losses.iter().all(|x| *x == dirty) && d.iter().all(|d| *d == 7.5), "{result:?}");
    }
    result.map(|_| ())
}

/// Apart and in place; both must say the same.
fn gradients(args: &Args) -> Result<(), Error> {
    let norms = args.norms.clone().unwrap_or_else(norms);
    let layout = args.layout()?;
    let mut coefficients = vec![7.5; args.lengths[7]];
    let d_nll = args.d_nll.as_deref();
    let weights = args.token_weights.as_deref();
    let made = token_coefficients(&layout, &args.d_log_probs, weights, d_nll, &mut coefficients);
    assert!(made.is_ok() || coefficients.iter().all(|c| *c == 7.5), "{made:?}: written");
    made?;
    if let Some(given) = &args.coefficients {
        coefficients.clone_from(given);
    }
    let batch = GradBatch::new(&layout, &norms, &coefficients);
    let (data, (rows, vocab)) = (logits(), args.out);
    let mut out = vec![SENTINEL; rows * vocab];
    let to = LogitsMut::new(&mut out, rows, vocab).unwrap();
    let dispatch = Dispatch::detect();
    let apart = logit_grads(dispatch, Logits::new(&data, R, V).unwrap(), &batch, to);
    assert!(apart.is_ok() || out.iter().all(|x| x.to_bits() == SENTINEL.to_bits()), "{apart:?}");
    if (rows, vocab) == (R, V) {
        let mut here = logits();
        let view = LogitsMut::new(&mut here, R, V).unwrap();
        let found = logit_grads_in_place(dispatch, view, &batch);
        // NaN is not equal to itself.
        assert_eq!(format!("{found:?}"), format!("{apart:?}"), "in place and apart");
        assert!(found.is_ok() || here == logits(), "{found:?}: logits written");
    }
    apart
}

/// On a step's refusal the logits are unchanged.
fn step(args: &Args) -> Result<(), Error> {
    let mut data = logits();
    let layout = args.layout()?;
    let mut batch = StepBatch::new(&layout, &args.pairs, args.reference(), args.divisor);
    batch.weights = args.weights.as_deref();
    batch.offsets = args.offsets.as_deref();
    batch.token_weights = args.token_weights.as_deref();
    let dirty = PairLoss { loss: 3.5, ..PairLoss::default() };
    let (mut log_probs, mut sequences) =
        (vec![SENTINEL; args.lengths[0]], vec![DIRTY; args.lengths[3]]);
    let (mut losses, mut d) = (vec![dirty; args.lengths[4]], vec![7.5; args.lengths[5]]);
    let (mut norms, mut c) = (vec![norms()[0]; args.lengths[1]], vec![7.5; args.lengths[7]]);
    let scratch =
        StepScratch::new(&mut log_probs, &mut norms, &mut sequences, &mut losses, &mut d, &mut c);
    let (rows, vocab) = args.out;
    let view = LogitsMut::new(&mut data, R, V).unwrap();
    let (dispatch, dpo) = (Dispatch::detect(), Dpo::new(0.1).unwrap());
    let mut grads = vec![SENTINEL; rows * vocab];
    let result = if (rows, vocab) == (R, V) {
        preference_step(dispatch, &dpo, view, &batch, scratch)
    } else {
        let to = LogitsMut::new(&mut grads, rows, vocab).unwrap();
        preference_step(dispatch, &dpo, (view.as_logits(), to), &batch, scratch)
    };
    assert!(result.is_ok() || data == logits(), "{result:?}: logits written");
    if let Err(error) = result {
        // Every refusal of this file is found before the first stage.
        assert!(log_probs.iter().all(|x| x.to_bits() == SENTINEL.to_bits()), "{error}: log-probs");
        assert!(sequences.iter().all(|x| *x == DIRTY) && d.iter().all(|d| *d == 7.5), "{error}");
        assert!(losses.iter().all(|x| *x == dirty) && c.iter().all(|c| *c == 7.5), "{error}");
        assert!(grads.iter().all(|x| x.to_bits() == SENTINEL.to_bits()), "{error}: gradients");
    }
    result.map(|_| ())
}

type Stage = fn(&Args) -> Result<(), Error>;

#[track_caller]
fn refused(stages: &[Stage], expected: Error, change: impl Fn(&mut Args)) {
    let mut args = Args::new();
    change(&mut args);
    for (i, stage) in stages.iter().enumerate() {
        stage(&Args::new()).expect("the clean arguments are accepted");
        assert_eq!(stage(&args), Err(expected), "stage {i} of the list");
    }
    let text = expected.to_string();
    assert!(!text.is_empty() && !text.ends_with('.'), "{text}");
}

fn length(buffer: Buffer, expected: usize, found: usize) -> Error {
    Error::Length { buffer, expected, found }
}

#[test]
fn wrong_lengths() {
    for by in [-1, 1] {
        let off = |n: usize| n.checked_add_signed(by).unwrap();
        let (six, three, two) = (off(R), off(3), off(2));
        let logits: [Stage; 2] = [tokens, step];
        let shape = Error::ShapeMismatch { expected: (six.max(R), V), found: (R, V) };
        if six > R {
            refused(&logits, shape, |a| a.targets.resize(six, 0));
        }
        let to_sum = length(Buffer::TokenLogProbs, R, six);
        refused(&[sequences], to_sum, |a| a.lengths[6] = six);
        let coefficients = length(Buffer::TokenCoefficients, R, six);
        refused(&[gradients, step], coefficients, |a| a.lengths[7] = six);
        refused(&[gradients], coefficients, |a| a.coefficients = Some(vec![0.5; six]));
        refused(&[gradients], length(Buffer::NllGrads, 3, three), |a| {
            a.d_nll = Some(vec![0.5; three]);
        });
        refused(&[tokens, step], length(Buffer::TokenLogProbs, R, six), |a| a.lengths[0] = six);
        refused(&[tokens, step], length(Buffer::RowNorms, R, six), |a| a.lengths[1] = six);
        refused(&[tokens], length(Buffer::RowDetails, R, six), |a| a.lengths[2] = six);
        refused(&[sequences, step], length(Buffer::Sequences, 3, three), |a| a.lengths[3] = three);
        refused(&[preferences, step], length(Buffer::PairLosses, 2, two), |a| a.lengths[4] = two);
        let grads = length(Buffer::SequenceGrads, 3, three);
        refused(&[preferences, step], grads, |a| a.lengths[5] = three);
        refused(&[gradients], grads, |a| a.d_log_probs.resize(three, 0.5));
        let last = Args::new().reference[2];
        let short = length(Buffer::Reference, 3, three);
        refused(&[preferences, step], short, |a| a.reference.resize(three, last));
        refused(&[preferences, step], short, |a| a.sums = Some(vec![-1.0; three]));
        let weights = length(Buffer::PairWeights, 2, two);
        refused(&[preferences, step], weights, |a| a.weights = Some(vec![1.0; two]));
        let offsets = length(Buffer::PairOffsets, 2, two);
        refused(&[preferences, step], offsets, |a| a.offsets = Some(vec![0.0; two]));
        let weights = length(Buffer::TokenWeights, R, six);
        refused(&[sequences, gradients, step], weights, |a| a.token_weights = Some(vec![1.0; six]));
        refused(&[gradients], length(Buffer::RowNorms, R, six), |a| {
            let mut norms = norms();
            norms.resize(six, norms[0]);
            a.norms = Some(norms);
        });
    }
    for out in [(R + 1, V), (R, V + 1), (R, V - 1), (V, R)] {
        let mismatch = Error::ShapeMismatch { expected: (R, V), found: out };
        refused(&[gradients, step], mismatch, |a| a.out = out);
    }
}

#[test]
fn shapes() {
    fn both(len: usize, rows: usize, vocab: usize, stride: usize) -> Result<(), Error> {
        let mut data = vec![0.0_f32; len];
        let read = Logits::with_stride(&data, rows, vocab, stride).map(|view| {
            assert_eq!((view.rows(), view.vocab()), (rows, vocab));
            assert!(view.row(rows).is_empty(), "no row past the last");
            if rows > 0 {
                assert_eq!(view.row(rows - 1).len(), vocab, "the last row");
            }
        });
        let write = LogitsMut::with_stride(&mut data, rows, vocab, stride).map(|mut view| {
            assert_eq!((view.rows(), view.vocab()), (rows, vocab));
            assert!(view.row_mut(rows).is_empty(), "no row past the last");
            assert_eq!(view.as_logits().rows(), rows);
            let warm = Transform::new(1.0, None, 2.0).unwrap();
            let again = view.reborrow().with_transform(warm);
            assert_eq!((again.transform(), again.as_logits().transform()), (warm, warm));
        });
        assert_eq!(read, write, "both views");
        if stride == vocab {
            assert_eq!(Logits::new(&data, rows, vocab).map(|_| ()), read);
            assert_eq!(LogitsMut::new(&mut data, rows, vocab).map(|_| ()), write);
        }
        read
    }
    assert_eq!(both(0, 0, 5, 5), Ok(()), "no rows");
    assert_eq!(both(10, 2, 5, 5), Ok(()));
    assert_eq!(both(12, 2, 5, 7), Ok(()), "without the last padding");
    assert_eq!(both(14, 2, 5, 7), Ok(()), "with it");
    assert_eq!(both(11, 2, 5, 7), Err(length(Buffer::Logits, 12, 11)));
    assert_eq!(both(15, 2, 5, 7), Err(length(Buffer::Logits, 14, 15)));
    assert_eq!(both(1, 0, 5, 5), Err(length(Buffer::Logits, 0, 1)));
    assert_eq!(both(0, 1, 5, 5), Err(length(Buffer::Logits, 5, 0)));
    assert_eq!(both(10, 2, 0, 5), Err(Error::EmptyVocabulary));
    assert_eq!(both(10, 2, 5, 4), Err(Error::StrideBelowVocabulary { stride: 4, vocab: 5 }));
    let (rows, stride) = (usize::MAX / 2, 5);
    assert_eq!(both(10, rows, 5, stride), Err(Error::ShapeOverflow { rows, stride }));
    let (rows, stride) = (2, usize::MAX);
    assert_eq!(both(10, rows, 5, stride), Err(Error::ShapeOverflow { rows, stride }));
    #[cfg(target_pointer_width = "64")]
    {
        let vocab = 1 << 32;
        assert_eq!(both(10, 2, vocab, vocab), Err(Error::VocabularyTooLarge { vocab }));
    }
}

#[test]
fn spans_and_targets() {
    let rows: [Stage; 4] = [tokens, sequences, gradients, step];
    let out_of_range =
        |sequence, start, end| Error::SpanOutOfRange { sequence, start, end, rows: R };
    refused(&rows, out_of_range(1, 4, 2), |a| a.spans[1] = Span::new(4, 2));
    refused(&rows, out_of_range(2, 4, 7), |a| a.spans[2] = Span::new(4, 7));
    refused(&rows, out_of_range(0, 9, 9), |a| a.spans[0] = Span::new(9, 9));
    refused(&rows, out_of_range(2, 0, usize::MAX), |a| a.spans[2] = Span::new(0, usize::MAX));
    refused(&rows, Error::SpansOverlap { first: 0, second: 1 }, |a| a.spans[0] = Span::new(0, 3));
    refused(&rows, Error::SpansNotAscending { sequence: 1 }, |a| {
        a.spans = vec![Span::new(3, 6), Span::new(1, 2), Span::new(2, 4)];
    });
    for (target, written) in [(3, 3), (u32::MAX, -1), (1 << 31, -(1 << 31))] {
        let error = Error::TargetOutOfRange { row: 3, target: written, vocab: V };
        refused(&rows, error, |a| a.targets[3] = target);
    }
    // A sequence without tokens that nothing names is none; that of a pair is an error of the step.
    for empty in [Span::new(3, 3), Span::new(0, 0)] {
        let mut args = Args::new();
        args.spans.push(empty);
        args.reference.push(SequenceLogProb { sum: f64::NAN, count: 0 });
        (args.lengths[3], args.lengths[5]) = (4, 4);
        args.d_log_probs.push(0.0);
        for stage in rows {
            assert_eq!(stage(&args), Ok(()), "{empty:?} that nothing names");
        }
        args.pairs[1].rejected = 3;
        assert_eq!(step(&args), Err(Error::NoScoredTokens { sequence: 3 }), "{empty:?} of a pair");
    }
    let mut args = Args::new();
    args.targets[4..].fill(IGNORE_INDEX);
    for stage in [tokens, sequences, gradients] {
        assert_eq!(stage(&args), Ok(()), "a sequence whose targets are all ignored");
    }
    args.reference[2].count = 0;
    assert_eq!(step(&args), Err(Error::NoScoredTokens { sequence: 2 }), "named by a pair");
    // An ignore value of one's own may be a valid id.
    let targets = Targets::new(&[0, 1, 2]).with_ignore(1);
    assert_eq!((targets.scored(0), targets.scored(1), targets.scored(3)), (Some(0), None, None));
    assert_eq!(targets.ids(), &[0, 1, 2]);
}

#[test]
fn spans_from_shapes() {
    let dirty = Span::new(7, 8);
    let mut out = [dirty; 3];
    assert_eq!(Span::of_batch(4, &mut out), Ok(()));
    assert_eq!(out, [Span::new(0, 4), Span::new(4, 8), Span::new(8, 12)]);
    let mut out = [dirty; 3];
    let (rows, stride) = (3, usize::MAX / 2);
    assert_eq!(Span::of_batch(stride, &mut out), Err(Error::ShapeOverflow { rows, stride }));
    assert_eq!(out, [dirty; 3], "unchanged");
    assert_eq!(Span::of_offsets(&[1, 3, 3, 9], &mut out), Ok(()));
    assert_eq!(out, [Span::new(1, 3), Span::new(3, 3), Span::new(3, 9)]);
    let mut out = [dirty; 3];
    let descending = Err(Error::OffsetsNotAscending { index: 2 });
    assert_eq!(Span::of_offsets(&[1, 3, 2, 9], &mut out), descending);
    assert_eq!(
        Span::of_offsets(&[-1_i32, 3, 3, 9], &mut out),
        Err(Error::OffsetsNotAscending { index: 0 })
    );
    assert_eq!(Span::of_offsets(&[0_i64, 3, -3, 9], &mut out), descending);
    for (offsets, expected) in [(&[1, 2, 3][..], 2), (&[1, 2, 3, 4, 5], 4)] {
        let found = Span::of_offsets(offsets, &mut out);
        assert_eq!(found, Err(length(Buffer::Spans, expected, 3)));
    }
    assert_eq!(out, [dirty; 3], "unchanged");
    let none_at_all = Err(Error::OffsetsNotAscending { index: 0 });
    assert_eq!(Span::of_offsets::<u32>(&[], &mut []), none_at_all);
    assert_eq!(Span::of_offsets::<i64>(&[], &mut out), none_at_all);
}

#[test]
fn pairs_and_their_values() {
    let both: [Stage; 2] = [preferences, step];
    for sequence in [3, usize::MAX] {
        let error = Error::SequenceOutOfRange { pair: 1, sequence, sequences: 3 };
        refused(&both, error, |a| a.pairs[1].chosen = sequence);
        refused(&both, error, |a| a.pairs[1].rejected = sequence);
    }
    let twice = Error::PairOfOneSequence { pair: 1, sequence: 2 };
    refused(&both, twice, |a| a.pairs[1].rejected = 2);
    let counts = Error::TokenCountMismatch { sequence: 1, policy: 2, reference: 9 };
    refused(&both, counts, |a| a.reference[1].count = 9);
    let parameter = |parameter, value| Error::Parameter { parameter, value };
    for value in [0.0, -1.0, f64::INFINITY, f64::NEG_INFINITY] {
        refused(&both, parameter(Parameter::Divisor, value), |a| a.divisor = value);
        assert_eq!(Dpo::new(value), Err(parameter(Parameter::Beta, value)));
    }
    let mut args = Args::new();
    args.divisor = f64::NAN;
    for found in [preferences(&args), step(&args), Dpo::new(f64::NAN).map(|_| ())] {
        assert!(
            matches!(found, Err(Error::Parameter { value, .. }) if value.is_nan()),
            "{found:?}"
        );
    }
    for value in [-0.1, 0.500_001, 1.0, f64::INFINITY] {
        let found = Dpo::new(0.1).unwrap().with_label_smoothing(value);
        assert_eq!(found, Err(parameter(Parameter::LabelSmoothing, value)));
    }
    assert!(Dpo::new(0.1).unwrap().with_label_smoothing(f64::NAN).is_err());
    let invalid = |buffer, index, value| Error::InvalidValue { buffer, index, value };
    for value in [-1.0_f32, f32::INFINITY] {
        let error = invalid(Buffer::PairWeights, 1, value.into());
        refused(&both, error, |a| a.weights = Some(vec![1.0, value]));
    }
    for value in [f32::NEG_INFINITY, f32::INFINITY] {
        let error = invalid(Buffer::PairOffsets, 0, value.into());
        refused(&both, error, |a| a.offsets = Some(vec![value, 0.0]));
        let error = invalid(Buffer::TokenWeights, 4, value.into());
        let weights = vec![1.0, -1.0, 0.0, 1.0, value, 1.0];
        refused(&[sequences, gradients], error, |a| a.token_weights = Some(weights.clone()));
    }
    for value in [f64::INFINITY, f64::NEG_INFINITY] {
        let error = invalid(Buffer::SequenceGrads, 1, value);
        refused(&[gradients], error, |a| a.d_log_probs[1] = value);
        let error = invalid(Buffer::NllGrads, 2, value);
        refused(&[gradients], error, |a| a.d_nll = Some(vec![0.0, 0.5, value]));
        // In the first sequence, in another, in the last.
        for row in [0, 3, 5] {
            let error = invalid(Buffer::TokenCoefficients, row, value);
            let mut coefficients = vec![0.5; R];
            coefficients[row] = value;
            refused(&[gradients], error, |a| a.coefficients = Some(coefficients.clone()));
        }
    }
    let nan: [(Stage, fn(&mut Args)); 4] = [
        (preferences, |a| a.weights = Some(vec![f32::NAN; 2])),
        (preferences, |a| a.offsets = Some(vec![f32::NAN; 2])),
        (sequences, |a| a.token_weights = Some(vec![f32::NAN; R])),
        (gradients, |a| a.d_log_probs = vec![f64::NAN; 3]),
    ];
    for (stage, change) in nan {
        let mut args = Args::new();
        change(&mut args);
        let found = stage(&args);
        let right =
            matches!(found, Err(Error::InvalidValue { index: 0, value, .. }) if value.is_nan());
        assert!(right, "{found:?}");
    }
    // A norm that no forward made; where it is not scored nobody asks.
    for row in [0, 3, 5] {
        let error = invalid(Buffer::RowNorms, row, 0.0);
        refused(&[gradients], error, |a| {
            let mut norms = norms();
            norms[row] = RowNorm::default();
            a.norms = Some(norms);
        });
    }
}

#[test]
fn transforms_and_tiles() {
    let parameter =
        |parameter, value: f32| Err(Error::Parameter { parameter, value: f64::from(value) });
    for bad in [0.0, -1.0, f32::INFINITY, f32::NEG_INFINITY] {
        assert_eq!(Transform::new(bad, None, 1.0), parameter(Parameter::Scale, bad));
        assert_eq!(Transform::new(1.0, Some(bad), 1.0), parameter(Parameter::Softcap, bad));
        assert_eq!(Transform::new(1.0, None, bad), parameter(Parameter::Temperature, bad));
    }
    for bad in [
        Transform::new(f32::NAN, None, 1.0),
        Transform::new(1.0, Some(f32::NAN), 1.0),
        Transform::new(1.0, None, f32::NAN),
        Transform::new(1e20, None, 1e-20),
        Transform::new(1e-20, Some(1e20), 1.0),
    ] {
        assert!(matches!(bad, Err(Error::Parameter { .. })), "{bad:?}");
    }
    assert_eq!(Transform::new(1.0, None, 1.0), Ok(Transform::default()));
    let good = norms()[0];
    for (norm, c) in [
        (RowNorm::default(), 1.0),
        (RowNorm::default(), -1.0),
        (good, f64::NAN),
        (good, f64::INFINITY),
        (good, f64::NEG_INFINITY),
    ] {
        let mut tile = logits();
        let dispatch = Dispatch::detect();
        let found = tile_grads_in_place(dispatch, &mut tile, 0, Transform::NONE, 1, norm, c);
        assert!(matches!(found, Err(Error::InvalidValue { index: 0, .. })), "{found:?}");
        assert_eq!(tile, logits(), "unchanged");
    }
}
