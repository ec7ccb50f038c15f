//! What the tests share: the device, random numbers, and what the library gives for the same rows.

pub mod cases;
pub mod heads;
pub mod oracle;

use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use dpo_kernel::gradient::{GradBatch, logit_grads};
use dpo_kernel::row::RowNorm;
use dpo_kernel::{
    Arithmetic, Dispatch, Error as KernelError, Layout, Level, Logits, LogitsMut, Span, TokenOut,
    token_log_probs,
};
use dpo_kernel_wgpu::{DeviceOptions, Element, Error, Gpu, Kernels, Matrix, Targets, Transform};

/// Says that this machine is known to have no adapter.
pub const NO_ADAPTER: &str = "DPO_KERNEL_WGPU_NO_ADAPTER";

/// The device, for one test at a time. Without an adapter tests fail, unless `NO_ADAPTER` is set.
pub fn device() -> Option<MutexGuard<'static, Gpu>> {
    static GPU: OnceLock<Option<Mutex<Gpu>>> = OnceLock::new();
    let gpu = GPU.get_or_init(|| open(&DeviceOptions::default()).map(Mutex::new));
    gpu.as_ref().map(|gpu| gpu.lock().unwrap_or_else(PoisonError::into_inner))
}

pub fn open(options: &DeviceOptions) -> Option<Gpu> {
    match Gpu::new(options) {
        Ok(gpu) => Some(gpu),
        Err(error @ Error::NoAdapter { .. }) => {
            assert!(
                std::env::var_os(NO_ADAPTER).is_some(),
                "{error}. Install it (apt-get install mesa-vulkan-drivers), or set {NO_ADAPTER}=1 to say \
                 that this machine has none: nothing is tested then."
            );
            None
        }
        Err(error) => panic!("{error}"),
    }
}

/// A sequence of numbers that a seed makes.
pub struct Random(pub u64);

impl Random {
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let x = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    /// In [0, 1).
    pub fn uniform(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Normal, with this deviation.
    pub fn normal(&mut self, deviation: f64) -> f64 {
        let (u, v) = (1.0 - self.uniform(), self.uniform());
        deviation * (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
    }

    pub fn below(&mut self, n: usize) -> usize {
        (self.uniform() * n as f64) as usize
    }
}

/// Portable arithmetic, by any level: the bits are the same.
pub fn portable() -> Dispatch {
    Dispatch::new(Level::detect(), Arithmetic::Portable)
        .expect("every level has portable arithmetic")
}

/// Rows of logits with their targets and coefficients.
#[derive(Clone, Debug)]
pub struct Batch<E> {
    pub logits: Vec<E>,
    pub rows: usize,
    pub vocab: usize,
    pub stride: usize,
    pub targets: Vec<u32>,
    pub ignore_index: u32,
    pub coefficients: Vec<f64>,
    pub scale: f32,
    pub softcap: Option<f32>,
    pub temperature: f32,
}

/// What is found of a batch: NaN, or 77 in gradients, where nothing was written.
#[derive(Clone, Debug)]
pub struct Found<E> {
    pub log_probs: Vec<f32>,
    pub log_z: Vec<f32>,
    pub grads: Vec<E>,
}

impl<E: Element> Batch<E> {
    pub fn transform(&self) -> Transform {
        Transform::new(self.scale, self.softcap, self.temperature).expect("a transform")
    }

    pub fn targets(&self) -> Targets<'_> {
        Targets { ids: &self.targets, ignore_index: self.ignore_index }
    }

    /// On the device, gradients apart.
    pub fn on_device(&self, kernels: &Kernels<'_, E>) -> Result<Found<E>, Error> {
        let gpu = kernels.gpu();
        let logits = Matrix::new(gpu, &self.logits, self.rows, self.vocab, self.stride)?;
        let scored = kernels.token_log_probs(&logits, &self.targets(), self.transform())?;
        let (mut log_probs, mut log_z) = (vec![DIRTY; self.rows], vec![DIRTY; self.rows]);
        scored.log_probs(gpu, &mut log_probs)?;
        scored.log_z(gpu, &mut log_z)?;
        let dirty = vec![E::from_f32(DIRTY); self.logits.len()];
        let mut grads = Matrix::new(gpu, &dirty, self.rows, self.vocab, self.stride)?;
        kernels.logit_grads(&logits, &scored, &self.coefficients, &mut grads)?;
        let mut found = dirty;
        grads.read(gpu, &mut found)?;
        Ok(Found { log_probs, log_z, grads: found })
    }

    /// Gradients whose rows are `stride` apart: all of the buffer, dirty where nothing was written.
    pub fn grads_apart(&self, kernels: &Kernels<'_, E>, stride: usize) -> Result<Vec<E>, Error> {
        let gpu = kernels.gpu();
        let logits = Matrix::new(gpu, &self.logits, self.rows, self.vocab, self.stride)?;
        let scored = kernels.token_log_probs(&logits, &self.targets(), self.transform())?;
        let mut found = vec![E::from_f32(DIRTY); self.rows * stride];
        let mut grads = Matrix::new(gpu, &found, self.rows, self.vocab, stride)?;
        kernels.logit_grads(&logits, &scored, &self.coefficients, &mut grads)?;
        grads.read(gpu, &mut found)?;
        Ok(found)
    }

    /// On the device, in place: the buffer afterwards.
    pub fn in_place(&self, kernels: &Kernels<'_, E>) -> Result<Vec<E>, Error> {
        let gpu = kernels.gpu();
        let mut logits = Matrix::new(gpu, &self.logits, self.rows, self.vocab, self.stride)?;
        let scored = kernels.token_log_probs(&logits, &self.targets(), self.transform())?;
        kernels.logit_grads_in_place(&mut logits, &scored, &self.coefficients)?;
        let mut found = self.logits.clone();
        logits.read(gpu, &mut found)?;
        Ok(found)
    }

    /// By the library in portable arithmetic. Rows without a finite log Z have gradients of NaN.
    pub fn on_cpu(&self) -> Found<E> {
        let ids: Vec<u32> = self
            .targets
            .iter()
            .map(|&id| if id == self.ignore_index { dpo_kernel::IGNORE_INDEX } else { id })
            .collect();
        let spans = [Span::new(0, self.rows)];
        let layout = Layout::new(&ids, &spans, self.vocab).expect("a layout");
        let transform = self.transform().of_library();
        let logits = Logits::with_stride(&self.logits, self.rows, self.vocab, self.stride)
            .expect("logits")
            .with_transform(transform);
        let mut log_probs = vec![DIRTY; self.rows];
        let mut norms = vec![RowNorm::default(); self.rows];
        let out = TokenOut::new(&mut log_probs).with_norms(&mut norms);
        match token_log_probs(portable(), logits, &layout, out) {
            Ok(_) | Err(KernelError::NonFiniteRows { .. }) => {}
            Err(error) => panic!("{error}"),
        }
        let broken: Vec<bool> = (0..self.rows)
            .map(|row| ids[row] != dpo_kernel::IGNORE_INDEX && log_probs[row].is_nan())
            .collect();
        // The library refuses a backward of broken rows: they are left out, and written as NaN.
        let coefficients: Vec<f64> = self
            .coefficients
            .iter()
            .zip(&broken)
            .map(|(&c, &broken)| if broken { 0.0 } else { c })
            .collect();
        let mut grads = vec![E::from_f32(DIRTY); self.logits.len()];
        let out =
            LogitsMut::with_stride(&mut grads, self.rows, self.vocab, self.stride).expect("out");
        logit_grads(portable(), logits, &GradBatch::new(&layout, &norms, &coefficients), out)
            .expect("gradients");
        let mut log_z = vec![DIRTY; self.rows];
        for row in 0..self.rows {
            if ids[row] == dpo_kernel::IGNORE_INDEX {
                continue;
            }
            let columns = &self.logits[row * self.stride..][..self.vocab];
            let mut stats: dpo_kernel::row::RowStats =
                dpo_kernel::row::RowStats::new(transform, Some(ids[row]));
            stats.fold(portable(), columns, 0);
            log_z[row] = stats.log_z() as f32;
            if broken[row] && self.coefficients[row] != 0.0 {
                grads[row * self.stride..][..self.vocab].fill(E::from_f32(f32::NAN));
            }
        }
        Found { log_probs, log_z, grads }
    }
}

/// What outputs hold before.
pub const DIRTY: f32 = 77.0;

/// Whether two slices have the same bits, NaN being one value.
pub fn first_difference<E: Element>(a: &[E], b: &[E]) -> Option<usize> {
    assert_eq!(a.len(), b.len(), "lengths");
    a.iter().zip(b).position(|(a, b)| {
        let (a, b) = (a.to_f32(), b.to_f32());
        a.to_bits() != b.to_bits() && !(a.is_nan() && b.is_nan())
    })
}
