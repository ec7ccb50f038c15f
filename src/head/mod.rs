//! The language-model head: from hidden states and weights to token log-probs and hidden gradients.
//! Logits exist a tile at a time, never all at once.
//!
//! ```text
//! y = transform(x),  x = states · Wᵀ + b        log p = y[target] − log Z
//! ∂L/∂states = c · ((1 − p[target]) · dy/dx · W[target] − Σ_{j ≠ target} p_j · dy/dx_j · W_j)
//! ```
//!
//! For a real vocabulary the logits are the largest thing in training: 512 tokens of 131,072
//! columns are 268 MB, and their gradients as much again. Here 512 tokens take 1.6 MiB beside
//! hidden states, weights and gradients, whatever the vocabulary ([`HeadScratch`] has the formula).
//!
//! | name | for |
//! |---|---|
//! | [`Hidden`], [`HiddenMut`] | views of hidden states, and of their gradients |
//! | [`Linear`] | a head of weights in memory (f32, f16, bf16), with bias and [`Transform`](crate::Transform) |
//! | [`Adapter`], [`Adapted`] | a low-rank adapter on whatever head |
//! | [`Head`] | the trait: weights in four bits, on a device, by another product |
//! | [`HeadScratch`] | the memory to work in, and how much of it |
//! | [`head_token_log_probs`] | log-probs alone: all that a reference model needs |
//! | [`head_forward`] | frozen head: log-probs and, in the same stream over the weights, Σ p·W |
//! | [`hidden_grads_in_place`], [`hidden_grads`] | these sums and coefficients into hidden gradients |
//! | [`tile_terms_in_place`], [`hidden_row_grads_in_place`] | the same by the host's own loop over tiles |
//! | [`head_grads`] with [`HeadGrads`] | trained head, bias or adapter: tiles again, all gradients |
//! | [`head_shard_stats`], [`head_shard_grads`] | a head whose rows are shared by machines |
//! | [`FrozenHead`](crate::step::FrozenHead), [`TrainedHead`](crate::step::TrainedHead) | a whole step: hidden states and head in the place of logits |
//!
//! Between forward and backward stand the stages that every host has: sums of tokens, the loss,
//! [`token_coefficients`](crate::gradient::token_coefficients). Or all in one call:
//! [`preference_step`](crate::preference_step) takes a
//! [`FrozenHead`](crate::step::FrozenHead) or a [`TrainedHead`](crate::step::TrainedHead) where it
//! takes logits. The executor may be a `Parallel` (feature `rayon`): rows go over threads, and
//! nothing else changes.
//!
//! A frozen head is the usual case (`LoRA` below the head, or on-device training): its weights get
//! no gradient, and nothing is computed for one. Tied embeddings are nothing special: the head's
//! weights are the embedding's, V × H; where the embedding is trained, add its gradient to that of
//! the head.
//!
//! # How it is computed
//!
//! The simple version makes all logits, then a softmax, then a product back. This one differs in
//! that
//! 1. a tile of 512 columns is made of all rows, folded, and thrown away. A tile is a block of the
//!    fold, so log Z has the bits of logits that were written out;
//! 2. the loss stands between forward and backward, but a frozen head needs only c·(W\[y\] − Σ p·W),
//!    and Σ p·W can be had before c is known: the tile becomes its terms e^y / base in place, and
//!    the product of these with the tile's weights is added to the row's sums. No tile is made
//!    again: two products in all;
//! 3. the base is a power of two that rises with the row's logits: sums are rescaled exactly;
//! 4. the target is left out of the sum and of Σ p·W, and put back with 1 − p: a confident token
//!    keeps its gradient;
//! 5. a trained head needs the coefficients before its gradient can be summed over tokens, so its
//!    tiles are made a second time; four products in all. The gradient of 512 columns is summed in
//!    f32 over every token, then rounded to its type and written, once;
//! 6. all products add along the contraction in the order of the operands, in chains of 256 at
//!    fixed positions (128 along tokens), with lanes over the other dimension: the same bits on every
//!    level, for every number of rows at once and of threads.
//!
//! # Example
//! ```
//! use dpo_kernel::gradient::GradBatch;
//! use dpo_kernel::head::*;
//! use dpo_kernel::row::RowNorm;
//! use dpo_kernel::{Dispatch, Layout, Span, TokenOut};
//! let (rows, size, vocab) = (2, 3, 4);
//! let states = [0.5_f32, -1.0, 2.0, 0.0, 3.0, -0.5];
//! let weights = [0.1_f32; 12];
//! let (targets, spans) = ([2, 0], [Span::new(0, 2)]);
//! let (layout, dispatch) = (Layout::new(&targets, &spans, vocab)?, Dispatch::detect());
//! let (states, head) = (Hidden::new(&states, rows, size)?, Linear::new(&weights, vocab, size)?);
//!
//! let mut at_once = [HeadRow::NEW; 2];
//! let mut numbers = vec![0.0; HeadScratch::numbers::<f32, _>(&head, 2)];
//! let (mut log_probs, mut norms, mut buffer) = ([0.0; 2], [RowNorm::default(); 2], [0.0; 6]);
//! let out = TokenOut::new(&mut log_probs).with_norms(&mut norms);
//! let sums = HiddenMut::new(&mut buffer, rows, size)?;
//! let scratch = HeadScratch::new(&mut at_once, &mut numbers);
//! head_forward(dispatch, states, &head, &layout, out, sums, scratch)?;
//! assert!((log_probs[0] + 4.0_f32.ln()).abs() < 1e-6); // four equal logits
//!
//! // The loss says how much each token's log-prob matters, and the sums become gradients.
//! let batch = GradBatch::new(&layout, &norms, &[-0.5, 0.25]);
//! let sums = HiddenMut::new(&mut buffer, rows, size)?;
//! let scratch = HeadScratch::new(&mut at_once, &mut numbers);
//! hidden_grads_in_place(dispatch, states, &head, &batch, sums, scratch)?;
//! assert!(buffer.iter().all(|d| d.abs() < 1e-7)); // all rows of the head are equal
//! # Ok::<(), dpo_kernel::Error>(())
//! ```
//!
//! An adapter that is trained, over the same buffers:
//! ```
//! # use dpo_kernel::gradient::GradBatch;
//! # use dpo_kernel::head::*;
//! # use dpo_kernel::row::RowNorm;
//! # use dpo_kernel::{Dispatch, Layout, Span, TokenOut};
//! # let (rows, size, vocab) = (2, 3, 4);
//! # let states = [0.5_f32, -1.0, 2.0, 0.0, 3.0, -0.5];
//! # let weights = [0.1_f32; 12];
//! # let (targets, spans) = ([2, 0], [Span::new(0, 2)]);
//! # let (layout, on) = (Layout::new(&targets, &spans, vocab)?, Dispatch::detect());
//! # let states = Hidden::new(&states, rows, size)?;
//! # let (mut log_probs, mut norms) = ([0.0; 2], [RowNorm::default(); 2]);
//! let (a, b, rank) = ([0.5_f32, -0.5, 0.25], [0.0_f32; 4], 1); // A random, B zeros: nothing changes yet
//! let adapter = Adapter::new(&a, &b, rank, size, vocab, 2.0)?;
//! let (mut at_once, mut numbers) = ([HeadRow::NEW; 2], vec![0.0; adapter.numbers(2)]);
//!
//! // u = scale · A · states, and the head with it.
//! let mut u = [0.0; 2];
//! let room = HiddenMut::new(&mut u, rows, rank)?;
//! adapter.project(on, states, &layout, room, HeadScratch::new(&mut at_once, &mut numbers))?;
//! let u = Hidden::new(&u, rows, rank)?;
//! let head = Adapted::new::<f32>(Linear::new(&weights, vocab, size)?, &adapter, u)?;
//!
//! // Forward, then the loss, then every gradient: of states and u, of B, of A.
//! let mut of_b = [0.0; 4];
//! let grads = HeadGrads::of_adapter(u, &mut of_b)?;
//! let len = HeadScratch::numbers_trained::<_, f32, _, f32>(on, &head, 2, &grads);
//! numbers.resize(len.max(numbers.len()), 0.0);
//! let out = TokenOut::new(&mut log_probs).with_norms(&mut norms);
//! let scratch = HeadScratch::new(&mut at_once, &mut numbers);
//! head_token_log_probs(on, states, &head, &layout, out, scratch)?;
//! let batch = GradBatch::new(&layout, &norms, &[-0.5, 0.25]);
//! let mut of_states = [0.0; 2 * 4]; // R × (H + r)
//! let room = HiddenMut::new(&mut of_states, rows, size + rank)?;
//! let scratch = HeadScratch::new(&mut at_once, &mut numbers);
//! head_grads(on, states, &head, &batch, room, grads, scratch)?;
//! let (mut of_a, room) = ([0.0; 3], HiddenMut::new(&mut of_states, rows, size + rank)?);
//! let scratch = HeadScratch::new(&mut at_once, &mut numbers);
//! adapter.grads_in_place(on, states, &layout, room, Some(&mut of_a), scratch)?;
//! assert!(of_b.iter().any(|&d| d != 0.0) && of_a == [0.0; 3]); // as B is 0
//! # Ok::<(), dpo_kernel::Error>(())
//! ```

mod adapter;
mod blame;
mod chains;
mod forward;
mod grads;
mod hidden;
mod linear;
mod outer;
mod pack;
mod product;
mod row;
mod scratch;
mod shard;
mod sums;
mod terms;
mod tile;
mod trained;
mod traits;

pub use adapter::{Adapted, Adapter};
pub(crate) use blame::blame;
pub(crate) use forward::{Forward, check_forward, check_shape};
pub use forward::{head_forward, head_token_log_probs};
pub use grads::{hidden_grads, hidden_grads_in_place};
pub use hidden::{Hidden, HiddenMut};
pub use linear::Linear;
pub use row::HeadRow;
pub use scratch::HeadScratch;
pub use shard::{head_shard_grads, head_shard_stats};
pub use sums::HeadGrads;
pub(crate) use sums::check_trained;
pub use terms::{hidden_row_grads_in_place, tile_terms_in_place};
pub use tile::{ColumnSums, RowSums, States, TILE, Tile};
pub use trained::head_grads;
pub use traits::Head;
