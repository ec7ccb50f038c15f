//! Line charts as SVG text: panels side by side, each with axes, ticks, a legend and labelled
//! reference lines.

#[path = "../shared/svg.rs"]
mod pieces;

pub use pieces::{INK, SOFT, element, number, open, path, span, text, ticks};

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
