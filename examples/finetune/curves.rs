//! What a run leaves to look at: the progress of loss, rewards and accuracy, and the picture of it.

use dpo_kernel::Summary;

use super::svg::{Curve, Panel, Stroke, draw};

/// Everything that was measured, by DPO step.
#[derive(Debug, Default)]
pub struct Curves {
    /// Loss of the batch that each step learned from, before the step.
    pub batch_losses: Vec<(usize, f64)>,
    /// All training pairs, and all held-out pairs.
    pub evaluations: Vec<(usize, Summary, Summary)>,
}

impl Curves {
    /// The picture: loss, rewards, accuracy.
    pub fn svg(&self, subtitle: &str) -> String {
        let (blue, orange, grey, green) = ("#2563eb", "#d97706", "#6b7280", "#059669");
        let train = |label, color, value: fn(&Summary) -> f64| {
            let points =
                self.evaluations.iter().map(|(step, train, _)| (*step as f64, value(train)));
            Curve { label, color, stroke: Stroke::Solid, points: points.collect() }
        };
        let held_out = |label, color, value: fn(&Summary) -> f64| {
            let points = self.evaluations.iter();
            let points = points.filter(|(_, _, held_out)| held_out.pairs > 0);
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
        let loss = Panel {
            title: "DPO loss",
            curves: vec![
                train("training pairs", blue, Summary::mean_loss),
                held_out("held-out pairs", orange, Summary::mean_loss),
                batches,
            ],
            level: Some((std::f64::consts::LN_2, "ln 2")),
            values: None,
        };
        let rewards = Panel {
            title: "Implicit reward β · log(π / π_ref)",
            curves: vec![
                train("chosen", green, Summary::mean_reward_chosen),
                train("rejected", "#dc2626", Summary::mean_reward_rejected),
                train("margin", blue, Summary::mean_margin),
                held_out("margin, held-out", orange, Summary::mean_margin),
            ],
            level: Some((0.0, "")),
            values: None,
        };
        let accuracy = Panel {
            title: "Accuracy: pairs with a positive margin",
            curves: vec![
                after_start(train("training pairs", blue, Summary::accuracy)),
                after_start(held_out("held-out pairs", orange, Summary::accuracy)),
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
