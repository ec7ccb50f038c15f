//! Wrong results that the checkers of the bodies must reject, each by name.

use dpo_kernel::loss::LossName;
use dpo_kernel::verify::cases::{BatchCase, LayoutCase, PairCase, RowCase};
use dpo_kernel::verify::{self, Dpo, IGNORE_INDEX, PairLogProbs, Transform};
use dpo_kernel::{Dispatch, Error, PairLoss, SequenceLogProb, f16, math};

use crate::bodies::batch::{Found, step};
use crate::bodies::layout::Order;
use crate::bodies::scalars::{Arguments, CRATE, Functions};
use crate::bodies::tokens::{Forward, forward};
use crate::bodies::{gradients, jsonl, layout, loss, row, scalars, step as step_body, tokens};

mod heads;

/// Every fault must be rejected, and what is right must not.
fn assert_rejected(right: &Result<(), String>, faults: &[(&str, Result<(), String>)]) {
    assert_eq!(*right, Ok(()), "what is right");
    let passed: Vec<&str> =
        faults.iter().filter(|(_, result)| result.is_ok()).map(|(name, _)| *name).collect();
    assert!(passed.is_empty(), "these passed: {passed:?}");
}

#[test]
fn of_scalars() {
    let at = |functions: Functions| {
        let points = [-50.0, -38.5, -17.0, -1e-9, -1e-300, 0.0, 0.3, 2.0, 40.0];
        let mut pairs = points.iter().flat_map(|&a| points.map(|b| Arguments { a, b }));
        pairs.try_for_each(|arguments| scalars::accepts(&functions, &arguments))
    };
    let naive_sigmoid = |x: f64| 1.0 - 1.0 / (1.0 + libm::exp(x));
    let naive_softplus = |x: f64| libm::log(1.0 + libm::exp(x));
    let naive_complement = |x: f64| libm::log(1.0 - libm::exp(x));
    let off = |x: f32| math::f32::softplus(x).next_up();
    let mut late = CRATE.f32;
    late[2].1 = off;
    let mut flat = CRATE.f32;
    flat[0].1 = |x| {
        let right = math::f32::sigmoid(x);
        if x == 0.3 { right.next_up().next_up() } else { right }
    };
    assert_rejected(
        &at(CRATE),
        &[
            ("1 − σ(−x)", at(Functions { sigmoid: naive_sigmoid, ..CRATE })),
            ("ln(1 + eˣ)", at(Functions { softplus: naive_softplus, ..CRATE })),
            ("ln(1 − eˣ)", at(Functions { log1mexp: naive_complement, ..CRATE })),
            ("ln σ(x)", at(Functions { log_sigmoid: |x| libm::log(math::sigmoid(x)), ..CRATE })),
            ("σ of NaN", at(Functions { sigmoid: |x| math::sigmoid(x.max(-17.0)), ..CRATE })),
            ("no order of arguments", at(Functions { logaddexp: |a, _| a + 1.0, ..CRATE })),
            ("the larger alone", at(Functions { logaddexp: f64::max, ..CRATE })),
            ("softplus of f32, an ulp off", at(Functions { f32: late, ..CRATE })),
            ("sigmoid of f32, out of order", at(Functions { f32: flat, ..CRATE })),
            ("logaddexp of f32", at(Functions { logaddexp_f32: f32::max, ..CRATE })),
        ],
    );
}

fn one_row() -> RowCase {
    RowCase {
        logits: vec![0.5, 0.25, f32::NEG_INFINITY, 0.0, -1.0, 2.0],
        transform: Transform { scale: 1.25, softcap: Some(4.0), temperature: 0.75 },
        target: 3,
        coefficient: -0.75,
    }
}

#[test]
fn of_rows() {
    let case = one_row();
    let judge = row::Judge::of::<f32>(&case);
    let y = case.transformed::<f32>();
    let right = row::Figures {
        log_z: verify::log_sum_exp(&y),
        log_prob: verify::log_prob(&y, case.target),
        columns: 6,
    };
    let with = |change: fn(&mut row::Figures)| {
        let mut wrong = right;
        change(&mut wrong);
        judge.accepts(&wrong)
    };
    assert_rejected(
        &judge.accepts(&right),
        &[
            ("log Z, the fifth digit", with(|f| f.log_z += 1e-5)),
            ("log Z without a column", with(|f| f.log_z -= 0.1)),
            ("NaN", with(|f| f.log_z = f64::NAN)),
            ("log p of a neighbour", with(|f| f.log_prob += 0.2)),
            ("log p, the fifth digit", with(|f| f.log_prob -= 1e-5)),
            ("a log-prob above 0", with(|f| f.log_prob = -f.log_prob)),
            ("a column twice", with(|f| f.columns += 1)),
        ],
    );
}

#[test]
fn of_gradients() {
    let case = one_row();
    let exact = case.grads::<f16>();
    let right: Vec<f32> = exact.iter().map(|&g| g as f32).collect();
    let with = |change: fn(&mut Vec<f32>)| {
        let mut wrong = right.clone();
        change(&mut wrong);
        gradients::accepts::<f16, f32>(&case, &wrong)
    };
    let idle = RowCase { coefficient: 0.0, ..case.clone() };
    assert_rejected(
        &gradients::accepts::<f16, f32>(&case, &right),
        &[
            ("sign", with(|g| g.iter_mut().for_each(|g| *g = -*g))),
            ("last column", with(|g| g[5] = 0.0)),
            ("fifth digit", with(|g| g[0] *= 1.0 + 1e-5)),
            ("fifth digit of the target", with(|g| g[3] *= 1.0 + 1e-5)),
            ("target taken for a column", with(|g| g[3] -= -0.75)),
            ("masked column", with(|g| g[2] = 1e-30)),
            ("NaN", with(|g| g[4] = f32::NAN)),
            ("c = 0", gradients::accepts::<f16, f32>(&idle, &right)),
            ("another row", gradients::accepts::<f16, f32>(&RowCase { target: 1, ..case }, &right)),
        ],
    );
}

/// Two sequences, one row between them, an ignored row, padding.
fn batch() -> BatchCase {
    let nan = f32::NAN;
    BatchCase {
        logits: vec![
            0.5, 1.5, -1.0, nan, nan, nan, nan, nan, 0.25, 0.5, 0.0, nan, nan, nan, nan, nan, 2.0,
            1.0, 0.0, nan,
        ],
        stride: 4,
        transform: Transform::NONE,
        layout: LayoutCase {
            vocab: 3,
            targets: vec![1, 77, 2, IGNORE_INDEX, 0],
            ignore: IGNORE_INDEX,
            spans: vec![(2, 5), (0, 1)],
        },
        token_weights: Some(vec![1.0, 1.0, 0.5, 1.0, 0.75]),
        pairs: vec![(0, 1)],
        reference: vec![-1.0, -2.0],
        weights: None,
        offsets: Some(vec![0.25]),
        dpo: Dpo { beta: 0.5, label_smoothing: 0.1 },
        divisor: 2.0,
    }
}

#[test]
fn of_tokens() {
    let case = batch();
    let right = forward::<f32>(&case, Dispatch::detect());
    let with = |change: fn(&mut Forward)| {
        let mut wrong = right.clone();
        change(&mut wrong);
        tokens::accepts::<f32>(&case, &wrong)
    };
    let error = |first, count| Err(Error::NonFiniteRows { first, count });
    let mut broken = case.clone();
    broken.logits[9] = f32::NAN;
    broken.logits[17] = f32::INFINITY;
    let named = forward::<f32>(&broken, Dispatch::detect());
    let renamed = |result| tokens::accepts::<f32>(&broken, &Forward { result, ..named.clone() });
    assert_rejected(
        &tokens::accepts::<f32>(&case, &right).and(tokens::accepts::<f32>(&broken, &named)),
        &[
            ("a row of nobody", with(|f| f.log_probs[1] = 0.0)),
            ("an ignored row", with(|f| f.log_probs[3] = -1.0)),
            ("an ignored norm", with(|f| f.norms[3] = f.norms[0])),
            ("an ignored entropy", with(|f| f.details[3].entropy = 0.0)),
            ("the next target", with(|f| f.log_probs[0] -= 1.0)),
            ("the sixth digit", with(|f| f.log_probs[4] *= 1.0 + 2e-6)),
            ("entropy", with(|f| f.details[0].entropy += 4e-5)),
            ("log Σp²", with(|f| f.details[0].log_sum_sq_probs -= 2e-5)),
            ("argmax", with(|f| f.details[0].argmax = 0)),
            ("a token more", with(|f| f.result.as_mut().unwrap().tokens += 1)),
            ("a masked token", with(|f| f.result.as_mut().unwrap().masked_tokens += 1)),
            ("an error of nothing", with(|f| f.result = Err(Error::EmptyVocabulary))),
            ("no error", renamed(right.result)),
            ("the second row", renamed(error(4, 2))),
            ("one row", renamed(error(2, 1))),
        ],
    );
}

/// Three sequences, one of them empty, a row between them, an ignored row; a masked column.
#[test]
fn of_losses() {
    let log_probs = PairLogProbs {
        policy_chosen: -20.0,
        policy_rejected: -31.0,
        reference_chosen: -22.0,
        reference_rejected: -30.0,
    };
    let dpo = Dpo { beta: 0.5, label_smoothing: 0.1 };
    let pair = PairCase { log_probs, weight: 0.5, offset: 0.25 };
    let case = loss::Case::of_dpo(pair, dpo);
    let expected = verify::preference_loss(&dpo, &log_probs, 0.5, 0.25);
    let right = PairLoss {
        loss: expected.loss,
        reward_chosen: expected.reward_chosen,
        reward_rejected: expected.reward_rejected,
        margin: expected.margin,
        d_chosen: expected.d_chosen,
        d_rejected: expected.d_rejected,
    };
    let with = |change: fn(&mut PairLoss)| {
        let mut wrong = right;
        change(&mut wrong);
        loss::accepts(&case, &wrong)
    };
    let kto = loss::Case { name: LossName::Kto, ..case };
    let mut infinite = case;
    infinite.pair.log_probs.policy_chosen = f64::NEG_INFINITY;
    let nan = f64::NAN;
    let nan = PairLoss {
        loss: nan,
        reward_chosen: nan,
        reward_rejected: nan,
        margin: nan,
        d_chosen: nan,
        d_rejected: nan,
    };
    assert_rejected(
        &loss::accepts(&case, &right),
        &[
            ("the loss, the twelfth digit", with(|l| l.loss *= 1.0 + 1e-12)),
            ("the weight", with(|l| l.loss *= 2.0)),
            ("the offset in a reward", with(|l| l.reward_chosen -= 0.25)),
            ("the rejected reward", with(|l| l.reward_rejected = -l.reward_rejected)),
            ("the offset in the margin", with(|l| l.margin -= 0.25)),
            ("the sign of a gradient", with(|l| l.d_chosen = -l.d_chosen)),
            ("the other gradient", with(|l| l.d_rejected = l.d_chosen)),
            ("β", with(|l| l.d_chosen *= 2.0)),
            ("a number for −inf", loss::accepts(&infinite, &right)),
            ("half a number", loss::accepts(&infinite, &PairLoss { loss: 1.0, ..nan })),
            ("another loss", loss::accepts(&kto, &right)),
            ("NaN for numbers", loss::accepts(&kto, &nan)),
        ],
    );
}

#[test]
fn of_steps() {
    let case = batch();
    let right = step::<f32>(&case, Dispatch::detect());
    let with = |change: fn(&mut Found)| {
        let mut wrong = right.clone();
        change(&mut wrong);
        step_body::accepts::<f32>(&case, &wrong)
    };
    let mut broken = case.clone();
    broken.logits[9] = f32::NAN;
    let refused = step::<f32>(&broken, Dispatch::detect());
    // Nothing depends on a token of weight 0, nor on an answer that no pair names.
    let mut silent = broken.clone();
    silent.token_weights.as_mut().unwrap()[2] = 0.0;
    let done_without = step::<f32>(&silent, Dispatch::detect());
    let zeroed = step_body::zeroed::<f32>(&case, &right, Dispatch::detect()).unwrap();
    let with_zeros = |change: fn(&mut [f64])| {
        let mut wrong = zeroed.clone();
        change(&mut wrong);
        step_body::accepts_zeroed(&case, &right.grads, &wrong)
    };
    let mut empty = case.clone();
    empty.token_weights.as_mut().unwrap()[0] = 0.0;
    let after = |change: fn(&mut Found)| {
        let mut wrong = refused.clone();
        change(&mut wrong);
        step_body::accepts::<f32>(&broken, &wrong)
    };
    let accepted = step_body::accepts::<f32>;
    assert_rejected(
        &accepted(&case, &right)
            .and(accepted(&broken, &refused))
            .and(accepted(&silent, &done_without))
            .and(with_zeros(|_| ())),
        &[
            ("padding", with(|f| f.grads[3] = 0.0)),
            ("a row of nobody", with(|f| f.grads[5] = 0.0)),
            ("an ignored row", with(|f| f.grads[13] = 0.0)),
            ("a gradient", with(|f| f.grads[8] *= 1.0001)),
            ("two rows changed places", with(|f| f.grads.rotate_right(8))),
            ("a sum", with(|f| f.sequences[0].sum -= 1e-9)),
            ("a count", with(|f| f.sequences[0].count = 3)),
            ("∂L/∂log π", with(|f| f.d_log_probs[1] *= 1.0 + 1e-12)),
            ("a loss", with(|f| f.losses[0].loss *= 1.0 + 1e-12)),
            ("an error of nothing", with(|f| f.summary = Err(Error::EmptyVocabulary))),
            ("no error", after(|f| f.summary = Ok(dpo_kernel::Summary::default()))),
            ("a write after an error", after(|f| f.grads[0] = 0.0)),
            ("an error of a row of weight 0", accepted(&silent, &refused)),
            ("an answer without tokens", accepted(&empty, &right)),
            ("with zeros: padding", with_zeros(|g| g[3] = f64::NAN)),
            ("with zeros: a row of nobody", with_zeros(|g| g[5] = 0.5)),
            ("with zeros: an ignored row", with_zeros(|g| g[13] = f64::NAN)),
            ("with zeros: a gradient", with_zeros(|g| g[8] = 0.0)),
        ],
    );
}

/// Sequences in no order, an empty one, and a target that is out of the vocabulary where nobody
/// looks.
#[test]
fn of_layouts() {
    let case = LayoutCase { spans: vec![(2, 5), (4, 4), (0, 1)], ..batch().layout };
    let spans = |spans: &[(usize, usize)]| LayoutCase { spans: spans.to_vec(), ..case.clone() };
    let (sorted, shared) = (spans(&[(0, 1), (1, 1), (2, 5)]), spans(&[(2, 5), (0, 3)]));
    let (outside, wrong) = (spans(&[(2, 6)]), spans(&[(0, 2)]));
    let any = |case: &LayoutCase, found| layout::accepts(case, Order::Any, found);
    let ascending = |case: &LayoutCase, found| layout::accepts(case, Order::Ascending, found);
    let behind = Err(Error::SpansNotAscending { sequence: 2 });
    let overlap = |first, second| Err(Error::SpansOverlap { first, second });
    let of_rows = |end, rows| Err(Error::SpanOutOfRange { sequence: 0, start: 2, end, rows });
    let of_target = |row, target| Err(Error::TargetOutOfRange { row, target, vocab: 3 });
    let right = any(&case, Ok(()))
        .and(any(&sorted, Ok(())))
        .and(ascending(&sorted, Ok(())))
        .and(ascending(&case, behind))
        .and(any(&shared, overlap(0, 1)))
        .and(any(&outside, of_rows(6, 5)))
        .and(any(&wrong, of_target(1, 77)));
    assert_rejected(
        &right,
        &[
            ("a refusal of what is right", any(&case, behind)),
            ("spans that do not ascend", ascending(&case, Ok(()))),
            (
                "a sequence that ascends",
                ascending(&case, Err(Error::SpansNotAscending { sequence: 0 })),
            ),
            ("shared rows", any(&shared, Ok(()))),
            ("a sequence that shares rows with itself", any(&shared, overlap(1, 1))),
            ("an empty span that shares rows", any(&case, overlap(0, 1))),
            ("rows outside", any(&outside, Ok(()))),
            ("another number of rows", any(&outside, of_rows(6, 6))),
            ("a target outside", any(&wrong, Ok(()))),
            ("another target outside", any(&wrong, of_target(1, 78))),
            ("a target that nobody asks for", any(&case, of_target(1, 77))),
            ("an error of another kind", any(&wrong, Err(Error::EmptyVocabulary))),
        ],
    );
}

#[test]
fn of_sums() {
    let layout = LayoutCase { spans: vec![(2, 5), (4, 4), (0, 1)], ..batch().layout };
    let log_probs = [-0.25, -1.25, -2.25, -3.25, -4.25];
    let right =
        [(-6.5, 2), (0.0, 0), (-0.25, 1)].map(|(sum, count)| SequenceLogProb { sum, count });
    let with = |change: fn(&mut [SequenceLogProb; 3])| {
        let mut wrong = right;
        change(&mut wrong);
        layout::accepts_sums(&layout, &log_probs, &wrong)
    };
    assert_rejected(
        &layout::accepts_sums(&layout, &log_probs, &right),
        &[
            ("a sum", with(|sums| sums[0].sum -= 0.25)),
            ("a count", with(|sums| sums[0].count = 3)),
            ("an ignored row", with(|sums| sums[0].sum -= 3.25)),
            ("NaN of nothing", with(|sums| sums[1].sum = f64::NAN)),
            ("a sequence left out", with(|sums| sums.rotate_left(1))),
        ],
    );
}

#[test]
fn of_readers() {
    assert_rejected(&Ok(()), &jsonl::planted_faults());
}
