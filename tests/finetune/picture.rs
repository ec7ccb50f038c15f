//! Reads a picture as somebody with a ruler would: every curve by the labels of its own axes.

use std::collections::BTreeMap;

/// A panel of curves.
#[derive(Debug, Default)]
pub(crate) struct Panel {
    pub(crate) title: String,
    /// By label: (step, value) of each point.
    pub(crate) curves: BTreeMap<String, Vec<(f64, f64)>>,
    /// The dotted level and its name.
    pub(crate) level: Option<(f64, String)>,
    /// What a pixel is worth.
    pub(crate) pixel: (f64, f64),
}

/// The value of an attribute.
pub(crate) fn attribute<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    let start = line.find(&format!(" {name}=\""))? + name.len() + 3;
    line[start..].split('"').next()
}

/// What stands between the tags of a text.
pub(crate) fn content(line: &str) -> Option<&str> {
    line.strip_suffix("</text>")?.rsplit_once('>').map(|(_, text)| text)
}

pub(crate) fn number(text: &str) -> f64 {
    text.replace('\u{2212}', "-").parse().unwrap_or_else(|_| panic!("{text:?} is a number"))
}

/// The points of a path of straight lines.
pub(crate) fn points(path: &str) -> Vec<(f64, f64)> {
    let pairs = path.split(['M', 'L']).filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| pair.split_once(' ').map(|(x, y)| (number(x), number(y))).expect("x y"))
        .collect()
}

/// A straight line through (pixel, label) pairs: label = offset + pixel · size.
fn axis(ticks: &[(f64, f64)]) -> (f64, f64) {
    let [first, .., last] = ticks else { panic!("two ticks at least: {ticks:?}") };
    let size = (last.1 - first.1) / (last.0 - first.0);
    let offset = first.1 - size * first.0;
    for (pixel, label) in ticks {
        let off = (offset + size * pixel - label) / size;
        assert!(off.abs() <= 0.11, "the tick {label} is {off} pixels from its place: {ticks:?}");
    }
    (offset, size)
}

/// Every panel of a picture.
pub(crate) fn panels(picture: &str) -> Vec<Panel> {
    picture.split("<g transform").skip(1).map(panel).collect()
}

fn panel(text: &str) -> Panel {
    let lines: Vec<&str> = text.lines().collect();
    let (mut values, mut steps, mut legend, mut drawn) = (vec![], vec![], vec![], vec![]);
    let mut level = None;
    for (line, next) in lines.iter().zip(lines[1..].iter().chain([&""])) {
        let Some(path) = attribute(line, "d") else { continue };
        let label = content(next);
        let start = &path[1..];
        if let Some((x, _)) = path.split_once("v5") {
            let x = x[1..].split(' ').next().expect("x");
            steps.push((number(x), number(label.expect("a label"))));
        } else if path.contains("h24") {
            legend.push((curve_style(line), label.expect("a label").to_owned()));
        } else if let Some((from, _)) = start.split_once('H') {
            let y = number(from.split(' ').nth(1).expect("y"));
            match attribute(line, "stroke-dasharray") {
                Some(_) => level = Some((y, label.unwrap_or_default().to_owned())),
                None if label.is_some_and(|label| label != "DPO step") => {
                    values.push((y, number(label.expect("a label"))));
                }
                None => {}
            }
        } else {
            drawn.push((curve_style(line), points(path)));
        }
    }
    let (x, y) = (axis(&steps), axis(&values));
    let read = |(px, py): (f64, f64)| (x.0 + x.1 * px, y.0 + y.1 * py);
    assert_eq!(drawn.len(), legend.len(), "every curve is in the legend");
    let curves = legend.into_iter().map(|(style, label)| {
        let mut of_style = drawn.iter().filter(|(other, _)| *other == style);
        let (_, points) = of_style.next().expect("a curve of this style");
        assert!(of_style.next().is_none(), "{label} is the only one of its style");
        (label, points.iter().copied().map(read).collect())
    });
    Panel {
        title: content(lines[1]).expect("a title").to_owned(),
        curves: curves.collect(),
        level: level.map(|(pixel, name)| (y.0 + y.1 * pixel, name)),
        pixel: (x.1.abs(), y.1.abs()),
    }
}

/// Colour, width and dashes.
fn curve_style(line: &str) -> String {
    ["stroke", "stroke-width", "stroke-dasharray", "stroke-opacity"]
        .map(|name| attribute(line, name).unwrap_or(""))
        .join("|")
}

impl Panel {
    /// Fails unless a curve goes through these points.
    #[track_caller]
    pub(crate) fn goes_through(&self, label: &str, expected: &[(f64, f64)]) {
        let found = &self.curves[label];
        assert_eq!(found.len(), expected.len(), "{label} of {}: {found:?}", self.title);
        for (found, expected) in found.iter().zip(expected) {
            let off =
                ((found.0 - expected.0) / self.pixel.0, (found.1 - expected.1) / self.pixel.1);
            let near = off.0.abs() < 0.3 && off.1.abs() < 0.3;
            assert!(near, "{label} of {}: {found:?} is not {expected:?}", self.title);
        }
    }
}
