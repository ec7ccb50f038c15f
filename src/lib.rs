//! Direct Preference Optimization from logits to logit gradients, for hosts that bring their own
//! model, memory and accelerator. `#![no_std]`, no allocation, no panic: the host owns every buffer,
//! the crate owns the numbers.
//!
//! ```text
//! logits tile ──fold──▶ RowStats ──▶ token log-prob ──▶ sequence log-prob ──▶ preference loss
//!      ▲                (mergeable)    y[target] − log Z   {sum, count}         │  L, ∂L/∂log π
//!      └─────────── map: c · (onehot − softmax), in place ◀────────────────────┘
//! ```
//!
//! Everything that reads logits is a fold over tiles of the vocabulary; everything that writes
//! gradients is a map over the same tiles. Two sweeps read the logits and one writes them, which is
//! the floor, because the loss stands between forward and backward.
//!
//! # The stages
//!
//! | stage | what | formula |
//! |---|---|---|
//! | in | [`Logits`], [`Transform`], [`Targets`], [`Span`] | y = softcap(scale · x) / temperature |
//! | 1 | [`RowStats`](row::RowStats): fold a tile, merge, read log Z | log Z = ln Σ e^y |
//! | 2 | [`token_log_probs`] | log p = y\[target\] − log Z |
//! | 3 | [`sequence_log_probs`] | log π(y\|x) = Σ w · log p |
//! | 4 | [`preference_loss`] with [`Dpo`] | L = softplus(−z) + ε z, z = β(a − b) − offset |
//! | 4 | … or any [`MarginLoss`] | L = ℓ(z), z = β(difference of scores) − γ − offset |
//! | 4 | … or any [`UnpairedLoss`]; [`unpaired_loss`] | L = ℓ₁(a) + ℓ₂(b) |
//! | 4 | … or [`Aot`], [`Orpo`], [`Mixture`], [`PerPair`], … | `docs/losses.md` has them all |
//! | 4 | [`nll_loss`] | L = −w/N Σ log p of chosen answers |
//! | 4 | [`Loss`], [`LossName`], [`LossOptions`] | any of them, chosen at run time |
//! | 5 | [`logit_grads`], [`logit_grads_in_place`], [`tile_grads_in_place`] | c · (onehot − p) · dy/dx |
//! | all | [`preference_step`] | the stages in one call |
//!
//! Beside the stages, for what a run needs from its data and keeps from step to step:
//!
//! | what | for |
//! |---|---|
//! | [`best_worst_pairs`] | pairs out of scored completions: online and iterative DPO |
//! | [`LogRatioSums`] | K of KTO, δ of BCO |
//! | [`pair_gaps`], [`GapAverages`], [`DynamicBeta`] | β and the filter of β-DPO |
//! | [`update_reference`] | the moving reference of TR-DPO |
//! | [`Summary`], [`LengthSums`], [`identical_pairs`] | likelihood displacement, saturation, the length exploit, pairs that prefer nothing: seen early |
//!
//! [`theory`] holds the derivation as functions that a test can check: objective, partition function,
//! optimal policy, implicit reward, Bradley–Terry, population loss. [`math`] holds the scalar
//! functions. `verify` (a feature) is the plain f64 reference of everything, written to be read first.
//!
//! # A step, from the host's side
//!
//! A batch has R rows of logits, N sequences and P pairs. The host owns R token log-probs and
//! [`RowNorm`]s, N [`SequenceLogProb`]s and gradients, P [`PairLoss`]es, and its logits. Once: log-probs of
//! the sequences under the frozen model, by [`token_log_probs`] and [`sequence_log_probs`], kept as a
//! [`Reference`]. Every step: [`preference_step`], or the stages one by one; then the host's own backward from the
//! logit gradients of the scored rows. Every kernel takes a [`Dispatch`]: the instructions ([`Level`]) and
//! the roundings ([`Arithmetic`]). Losses are sums; the divisor of the gradients is the host's, so that
//! micro-batches and machines add up.
//!
//! # Where the loss comes from
//!
//! The policy that maximises reward minus β · KL to a reference is π* ∝ `π_ref · e^(r/β)`. Read
//! backwards it gives the reward, up to β log Z(x), which nobody can compute; but a preference compares
//! two answers to one prompt, so β log Z(x) cancels *exactly*, and what is left is a classification
//! loss of four log-probs (Rafailov et al. 2023, arXiv 2305.18290). See [`theory`].
//!
//! # Guarantees
//!
//! - **Numbers.** log Z within half an ulp of f32 + 3e-8 of exact for vocabularies to 262,144 and
//!   logits of any common spread and shift, 5e-7 at an adversary's worst (3.2e-7 found); probabilities within
//!   (4 + |ln p|)·2⁻²⁴ relative; a confident token keeps the digits of its log-prob down to −1e-38. The
//!   one table of bounds, with the worst inputs found, is `tests/common/bounds.rs`;
//!   [`math::f32::log_sigmoid`] and [`math::f32::sigmoid`] are correctly rounded on all 2³² inputs.
//! - **Step 0.** Policy ≡ reference gives exactly ln 2 and gradients ∓β/2 (without smoothing; other losses their own
//!   figures, as exactly), because both go through one function whose row results depend on nothing but the row and
//!   the arithmetic.
//! - **Same bits.** [`Arithmetic::Portable`] uses + − × ÷ alone and gives the same bits on every
//!   IEEE-754 machine; [`Arithmetic::Fused`] gives the same bits on every machine whose FMA the crate
//!   uses. [`Level`] never changes a result. (x87 without SSE, and modes that flush subnormals, are
//!   not IEEE-754.)
//! - **Memory.** What no span covers, what is ignored, and columns past the vocabulary are never read
//!   and never written. Nothing is allocated.
//! - **Errors.** Shapes, spans, targets and parameters are checked before anything is written, and the
//!   [`Error`] holds the numbers. Nothing panics; only the text of an `Error` is formatted by `core`,
//!   whose f64 code holds panics that no value reaches.
//!
//! # Masked rows
//!
//! −inf is masked vocabulary: probability and gradient exactly 0, anywhere in a row, whole leading
//! blocks included. A row with NaN or +inf, or nothing but −inf, yields NaN for that row alone and
//! [`Error::NonFiniteRows`] after all others are done. A target on a masked column yields −inf, and its
//! pair [`Error::NonFinitePairs`].
//!
//! To go on without broken pairs, run the stages: after either error all others are complete. Add the
//! finite [`PairLoss`]es to a [`Summary`] with `+=`, set every `d_log_probs` that is not finite to 0, lower
//! the divisor by the pairs left out if the mean is to be over the rest, and run the backward: rows whose
//! coefficient is 0 need no norm and get zeros.
//!
//! # Features
//!
//! None by default. `verify` adds the reference of every stage, and comparison with it; `proptest` and
//! `arbitrary` add cases to test other backends with, and allocate (`arbitrary` with `std`). `rayon` adds
//! `parallel`, the stages that touch logits with rows over threads: the same bits, but with `std`, allocation
//! and rayon's panics. `c` adds the C ABI, `capi` the same as a library of its own with the panic handler of
//! `std`. Levels above the build's baseline are found at run time without `std`.
#![no_std]

#[cfg(any(feature = "alloc", feature = "proptest", feature = "arbitrary"))]
extern crate alloc;
// A library on its own needs a panic handler, although nothing in it panics.
#[cfg(feature = "capi")]
extern crate std;

#[cfg(feature = "c")]
pub mod c;
mod element;
pub mod error;
mod executor;
mod gradient;
mod layout;
mod level;
mod logits;
pub mod loss;
pub mod math;
mod order;
mod pair;
#[cfg(feature = "rayon")]
mod parallel;
mod preference;
pub mod row;
mod sequence;
mod simd;
pub mod step;
pub mod theory;
mod token;
pub mod training;
mod transform;
pub mod unpaired;
#[cfg(feature = "verify")]
pub mod verify;
#[cfg(feature = "alloc")]
mod workspace;

pub use element::Element;
pub use error::Error;
pub use executor::Executor;
pub use gradient::{
    GradBatch, Unscored, logit_grads, logit_grads_in_place, tile_grads_in_place, token_coefficients,
};
pub use half::{bf16, f16};
pub use layout::{IGNORE_INDEX, Layout, Span, Targets, spans_of_batch, spans_of_offsets};
pub use level::{Arithmetic, Level};
pub use logits::{Logits, LogitsMut};
pub use loss::Dpo;
pub use pair::{Pair, PairBatch, PairLoss, Reference};
#[cfg(feature = "rayon")]
pub use parallel::Parallel;
pub use preference::{PairOut, Summary, preference_loss};
pub use row::{RowDetails, RowNorm};
pub use sequence::{SequenceLogProb, sequence_log_probs};
pub use simd::Dispatch;
pub use step::{StepBatch, StepScratch, StepSummary, preference_step, unpaired_step};
pub use token::{TokenOut, TokenSummary, token_log_probs};
pub use transform::Transform;
#[cfg(feature = "alloc")]
pub use workspace::Workspace;

/// The README's example, as a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
