//! Token log-probs of a batch with padding, ignored rows and gaps: the forward of every row, each
//! counted, and nothing else written.

use dpo_kernel::row::{RowDetails, RowNorm};
use dpo_kernel::verify::cases::{BatchCase, RowCase, stored};
use dpo_kernel::verify::{self, Tolerance, compare};
use dpo_kernel::{
    Dispatch, Error, Layout, Logits, Targets, TokenOut, TokenSummary, bf16, f16, token_log_probs,
};

use super::batch::{spans, transform};
use super::levels::for_each_dispatch;
use super::row::same_on_levels;
use super::store::Store;
use super::tolerance::{HALF_ULP, Sizes};

/// What no kernel writes by accident.
const UNTOUCHED: f32 = 12345.678;

pub fn check(case: &BatchCase) -> Result<(), String> {
    crate::for_each_storage!(check_storage(case))
}

/// What the forward leaves behind.
#[derive(Clone, Debug)]
pub struct Forward {
    pub result: Result<TokenSummary, Error>,
    pub log_probs: Vec<f32>,
    pub norms: Vec<RowNorm>,
    pub details: Vec<RowDetails>,
}

pub fn forward<E: Store>(case: &BatchCase, dispatch: Dispatch) -> Forward {
    let logits: Vec<E> = stored(&case.logits);
    let rows = case.rows();
    let mut log_probs = vec![UNTOUCHED; rows];
    let mut norms = vec![RowNorm::default(); rows];
    let mut details = vec![RowDetails { entropy: UNTOUCHED, ..RowDetails::default() }; rows];
    let view = Logits::with_stride(&logits, rows, case.vocab(), case.stride)
        .expect("a well-formed case")
        .with_transform(transform(&case.transform));
    let targets = Targets::new(&case.layout.targets).with_ignore(case.layout.ignore);
    let spans = spans(&case.layout.spans);
    let mut order = vec![0; spans.len()];
    let layout = Layout::in_any_order(targets, &spans, case.vocab(), &mut order)
        .expect("a well-formed case");
    let out = TokenOut::new(&mut log_probs).with_norms(&mut norms).with_details(&mut details);
    let result = token_log_probs(dispatch, view, &layout, out);
    Forward { result, log_probs, norms, details }
}

fn check_storage<E: Store>(case: &BatchCase) -> Result<(), String> {
    let mut first = Vec::new();
    let mut result = Ok(());
    for_each_dispatch(|dispatch| {
        if result.is_ok() {
            let found = forward::<E>(case, dispatch);
            result = accepts::<E>(case, &found)
                .and_then(|()| same_on_levels(&mut first, dispatch, format!("{found:?}")))
                .map_err(|why| format!("{dispatch:?}: {why}"));
        }
    });
    result
}

/// One row of a batch; its coefficient is of no account.
pub fn row_of(case: &BatchCase, row: usize) -> RowCase {
    RowCase {
        logits: case.logits[row * case.stride..][..case.vocab()].to_vec(),
        transform: case.transform,
        target: case.layout.targets[row] as usize,
        coefficient: 0.0,
    }
}

/// The scored rows that have no probabilities.
pub fn broken_rows<E: Store>(case: &BatchCase) -> Vec<usize> {
    let is_broken = |&row: &usize| {
        let scored = case.layout.is_scored(row);
        scored && verify::log_sum_exp(&row_of(case, row).transformed::<E>()).is_nan()
    };
    (0..case.rows()).filter(is_broken).collect()
}

pub fn accepts<E: Store>(case: &BatchCase, found: &Forward) -> Result<(), String> {
    let broken = broken_rows::<E>(case);
    for row in 0..case.rows() {
        let (log_prob, details) = (found.log_probs[row], &found.details[row]);
        if !case.layout.is_scored(row) {
            let values = [log_prob, details.entropy].map(f32::to_bits);
            if values != [UNTOUCHED.to_bits(); 2] || found.norms[row] != RowNorm::default() {
                return Err(format!("row {row}, which nobody scores, was written"));
            }
            continue;
        }
        let one = row_of(case, row);
        let y = one.transformed::<E>();
        accepts_row(&one, &y, log_prob, details).map_err(|why| format!("row {row}: {why}"))?;
    }
    match (&broken[..], found.result) {
        ([], Ok(summary)) => accepts_summary::<E>(case, summary),
        (&[first, ..], Err(error))
            if error == Error::NonFiniteRows { first, count: broken.len() } =>
        {
            Ok(())
        }
        (_, result) => Err(format!("{result:?}; the rows {broken:?} have no probabilities")),
    }
}

/// All scored rows are counted, and those whose target was masked with a number.
fn accepts_summary<E: Store>(case: &BatchCase, summary: TokenSummary) -> Result<(), String> {
    let scored = || (0..case.rows()).filter(|&row| case.layout.is_scored(row));
    let lowest = if E::NAME == "f16" { f16::MIN.to_f32() } else { bf16::MIN.to_f32() };
    let is_masked = |&row: &usize| {
        let one = row_of(case, row);
        let logit = stored::<E>(&one.logits[one.target..=one.target])[0].to_f32();
        logit.is_finite() && logit <= lowest
    };
    let (tokens, masked) = (scored().count() as u64, scored().filter(is_masked).count() as u64);
    if (summary.tokens, summary.masked_tokens) == (tokens, masked) {
        Ok(())
    } else {
        Err(format!("{summary:?}, not {tokens} tokens and {masked} masked"))
    }
}

fn accepts_row(
    row: &RowCase,
    y: &[f64],
    log_prob: f32,
    details: &RowDetails,
) -> Result<(), String> {
    let sizes = Sizes::of(row, y);
    let target = y[row.target];
    let expected = verify::log_prob(y, row.target);
    let rounding = Tolerance { ulps: 0.5, ..sizes.log_prob(expected) };
    let failed = |why: verify::Mismatch| why.to_string();
    compare("log p", target, expected, log_prob, rounding).map_err(failed)?;

    let entropy = verify::entropy(y);
    // Σ p·|y − reference|, whose terms err by some 2⁻²⁴; the reference is within 2^7.5 of the row's
    // top.
    let spread = 16.0 * HALF_ULP * (entropy.abs() + 10.0);
    let tolerance = Tolerance::ulps(0.5).and_absolute(spread + 2.0 * sizes.log_z().absolute);
    compare("entropy", target, entropy, details.entropy, tolerance).map_err(failed)?;
    let expected = verify::log_sum_sq_probs(y);
    let tolerance = Tolerance::ulps(0.5).and_absolute(8.0 * sizes.log_z().absolute);
    compare("log Σp²", target, expected, details.log_sum_sq_probs, tolerance).map_err(failed)?;
    match verify::argmax(y) {
        None if details.argmax != 0 => Err(format!("argmax {} of no numbers", details.argmax)),
        // A softcap makes ties in f32 that f64 can tell apart.
        Some(first) if row.transform.softcap.is_some() => {
            let tolerance = sizes.log_z();
            let found = y.get(details.argmax as usize).copied().unwrap_or(f64::NAN);
            compare("largest", target, y[first], found, tolerance).map_err(failed)
        }
        Some(first) if first != details.argmax as usize => {
            Err(format!("argmax {}, not {first}", details.argmax))
        }
        _ => Ok(()),
    }
}
