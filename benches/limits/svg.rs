//! Cost per logit against the vocabulary as SVG: a panel a kernel, both axes logarithmic.

use std::fmt::Write;

use dpo_kernel::{Arithmetic, Dispatch, Level};

use crate::sweep::Sweep;

const PANEL: (f64, f64) = (470.0, 380.0);
const LEFT: f64 = 56.0;
const RIGHT: f64 = 34.0;
const TOP: f64 = 104.0;
const BOTTOM: f64 = 48.0;
const HEADING: f64 = 64.0;
const INK: &str = "#24292f";
const SOFT: &str = "#6b7280";
/// Nanoseconds on the value axis.
const TICKS: [f64; 5] = [0.1, 0.2, 0.5, 1.0, 2.0];

/// Draws the sweeps side by side.
pub fn draw(sweeps: &[Sweep]) -> String {
    let (width, height) = (PANEL.0 * sweeps.len().max(1) as f64, HEADING + PANEL.1);
    let mut out = String::new();
    element(
        &mut out,
        format_args!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" \
             width=\"{width}\" height=\"{height}\" font-family=\"Helvetica, Arial, sans-serif\" font-size=\"12\">"
        ),
    );
    element(
        &mut out,
        format_args!("<rect width=\"{width}\" height=\"{height}\" fill=\"#ffffff\"/>"),
    );
    let style = format!("font-size=\"19\" font-weight=\"600\" fill=\"{INK}\"");
    text(&mut out, (LEFT, 32.0), &style, "Cost per logit against the vocabulary");
    let style = format!("font-size=\"13\" fill=\"{SOFT}\"");
    let subtitle = "f32, one thread, out of cache, nanoseconds; dashed: what the memory allows";
    text(&mut out, (LEFT, 52.0), &style, subtitle);
    for (index, sweep) in sweeps.iter().enumerate() {
        let x = PANEL.0 * index as f64;
        element(&mut out, format_args!("<g transform=\"translate({x} {HEADING})\">"));
        panel(&mut out, sweep, &Axes::of(sweeps));
        element(&mut out, format_args!("</g>"));
    }
    element(&mut out, format_args!("</svg>"));
    out
}

fn panel(out: &mut String, sweep: &Sweep, axes: &Axes) {
    let title = match sweep.kernel {
        "tokens" => "token log-probs (read)",
        _ => "logit gradients in place (read and write)",
    };
    let style = format!("font-size=\"15\" font-weight=\"600\" fill=\"{INK}\"");
    text(out, (LEFT, 24.0), &style, title);
    let (right, bottom) = (PANEL.0 - RIGHT, PANEL.1 - BOTTOM);
    for tick in TICKS.into_iter().filter(|&tick| axes.holds(tick)) {
        let y = axes.y(tick);
        element(out, format_args!("<path d=\"M{LEFT} {y:.1}H{right}\" stroke=\"#e5e7eb\"/>"));
        let style = format!("text-anchor=\"end\" fill=\"{SOFT}\"");
        text(out, (LEFT - 8.0, y + 4.0), &style, &tick.to_string());
    }
    for vocab in [1000, 4096, 16_384, 65_536, 262_144] {
        let x = axes.x(f64::from(vocab));
        element(out, format_args!("<path d=\"M{x:.1} {bottom}v5\" stroke=\"{SOFT}\"/>"));
        let style = format!("text-anchor=\"middle\" fill=\"{SOFT}\"");
        text(out, (x, bottom + 19.0), &style, &vocab.to_string());
    }
    element(out, format_args!("<path d=\"M{LEFT} {bottom}H{right}\" stroke=\"{SOFT}\"/>"));
    let style = format!("text-anchor=\"middle\" fill=\"{SOFT}\"");
    text(out, (f64::midpoint(LEFT, right), bottom + 38.0), &style, "vocabulary");
    let dashed = format!("stroke=\"{INK}\" stroke-width=\"1.6\" stroke-dasharray=\"3 3\"");
    line(out, axes, &sweep.points, &sweep.limit, &dashed);
    for (index, (dispatch, curve)) in sweep.curves.iter().enumerate() {
        let style = style_of(*dispatch);
        line(out, axes, &sweep.points, curve, &style);
        // Two entries a line below the title.
        let (x, y) = (LEFT + 200.0 * (index % 2) as f64, 44.0 + 18.0 * (index / 2) as f64);
        element(out, format_args!("<path d=\"M{x} {y}h24\" {style}/>"));
        let name = format!("{:?}, {:?}", dispatch.level(), dispatch.arithmetic()).to_lowercase();
        text(out, (x + 31.0, y + 4.0), &format!("fill=\"{INK}\""), &name);
    }
}

fn style_of(dispatch: Dispatch) -> String {
    let color = match dispatch.level() {
        Level::Avx512 => "#0b6e4f",
        Level::Avx2 => "#2a6fbb",
        _ => "#b45309",
    };
    let faint = match dispatch.arithmetic() {
        Arithmetic::Fused => "",
        Arithmetic::Portable => " stroke-opacity=\"0.5\"",
    };
    format!("stroke=\"{color}\" stroke-width=\"2.2\"{faint}")
}

fn line(out: &mut String, axes: &Axes, points: &[usize], values: &[f64], style: &str) {
    let mut path = String::new();
    for (index, (&point, &value)) in points.iter().zip(values).enumerate() {
        let command = if index == 0 { 'M' } else { 'L' };
        // Writing to a string cannot fail.
        let _ = write!(path, "{command}{:.1} {:.1}", axes.x(point as f64), axes.y(value));
    }
    element(
        out,
        format_args!("<path d=\"{path}\" fill=\"none\" stroke-linejoin=\"round\" {style}/>"),
    );
}

/// The logarithms that the axes of all panels span.
struct Axes {
    points: (f64, f64),
    values: (f64, f64),
}

impl Axes {
    fn of(sweeps: &[Sweep]) -> Self {
        let span = |values: &mut dyn Iterator<Item = f64>, air: f64| {
            let (low, high) = values.fold((f64::INFINITY, 0.0), |(low, high), value: f64| {
                (value.min(low), value.max(high))
            });
            ((low / air).ln(), (high * air).ln())
        };
        let values = sweeps
            .iter()
            .flat_map(|sweep| sweep.curves.iter().flat_map(|(_, curve)| curve).chain(&sweep.limit));
        let points = sweeps.iter().flat_map(|sweep| &sweep.points);
        Self {
            points: span(&mut points.map(|&point| point as f64), 1.0),
            values: span(&mut values.copied(), 1.2),
        }
    }

    fn x(&self, point: f64) -> f64 {
        let (low, high) = self.points;
        LEFT + (point.ln() - low) / (high - low) * (PANEL.0 - LEFT - RIGHT)
    }

    fn y(&self, value: f64) -> f64 {
        let (low, high) = self.values;
        PANEL.1 - BOTTOM - (value.ln() - low) / (high - low) * (PANEL.1 - TOP - BOTTOM)
    }

    fn holds(&self, value: f64) -> bool {
        (self.values.0..self.values.1).contains(&value.ln())
    }
}

fn element(out: &mut String, line: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ = writeln!(out, "{line}");
}

fn text(out: &mut String, (x, y): (f64, f64), style: &str, content: &str) {
    element(out, format_args!("<text x=\"{x:.1}\" y=\"{y:.1}\" {style}>{content}</text>"));
}
