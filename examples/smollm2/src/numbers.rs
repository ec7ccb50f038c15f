//! Tensors as slices of f32, which is all that the CPU's operations here read and write.

use candle_core::{CpuStorage, Error, Layout, Result, Storage, Tensor};

/// The numbers of a contiguous storage.
pub(crate) fn numbers<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    let strided = || Error::msg(format!("not contiguous: {:?}", layout.stride()));
    let (start, end) = layout.contiguous_offsets().ok_or_else(strided)?;
    let all = storage.as_slice::<f32>()?;
    let short = || Error::msg(format!("{} numbers where {end} are meant", all.len()));
    all.get(start..end).ok_or_else(short)
}

/// Calls a function with the numbers of a contiguous tensor, without a copy.
///
/// # Errors
/// candle's, of a tensor that is not f32, contiguous and on the CPU; the function's.
pub(crate) fn with_numbers<T>(tensor: &Tensor, run: impl FnOnce(&[f32]) -> Result<T>) -> Result<T> {
    let (storage, layout) = tensor.storage_and_layout();
    match &*storage {
        Storage::Cpu(storage) => run(numbers(storage, layout)?),
        _ => Err(Error::msg("a tensor that is not on the CPU")),
    }
}

/// Σ aᵢ·bᵢ in sixteen chains, which a compiler can keep in registers.
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 {
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<16>(), b.as_chunks::<16>());
    let mut sums = [0.0_f32; 16];
    for (a, b) in a.iter().zip(b) {
        for (sum, (a, b)) in sums.iter_mut().zip(a.iter().zip(b)) {
            *sum += a * b;
        }
    }
    let rest = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum::<f32>();
    sums.iter().sum::<f32>() + rest
}
