//! The base model in flash, as `pretrain` made it: for each matrix its scale (f32, little-endian)
//! and its weights as i8, one after another, in the order of the fields of [`Base`].

use crate::linear::Matrix;
use crate::model::{Base, HIDDEN, NEAR, WIDTH};
use crate::text::VOCAB;

const TABLE: usize = 4 + VOCAB * WIDTH;
const MIDDLE: usize = 4 + WIDTH * HIDDEN;

/// Bytes of the file.
pub const BYTES: usize = (NEAR + 1) * TABLE + MIDDLE + 4 + HIDDEN * VOCAB;

static FILE: [u8; BYTES] = *include_bytes!("../base.bin");

/// The model whose adapters are trained.
pub static BASE: Base = Base {
    near: [matrix(0), matrix(TABLE), matrix(2 * TABLE), matrix(3 * TABLE)],
    far: matrix(NEAR * TABLE),
    hidden: matrix((NEAR + 1) * TABLE),
    head: matrix((NEAR + 1) * TABLE + MIDDLE),
};

/// The matrix whose scale begins at byte `at`. A file that does not fit is found by the compiler.
const fn matrix<const I: usize, const O: usize>(at: usize) -> Matrix<I, O> {
    let (_, rest) = FILE.split_at(at);
    let Some((scale, rest)) = rest.split_first_chunk::<4>() else { panic!("no scale") };
    let Some(bytes) = rest.as_chunks::<O>().0.first_chunk::<I>() else { panic!("no weights") };
    Matrix { scale: f32::from_le_bytes(*scale), bytes }
}
