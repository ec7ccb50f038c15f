//! The names that trainers give their losses.

use core::str::FromStr;

use crate::Error;

macro_rules! names {
    ($(
        $(#[$_section:meta])*
        $_kind:ident { $(
            $variant:ident = $number:literal, $name:literal $(| $synonym:literal)*,
            $_file:ident::$type:ident $(::$new:ident)?;
        )* }
    )*) => {
        /// The name of a loss, as trainers write it in their configurations. `as i32` is its number
        /// in C, `DPO_LOSS_`.
        ///
        /// [`FromStr`] reads the names and their synonyms. A bare `dpop` is refused: in the paper
        /// it is `dpop_inside`, in mlx-lm-lora `dpop_outside`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(i32)]
        #[non_exhaustive]
        pub enum LossName {
            $($(
                #[doc = concat!(
                    "`", $name, "`", $(" or `", $synonym, "`",)*
                    ": [`", stringify!($type $(::$new)?),
                    "`](crate::loss::", stringify!($type), $("::", stringify!($new),)? ")"
                )]
                $variant = $number,
            )*)*
        }

        impl LossName {
            /// All of them.
            pub const ALL: [Self; COUNT] = [$($(Self::$variant,)*)*];

            /// The name.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $($(Self::$variant => $name,)*)*
                }
            }

            /// The name, as C has it.
            #[cfg(feature = "c")]
            pub(crate) const fn c_name(self) -> &'static core::ffi::CStr {
                match self {
                    $($(Self::$variant => crate::error::c_text(concat!($name, "\0")),)*)*
                }
            }

            /// Other names of the same loss.
            const fn synonyms(self) -> &'static [&'static str] {
                match self {
                    $($(Self::$variant => &[$($synonym),*],)*)*
                }
            }
        }

        const COUNT: usize = [$($(LossName::$variant,)*)*].len();
    };
}
loss_table!(names);

impl FromStr for LossName {
    type Err = Error;

    /// # Errors
    /// [`Error::UnknownLoss`].
    fn from_str(name: &str) -> Result<Self, Error> {
        let is_named = |loss: &Self| loss.name() == name || loss.synonyms().contains(&name);
        Self::ALL.into_iter().find(is_named).ok_or(Error::UnknownLoss)
    }
}
