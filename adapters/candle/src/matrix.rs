//! A tensor as rows in candle's own memory: nothing is copied.
//!
//! ```text
//! [.., V] with strides [.., S, 1]        R = the product of the leading dimensions, S ≥ V
//! ```

use std::ops::Range;

use candle_core::{DeviceLocation, Storage, StorageRef, Tensor};

use crate::error::{Error, Operand};
use crate::number::{Float, Number};

/// The rows of a tensor, which is held for reading as long as this lives.
pub(crate) struct Matrix<'a> {
    operand: Operand,
    tensor: &'a Tensor,
    storage: StorageRef<'a>,
    range: Range<usize>,
    pub(crate) float: Float,
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    pub(crate) stride: usize,
}

impl<'a> Matrix<'a> {
    pub(crate) fn of(operand: Operand, tensor: &'a Tensor) -> Result<Self, Error> {
        check_device(operand, tensor.device().location())?;
        let found = tensor.dtype();
        let float = Float::of(found).filter(|&x| x == Float::F32 || !operand.is_single());
        let float = float.ok_or(Error::DType { operand, found })?;
        let (storage, layout) = tensor.storage_and_layout();
        let (dims, strides) = (layout.dims(), layout.stride());
        let Some(&columns) = dims.last() else {
            return Err(Error::Shape { operand, expected: "[.., n]".into(), found: Vec::new() });
        };
        let wrong = || Error::Strides { operand, dims: dims.into(), strides: strides.into() };
        let stride = row_stride(dims, strides).ok_or_else(wrong)?;
        let mut leading = dims.iter().rev().skip(1);
        let rows = leading.try_fold(1_usize, |rows, &dim| rows.checked_mul(dim));
        let rows = rows.ok_or_else(wrong)?;
        // Of a storage that exists, so nothing overflows.
        let len = if rows == 0 || columns == 0 { 0 } else { (rows - 1) * stride + columns };
        let start = layout.start_offset();
        let range = start..start + len;
        Ok(Self { operand, tensor, storage, range, float, rows, columns, stride })
    }

    /// A tensor of two dimensions.
    pub(crate) fn of_two(operand: Operand, tensor: &'a Tensor, due: &str) -> Result<Self, Error> {
        if tensor.rank() == 2 {
            return Self::of(operand, tensor);
        }
        Err(Error::Shape { operand, expected: due.into(), found: tensor.dims().into() })
    }

    /// That it has this shape, with rows next to each other.
    pub(crate) fn check(&self, dims: &[usize]) -> Result<(), Error> {
        let (operand, found) = (self.operand, self.tensor.dims());
        if found != dims {
            let expected = format!("{dims:?}");
            return Err(Error::Shape { operand, expected, found: found.into() });
        }
        if self.stride == self.columns {
            return Ok(());
        }
        let strides = self.tensor.stride().into();
        Err(Error::Strides { operand, dims: found.into(), strides })
    }

    /// From the first row's first element to the last row's last, padding between them included.
    pub(crate) fn numbers<E: Number>(&self) -> Result<&[E], Error> {
        let Storage::Cpu(storage) = &*self.storage else {
            let found = self.tensor.device().location();
            return Err(Error::Device { operand: self.operand, found });
        };
        Ok(storage.as_slice()?.get(self.range.clone()).unwrap_or_default())
    }
}

pub(crate) fn check_device(operand: Operand, found: DeviceLocation) -> Result<(), Error> {
    if found == DeviceLocation::Cpu { Ok(()) } else { Err(Error::Device { operand, found }) }
}

/// The distance of all rows, if there is one and elements of a row are contiguous. Dimensions of
/// one element have no say: their strides are never taken.
fn row_stride(dims: &[usize], strides: &[usize]) -> Option<usize> {
    let (&columns, leading) = dims.split_last()?;
    if columns == 0 || dims.contains(&0) {
        return Some(columns);
    }
    let (&column, strides) = strides.split_last()?;
    if columns > 1 && column != 1 {
        return None;
    }
    // From the innermost dimension out: each steps over all rows of those inside.
    let mut found = None;
    let mut inside = 1_usize;
    for (&dim, &stride) in leading.iter().zip(strides).rev().filter(|(dim, _)| **dim > 1) {
        let row = *found.get_or_insert(stride);
        if row < columns || row.checked_mul(inside) != Some(stride) {
            return None;
        }
        inside = inside.checked_mul(dim)?;
    }
    Some(found.unwrap_or(columns))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::panic, reason = "tests")]

    use candle_core::DeviceLocation;

    use super::{Error, Operand, check_device, row_stride};

    /// No tensor can be had on a device that the build has not.
    #[test]
    fn another_device_is_refused() {
        for found in [DeviceLocation::Cuda { gpu_id: 1 }, DeviceLocation::Metal { gpu_id: 0 }] {
            let Err(error) = check_device(Operand::Logits, found) else { panic!("accepted") };
            assert!(matches!(error, Error::Device { found: of, .. } if of == found));
            let text = error.to_string();
            assert!(text.contains("to_device(&Device::Cpu)") && text.contains("gpu_id"), "{text}");
        }
        assert!(check_device(Operand::Logits, DeviceLocation::Cpu).is_ok());
    }

    /// Where the real shapes end: no sum or product of strides may wrap.
    #[test]
    fn strides_that_overflow_are_none() {
        let most = usize::MAX;
        assert_eq!(row_stride(&[2, 3, 4], &[most, most / 2, 1]), None);
        assert_eq!(row_stride(&[most, most, 4], &[most, 4, 1]), None);
        assert_eq!(row_stride(&[most, most, 4], &[0, 0, 1]), None);
        assert_eq!(row_stride(&[most, most, 0], &[0, 0, 1]), Some(0));
        assert_eq!(row_stride(&[2, 3, 4], &[15, 5, 1]), Some(5));
        assert_eq!(row_stride(&[2, 3, 4], &[16, 5, 1]), None);
        assert_eq!(row_stride(&[1, 1, 4], &[0, 0, 1]), Some(4));
        assert_eq!(row_stride(&[5, 1], &[3, 7]), Some(3));
        assert_eq!(row_stride(&[4], &[1]), Some(4));
        assert_eq!(row_stride(&[4], &[2]), None);
        assert_eq!(row_stride(&[], &[]), None);
    }
}
