//! The products, over views whose shapes are checked.

/// A product of matrices: [`Gemm`](crate::Gemm), [`MatrixMultiply`](crate::MatrixMultiply). Sealed.
pub trait Product: Multiply + Copy + Send + Sync {}

/// The working side of [`Product`], out of reach of other crates.
pub trait Multiply {
    /// `out = a · b`, whatever `out` holds.
    fn multiply(a: Matrix<'_>, b: Matrix<'_>, out: MatrixMut<'_>) {
        Self::run(a, b, out, Out::Replaced);
    }

    /// That, or `out = out + a · b`.
    fn run(a: Matrix<'_>, b: Matrix<'_>, out: MatrixMut<'_>, before: Out);
}

/// What becomes of the numbers where a product goes.
#[derive(Clone, Copy, PartialEq)]
pub enum Out {
    /// Nothing: they may be anything.
    Replaced,
    /// The product is added to them.
    Kept,
}

/// A matrix to read.
#[derive(Clone, Copy)]
pub struct Matrix<'a> {
    data: &'a [f32],
    rows: usize,
    columns: usize,
    /// Elements from one row to the next, and from one column to the next.
    strides: (isize, isize),
}

/// A matrix to write, row after row.
pub struct MatrixMut<'a> {
    data: &'a mut [f32],
    rows: usize,
    columns: usize,
    stride: isize,
}

/// The stride, once all rows are known to lie in so many elements, and apart.
fn checked(len: usize, rows: usize, columns: usize, stride: usize) -> isize {
    let last = rows.checked_sub(1).and_then(|before| before.checked_mul(stride));
    let end = last.and_then(|last| last.checked_add(columns));
    let is_inside = columns > 0 && columns <= stride && end.is_some_and(|end| end <= len);
    assert!(is_inside, "{rows} rows of {columns}, {stride} apart, in {len} numbers");
    // A slice has fewer bytes than isize::MAX; a stride longer than it has one row.
    isize::try_from(stride).unwrap_or(isize::MAX)
}

impl<'a> Matrix<'a> {
    pub(crate) fn new(data: &'a [f32], rows: usize, columns: usize, stride: usize) -> Self {
        let stride = checked(data.len(), rows, columns, stride);
        Self { data, rows, columns, strides: (stride, 1) }
    }

    pub(crate) fn transposed(self) -> Self {
        let Self { data, rows, columns, strides } = self;
        Self { data, rows: columns, columns: rows, strides: (strides.1, strides.0) }
    }
}

impl<'a> MatrixMut<'a> {
    pub(crate) fn new(data: &'a mut [f32], rows: usize, columns: usize, stride: usize) -> Self {
        let stride = checked(data.len(), rows, columns, stride);
        Self { data, rows, columns, stride }
    }
}

/// m, k and n of a product.
fn shape(a: &Matrix<'_>, b: &Matrix<'_>, out: &MatrixMut<'_>) -> (usize, usize, usize) {
    assert_eq!((a.rows, a.columns), (out.rows, b.rows), "rows of the result and the contraction");
    assert_eq!(b.columns, out.columns, "columns of the result");
    (a.rows, a.columns, b.columns)
}

/// The product of the crate `gemm`, on one thread.
#[cfg(feature = "gemm")]
#[derive(Clone, Copy, Debug)]
pub struct Gemm;

#[cfg(feature = "gemm")]
impl Product for Gemm {}

#[cfg(feature = "gemm")]
impl Multiply for Gemm {
    fn run(a: Matrix<'_>, b: Matrix<'_>, out: MatrixMut<'_>, before: Out) {
        let (m, k, n) = shape(&a, &b, &out);
        let ((a_row, a_column), (b_row, b_column)) = (a.strides, b.strides);
        // SAFETY: all elements of the three views are inside of their slices (`checked`), the shapes
        // fit (`shape`), and `out` is borrowed mutably: it overlaps nothing.
        unsafe {
            gemm::gemm(
                m,
                n,
                k,
                out.data.as_mut_ptr(),
                1,
                out.stride,
                before == Out::Kept,
                a.data.as_ptr(),
                a_column,
                a_row,
                b.data.as_ptr(),
                b_column,
                b_row,
                1.0,
                1.0,
                false,
                false,
                false,
                gemm::Parallelism::None,
            );
        }
    }
}

/// The product of the crate `matrixmultiply`, on one thread.
#[cfg(feature = "matrixmultiply")]
#[derive(Clone, Copy, Debug)]
pub struct MatrixMultiply;

#[cfg(feature = "matrixmultiply")]
impl Product for MatrixMultiply {}

#[cfg(feature = "matrixmultiply")]
impl Multiply for MatrixMultiply {
    fn run(a: Matrix<'_>, b: Matrix<'_>, out: MatrixMut<'_>, before: Out) {
        let (m, k, n) = shape(&a, &b, &out);
        let ((a_row, a_column), (b_row, b_column)) = (a.strides, b.strides);
        // SAFETY: as above; rows of `out` lie apart (`checked`).
        unsafe {
            matrixmultiply::sgemm(
                m,
                k,
                n,
                1.0,
                a.data.as_ptr(),
                a_row,
                a_column,
                b.data.as_ptr(),
                b_row,
                b_column,
                f32::from(u8::from(before == Out::Kept)),
                out.data.as_mut_ptr(),
                out.stride,
                1,
            );
        }
    }
}
