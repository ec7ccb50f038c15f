//! The preference losses: what a pair of answers, or an answer without a partner, costs.
//!
//! A loss takes log-probs of answers under the policy, most losses also under a frozen reference.
//! It gives a number and its derivatives by the policy's log-probs. Every loss is a type, made by a
//! constructor that checks its parameters, and its page has the formula, the usual default and the
//! source.
//!
//! [`LossName`] lists all of them, by the names that trainers use. [`Loss`] is a loss that is
//! chosen by name when the program runs, with [`LossOptions`]. [`Dpo`] is also at the root of the
//! crate.
//!
//! | trait | of | taken by |
//! |---|---|---|
//! | [`PreferenceLoss`] | one pair | [`preference_loss`](crate::preference_loss) |
//! | [`UnpairedLoss`] | one answer, good or bad | [`unpaired_loss`](crate::unpaired::unpaired_loss) |
//! | [`BatchLoss`] | a whole batch of pairs | [`preference_loss`](crate::preference_loss) |
//!
//! [`Aot`] sorts the batch and [`SoftmaxDpo`] groups it. [`PerPair`] gives each pair a loss of its
//! own, [`Mixture`] is a weighted sum of losses, and [`Nll`] is the likelihood term that stands
//! beside a loss.

// A loss is added by a file, its `mod` line and its row in the table below; CONTRIBUTING has the
// recipe.

/// The table of losses, one row each: variant of [`LossName`], number in C, name and synonyms, file
/// and type. Options and defaults stand in the file.
///
/// A number is never used again for another loss: C programs are built with it.
macro_rules! loss_table {
    ($receive:ident) => {
        $receive! {
            /// Of a difference of log-ratios: they take an f-divergence.
            log_ratios {
                Sigmoid = 0, "sigmoid" | "dpo", dpo::Dpo;
                Robust = 1, "robust", robust::Robust;
                Hinge = 2, "hinge", hinge::Hinge;
                Ipo = 3, "ipo", ipo::Ipo;
                IpoSum = 4, "ipo_sum", ipo::IpoSum;
                Exo = 5, "exo_pair", exo::Exo;
                DiscoPop = 6, "discopop", discopop::DiscoPop;
                SigmoidNorm = 7, "sigmoid_norm" | "dpo_norm", dpo::SigmoidNorm;
                RpoForward = 8, "rpo_fwd_kl", rpo::RpoForward;
                RpoBackward = 9, "rpo_bwd_kl", rpo::RpoBackward;
                RpoSquare = 10, "rpo_sq", rpo::RpoSquare;
            }
            /// Other losses of pairs.
            pairs {
                SimPo = 11, "simpo", simpo::SimPo;
                Cpo = 12, "cpo", cpo::Cpo;
                CpoHinge = 13, "cpo_hinge", cpo::CpoHinge;
                CpoIpo = 14, "cpo_ipo", cpo::CpoIpo;
                Slic = 15, "slic", slic::Slic;
                AlphaPo = 16, "alphapo", alpha_po::AlphaPo;
                Orpo = 17, "orpo", orpo::Orpo;
                ApoDown = 22, "apo_down", apo::ApoDown;
                CalDpo = 24, "cal_dpo", cal_dpo::CalDpo;
                DpopInside = 25, "dpop_inside", dpop::DpopInside;
                DpopOutside = 26, "dpop_outside", dpop::DpopOutside;
                Tpo = 30, "tpo", tpo::Tpo;
                TpoHinge = 31, "tpo_hinge", tpo::TpoHinge;
                TpoIpo = 32, "tpo_ipo", tpo::TpoIpo;
                TpoL = 33, "tpo_l", tpo::TpoL;
                RewardModel = 34, "reward_model" | "bradley_terry", reward_model::RewardModel;
            }
            /// Losses of pairs that look at each answer by itself: also of answers without a
            /// partner.
            answers {
                Nca = 18, "nca_pair", nca::Nca;
                Bco = 19, "bco_pair" | "bco", bco::Bco;
                SppoHard = 20, "sppo_hard", sppo::SppoHard;
                ApoZero = 21, "apo_zero" | "apo_zero_unpaired", apo::ApoZero;
                Kto = 23, "kto", kto::Kto;
            }
            /// Of answers without a partner alone.
            unpaired {
                AStarPo = 35, "a2po", a_star_po::AStarPo;
            }
            /// Of groups of pairs.
            groups {
                SoftmaxDpo = 36, "s_dpo" | "softmax_dpo", softmax_dpo::SoftmaxDpo;
            }
            /// Of the sorted batch: a constructor each.
            sorted {
                Aot = 27, "aot", aot::Aot::paired;
                AotUnpaired = 28, "aot_unpaired" | "aot_pair", aot::Aot::unpaired;
            }
            /// Likelihood terms, which stand beside a preference loss.
            likelihood {
                Sft = 29, "sft", nll::Nll;
            }
        }
    };
}

// The losses. `mod` stands outside the table, where rustfmt finds it.
mod a_star_po;
mod alpha_po;
mod aot;
mod apo;
mod bco;
mod cal_dpo;
mod cpo;
mod curve_loss;
mod discopop;
mod dpo;
mod dpop;
mod exo;
mod hinge;
mod ipo;
mod kto;
mod mixture;
mod nca;
mod nll;
mod orpo;
mod reward_model;
mod robust;
mod rpo;
mod simpo;
mod slic;
mod softmax_dpo;
mod sppo;
mod tpo;

// What they are made of, and what names them.
mod curves;
mod divergence;
mod label_kl;
mod name;
mod options;
mod preference_logit;
mod run_time;
mod score;
mod tangent;
mod traits;
mod unpaired;
mod xpo;

pub use crate::pair::PairLogProbs;
pub use aot::{Aot, AotOver};
pub use curve_loss::CurveLoss;
pub use divergence::{
    AlphaDivergence, AnyDivergence, Divergence, ForwardKl, JensenShannon, ReverseKl,
};
pub use mixture::{Mixture, MixtureTerm};
pub use name::LossName;
pub(crate) use nll::check_nll;
pub use nll::{Nll, NllAnswers, NllBatch, NllPer, NllSummary, nll_loss};
pub use options::LossOptions;
pub use run_time::{Loss, Objective};
pub use tangent::Tangent;
pub use traits::{BatchLoss, Inputs, PerPair, PreferenceLoss};
pub use unpaired::UnpairedLoss;
pub use xpo::Xpo;

/// The types of the losses.
macro_rules! types {
    ($(
        $(#[$_section:meta])*
        $kind:ident { $(
            $_variant:ident = $_number:literal, $_name:literal $(| $_synonym:literal)*,
            $file:ident::$type:ident $(::$_new:ident)?;
        )* }
    )*) => {
        $($(types!(@ $kind $file $type);)*)*
    };
    // Exported above: two names of one type, and one with a function beside it.
    (@ sorted $file:ident $type:ident) => {};
    (@ likelihood $file:ident $type:ident) => {};
    (@ $kind:ident $file:ident $type:ident) => {
        pub use $file::$type;
    };
}
loss_table!(types);
