//! Heads of dpo-kernel by products of matrices from outside: those of the crates `gemm` 0.19 and
//! `matrixmultiply` 0.3.
//!
//! ```text
//! y = transform(x · Wᵀ + b)
//! ```
//!
//! [`dpo_kernel::head::Linear`] has a product of its own, and is the default: its results are the
//! same bits for every batch, on every machine, which no product here promises. It is about as fast:
//! `benches/head` says what they are on your machine, `docs/speed.md` what they were on one.
//!
//! # Numerics
//! Weights and states of 16 bits are widened to f32 first: `gemm`'s own product of f16 sums in f16.
//! How a sum is split is up to the product, the machine and the number of rows: **by `gemm` a row
//! alone has other bits than in a batch**, so log-probs of a policy and a reference with equal
//! weights may differ, and the loss of a first step need not be ln 2.
//!
//! Against the built-in product, in units of 2⁻²⁴ times the largest Σ|x·w| + |b| of a row (1 at
//! least, after the transform); gradients in that times the coefficient times the largest weight (of
//! weights: times the largest hidden number, over all rows).
//! `tests/products` has the search, on a machine with AVX-512:
//!
//! | | worst found: `gemm` | `matrixmultiply` | bound |
//! |---|---|---|---|
//! | log-prob | 16.6 | 0 | 24 |
//! | gradient, hidden or of weights | 27.1 | 2.0 | 40 |
//!
//! # Memory
//! They allocate, as these crates do. The memory that they are given is
//! `rows · H` numbers, and 512 · H more for weights of 16 bits, where `rows` are those that are
//! multiplied at once: 256 unless [`ProductHead::with_rows`] says otherwise.

#[cfg(not(any(feature = "gemm", feature = "matrixmultiply")))]
compile_error!("a product has to be chosen: the feature `gemm`, or `matrixmultiply`");

mod head;
mod product;

pub use head::ProductHead;
#[cfg(feature = "gemm")]
pub use product::Gemm;
#[cfg(feature = "matrixmultiply")]
pub use product::MatrixMultiply;
pub use product::Product;

/// A head by the product of the crate `gemm`.
#[cfg(feature = "gemm")]
pub type GemmHead<'a, W> = ProductHead<'a, W, Gemm>;

/// A head by the product of the crate `matrixmultiply`.
#[cfg(feature = "matrixmultiply")]
pub type MatrixMultiplyHead<'a, W> = ProductHead<'a, W, MatrixMultiply>;
