//! The picture of a run.

use crate::state::Progress;
use crate::svg::{Curve, Panel, Stroke, draw};

/// Loss, margin and accuracy by step, of batches and of held-out pairs.
#[must_use]
#[allow(clippy::cast_precision_loss, reason = "steps are few")]
pub fn svg(progress: &Progress, subtitle: &str) -> String {
    let batch = |color, value: fn(&crate::report::Record) -> f64| {
        let points =
            progress.records.iter().map(|record| ((record.step - 1) as f64, value(record)));
        Curve { label: "batch", color, stroke: Stroke::Faint, points: points.collect() }
    };
    let smooth = |color, value: fn(&crate::report::Record) -> f64| {
        let points = progress.records.windows(SMOOTH).map(|window| {
            let middle = window.iter().map(|record| (record.step - 1) as f64).sum::<f64>();
            (middle / SMOOTH as f64, window.iter().map(value).sum::<f64>() / SMOOTH as f64)
        });
        Curve {
            label: "mean of eight batches",
            color,
            stroke: Stroke::Dashed,
            points: points.collect(),
        }
    };
    let held_out = |color, which: usize| {
        let points = progress.held_out.iter();
        let points = points.filter_map(|(step, all)| Some((*step as f64, *all.get(which)?)));
        Curve { label: "held-out pairs", color, stroke: Stroke::Solid, points: points.collect() }
    };
    let (blue, orange, grey) = ("#2563eb", "#d97706", "#6b7280");
    let panel =
        |title: &str, value: fn(&crate::report::Record) -> f64, which, level, values| Panel {
            title: title.to_owned(),
            curves: vec![held_out(orange, which), smooth(blue, value), batch(grey, value)],
            level,
            values,
        };
    let mut accuracy = panel(
        "Accuracy: pairs with a positive margin",
        |record| record.accuracy,
        2,
        Some((0.5, "chance")),
        Some((0.0, 1.04)),
    );
    // At step 0 every pair is a tie, which is neither right nor wrong.
    accuracy.curves.iter_mut().for_each(|curve| curve.points.retain(|point| point.0 > 0.0));
    draw(
        "SmolLM2-135M-Instruct by DPO with LoRA",
        subtitle,
        &[
            panel(
                "DPO loss",
                |record| record.loss,
                0,
                Some((std::f64::consts::LN_2, "ln 2")),
                None,
            ),
            panel("Reward margin", |record| record.margin, 1, Some((0.0, "")), None),
            accuracy,
        ],
    )
}

/// Batches of which a mean is drawn.
const SMOOTH: usize = 8;
