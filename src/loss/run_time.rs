//! A loss that is chosen at run time: from a name and its options to a value.

use super::options::{FromOptions, Given};
use super::{
    AStarPo, AnyDivergence, Aot, Inputs, LossName, LossOptions, PreferenceLoss, SoftmaxDpo,
    UnpairedLoss,
};
use crate::Error;
use crate::pair::{PairLogProbs, PairLoss};

/// What a name stands for: losses of pairs, of the whole batch, of single answers and of tokens
/// have entries of their own.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Objective {
    /// A loss of pairs.
    Pairs(Loss),
    /// A loss of the whole batch, which needs memory to sort in: [`Aot::over`].
    Batch(Aot),
    /// A loss of groups of pairs.
    Groups(SoftmaxDpo),
    /// A loss of answers without a partner alone.
    Unpaired(AStarPo),
    /// No preference loss, but an [`Nll`](super::Nll) term, whose weight and divisor are the
    /// host's.
    Nll,
}

impl Objective {
    /// The loss as one of unpaired answers, if it is one.
    #[must_use]
    pub const fn as_unpaired(&self) -> Option<&dyn UnpairedLoss> {
        match self {
            Self::Pairs(loss) => loss.as_unpaired(),
            Self::Unpaired(loss) => Some(loss),
            Self::Batch(_) | Self::Groups(_) | Self::Nll => None,
        }
    }
}

macro_rules! losses {
    (
        $(#[$_relative:meta])* log_ratios { $(
            $relative:ident = $_a:literal, $_b:literal $(| $_c:literal)*,
            $relative_file:ident::$relative_type:ident;
        )* }
        $(#[$_pairs:meta])* pairs { $(
            $pairs:ident = $_d:literal, $_e:literal $(| $_f:literal)*,
            $pairs_file:ident::$pairs_type:ident;
        )* }
        $(#[$_answers:meta])* answers { $(
            $answers:ident = $_g:literal, $_h:literal $(| $_i:literal)*,
            $answers_file:ident::$answers_type:ident;
        )* }
        $(#[$_unpaired:meta])* unpaired { $(
            $unpaired:ident = $_j:literal, $_k:literal $(| $_l:literal)*,
            $unpaired_file:ident::$unpaired_type:ident;
        )* }
        $(#[$_groups:meta])* groups { $(
            $groups:ident = $_m:literal, $_n:literal $(| $_o:literal)*,
            $groups_file:ident::$groups_type:ident;
        )* }
        $(#[$_sorted:meta])* sorted { $(
            $sorted:ident = $_p:literal, $_q:literal $(| $_r:literal)*,
            $sorted_file:ident::$sorted_type:ident::$new:ident;
        )* }
        $(#[$_likelihood:meta])* likelihood { $(
            $likelihood:ident = $_s:literal, $_t:literal $(| $_u:literal)*,
            $likelihood_file:ident::$likelihood_type:ident;
        )* }
    ) => {
        /// Any loss of pairs: the switch at run time, by an exhaustive match, so that a host
        /// switches by assigning.
        ///
        /// Each variant is the loss that it is named after; [`LossName::build`] makes one from a
        /// trainer's name. It links all of them, where a loss named by its type links itself alone.
        ///
        /// # Example
        /// ```
        /// use dpo_kernel::loss::{Loss, LossName, LossOptions, Objective, PairLogProbs, PreferenceLoss};
        /// let pair = PairLogProbs::new(-20.5, -25.25, -21.0, -24.5).with_tokens(10, 12);
        /// let mut sum = 0.0;
        /// for name in ["sigmoid", "ipo", "hinge"] {
        ///     let options = LossOptions { beta: Some(0.1), ..LossOptions::default() };
        ///     if let Objective::Pairs(loss) = name.parse::<LossName>()?.build(&options)? {
        ///         sum += loss.evaluate(&pair).loss;
        ///     }
        /// }
        /// assert!((sum - (0.632599035317169 + 23.88765625 + 0.875)).abs() < 1e-13);
        /// # Ok::<(), dpo_kernel::Error>(())
        /// ```
        #[derive(Clone, Copy, Debug, PartialEq)]
        #[non_exhaustive]
        pub enum Loss {
            $(
                #[doc = concat!("[`", stringify!($relative_type), "`](crate::loss::", stringify!($relative_type), ")")]
                $relative(super::$relative_type<AnyDivergence>),
            )*
            $(
                #[doc = concat!("[`", stringify!($pairs_type), "`](crate::loss::", stringify!($pairs_type), ")")]
                $pairs(super::$pairs_type),
            )*
            $(
                #[doc = concat!("[`", stringify!($answers_type), "`](crate::loss::", stringify!($answers_type), ")")]
                $answers(super::$answers_type),
            )*
        }

        impl Loss {
            /// Its name.
            #[must_use]
            pub const fn name(&self) -> LossName {
                match self {
                    $(Self::$relative(_) => LossName::$relative,)*
                    $(Self::$pairs(_) => LossName::$pairs,)*
                    $(Self::$answers(_) => LossName::$answers,)*
                }
            }

            /// The loss as one of unpaired answers
            /// ([`unpaired_loss`](crate::unpaired::unpaired_loss)), if it looks at each answer by
            /// itself.
            #[must_use]
            pub const fn as_unpaired(&self) -> Option<&dyn UnpairedLoss> {
                match self {
                    $(Self::$answers(loss) => Some(loss),)*
                    $(Self::$relative(_) => None,)*
                    $(Self::$pairs(_) => None,)*
                }
            }

            const fn as_loss(&self) -> &dyn PreferenceLoss {
                match self {
                    $(Self::$relative(loss) => loss,)*
                    $(Self::$pairs(loss) => loss,)*
                    $(Self::$answers(loss) => loss,)*
                }
            }
        }

        impl LossName {
            /// The loss of this name with these options.
            ///
            /// # Errors
            /// [`Error::Parameter`] for a value outside its domain, [`Error::ParameterUnused`] for
            /// an option that this loss does not have, [`Error::ParameterMissing`] for one that has
            /// no default: K, Δ and the advantage.
            ///
            /// # Panics
            /// Never.
            pub fn build(self, options: &LossOptions) -> Result<Objective, Error> {
                let mut given = Given::new(options);
                let from = &mut given;
                let objective = match self {
                    $(Self::$relative => Objective::Pairs(Loss::$relative(FromOptions::from_options(from)?)),)*
                    $(Self::$pairs => Objective::Pairs(Loss::$pairs(FromOptions::from_options(from)?)),)*
                    $(Self::$answers => Objective::Pairs(Loss::$answers(FromOptions::from_options(from)?)),)*
                    $(Self::$unpaired => Objective::Unpaired(<super::$unpaired_type as FromOptions>::from_options(from)?),)*
                    $(Self::$groups => Objective::Groups(<super::$groups_type as FromOptions>::from_options(from)?),)*
                    $(Self::$sorted => Objective::Batch(sorted(Aot::$new, from)?),)*
                    $(Self::$likelihood => Objective::Nll,)*
                };
                given.all_taken(objective)
            }
        }

        // Each loss says its name.
        $(impl super::$relative_type {
            /// The name of the loss.
            pub const NAME: LossName = LossName::$relative;
        })*
        $(impl super::$pairs_type {
            /// The name of the loss.
            pub const NAME: LossName = LossName::$pairs;
        })*
        $(impl super::$answers_type {
            /// The name of the loss.
            pub const NAME: LossName = LossName::$answers;
        })*
        $(impl super::$unpaired_type {
            /// The name of the loss.
            pub const NAME: LossName = LossName::$unpaired;
        })*
        $(impl super::$groups_type {
            /// The name of the loss.
            pub const NAME: LossName = LossName::$groups;
        })*
        $(impl super::$likelihood_type {
            /// The name of the loss.
            pub const NAME: LossName = LossName::$likelihood;
        })*
    };
}
loss_table!(losses);

/// AOT with its defaults.
fn sorted(new: fn(f64) -> Result<Aot, Error>, given: &mut Given) -> Result<Aot, Error> {
    let loss = new(given.beta().unwrap_or(0.01))?;
    loss.with_label_smoothing(given.label_smoothing().unwrap_or(0.0))
}

impl PreferenceLoss for Loss {
    fn inputs(&self) -> Inputs {
        self.as_loss().inputs()
    }

    fn evaluate(&self, pair: &PairLogProbs) -> PairLoss {
        self.as_loss().evaluate(pair)
    }
}
