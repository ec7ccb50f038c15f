//! The comparison of losses: each column of its table, its picture, and both on a run.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use dpo_kernel::SequenceLogProb;
use dpo_kernel::loss::LossName;

use crate::finetune;
use crate::finetune::args::Options;
use crate::finetune::compare::{Course, HEADING, Point, digits, row};
use crate::finetune::grid;
use crate::finetune::objective::Yardstick;
use crate::picture::{attribute, content, number, points};
use crate::twin::{Look, RECIPE, Twin, lines, mean, milestones, same_text};

#[test]
fn losses_have_four_digits() {
    for (value, text) in [
        (0.0, "0.0000"),
        (0.693_24, "0.6932"),
        (0.012_345, "0.0123"),
        (-1.234_56, "-1.235"),
        (9.9996, "10.000"),
        (12.345_6, "12.35"),
        (-123.456, "-123.5"),
        (1234.56, "1235"),
        (123_456.0, "123456"),
    ] {
        assert_eq!(digits(value), text, "{value}");
    }
}

/// Pairs with these log-ratios, and answers of so many tokens.
fn yardstick(ratios: &[[f64; 2]], tokens: &[[usize; 2]]) -> Yardstick {
    let sequences = |sum: &dyn Fn(f64) -> f64| -> Vec<SequenceLogProb> {
        let all = ratios.iter().flatten().zip(tokens.iter().flatten());
        all.map(|(&ratio, &count)| SequenceLogProb { sum: sum(ratio), count }).collect()
    };
    Yardstick::of(&sequences(&|ratio| ratio - 40.0), &sequences(&|_| -40.0)).expect("log-probs")
}

fn point(step: usize, loss: f64, train: &[[f64; 2]], held_out: &[[f64; 2]]) -> Point {
    let tokens = [[5, 3], [7, 9], [4, 4], [9, 2]];
    Point {
        step,
        loss,
        own_accuracy: 0.125,
        train: yardstick(train, &tokens[..train.len()]),
        held_out: yardstick(held_out, &tokens[..held_out.len()]),
    }
}

/// Three of four pairs right, two chosen answers below the reference; leads 2, −2, 0, 7 beside gaps
/// 4, 1, −2, 5.
const TRAIN: [[f64; 2]; 4] = [[1.0, -3.0], [-2.0, -3.0], [-1.0, 1.0], [2.0, -3.0]];

fn course(name: &'static str, last: &Point) -> Course {
    let first = point(0, 0.75, &[[0.0; 2]; 4], &[[0.0; 2]; 2]);
    let points = vec![first, *last];
    Course { name, parameter: "β = 0.1".to_owned(), points, time: Duration::from_millis(2340) }
}

#[test]
fn a_line_of_the_table_has_its_columns() {
    let last = point(8, 0.25, &TRAIN, &[[1.0, 0.5], [1.0, 2.0]]);
    let line = row(&course("sigmoid", &last));
    // r of the leads and the gaps, by the book: Σ (d − 7/4)(g − 2) / √(Σ (d − 7/4)² Σ (g − 2)²).
    let (leads, gaps) = ([2.0, -2.0, 0.0, 7.0], [4.0, 1.0, -2.0, 5.0]);
    let spread = |x: [f64; 4], y: [f64; 4]| {
        let [mx, my] = [x, y].map(|values| mean(values.into_iter()));
        x.into_iter().zip(y).map(|(x, y)| (x - mx) * (y - my)).sum::<f64>()
    };
    let r = spread(leads, gaps) / (spread(leads, leads) * spread(gaps, gaps)).sqrt();
    let expected = format!(
        "sigmoid       β = 0.1       0.7500  0.2500       2.00    0.00    -2.00  0.750    0.500 0.125      \
         0.500     {r:.3}   2.3"
    );
    assert_eq!(line, expected);
    // Every column ends below the end of its heading.
    let ends = |line: &str| -> Vec<usize> {
        let characters: Vec<char> = line.chars().chain([' ']).collect();
        (1..characters.len())
            .filter(|&i| characters[i] == ' ' && characters[i - 1] != ' ')
            .collect()
    };
    let heading = ends(HEADING.lines().nth(1).expect("two lines"));
    let of_line: Vec<usize> = ends(&line).into_iter().skip(4).collect();
    let missing: Vec<_> = of_line.iter().filter(|end| !heading.contains(end)).collect();
    assert!(missing.is_empty(), "{missing:?} of\n{HEADING}\n{line}");

    // Nothing held out, answers of one length, no points at all.
    let mut nothing = point(8, 0.25, &TRAIN[2..3], &[]);
    nothing.own_accuracy = f64::NAN;
    let line = row(&course("sigmoid", &nothing));
    assert!(
        line.contains("-2.00   -1.00     1.00  0.000      n/a   n/a      1.000       n/a"),
        "{line}"
    );
    assert_eq!(row(&Course { points: vec![], ..course("x", &nothing) }), "");
}

/// A cell is 226 by 214, its plots 204 wide; six cells a line. The loss goes from the top, 36, to
/// the bottom, 66, of a scale of its own; log-ratios share one scale from 76 to 176.
#[test]
fn the_picture_has_one_scale_for_all_losses() {
    let held_out = [[3.0, -1.0], [-1.0, -6.0]];
    let last = point(8, 0.25, &TRAIN, &held_out);
    let low = point(8, -0.5, &[[-10.0, -20.0]], &[]);
    let mut courses = vec![course("one", &last)];
    courses.extend((0..6).map(|_| course("more", &low)));
    let picture = grid::draw("Title", "subtitle", &courses);
    let (width, height) = (2 * 44 + 6 * 226 - 22, 86 + 2 * 214 + 8);
    let head = format!("viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\"");
    assert!(picture.contains(&head), "{head}");
    assert!(
        picture.contains("<text x=\"44.0\" y=\"32.0\" font-size=\"19\""),
        "the title at the margin"
    );
    // From the right: four entries, the widest at the left.
    let right = width - 44;
    let legend =
        [("loss, its own scale", 450), ("chosen", 290), ("rejected", 190), ("held out", 90)];
    for (label, from_right) in legend {
        let x = right - from_right;
        let text = format!("<text x=\"{}.0\" y=\"52.0\" fill=\"#24292f\">{label}</text>", x + 28);
        let line = format!("<path d=\"M{x} 48h22\"");
        assert!(picture.contains(&text) && picture.contains(&line), "{label} at {x}: {picture}");
    }
    let cells: Vec<&str> = picture.split("<g transform=\"").skip(1).collect();
    let places: Vec<&str> =
        cells.iter().map(|cell| cell.split('"').next().expect("a place")).collect();
    let expected: Vec<String> = (0..7)
        .map(|i| format!("translate({} {})", 44 + 226 * (i % 6), 86 + 214 * (i / 6)))
        .collect();
    assert_eq!(places, expected);
    assert!(picture.trim_end().ends_with("</g>\n</svg>"), "it is whole");

    // From −20 to 1, the least and the largest mean of all cells.
    let y = |value: f64| 176.0 - (value + 20.0) / 21.0 * 100.0;
    for (index, cell) in cells.iter().enumerate() {
        let all: Vec<&str> = cell.lines().collect();
        let ticks: Vec<(f64, &str)> = all
            .iter()
            .filter_map(|line| {
                let (start, end) = attribute(line, "d")?.split_once('H')?;
                assert_eq!(end, "204", "across the cell");
                Some((number(start.split(' ').nth(1)?), attribute(line, "stroke")?))
            })
            .collect();
        let values = [-20.0, -15.0, -10.0, -5.0, 0.0];
        assert_eq!(ticks.len(), values.len(), "ticks of {cell}");
        for ((found, color), value) in ticks.iter().zip(values) {
            assert!((found - y(value)).abs() < 0.06, "{value} at {found}");
            assert_eq!(*color, if value == 0.0 { "#6b7280" } else { "#e5e7eb" }, "{value}");
        }
        let labels: Vec<(f64, f64)> = all
            .iter()
            .filter(|line| line.contains("<text x=\"-6.0\""))
            .map(|line| {
                (number(attribute(line, "y").expect("y")), number(content(line).expect("a label")))
            })
            .collect();
        if index % 6 == 0 {
            assert_eq!(labels.len(), values.len(), "the first of a line has labels");
            for ((found, label), value) in labels.into_iter().zip(values) {
                assert!(
                    label == value && (found - 4.0 - y(value)).abs() < 0.11,
                    "{label} at {found}"
                );
            }
        } else {
            assert!(labels.is_empty(), "and no other has: {labels:?}");
        }
    }
    let first = cells[0];
    for text in [
        "<text x=\"0.0\" y=\"14.0\" font-size=\"14\" font-weight=\"600\" fill=\"#24292f\">one</text>",
        "<text x=\"204.0\" y=\"14.0\" font-size=\"11\" text-anchor=\"end\" fill=\"#6b7280\">β = 0.1</text>",
        "<text x=\"0.0\" y=\"30.0\" font-size=\"11\" fill=\"#2563eb\">loss 0.7500 → 0.2500</text>",
        "<text x=\"0.0\" y=\"191.0\" font-size=\"11\" fill=\"#24292f\">held-out accuracy 1.00</text>",
    ] {
        assert!(first.contains(text), "{text} in {first}");
    }
    assert!(cells[1].contains(">no pairs held out<"), "{}", cells[1]);
    let curves = |cell: &str| -> Vec<(String, bool, Vec<(f64, f64)>)> {
        cell.lines()
            .filter(|line| line.contains("fill=\"none\""))
            .map(|line| {
                let of = |name| attribute(line, name).map(str::to_owned);
                let path = points(&of("d").expect("a path"));
                (of("stroke").expect("a colour"), of("stroke-dasharray").is_some(), path)
            })
            .collect()
    };
    let (blue, green, red) = ("#2563eb", "#059669", "#dc2626");
    let expected = [
        (blue, false, [36.0, 66.0]),
        (green, false, [y(0.0), y(0.0)]),
        (red, false, [y(0.0), y(-2.0)]),
        (green, true, [y(0.0), y(1.0)]),
        (red, true, [y(0.0), y(-3.5)]),
    ];
    let found = curves(first);
    assert_eq!(found.len(), expected.len(), "{found:?}");
    for ((color, dashed, path), (wanted, is_dashed, [from, to])) in found.into_iter().zip(expected)
    {
        assert_eq!((color.as_str(), dashed), (wanted, is_dashed));
        let near =
            |(x, y): (f64, f64), at: (f64, f64)| (x - at.0).abs() < 0.06 && (y - at.1).abs() < 0.06;
        assert!(
            path.len() == 2 && near(path[0], (0.0, from)) && near(path[1], (204.0, to)),
            "{color} {dashed}: {path:?} is not {from} {to}"
        );
    }
    assert_eq!(curves(cells[1]).len(), 3, "of what was held out there is nothing to draw");
}

/// The accuracy by a loss's own rewards.
type Own = fn(&Look) -> f64;

/// A run on pairs of which losses are right about some, beside the same put together anew.
#[test]
fn a_run_fills_the_table_with_what_it_found() {
    const STEPS: usize = 13;
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let (data, out) = (folder.join("finetune-table.jsonl"), folder.join("finetune-table.svg"));
    fs::write(&data, lines()).expect("a scratch file");
    let options = Options {
        data: Some(data),
        loss: None,
        steps: Some(STEPS),
        seed: 3,
        out: out.clone(),
        ..Options::default()
    };
    let mut printed = Vec::new();
    finetune::run(&options, &RECIPE, &mut printed).expect("a run");
    let printed = String::from_utf8(printed).expect("text");
    let picture = fs::read_to_string(out).expect("the picture");
    let twin = Twin::new(&lines(), 3);
    let (train, held_out) = (&twin.examples.train, &twin.examples.held_out);
    let title =
        format!("{STEPS} steps each; log-ratios in nats over the training pairs\n{HEADING}\n");
    assert!(printed.contains(&title), "{title} in {printed}");
    let subtitle = format!(
        ">{} training pairs, {} held out, {STEPS} steps, seed 3; log-ratios against the reference in nats<",
        train.len(),
        held_out.len()
    );
    assert!(
        picture.contains(&subtitle) && picture.contains(">Every loss on the same pairs<"),
        "{subtitle}"
    );
    assert!(printed.lines().last().expect("output").starts_with("curves in "), "{printed}");

    let by_ratio: Own = Look::accuracy;
    let by_mean: Own = |look| {
        mean(look.policy.chunks_exact(2).map(|pair| {
            let [chosen, rejected] = [0, 1].map(|side| pair[side].0 / pair[side].1 as f64);
            f64::from(u8::from(chosen > rejected))
        }))
    };
    for (name, parameter, own) in [
        (LossName::Sigmoid, "β = 0.1", by_ratio),
        (LossName::SimPo, "β = 10", by_mean),
        (LossName::Kto, "β = 0.1", by_ratio),
    ] {
        let mut last = None;
        let mut steps = Vec::new();
        twin.preference(name, STEPS, |step, model, _, _| {
            steps.push(step);
            last = Some((twin.look(model, train), twin.look(model, held_out)));
        });
        let (look, held_look) = last.expect("the end");
        let found = printed.lines().find(|line| line.starts_with(&format!("{} ", name.name())));
        let words: Vec<&str> = found.expect("a line").split_whitespace().collect();
        assert_eq!(words[1..4].join(" "), parameter, "{found:?}");
        let leads: Vec<f64> =
            (look.policy.chunks_exact(2)).map(|p| p[0].1 as f64 - p[1].1 as f64).collect();
        let gaps: Vec<f64> = look.ratios.iter().map(|[a, b]| a - b).collect();
        let spread = |x: &[f64], y: &[f64]| {
            let [mx, my] = [x, y].map(|values| mean(values.iter().copied()));
            x.iter().zip(y).map(|(x, y)| (x - mx) * (y - my)).sum::<f64>()
        };
        let r = spread(&leads, &gaps) / (spread(&leads, &leads) * spread(&gaps, &gaps)).sqrt();
        let expected = format!(
            "{:.2} {:.2} {:.2} {:.3} {:.3} {:.3} {:.3} {r:.3}",
            look.gap(),
            look.each(|a, _| a),
            look.each(|_, b| b),
            look.accuracy(),
            held_look.accuracy(),
            own(&held_look),
            look.each(|a, _| f64::from(u8::from(a < 0.0))),
        );
        same_text(&words[6..14].join(" "), &expected, 0.0101);
        if name == LossName::Sigmoid {
            same_text(
                &words[4..6].join(" "),
                &format!("{:.4} {:.4}", 2.0_f64.ln(), look.dpo()),
                2e-4,
            );
        }
        // A picture's course has a point at the start and one at each of eight parts.
        let cell = picture
            .split("<g transform")
            .find(|cell| cell.contains(&format!(">{}</text>", name.name())));
        let loss = cell
            .expect("a cell")
            .lines()
            .find(|line| line.contains("fill=\"none\""))
            .expect("a curve");
        let xs: Vec<f64> =
            points(attribute(loss, "d").expect("a path")).iter().map(|p| p.0).collect();
        let expected: Vec<f64> = [0]
            .into_iter()
            .chain(milestones(STEPS, 8))
            .map(|step| 204.0 * step as f64 / STEPS as f64)
            .collect();
        assert_eq!(xs.len(), expected.len(), "{xs:?} {expected:?}");
        assert!(
            xs.iter().zip(&expected).all(|(x, at)| (x - at).abs() < 0.06),
            "{xs:?} {expected:?}"
        );
    }
}
