//! The pieces that charts are made of, as SVG text.

use std::fmt::Write;

pub const INK: &str = "#24292f";
pub const SOFT: &str = "#6b7280";

/// Begins a picture: its size, a white ground, title and subtitle.
pub fn open(out: &mut String, (width, height): (f64, f64), x: f64, title: &str, subtitle: &str) {
    element(
        out,
        format_args!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" \
             width=\"{width}\" height=\"{height}\" role=\"img\" \
             font-family=\"Helvetica, Arial, sans-serif\" font-size=\"12\">"
        ),
    );
    // What a reader of the screen says.
    element(out, format_args!("<title>{}</title>", escaped(title)));
    element(out, format_args!("<desc>{}</desc>", escaped(subtitle)));
    element(out, format_args!("<rect width=\"{width}\" height=\"{height}\" fill=\"#ffffff\"/>"));
    let style = format!("font-size=\"19\" font-weight=\"600\" fill=\"{INK}\"");
    text(out, (x, 32.0), &style, title);
    text(out, (x, 52.0), &format!("font-size=\"13\" fill=\"{SOFT}\""), subtitle);
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
    let content = escaped(content);
    element(out, format_args!("<text x=\"{x:.1}\" y=\"{y:.1}\" {style}>{content}</text>"));
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
