//! The head without logits: the library's bits, f64, and faults planted in its shaders.

use crate::common::cases::TRANSFORMS;
use crate::common::oracle::UNIT;
use crate::common::{DIRTY, Random, device, first_difference, portable};
use dpo_kernel::gradient::GradBatch;
use dpo_kernel::head::{
    HeadRow, HeadScratch, Hidden, HiddenMut, Linear, head_forward, hidden_grads_in_place,
};
use dpo_kernel::row::RowNorm;
use dpo_kernel::{IGNORE_INDEX, Layout, Span, TokenOut, verify};
use dpo_kernel_wgpu::{Element, HeadOperands, Kernels, Matrix, Targets, Transform};
use half::{bf16, f16};

/// Hidden gradients below it may have other bits.
const LEAST: f32 = 1e-34;

/// A head, and states of which those of rows that are not scored, and padding, are NaN.
struct Case<E> {
    hidden: Vec<E>,
    weight: Vec<E>,
    bias: Option<Vec<f32>>,
    rows: usize,
    size: usize,
    stride: usize,
    vocab: usize,
    targets: Vec<u32>,
    coefficients: Vec<f64>,
    transform: (f32, Option<f32>, f32),
}

/// Log-probs and hidden gradients.
type Found = (Vec<f32>, Vec<f32>);

impl<E: Element> Case<E> {
    fn random(rng: &mut Random, (rows, size, vocab): (usize, usize, usize)) -> Self {
        let deviation = [1.0, 4.0, 20.0][rng.below(3)] / (size as f64).sqrt();
        let stride = size + rng.below(3);
        let targets: Vec<u32> = (0..rows)
            .map(|row| if row % 5 == 3 { IGNORE_INDEX } else { rng.below(vocab) as u32 })
            .collect();
        let mut hidden = vec![E::from_f32(f32::NAN); rows * stride];
        for (row, states) in hidden.chunks_mut(stride).enumerate() {
            if targets[row] != IGNORE_INDEX {
                states[..size].fill_with(|| E::from_f32(rng.normal(1.0) as f32));
            }
        }
        let weight = (0..vocab * size).map(|_| E::from_f32(rng.normal(deviation) as f32)).collect();
        let bias =
            (rng.below(2) == 0).then(|| (0..vocab).map(|_| rng.normal(1.0) as f32).collect());
        let coefficients =
            (0..rows).map(|row| if row == 4 { 0.0 } else { rng.normal(0.1) }).collect();
        let transform = TRANSFORMS[rng.below(TRANSFORMS.len())];
        Self { hidden, weight, bias, rows, size, stride, vocab, targets, coefficients, transform }
    }

    fn transform(&self) -> Transform {
        let (scale, softcap, temperature) = self.transform;
        Transform::new(scale, softcap, temperature).expect("a transform")
    }

    fn on_device(&self, kernels: &Kernels<'_, E>) -> Found {
        let gpu = kernels.gpu();
        let hidden =
            Matrix::new(gpu, &self.hidden, self.rows, self.size, self.stride).expect("states");
        let weight =
            Matrix::new(gpu, &self.weight, self.vocab, self.size, self.size).expect("head");
        let bias = self
            .bias
            .as_ref()
            .map(|bias| Matrix::new(gpu, bias, 1, self.vocab, self.vocab).expect("bias"));
        let head = HeadOperands { hidden: &hidden, weight: &weight, bias: bias.as_ref() };
        let scored = kernels
            .head_log_probs(&head, &Targets::new(&self.targets), self.transform())
            .expect("a forward");
        let mut log_probs = vec![DIRTY; self.rows];
        scored.log_probs(gpu, &mut log_probs).expect("log-probs");
        let grads = kernels.hidden_grads(&head, &scored, &self.coefficients).expect("a backward");
        let mut found = vec![DIRTY; self.rows * self.size];
        grads.read(gpu, &mut found).expect("gradients");
        (log_probs, found)
    }

    /// By the library. A row of NaN has gradients of NaN.
    fn on_cpu(&self) -> Found {
        let spans = [Span::new(0, self.rows)];
        let layout = Layout::new(&self.targets, &spans, self.vocab).expect("a layout");
        let mut head = Linear::new(&self.weight, self.vocab, self.size)
            .expect("a head")
            .with_transform(self.transform().of_library());
        if let Some(bias) = &self.bias {
            head = head.with_bias(bias).expect("a bias");
        }
        let mut rows = vec![HeadRow::NEW; self.rows];
        let mut numbers = vec![0.0; HeadScratch::numbers::<E, _>(&head, self.rows)];
        let mut log_probs = vec![DIRTY; self.rows];
        let mut norms = vec![RowNorm::default(); self.rows];
        let mut sums = vec![0.0; self.rows * self.size];
        let states =
            Hidden::with_stride(&self.hidden, self.rows, self.size, self.stride).expect("states");
        let out = TokenOut::new(&mut log_probs).with_norms(&mut norms);
        let to = HiddenMut::new(&mut sums, self.rows, self.size).expect("sums");
        let scratch = HeadScratch::new(&mut rows, &mut numbers);
        // An error names rows that are not finite, after the others are done.
        let _ = head_forward(portable(), states, &head, &layout, out, to, scratch);
        let broken: Vec<bool> = log_probs.iter().map(|x| x.is_nan()).collect();
        let mut coefficients = self.coefficients.clone();
        for (c, &is_broken) in coefficients.iter_mut().zip(&broken) {
            *c = if is_broken { 0.0 } else { *c };
        }
        let batch = GradBatch::new(&layout, &norms, &coefficients);
        let to = HiddenMut::new(&mut sums, self.rows, self.size).expect("sums");
        let scratch = HeadScratch::new(&mut rows, &mut numbers);
        hidden_grads_in_place(portable(), states, &head, &batch, to, scratch).expect("a backward");
        for (row, is_broken) in broken.into_iter().enumerate() {
            let to = &mut sums[row * self.size..][..self.size];
            if is_broken && self.coefficients[row].abs() > 0.0 {
                to.fill(f32::NAN);
            }
            if self.targets[row] == IGNORE_INDEX {
                to.fill(0.0);
            }
        }
        (log_probs, sums)
    }

    /// Logits as they are promised to be: f32, in chains of 256, the bias last.
    fn logits(&self, row: usize) -> Vec<f64> {
        let states = &self.hidden[row * self.stride..][..self.size];
        self.weight
            .chunks(self.size)
            .enumerate()
            .map(|(column, weights)| {
                let mut logit = 0.0_f32;
                for (states, weights) in states.chunks(256).zip(weights.chunks(256)) {
                    let mut sum = 0.0_f32;
                    for (state, weight) in states.iter().zip(weights) {
                        sum += state.to_f32() * weight.to_f32();
                    }
                    logit += sum;
                }
                f64::from(self.bias.as_ref().map_or(logit, |bias| logit + bias[column]))
            })
            .collect()
    }

    /// Against f64; the worst hidden gradient in 2⁻²⁴ of its terms.
    fn judge(&self, (log_probs, grads): &Found) -> Result<f64, String> {
        let (scale, softcap, temperature) = self.transform;
        let transform = verify::Transform {
            scale: scale.into(),
            softcap: softcap.map(f64::from),
            temperature: temperature.into(),
        };
        let cap = softcap.map_or(0.0, |cap| f64::from(cap) / f64::from(temperature));
        let mut worst = 0.0_f64;
        for row in 0..self.rows {
            let found = &grads[row * self.size..][..self.size];
            let target = self.targets[row] as usize;
            if self.targets[row] == IGNORE_INDEX {
                let is_kept = log_probs[row].to_bits() == DIRTY.to_bits();
                if !is_kept || found.iter().any(|x| x.to_bits() != 0) {
                    return Err(format!("row {row}, which is not scored, is written"));
                }
                continue;
            }
            let x = self.logits(row);
            let mut y = vec![0.0; x.len()];
            verify::transform_row(&x, &transform, &mut y);
            let expected = verify::log_prob(&y, target);
            // q = (1 - p) / p has the relative error of its least terms.
            let share = -expected.exp_m1();
            let relative = (0.67 * (4.0 + share.ln().abs()) * UNIT).max(2.2e-7 + cap * 5.0 * UNIT);
            let allowed = expected.abs() * UNIT + if share > 0.0 { relative * share } else { 0.0 };
            if (f64::from(log_probs[row]) - expected).abs() > allowed {
                let found = log_probs[row];
                return Err(format!("log p of row {row} is {found:e}, not {expected:e}"));
            }
            let mut dx = vec![0.0; x.len()];
            verify::logit_grads(&x, &transform, target, self.coefficients[row], &mut dx);
            for (h, &found) in found.iter().enumerate() {
                let terms = dx.iter().enumerate().map(|(column, dx)| {
                    dx * f64::from(self.weight[column * self.size + h].to_f32())
                });
                let (expected, size) =
                    terms.fold((0.0, 0.0), |(sum, size), term| (sum + term, size + term.abs()));
                let error = (f64::from(found) - expected).abs();
                let slack = 20.0 + 20.0 * cap;
                if error > slack * UNIT * size + 1e-37 {
                    return Err(format!(
                        "gradient {h} of row {row} is {found:e}, not {expected:e}"
                    ));
                }
                if softcap.is_none() && size > 1e-30 {
                    worst = worst.max(error / size / UNIT);
                }
            }
        }
        Ok(worst)
    }
}

const SHAPES: [(usize, usize, usize); 10] = [
    (1, 1, 1),
    (1, 3, 2),
    (2, 17, 3),
    (4, 16, 15),
    (5, 17, 257),
    (9, 64, 1000),
    (7, 257, 513),
    (3, 513, 2049),
    (6, 256, 256),
    (6, 96, 5000),
];

fn cases<E: Element>() -> Vec<Case<E>> {
    let mut rng = Random(31);
    let mut cases: Vec<Case<E>> = Vec::new();
    for shape in SHAPES {
        cases.extend((0..3).map(|_| Case::random(&mut rng, shape)));
    }
    // Masked columns, a whole block among them; logits that rise from block to block.
    for step in [0.0, 40.0, -40.0, 500.0] {
        let mut case = Case::<E>::random(&mut rng, (6, 24, 3000));
        let bias = (0..case.vocab).map(|column| {
            let is_masked = column < 1100 || column % 7 == 1;
            if is_masked { f32::NEG_INFINITY } else { (column / 512) as f32 * step }
        });
        case.bias = Some(bias.collect());
        case.transform = TRANSFORMS[0];
        cases.push(case);
    }
    cases
}

fn check<E: Element>() {
    let Some(gpu) = device() else { return };
    let kernels = Kernels::<E>::new(&gpu).expect("shaders");
    let mut worst = 0.0_f64;
    for case in cases::<E>() {
        let (found, expected) = (case.on_device(&kernels), case.on_cpu());
        let what =
            format!("{} {:?} {:?}", E::NAME, (case.rows, case.size, case.vocab), case.transform);
        assert_eq!(first_difference(&found.0, &expected.0), None, "{what}: log p");
        for (at, (found, expected)) in found.1.iter().zip(&expected.1).enumerate() {
            let is_same = found.to_bits() == expected.to_bits()
                || (found.is_nan() && expected.is_nan())
                // Terms below 2^-124 of a row's base are 0, and its base differs by a power of two.
                || found.abs().max(expected.abs()) < LEAST;
            assert!(is_same, "{what}: gradient {at} is {found:e}, not {expected:e}");
        }
        worst = worst.max(case.judge(&found).unwrap_or_else(|error| panic!("{what}: {error}")));
    }
    println!("hidden gradients: {worst:.2} of 20, in 2^-24 of their terms");
    assert!(worst > 1.0, "nothing was measured");
}

#[test]
fn heads_of_f32() {
    check::<f32>();
}

#[test]
fn heads_of_f16() {
    check::<f16>();
}

#[test]
fn heads_of_bf16() {
    check::<bf16>();
}

#[test]
fn a_row_of_nan_spoils_no_other() {
    let Some(gpu) = device() else { return };
    let kernels = Kernels::<f32>::new(&gpu).expect("shaders");
    let mut case = Case::<f32>::random(&mut Random(37), (8, 20, 700));
    let clean = case.on_device(&kernels);
    for (row, x) in [(1, f32::NAN), (6, f32::INFINITY)] {
        case.hidden[row * case.stride + 5] = x;
    }
    let (log_probs, grads) = case.on_device(&kernels);
    for (row, log_prob) in log_probs.into_iter().enumerate() {
        let part = row * case.size..(row + 1) * case.size;
        if row == 1 || row == 6 {
            assert!(log_prob.is_nan(), "log p of row {row}");
            assert!(grads[part].iter().all(|x| x.is_nan()), "gradients of row {row}");
        } else {
            assert_eq!(log_prob.to_bits(), clean.0[row].to_bits(), "log p of row {row}");
            assert_eq!(first_difference(&grads[part.clone()], &clean.1[part]), None, "row {row}");
        }
    }
}

#[test]
fn planted_faults_are_found() {
    let Some(gpu) = device() else { return };
    let cases = cases::<f32>();
    for (fault, old, new) in [
        ("no bias", "return own(logit + bitcast<f32>(bits));", "return logit;"),
        ("the target is in the sum, too", "if column != numbers.goal {", "if true {"),
        (
            "the last column is left out",
            "let len = min(CHAIN, params.vocab - first);",
            "let len = min(CHAIN, params.vocab - first) - 1u;",
        ),
        (
            "a chain is forgotten",
            "logits[part] = own_4(logits[part] + sum);",
            "logits[part] = sum;",
        ),
        ("a tile has one row four times", "select(some, k, is_scored[k])", "some"),
        ("1 / Z twice", "factor = params.slope_double;", ""),
        ("a block is not summed again", "if any(base != ", "if false && any(base != "),
        ("blocks beside it are added twice", "is_done = is_done || !is_again[group];", ""),
    ] {
        let kernels = Kernels::<f32>::new(&gpu).and_then(|kernels| kernels.with_edit(old, new));
        let kernels = kernels.expect(fault);
        let seen = cases.iter().find_map(|case| case.judge(&case.on_device(&kernels)).err());
        println!("{fault}: {}", seen.unwrap_or_else(|| panic!("{fault} is not found")));
    }
}
