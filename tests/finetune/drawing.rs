//! Charts: where everything lies, element by element; ticks, spans and labels.

use crate::finetune::svg::{Curve, Panel, Stroke, draw, number, span, text, ticks};

const INF: f64 = f64::INFINITY;

fn curve(label: &'static str, color: &'static str, stroke: Stroke, points: &[(f64, f64)]) -> Curve {
    Curve { label, color, stroke, points: points.to_vec() }
}

/// A panel is 400 by 360 below a heading of 64; its plot is 52 from the left, 16 from the right, 84
/// from the top and 48 from the bottom: 332 by 228 pixels, for steps 0 to 10 and values 0 to 1.
#[test]
fn a_panel_is_drawn_where_it_belongs() {
    let panel = Panel {
        title: "Loss & more".to_owned(),
        curves: vec![
            curve("one", "#010101", Stroke::Solid, &[(0.0, 0.0), (10.0, 1.0)]),
            curve("two", "#020202", Stroke::Dashed, &[(5.0, 0.25), (10.0, 0.5)]),
            curve("three", "#030303", Stroke::Faint, &[(2.5, 0.75)]),
        ],
        level: Some((0.5, "half")),
        values: Some((0.0, 1.0)),
    };
    let other = Panel { title: "Other".to_owned(), level: None, ..panel.clone() };
    let picture = draw("A <title>", "below it", &[panel, other]);
    let head = "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 800 424\" width=\"800\" height=\"424\" \
                role=\"img\" font-family=\"Helvetica, Arial, sans-serif\" font-size=\"12\">\n\
                <title>A &lt;title&gt;</title>\n\
                <desc>below it</desc>\n\
                <rect width=\"800\" height=\"424\" fill=\"#ffffff\"/>\n\
                <text x=\"52.0\" y=\"32.0\" font-size=\"19\" font-weight=\"600\" fill=\"#24292f\">A &lt;title&gt;</text>\n\
                <text x=\"52.0\" y=\"52.0\" font-size=\"13\" fill=\"#6b7280\">below it</text>\n";
    let mut expected = head.to_owned();
    let solid = "stroke-width=\"2.2\"";
    let dashed = "stroke-width=\"2.2\" stroke-dasharray=\"6 4\"";
    let faint = "stroke-width=\"1.2\" stroke-opacity=\"0.5\"";
    let round = "fill=\"none\" stroke-linejoin=\"round\" stroke-linecap=\"round\"";
    for (x, title, level) in [(0, "Loss &amp; more", true), (400, "Other", false)] {
        let mut line = |line: String| expected += &(line + "\n");
        line(format!("<g transform=\"translate({x} 64)\">"));
        line(format!(
            "<text x=\"52.0\" y=\"24.0\" font-size=\"15\" font-weight=\"600\" fill=\"#24292f\">{title}</text>"
        ));
        // Two entries a line of the legend.
        for (x, y, color, stroke, label) in [
            (52, 44, "#010101", solid, "one"),
            (217, 44, "#020202", dashed, "two"),
            (52, 62, "#030303", faint, "three"),
        ] {
            line(format!("<path d=\"M{x} {y}h24\" stroke=\"{color}\" {stroke}/>"));
            line(format!(
                "<text x=\"{}.0\" y=\"{}.0\" fill=\"#24292f\">{label}</text>",
                x + 31,
                y + 4
            ));
        }
        for (y, label_y, label) in [
            ("312.0", "316.0", "0"),
            ("266.4", "270.4", "0.2"),
            ("220.8", "224.8", "0.4"),
            ("175.2", "179.2", "0.6"),
            ("129.6", "133.6", "0.8"),
            ("84.0", "88.0", "1"),
        ] {
            line(format!("<path d=\"M52 {y}H384\" stroke=\"#e5e7eb\"/>"));
            line(format!(
                "<text x=\"44.0\" y=\"{label_y}\" text-anchor=\"end\" fill=\"#6b7280\">{label}</text>"
            ));
        }
        for (x, label) in [
            ("52.0", "0"),
            ("118.4", "2"),
            ("184.8", "4"),
            ("251.2", "6"),
            ("317.6", "8"),
            ("384.0", "10"),
        ] {
            line(format!("<path d=\"M{x} 312v5\" stroke=\"#6b7280\"/>"));
            line(format!(
                "<text x=\"{x}\" y=\"331.0\" text-anchor=\"middle\" fill=\"#6b7280\">{label}</text>"
            ));
        }
        line("<path d=\"M52 312H384\" stroke=\"#6b7280\"/>".to_owned());
        line(
            "<text x=\"218.0\" y=\"350.0\" text-anchor=\"middle\" fill=\"#6b7280\">DPO step</text>"
                .to_owned(),
        );
        if level {
            line(
                "<path d=\"M52 198.0H384\" stroke=\"#24292f\" stroke-dasharray=\"2 3\"/>"
                    .to_owned(),
            );
            line(
                "<text x=\"384.0\" y=\"212.0\" text-anchor=\"end\" fill=\"#24292f\">half</text>"
                    .to_owned(),
            );
        }
        line(format!("<path d=\"M52.0 312.0L384.0 84.0\" stroke=\"#010101\" {solid} {round}/>"));
        line("<circle cx=\"52.0\" cy=\"312.0\" r=\"2.6\" fill=\"#010101\"/>".to_owned());
        line("<circle cx=\"384.0\" cy=\"84.0\" r=\"2.6\" fill=\"#010101\"/>".to_owned());
        line(format!("<path d=\"M218.0 255.0L384.0 198.0\" stroke=\"#020202\" {dashed} {round}/>"));
        line(format!("<path d=\"M135.0 141.0\" stroke=\"#030303\" {faint} {round}/>"));
        line("</g>".to_owned());
    }
    expected += "</svg>\n";
    for (found, expected) in picture.lines().zip(expected.lines()) {
        assert_eq!(found, expected);
    }
    assert_eq!(picture, expected, "and no further line");
}

/// Without a range of its own an axis takes in 0, every curve and the level, and 6 % of air above,
/// and below where something is below 0.
#[test]
fn an_axis_takes_in_what_it_shows() {
    let at = |values: &[f64], level: Option<f64>| -> Vec<f64> {
        let points: Vec<(f64, f64)> = values.iter().map(|&value| (8.0, value)).collect();
        let panel = Panel {
            title: String::new(),
            curves: vec![curve("", "#010101", Stroke::Faint, &points)],
            level: level.map(|level| (level, "")),
            values: None,
        };
        let picture = draw("", "", &[panel]);
        let path = picture.lines().find(|line| line.contains("fill=\"none\"")).expect("a curve");
        let path = crate::picture::points(crate::picture::attribute(path, "d").expect("a path"));
        assert!(path.iter().all(|point| (point.0 - 384.0).abs() < 0.06), "step 8 of 0 to 8");
        path.iter().map(|point| (312.0 - point.1) / 228.0).collect()
    };
    let near = |found: Vec<f64>, expected: &[f64]| {
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() < 3e-4, "{found} is not {expected}");
        }
    };
    near(at(&[0.0, 1.0], None), &[0.0, 1.0 / 1.06]);
    near(at(&[1.0, 3.0], None), &[1.0 / 3.18, 3.0 / 3.18]);
    near(at(&[-1.0, 1.0], None), &[0.12 / 2.24, 2.12 / 2.24]);
    near(at(&[0.5], Some(2.0)), &[0.5 / 2.12]);
    near(at(&[0.0], Some(-2.0)), &[2.12 / 2.24]);
}

#[test]
fn spans_and_ticks_and_labels() {
    for (values, expected) in [
        (&[3.0, 1.0, 2.0][..], (1.0, 3.0)),
        (&[f64::NAN, 4.0, INF, -INF, 5.0], (4.0, 5.0)),
        (&[7.0, 7.0], (7.0, 8.0)),
        (&[], (0.0, 1.0)),
        (&[f64::NAN], (0.0, 1.0)),
    ] {
        assert_eq!(span(values.iter().copied()), expected, "{values:?}");
    }
    // Steps of 1, 2 or 5 times a power of ten, three quarters of an even share at least.
    for (range, count, expected) in [
        ((0.0, 1.0), 6, "0 0.2 0.4 0.6 0.8 1"),
        ((0.0, 1.0), 10, "0 0.1 0.2 0.3 0.4 0.5 0.6 0.7 0.8 0.9 1"),
        ((0.0, 64.0), 5, "0 10 20 30 40 50 60"),
        ((-0.3, 0.6), 6, "−0.2 0 0.2 0.4 0.6"),
        ((-7.0, 4.0), 5, "−6 −4 −2 0 2 4"),
        ((0.0, 40.0), 6, "0 5 10 15 20 25 30 35 40"),
        ((0.0, 4.2), 6, "0 1 2 3 4"),
        ((0.0, 0.04), 6, "0 0.005 0.01 0.015 0.02 0.025 0.03 0.035 0.04"),
        ((1100.0, 1600.0), 5, "1100 1200 1300 1400 1500 1600"),
    ] {
        let found: Vec<String> = ticks(range, count).into_iter().map(number).collect();
        assert_eq!(found.join(" "), expected, "{range:?} in {count}");
    }
    for (value, label) in [
        (0.0, "0"),
        (0.5, "0.5"),
        (-1.25, "−1.25"),
        (100.0, "100"),
        (0.0004, "0"),
        (12.3456, "12.346"),
    ] {
        assert_eq!(number(value), label);
    }
    let mut out = String::new();
    text(&mut out, (1.25, -2.0), "fill=\"x\"", "a < b & c > d");
    assert_eq!(out, "<text x=\"1.2\" y=\"-2.0\" fill=\"x\">a &lt; b &amp; c &gt; d</text>\n");
}
