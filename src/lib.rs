//! Direct Preference Optimization from logits to logit gradients, for hosts that bring their own
//! model, memory and accelerator. `#![no_std]`, no allocation, no panic: the host owns every
//! buffer, the crate owns the numbers.
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
//! # Start here
//!
//! [`Layout`] says which rows are scored, and is checked once. [`StepBatch`] adds pairs and
//! reference. [`preference_step`] turns logits into gradients, under [`Dpo`] or another of
//! [`loss`]. Ten names serve most hosts: these four, [`Logits`] or [`LogitsMut`], [`Span`],
//! [`Pair`], [`Reference`], [`Dispatch`], and `Workspace` (feature `alloc`), which owns the buffers
//! of a step:
//!
#![cfg_attr(feature = "alloc", doc = "```")]
#![cfg_attr(not(feature = "alloc"), doc = "```ignore")]
//! use dpo_kernel::*;
//! # let mut logits = [0.5_f32, -1.0, 2.0, 0.0, 3.0, -0.5];
//! # let (targets, spans, reference) = ([2, 0], [Span::new(0, 1), Span::new(1, 2)], [-0.24, -3.08]);
//! # let (rows, vocab) = (2, 3);
//! let mut workspace = Workspace::new();
//! let layout = Layout::new(&targets, &spans, vocab)?;
//! let pairs = [Pair::new(0, 1)];
//! let batch = StepBatch::new(&layout, &pairs, Reference::Sums(&reference), pairs.len() as f64);
//! let view = LogitsMut::new(&mut logits, rows, vocab)?;
//! let summary = workspace.preference_step(Dispatch::detect(), &Dpo::new(0.1)?, view, &batch)?;
//! assert!(summary.mean_loss() > 0.0); // and the scored rows of `logits` are gradients
//! # Ok::<(), Error>(())
//! ```
//!
//! # The stages
//!
//! | stage | what | formula |
//! |---|---|---|
//! | in | [`Logits`], [`Transform`] | y = softcap(scale · x) / temperature |
//! | in | [`Layout`] of [`Targets`] and [`Span`]s | which rows are scored, checked once |
//! | 1 | [`row`]: fold a tile, merge, read log Z | log Z = ln Σ e^y |
//! | 2 | [`token_log_probs`] | log p = y\[target\] − log Z |
//! | 3 | [`sequence_log_probs`] | log π(y\|x) = Σ w · log p |
//! | 4 | [`preference_loss`] with [`Dpo`], or any other of [`loss`] | L = softplus(−z) + ε z, z = β(a − b) − offset |
//! | 4 | [`unpaired`]: answers without a partner (KTO, BCO) | L = ℓ₁(a) or ℓ₂(b) |
//! | 5 | [`gradient::token_coefficients`] | c = w · ∂L/∂log π + ∂NLL/∂log p |
//! | 6 | [`gradient`]: whole rows, in place or not, or tiles of them | c · (onehot − p) · dy/dx |
//! | 1–6 | [`head`]: hidden states in the place of logits, which exist a tile at a time | x = states · Wᵀ + b |
//! | all | [`preference_step`], [`step::unpaired_step`] | the stages in one call, see [`step`] |
//!
//! Beside the stages: [`training`], what a run needs from its data and keeps from step to step (K
//! of KTO, β of β-DPO, weights of LD-DPO and WPO, offsets, pairs out of scores, the moving
//! reference). [`theory`] holds the derivation as functions that a test can check. [`math`] holds
//! the scalar functions. `verify` (a feature) is the plain f64 reference of everything, written to
//! be read first.
//!
//! # A step, from the host's side
//!
//! A batch has R rows of logits, N sequences and P pairs. Once: log-probs of the sequences under
//! the frozen model, by [`token_log_probs`] and [`sequence_log_probs`], kept as a [`Reference`].
//! Every step: [`preference_step`], or the stages one by one; then the host's own backward from the
//! logit gradients. What the gradients leave of the buffer (rows that are not scored, padding) is
//! kept or zeroed as [`Unscored`](gradient::Unscored) says. The stages that touch logits take an
//! [`Executor`]: a [`Dispatch`], which is the instructions ([`Level`]) and the roundings
//! ([`Arithmetic`]), or a `Parallel` (feature `rayon`). Losses are sums; the divisor of the
//! gradients is the host's, so that micro-batches and machines add up. Weight 0 is absence: what
//! has it is in no sum, count or gradient, and may be NaN. Token weights are the preference loss's:
//! an NLL term is of the tokens as they are.
//!
//! # Where the loss comes from
//!
//! The policy that maximises reward minus β · KL to a reference is π* ∝ `π_ref · e^(r/β)`. Read
//! backwards it gives the reward, up to β log Z(x), which nobody can compute; but a preference
//! compares two answers to one prompt, so β log Z(x) cancels *exactly*, and what is left is a
//! classification loss of four log-probs (Rafailov et al. 2023, arXiv 2305.18290). See [`theory`].
//!
//! # Guarantees
//!
//! - **Numbers.** log Z within half an ulp of f32 + 3e-8 of exact for vocabularies to 262,144 and
//!   logits of any common spread and shift, 5e-7 at an adversary's worst (3.2e-7 found);
//!   probabilities within (4 + |ln p|)·2⁻²⁴ relative; a confident token keeps the digits of its
//!   log-prob down to −1e-38. The one table of bounds, with the worst inputs found, is
//!   `verify::bounds`; [`math::f32::log_sigmoid`] and [`math::f32::sigmoid`] are correctly
//!   rounded on all 2³² inputs.
//! - **Step 0.** Policy ≡ reference gives exactly ln 2 and gradients ∓β/2 (without smoothing; other
//!   losses their own figures, as exactly), because both go through one function whose row results
//!   depend on nothing but the row and the arithmetic.
//! - **Same bits.** [`Arithmetic::Portable`] uses + − × ÷ alone and gives the same bits on every
//!   IEEE-754 machine; [`Arithmetic::Fused`] gives the same bits on every machine whose FMA the
//!   crate uses. [`Level`] never changes a result. (x87 without SSE, and modes that flush
//!   subnormals, are not IEEE-754.)
//! - **Memory.** What no span covers, what is ignored, and columns past the vocabulary are never
//!   read, and written only as zeros and only if asked for. Nothing is allocated without a feature
//!   that says so.
//! - **Errors.** Shapes, spans, targets and parameters are checked before anything is written, and
//!   the [`Error`] holds the numbers. Nothing panics; only the text of an `Error` is formatted by
//!   `core`, whose f64 code holds panics that no value reaches.
//!
//! # Masked rows
//!
//! −inf is masked vocabulary: probability and gradient exactly 0, anywhere in a row, whole leading
//! blocks included. A row with NaN or +inf, or nothing but −inf, yields NaN for that row alone and
//! [`Error::NonFiniteRows`] after all others are done. A target on a masked column yields −inf, and
//! its pair [`Error::NonFinitePairs`].
//!
//! To go on without broken pairs, give them weight 0 and call again: they are then as if they were
//! not there. Or run the stages, after whose errors all others are complete: add the finite
//! [`PairLoss`]es to a [`Summary`] with `+=`, set every `d_log_probs` that is not finite to 0, and
//! run the backward: rows whose coefficient is 0 need no norm and get zeros.
//!
//! Masks that are the type's lowest finite number are counted, not refused:
//! [`TokenSummary::masked_tokens`].
//!
//! # Features
//!
//! None by default. `alloc` adds `Workspace`. `verify` adds the reference of every stage, and
//! comparison with it, and with `alloc` a conformance kit for other backends; `proptest` and `arbitrary` add cases to test other backends with, and
//! allocate (`arbitrary` with `std`). `rayon` adds `Parallel`, rows over threads: the same bits,
//! but with `std`, allocation and rayon's panics. `c` adds the C ABI, `capi` the same as a library
//! of its own with the panic handler of `std`. Levels above the build's baseline are found at run
//! time without `std`.
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
pub mod gradient;
pub mod head;
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
#[doc(inline)]
pub use error::Error;
pub use executor::Executor;
pub use half::{bf16, f16};
pub use layout::{IGNORE_INDEX, Layout, Span, Targets};
pub use level::{Arithmetic, Level};
pub use logits::{Logits, LogitsMut};
#[doc(inline)]
pub use loss::Dpo;
pub use pair::{Pair, PairBatch, PairLoss, Reference};
#[cfg(feature = "rayon")]
pub use parallel::Parallel;
pub use preference::{PairOut, Summary, preference_loss};
pub use sequence::{SequenceLogProb, sequence_log_probs};
pub use simd::Dispatch;
#[doc(inline)]
pub use step::{StepBatch, preference_step};
pub use token::{TokenOut, TokenSummary, token_log_probs};
pub use transform::Transform;
#[cfg(feature = "alloc")]
pub use workspace::Workspace;

/// The README's example, as a test.
#[cfg(all(doctest, feature = "alloc"))]
#[doc = include_str!("../README.md")]
struct Readme;

/// That of the kit's page.
#[cfg(all(doctest, feature = "alloc", feature = "verify"))]
#[doc = include_str!("../docs/kit.md")]
struct KitPage;
