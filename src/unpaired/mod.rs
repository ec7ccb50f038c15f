//! Answers without a partner: each is desirable or undesirable on its own.
//!
//! Losses: [`Kto`](crate::loss::Kto), [`Bco`](crate::loss::Bco), [`Nca`](crate::loss::Nca),
//! [`SppoHard`](crate::loss::SppoHard), [`ApoZero`](crate::loss::ApoZero),
//! [`AStarPo`](crate::loss::AStarPo), which is of such answers alone, and any other
//! [`UnpairedLoss`](crate::loss::UnpairedLoss). [`unpaired_loss`] stands in the place of
//! [`preference_loss`](crate::preference_loss); the other stages are those of pairs.
//!
//! The short way is [`unpaired_step`](crate::step::unpaired_step): all stages in one call. With the
//! feature `alloc`, `Workspace::unpaired_step` is the same and owns the buffers.
//!
//! # KTO from logits to gradients
//!
//! KTO compares each log-ratio with K, the mean log-ratio of *mismatched* answers: prompts with an
//! answer that belongs to another one. They are sequences like the others: put them behind the M
//! answers in the same batch of logits, and let no [`UnpairedAnswer`] name them. Every step:
//!
//! ```text
//! 1  token_log_probs      logits of all sequences, the mismatched ones too
//! 2  sequence_log_probs   → policy, N = M answers + the mismatched ones
//!                         (the reference's sums come from the same two calls on the frozen model)
//! 3  LogRatioSums         add_batch of the mismatched sequences; += over micro-batches and machines
//! 4  kto_k                K = max(0, mean)
//! 5  unpaired_loss        Kto::new(β, K) on the M answers → losses, ∂L/∂log π
//! 6  token_coefficients   ∂L/∂log π of sequences → one coefficient a row
//! 7  logit_grads          of all rows: K is a constant, so those of the mismatched sequences are 0
//! ```
//!
//! See [`token_log_probs`](crate::token_log_probs),
//! [`sequence_log_probs`](crate::sequence_log_probs),
//! [`LogRatioSums`](crate::training::LogRatioSums),
//! [`kto_k`](crate::training::LogRatioSums::kto_k), [`Kto::new`](crate::loss::Kto::new),
//! [`unpaired_loss`], [`logit_grads`](crate::gradient::logit_grads) or
//! [`logit_grads_in_place`](crate::gradient::logit_grads_in_place). The mismatched sequences need
//! no gradient: a host may score them in a pass of their own, without keeping anything for its
//! backward.
//!
//! ```
//! use dpo_kernel::loss::Kto;
//! use dpo_kernel::training::LogRatioSums;
//! use dpo_kernel::unpaired::{
//!     AnswerLoss, Label, UnpairedAnswer, UnpairedBatch, UnpairedOut, unpaired_loss,
//! };
//! use dpo_kernel::{Reference, SequenceLogProb};
//! // Two answers, then each prompt with the other's answer, as `sequence_log_probs` left them.
//! let policy = [-20.5, -25.25, -31.0, -28.0].map(|sum| SequenceLogProb { sum, count: 10 });
//! let reference = [-21.0, -24.5, -31.25, -28.15];
//!
//! let mut mismatched = LogRatioSums::default();
//! mismatched.add_batch(&policy[2..], Reference::Sums(&reference[2..]))?;
//! let kto = Kto::new(0.1, mismatched.kto_k())?;
//!
//! // Labels as data sets have them: 1 is good.
//! let labels = [1_i64, 0];
//! let mut answers = [UnpairedAnswer::new(0, Label::Desirable); 2];
//! for (sequence, answer) in answers.iter_mut().enumerate() {
//!     *answer = UnpairedAnswer::new(sequence, Label::try_from(labels[sequence])?);
//! }
//! let batch = UnpairedBatch::new(&answers, &policy, Reference::Sums(&reference), 2.0);
//! let (mut losses, mut d_log_probs) = ([AnswerLoss::default(); 2], [0.0; 4]);
//! let out = UnpairedOut::new(&mut losses, &mut d_log_probs);
//! let summary = unpaired_loss(&kto, &batch, out)?;
//! // K = (0.25 + 0.15)/2, and 1 − σ(0.1·(0.5 − 0.2)) is the loss of the first answer.
//! assert!((summary.desirable_loss_sum - 0.49250056244937961).abs() < 1e-14);
//! assert!(d_log_probs[0] < 0.0 && d_log_probs[1] > 0.0);
//! assert_eq!(d_log_probs[2..], [0.0; 2]);
//! # Ok::<(), dpo_kernel::Error>(())
//! ```

mod answer;
mod batch;
mod loss;
mod summary;

pub use answer::{AnswerLoss, Label, UnpairedAnswer};
pub(crate) use batch::check_answers;
pub use batch::{UnpairedBatch, UnpairedOut, unpaired_loss};
pub use loss::{PerAnswer, UnpairedBatchLoss};
pub use summary::UnpairedSummary;
