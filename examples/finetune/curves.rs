//! What a run leaves to look at: the progress of loss, rewards and accuracy, and the picture of it.

use dpo_kernel::Summary;
use dpo_kernel::loss::LossName;

use super::svg::{Curve, Panel, Stroke, draw};
use super::train::Score;

/// Everything that was measured, by DPO step.
#[derive(Debug, Default)]
pub struct Curves {
    /// Loss of the batch that each step learned from, before the step.
    pub batch_losses: Vec<(usize, f64)>,
    /// All training pairs, and all held-out pairs.
    evaluations: Vec<(usize, Side, Side)>,
}

/// Loss and summary of one side of the split.
#[derive(Clone, Copy, Debug)]
struct Side {
    loss: f64,
    summary: Summary,
}

impl Side {
    const fn of(score: &Score) -> Self {
        Self { loss: score.found.loss, summary: score.found.summary }
    }
}

impl Curves {
    /// What both sides are at a step.
    pub fn add(&mut self, step: usize, train: &Score, held_out: &Score) {
        self.evaluations.push((step, Side::of(train), Side::of(held_out)));
    }

    /// The picture: loss, rewards, accuracy.
    pub fn svg(&self, loss: LossName, subtitle: &str) -> String {
        let (blue, orange, grey, green) = ("#2563eb", "#d97706", "#6b7280", "#059669");
        let train = |label, color, value: fn(&Side) -> f64| {
            let points =
                self.evaluations.iter().map(|(step, train, _)| (*step as f64, value(train)));
            Curve { label, color, stroke: Stroke::Solid, points: points.collect() }
        };
        let held_out = |label, color, value: fn(&Side) -> f64| {
            let points = self.evaluations.iter();
            let points = points.filter(|(_, _, held_out)| held_out.summary.pairs > 0);
            let points = points.map(|(step, _, held_out)| (*step as f64, value(held_out)));
            Curve { label, color, stroke: Stroke::Dashed, points: points.collect() }
        };
        let batch_losses = self.batch_losses.iter().map(|&(step, loss)| (step as f64, loss));
        let batches = Curve {
            label: "batch",
            color: grey,
            stroke: Stroke::Faint,
            points: batch_losses.collect(),
        };
        let is_dpo = loss == LossName::Sigmoid;
        let loss = Panel {
            title: if is_dpo { "DPO loss".to_owned() } else { format!("Loss: {}", loss.name()) },
            curves: vec![
                train("training pairs", blue, |side| side.loss),
                held_out("held-out pairs", orange, |side| side.loss),
                batches,
            ],
            level: is_dpo.then_some((std::f64::consts::LN_2, "ln 2")),
            values: None,
        };
        let rewards = Panel {
            title: "Implicit reward β · log(π / π_ref)".to_owned(),
            curves: vec![
                train("chosen", green, |side| side.summary.mean_reward_chosen()),
                train("rejected", "#dc2626", |side| side.summary.mean_reward_rejected()),
                train("margin", blue, |side| side.summary.mean_margin()),
                held_out("margin, held-out", orange, |side| side.summary.mean_margin()),
            ],
            level: Some((0.0, "")),
            values: None,
        };
        let accuracy = Panel {
            title: "Accuracy: pairs with a positive margin".to_owned(),
            curves: vec![
                after_start(train("training pairs", blue, |side| side.summary.accuracy())),
                after_start(held_out("held-out pairs", orange, |side| side.summary.accuracy())),
            ],
            level: Some((0.5, "chance")),
            values: Some((0.0, 1.04)),
        };
        draw(
            "Direct preference optimization of a LoRA adapter",
            subtitle,
            &[loss, rewards, accuracy],
        )
    }
}

/// Without the first point: at step 0 every pair is a tie, which is neither right nor wrong.
fn after_start(mut curve: Curve) -> Curve {
    curve.points.retain(|point| point.0 > 0.0);
    curve
}
