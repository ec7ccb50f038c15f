//! The cases themselves: well-formed however they were made or shrunk, hard often, from both
//! sources.

use arbitrary::{Arbitrary, Unstructured};
use dpo_kernel::verify::cases::strategy::{
    Hardness, any_losses, batches, hostile_layouts, layouts, losses, pair_cases, rows,
};
use dpo_kernel::verify::cases::{BatchCase, LayoutCase, PairCase, RowCase};
use dpo_kernel::verify::{self, Dpo, Loss, PairLogProbs, Transform};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use Hardness::{Adversarial, Moderate};

pub fn runner() -> TestRunner {
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    // Fewer cases, as `PROPTEST_CASES` may ask for, would also mean fewer steps on the way to a
    // small one.
    let config = Config {
        cases: 256,
        max_shrink_iters: 1024,
        failure_persistence: None,
        ..Config::default()
    };
    TestRunner::new_with_rng(config, rng)
}

/// Values of a strategy, and what they shrink to on a way that mixes failing and passing.
fn shrunk<S: Strategy>(strategy: &S, cases: usize, mut look: impl FnMut(&S::Value)) {
    let mut runner = runner();
    for case in 0..cases {
        let mut tree = strategy.new_tree(&mut runner).unwrap();
        look(&tree.current());
        for step in 0..60 {
            let moved = if (case + step) % 3 == 0 { tree.complicate() } else { tree.simplify() };
            look(&tree.current());
            if !moved {
                break;
            }
        }
    }
}

/// Values that `arbitrary` makes of pseudo-random bytes of any length.
pub fn unstructured<T: for<'a> Arbitrary<'a>>(cases: u64, mut look: impl FnMut(&T)) {
    let mut state = 1_u64;
    let mut byte = || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    for case in 0..cases {
        let bytes: Vec<u8> = (0..case % 200).map(|_| byte()).collect();
        look(&T::arbitrary(&mut Unstructured::new(&bytes)).expect("any bytes make a case"));
    }
}

fn fits(transform: &Transform) -> bool {
    let single = |x: f64| x.is_finite() && x > 0.0 && f64::from(x as f32) == x;
    let Transform { scale, softcap, temperature } = *transform;
    let kernel =
        dpo_kernel::Transform::new(scale as f32, softcap.map(|c| c as f32), temperature as f32);
    single(scale) && single(temperature) && softcap.is_none_or(single) && kernel.is_ok()
}

fn is_row(row: &RowCase) {
    assert!(row.target < row.logits.len(), "{row:?}");
    assert!(row.coefficient.is_finite() && fits(&row.transform), "{row:?}");
}

fn is_loss(dpo: &Dpo) {
    let kernel = dpo_kernel::Dpo::new(dpo.beta);
    assert!(kernel.is_ok_and(|k| k.with_label_smoothing(dpo.label_smoothing).is_ok()), "{dpo:?}");
}

fn is_pair(pair: &PairCase) {
    let PairCase { weight, offset, .. } = *pair;
    assert!(weight.is_finite() && weight >= 0.0 && offset.is_finite(), "{pair:?}");
}

fn is_batch(case: &BatchCase) {
    let BatchCase { layout, pairs, .. } = case;
    assert!(layout.is_well_formed(), "{layout:?}");
    assert!(case.stride >= layout.vocab && case.logits.len() == case.stride * case.rows());
    for (i, x) in case.logits.iter().enumerate() {
        let (row, column) = (i / case.stride, i % case.stride);
        if !layout.is_scored(row) || column >= layout.vocab {
            assert!(x.is_nan(), "a number where nobody may look: {case:?}");
        }
    }
    let n = layout.spans.len();
    assert!(!pairs.is_empty() && pairs.iter().all(|&(c, r)| c < n && r < n && c != r), "{pairs:?}");
    assert_eq!(case.reference.len(), n);
    for (list, len, least) in [
        (&case.token_weights, case.rows(), f32::MIN),
        (&case.weights, pairs.len(), 0.0),
        (&case.offsets, pairs.len(), f32::MIN),
    ] {
        let Some(list) = list else { continue };
        assert!(list.len() == len && list.iter().all(|&x| x.is_finite() && x >= least), "{list:?}");
    }
    is_loss(&case.dpo);
    assert!(fits(&case.transform) && case.divisor > 0.0 && case.divisor.is_finite());
}

#[test]
fn are_well_formed_and_stay_so() {
    for hardness in [Moderate, Adversarial] {
        shrunk(&rows(600, hardness), 100, is_row);
        shrunk(&batches(70, hardness), 200, is_batch);
        shrunk(&losses(hardness), 300, is_loss);
    }
    shrunk(&pair_cases(), 300, is_pair);
    shrunk(&layouts(100), 300, |layout| assert!(layout.is_well_formed(), "{layout:?}"));
    unstructured(3000, is_row);
    unstructured(3000, is_batch);
    unstructured(3000, is_loss);
    unstructured(3000, is_pair);
}

/// Shares of all cases that have a trait.
struct Shares {
    cases: u32,
    seen: Vec<(&'static str, u32)>,
}

impl Shares {
    fn new() -> Self {
        Self { cases: 0, seen: Vec::new() }
    }

    fn see(&mut self, traits: &[(&'static str, bool)]) {
        self.cases += 1;
        for &(name, has) in traits {
            match self.seen.iter_mut().find(|(seen, _)| *seen == name) {
                Some((_, count)) => *count += u32::from(has),
                None => self.seen.push((name, u32::from(has))),
            }
        }
    }

    /// Every trait at least so often, and none always.
    fn at_least(&self, share: f64) {
        for &(name, count) in &self.seen {
            let found = f64::from(count) / f64::from(self.cases);
            println!("{name}: {:.1} %", 100.0 * found);
            assert!((share..1.0).contains(&found), "{name}: {found} of the cases");
        }
    }
}

fn traits_of_row(row: &RowCase) -> [(&'static str, bool); 11] {
    let x = &row.logits;
    let y = row.transformed::<f32>();
    let log_prob = row.log_prob::<f32>();
    let finite = || x.iter().copied().filter(|x| x.is_finite());
    let masked = |x: &f32| *x == f32::NEG_INFINITY;
    let top = finite().fold(f32::NEG_INFINITY, f32::max);
    [
        ("one column", x.len() == 1),
        ("not a whole number of vectors", !x.len().is_multiple_of(16)),
        ("a masked column", x.iter().any(masked)),
        ("a masked start", masked(&x[0]) && x.len() > 1),
        ("ties at the top", finite().filter(|x| *x == top).count() > 1),
        ("logits beyond 1000", finite().any(|x| x.abs() > 1000.0)),
        ("a confident target", log_prob > -1e-6 && log_prob < 0.0),
        ("a hopeless target", log_prob < -88.0),
        ("overflow in f16", finite().any(|x| x.abs() > 65504.0)),
        ("a softcap", row.transform.softcap.is_some()),
        ("no transform", row.transform == Transform::NONE && y.len() > 1),
    ]
}

#[test]
fn rows_are_hard_often() {
    let (mut grown, mut parsed) = (Shares::new(), Shares::new());
    let (strategy, mut runner) = (rows(600, Adversarial), runner());
    for _ in 0..2000 {
        grown.see(&traits_of_row(&strategy.new_tree(&mut runner).unwrap().current()));
    }
    grown.at_least(0.03);
    unstructured::<RowCase>(4000, |row| parsed.see(&traits_of_row(row)));
    parsed.at_least(0.02);
}

fn traits_of_batch(case: &BatchCase) -> [(&'static str, bool); 9] {
    let LayoutCase { spans, targets, ignore, .. } = &case.layout;
    let shared = |i: &usize| case.pairs.iter().filter(|(c, r)| c == i || r == i).count() > 1;
    [
        ("padding", case.stride > case.vocab()),
        ("a sequence of one token", spans.iter().any(|(start, end)| end - start == 1)),
        ("ragged", spans.iter().any(|(a, b)| b - a != spans[0].1 - spans[0].0)),
        ("not in order", !spans.is_sorted()),
        ("an ignored row inside", spans.iter().any(|&(a, b)| targets[a..b].contains(ignore))),
        ("an ignored id of the vocabulary", (*ignore as usize) < case.vocab()),
        ("a sequence in two pairs", (0..spans.len()).any(|i| shared(&i))),
        ("token weights", case.token_weights.is_some()),
        ("no pair weights", case.weights.is_none()),
    ]
}

#[test]
fn batches_are_hard_often() {
    let (mut grown, mut parsed) = (Shares::new(), Shares::new());
    let (strategy, mut runner) = (batches(70, Adversarial), runner());
    for _ in 0..1000 {
        grown.see(&traits_of_batch(&strategy.new_tree(&mut runner).unwrap().current()));
    }
    grown.at_least(0.1);
    unstructured::<BatchCase>(4000, |case| parsed.see(&traits_of_batch(case)));
    parsed.at_least(0.1);
}

fn traits_of_layout(layout: &LayoutCase) -> [(&'static str, bool); 6] {
    let LayoutCase { spans, targets, .. } = layout;
    let rows = targets.len();
    let overlap = |&(a, b): &(usize, usize), &(c, d): &(usize, usize)| a.max(c) < b.min(d);
    let shared = spans.iter().enumerate().any(|(i, a)| spans[..i].iter().any(|b| overlap(a, b)));
    [
        ("well-formed", layout.is_well_formed()),
        ("an empty span", spans.iter().any(|(start, end)| start == end)),
        ("a reversed span", spans.iter().any(|(start, end)| start > end)),
        ("a span past the rows", spans.iter().any(|&(_, end)| end > rows)),
        ("shared rows", shared),
        ("no row", rows == 0),
    ]
}

#[test]
fn layouts_are_hostile_often() {
    let (mut grown, mut parsed) = (Shares::new(), Shares::new());
    let (strategy, mut runner) = (hostile_layouts(40), runner());
    for _ in 0..2000 {
        grown.see(&traits_of_layout(&strategy.new_tree(&mut runner).unwrap().current()));
    }
    grown.at_least(0.01);
    unstructured::<LayoutCase>(6000, |layout| parsed.see(&traits_of_layout(layout)));
    parsed.at_least(0.01);
}

/// The derivative of a loss by differences of its value, or None next to a kink.
fn slope(loss: &Loss, pair: &PairLogProbs, chosen: bool) -> Option<f64> {
    let at = |h: f64| {
        let mut moved = *pair;
        *(if chosen { &mut moved.policy_chosen } else { &mut moved.policy_rejected }) += h;
        verify::pair_loss(loss, &moved, (4.0, 6.0), 0.0).loss
    };
    let h = 1e-4;
    let (wide, narrow) = ((at(h) - at(-h)) / (2.0 * h), (at(h / 2.0) - at(-h / 2.0)) / h);
    // A kink between shows in one of both.
    ((wide - narrow).abs() <= 1e-4 * (1.0 + narrow.abs())).then_some(narrow)
}

/// Every loss is a loss: finite on an ordinary pair, with the derivatives that it says.
#[test]
fn losses_have_their_derivatives() {
    let pair = PairLogProbs {
        policy_chosen: -7.25,
        policy_rejected: -9.5,
        reference_chosen: -8.0,
        reference_rejected: -8.75,
    };
    let compared = std::cell::Cell::new([0_u32; 2]);
    let check = |loss: &Loss| {
        let found = verify::pair_loss(loss, &pair, (4.0, 6.0), 0.0);
        assert!(found.loss.is_finite(), "{loss:?}: {found:?}");
        for (d, chosen) in [(found.d_chosen, true), (found.d_rejected, false)] {
            let [mut all, mut smooth] = compared.get();
            all += 1;
            if let Some(slope) = slope(loss, &pair, chosen) {
                let size = 1e-4 * (1.0 + d.abs() + found.loss.abs() * 1e-4);
                assert!((d - slope).abs() <= size, "{loss:?}: {d} is not {slope}");
                smooth += 1;
            }
            compared.set([all, smooth]);
        }
    };
    shrunk(&any_losses(), 1000, check);
    unstructured(3000, check);
    let [all, smooth] = compared.get();
    assert!(smooth > all / 10 * 9, "{smooth} of {all} derivatives were compared");
}

/// What fails shrinks to something small.
#[test]
fn a_failure_shrinks() {
    let failing = |case: &BatchCase| case.transform.softcap.is_some() && case.vocab() > 4;
    let strategy = batches(70, Adversarial);
    let mut runner = runner();
    let found = runner.run(&strategy, |case| {
        let failed = proptest::test_runner::TestCaseError::fail("softcap");
        if failing(&case) { Err(failed) } else { Ok(()) }
    });
    let Err(proptest::test_runner::TestError::Fail(_, case)) = found else { panic!("{found:?}") };
    assert!(case.vocab() == 5 && case.rows() <= 4, "{case:?}");
    assert!(case.logits.iter().all(|x| x.is_nan() || x.abs() < 1e-6), "{case:?}");
}
