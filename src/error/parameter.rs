//! The parameters that have a domain: one declaration each.

/// The table of parameters. Each row has the domain as documentation, the variant of [`Parameter`],
/// its number in C, its name, and its domain in an error's text. The options of losses have a
/// second line: the field of [`LossOptions`](crate::loss::LossOptions) and its documentation.
///
/// A number is never used again for another parameter: C programs are built with it.
macro_rules! parameter_table {
    ($receive:ident) => {
        $receive! {
            options {
                /// β, finite and > 0.
                Beta = 1, "beta", "must be finite and > 0";
                /// β, of all losses but `orpo`, `slic`, `reward_model` and `sft`.
                beta;

                /// ε of conservative DPO, in [0, ½].
                LabelSmoothing = 2, "label smoothing", "must lie in [0, 0.5]";
                /// ε: the share of preferences that may be the wrong way round.
                label_smoothing;

                /// The target reward margin γ, finite and ≥ 0.
                TargetMargin = 5, "target margin", "must be finite and >= 0";
                /// γ of `simpo`, `alphapo` and `tpo_l`, not together with the ratio.
                target_margin;

                /// γ/β, finite and ≥ 0.
                TargetMarginRatio = 6, "target margin over beta", "must be finite and >= 0";
                /// γ/β of `simpo`.
                target_margin_ratio;

                /// α of `AlphaPO`, finite.
                RewardExponent = 7, "alpha of AlphaPO", "must be finite";
                /// α of `alphapo`.
                reward_exponent;

                /// τ of `DiscoPOP`, finite and > 0.
                BlendTemperature = 8, "tau of DiscoPOP", "must be finite and > 0";
                /// τ of `discopop`.
                blend_temperature;

                /// δ of BCO, finite.
                RewardShift = 10, "delta of BCO", "must be finite";
                /// δ of `bco_pair`.
                reward_shift;

                /// δ of `SLiC`, finite and > 0.
                SlicMargin = 11, "delta of SLiC", "must be finite and > 0";
                /// δ of `slic`.
                slic_margin;

                /// λ of DPOP, finite and ≥ 0.
                DropPenalty = 12, "lambda of DPOP", "must be finite and >= 0";
                /// λ of `dpop_inside` and `dpop_outside`.
                drop_penalty;

                /// λ of ORPO, finite and > 0.
                OddsWeight = 13, "lambda of ORPO", "must be finite and > 0";
                /// λ of `orpo`, called `beta` in TRL.
                odds_weight;

                /// K of KTO, finite and ≥ 0.
                ReferenceKl = 14, "K of KTO", "must be finite and >= 0";
                /// K of `kto`, which must be given.
                reference_kl;

                /// The weight of desirable answers, finite and ≥ 0.
                DesirableWeight = 15, "weight of desirable answers", "must be finite and >= 0";
                /// Weight of desirable answers in `kto`.
                desirable_weight;

                /// The weight of undesirable answers, finite and ≥ 0.
                UndesirableWeight = 16, "weight of undesirable answers", "must be finite and >= 0";
                /// Weight of undesirable answers in `kto`.
                undesirable_weight;

                /// The gap Δ of external rewards, finite.
                RewardGap = 17, "reward gap", "must be finite";
                /// Δ of `rpo_fwd_kl`, `rpo_bwd_kl` and `rpo_sq`, which must be given.
                reward_gap;

                /// The factor c on the squared sum of two rewards in reward models, finite and ≥ 0.
                Centering = 32, "centering of the reward model", "must be finite and >= 0";
                /// c of `reward_model`, TRL's `center_rewards_coefficient`.
                centering;

                /// The advantage r − V* of A*PO, finite.
                Advantage = 33, "advantage of A*PO", "must be finite";
                /// r − V* of `a2po`, which must be given.
                advantage;
            }
            others {
                /// ε of robust DPO, in [0, ½).
                RobustSmoothing = 3, "label smoothing of the robust loss", "must lie in [0, 0.5)";
                /// ε of EXO, in (0, 1).
                ExoSmoothing = 4, "label smoothing of EXO", "must lie between 0 and 1";
                /// α of the α-divergence, finite.
                DivergenceAlpha = 9, "alpha of the divergence", "must be finite";
                /// The weight of a term of a mixture, finite and ≥ 0.
                TermWeight = 18, "weight of a mixture's term", "must be finite and >= 0";
                /// The weight of an NLL term, finite and ≥ 0.
                NllWeight = 19, "weight of the NLL term", "must be finite and >= 0";
                /// The weight of tokens past the shorter answer's length, in [0, 1].
                TailWeight = 20, "alpha of LD-DPO", "must lie in [0, 1]";
                /// The factor on ODPO's log score gap, finite and ≥ 0.
                OffsetScale = 21, "scale of the offset", "must be finite and >= 0";
                /// The difference of two scores of which the first is the better, finite and > 0.
                ScoreGap = 22, "score gap", "must be finite and > 0";
                /// α of R-DPO, finite.
                LengthPenalty = 23, "length penalty", "must be finite";
                /// The f-divergence.
                Divergence = 24, "f-divergence", "must be reverse KL for this loss";
                /// The divisor of the batch, finite and > 0.
                Divisor = 25, "divisor", "must be finite and > 0";
                /// The factor on the logits, finite and > 0.
                Scale = 26, "logit scale", "must be finite and > 0";
                /// The bound of `c · tanh(x / c)`, finite and > 0.
                Softcap = 27, "softcap", "must be finite and > 0";
                /// The sampling temperature, finite and > 0.
                Temperature = 28, "temperature", "must be finite and > 0";
                /// The quotient of two transform parameters, in [1e-30, 1e30].
                Transform = 29, "combined logit factor", "must lie in [1e-30, 1e30]";
                /// a of β-DPO, finite and ≥ 0.
                BetaGain = 30, "gain of beta-DPO", "must be finite and >= 0";
                /// α of the moving reference, in [0, 1].
                Mixing = 31, "alpha of the moving reference", "must lie in [0, 1]";
                /// α of XPO's term, finite and ≥ 0.
                ExplorationWeight = 34, "alpha of XPO", "must be finite and >= 0";
                /// The probability below which a tile is negligible, in [0, 1/256].
                Negligible = 35, "negligible probability", "must lie in [0, 1/256]";
                /// The scale of an adapter, finite.
                AdapterScale = 36, "adapter scale", "must be finite";
            }
        }
    };
}
pub(crate) use parameter_table;

macro_rules! parameters {
    (
        options { $(
            $(#[$doc:meta])* $variant:ident = $number:literal, $name:literal, $domain:literal;
            $(#[$_field_doc:meta])* $_field:ident;
        )* }
        others { $(
            $(#[$other_doc:meta])* $other:ident = $other_number:literal, $other_name:literal,
            $other_domain:literal;
        )* }
    ) => {
        /// A parameter with a domain, named in
        /// [`Error::Parameter`](crate::Error::Parameter). `as i32` is its number in C,
        /// `DPO_PARAMETER_`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(i32)]
        #[non_exhaustive]
        pub enum Parameter {
            $($(#[$doc])* $variant = $number,)*
            $($(#[$other_doc])* $other = $other_number,)*
        }

        impl Parameter {
            /// All of them: first the options of losses.
            pub const ALL: [Self; COUNT] = [$(Self::$variant,)* $(Self::$other,)*];

            pub(super) const fn name_and_domain(self) -> (&'static str, &'static str) {
                match self {
                    $(Self::$variant => ($name, $domain),)*
                    $(Self::$other => ($other_name, $other_domain),)*
                }
            }

            /// The name, as C has it.
            #[cfg(feature = "c")]
            pub(crate) const fn c_name(self) -> &'static core::ffi::CStr {
                match self {
                    $(Self::$variant => crate::error::c_text(concat!($name, "\0")),)*
                    $(Self::$other => crate::error::c_text(concat!($other_name, "\0")),)*
                }
            }
        }

        const COUNT: usize = [$(Parameter::$variant,)* $(Parameter::$other,)*].len();
    };
}
parameter_table!(parameters);

/// A text that ends in 0, as C has it.
#[cfg(feature = "c")]
pub(crate) const fn c_text(text: &'static str) -> &'static core::ffi::CStr {
    match core::ffi::CStr::from_bytes_with_nul(text.as_bytes()) {
        Ok(text) => text,
        Err(_) => c"",
    }
}
