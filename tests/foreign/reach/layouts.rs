//! Layouts, well-formed or not, and whole batches.

use dpo_kernel::verify::IGNORE_INDEX;
use dpo_kernel::verify::cases::strategy::{Hardness, batches, hostile_layouts, layouts};
use dpo_kernel::verify::cases::{BatchCase, LayoutCase};

use super::{Reach, grown, parsed};

fn see_layout(reach: &mut Reach, layout: &LayoutCase) {
    let LayoutCase { vocab, targets, ignore, spans } = layout;
    reach.see("columns", *vocab as f64);
    reach.see("sequences", spans.len() as f64);
    reach.kind(if *ignore == IGNORE_INDEX { "−100 is ignored" } else { "an id is ignored" });
    let (mut inside, mut before) = (0, 0);
    let mut ordered = spans.clone();
    ordered.sort_unstable();
    for (start, end) in ordered {
        reach.see("gap", (start - before) as f64);
        reach.see("tokens", (end - start) as f64);
        inside += end - start;
        before = end;
    }
    assert_eq!(before, targets.len(), "nothing behind the last sequence: {layout:?}");
    let outside = targets.iter().filter(|target| **target == u32::MAX - 1).count();
    assert_eq!(inside + outside, targets.len(), "between them is no token: {layout:?}");
    for target in targets.iter().filter(|target| **target < u32::MAX - 200 && *vocab > 20) {
        reach.see("target of its row", (f64::from(*target) + 0.5) / *vocab as f64);
    }
    for (row, target) in targets.iter().enumerate() {
        if target == ignore && spans.iter().any(|span| (span.0..span.1).contains(&row)) {
            reach.kind("an ignored token");
        }
    }
    if !spans.is_sorted() {
        reach.kind("out of order");
    }
}

#[test]
fn layouts_reach_their_ends() {
    let kinds = ["−100 is ignored", "an id is ignored", "an ignored token", "out of order"];
    let layouts = grown(3000, &layouts(100), see_layout);
    layouts.counts(400, &kinds);
    layouts.spans(&[
        ("columns", 1.0, 100.0),
        ("sequences", 0.0, 5.0),
        ("gap", 0.0, 2.0),
        ("tokens", 1.0, 5.0),
        ("target of its row", 0.0, 1.0),
    ]);
    // A span takes another's place, whose tokens then are nobody's, or comes after all of them.
    let spans = grown(2000, &hostile_layouts(40), |reach, layout| {
        let LayoutCase { vocab, targets, ignore: _, spans } = layout;
        let inside = |row: usize| spans.iter().any(|span| (span.0..span.1).contains(&row));
        let token = |row: usize| (targets[row] as usize) < *vocab;
        if (0..targets.len()).any(|row| token(row) && !inside(row)) {
            reach.kind("a token of nobody");
        }
        for (target, kind) in [(u32::MAX, "a target of all ones"), (1 << 31, "a target of 2³¹")] {
            if targets.contains(&target) {
                reach.kind(kind);
            }
        }
        for &(start, end) in spans {
            for (edge, kind) in [
                (usize::MAX, "the largest"),
                (usize::MAX - 1, "the largest but one"),
                (1 << 31, "2³¹"),
            ] {
                if start == edge || end == edge {
                    reach.kind(kind);
                }
            }
        }
    });
    let wrong = ["a target of all ones", "a target of 2³¹"];
    let edges = ["the largest", "the largest but one", "2³¹"];
    spans.counts(20, &[&edges[..], &["a token of nobody"], &wrong].concat());
    assert!(spans.kinds["a token of nobody"] > 500, "{:?}", spans.kinds);
    // About half of the hostile ones are not well-formed.
    for hostile in [
        grown(2000, &hostile_layouts(40), |reach, layout| {
            reach.kind(if layout.is_well_formed() { "good" } else { "bad" });
        }),
        parsed::<LayoutCase>(6000, |reach, layout| {
            reach.kind(if layout.is_well_formed() { "good" } else { "bad" });
            if layout.targets.contains(&(u32::MAX - 7)) {
                reach.kind("good");
            }
        }),
    ] {
        hostile.counts(hostile.cases / 4, &["good", "bad"]);
    }
    let spoilt = parsed::<LayoutCase>(12_000, |reach, layout| {
        reach.see("columns", layout.vocab as f64);
        reach.see("sequences", layout.spans.len() as f64);
        let rows = layout.targets.len();
        let near = |&&(start, end): &&(usize, usize)| start < 32 && end < 32;
        for &(start, end) in layout.spans.iter().filter(near) {
            reach.see("start", start as f64);
            reach.see("end", end as f64);
        }
        let wild = |&(start, end): &(usize, usize)| start > 1 << 40 || end > 1 << 40;
        for (is, kind) in [
            (layout.targets.contains(&(u32::MAX - 7)), "a target of no vocabulary"),
            (layout.spans.iter().any(wild), "a span anywhere"),
            (layout.spans.iter().any(|(start, end)| start == end), "an empty span"),
            (layout.spans.iter().any(|(_, end)| *end > rows), "a span past the rows"),
        ] {
            if is {
                reach.kind(kind);
            }
        }
    });
    let kinds =
        ["a target of no vocabulary", "a span anywhere", "an empty span", "a span past the rows"];
    spoilt.counts(50, &kinds);
    spoilt.spans(&[
        ("columns", 1.0, 300.0),
        ("sequences", 0.0, 9.0),
        ("start", 0.0, 31.0),
        ("end", 0.0, 31.0),
    ]);
}

fn see_batch(reach: &mut Reach, case: &BatchCase) {
    let BatchCase {
        logits: _,
        stride,
        transform: _,
        layout,
        token_weights,
        pairs,
        reference,
        weights,
        offsets,
        dpo: _,
        divisor,
    } = case;
    reach.see("columns", layout.vocab as f64);
    reach.see("padding", (stride - layout.vocab) as f64);
    reach.see("sequences", layout.spans.len() as f64);
    reach.see("pairs", pairs.len() as f64);
    reach.see("divisor", *divisor);
    for &x in reference {
        reach.see("log π_ref", x);
    }
    for (name, list) in [("token weight", token_weights), ("weight", weights), ("offset", offsets)]
    {
        list.iter().flatten().for_each(|&x| reach.see(name, x.into()));
    }
    for &(chosen, rejected) in pairs {
        let n = layout.spans.len();
        reach.see("step from chosen to rejected", ((rejected + n - chosen) % n) as f64);
        reach.see("chosen", chosen as f64);
    }
    for &(start, end) in &layout.spans {
        reach.see("tokens", (end - start) as f64);
    }
}

#[test]
fn batches_reach_their_ends() {
    let shape = |columns: f64, tokens: f64| {
        [
            ("columns", 1.0, columns),
            ("padding", 0.0, 3.0),
            ("sequences", 2.0, 4.0),
            ("pairs", 1.0, 3.0),
            ("tokens", 1.0, tokens),
            ("chosen", 0.0, 3.0),
            ("step from chosen to rejected", 1.0, 3.0),
        ]
    };
    for (hardness, tokens, least) in
        [(Hardness::Moderate, 3.0, -10.0), (Hardness::Adversarial, 5.0, -200.0)]
    {
        let reach = grown(600, &batches(70, hardness), see_batch);
        let figures = [
            ("divisor", 1.0, 8.0),
            ("log π_ref", least, 0.0),
            ("token weight", 0.0, 1.0),
            ("weight", 0.0, 2.0),
            ("offset", -0.5, 0.5),
        ];
        reach.spans(&[&shape(70.0, tokens)[..], &figures].concat());
    }
    let reach = parsed::<BatchCase>(8000, see_batch);
    let figures = [
        ("divisor", 0.125, 32.0),
        ("log π_ref", -256.0, 0.0),
        ("token weight", -4.0, 4.0),
        ("weight", 0.0, 4.0),
        ("offset", -4.0, 4.0),
    ];
    reach.spans(&[&shape(200.0, 6.0)[..], &figures].concat());
}
