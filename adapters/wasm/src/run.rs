//! The exports: a call becomes views, and one function of the library does the work.
#![allow(
    clippy::needless_pass_by_value,
    reason = "views hold slices that are written: they are used up"
)]

#[cfg(feature = "bf16")]
use dpo_kernel::bf16;
#[cfg(feature = "f16")]
use dpo_kernel::f16;
use dpo_kernel::step::StepScratch;
use dpo_kernel::{
    Dispatch, Element, PairBatch, PairOut, StepBatch, TokenOut, preference_loss, preference_step,
    token_log_probs,
};
#[cfg(feature = "losses")]
use dpo_kernel::{
    step::{UnpairedStepBatch, unpaired_step},
    unpaired::{UnpairedBatch, UnpairedOut, unpaired_loss},
};

use crate::call::{Call, Views};
use crate::loss;
use crate::outcome::{Fault, Outcome};

type Found = Result<Outcome, Fault>;

/// Token and sequence log-probs. Rows that are not finite are an error after all else is written.
///
/// # Safety
/// That of [`Views::new`]; the logits are of this type.
unsafe fn scores<E: Element>(views: Views<'_>) -> Found {
    // SAFETY: passed on.
    let logits = unsafe { views.logits::<E>()? };
    let layout = Views::layout(&views.call, views.targets, views.spans, views.order)?;
    // Checked before anything is written.
    let Views { log_probs, token_weights, policy, .. } = views;
    dpo_kernel::sequence_log_probs(log_probs, &layout, token_weights, policy)?;
    let out = TokenOut::new(log_probs);
    let found = token_log_probs(Dispatch::detect(), logits.as_logits(), &layout, out);
    dpo_kernel::sequence_log_probs(log_probs, &layout, token_weights, policy)?;
    Ok(Outcome { tokens: found?, ..Outcome::default() })
}

/// # Safety
/// That of [`Views::new`]; the logits are of this type.
unsafe fn steps<E: Element>(views: Views<'_>) -> Found {
    // SAFETY: passed on.
    let logits = unsafe { views.logits::<E>()? };
    let unscored = views.unscored();
    let layout = Views::layout(&views.call, views.targets, views.spans, views.order)?;
    let loss = loss::of_pairs(views.name, views.options, views.loss_order)?;
    let mut batch = StepBatch::new(&layout, views.pairs, views.reference, views.call.divisor);
    (batch.weights, batch.offsets) = (views.weights, views.offsets);
    (batch.token_weights, batch.unscored) = (views.token_weights, unscored);
    let scratch = StepScratch::new(
        views.log_probs,
        views.norms,
        views.policy,
        views.pair_losses,
        views.d_log_probs,
        views.coefficients,
    );
    let found = preference_step(Dispatch::detect(), loss, logits, &batch, scratch)?;
    Ok(Outcome { pairs: found.loss, tokens: found.tokens, ..Outcome::default() })
}

/// # Safety
/// That of [`Views::new`]; the logits are of this type.
#[cfg(feature = "losses")]
unsafe fn answer_steps<E: Element>(views: Views<'_>) -> Found {
    // SAFETY: passed on.
    let logits = unsafe { views.logits::<E>()? };
    let (answers, unscored) = (views.answers()?, views.unscored());
    let layout = Views::layout(&views.call, views.targets, views.spans, views.order)?;
    let objective = loss::build(views.name, views.options)?;
    let loss = objective.as_unpaired().ok_or(Fault::NotOfAnswers)?;
    let mut batch = UnpairedStepBatch::new(&layout, answers, views.reference, views.call.divisor);
    (batch.weights, batch.token_weights) = (views.weights, views.token_weights);
    batch.unscored = unscored;
    let scratch = StepScratch::new(
        views.log_probs,
        views.norms,
        views.policy,
        views.answer_losses,
        views.d_log_probs,
        views.coefficients,
    );
    let found = unpaired_step(Dispatch::detect(), loss, logits, &batch, scratch)?;
    Ok(Outcome { answers: found.loss, tokens: found.tokens, ..Outcome::default() })
}

fn sums(views: Views<'_>) -> Found {
    let layout = Views::layout(&views.call, views.targets, views.spans, views.order)?;
    let Views { log_probs, token_weights, policy, .. } = views;
    dpo_kernel::sequence_log_probs(log_probs, &layout, token_weights, policy)?;
    Ok(Outcome::default())
}

fn losses(views: Views<'_>) -> Found {
    let loss = loss::of_pairs(views.name, views.options, views.loss_order)?;
    let mut batch = PairBatch::new(views.pairs, views.policy, views.reference, views.call.divisor);
    (batch.weights, batch.offsets) = (views.weights, views.offsets);
    let out = PairOut::new(views.pair_losses, views.d_log_probs);
    Ok(Outcome { pairs: preference_loss(loss, &batch, out)?, ..Outcome::default() })
}

#[cfg(feature = "losses")]
fn answer_losses(views: Views<'_>) -> Found {
    let answers = views.answers()?;
    let objective = loss::build(views.name, views.options)?;
    let loss = objective.as_unpaired().ok_or(Fault::NotOfAnswers)?;
    let mut batch = UnpairedBatch::new(answers, views.policy, views.reference, views.call.divisor);
    batch.weights = views.weights;
    let out = UnpairedOut::new(views.answer_losses, views.d_log_probs);
    Ok(Outcome { answers: unpaired_loss(loss, &batch, out)?, ..Outcome::default() })
}

/// Exports, of calls with logits and of those without.
macro_rules! exports {
    ($($(#[$attribute:meta])* $name:ident => $of_type:ident::<E>;)*) => { $(
        $(#[$attribute])*
        ///
        /// # Safety
        /// `call` is as [`Call`] says, each of its pointers is NULL or has memory of its own, and
        /// `outcome` is aligned memory for one.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name(call: *const Call, outcome: *mut Outcome) {
            // SAFETY: the caller's word; the logits are of the type that the call says.
            unsafe {
                let views = Views::new(call);
                let found = match views.call.kind {
                    #[cfg(feature = "f32")]
                    1 => $of_type::<f32>(views),
                    #[cfg(feature = "f16")]
                    2 => $of_type::<f16>(views),
                    #[cfg(feature = "bf16")]
                    3 => $of_type::<bf16>(views),
                    _ => Err(Fault::TypeNotBuilt),
                };
                outcome.write(found.unwrap_or_else(Outcome::of));
            }
        }
    )* };
    ($($(#[$attribute:meta])* $name:ident => $without:ident;)*) => { $(
        $(#[$attribute])*
        ///
        /// # Safety
        /// `call` is as [`Call`] says, each of its pointers is NULL or has memory of its own, and
        /// `outcome` is aligned memory for one.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name(call: *const Call, outcome: *mut Outcome) {
            // SAFETY: the caller's word.
            unsafe { outcome.write($without(Views::new(call)).unwrap_or_else(Outcome::of)) }
        }
    )* };
}

exports! {
    /// Logits → log-probs of tokens and sequences.
    score => scores::<E>;
    /// Logits, pairs → losses, and gradients in the logits' place.
    pair_step => steps::<E>;
    /// Logits, answers → losses, and gradients in the logits' place.
    #[cfg(feature = "losses")]
    answer_step => answer_steps::<E>;
}

exports! {
    /// Log-probs of tokens → of sequences.
    sequence_log_probs => sums;
    /// Log-probs of sequences, pairs → losses and their gradients.
    pair_loss => losses;
    /// Log-probs of sequences, answers → losses and their gradients.
    #[cfg(feature = "losses")]
    answer_loss => answer_losses;
}
