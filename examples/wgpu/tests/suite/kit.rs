//! The conformance kit of the library: every figure within the bound that the shaders' precision
//! gives, every relation to the bit.

use std::fmt::Debug;

use crate::common::device;
use dpo_kernel::verify;
use dpo_kernel::verify::kit::{
    Additions, Backend, Difference, Format, Head, Mistake, Output, Plan, Precision, RowOut, Rows,
    Target, Ulps, run,
};
use dpo_kernel_wgpu::{Element, Error, HeadOperands, Kernels, Matrix, Scored, Targets, Transform};
use half::{bf16, f16};

/// The shaders.
struct Shaders<'k, 'g, E> {
    kernels: &'k Kernels<'g, E>,
    name: String,
}

const OFFERS: &[Output] = &[
    Output::LogProb,
    Output::LogZ,
    Output::LogitGrads,
    Output::HeadLogProb,
    Output::HeadLogZ,
    Output::HiddenGrads,
];

/// What `functions` measures, and the order of additions in `fold.wgsl`: a term goes through three
/// additions of its quad, then eight of its lane and one of what was lost; blocks and lanes are added
/// in f64, and so is the logarithm.
const PRECISION: Precision = Precision {
    // 0.71 of 2^-24 beside f64, and as many roundings as the powers of the gradient's polynomial.
    exp: Ulps::new(0.4),
    // 2.5 of 2^-24.
    tanh: Ulps::new(1.25),
    log: Ulps::new(1e-8),
    division: Ulps::new(0.5),
    additions: Additions::Chain(12),
    // Chains of 256, which are added one after another.
    product_additions: Additions::Chain(256 + 64),
    difference: Difference::Shifted,
    target: Target::Apart,
    ..Precision::new(Format::F32, Format::F32)
};

fn transform(of: verify::Transform) -> Result<Transform, Error> {
    Transform::new(of.scale as f32, of.softcap.map(|c| c as f32), of.temperature as f32)
}

fn wide(coefficients: &[f32]) -> Vec<f64> {
    coefficients.iter().map(|&c| c.into()).collect()
}

impl<E: Element> Shaders<'_, '_, E> {
    fn logits(&self, rows: &Rows<'_, E>) -> Result<(Matrix<E>, Scored), Error> {
        let gpu = self.kernels.gpu();
        let logits = Matrix::new(gpu, rows.logits, rows.rows, rows.vocab, rows.stride)?;
        let targets = Targets { ids: rows.targets, ignore_index: rows.ignore };
        let scored = self.kernels.token_log_probs(&logits, &targets, transform(rows.transform)?)?;
        Ok((logits, scored))
    }

    fn figures(
        &self,
        scored: &Scored,
        targets: (&[u32], u32),
        out: &mut RowOut<'_>,
    ) -> Result<(), Error> {
        let gpu = self.kernels.gpu();
        let mut figures = vec![0.0; scored.rows()];
        scored.log_probs(gpu, &mut figures)?;
        let of = |row: usize| targets.0[row] != targets.1;
        for (row, &x) in figures.iter().enumerate().filter(|&(row, _)| of(row)) {
            out.log_probs[row] = x.into();
        }
        scored.log_z(gpu, &mut figures)?;
        for (row, &x) in figures.iter().enumerate().filter(|&(row, _)| of(row)) {
            out.log_z[row] = x.into();
        }
        Ok(())
    }

    /// Calls with the operands of a head on the device.
    fn with_head<T>(
        &self,
        head: &Head<'_, E>,
        call: impl FnOnce(&HeadOperands<'_, E>, &Scored) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let gpu = self.kernels.gpu();
        let size = head.hidden_size;
        let hidden = Matrix::new(gpu, head.hidden, head.rows, size, size)?;
        let weight = Matrix::new(gpu, head.weight, head.vocab, size, size)?;
        let bias: Option<Vec<f32>> =
            head.bias.map(|bias| bias.iter().map(|x| x.to_f32()).collect());
        let bias =
            bias.map(|bias| Matrix::new(gpu, &bias, 1, head.vocab, head.vocab)).transpose()?;
        let operands = HeadOperands { hidden: &hidden, weight: &weight, bias: bias.as_ref() };
        let targets = Targets { ids: head.targets, ignore_index: head.ignore };
        let scored =
            self.kernels.head_log_probs(&operands, &targets, transform(head.transform)?)?;
        call(&operands, &scored)
    }
}

impl<E: Element> Backend for Shaders<'_, '_, E> {
    type Element = E;
    type Error = Error;

    fn name(&self) -> &str {
        &self.name
    }

    fn precision(&self) -> Precision {
        PRECISION
    }

    fn offers(&self) -> &[Output] {
        OFFERS
    }

    fn token_log_probs(&mut self, rows: &Rows<'_, E>, out: &mut RowOut<'_>) -> Result<(), Error> {
        let (_, scored) = self.logits(rows)?;
        self.figures(&scored, (rows.targets, rows.ignore), out)
    }

    fn logit_grads(
        &mut self,
        rows: &Rows<'_, E>,
        coefficients: &[f32],
        grads: &mut [E],
    ) -> Result<(), Error> {
        let gpu = self.kernels.gpu();
        let (logits, scored) = self.logits(rows)?;
        let mut to = Matrix::new(gpu, grads, rows.rows, rows.vocab, rows.stride)?;
        self.kernels.logit_grads(&logits, &scored, &wide(coefficients), &mut to)?;
        to.read(gpu, grads)
    }

    fn head(&mut self, head: &Head<'_, E>, out: &mut RowOut<'_>) -> Result<(), Error> {
        self.with_head(head, |_, scored| self.figures(scored, (head.targets, head.ignore), out))
    }

    fn hidden_grads(
        &mut self,
        head: &Head<'_, E>,
        coefficients: &[f32],
        d_hidden: &mut [f64],
    ) -> Result<(), Error> {
        let (size, gpu) = (head.hidden_size, self.kernels.gpu());
        self.with_head(head, |operands, scored| {
            let grads = self.kernels.hidden_grads(operands, scored, &wide(coefficients))?;
            let mut found = vec![0.0_f32; head.rows * size];
            grads.read(gpu, &mut found)?;
            let rows = d_hidden.chunks_mut(size).zip(found.chunks(size)).zip(head.targets);
            for ((to, found), _) in rows.filter(|(_, target)| **target != head.ignore) {
                for (to, &x) in to.iter_mut().zip(found) {
                    *to = x.into();
                }
            }
            Ok(())
        })
    }
}

fn check<E: Element + Debug>() {
    let Some(gpu) = device() else { return };
    let kernels = Kernels::<E>::new(&gpu).expect("shaders");
    let report = run(&mut Shaders { kernels: &kernels, name: gpu.name() }, Plan::new(1));
    assert!(report.is_clean(), "{report}");
    assert!(report.figures() > 1000, "{report}");
}

#[test]
fn f32_is_clean() {
    check::<f32>();
}

#[test]
fn f16_is_clean() {
    check::<f16>();
}

#[test]
fn bf16_is_clean() {
    check::<bf16>();
}

#[test]
fn a_planted_fault_is_named() {
    let Some(gpu) = device() else { return };
    let kernels = Kernels::<f32>::new(&gpu)
        .and_then(|kernels| kernels.with_edit("row * params.stride", "row * params.vocab"))
        .expect("shaders");
    let report = run(&mut Shaders { kernels: &kernels, name: gpu.name() }, Plan::new(1));
    assert!(!report.is_accurate(), "{report}");
    let (cause, _) = report.causes.first().expect("a cause");
    assert_eq!(*cause, Mistake::StrideIsVocab, "{report}");
}
