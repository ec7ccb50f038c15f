//! The differences as one picture: |Δ| by position, and by A's probability of the token.

use std::fmt::Write;

use super::dump::Dump;
use super::figures::quantile;
use super::pair::{Fate, Pair};
use super::svg::{INK, SOFT, element, number, open, path, span, text, ticks};

const PANEL: (f64, f64) = (460.0, 360.0);
const LEFT: f64 = 60.0;
const RIGHT: f64 = 20.0;
const TOP: f64 = 62.0;
const BOTTOM: f64 = 48.0;
const HEADING: f64 = 64.0;
/// Tokens that are drawn; the lines are of all.
const DOTS: usize = 1500;
/// Parts of the axis with as many tokens each.
const PARTS: usize = 16;
/// Decades below the largest difference; what is smaller lies on the axis.
const DECADES: f64 = 8.0;
const MIDDLE: &str = "#0b6e4f";
const MOST: &str = "#b45309";
/// Probabilities closer to 0 or 1 are drawn as this close.
const CLOSEST: f64 = 1e-6;

/// A token that is finite on both sides.
#[derive(Clone, Copy)]
struct Dot {
    position: f64,
    /// ln(p / (1 − p)), so that doubtful and confident tokens both have room.
    odds: f64,
    size: f64,
}

pub(crate) fn draw(pair: &Pair) -> String {
    let dots = dots(pair);
    let size = (2.0 * PANEL.0, HEADING + PANEL.1);
    let mut out = String::new();
    let name =
        |dump: &Dump| dump.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let aside = |fate: &&Fate| !matches!(fate, Fate::Finite | Fate::Aside | Fate::OnlyScored(_));
    let rest = match pair.fates.iter().filter(aside).count() {
        0 => String::new(),
        left => format!("; {left} with −∞, NaN or 0 on one side are not drawn"),
    };
    let subtitle = format!(
        "A: {}, B: {}; |Δ| = |log p of B − log p of A| of {} tokens{rest}",
        name(&pair.a),
        name(&pair.b),
        dots.len()
    );
    open(&mut out, size, LEFT, "Log-probs of the same tokens in two dumps", &subtitle);
    let most = dots.iter().fold(0.0_f64, |most, dot| most.max(dot.size));
    let values = decades(most, dots.iter().map(|dot| dot.size));
    let (low, high) = span(dots.iter().map(|dot| dot.position));
    let positions = Axis { low, high, values };
    let marks: Vec<_> = ticks((low, high), 5).into_iter().map(|x| (x, number(x))).collect();
    panel(&mut out, 0.0, "By position in the sequence", "position", &positions, &marks);
    curves(&mut out, &positions, &dots, |dot| dot.position);
    element(&mut out, format_args!("</g>"));
    let limit = odds(CLOSEST.ln());
    let confidence = Axis { low: limit, high: -limit, values };
    let marks = [
        (1e-6, "1e\u{2212}6"),
        (1e-4, "1e\u{2212}4"),
        (0.01, "0.01"),
        (0.1, "0.1"),
        (0.5, "0.5"),
        (0.9, "0.9"),
        (0.99, "0.99"),
        (0.9999, "0.9999"),
    ];
    let marks = marks.map(|(p, name): (f64, &str)| (odds(p.ln()), name.to_owned()));
    panel(
        &mut out,
        PANEL.0,
        "By probability",
        "probability of the token in A",
        &confidence,
        &marks,
    );
    curves(&mut out, &confidence, &dots, |dot| dot.odds);
    element(&mut out, format_args!("</g>"));
    element(&mut out, format_args!("</svg>"));
    out
}

fn dots(pair: &Pair) -> Vec<Dot> {
    let finite = (0..pair.len()).filter(|&row| pair.fates.get(row) == Some(&Fate::Finite));
    let dot = |row| {
        Some(Dot {
            position: pair.a.position(row) as f64,
            odds: odds(*pair.of_a.get(row)?),
            size: pair.deltas.get(row)?.abs(),
        })
    };
    finite.filter_map(dot).collect()
}

fn odds(log_prob: f64) -> f64 {
    let (least, most) = (CLOSEST.ln(), (-CLOSEST).ln_1p());
    let x = log_prob.clamp(least, most);
    x - (-x.exp_m1()).ln()
}

/// Powers of ten around the differences.
fn decades(most: f64, sizes: impl Iterator<Item = f64>) -> (f64, f64) {
    if most == 0.0 {
        return (-DECADES, 0.0);
    }
    let least = sizes.filter(|&x| x > 0.0).fold(most, f64::min);
    let high = most.log10().ceil();
    (least.log10().floor().max(high - DECADES).min(high - 1.0), high)
}

/// What the axes span: the value axis in powers of ten.
#[derive(Clone, Copy)]
struct Axis {
    low: f64,
    high: f64,
    values: (f64, f64),
}

impl Axis {
    fn x(&self, x: f64) -> f64 {
        LEFT + (x - self.low) / (self.high - self.low) * (PANEL.0 - LEFT - RIGHT)
    }

    fn y(&self, size: f64) -> f64 {
        let (low, high) = self.values;
        let share = ((size.log10() - low) / (high - low)).clamp(0.0, 1.0);
        PANEL.1 - BOTTOM - share * (PANEL.1 - TOP - BOTTOM)
    }
}

fn panel(out: &mut String, left: f64, title: &str, axis: &str, of: &Axis, marks: &[(f64, String)]) {
    element(out, format_args!("<g transform=\"translate({left} {HEADING})\">"));
    let style = format!("font-size=\"15\" font-weight=\"600\" fill=\"{INK}\"");
    text(out, (LEFT, 24.0), &style, title);
    let (right, bottom) = (PANEL.0 - RIGHT, PANEL.1 - BOTTOM);
    for (place, (color, name)) in
        [(MIDDLE, "median"), (MOST, "90 % quantile")].into_iter().enumerate()
    {
        let x = LEFT + 100.0 * place as f64;
        element(
            out,
            format_args!("<path d=\"M{x} 44h24\" stroke=\"{color}\" stroke-width=\"2.2\"/>"),
        );
        text(out, (x + 31.0, 48.0), &format!("fill=\"{INK}\""), name);
    }
    text(out, (LEFT - 8.0, TOP - 12.0), &format!("text-anchor=\"end\" fill=\"{SOFT}\""), "|Δ|");
    let (low, high) = of.values;
    for power in low as i32..=high as i32 {
        let y = of.y(10_f64.powi(power));
        element(out, format_args!("<path d=\"M{LEFT} {y:.1}H{right}\" stroke=\"#e5e7eb\"/>"));
        let style = format!("text-anchor=\"end\" fill=\"{SOFT}\"");
        text(out, (LEFT - 8.0, y + 4.0), &style, &format!("1e{power}").replace('-', "\u{2212}"));
    }
    for (x, name) in marks {
        let x = of.x(*x);
        element(out, format_args!("<path d=\"M{x:.1} {bottom}v5\" stroke=\"{SOFT}\"/>"));
        let style = format!("text-anchor=\"middle\" fill=\"{SOFT}\"");
        text(out, (x, bottom + 19.0), &style, name);
    }
    element(out, format_args!("<path d=\"M{LEFT} {bottom}H{right}\" stroke=\"{SOFT}\"/>"));
    let style = format!("text-anchor=\"middle\" fill=\"{SOFT}\"");
    text(out, (f64::midpoint(LEFT, right), bottom + 38.0), &style, axis);
}

/// The tokens, and median and 90 % quantile of parts of them: as many in each, but that all of one x
/// are in one.
fn curves(out: &mut String, axis: &Axis, dots: &[Dot], x: impl Fn(&Dot) -> f64) {
    let mut drawn = String::new();
    for dot in dots.iter().step_by(dots.len().div_ceil(DOTS).max(1)) {
        // Writing to a string cannot fail.
        let _ = write!(drawn, "M{:.1} {:.1}h0", axis.x(x(dot)), axis.y(dot.size));
    }
    let round = "stroke-width=\"3\" stroke-linecap=\"round\" stroke-opacity=\"0.35\"";
    element(out, format_args!("<path d=\"{drawn}\" stroke=\"#2a6fbb\" {round}/>"));
    let mut sorted: Vec<(f64, f64)> = dots.iter().map(|dot| (x(dot), dot.size)).collect();
    sorted.sort_by(|a, b| a.0.total_cmp(&b.0));
    let most = sorted.len().div_ceil(PARTS).max(1);
    let mut groups: Vec<Vec<(f64, f64)>> = Vec::new();
    for dot in sorted {
        match groups.last_mut() {
            Some(group)
                if group.len() < most || group.last().is_some_and(|last| last.0 >= dot.0) =>
            {
                group.push(dot);
            }
            _ => groups.push(vec![dot]),
        }
    }
    let parts = groups.iter().map(|part| {
        let middle = part.get(part.len() / 2).map_or(0.0, |dot| dot.0);
        let mut sizes: Vec<f64> = part.iter().map(|dot| dot.1).collect();
        sizes.sort_unstable_by(f64::total_cmp);
        let at = |share| quantile(&sizes, share).unwrap_or(0.0);
        (axis.x(middle), axis.y(at(0.5)), axis.y(at(0.9)))
    });
    let parts: Vec<_> = parts.collect();
    let thick = "stroke-width=\"2.2\"";
    path(out, parts.iter().map(|&(x, _, most)| (x, most)), MOST, thick);
    path(out, parts.iter().map(|&(x, middle, _)| (x, middle)), MIDDLE, thick);
}
