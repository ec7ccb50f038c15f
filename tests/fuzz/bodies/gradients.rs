//! The gradient of one row: apart, in place and by tiles, into every storage.

use dpo_kernel::gradient::{
    GradBatch, GradElement, logit_grads, logit_grads_in_place, tile_grads_in_place,
};
use dpo_kernel::row::RowNorm;
use dpo_kernel::verify::cases::{RowCase, widened};
use dpo_kernel::verify::{self, Mismatch, compare};
use dpo_kernel::{
    Dispatch, Error, Layout, Logits, LogitsMut, Span, TokenOut, Transform, token_log_probs,
};

use super::batch::transform;
use super::levels::for_each_dispatch;
use super::row::{Cut, id, same_on_levels};
use super::store::Store;
use super::tolerance::Sizes;

pub fn check(cut: &Cut) -> Result<(), String> {
    crate::for_each_storage!(check_storage(cut))
}

fn check_storage<E: Store>(cut: &Cut) -> Result<(), String> {
    let mut first = Vec::new();
    let mut result = Ok(());
    for_each_dispatch(|dispatch| {
        if result.is_ok() {
            result = check_level::<E>(cut, dispatch)
                .and_then(|found| same_on_levels(&mut first, dispatch, found))
                .map_err(|why| format!("{dispatch:?}: {why}"));
        }
    });
    result
}

fn bits<E: Store>(values: &[E]) -> Vec<u32> {
    values.iter().map(|x| x.bits()).collect()
}

/// The bits of the gradient, if it is what it should be every way.
fn check_level<E: Store>(cut: &Cut, dispatch: Dispatch) -> Result<String, String> {
    let row = &cut.row;
    let logits: Vec<E> = row.stored();
    let mut way =
        Way { dispatch, row, transform: transform(&row.transform), norm: RowNorm::default() };
    way.norm = way.norm_of(&logits);

    let mut wide = vec![f32::POISON; logits.len()];
    let mut apart = vec![E::POISON; logits.len()];
    let mut here = logits.clone();
    let results =
        [way.apart(&logits, &mut wide), way.apart(&logits, &mut apart), way.in_place(&mut here)];
    let has_norm = !verify::log_sum_exp(&row.transformed::<E>()).is_nan();
    if !has_norm && row.coefficient != 0.0 {
        let refused = results.iter().all(|r| matches!(r, Err(Error::InvalidValue { .. })));
        let untouched = bits(&here) == bits(&logits)
            && wide.iter().all(|x| x.bits() == f32::POISON.bits())
            && apart.iter().all(|x| x.bits() == E::POISON.bits());
        return if refused && untouched {
            Ok(String::new())
        } else {
            Err(format!("a row without a norm: {results:?}, untouched: {untouched}"))
        };
    }
    results.into_iter().collect::<Result<(), _>>().map_err(|why| why.to_string())?;

    accepts::<E, f32>(row, &wide)?;
    accepts::<E, E>(row, &apart)?;
    let mut tiles = logits.clone();
    // Tiles know their norm only where there is one.
    for edge in cut.edges().windows(2).filter(|_| has_norm) {
        way.tile(&mut tiles[edge[0]..edge[1]], edge[0]).map_err(|why| why.to_string())?;
    }
    for (name, other) in [("in place", &here), ("by tiles", &tiles)] {
        if bits(other) != bits(&apart) && (has_norm || name == "in place") {
            return Err(format!("{name}: {other:?}, apart: {apart:?}"));
        }
    }
    Ok(format!("{:?} {:?}", bits(&wide), bits(&apart)))
}

struct Way<'a> {
    dispatch: Dispatch,
    row: &'a RowCase,
    transform: Transform,
    norm: RowNorm,
}

impl Way<'_> {
    fn norm_of<E: Store>(&self, logits: &[E]) -> RowNorm {
        let view = self.view(logits);
        let (mut log_probs, mut norms) = ([0.0], [RowNorm::default()]);
        let out = TokenOut::new(&mut log_probs).with_norms(&mut norms);
        // A row that is not finite has an invalid norm, which the backward must refuse.
        let _ = self.with_layout(|layout| token_log_probs(self.dispatch, view, layout, out));
        norms[0]
    }

    fn view<'a, E: Store>(&self, logits: &'a [E]) -> Logits<'a, E> {
        Logits::new(logits, 1, logits.len()).expect("one row").with_transform(self.transform)
    }

    fn apart<E: Store, O: Store + GradElement<E>>(
        &self,
        logits: &[E],
        out: &mut [O],
    ) -> Result<(), Error> {
        let out = LogitsMut::new(out, 1, logits.len())?;
        self.with_batch(|batch| logit_grads(self.dispatch, self.view(logits), batch, out))
    }

    fn in_place<E: Store>(&self, logits: &mut [E]) -> Result<(), Error> {
        let vocab = logits.len();
        let logits = LogitsMut::new(logits, 1, vocab)?.with_transform(self.transform);
        self.with_batch(|batch| logit_grads_in_place(self.dispatch, logits, batch))
    }

    fn tile<E: Store>(&self, tile: &mut [E], first: usize) -> Result<(), Error> {
        let (target, coefficient) = (id(self.row.target), self.row.coefficient);
        let (dispatch, transform) = (self.dispatch, self.transform);
        tile_grads_in_place(dispatch, tile, id(first), transform, target, self.norm, coefficient)
    }

    fn with_layout<T>(&self, run: impl FnOnce(&Layout<'_>) -> T) -> T {
        let (targets, spans) = ([id(self.row.target)], [Span::new(0, 1)]);
        run(&Layout::new(&targets, &spans, self.row.logits.len()).expect("one row"))
    }

    fn with_batch<T>(&self, run: impl FnOnce(&GradBatch<'_>) -> T) -> T {
        let (norms, coefficients) = ([self.norm], [self.row.coefficient]);
        self.with_layout(|layout| run(&GradBatch::new(layout, &norms, &coefficients)))
    }
}

/// Whether the gradient of what E holds, as found in O, is the reference's.
pub fn accepts<E: Store, O: Store>(row: &RowCase, found: &[O]) -> Result<(), String> {
    let (x, y) = (row.exact::<E>(), row.transformed::<E>());
    let sizes = Sizes::of(row, &y);
    let log_z = verify::log_sum_exp(&y);
    if row.coefficient == 0.0 {
        let zeros = widened(found).iter().all(|g| *g == 0.0);
        return if zeros { Ok(()) } else { Err(format!("c = 0 gives {found:?}")) };
    }
    for (j, expected) in row.grads::<E>().into_iter().enumerate() {
        let tolerance = if j == row.target {
            sizes.target(x[j], row.coefficient)
        } else {
            sizes.column(x[j], y[j] - log_z, row.coefficient)
        };
        let at = |why: Mismatch| format!("column {j} of target {}: {why}", row.target);
        compare("gradient", x[j], expected, found[j], tolerance).map_err(at)?;
    }
    Ok(())
}
