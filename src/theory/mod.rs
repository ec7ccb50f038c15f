//! Where the loss comes from, over finite answer sets, so that each step can be checked.
//!
//! A prompt x has answers y with a reference policy `π_ref(y|x)` and a true reward `r(x, y)`.
//!
//! 1. **The objective.** Raise the expected reward, less β for every nat of divergence from the
//!    reference: maximise `E_{y~π}[r(x, y)] − β KL(π ‖ π_ref)`
//!    ([`AnswerSet::objective`]).
//! 2. **Its optimum.** Among all distributions the best is the tilted reference
//!    `π*(y|x) = π_ref(y|x) exp(r(x, y)/β) / Z(x)` with `Z(x) = Σ_y π_ref(y|x) exp(r(x, y)/β)`,
//!    because every other policy falls short by exactly `β KL(π ‖ π*)`. The maximum itself is
//!    `β log Z(x)` ([`AnswerSet::log_partition`], [`AnswerSet::optimal_policy`]).
//! 3. **The inversion.** Solve the same equation for the reward: an optimal policy implies
//!    the reward `r(x, y) = β log(π(y|x) / π_ref(y|x)) + β log Z(x)`
//!    ([`AnswerSet::implicit_rewards`]). Z(x) sums over every answer, so for a language model
//!    it cannot be computed.
//! 4. **The cancellation.** It need not be. Preferences follow Bradley and Terry,
//!    `P(y_w ≻ y_l | x) = σ(r(x, y_w) − r(x, y_l))`, and `β log Z(x)` stands in both terms
//!    ([`preference_prob`], [`preference_log_prob`]). For the same reason rewards are known only
//!    up to an f(x): all members of the class `r + f` have the same preferences and the same π*.
//! 5. **The loss.** What remains is maximum likelihood with log-ratios in place of rewards,
//!    `L = −log σ(β[(log π(y_w) − log π_ref(y_w)) − (log π(y_l) − log π_ref(y_l))])`.
//!    Over the whole population of pairs its minimum is π* and nothing else
//!    ([`AnswerSet::population_loss`], [`AnswerSet::population_loss_grad`]).
//!
//! Source: Rafailov et al. 2023, <https://arxiv.org/abs/2305.18290>, equations 3 to 7; the class
//! `r + f` is its definition 1 with lemmas 1 and 2.

mod answers;
mod population;
mod preference;
mod sum;

pub use answers::AnswerSet;
pub use preference::{preference_log_prob, preference_prob};
