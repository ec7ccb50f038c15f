//! The explicit choice of level and arithmetic that every kernel takes.

use super::Kernel;
use super::baseline;
use crate::error::Error;
use crate::level::{Arithmetic, Level};

/// On which instructions, and with which roundings, a kernel runs.
///
/// A value exists only for combinations that this machine has, so kernels need not check again.
/// [`Dispatch::detect`] is the fastest of them; hosts that must reproduce results on machines
/// without FMA choose [`Arithmetic::Portable`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Dispatch {
    level: Level,
    arithmetic: Arithmetic,
}

impl Dispatch {
    /// The fastest combination that this machine has: its highest level, fused where it can be.
    ///
    /// Asks the CPU once and remembers; works without `std`. Machines without FMA compute other
    /// bits: hosts whose results must agree with theirs (a reference stored elsewhere, say) choose
    /// [`Arithmetic::Portable`] with [`Dispatch::new`].
    #[must_use]
    #[inline]
    pub fn detect() -> Self {
        let level = Level::detect();
        let arithmetic = if level.has_fma() { Arithmetic::Fused } else { Arithmetic::Portable };
        Self { level, arithmetic }
    }

    /// A chosen combination.
    ///
    /// # Errors
    /// [`Error::LevelUnavailable`] if the machine or the build lacks the level,
    /// [`Error::FusedUnavailable`] if the level has no hardware FMA.
    ///
    /// # Panics
    /// Never.
    ///
    /// # Example
    /// ```
    /// use dpo_kernel::{Arithmetic, Dispatch, Level};
    /// let everywhere = Dispatch::new(Level::Baseline, Arithmetic::Portable)?;
    /// assert_eq!(everywhere.level(), Level::Baseline);
    /// # Ok::<(), dpo_kernel::Error>(())
    /// ```
    #[inline]
    pub fn new(level: Level, arithmetic: Arithmetic) -> Result<Self, Error> {
        if !level.is_present() {
            return Err(Error::LevelUnavailable { level });
        }
        if arithmetic == Arithmetic::Fused && !level.has_fma() {
            return Err(Error::FusedUnavailable { level });
        }
        Ok(Self { level, arithmetic })
    }

    /// Every combination that this machine has, slowest level first.
    pub fn available() -> impl Iterator<Item = Self> {
        Level::ALL.iter().flat_map(|&level| {
            [Arithmetic::Portable, Arithmetic::Fused]
                .into_iter()
                .filter_map(move |arithmetic| Self::new(level, arithmetic).ok())
        })
    }

    /// The instructions.
    #[must_use]
    pub const fn level(self) -> Level {
        self.level
    }

    /// The roundings.
    #[must_use]
    pub const fn arithmetic(self) -> Arithmetic {
        self.arithmetic
    }

    /// Runs a kernel here. The one place where a level is entered.
    #[inline]
    #[allow(unsafe_code, reason = "entering a level that was detected")]
    pub(crate) fn run<K: Kernel>(self, kernel: K) -> K::Output {
        match (self.level, self.arithmetic) {
            #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
            // SAFETY: a `Dispatch` of this level exists only after `Level::is_present` said so.
            (Level::Avx512, Arithmetic::Fused) => unsafe { super::avx512::run::<true, K>(kernel) },
            #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
            // SAFETY: as above.
            (Level::Avx512, Arithmetic::Portable) => unsafe {
                super::avx512::run::<false, K>(kernel)
            },
            #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
            // SAFETY: as above.
            (Level::Avx2, Arithmetic::Fused) => unsafe { super::avx2::run::<true, K>(kernel) },
            #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
            // SAFETY: as above.
            (Level::Avx2, Arithmetic::Portable) => unsafe { super::avx2::run::<false, K>(kernel) },
            (_, Arithmetic::Fused) if baseline::HAS_FMA => run_baseline::<true, K>(kernel),
            _ => run_baseline::<false, K>(kernel),
        }
    }
}

/// Enters the baseline. Not inlined, so that its loops are compiled separately from those of the
/// other levels.
#[inline(never)]
fn run_baseline<const FUSED: bool, K: Kernel>(kernel: K) -> K::Output {
    baseline::run::<FUSED, K>(kernel)
}
