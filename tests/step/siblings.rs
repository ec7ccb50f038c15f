//! One step in all its forms: the same bits.

use dpo_kernel::gradient::{GradBatch, Unscored, logit_grads, token_coefficients};
use dpo_kernel::loss::{Bco, Kto, Nll, NllPer};
use dpo_kernel::row::RowNorm;
use dpo_kernel::step::StepScratch;
use dpo_kernel::step::{UnpairedStepBatch, unpaired_step};
use dpo_kernel::unpaired::{
    AnswerLoss, Label, UnpairedAnswer, UnpairedBatch, UnpairedOut, unpaired_loss,
};
use dpo_kernel::{
    Dispatch, Dpo, Element, Error, Layout, LogitsMut, Pair, Parallel, Reference, SequenceLogProb,
    Span, StepBatch, TokenOut, Workspace, bf16, f16, sequence_log_probs, token_log_probs,
};

use crate::case::{
    Given, REFERENCE, ROWS, STRIDE, VOCAB, bits, in_place, layout, logits, read, step, view,
};

const WEIGHTS: [f32; 2] = [0.5, 1.5];
const TOKEN_WEIGHTS: [f32; ROWS] = [9.0, 1.0, 0.5, 0.0, 2.0, 9.0, 1.0, 9.0, 0.25, 1.0, 1.0, 9.0];

fn given() -> Given<'static> {
    Given {
        weights: Some(&WEIGHTS),
        token_weights: Some(&TOKEN_WEIGHTS),
        nll: Some(Nll::new(0.75, NllPer::Token, 4.0).unwrap()),
        nll_weights: Some(&[2.0, 0.25]),
        unscored: Unscored::Zero,
    }
}

/// Gradients apart, of the logits' type and of f32, over threads, and in a workspace.
fn forms_agree<E: Element>() {
    let (layout, dpo) = (layout(), Dpo::new(0.1).unwrap());
    let batch = given().batch(&layout, Reference::Sums(&REFERENCE));
    let (expected, grads) = in_place(&dpo, logits::<E>(), &batch);
    let summary = expected.summary.unwrap();
    assert!(grads.iter().all(|x| x.to_f32().is_finite()), "every element is a gradient or 0");
    assert!(summary.mean_loss() > 0.0 && summary.nll.loss_sum > 0.0);
    assert_eq!(summary.tokens.tokens, 8);

    let from = logits::<E>();
    let mut same = vec![E::from_f32(7.5); ROWS * STRIDE];
    let mut wide = vec![7.5_f32; ROWS * VOCAB];
    for dispatch in
        Dispatch::available().filter(|d| d.arithmetic() == Dispatch::detect().arithmetic())
    {
        let threads = Parallel::new(dispatch);
        let found = step(threads, &dpo, (read(&from), view(&mut same)), &batch);
        assert_eq!(found.bits(), expected.bits(), "{dispatch:?}, apart, over threads");
        assert_eq!(found.summary.unwrap(), summary);
        assert_eq!(bits(&same), bits(&grads), "{dispatch:?}, apart");

        let to = LogitsMut::new(&mut wide, ROWS, VOCAB).unwrap();
        let found = step(dispatch, &dpo, (read(&from), to), &batch);
        assert_eq!(found.bits(), expected.bits(), "{dispatch:?}, f32 gradients");
        for row in 0..ROWS {
            let rounded: Vec<E> =
                wide[row * VOCAB..][..VOCAB].iter().map(|&x| E::from_f32(x)).collect();
            assert_eq!(bits(&rounded), bits(&grads[row * STRIDE..][..VOCAB]), "row {row}");
        }
        assert_eq!(bits(&from), bits(&logits::<E>()), "the logits are unchanged");
    }

    let mut workspace = Workspace::new();
    for _ in 0..2 {
        let mut here = logits::<E>();
        let found =
            workspace.preference_step(Dispatch::detect(), &dpo, view(&mut here), &batch).unwrap();
        assert_eq!(found, summary);
        assert_eq!(bits(&here), bits(&grads), "in a workspace");
        assert_eq!(workspace.pair_losses(), expected.losses);
        assert_eq!(workspace.sequences(), expected.sequences);
        assert!(workspace.answer_losses().is_empty());
    }
}

#[test]
fn of_every_type_agree() {
    forms_agree::<f32>();
    forms_agree::<f16>();
    forms_agree::<bf16>();
}

/// A batch that is really cut: 600 rows of 130 columns are 78,000 logits, several parts for each
/// thread.
#[test]
fn over_a_pool_of_any_size() {
    const MANY: usize = 600;
    const COLUMNS: usize = 130;
    let mut state = 9_u32;
    let mut random = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state >> 16
    };
    let logits: Vec<f32> = (0..MANY * COLUMNS).map(|_| random() as f32 / 4096.0 - 8.0).collect();
    let targets: Vec<u32> = (0..MANY).map(|_| random() % COLUMNS as u32).collect();
    // 24 sequences of 25 rows; the last three rows of each are of no sequence.
    let spans: Vec<Span> = (0..24).map(|i| Span::new(25 * i, 25 * i + 22)).collect();
    let layout = Layout::new(&targets, &spans, COLUMNS).unwrap();
    let pairs: Vec<Pair> = (0..12).map(|i| Pair::new(2 * i, 2 * i + 1)).collect();
    let reference: Vec<f64> = (0..24).map(|i| -107.0 - f64::from(i)).collect();
    let batch = StepBatch::new(&layout, &pairs, Reference::Sums(&reference), 12.0)
        .with_nll(Nll::new(0.5, NllPer::Token, 3.0).unwrap())
        .with_unscored(Unscored::Zero);
    let dpo = Dpo::new(0.1).unwrap();
    let run = |threads: usize, mut logits: Vec<f32>| {
        let view = LogitsMut::new(&mut logits, MANY, COLUMNS).unwrap();
        let found = if threads == 0 {
            step(Dispatch::detect(), &dpo, view, &batch)
        } else {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| step(Parallel::new(Dispatch::detect()), &dpo, view, &batch))
        };
        (found.bits(), found.summary, bits(&logits))
    };
    let expected = run(0, logits.clone());
    assert!(expected.1.unwrap().mean_loss() > 0.0);
    for threads in [1, 2, 3, 8] {
        assert!(run(threads, logits.clone()) == expected, "{threads} threads");
    }
    // A broken row in a later part is named, and nothing has moved.
    let mut broken = logits;
    broken[587 * COLUMNS + 5] = f32::NAN;
    let before = bits(&broken);
    for threads in [0, 2, 8] {
        let (_, summary, after) = run(threads, broken.clone());
        assert_eq!(summary, Err(Error::NonFiniteRows { first: 587, count: 1 }), "{threads}");
        assert!(after == before, "{threads} threads have written");
    }
}

const ANSWERS: [UnpairedAnswer; 3] = [
    UnpairedAnswer { sequence: 2, label: Label::Desirable },
    UnpairedAnswer { sequence: 0, label: Label::Undesirable },
    UnpairedAnswer { sequence: 3, label: Label::Desirable },
];

/// The unpaired step is its stages, in place, apart, over threads and in a workspace.
#[test]
fn of_answers_are_their_stages() {
    let (layout, dispatch) = (layout(), Dispatch::detect());
    let kto = Kto::new(0.1, 0.25).unwrap().with_weights(1.0, 0.5).unwrap();
    let reference = Reference::Sums(&REFERENCE);
    let weights = [1.0, 0.5, 2.0];

    let from = logits::<f32>();
    let (mut log_probs, mut norms) = ([0.0; ROWS], [RowNorm::default(); ROWS]);
    let out = TokenOut::new(&mut log_probs).with_norms(&mut norms);
    let tokens = token_log_probs(dispatch, read(&from), &layout, out).unwrap();
    let mut sequences = [SequenceLogProb::default(); 4];
    sequence_log_probs(&log_probs, &layout, Some(&TOKEN_WEIGHTS), &mut sequences).unwrap();
    let (mut losses, mut d) = ([AnswerLoss::default(); 3], [7.5; 4]);
    let batch = UnpairedBatch::new(&ANSWERS, &sequences, reference, 3.0).with_weights(&weights);
    let out = UnpairedOut::new(&mut losses, &mut d);
    let summary = unpaired_loss(&kto, &batch, out).unwrap();
    let mut coefficients = [7.5; ROWS];
    token_coefficients(&layout, &d, Some(&TOKEN_WEIGHTS), None, &mut coefficients).unwrap();
    let grads = GradBatch::new(&layout, &norms, &coefficients);
    let grads = grads.with_unscored(Unscored::Zero);
    let mut apart = vec![7.5_f32; ROWS * STRIDE];
    logit_grads(dispatch, read(&from), &grads, view(&mut apart)).unwrap();
    assert_eq!(d[1], 0.0, "no answer names sequence 1");

    let batch = UnpairedStepBatch::new(&layout, &ANSWERS, reference, 3.0)
        .with_weights(&weights)
        .with_token_weights(&TOKEN_WEIGHTS)
        .with_unscored(Unscored::Zero);
    let mut found = logits::<f32>();
    let (mut log_probs, mut norms) = ([7.5; ROWS], [RowNorm::default(); ROWS]);
    let (mut sums, mut each) = ([SequenceLogProb::default(); 4], [AnswerLoss::default(); 3]);
    let (mut d_found, mut c) = ([7.5; 4], [7.5; ROWS]);
    let scratch =
        StepScratch::new(&mut log_probs, &mut norms, &mut sums, &mut each, &mut d_found, &mut c);
    let report = unpaired_step(dispatch, &kto, view(&mut found), &batch, scratch).unwrap();
    assert_eq!((report.loss, report.tokens), (summary, tokens));
    assert_eq!((sums, each, d_found), (sequences, losses, d));
    assert_eq!(bits(&found), bits(&apart), "padding and rows that are not scored are 0 in both");
    assert!(found[VOCAB..STRIDE].iter().all(|x| x.to_bits() == 0), "dirty before");

    let mut workspace = Workspace::new();
    let mut here = logits::<f32>();
    let threads = Parallel::new(dispatch);
    let again = workspace.unpaired_step(threads, &kto, view(&mut here), &batch).unwrap();
    assert_eq!(again, report);
    assert_eq!(bits(&here), bits(&found), "in a workspace, over threads");
    assert_eq!((workspace.answer_losses(), workspace.pair_losses().len()), (&losses[..], 0));
}

/// Refusals of the unpaired step come before anything is written.
#[test]
fn of_answers_refuse_before_they_write() {
    let layout = layout();
    let bco = Bco::new(0.1).unwrap();
    let good = UnpairedStepBatch::new(&layout, &ANSWERS, Reference::Sums(&REFERENCE), 3.0);
    let outside = [UnpairedAnswer { sequence: 4, label: Label::Desirable }];
    let bad = [
        UnpairedStepBatch::new(&layout, &outside, Reference::Sums(&REFERENCE), 3.0),
        UnpairedStepBatch::new(&layout, &ANSWERS, Reference::Free, 3.0),
        UnpairedStepBatch::new(&layout, &ANSWERS, Reference::Sums(&REFERENCE[1..]), 3.0),
        UnpairedStepBatch::new(&layout, &ANSWERS, Reference::Sums(&REFERENCE), 0.0),
        good.with_weights(&[1.0, -1.0, 1.0]),
        good.with_weights(&[1.0]),
        good.with_token_weights(&[f32::NAN; ROWS]),
    ];
    for batch in bad {
        let mut here = logits::<f32>();
        let before = bits(&here);
        let (mut log_probs, mut norms) = ([7.5; ROWS], [RowNorm::default(); ROWS]);
        let (mut sums, mut each) =
            ([SequenceLogProb::default(); 4], vec![AnswerLoss::default(); batch.answers.len()]);
        let (mut d, mut c) = ([7.5; 4], [7.5; ROWS]);
        let scratch =
            StepScratch::new(&mut log_probs, &mut norms, &mut sums, &mut each, &mut d, &mut c);
        let found = unpaired_step(Dispatch::detect(), &bco, view(&mut here), &batch, scratch);
        assert!(found.is_err(), "{batch:?}");
        assert_eq!((log_probs, d, c), ([7.5; ROWS], [7.5; 4], [7.5; ROWS]), "{found:?}");
        assert_eq!(bits(&here), before, "{found:?}");
    }
}

/// A workspace that a larger batch has dirtied gives a smaller one its own results; its errors are
/// the step's.
#[test]
fn of_a_used_workspace() {
    let layout = layout();
    let dpo = Dpo::new(0.1).unwrap();
    let batch = given().batch(&layout, Reference::Sums(&REFERENCE));
    let mut workspace = Workspace::new();
    let mut large = logits::<f32>();
    workspace.preference_step(Dispatch::detect(), &dpo, view(&mut large), &batch).unwrap();

    let (targets, spans) = ([1, 0], [dpo_kernel::Span::new(0, 1), dpo_kernel::Span::new(1, 2)]);
    let small = dpo_kernel::Layout::new(&targets, &spans, 2).unwrap();
    let pairs = [dpo_kernel::Pair::new(0, 1)];
    let batch = dpo_kernel::StepBatch::new(&small, &pairs, Reference::Sums(&[-1.0, -1.0]), 1.0);
    let mut here = [0.5_f32, 0.25, 0.0, 1.0];
    let to = LogitsMut::new(&mut here, 2, 2).unwrap();
    let found = workspace.preference_step(Dispatch::detect(), &dpo, to, &batch).unwrap();
    let mut alone = [0.5_f32, 0.25, 0.0, 1.0];
    let to = LogitsMut::new(&mut alone, 2, 2).unwrap();
    let expected = step(Dispatch::detect(), &dpo, to, &batch);
    assert_eq!(found, expected.summary.unwrap());
    assert_eq!((here, workspace.log_probs()), (alone, &expected.log_probs[..]));

    let mut broken = [0.5_f32, f32::NAN, 0.0, 1.0];
    let to = LogitsMut::new(&mut broken, 2, 2).unwrap();
    let found = workspace.preference_step(Dispatch::detect(), &dpo, to, &batch);
    assert_eq!(found.unwrap_err(), Error::NonFiniteRows { first: 0, count: 1 });
    let sums = workspace
        .score(Dispatch::detect(), dpo_kernel::Logits::new(&alone, 2, 2).unwrap(), &small, None)
        .unwrap();
    assert_eq!(sums.len(), 2);
    assert!(workspace.pair_losses().is_empty(), "those of an earlier call");

    // A broken row counts once it is read; what no weight reads may be anything.
    let broken = [f32::NAN, 0.25, 0.0, 1.0];
    let broken = dpo_kernel::Logits::new(&broken, 2, 2).unwrap();
    let found = workspace.score(Dispatch::detect(), broken, &small, None).unwrap_err();
    assert_eq!(found, Error::NonFiniteRows { first: 0, count: 1 });
    let found = workspace.score(Dispatch::detect(), broken, &small, Some(&[0.0, 1.0])).unwrap();
    assert_eq!((found[0].count, found[1].count), (0, 1));
    assert!(found[1].sum < 0.0);
}
