//! What is raced.

use dpo_kernel::Dispatch;

/// What a lap does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Work {
    /// The limit of reading: a maximum.
    Read,
    /// What counts as the limit of reading and writing: an addition in place.
    Update,
    /// Token log-probs and what the backward needs.
    Tokens(Dispatch),
    /// Also entropy, argmax, mean logit and log Σp².
    Details(Dispatch),
    /// Gradients in place.
    Grads(Dispatch),
    /// Token log-probs on rayon's threads.
    #[cfg(feature = "rayon")]
    ThreadedTokens(Dispatch),
    /// Gradients in place on rayon's threads.
    #[cfg(feature = "rayon")]
    ThreadedGrads(Dispatch),
}

impl Work {
    /// Whether logits are overwritten by something else.
    pub const fn destroys(self) -> bool {
        match self {
            Self::Read | Self::Update | Self::Tokens(_) | Self::Details(_) => false,
            Self::Grads(_) => true,
            #[cfg(feature = "rayon")]
            Self::ThreadedTokens(_) => false,
            #[cfg(feature = "rayon")]
            Self::ThreadedGrads(_) => true,
        }
    }

    /// What goes before it in a step of training.
    pub const fn forward(self) -> Option<Self> {
        match self {
            Self::Read | Self::Update | Self::Tokens(_) | Self::Details(_) => None,
            Self::Grads(dispatch) => Some(Self::Tokens(dispatch)),
            #[cfg(feature = "rayon")]
            Self::ThreadedTokens(_) => None,
            #[cfg(feature = "rayon")]
            Self::ThreadedGrads(dispatch) => Some(Self::ThreadedTokens(dispatch)),
        }
    }
}
