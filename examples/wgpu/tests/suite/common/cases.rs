//! Rows of every kind.

use dpo_kernel_wgpu::Element;

use super::{Batch, Random};

/// Sizes around the lanes, quads and blocks of the fold, and two vocabularies.
pub const SIZES: [usize; 16] =
    [1, 2, 3, 15, 16, 17, 63, 64, 65, 255, 256, 257, 511, 512, 513, 1000];
pub const VOCABULARIES: [usize; 2] = [32_000, 50_257];

/// (scale, softcap, temperature)
pub const TRANSFORMS: [(f32, Option<f32>, f32); 6] = [
    (1.0, None, 1.0),
    (0.0625, None, 1.0),
    (1.0, None, 0.7),
    (3.3, None, 0.9),
    (1.0, Some(30.0), 1.0),
    (3.0, Some(5.5), 0.25),
];

/// A batch of rows whose padding, and rows that are not scored, are NaN.
pub fn random<E: Element>(rng: &mut Random, vocab: usize, rows: usize) -> Batch<E> {
    let stride = vocab + rng.below(4);
    let mut batch = Batch {
        logits: vec![E::from_f32(f32::NAN); rows * stride],
        rows,
        vocab,
        stride,
        targets: Vec::new(),
        ignore_index: if rng.below(2) == 0 { u32::MAX } else { 0 },
        coefficients: (0..rows).map(|_| rng.normal(0.1)).collect(),
        scale: 1.0,
        softcap: None,
        temperature: 1.0,
    };
    for row in 0..rows {
        let target = rng.below(vocab) as u32;
        let target = if rng.below(6) == 0 { batch.ignore_index } else { target };
        batch.targets.push(target);
        if target == batch.ignore_index {
            continue;
        }
        let deviation = [0.5, 1.0, 3.0, 8.0, 40.0][rng.below(5)];
        let shift = [0.0, -1.0, 20.0, -1000.0, 1000.0, 1500.0][rng.below(6)];
        for x in &mut batch.logits[row * stride..][..vocab] {
            *x = E::from_f32((shift + rng.normal(deviation)) as f32);
        }
    }
    batch
}

/// One row, with a target and a name.
type Named = (&'static str, Vec<f32>, u32);

/// Rows that go wrong easily.
pub fn special() -> Vec<Named> {
    const MASKED: f32 = f32::NEG_INFINITY;
    let mut rng = Random(5);
    let mut normal = |len: usize, deviation: f64| -> Vec<f32> {
        (0..len).map(|_| rng.normal(deviation) as f32).collect()
    };
    let with = |mut row: Vec<f32>, at: usize, x: f32| {
        row[at] = x;
        row
    };
    let slope = |len: usize, by: f32| (0..len).map(|i| (i / 512) as f32 * by).collect::<Vec<_>>();
    let mut rows = vec![
        ("one column", vec![3.5], 0),
        ("one masked column", vec![MASKED], 0),
        ("equal", vec![1.25; 700], 3),
        ("equal zeros of both signs", [0.0, -0.0].repeat(300), 1),
        ("all masked", vec![MASKED; 1200], 7),
        ("target alone", with(vec![MASKED; 1200], 700, -3.0), 700),
        ("another alone", with(vec![MASKED; 1200], 700, -3.0), 11),
        ("NaN", with(normal(1200, 2.0), 1100, f32::NAN), 7),
        ("negative NaN first", with(normal(300, 2.0), 0, -f32::NAN), 7),
        ("NaN target", with(normal(300, 2.0), 7, f32::NAN), 7),
        ("infinity", with(normal(1200, 2.0), 3, f32::INFINITY), 7),
        ("infinite target", with(normal(1200, 2.0), 1003, f32::INFINITY), 1003),
        ("masked target", with(normal(1200, 2.0), 1003, MASKED), 1003),
        ("masked blocks first", [vec![MASKED; 1100], normal(500, 2.0)].concat(), 1200),
        ("masked blocks last", [normal(500, 2.0), vec![MASKED; 1100]].concat(), 1200),
        ("masked every other", normal(900, 2.0).into_iter().flat_map(|x| [x, MASKED]).collect(), 2),
        ("rising blocks", slope(9000, 30.0), 8800),
        ("falling blocks", slope(9000, -30.0), 3),
        ("rising far", slope(6000, 400.0), 5),
        ("rising beyond the exponents", slope(9000, 700.0), 8999),
        ("falling beyond the exponents", slope(9000, -700.0), 3),
        ("target far above", with(normal(700, 1.0), 5, 720.0), 5),
        ("target beyond all", with(normal(700, 1.0), 5, 30_000.0), 5),
        ("target far below", with(normal(700, 1.0), 5, -650.0), 5),
        ("target beyond all below", with(normal(700, 1.0), 5, -30_000.0), 5),
        ("low logits", normal(700, 1.0).into_iter().map(|x| x - 2000.0).collect(), 5),
        ("high logits", normal(700, 1.0).into_iter().map(|x| x + 2000.0).collect(), 5),
        ("subnormal logits", (0..700).map(|i| f32::from_bits(i * 7919)).collect(), 5),
        ("tiny logits", (0..700).map(|i| 5.96e-8 * (i % 9) as f32).collect(), 5),
        ("largest", with(normal(700, 1.0), 5, f32::MAX), 5),
        ("largest and lowest", [f32::MAX, f32::MIN].repeat(300), 4),
        ("lowest", vec![f32::MIN; 600], 4),
        ("3e38 apart", [3e38, -3e38, 0.0].repeat(300), 1),
        ("65504 apart", [65504.0, -65504.0, 0.0].repeat(300), 0),
    ];
    // One value above all others of its block, at a place that is no vector's or quad's first.
    for away in [5.0, 20.0, 200.0, 30_000.0, 3e38] {
        rows.push(("one largest", with(normal(1200, 1.0), 600, away), 9));
    }
    // Blocks whose largest terms are at the ends of what is relative to one power of two, 2^0, and to
    // any: 2^55.5, 2^-40.5, 2^1879.5, 2^-1864.5.
    for (name, end) in [
        ("at the upper end", 38.469_67),
        ("at the lower end", -28.072_46),
        ("at the upper end of all", 1_302.770_1),
        ("at the lower end of all", -1_292.372_9),
    ] {
        let step = (end as f32).abs() * f32::EPSILON;
        let value = |i: usize| end as f32 + (i / 512) as f32 * step - 9.0 * step - (i % 512) as f32;
        rows.push((name, (0..9300).map(value).collect(), 600));
    }
    let is_part = |column: usize| column % 64 < 16;
    rows.extend([
        (
            "masked part",
            (0..1300).map(|i| if is_part(i) { MASKED } else { (i % 11) as f32 }).collect(),
            20,
        ),
        (
            "NaN outside of a masked part",
            (0..1300).map(|i| if is_part(i) { MASKED } else { f32::NAN }).collect(),
            20,
        ),
        ("low part", (0..1300).map(|i| if is_part(i) { -4000.0 } else { 0.0 }).collect(), 20),
        ("slowly rising blocks", slope(9000, 7.0), 8),
        ("slowly falling blocks", slope(9000, -7.0), 8800),
        ("blocks up and down", (0..9000).map(|i| (i / 512 * 7 % 18 * 5) as f32).collect(), 70),
        ("values near 5000", normal(5000, 3.0).into_iter().map(|x| x + 5000.0).collect(), 5),
        ("values near -5000", normal(5000, 3.0).into_iter().map(|x| x - 5000.0).collect(), 5),
        ("values near 1e6", normal(5000, 3.0).into_iter().map(|x| x + 1e6).collect(), 5),
        ("values near -3e7", normal(5000, 30.0).into_iter().map(|x| x - 3e7).collect(), 5),
        ("equal and far", vec![3e12; 5000], 5),
        ("equal and far below", vec![-3e12; 5000], 5),
        (
            "values of both signs by themselves",
            slope(9000, 1e5).iter().map(|x| x - 8e5).collect(),
            5,
        ),
        ("far below, then near", [vec![-5000.0; 4096], normal(4096, 2.0)].concat(), 5000),
        ("far beside near", [vec![-6e8; 600], vec![1.0; 600]].concat(), 900),
        ("two blocks far apart", [vec![3e12; 600], vec![2.999_999e12; 600]].concat(), 5),
    ]);
    for away in [1.0, 10.0, 17.0, 20.0, 40.0, 87.0, 100.0] {
        rows.push(("confident", with(normal(999, 0.3), 700, away), 700));
        rows.push(("doubtful", with(normal(999, 0.3), 700, -away), 700));
    }
    rows
}

/// A row as a batch of three: before and after it rows that are not scored, and padding.
pub fn framed<E: Element>((_, row, target): &Named) -> Batch<E> {
    let (vocab, stride) = (row.len(), row.len() + 3);
    let mut logits = vec![E::from_f32(f32::NAN); 3 * stride];
    for (to, &from) in logits[stride..].iter_mut().zip(row) {
        // Of 16 bits, what is too large is the largest.
        let x = E::from_f32(from);
        let is_lost = from.is_finite() && !x.to_f32().is_finite();
        *to = if is_lost { E::from_f32(65504_f32.copysign(from)) } else { x };
    }
    Batch {
        logits,
        rows: 3,
        vocab,
        stride,
        targets: vec![u32::MAX, *target, u32::MAX],
        ignore_index: u32::MAX,
        coefficients: vec![f64::NAN, -0.3, f64::NAN],
        scale: 1.0,
        softcap: None,
        temperature: 1.0,
    }
}
