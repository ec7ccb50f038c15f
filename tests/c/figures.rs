//! The figures of `figures.c` by the Rust functions: the same lines, to the bit.

use std::fmt::Write as _;

use dpo_kernel::gradient::{
    GradBatch, logit_grads, logit_grads_in_place, tile_grads_in_place, token_coefficients,
};
use dpo_kernel::row::{Details, RowDetails, RowNorm, RowStats};
use dpo_kernel::{loss::*, unpaired::*, *};

use crate::programs::{WAYS, compile, root, run};

/// Lines of "name bits".
#[derive(Default)]
pub struct Figures(String);

impl Figures {
    pub fn add(&mut self, name: &str, value: f64) {
        // All NaN are one.
        let bits = if value.is_nan() { f64::NAN.to_bits() } else { value.to_bits() };
        writeln!(self.0, "{name} {bits:016x}").unwrap();
    }

    pub fn all<T: Into<f64> + Copy>(&mut self, name: &str, values: &[T]) {
        for &value in values {
            self.add(name, value.into());
        }
    }

    pub fn text(self) -> String {
        self.0
    }
}

const ROWS: usize = 6;
const VOCAB: usize = 5;
const STRIDE: usize = 7;
const TARGETS: [u32; ROWS] = [1, 0, 4, 99, IGNORE_INDEX, 2];
const SPANS: [Span; 3] = [Span::new(0, 2), Span::new(4, 6), Span::new(2, 3)];
const PAIRS: [Pair; 2] = [Pair::new(0, 1), Pair::new(0, 2)];
const REFERENCE: [f64; 3] = [-3.5, -1.25, -2.0];
const TOKEN_WEIGHTS: [f32; ROWS] = [1.0, 0.5, 0.75, 1.0, 1.0, 2.0];
const WEIGHTS: [f32; 2] = [1.0, 0.5];
const OFFSETS: [f32; 2] = [0.0, 0.25];

fn stages(figures: &mut Figures, dispatch: Dispatch) {
    let mut logits: Vec<f32> = (0..ROWS * STRIDE)
        .map(
            |i| if i % STRIDE < VOCAB { ((i * 37 + 11) % 64) as f32 / 8.0 - 4.0 } else { f32::NAN },
        )
        .collect();
    logits[2 * STRIDE + 1] = f32::NEG_INFINITY;
    let transform = Transform::new(1.25, Some(6.0), 0.75).unwrap();
    let view = Logits::with_stride(&logits, ROWS, VOCAB, STRIDE).unwrap().with_transform(transform);
    let mut order = [0; 3];
    let layout = Layout::in_any_order(&TARGETS, &SPANS, VOCAB, &mut order).unwrap();
    let (mut log_probs, mut norms) = ([0.0; ROWS], [RowNorm::default(); ROWS]);
    let mut details = [RowDetails::default(); ROWS];
    let out = TokenOut::new(&mut log_probs).with_norms(&mut norms).with_details(&mut details);
    let tokens = token_log_probs(dispatch, view, &layout, out).unwrap();
    let mut sums = [SequenceLogProb::default(); 3];
    sequence_log_probs(&log_probs, &layout, Some(&TOKEN_WEIGHTS), &mut sums).unwrap();
    let loss = Dpo::new(0.5).unwrap().with_label_smoothing(0.125).unwrap();
    let batch = PairBatch::new(&PAIRS, &sums, Reference::Sums(&REFERENCE), 2.0)
        .with_weights(&WEIGHTS)
        .with_offsets(&OFFSETS);
    let (mut losses, mut d) = ([PairLoss::default(); 2], [0.0; 3]);
    let out = PairOut::new(&mut losses, &mut d);
    let summary = preference_loss(&loss, &batch, out).unwrap();
    let mut coefficients = [0.0; ROWS];
    token_coefficients(&layout, &d, Some(&TOKEN_WEIGHTS), None, &mut coefficients).unwrap();
    let batch = GradBatch::new(&layout, &norms, &coefficients);
    let mut grads = [0.0_f32; ROWS * VOCAB];
    let to = LogitsMut::new(&mut grads, ROWS, VOCAB).unwrap();
    logit_grads(dispatch, view, &batch, to).unwrap();

    figures.add("tokens", tokens.tokens as f64);
    for ((log_prob, details), coefficient) in log_probs.iter().zip(&details).zip(coefficients) {
        figures.add("coefficient", coefficient);
        figures.all("log_prob", &[*log_prob]);
        figures.all("entropy", &[details.entropy]);
        figures.all("argmax", &[details.argmax]);
        figures.all("mean_logit", &[details.mean_logit]);
        figures.all("log_sum_sq_probs", &[details.log_sum_sq_probs]);
    }
    for (sequence, d) in sums.iter().zip(d) {
        figures.add("sum", sequence.sum);
        figures.add("count", sequence.count as f64);
        figures.add("d_log_prob", d);
    }
    for loss in &losses {
        figures.add("loss", loss.loss);
        figures.add("margin", loss.margin);
        figures.add("d_chosen", loss.d_chosen);
    }
    figures.add("loss_sum", summary.loss_sum);
    figures.add("correct", summary.correct as f64);
    figures.all("grad", &grads);
}

fn storage<E: Element>(figures: &mut Figures, dispatch: Dispatch, bits: fn(E) -> u16) {
    let mut data = [1.0, -2.0, 0.5, f32::NEG_INFINITY].map(E::from_f32);
    let (ids, spans) = ([2], [Span::new(0, 1)]);
    let (mut log_probs, mut norms) = ([0.0], [RowNorm::default()]);
    let out = TokenOut::new(&mut log_probs).with_norms(&mut norms);
    let layout = Layout::new(&ids, &spans, 4).unwrap();
    let view = Logits::new(&data, 1, 4).unwrap();
    token_log_probs(dispatch, view, &layout, out).unwrap();
    let batch = GradBatch::new(&layout, &norms, &[-0.75]);
    logit_grads_in_place(dispatch, LogitsMut::new(&mut data, 1, 4).unwrap(), &batch).unwrap();
    figures.all("log_prob16", &log_probs);
    figures.all("bits16", &data.map(bits));
}

fn tiles(figures: &mut Figures, dispatch: Dispatch) {
    let mut row = [1.0_f32, 2.0, 3.0, 4.0];
    let mut left = RowStats::<Details>::new(Transform::NONE, Some(3));
    let mut right = left;
    left.fold(dispatch, &row[..2], 0);
    right.fold(dispatch, &row[2..], 2);
    left.merge(&right).unwrap();
    figures.add("log_z", left.log_z());
    figures.all("entropy_of_tiles", &[left.details().entropy]);
    let norm = left.norm().unwrap();
    for (first, tile) in [0, 2].into_iter().zip(row.chunks_mut(2)) {
        tile_grads_in_place(dispatch, tile, first, Transform::NONE, 3, norm, 1.0).unwrap();
    }
    figures.all("tile_grad", &row);
}

/// What one process writes as bytes another reads: the whole row from its left shard and the bytes.
fn shards(figures: &mut Figures, dispatch: Dispatch) {
    let number = |i: usize| ((i * 37 + 11) % 64) as f32 / 8.0 + (i / 512 * 40) as f32;
    let mut row: Vec<f32> = (0..1100).map(number).collect();
    row[20] = f32::NEG_INFINITY;
    let transform = Transform::new(1.25, None, 0.75).unwrap();
    let mut whole = RowStats::<()>::new(transform, Some(700));
    let mut right = whole;
    whole.fold(dispatch, &row, 0);
    right.fold(dispatch, &row[512..], 512);
    let mut bytes = [0; RowStats::<()>::BYTES];
    right.write_bytes(&mut bytes).unwrap();
    figures.all("row_byte", &bytes);
    figures.add("log_z_of_shards", whole.log_z());
    figures.add("log_prob_of_shards", whole.log_prob().unwrap());
    figures.add("entropy_of_shards", f64::NAN);
    let mut whole = RowStats::<Details>::new(transform, Some(700));
    let mut right = whole;
    whole.fold(dispatch, &row, 0);
    right.fold(dispatch, &row[512..], 512);
    let mut bytes = [0; RowStats::<Details>::BYTES];
    right.write_bytes(&mut bytes).unwrap();
    figures.all("row_byte", &bytes);
    figures.add("log_z_of_shards", whole.log_z());
    figures.add("log_prob_of_shards", whole.log_prob().unwrap());
    figures.all("entropy_of_shards", &[whole.details().entropy]);
}

fn losses(figures: &mut Figures) {
    let pair = PairLogProbs::new(-20.5, -25.25, -21.0, -24.5).with_tokens(10, 12);
    let mut names = LossName::ALL;
    names.sort_unstable_by_key(|&name| name as i32);
    for name in names {
        let is_rpo =
            matches!(name, LossName::RpoForward | LossName::RpoBackward | LossName::RpoSquare);
        let options = LossOptions {
            reference_kl: (name == LossName::Kto).then_some(0.25),
            reward_gap: is_rpo.then_some(0.5),
            advantage: (name == LossName::AStarPo).then_some(0.5),
            ..LossOptions::default()
        };
        if let Objective::Pairs(loss) = name.build(&options).unwrap() {
            let found = loss.evaluate(&pair);
            figures.add(name.name(), found.loss);
            figures.add("d_chosen", found.d_chosen);
            figures.add("d_rejected", found.d_rejected);
        }
    }
}

fn batches(figures: &mut Figures) {
    let policy =
        [(-3.0, 2), (-1.5, 1), (-2.5, 1)].map(|(sum, count)| SequenceLogProb { sum, count });
    let reference = Reference::Sums(&REFERENCE);
    let plain = PairBatch::new(&PAIRS, &policy, reference, 2.0);
    let batch = plain.with_weights(&WEIGHTS).with_offsets(&OFFSETS);
    let (dpo, hinge) = (Dpo::new(0.5).unwrap(), Hinge::new(0.25).unwrap());
    let terms: [MixtureTerm<'_>; 2] =
        [MixtureTerm::new(0.75, &dpo), MixtureTerm::new(0.25, &hinge)];
    let option = |beta| LossOptions { beta: Some(beta), ..LossOptions::default() };
    let each = [(LossName::Sigmoid, 0.5), (LossName::Hinge, 0.25)].map(|(name, beta)| {
        let Objective::Pairs(loss) = name.build(&option(beta)).unwrap() else { panic!("{name:?}") };
        loss
    });
    let (mut losses, mut d) = ([PairLoss::default(); 2], [0.0; 3]);
    let mut sums = Vec::new();
    let out = PairOut::new(&mut losses, &mut d);
    sums.push((preference_loss(PerPair::new(&each), &batch, out).unwrap(), d));
    let out = PairOut::new(&mut losses, &mut d);
    sums.push((preference_loss(&Mixture::new(&terms).unwrap(), &batch, out).unwrap(), d));
    for (summary, d) in sums {
        figures.add("objective", summary.loss_sum);
        figures.all("d_objective", &d);
    }
    let mut order = [0; 4];
    let aot = Aot::paired(0.01).unwrap().over(&mut order);
    let out = PairOut::new(&mut losses, &mut d);
    figures.add("aot", preference_loss(aot, &plain, out).unwrap().loss_sum);
    let out = PairOut::new(&mut losses, &mut d);
    let softmax = SoftmaxDpo::new(0.5).unwrap();
    figures.add("s_dpo", preference_loss(softmax, &plain, out).unwrap().loss_sum);
    figures.all("d_s_dpo", &d);
    let out = PairOut::new(&mut losses, &mut d);
    let alpha = dpo.with_label_smoothing(0.125).unwrap();
    let alpha = alpha.with_divergence(AlphaDivergence::with_trl_alpha(0.25).unwrap());
    figures.add("alpha", preference_loss(&alpha, &plain, out).unwrap().loss_sum);

    let labels = [Label::Desirable, Label::Undesirable, Label::Undesirable];
    let answers = [0, 1, 2].map(|sequence| UnpairedAnswer::new(sequence, labels[sequence]));
    let answers = UnpairedBatch::new(&answers, &policy, reference, 3.0);
    let mut each = [AnswerLoss::default(); 3];
    let out = UnpairedOut::new(&mut each, &mut d);
    let summary = unpaired_loss(&Kto::new(0.1, 0.0).unwrap(), &answers, out).unwrap();
    figures.add("desirable", summary.desirable_loss_sum);
    figures.add("undesirable", summary.undesirable_loss_sum);
    let out = UnpairedOut::new(&mut each, &mut d);
    let summary = unpaired_loss(&AStarPo::new(1e-3, 0.5).unwrap(), &answers, out).unwrap();
    figures.add("a2po", summary.desirable_loss_sum + summary.undesirable_loss_sum);
    let advantages = [0.5, -0.25, 1.0].map(|advantage| AStarPo::new(1e-3, advantage).unwrap());
    let out = UnpairedOut::new(&mut each, &mut d);
    unpaired_loss(PerAnswer::new(&advantages), &answers, out).unwrap();
    figures.all("a2po_each", &each.map(|answer| answer.loss));
    figures.all("a2po_each_d", &d);
    let nll = Nll::new(1.0, NllPer::Sequence, 4.0).unwrap();
    nll_loss(&nll, &NllBatch::of_chosen(&PAIRS, &policy), &mut d).unwrap();
    figures.all("d_nll", &d);
}

fn expected() -> String {
    let mut figures = Figures::default();
    for level in [Level::Baseline, Level::detect()] {
        let dispatch = Dispatch::new(level, Arithmetic::Portable).unwrap();
        stages(&mut figures, dispatch);
        storage::<f16>(&mut figures, dispatch, f16::to_bits);
        storage::<bf16>(&mut figures, dispatch, bf16::to_bits);
        tiles(&mut figures, dispatch);
        shards(&mut figures, dispatch);
    }
    losses(&mut figures);
    batches(&mut figures);
    figures.add("sigmoid", math::sigmoid(0.3));
    figures.add("softplus", math::softplus(-40.0));
    figures.add("log1mexp", math::log1mexp(-0.7));
    figures.add("logaddexp", math::logaddexp(1.0, 2.0));
    figures.all("sigmoid_f32", &[math::f32::sigmoid(0.3)]);
    figures.all("log_sigmoid_f32", &[math::f32::log_sigmoid(0.3)]);
    figures.all("softplus_f32", &[math::f32::softplus(0.3)]);
    figures.all("log1mexp_f32", &[math::f32::log1mexp(-0.3)]);
    figures.all("logaddexp_f32", &[math::f32::logaddexp(0.3, 0.4)]);
    figures.text()
}

/// The first line that differs.
pub fn objection(found: &str, expected: &str) -> Option<String> {
    let (found, expected): (Vec<_>, Vec<_>) = (found.lines().collect(), expected.lines().collect());
    if found.len() != expected.len() {
        return Some(format!("{} figures, {} expected", found.len(), expected.len()));
    }
    let mut pairs = found.iter().zip(&expected).enumerate();
    let (i, (found, expected)) = pairs.find(|(_, (found, expected))| found != expected)?;
    Some(format!("figure {i} is {found}, expected {expected}"))
}

#[test]
fn figures_are_those_of_rust() {
    let source = root().join("tests/c/figures.c");
    let expected = expected();
    assert!(expected.lines().count() > 200, "the figures are there");
    for (language, link) in WAYS {
        if let Some(program) = compile(&source, language, link) {
            assert_eq!(objection(&run(&program), &expected), None, "{language:?}, {link:?}");
        }
    }
}

#[test]
fn planted_faults_are_caught() {
    let right = expected();
    assert_eq!(objection(&right, &right), None);
    let flipped = right.replacen("entropy 3", "entropy 4", 1);
    let sent = right.replacen("row_byte 4", "row_byte 5", 1);
    assert!(sent != right, "bytes are figures");
    let (_, short) = right.split_once('\n').unwrap();
    for wrong in [&flipped, &sent, short, ""] {
        assert!(objection(wrong, &right).is_some(), "a wrong figure passed");
    }
}
