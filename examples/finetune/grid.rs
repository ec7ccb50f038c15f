//! Small multiples as SVG text: one cell a loss, all with the same axes, so that a glance along
//! them compares.
//!
//! ```text
//! name  parameter
//! loss 0.69 → 0.21          its course, on a scale of its own
//! ────────────────
//! chosen, rejected          log-ratios in nats, one scale for all cells; held-out pairs dashed
//! held-out accuracy 0.97
//! ```

use super::compare::{Course, Point, digits};
use super::svg::{self, INK, SOFT, element, text};

const CELL: (f64, f64) = (226.0, 214.0);
const COLUMNS: usize = 6;
const MARGIN: f64 = 44.0;
const HEADING: f64 = 86.0;
/// Within a cell: what is left free at its right, and where the two plots begin and end.
const GAP: f64 = 22.0;
const LOSS: (f64, f64) = (36.0, 66.0);
const NATS: (f64, f64) = (76.0, 176.0);

const BLUE: &str = "#2563eb";
const GREEN: &str = "#059669";
const RED: &str = "#dc2626";

/// Draws the courses below a title and a subtitle.
pub fn draw(title: &str, subtitle: &str, courses: &[Course]) -> String {
    let rows = courses.len().div_ceil(COLUMNS);
    let width = 2.0f64.mul_add(MARGIN, CELL.0 * COLUMNS as f64) - GAP;
    let height = HEADING + CELL.1 * rows as f64 + 8.0;
    let mut out = String::new();
    svg::open(&mut out, (width, height), MARGIN, title, subtitle);
    legend(&mut out, width - MARGIN);
    let nats = courses.iter().flat_map(|course| &course.points).flat_map(log_ratios);
    let nats = svg::span(nats.chain([0.0]));
    for (index, course) in courses.iter().enumerate() {
        let x = MARGIN + CELL.0 * (index % COLUMNS) as f64;
        let y = HEADING + CELL.1 * (index / COLUMNS) as f64;
        element(&mut out, format_args!("<g transform=\"translate({x} {y})\">"));
        draw_cell(&mut out, course, nats, index % COLUMNS == 0);
        element(&mut out, format_args!("</g>"));
    }
    element(&mut out, format_args!("</svg>"));
    out
}

/// The four log-ratios of a point: chosen and rejected, trained on and held out.
fn log_ratios(point: &Point) -> [f64; 4] {
    let (train, held_out) = (&point.train.log_ratios, &point.held_out.log_ratios);
    [
        train.mean_reward_chosen(),
        train.mean_reward_rejected(),
        held_out.mean_reward_chosen(),
        held_out.mean_reward_rejected(),
    ]
}

fn draw_cell(out: &mut String, course: &Course, nats: (f64, f64), is_first: bool) {
    let right = CELL.0 - GAP;
    let name = format!("font-size=\"14\" font-weight=\"600\" fill=\"{INK}\"");
    text(out, (0.0, 14.0), &name, course.name);
    let aside = format!("font-size=\"11\" text-anchor=\"end\" fill=\"{SOFT}\"");
    text(out, (right, 14.0), &aside, &course.parameter);
    let (Some(first), Some(last)) = (course.points.first(), course.points.last()) else { return };
    let caption = format!("font-size=\"11\" fill=\"{BLUE}\"");
    let losses = format!("loss {} → {}", digits(first.loss), digits(last.loss));
    text(out, (0.0, 30.0), &caption, &losses);

    let steps = (0.0, last.step.max(1) as f64);
    let course_of = |value: &dyn Fn(&Point) -> f64| -> Vec<(f64, f64)> {
        course.points.iter().map(|point| (point.step as f64, value(point))).collect()
    };
    let loss = course_of(&|point| point.loss);
    let frame = Frame { steps, values: svg::span(loss.iter().map(|p| p.1)), place: LOSS };
    frame.curve(out, &loss, BLUE, "stroke-width=\"1.8\"");

    let frame = Frame { steps, values: nats, place: NATS };
    for tick in svg::ticks(nats, 5) {
        let y = frame.y(tick);
        let color = if tick.abs() < 1e-9 { SOFT } else { "#e5e7eb" };
        element(out, format_args!("<path d=\"M0 {y:.1}H{right}\" stroke=\"{color}\"/>"));
        if is_first {
            let style = format!("font-size=\"11\" text-anchor=\"end\" fill=\"{SOFT}\"");
            text(out, (-6.0, y + 4.0), &style, &svg::number(tick));
        }
    }
    let dashed = "stroke-width=\"1.5\" stroke-dasharray=\"4 3\" stroke-opacity=\"0.75\"";
    let solid = "stroke-width=\"2\"";
    let lines = [(GREEN, solid), (RED, solid), (GREEN, dashed), (RED, dashed)];
    for (index, (color, stroke)) in lines.into_iter().enumerate() {
        let curve = course_of(&|point| log_ratios(point)[index]);
        if curve.iter().all(|point| point.1.is_finite()) {
            frame.curve(out, &curve, color, stroke);
        }
    }
    let held_out = match &last.held_out.log_ratios {
        none if none.pairs == 0 => "no pairs held out".to_owned(),
        some => format!("held-out accuracy {:.2}", some.accuracy()),
    };
    let style = format!("font-size=\"11\" fill=\"{INK}\"");
    text(out, (0.0, NATS.1 + 15.0), &style, &held_out);
}

fn legend(out: &mut String, right: f64) {
    let entries = [
        ("loss, its own scale", BLUE, ""),
        ("chosen", GREEN, ""),
        ("rejected", RED, ""),
        ("held out", SOFT, "stroke-dasharray=\"4 3\""),
    ];
    for (index, (label, color, dashes)) in entries.into_iter().rev().enumerate() {
        let x = right - 100.0 * index as f64 - if index == 3 { 150.0 } else { 90.0 };
        let line =
            format_args!("<path d=\"M{x} 48h22\" stroke=\"{color}\" stroke-width=\"2\" {dashes}/>");
        element(out, line);
        text(out, (x + 28.0, 52.0), &format!("fill=\"{INK}\""), label);
    }
}

/// Where a plot lies in its cell, and what its axes span.
struct Frame {
    steps: (f64, f64),
    values: (f64, f64),
    place: (f64, f64),
}

impl Frame {
    fn x(&self, step: f64) -> f64 {
        (step - self.steps.0) / (self.steps.1 - self.steps.0) * (CELL.0 - GAP)
    }

    fn y(&self, value: f64) -> f64 {
        let (top, bottom) = self.place;
        bottom - (value - self.values.0) / (self.values.1 - self.values.0) * (bottom - top)
    }

    fn curve(&self, out: &mut String, points: &[(f64, f64)], color: &str, stroke: &str) {
        let points = points.iter().map(|&(step, value)| (self.x(step), self.y(value)));
        svg::path(out, points, color, stroke);
    }
}
