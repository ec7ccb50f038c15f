//! The figures of `steps.c` by the Rust functions: the same lines, to the bit.

use dpo_kernel::gradient::{GradBatch, Unscored, logit_grads};
use dpo_kernel::row::RowNorm;
use dpo_kernel::step::{StepScratch, UnpairedStepBatch, unpaired_step};
use dpo_kernel::{loss::*, unpaired::*, *};

use crate::figures::{Figures, objection};
use crate::programs::{Language, Link, WAYS, compile, root, run};

const ROWS: usize = 6;
const VOCAB: usize = 4;
const STRIDE: usize = 5;
const LABELS: [i64; ROWS] = [1, 0, -100, 3, 2, 1];
const OFFSETS: [i32; 5] = [0, 2, 4, 6, 6];
const PAIRS: [Pair; 2] = [Pair::new(0, 1), Pair::new(2, 1)];
const REFERENCE: [f64; 4] = [-3.5, -1.25, -2.0, 0.0];

/// Buffers of a step over `P` pairs or answers.
#[derive(Default)]
struct Buffers<const P: usize, L> {
    log_probs: [f32; ROWS],
    norms: [RowNorm; ROWS],
    sequences: [SequenceLogProb; 4],
    losses: Vec<L>,
    d: [f64; 4],
    d_nll: [f64; 4],
    coefficients: [f64; ROWS],
}

impl<const P: usize, L: Default + Clone> Buffers<P, L> {
    fn scratch(&mut self) -> StepScratch<'_, L> {
        self.losses = vec![L::default(); P];
        StepScratch::new(
            &mut self.log_probs,
            &mut self.norms,
            &mut self.sequences,
            &mut self.losses,
            &mut self.d,
            &mut self.coefficients,
        )
        .with_nll(&mut self.d_nll)
    }
}

fn logits() -> [f32; ROWS * STRIDE] {
    std::array::from_fn(|i| {
        if i % STRIDE < VOCAB { ((i * 37 + 11) % 64) as f32 / 8.0 - 4.0 } else { 9.0 }
    })
}

/// The figures of one case, as `figures_of` of `steps.c` prints them.
fn add(figures: &mut Figures, name: &str, sums: [f64; 2], coefficients: &[f64], grads: &[f32]) {
    figures.add(name, sums[0]);
    figures.add("nll", sums[1]);
    figures.all("coefficient", coefficients);
    figures.all("grad", grads);
}

fn expected() -> String {
    let mut figures = Figures::default();
    let dispatch = Dispatch::new(Level::Baseline, Arithmetic::Portable).unwrap();
    let (mut ids, mut spans) = ([0; ROWS], [Span::default(); 4]);
    Span::of_offsets(&OFFSETS, &mut spans).unwrap();
    let targets = Targets::of_i64(&LABELS, -100, &mut ids).unwrap();
    let layout = Layout::new(targets, &spans, VOCAB).unwrap();
    let brains = logits().map(bf16::from_f32);
    let from = Logits::with_stride(&brains, ROWS, VOCAB, STRIDE).unwrap();
    let dpo = Dpo::new(0.1).unwrap();
    let reference = Reference::Sums(&REFERENCE);

    // apart
    let mut grads = [7.0_f32; ROWS * STRIDE];
    let mut buffers = Buffers::<2, PairLoss>::default();
    let nll = Nll::new(0.25, NllPer::Token, 3.0).unwrap();
    let batch = StepBatch::new(&layout, &PAIRS, reference, 2.0)
        .with_nll(nll)
        .with_nll_weights(&[0.5, 2.0])
        .with_unscored(Unscored::Zero);
    let to = LogitsMut::with_stride(&mut grads, ROWS, VOCAB, STRIDE).unwrap();
    let summary = preference_step(dispatch, &dpo, (from, to), &batch, buffers.scratch()).unwrap();
    let sums = [summary.loss_sum, summary.nll.loss_sum];
    add(&mut figures, "apart", sums, &buffers.coefficients, &grads);
    figures.all("d_nll", &buffers.d_nll);

    // exploration
    let mut data = logits();
    let mut buffers = Buffers::<2, PairLoss>::default();
    let batch = StepBatch::new(&layout, &PAIRS, reference, 2.0)
        .with_nll_on(Xpo::new(0.5, 2.0).unwrap().into(), &[1, 3])
        .with_nll_weights(&[1.0, 0.0]);
    let view = LogitsMut::with_stride(&mut data, ROWS, VOCAB, STRIDE).unwrap();
    let summary = preference_step(dispatch, &dpo, view, &batch, buffers.scratch()).unwrap();
    let sums = [summary.loss_sum, summary.nll.loss_sum];
    add(&mut figures, "xpo", sums, &buffers.coefficients, &data);

    // absence; the NLL figure is that of the case before
    let mut data = logits();
    let mut buffers = Buffers::<2, PairLoss>::default();
    let pairs = [Pair::new(0, 1), Pair::new(3, 9)];
    let batch = StepBatch::new(&layout, &pairs, reference, 1.0).with_weights(&[1.0, 0.0]);
    let view = LogitsMut::with_stride(&mut data, ROWS, VOCAB, STRIDE).unwrap();
    let summary = preference_step(dispatch, &dpo, view, &batch, buffers.scratch()).unwrap();
    add(&mut figures, "absent", [summary.loss_sum, sums[1]], &buffers.coefficients, &data);

    // answers
    let mut data = logits();
    let mut buffers = Buffers::<3, AnswerLoss>::default();
    let answers = [
        UnpairedAnswer::new(0, Label::Desirable),
        UnpairedAnswer::new(2, Label::Undesirable),
        UnpairedAnswer::new(3, Label::Desirable),
    ];
    let batch = UnpairedStepBatch::new(&layout, &answers, reference, 2.0)
        .with_weights(&[1.0, 0.5, 0.0])
        .with_unscored(Unscored::Zero);
    let view = LogitsMut::with_stride(&mut data, ROWS, VOCAB, STRIDE).unwrap();
    let kto = Kto::new(0.1, 0.0).unwrap();
    let summary = unpaired_step(dispatch, &kto, view, &batch, buffers.scratch()).unwrap();
    let sum = summary.desirable_loss_sum + summary.undesirable_loss_sum;
    add(&mut figures, "answers", [sum, 0.0], &buffers.coefficients, &data);
    add(&mut figures, "answers_each", [sum, 0.0], &buffers.coefficients, &data);

    // of_tokens
    let mut grads = [7.0_f32; ROWS * STRIDE];
    let coefficients = [-0.5, 0.25, f64::NAN, 0.0, 1.0, -1.0];
    let (mut log_probs, mut norms) = ([0.0; ROWS], [RowNorm::default(); ROWS]);
    let out = TokenOut::new(&mut log_probs).with_norms(&mut norms);
    token_log_probs(dispatch, from, &layout, out).unwrap();
    let batch = GradBatch::new(&layout, &norms, &coefficients);
    let to = LogitsMut::with_stride(&mut grads, ROWS, VOCAB, STRIDE).unwrap();
    logit_grads(dispatch, from, &batch, to).unwrap();
    // The program prints the coefficients of its step, of which there was none.
    add(&mut figures, "tokens", [0.0, 0.0], &[0.0; ROWS], &grads);
    figures.text()
}

#[test]
fn steps_are_those_of_rust() {
    let source = root().join("tests/c/steps.c");
    let expected = expected();
    assert!(expected.lines().count() > 150, "the figures are there");
    for (language, link) in WAYS {
        if let Some(program) = compile(&source, language, link) {
            assert_eq!(objection(&run(&program), &expected), None, "{language:?}, {link:?}");
        }
    }
}

/// The numbers between two marks of a source.
fn numbers(source: &str, from: &str, to: &str) -> Vec<f64> {
    let text = source.split_once(from).unwrap().1.split_once(to).unwrap().0;
    let code: String = text
        .lines()
        .map(|line| {
            line.split("//").next().unwrap().split("/*").next().unwrap().replace("_f32", "") + ","
        })
        .collect();
    let parts = code.split([',', '{', '}']).map(|part| part.trim().trim_end_matches('f'));
    parts.filter(|part| !part.is_empty()).map(|part| part.parse().unwrap()).collect()
}

/// The first program in C is the first program in Rust: the same logits, and what they come to by
/// arithmetic of 60 digits.
#[test]
fn the_first_program_is_that_of_rust() {
    let source = root().join("examples/c/dpo.c");
    let [c, rust] = [&source, &root().join("examples/dpo.rs")]
        .map(|path| std::fs::read_to_string(path).unwrap());
    let found = numbers(&c, "float logits[ROWS][VOCAB] = {", "};");
    assert_eq!(found.len(), 20);
    assert_eq!(found, numbers(&rust, "let mut logits = [", "];"));
    for line in [
        "loss {:.4}, margin {:.4}",
        "[-1.5, -2.0]",
        "([1, 2, 3, 4], [Span::new(0, 2), Span::new(2, 4)])",
    ] {
        assert!(rust.contains(line), "{line}");
    }
    for link in [Link::Static, Link::Shared] {
        let Some(program) = compile(&source, Language::C, link) else { return };
        assert_eq!(run(&program), "loss 0.6706, margin 0.0455\n");
    }
}
