//! Why rows are not finite.

use super::hidden::Hidden;
use super::scratch::HeadScratch;
use super::tile::TILE;
use super::traits::Head;
use crate::error::Buffer;
use crate::{Element, Error};

/// The error of rows that are not finite, or that of the head's weights if these are why: a row of
/// weights that is not finite spoils every row of logits.
#[cold]
#[inline(never)]
pub(crate) fn blame<E: Element, H: Head<E> + ?Sized>(
    error: Error,
    states: Hidden<'_, E>,
    head: &H,
    scratch: &mut HeadScratch<'_>,
) -> Error {
    let Error::NonFiniteRows { first, .. } = error else { return error };
    if states.row(first).iter().any(|x| !x.to_f32().is_finite()) {
        return error;
    }
    let part = scratch.numbers.get_mut(..TILE).unwrap_or_default();
    let size = head.sums();
    for index in 0..head.vocab() {
        for from in (0..size).step_by(TILE) {
            let part = part.get_mut(..TILE.min(size - from)).unwrap_or_default();
            head.row(index, from, part);
            if let Some(value) = part.iter().find(|x| !x.is_finite()) {
                let (buffer, value) = (Buffer::HeadWeights, f64::from(*value));
                return Error::InvalidValue { buffer, index, value };
            }
        }
    }
    error
}
