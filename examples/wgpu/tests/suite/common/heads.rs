//! Heads with their states and targets: the library's figures for them, and f64.

use dpo_kernel::gradient::GradBatch;
use dpo_kernel::head::{
    HeadRow, HeadScratch, Hidden, HiddenMut, Linear, head_forward, hidden_grads_in_place,
};
use dpo_kernel::row::RowNorm;
use dpo_kernel::{IGNORE_INDEX, Layout, Span, TokenOut, verify};
use dpo_kernel_wgpu::{Element, Error, Gpu, HeadOperands, Kernels, Matrix, Targets, Transform};

use super::cases::TRANSFORMS;
use super::oracle::UNIT;
use super::{DIRTY, Random, portable};

/// A head, and states of which those of rows that are not scored, and padding, are NaN.
pub struct Case<E> {
    pub hidden: Vec<E>,
    pub weight: Vec<E>,
    pub bias: Option<Vec<f32>>,
    pub rows: usize,
    pub size: usize,
    pub stride: usize,
    pub vocab: usize,
    pub targets: Vec<u32>,
    pub coefficients: Vec<f64>,
    pub transform: (f32, Option<f32>, f32),
}

/// Log-probs and hidden gradients.
pub type Found = (Vec<f32>, Vec<f32>);

impl<E: Element> Case<E> {
    pub fn random(rng: &mut Random, (rows, size, vocab): (usize, usize, usize)) -> Self {
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

    pub fn transform(&self) -> Transform {
        let (scale, softcap, temperature) = self.transform;
        Transform::new(scale, softcap, temperature).expect("a transform")
    }

    /// Calls with the operands on the device.
    pub fn with_head<T>(
        &self,
        gpu: &Gpu,
        call: impl FnOnce(&HeadOperands<'_, E>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let hidden = Matrix::new(gpu, &self.hidden, self.rows, self.size, self.stride)?;
        let weight = Matrix::new(gpu, &self.weight, self.vocab, self.size, self.size)?;
        let bias = self.bias.as_ref();
        let bias =
            bias.map(|bias| Matrix::new(gpu, bias, 1, self.vocab, self.vocab)).transpose()?;
        call(&HeadOperands { hidden: &hidden, weight: &weight, bias: bias.as_ref() })
    }

    pub fn on_device(&self, kernels: &Kernels<'_, E>) -> Result<Found, Error> {
        let gpu = kernels.gpu();
        self.with_head(gpu, |head| {
            let targets = Targets::new(&self.targets);
            let scored = kernels.head_log_probs(head, &targets, self.transform())?;
            let mut log_probs = vec![DIRTY; self.rows];
            scored.log_probs(gpu, &mut log_probs)?;
            let grads = kernels.hidden_grads(head, &scored, &self.coefficients)?;
            let mut found = vec![DIRTY; self.rows * self.size];
            grads.read(gpu, &mut found)?;
            Ok((log_probs, found))
        })
    }

    /// By the library. A row of NaN has gradients of NaN.
    pub fn on_cpu(&self) -> Found {
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
    pub fn logits(&self, row: usize) -> Vec<f64> {
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
    pub fn judge(&self, (log_probs, grads): &Found) -> Result<f64, String> {
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
