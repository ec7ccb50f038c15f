//! The options of losses, as a configuration names them, and how a loss takes them.

use super::AnyDivergence;
use crate::Error;
use crate::error::{Parameter, parameter_table};

/// Reads the first half of the table of parameters.
macro_rules! options {
    (
        options { $(
            $(#[$_doc:meta])* $variant:ident = $_number:literal, $_name:literal, $_domain:literal;
            $(#[$doc:meta])* $field:ident;
        )* }
        others { $($_others:tt)* }
    ) => {
        /// What a configuration says of a loss. An option that is not given has the loss's default;
        /// one that the loss does not have is refused.
        ///
        /// The defaults stand at the losses: they are those of the papers' recipes where there is
        /// one.
        #[derive(Clone, Copy, Debug, Default, PartialEq)]
        pub struct LossOptions {
            $($(#[$doc])* pub $field: Option<f64>,)*
            /// The f-divergence of losses of a difference of log-ratios (reverse KL).
            pub divergence: Option<AnyDivergence>,
        }

        impl LossOptions {
            /// The option that is this parameter; None if it is no option, or the divergence, which
            /// is no number.
            #[must_use]
            pub const fn option_mut(&mut self, parameter: Parameter) -> Option<&mut Option<f64>> {
                match parameter {
                    $(Parameter::$variant => Some(&mut self.$field),)*
                    _ => None,
                }
            }

            /// A parameter that is given.
            pub(super) fn first_given(&self) -> Option<Parameter> {
                $(if self.$field.is_some() {
                    return Some(Parameter::$variant);
                })*
                self.divergence.map(|_| Parameter::Divergence)
            }
        }

        impl Given {
            $(pub(super) const fn $field(&mut self) -> Option<f64> {
                self.left.$field.take()
            })*
        }
    };
}
parameter_table!(options);

/// Options that a loss takes one by one; what is left at the end was not the loss's.
#[derive(Debug)]
pub(super) struct Given {
    left: LossOptions,
}

impl Given {
    pub(super) const fn new(options: &LossOptions) -> Self {
        Self { left: *options }
    }

    pub(super) fn divergence(&mut self) -> AnyDivergence {
        self.left.divergence.take().unwrap_or_default()
    }

    /// The loss that has been made, if it has taken all there is.
    pub(super) fn all_taken<T>(self, loss: T) -> Result<T, Error> {
        match self.left.first_given() {
            Some(parameter) => Err(Error::ParameterUnused { parameter }),
            None => Ok(loss),
        }
    }
}

/// A loss with a name: which options it has, and their defaults.
pub(super) trait FromOptions: Sized {
    fn from_options(given: &mut Given) -> Result<Self, Error>;
}

/// The value of an option that has no default.
pub(super) fn required(option: Option<f64>, parameter: Parameter) -> Result<f64, Error> {
    option.ok_or(Error::ParameterMissing { parameter })
}
