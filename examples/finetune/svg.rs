//! Line charts as SVG text: panels side by side, each with axes, ticks, a legend and labelled
//! reference lines; and the pieces that other charts are made of.

use std::fmt::Write;

/// A curve over DPO steps.
#[derive(Clone, Debug)]
pub struct Curve {
    pub label: &'static str,
    pub color: &'static str,
    pub stroke: Stroke,
    pub points: Vec<(f64, f64)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stroke {
    /// The subject of a panel, with a dot at each point.
    Solid,
    /// The same measured elsewhere.
    Dashed,
    /// Detail behind the others.
    Faint,
}

/// One chart.
#[derive(Clone, Debug)]
pub struct Panel {
    pub title: String,
    pub curves: Vec<Curve>,
    /// A level worth comparing with, and its name.
    pub level: Option<(f64, &'static str)>,
    /// The value axis; none to fit the curves.
    pub values: Option<(f64, f64)>,
}

const PANEL: (f64, f64) = (400.0, 360.0);
const LEFT: f64 = 52.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 84.0;
const BOTTOM: f64 = 48.0;
const HEADING: f64 = 64.0;
pub const INK: &str = "#24292f";
pub const SOFT: &str = "#6b7280";

/// Draws the panels below a title and a subtitle.
pub fn draw(title: &str, subtitle: &str, panels: &[Panel]) -> String {
    let size = (PANEL.0 * panels.len() as f64, HEADING + PANEL.1);
    let mut out = String::new();
    open(&mut out, size, LEFT, title, subtitle);
    for (index, panel) in panels.iter().enumerate() {
        let x = PANEL.0 * index as f64;
        element(&mut out, format_args!("<g transform=\"translate({x} {HEADING})\">"));
        draw_panel(&mut out, panel);
        element(&mut out, format_args!("</g>"));
    }
    element(&mut out, format_args!("</svg>"));
    out
}

/// Begins a picture: its size, a white ground, title and subtitle.
pub fn open(out: &mut String, (width, height): (f64, f64), x: f64, title: &str, subtitle: &str) {
    element(
        out,
        format_args!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" \
             width=\"{width}\" height=\"{height}\" font-family=\"Helvetica, Arial, sans-serif\" font-size=\"12\">"
        ),
    );
    element(out, format_args!("<rect width=\"{width}\" height=\"{height}\" fill=\"#ffffff\"/>"));
    let style = format!("font-size=\"19\" font-weight=\"600\" fill=\"{INK}\"");
    text(out, (x, 32.0), &style, title);
    text(out, (x, 52.0), &format!("font-size=\"13\" fill=\"{SOFT}\""), subtitle);
}

fn draw_panel(out: &mut String, panel: &Panel) {
    let ranges = Ranges::of(panel);
    text(
        out,
        (LEFT, 24.0),
        &format!("font-size=\"15\" font-weight=\"600\" fill=\"{INK}\""),
        &panel.title,
    );
    legend(out, &panel.curves);
    let (left, right, bottom) = (LEFT, PANEL.0 - RIGHT, PANEL.1 - BOTTOM);
    for tick in ticks(ranges.values, 6) {
        let y = ranges.y(tick);
        element(out, format_args!("<path d=\"M{left} {y:.1}H{right}\" stroke=\"#e5e7eb\"/>"));
        let style = format!("text-anchor=\"end\" fill=\"{SOFT}\"");
        text(out, (left - 8.0, y + 4.0), &style, &number(tick));
    }
    for tick in ticks(ranges.steps, 5) {
        let x = ranges.x(tick);
        element(out, format_args!("<path d=\"M{x:.1} {bottom}v5\" stroke=\"{SOFT}\"/>"));
        let style = format!("text-anchor=\"middle\" fill=\"{SOFT}\"");
        text(out, (x, bottom + 19.0), &style, &number(tick));
    }
    element(out, format_args!("<path d=\"M{left} {bottom}H{right}\" stroke=\"{SOFT}\"/>"));
    let style = format!("text-anchor=\"middle\" fill=\"{SOFT}\"");
    text(out, (f64::midpoint(left, right), bottom + 38.0), &style, "DPO step");
    if let Some((level, name)) = panel.level {
        let y = ranges.y(level);
        let dots = "stroke-dasharray=\"2 3\"";
        element(out, format_args!("<path d=\"M{left} {y:.1}H{right}\" stroke=\"{INK}\" {dots}/>"));
        let style = format!("text-anchor=\"end\" fill=\"{INK}\"");
        text(out, (right, y + 14.0), &style, name);
    }
    for curve in &panel.curves {
        draw_curve(out, curve, &ranges);
    }
}

fn draw_curve(out: &mut String, curve: &Curve, ranges: &Ranges) {
    let points = curve.points.iter().map(|&(step, value)| (ranges.x(step), ranges.y(value)));
    let color = curve.color;
    path(out, points, color, curve.stroke.attributes());
    if curve.stroke == Stroke::Solid {
        for &(step, value) in &curve.points {
            let (x, y) = (ranges.x(step), ranges.y(value));
            element(
                out,
                format_args!("<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"2.6\" fill=\"{color}\"/>"),
            );
        }
    }
}

/// A line through points of the picture.
pub fn path(out: &mut String, points: impl Iterator<Item = (f64, f64)>, color: &str, stroke: &str) {
    let mut path = String::new();
    for (index, (x, y)) in points.enumerate() {
        let command = if index == 0 { 'M' } else { 'L' };
        // Writing to a string cannot fail.
        let _ = write!(path, "{command}{x:.1} {y:.1}");
    }
    let round = "fill=\"none\" stroke-linejoin=\"round\" stroke-linecap=\"round\"";
    element(out, format_args!("<path d=\"{path}\" stroke=\"{color}\" {stroke} {round}/>"));
}

impl Stroke {
    fn attributes(self) -> &'static str {
        match self {
            Self::Solid => "stroke-width=\"2.2\"",
            Self::Dashed => "stroke-width=\"2.2\" stroke-dasharray=\"6 4\"",
            Self::Faint => "stroke-width=\"1.2\" stroke-opacity=\"0.5\"",
        }
    }
}

/// Two entries a line below the title.
fn legend(out: &mut String, curves: &[Curve]) {
    for (index, curve) in curves.iter().enumerate() {
        let x = LEFT + 165.0 * (index % 2) as f64;
        let y = 44.0 + 18.0 * (index / 2) as f64;
        let (color, stroke) = (curve.color, curve.stroke.attributes());
        let line = format_args!("<path d=\"M{x} {y}h24\" stroke=\"{color}\" {stroke}/>");
        element(out, line);
        text(out, (x + 31.0, y + 4.0), &format!("fill=\"{INK}\""), curve.label);
    }
}

/// What the axes span.
struct Ranges {
    steps: (f64, f64),
    values: (f64, f64),
}

impl Ranges {
    fn of(panel: &Panel) -> Self {
        let points = || panel.curves.iter().flat_map(|curve| &curve.points);
        let level = panel.level.map(|(level, _)| level);
        let values = panel.values.unwrap_or_else(|| {
            let (low, high) = span(points().map(|point| point.1).chain(level).chain([0.0]));
            let air = 0.06 * (high - low);
            (if low < 0.0 { low - air } else { low }, high + air)
        });
        Self { steps: span(points().map(|point| point.0).chain([0.0])), values }
    }

    fn x(&self, step: f64) -> f64 {
        let (low, high) = self.steps;
        LEFT + (step - low) / (high - low) * (PANEL.0 - LEFT - RIGHT)
    }

    fn y(&self, value: f64) -> f64 {
        let (low, high) = self.values;
        PANEL.1 - BOTTOM - (value - low) / (high - low) * (PANEL.1 - TOP - BOTTOM)
    }
}

/// Least and greatest finite value, never the same.
pub fn span(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let (low, high) = (values.filter(|value| value.is_finite()))
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
            (low.min(value), high.max(value))
        });
    if low < high {
        (low, high)
    } else if low.is_finite() {
        (low, low + 1.0)
    } else {
        (0.0, 1.0)
    }
}

/// About `count` round numbers within a range: multiples of 1, 2 or 5 times a power of ten.
pub fn ticks((low, high): (f64, f64), count: usize) -> Vec<f64> {
    let rough = (high - low) / count as f64;
    let power = 10f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0]
        .map(|factor| factor * power)
        .into_iter()
        .find(|step| *step >= 0.75 * rough)
        .unwrap_or(rough);
    let first = (low / step - 1e-6).ceil() as i64;
    let last = (high / step + 1e-6).floor() as i64;
    (first..=last).map(|index| index as f64 * step).collect()
}

/// A tick's label, without the digits that every tick would share.
pub fn number(value: f64) -> String {
    let text = format!("{value:.3}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    text.replace('-', "\u{2212}")
}

pub fn element(out: &mut String, line: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ = writeln!(out, "{line}");
}

pub fn text(out: &mut String, (x, y): (f64, f64), style: &str, content: &str) {
    let content = content.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    element(out, format_args!("<text x=\"{x:.1}\" y=\"{y:.1}\" {style}>{content}</text>"));
}
