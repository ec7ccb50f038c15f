//! Time and memory of a frozen step against the vocabulary as SVG: two panels, axes logarithmic.

use std::fmt::Write;

use crate::race::{Race, Row};

const PANEL: (f64, f64) = (470.0, 420.0);
const LEFT: f64 = 64.0;
const RIGHT: f64 = 30.0;
const TOP: f64 = 40.0;
const BOTTOM: f64 = 48.0;
const HEADING: f64 = 124.0;
const INK: &str = "#24292f";
const SOFT: &str = "#6b7280";
/// On the value axes.
const TICKS: [f64; 19] = [
    0.01, 0.03, 0.1, 0.3, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1e3, 2e3, 5e3, 1e4,
    2e4, 5e4,
];
/// Of everybody, in their order.
const COLORS: [&str; 6] = ["#0b6e4f", "#b45309", "#2a6fbb", "#7aa7d9", "#9ca3af", "#9d4edd"];

/// A number of each race, of everybody.
struct Panel {
    title: &'static str,
    of: fn(&Row) -> Option<f64>,
    /// Beside everybody's, dashed.
    limit: Option<fn(&Race) -> f64>,
}

const PANELS: [Panel; 2] = [
    Panel {
        title: "milliseconds; dashed: two bare products of the fastest",
        of: |row| row.times[0].map(|time| time * 1e3),
        limit: Some(|race| race.product() * 1e3),
    },
    // A page at least: less is not seen.
    Panel {
        title: "MiB beside hidden states, head and gradients",
        of: |row| row.memory[0].map(|bytes| bytes.max(4096.0) / 1_048_576.0),
        limit: None,
    },
];

pub fn draw(races: &[Race]) -> String {
    let (width, height) = (PANEL.0 * PANELS.len() as f64, HEADING + PANEL.1);
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
    text(
        &mut out,
        (LEFT, 32.0),
        &style,
        "A frozen head, forward and backward, against the vocabulary",
    );
    let style = format!("font-size=\"13\" fill=\"{SOFT}\"");
    text(&mut out, (LEFT, 52.0), &style, "512 hidden states of 576 numbers, f32, one thread");
    let names = races.first().map_or(&[][..], |race| &race.rows);
    for (index, (row, color)) in names.iter().zip(COLORS).enumerate() {
        let x = LEFT + 300.0 * (index % 3) as f64;
        let y = 76.0 + 20.0 * (index / 3) as f64;
        element(
            &mut out,
            format_args!("<path d=\"M{x} {y}h24\" stroke=\"{color}\" stroke-width=\"2.2\"/>"),
        );
        // Without instructions, which are everybody's.
        let name = row.name.rsplit_once(", ").map_or(row.name.as_str(), |(name, _)| name);
        text(&mut out, (x + 31.0, y + 4.0), &format!("fill=\"{INK}\""), name);
    }
    for (index, panel) in PANELS.iter().enumerate() {
        let x = PANEL.0 * index as f64;
        element(&mut out, format_args!("<g transform=\"translate({x} {HEADING})\">"));
        panel.draw(&mut out, races);
        element(&mut out, format_args!("</g>"));
    }
    element(&mut out, format_args!("</svg>"));
    out
}

impl Panel {
    fn draw(&self, out: &mut String, races: &[Race]) {
        let points: Vec<f64> = races.iter().map(|race| race.shape.2 as f64).collect();
        let count = races.iter().map(|race| race.rows.len()).min().unwrap_or(0);
        let curve =
            |i: usize| races.iter().map(|race| (self.of)(&race.rows[i])).collect::<Vec<_>>();
        let curves: Vec<_> = (0..count).map(curve).collect();
        let limit: Vec<_> =
            self.limit.into_iter().flat_map(|of| races.iter().map(of)).map(Some).collect();
        let values = curves.iter().flatten().chain(&limit).flatten().copied();
        let axes = Axes { points: span(points.iter().copied(), 1.0), values: span(values, 1.2) };
        let style = format!("font-size=\"14\" font-weight=\"600\" fill=\"{INK}\"");
        text(out, (LEFT, 24.0), &style, self.title);
        let (right, bottom) = (PANEL.0 - RIGHT, PANEL.1 - BOTTOM);
        for tick in TICKS.into_iter().filter(|&tick| axes.holds(tick)) {
            let y = axes.y(tick);
            element(out, format_args!("<path d=\"M{LEFT} {y:.1}H{right}\" stroke=\"#e5e7eb\"/>"));
            let style = format!("text-anchor=\"end\" fill=\"{SOFT}\"");
            text(out, (LEFT - 8.0, y + 4.0), &style, &tick.to_string());
        }
        for &point in &points {
            let x = axes.x(point);
            element(out, format_args!("<path d=\"M{x:.1} {bottom}v5\" stroke=\"{SOFT}\"/>"));
            let style = format!("text-anchor=\"middle\" fill=\"{SOFT}\"");
            text(out, (x, bottom + 19.0), &style, &point.to_string());
        }
        element(out, format_args!("<path d=\"M{LEFT} {bottom}H{right}\" stroke=\"{SOFT}\"/>"));
        let style = format!("text-anchor=\"middle\" fill=\"{SOFT}\"");
        text(out, (f64::midpoint(LEFT, right), bottom + 38.0), &style, "vocabulary");
        let dashed = format!("stroke=\"{INK}\" stroke-width=\"1.6\" stroke-dasharray=\"3 3\"");
        line(out, &axes, &points, &limit, &dashed);
        // Ours last: on top.
        for (curve, color) in curves.iter().zip(COLORS).rev() {
            line(out, &axes, &points, curve, &format!("stroke=\"{color}\" stroke-width=\"2.2\""));
        }
    }
}

fn line(out: &mut String, axes: &Axes, points: &[f64], values: &[Option<f64>], style: &str) {
    let mut path = String::new();
    for (&point, value) in points.iter().zip(values) {
        if let Some(value) = value {
            let command = if path.is_empty() { 'M' } else { 'L' };
            // Writing to a string cannot fail.
            let _ = write!(path, "{command}{:.1} {:.1}", axes.x(point), axes.y(*value));
        }
    }
    if !path.is_empty() {
        element(
            out,
            format_args!("<path d=\"{path}\" fill=\"none\" stroke-linejoin=\"round\" {style}/>"),
        );
    }
}

/// The logarithms of the least and the greatest, with some air.
fn span(values: impl Iterator<Item = f64>, air: f64) -> (f64, f64) {
    let (low, high) = values
        .fold((f64::INFINITY, 0.0_f64), |(low, high), value| (value.min(low), value.max(high)));
    ((low / air).ln(), (high * air).ln())
}

struct Axes {
    points: (f64, f64),
    values: (f64, f64),
}

impl Axes {
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
