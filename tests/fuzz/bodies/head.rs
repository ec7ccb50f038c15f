//! A head: log-probs with the bits of logits that its product wrote out, hidden gradients within
//! the bounds of f64, whatever the shapes, types, masks and the memory that it works in.

use dpo_kernel::gradient::{GradBatch, Unscored};
use dpo_kernel::head::{
    HeadRow, HeadScratch, Hidden, HiddenMut, Linear, head_forward, head_token_log_probs,
    hidden_grads, hidden_grads_in_place,
};
use dpo_kernel::row::{RowDetails, RowNorm};
use dpo_kernel::verify;
use dpo_kernel::verify::cases::RowCase;
use dpo_kernel::{
    Dispatch, Error, Layout, Logits, TokenOut, TokenSummary, bf16, f16, token_log_probs,
};

use super::batch::transform;
use super::levels::for_each_dispatch;
use super::row::same_on_levels;
use super::store::Store;

mod case;
mod terms;
pub mod trained;

pub use case::Case;
use case::Stored;
use terms::{row_terms, sum};

/// What nobody writes by accident.
const DIRT: f32 = -7.25e9;
/// Terms below the smallest that is kept: 2⁻¹²⁴ of a base that is within 2⁸ of Z.
const DROPPED: f64 = 1.203_706_215_243_565_6e-35;

/// What forward and backward leave.
#[derive(Clone, Debug)]
pub struct Found {
    pub result: Result<TokenSummary, Error>,
    pub log_probs: Vec<f32>,
    pub norms: Vec<RowNorm>,
    pub details: Vec<RowDetails>,
    pub backward: Result<(), Error>,
    /// R × (H + padding), and the same in 16 bits.
    pub grads: Vec<f32>,
    pub narrow: Vec<bf16>,
}

impl Found {
    fn dirty(case: &Case) -> Self {
        let (rows, stride) = (case.rows(), case.size + case.padding[2]);
        Self {
            result: Ok(TokenSummary::default()),
            log_probs: vec![DIRT; rows],
            norms: vec![RowNorm::default(); rows],
            details: vec![RowDetails { entropy: DIRT, ..RowDetails::default() }; rows],
            backward: Ok(()),
            grads: vec![DIRT; rows * stride],
            narrow: vec![bf16::from_f32(DIRT); rows * stride],
        }
    }

    fn forward(&self) -> String {
        format!("{:?} {:?} {:?} {:?}", self.result, self.log_probs, self.norms, self.details)
    }
}

pub fn check(case: &Case) -> Result<(), String> {
    match case.types % 5 {
        0 => check_types::<f32, f32>(case),
        1 => check_types::<bf16, bf16>(case),
        2 => check_types::<f16, f16>(case),
        3 => check_types::<f32, bf16>(case),
        _ => check_types::<bf16, f32>(case),
    }
    .map_err(|why| format!("types {}: {why}", case.types % 5))
}

fn check_types<E: Store, W: Store>(case: &Case) -> Result<(), String> {
    let (mut first, mut result) = (Vec::new(), Ok(()));
    for_each_dispatch(|dispatch| {
        if result.is_ok() {
            let found = run::<E, W>(case, dispatch);
            // What has the bits of what was accepted need not be looked at again.
            let is_seen = |(of, _): &(Dispatch, String)| of.arithmetic() == dispatch.arithmetic();
            if !first.iter().any(is_seen) {
                result = accepts::<E, W>(case, dispatch, &found);
            }
            result = result
                .clone()
                .and_then(|()| trained::check::<E, W>(case, dispatch))
                .and_then(|of| same_on_levels(&mut first, dispatch, format!("{found:?} {of}")))
                .map_err(|why| format!("{dispatch:?}: {why}"));
        }
    });
    result
}

/// Forward and backward.
pub fn run<E: Store, W: Store>(case: &Case, dispatch: Dispatch) -> Found {
    let stored = case.in_memory::<E, W>();
    let [of_states, of_weights, of_grads] = case.padding.map(|padding| case.size + padding);
    let layout = Layout::new(&stored.targets, &stored.spans, case.vocab).expect("a layout");
    let states = Hidden::with_stride(&stored.states, stored.rows, case.size, of_states);
    let states = states.expect("a view");
    let head = Linear::with_stride(&stored.weights, case.vocab, case.size, of_weights);
    let head = head.expect("a head").with_transform(transform(&case.transform));
    let head = head.with_panels(case.scratch[1]);
    let head = stored.bias.as_ref().map_or(head, |bias| head.with_bias(bias).expect("V numbers"));
    let mut found = Found::dirty(case);
    let mut rows = vec![HeadRow::NEW; case.scratch[0]];
    let len = HeadScratch::numbers::<E, _>(&head, rows.len()) + case.scratch[2];
    let mut numbers = vec![f32::POISON; len];

    let mut alone = found.clone();
    let out = TokenOut::new(&mut alone.log_probs)
        .with_norms(&mut alone.norms)
        .with_details(&mut alone.details);
    let scratch = HeadScratch::new(&mut rows, &mut numbers);
    alone.result = head_token_log_probs(dispatch, states, &head, &layout, out, scratch);

    let out = TokenOut::new(&mut found.log_probs)
        .with_norms(&mut found.norms)
        .with_details(&mut found.details);
    let (rows_there, size) = (stored.rows, case.size);
    let sums = HiddenMut::with_stride(&mut found.grads, rows_there, size, of_grads);
    let sums = sums.expect("a view");
    let scratch = HeadScratch::new(&mut rows, &mut numbers);
    found.result = head_forward(dispatch, states, &head, &layout, out, sums, scratch);
    // An infinite weight spoils sums, and so breaks rows whose log-probs it does not; so does one
    // that overflows under a term.
    if stored.broken_weights().is_none() && !stored.has_huge_weights() {
        assert_eq!(found.forward(), alone.forward(), "with sums and without");
    }

    numbers.fill(f32::POISON);
    let unscored = if case.zero_unscored { Unscored::Zero } else { Unscored::Keep };
    let batch = GradBatch::new(&layout, &found.norms, &case.coefficients).with_unscored(unscored);
    let sums = Hidden::with_stride(&found.grads, rows_there, size, of_grads);
    let to = HiddenMut::with_stride(&mut found.narrow, rows_there, size, of_grads);
    let (sums, to) = (sums.expect("a view"), to.expect("a view"));
    let scratch = HeadScratch::new(&mut rows, &mut numbers);
    let apart = hidden_grads(dispatch, states, &head, &batch, sums, to, scratch);
    let sums = HiddenMut::with_stride(&mut found.grads, rows_there, size, of_grads);
    let sums = sums.expect("a view");
    let scratch = HeadScratch::new(&mut rows, &mut numbers);
    found.backward = hidden_grads_in_place(dispatch, states, &head, &batch, sums, scratch);
    assert_eq!(format!("{apart:?}"), format!("{:?}", found.backward), "apart and in place");
    found
}

/// Whether these are the results of a case.
pub fn accepts<E: Store, W: Store>(
    case: &Case,
    dispatch: Dispatch,
    found: &Found,
) -> Result<(), String> {
    let stored = case.in_memory::<E, W>();
    let logits = stored.written_out(dispatch.arithmetic());
    let mut due = Found::dirty(case);
    let layout = Layout::new(&stored.targets, &stored.spans, case.vocab).expect("a layout");
    let view = Logits::new(&logits, stored.rows, case.vocab).expect("a view");
    let view = view.with_transform(transform(&case.transform));
    let out =
        TokenOut::new(&mut due.log_probs).with_norms(&mut due.norms).with_details(&mut due.details);
    due.result = token_log_probs(dispatch, view, &layout, out);
    // Whatever breaks rows, the others are as if it were not there.
    let mut rows = found.log_probs.iter().zip(&due.log_probs);
    let is_kept = |(found, due): (&f32, &f32)| found.is_nan() || found.to_bits() == due.to_bits();
    if !rows.all(is_kept) {
        return Err(format!("log-probs: {:?}, not {:?}", found.log_probs, due.log_probs));
    }
    // As text: NaN is not itself.
    let broken = stored.broken_weights();
    if broken.is_some() && format!("{:?}", found.result.err()) == format!("{broken:?}") {
        return Ok(());
    }
    // Or the first row that is broken, by its own hidden state, and others by the weights; or sums
    // that huge weights break.
    if let Err(Error::NonFiniteRows { first, .. }) = found.result {
        let is_of_state = (0..case.size).any(|h| !stored.state(first, h).is_finite());
        if stored.has_huge_weights() || broken.is_some() && is_of_state {
            return Ok(());
        }
    }
    if due.forward() != found.forward() {
        return Err(format!("forward:\n{}, not\n{}", found.forward(), due.forward()));
    }
    let broken = |row: &usize| case.coefficients[*row] != 0.0 && is_broken(case, *row, &logits);
    match (0..stored.rows).filter(|&row| case.is_scored(row)).find(broken) {
        None => accepts_grads(&stored, &logits, found),
        Some(first) => match found.backward {
            Err(Error::InvalidValue { index, .. }) if index == first => Ok(()),
            other => Err(format!("row {first} has no norm: {other:?}")),
        },
    }
}

fn row_of(case: &Case, row: usize, logits: &[f32]) -> RowCase {
    RowCase {
        logits: logits[row * case.vocab..][..case.vocab].to_vec(),
        transform: case.transform,
        target: case.target(row),
        coefficient: case.coefficients[row],
    }
}

/// Whether a row has no log Z.
fn is_broken(case: &Case, row: usize, logits: &[f32]) -> bool {
    verify::log_sum_exp(&row_of(case, row, logits).transformed::<f32>()).is_nan()
}

fn accepts_grads<E: Store, W: Store>(
    stored: &Stored<'_, E, W>,
    logits: &[f32],
    found: &Found,
) -> Result<(), String> {
    let case = stored.case;
    found.backward.map_err(|why| why.to_string())?;
    let stride = case.size + case.padding[2];
    for (row, grads) in found.grads.chunks(stride).enumerate() {
        let narrow = &found.narrow[row * stride..][..stride];
        let is_written = case.is_scored(row) || case.zero_unscored;
        let len = if is_written { case.size } else { 0 };
        let dirt = (DIRT.to_bits(), bf16::from_f32(DIRT).to_bits());
        for (h, (wide, narrow)) in grads.iter().zip(narrow).enumerate() {
            let rounded = bf16::from_f32(*wide);
            if h >= len && (wide.to_bits(), narrow.to_bits()) != dirt {
                return Err(format!("row {row} was written at {h}: {wide} {narrow}"));
            }
            if h < len && narrow.to_bits() != rounded.to_bits() && !wide.is_nan() {
                return Err(format!("row {row} at {h}: {narrow} apart, {wide} in place"));
            }
        }
        if case.is_scored(row) {
            let of = row_of(case, row, logits);
            accepts_row(stored, &of, &grads[..case.size])
                .map_err(|why| format!("row {row} {why}"))?;
        } else if grads[..len].iter().any(|d| d.to_bits() != 0) {
            return Err(format!("row {row}, which nobody scores: {grads:?}"));
        }
    }
    Ok(())
}

/// The gradient of a row, by the sizes of its terms.
fn accepts_row<E: Store, W: Store>(
    stored: &Stored<'_, E, W>,
    row: &RowCase,
    found: &[f32],
) -> Result<(), String> {
    if row.coefficient == 0.0 {
        let zeros = found.iter().all(|d| d.to_bits() == 0);
        return if zeros { Ok(()) } else { Err(format!("c = 0 gives {found:?}")) };
    }
    let terms = row_terms(row);
    for (h, &found) in found.iter().enumerate() {
        let weight = |column: usize| f64::from(stored.weight(column, h));
        let due = sum(terms.iter().enumerate().map(|(column, d)| (*d, weight(column))));
        due.holds::<f32>(found, || format!("at {h}"))?;
    }
    Ok(())
}
