//! A batch of rows, from what each of them is to be.

use alloc::vec;
use alloc::vec::Vec;

use super::super::Format;
use super::super::call::RowsGiven;
use super::super::random::Random;
use super::shape::Shape;
use super::{IGNORE, draw};
use crate::Element;
use crate::verify::Transform;

/// A row that is to be made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    pub(super) shape: Shape,
    /// Its target, or [`IGNORE`].
    pub(super) target: u32,
}

pub(super) fn batch<E: Element>(
    wanted: &[Wanted],
    vocab: usize,
    transform: Transform,
    random: &mut Random,
) -> RowsGiven<E> {
    let stride = vocab + random.of(&[0, 0, 1, 3, 8, 13], 0);
    // Padding may hold anything: NaN tells whether it is read, a number what for.
    let hidden = |random: &mut Random| {
        if random.chance(0.5) { f64::NAN } else { random.normal() }
    };
    let (past, ignored) = (hidden(random), hidden(random));
    let mut logits = vec![E::ZERO; wanted.len() * stride];
    let mut row = vec![0.0; vocab];
    // Slopes are 5 at most, and f16 ends at 65504.
    let sizes = draw::Coefficients::drawn(1e4, random);
    let mut coefficients = Vec::new();
    for (out, &Wanted { shape, target }) in logits.chunks_mut(stride).zip(wanted) {
        shape.fill(random, Format::of::<E>(), &mut row, target as usize);
        let coefficient = sizes.draw::<E>(random);
        // What log p of -inf has for a gradient is a matter of taste: none is asked for.
        let flat = matches!(shape, Shape::MaskedTarget);
        coefficients.push(if flat { 0.0 } else { coefficient });
        for (j, x) in out.iter_mut().enumerate() {
            let value = match row.get(j) {
                None => past * (1.0 + 0.1 * random.unit()),
                Some(_) if target == IGNORE => ignored,
                Some(&x) => x,
            };
            *x = E::from_f32(draw::narrow(value));
        }
    }
    let targets = wanted.iter().map(|wanted| wanted.target).collect();
    RowsGiven { logits, vocab, stride, transform, targets, ignore: IGNORE, coefficients }
}
