//! The names that trainers give their losses.

use crate::Error;
use core::str::FromStr;

/// The name of a loss, as trainers write it in their configurations.
///
/// [`FromStr`] reads the names and their synonyms. A bare `dpop` is refused: in the paper it is
/// `dpop_inside`, in mlx-lm-lora `dpop_outside`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LossName {
    /// `sigmoid`, `dpo`: [`Dpo`](crate::Dpo)
    Sigmoid,
    /// `robust`: [`Robust`](crate::loss::Robust)
    Robust,
    /// `hinge`: [`Hinge`](crate::loss::Hinge)
    Hinge,
    /// `ipo`: [`Ipo`](crate::loss::Ipo), on means.
    Ipo,
    /// `ipo_sum`: [`IpoSum`](crate::loss::IpoSum), the `ipo` of the original code and of `OpenRLHF`.
    IpoSum,
    /// `exo_pair`: [`Exo`](crate::loss::Exo)
    Exo,
    /// `discopop`: [`DiscoPop`](crate::loss::DiscoPop)
    DiscoPop,
    /// `sigmoid_norm`, `dpo_norm`: [`SigmoidNorm`](crate::loss::SigmoidNorm)
    SigmoidNorm,
    /// `rpo_fwd_kl`: [`RpoForward`](crate::loss::RpoForward)
    RpoForward,
    /// `rpo_bwd_kl`: [`RpoBackward`](crate::loss::RpoBackward)
    RpoBackward,
    /// `rpo_sq`: [`RpoSquare`](crate::loss::RpoSquare)
    RpoSquare,
    /// `simpo`: [`SimPo`](crate::loss::SimPo)
    SimPo,
    /// `cpo`: [`Cpo`](crate::loss::Cpo), TRL's `sigmoid` in its CPO trainer.
    Cpo,
    /// `cpo_hinge`: [`CpoHinge`](crate::loss::CpoHinge), TRL's `hinge` in its CPO trainer.
    CpoHinge,
    /// `cpo_ipo`: [`CpoIpo`](crate::loss::CpoIpo), TRL's `ipo` in its CPO trainer.
    CpoIpo,
    /// `slic`: [`Slic`](crate::loss::Slic)
    Slic,
    /// `alphapo`: [`AlphaPo`](crate::loss::AlphaPo)
    AlphaPo,
    /// `orpo`: [`Orpo`](crate::loss::Orpo)
    Orpo,
    /// `nca_pair`: [`Nca`](crate::loss::Nca)
    Nca,
    /// `bco_pair`, `bco`: [`Bco`](crate::loss::Bco)
    Bco,
    /// `sppo_hard`: [`SppoHard`](crate::loss::SppoHard)
    SppoHard,
    /// `apo_zero`, `apo_zero_unpaired`: [`ApoZero`](crate::loss::ApoZero)
    ApoZero,
    /// `apo_down`: [`ApoDown`](crate::loss::ApoDown)
    ApoDown,
    /// `kto`: [`Kto`](crate::loss::Kto)
    Kto,
    /// `cal_dpo`: [`CalDpo`](crate::loss::CalDpo)
    CalDpo,
    /// `dpop_inside`: [`DpopInside`](crate::loss::DpopInside)
    DpopInside,
    /// `dpop_outside`: [`DpopOutside`](crate::loss::DpopOutside)
    DpopOutside,
    /// `aot`: [`Aot::paired`](crate::loss::Aot::paired)
    Aot,
    /// `aot_unpaired`, and `aot_pair` as TRL to 0.28 called it: [`Aot::unpaired`](crate::loss::Aot::unpaired)
    AotUnpaired,
    /// `sft`: the [`Nll`](crate::loss::Nll) term.
    Sft,
}

impl LossName {
    /// All of them.
    pub const ALL: [Self; 30] = [
        Self::Sigmoid,
        Self::Robust,
        Self::Hinge,
        Self::Ipo,
        Self::IpoSum,
        Self::Exo,
        Self::DiscoPop,
        Self::SigmoidNorm,
        Self::RpoForward,
        Self::RpoBackward,
        Self::RpoSquare,
        Self::SimPo,
        Self::Cpo,
        Self::CpoHinge,
        Self::CpoIpo,
        Self::Slic,
        Self::AlphaPo,
        Self::Orpo,
        Self::Nca,
        Self::Bco,
        Self::SppoHard,
        Self::ApoZero,
        Self::ApoDown,
        Self::Kto,
        Self::CalDpo,
        Self::DpopInside,
        Self::DpopOutside,
        Self::Aot,
        Self::AotUnpaired,
        Self::Sft,
    ];

    /// The name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.names().0
    }

    /// The name and its synonym, the same if there is none.
    const fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Sigmoid => ("sigmoid", "dpo"),
            Self::Robust => ("robust", "robust"),
            Self::Hinge => ("hinge", "hinge"),
            Self::Ipo => ("ipo", "ipo"),
            Self::IpoSum => ("ipo_sum", "ipo_sum"),
            Self::Exo => ("exo_pair", "exo_pair"),
            Self::DiscoPop => ("discopop", "discopop"),
            Self::SigmoidNorm => ("sigmoid_norm", "dpo_norm"),
            Self::RpoForward => ("rpo_fwd_kl", "rpo_fwd_kl"),
            Self::RpoBackward => ("rpo_bwd_kl", "rpo_bwd_kl"),
            Self::RpoSquare => ("rpo_sq", "rpo_sq"),
            Self::SimPo => ("simpo", "simpo"),
            Self::Cpo => ("cpo", "cpo"),
            Self::CpoHinge => ("cpo_hinge", "cpo_hinge"),
            Self::CpoIpo => ("cpo_ipo", "cpo_ipo"),
            Self::Slic => ("slic", "slic"),
            Self::AlphaPo => ("alphapo", "alphapo"),
            Self::Orpo => ("orpo", "orpo"),
            Self::Nca => ("nca_pair", "nca_pair"),
            Self::Bco => ("bco_pair", "bco"),
            Self::SppoHard => ("sppo_hard", "sppo_hard"),
            Self::ApoZero => ("apo_zero", "apo_zero_unpaired"),
            Self::ApoDown => ("apo_down", "apo_down"),
            Self::Kto => ("kto", "kto"),
            Self::CalDpo => ("cal_dpo", "cal_dpo"),
            Self::DpopInside => ("dpop_inside", "dpop_inside"),
            Self::DpopOutside => ("dpop_outside", "dpop_outside"),
            Self::Aot => ("aot", "aot"),
            Self::AotUnpaired => ("aot_unpaired", "aot_pair"),
            Self::Sft => ("sft", "sft"),
        }
    }
}

impl FromStr for LossName {
    type Err = Error;

    /// # Errors
    /// [`Error::UnknownLoss`].
    fn from_str(name: &str) -> Result<Self, Error> {
        let is_named = |loss: &Self| loss.names().0 == name || loss.names().1 == name;
        Self::ALL.into_iter().find(is_named).ok_or(Error::UnknownLoss)
    }
}
