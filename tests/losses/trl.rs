//! Every case of TRL's own `_compute_loss`: losses, token gradients, metrics.

use dpo_kernel::loss::{AlphaDivergence, Divergence};
use dpo_kernel::loss::{
    AnyDivergence, ForwardKl, Loss, LossName, LossOptions, Mixture, MixtureTerm, Nll, NllBatch,
    NllPer, Objective, PreferenceLoss, nll_loss,
};
use dpo_kernel::row::RowDetails;
use dpo_kernel::training::{WpoBound, ld_token_weights, wpo_pair_weights};
use dpo_kernel::{
    Dpo, Layout, Pair, PairBatch, PairLoss, PairOut, Reference, SequenceLogProb, Span, Summary,
    preference_loss,
};

use crate::common::golden::{TrlAnswer, TrlCase, trl_losses};
use crate::is_close;

/// TRL works in float64, and in float32 where it has no other path.
fn tolerance(case: &TrlCase) -> f64 {
    if case.single { 2e-6 } else { 1e-10 }
}

/// All that TRL reports.
struct Figures {
    loss: f64,
    /// By answer: chosen and rejected of the first pair, of the second, …
    grads: Vec<Vec<f64>>,
    summary: Summary,
    /// Whether the loss reports the rewards of the raw log-ratios.
    raw_rewards: bool,
    sequences: Vec<SequenceLogProb>,
}

fn answers(case: &TrlCase) -> Vec<&TrlAnswer> {
    case.pairs.iter().flat_map(|pair| [&pair.chosen, &pair.rejected]).collect()
}

fn options(case: &TrlCase, name: LossName) -> LossOptions {
    let smoothed = [LossName::Robust, LossName::Exo, LossName::Aot, LossName::AotUnpaired];
    let divergence = case.divergence.as_ref().map(|(name, alpha)| match name.as_str() {
        "forward_kl" => AnyDivergence::ForwardKl,
        "js_divergence" => AnyDivergence::JensenShannon,
        "alpha_divergence" => {
            AnyDivergence::Alpha(AlphaDivergence::with_trl_alpha(*alpha).unwrap())
        }
        other => panic!("{other}"),
    });
    LossOptions {
        beta: (name != LossName::Sft).then_some(case.beta),
        label_smoothing: case.label_smoothing.filter(|_| smoothed.contains(&name)),
        // TRL's default, where ours is the paper's.
        divergence,
        ..LossOptions::default()
    }
}

/// Token weights in f64: f32 would not be TRL's.
fn token_weights(case: &TrlCase, spans: &[Span], pairs: &[Pair], rows: usize) -> Vec<f64> {
    let Some(alpha) = case.ld_alpha else { return vec![1.0; rows] };
    let (ids, mut weights) = (vec![0; rows], vec![f32::NAN; rows]);
    let layout = Layout::new(&ids, spans, 1).unwrap();
    ld_token_weights(alpha, &layout, pairs, &mut weights).unwrap();
    weights.iter().map(|&w| if w == 1.0 { 1.0 } else { alpha }).collect()
}

/// WPO's weights in f64, and those of the crate, which are f32.
fn pair_weights(case: &TrlCase, spans: &[Span], pairs: &[Pair], rows: usize) -> Vec<f64> {
    if !case.wpo {
        return vec![1.0; pairs.len()];
    }
    let answers = answers(case);
    let mean = |answer: &TrlAnswer| {
        let sum: f64 = answer.policy.iter().zip(&answer.log_sum_sq_probs).map(|(p, s)| p - s).sum();
        sum / answer.policy.len() as f64
    };
    let exact: Vec<f64> =
        pairs.iter().map(|p| (mean(answers[p.chosen]) + mean(answers[p.rejected])).exp()).collect();
    let log_probs: Vec<f32> = answers.iter().flat_map(|a| &a.policy).map(|&x| x as f32).collect();
    let details: Vec<RowDetails> = answers
        .iter()
        .flat_map(|a| &a.log_sum_sq_probs)
        .map(|&x| RowDetails { log_sum_sq_probs: x as f32, ..RowDetails::default() })
        .collect();
    let ids = vec![0; rows];
    for (bound, limit) in [(WpoBound::Unbounded, f64::INFINITY), (WpoBound::AtMostOne, 1.0)] {
        let mut found = vec![f32::NAN; pairs.len()];
        let layout = Layout::new(&ids, spans, 1).unwrap();
        wpo_pair_weights(bound, &layout, pairs, &log_probs, &details, &mut found).unwrap();
        for (found, exact) in found.iter().zip(&exact) {
            assert!((f64::from(*found) - exact.min(limit)).abs() < 1e-6, "{found} is not {exact}");
        }
    }
    exact
}

fn figures(case: &TrlCase, change: &dyn Fn(LossName, LossOptions) -> LossOptions) -> Figures {
    let answers = answers(case);
    let pairs: Vec<Pair> = (0..case.pairs.len()).map(|i| Pair::new(2 * i, 2 * i + 1)).collect();
    let mut spans = Vec::new();
    let mut rows = 0;
    for answer in &answers {
        spans.push(Span::new(rows, rows + answer.policy.len()));
        rows += answer.policy.len();
    }
    let weights = token_weights(case, &spans, &pairs, rows);
    let sequences = |tokens: &dyn Fn(&TrlAnswer) -> &[f64], weighted: bool| {
        let of_answer = |(answer, span): (&&TrlAnswer, &Span)| {
            let w = |i: usize| if weighted { weights[span.start + i] } else { 1.0 };
            let log_probs = tokens(answer);
            let sum = log_probs.iter().enumerate().map(|(i, p)| w(i) * p).sum();
            SequenceLogProb { sum, count: log_probs.len() }
        };
        answers.iter().zip(&spans).map(of_answer).collect::<Vec<_>>()
    };
    let policy = sequences(&|a| &a.policy, true);
    let reference = sequences(&|a| &a.reference, true);
    let divisor = pairs.len() as f64;
    let batch = PairBatch::new(&pairs, &policy, Reference::Sequences(&reference), divisor);
    let mut losses = vec![PairLoss::default(); pairs.len()];
    let (mut d, mut d_nll) = (vec![0.0; policy.len()], vec![0.0; policy.len()]);
    let (mut loss, mut summary) = (0.0, None);
    let mut pairwise: Vec<(f64, Loss)> = Vec::new();
    for (name, &weight) in case.loss_types.iter().zip(&case.loss_weights) {
        let name: LossName = name.parse().unwrap();
        match name.build(&change(name, options(case, name))).unwrap() {
            Objective::Pairs(loss) => pairwise.push((weight, loss)),
            Objective::Batch(aot) => {
                let mut order = vec![0; 2 * pairs.len()];
                let out = PairOut::new(&mut losses, &mut d);
                summary = Some(preference_loss(aot.over(&mut order), &batch, out).unwrap());
            }
            Objective::Nll => {
                let chosen = pairs.iter().map(|p| policy[p.chosen].count).sum::<usize>() as f64;
                let nll = Nll::new(weight, NllPer::Token, chosen).unwrap();
                let plain = sequences(&|a| &a.policy, false);
                let batch = NllBatch::of_chosen(&pairs, &plain);
                loss += nll_loss(&nll, &batch, &mut d_nll).unwrap().loss_sum / chosen;
            }
            other => panic!("{other:?}"),
        }
    }
    if !pairwise.is_empty() {
        let terms: Vec<_> =
            pairwise.iter().map(|(weight, loss)| MixtureTerm::new(*weight, loss)).collect();
        let mixture = Mixture::new(&terms).unwrap();
        let out = PairOut::new(&mut losses, &mut d);
        summary = Some(preference_loss(&mixture, &batch, out).unwrap());
    }
    // TRL reports rewards whatever the loss is; NLL alone has none.
    let mut rewards = Summary::default();
    for pair in batch.log_probs() {
        rewards += &Dpo::new(case.beta).unwrap().evaluate(&pair);
    }
    let preference = summary.map_or(0.0, |summary| summary.loss_sum / divisor);
    let raw_rewards = summary.is_none_or(|summary| {
        summary.reward_chosen_sum == rewards.reward_chosen_sum
            && summary.margin_sum == rewards.margin_sum
            && summary.correct == rewards.correct
    });
    let weighting = pair_weights(case, &spans, &pairs, rows);
    if case.wpo {
        // In f64, which the batch does not take.
        loss = losses.iter().zip(&weighting).map(|(l, w)| w * l.loss).sum::<f64>() / divisor;
    } else {
        loss += preference;
    }
    let grads = (0..answers.len()).map(|i| {
        let rows = spans[i].start..spans[i].end;
        rows.map(|row| d[i] * weighting[i / 2] * weights[row] + d_nll[i]).collect()
    });
    Figures {
        loss,
        grads: grads.collect(),
        summary: rewards,
        raw_rewards,
        sequences: policy.clone(),
    }
}

/// Everything that differs from what TRL says.
fn objections(case: &TrlCase, found: &Figures) -> Vec<String> {
    let mut objections = Vec::new();
    let mut check = |what: &str, found: f64, expected: f64, tolerance: f64| {
        if !is_close(found, expected, tolerance) {
            objections.push(format!("{:?} {what}: {found} is not {expected}", case.loss_types));
        }
    };
    let tolerance = tolerance(case);
    check("loss", found.loss, case.loss, tolerance * case.loss.abs().max(1.0));
    for (answer, grads) in answers(case).iter().zip(&found.grads) {
        assert_eq!(answer.grad.len(), grads.len(), "tokens");
        for (&found, &expected) in grads.iter().zip(&answer.grad) {
            check("gradient", found, expected, tolerance);
        }
    }
    let mean = |role: usize| {
        let sums = found.sequences.iter().skip(role).step_by(2).map(|s| s.sum);
        sums.sum::<f64>() / case.pairs.len() as f64
    };
    check("chosen reward", found.summary.mean_reward_chosen(), case.reward_chosen, tolerance);
    check("rejected reward", found.summary.mean_reward_rejected(), case.reward_rejected, tolerance);
    check("margin", found.summary.mean_margin(), case.margin, tolerance);
    check("chosen log-prob", mean(0), case.log_prob_chosen, tolerance);
    check("rejected log-prob", mean(1), case.log_prob_rejected, tolerance);
    // TRL takes this mean in float32.
    check("accuracy", found.summary.accuracy(), case.accuracy, 1e-7);
    check("raw rewards", f64::from(u8::from(found.raw_rewards)), 1.0, 0.0);
    objections
}

#[test]
fn every_figure_of_every_case() {
    let cases = trl_losses();
    assert_eq!(cases.len(), 64, "cases of the golden file");
    let trl_defaults = |name: LossName, options: LossOptions| match name {
        // DiscoPOP has TRL's τ, 0.05, already.
        LossName::Robust if options.label_smoothing.is_none() => {
            LossOptions { label_smoothing: Some(0.0), ..options }
        }
        _ => options,
    };
    for case in &cases {
        let found = objections(case, &figures(case, &trl_defaults));
        assert!(found.is_empty(), "{}", found.join("\n"));
    }
}

/// In each case another β, another smoothing, another divergence or a lost weight is found.
#[test]
fn planted_faults_are_caught() {
    let as_it_is = |_: LossName, options| options;
    for case in trl_losses() {
        let is_only_nll = case.loss_types == ["sft"];
        let other_beta = |_: LossName, options: LossOptions| LossOptions {
            beta: options.beta.map(|beta| beta * 1.001),
            ..options
        };
        let caught = |found: Figures| !objections(&case, &found).is_empty();
        assert_eq!(caught(figures(&case, &other_beta)), !is_only_nll, "{:?}: β", case.loss_types);
        let mut swapped = case.clone();
        swapped.pairs.swap(0, 1);
        swapped.pairs[0].chosen.grad.clone_from(&case.pairs[0].chosen.grad);
        assert!(
            std::panic::catch_unwind(|| objections(&case, &figures(&swapped, &as_it_is)))
                .map_or(true, |objections| !objections.is_empty()),
            "{:?}: pairs",
            case.loss_types
        );
        if case.divergence.is_some() {
            let none = |_: LossName, options| LossOptions { divergence: None, ..options };
            assert!(caught(figures(&case, &none)), "{:?}: the divergence", case.loss_types);
        }
        if case.label_smoothing.is_some_and(|epsilon| epsilon > 0.0) {
            let less = |_: LossName, options: LossOptions| LossOptions {
                label_smoothing: options.label_smoothing.map(|epsilon| epsilon * 0.99),
                ..options
            };
            assert!(caught(figures(&case, &less)), "{:?}: smoothing", case.loss_types);
        }
        if case.ld_alpha.is_some() || case.wpo {
            let plain = TrlCase { ld_alpha: None, wpo: false, ..case.clone() };
            assert!(caught(figures(&plain, &as_it_is)), "{:?}: weights", case.loss_types);
        }
        if case.loss_types.len() > 1 {
            let equal = TrlCase { loss_weights: vec![1.0; 3], ..case.clone() };
            assert!(caught(figures(&equal, &as_it_is)), "{:?}: mixture", case.loss_types);
        }
    }
}

/// The two conventions of α are each other's complement.
#[test]
fn alpha_in_both_conventions() {
    let (u, v) = (0.75, -1.25);
    for alpha in [-0.5, 0.0, 0.25, 0.5, 0.9, 1.0, 2.0] {
        let trl = AlphaDivergence::with_trl_alpha(alpha).unwrap();
        let paper = AlphaDivergence::with_paper_alpha(1.0 - alpha).unwrap();
        assert_eq!(trl, paper, "α = {alpha}");
        let same = AlphaDivergence::with_paper_alpha(alpha).unwrap();
        let differ = trl.difference(u, v) != same.difference(u, v);
        assert_eq!(differ, alpha != 0.5, "the conventions meet at ½ alone");
    }
    let forward = AlphaDivergence::with_trl_alpha(0.0).unwrap();
    assert_eq!(forward.score(u), ForwardKl.score(u));
    assert_eq!(forward.slope(v), ForwardKl.slope(v));
    assert_eq!(forward.difference(u, v), ForwardKl.difference(u, v));
}
