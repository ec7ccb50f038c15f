//! Matrices in the device's memory, and the tiles of rows by which dispatches bind them.

use std::marker::PhantomData;

use wgpu::Buffer;

use crate::{Element, Error, Gpu};

/// Rows of elements in the device's memory, `stride` apart.
#[derive(Debug)]
pub struct Matrix<E> {
    buffer: Buffer,
    rows: usize,
    columns: usize,
    stride: usize,
    elements: PhantomData<E>,
}

impl<E: Element> Matrix<E> {
    /// A copy of `from`, on the device.
    ///
    /// # Errors
    /// [`Error::Shape`], [`Error::Length`], [`Error::TooLarge`], [`Error::Device`].
    pub fn new(
        gpu: &Gpu,
        from: &[E],
        rows: usize,
        columns: usize,
        stride: usize,
    ) -> Result<Self, Error> {
        let expected = length(rows, columns, stride)?;
        if from.len() < expected {
            return Err(Error::Length { what: "matrix", expected, found: from.len() });
        }
        let buffer = gpu.upload("matrix", from)?;
        Ok(Self { buffer, rows, columns, stride, elements: PhantomData })
    }

    /// Zeros, rows without padding.
    ///
    /// # Errors
    /// As [`Matrix::new`].
    pub fn zeros(gpu: &Gpu, rows: usize, columns: usize) -> Result<Self, Error> {
        let len = length(rows, columns, columns)?;
        let buffer = gpu.zeros("matrix", (len * size_of::<E>()) as u64)?;
        Ok(Self { buffer, rows, columns, stride: columns, elements: PhantomData })
    }

    /// What a model on the same device has written: a storage buffer that may be copied from.
    ///
    /// # Errors
    /// As [`Matrix::new`].
    pub fn of_buffer(
        buffer: Buffer,
        rows: usize,
        columns: usize,
        stride: usize,
    ) -> Result<Self, Error> {
        let expected = length(rows, columns, stride)?;
        let found = usize::try_from(buffer.size()).unwrap_or(usize::MAX) / size_of::<E>();
        if found < expected {
            return Err(Error::Length { what: "buffer", expected, found });
        }
        Ok(Self { buffer, rows, columns, stride, elements: PhantomData })
    }

    /// R
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// V, or H.
    #[must_use]
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Elements from one row to the next.
    #[must_use]
    pub fn stride(&self) -> usize {
        self.stride
    }

    /// Whether it has so many rows and columns.
    pub(crate) fn check(&self, what: &'static str, expected: (usize, usize)) -> Result<(), Error> {
        let found = (self.rows, self.columns);
        if found == expected { Ok(()) } else { Err(Error::Size { what, expected, found }) }
    }

    pub(crate) fn buffer(&self) -> &Buffer {
        &self.buffer
    }

    /// Copies elements from the device: a test's way, or a debugger's. Training never does.
    ///
    /// # Errors
    /// [`Error::Length`] if there are not as many, [`Error::Device`].
    pub fn read(&self, gpu: &Gpu, to: &mut [E]) -> Result<(), Error> {
        let found = usize::try_from(self.buffer.size()).unwrap_or(usize::MAX) / size_of::<E>();
        if to.len() > found {
            return Err(Error::Length { what: "matrix", expected: to.len(), found });
        }
        gpu.read(&self.buffer, to)
    }

    /// Tiles of rows that a dispatch may bind, and count by one dimension of workgroups.
    pub(crate) fn tiles(&self, gpu: &Gpu) -> Result<Vec<RowTile>, Error> {
        tiles(gpu, self.rows, |first, rows| self.part(gpu, first, rows).1)
    }

    /// The same where the dispatch binds the same rows of its result, too.
    pub(crate) fn tiles_with<F: Element>(
        &self,
        gpu: &Gpu,
        result: &Matrix<F>,
    ) -> Result<Vec<RowTile>, Error> {
        tiles(gpu, self.rows, |first, rows| {
            self.part(gpu, first, rows).1.max(result.part(gpu, first, rows).1)
        })
    }

    /// The bytes of some rows as a binding, from an aligned offset on: (offset, size), and the first
    /// row's first element there.
    pub(crate) fn part(&self, gpu: &Gpu, first: usize, rows: usize) -> (u64, u64, u64) {
        let element = size_of::<E>() as u64;
        let start = first as u64 * self.stride as u64 * element;
        let offset = start - start % gpu.alignment();
        let len = (rows as u64 - 1) * self.stride as u64 + self.columns as u64;
        let end = (start + len * element).next_multiple_of(4).min(self.buffer.size());
        (offset, end - offset, (start - offset) / element)
    }
}

/// Rows of one dispatch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RowTile {
    pub(crate) first: usize,
    pub(crate) rows: usize,
}

/// Tiles of which none binds more of a buffer than the device allows; `bytes` of some rows, from the
/// first on, are those of the largest binding.
fn tiles(
    gpu: &Gpu,
    count: usize,
    bytes: impl Fn(usize, usize) -> u64,
) -> Result<Vec<RowTile>, Error> {
    let mut tiles = Vec::new();
    let (mut first, most) = (0, gpu.max_workgroups() as usize);
    while first < count {
        let mut rows = (count - first).min(most);
        while bytes(first, rows) > gpu.max_binding() {
            if rows == 1 {
                gpu.check_binding("a row", bytes(first, 1))?;
            }
            rows = rows.div_ceil(2);
        }
        tiles.push(RowTile { first, rows });
        first += rows;
    }
    Ok(tiles)
}

fn length(rows: usize, columns: usize, stride: usize) -> Result<usize, Error> {
    // Bytes are counted, too.
    (rows > 0 && columns > 0 && stride >= columns)
        .then(|| (rows - 1).checked_mul(stride)?.checked_add(columns))
        .flatten()
        .filter(|&len| len < usize::MAX / 8)
        .ok_or(Error::Shape { rows, columns, stride })
}
