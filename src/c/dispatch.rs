//! Which instructions, and which roundings.

use super::memory::plain;
use super::names::DPO_BUFFER_DISPATCH;
use super::status::{Fault, codes};
use crate::{Arithmetic, Dispatch, Level};

codes! {
    /// [`Level::detect`]
    DPO_LEVEL_FASTEST = 0;
    /// [`Level::Baseline`]
    DPO_LEVEL_BASELINE = 1;
    /// [`Level::Avx2`]
    DPO_LEVEL_AVX2 = 2;
    /// [`Level::Avx512`]
    DPO_LEVEL_AVX512 = 3;
    /// [`Arithmetic::Fused`] where the level has it, [`Arithmetic::Portable`] elsewhere.
    DPO_ARITHMETIC_DEFAULT = 0;
    /// [`Arithmetic::Fused`]
    DPO_ARITHMETIC_FUSED = 1;
    /// [`Arithmetic::Portable`]
    DPO_ARITHMETIC_PORTABLE = 2;
}

/// [`Dispatch`]; zeroed, it is [`Dispatch::detect`].
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct dpo_dispatch {
    /// `DPO_LEVEL_…`
    pub level: i32,
    /// `DPO_ARITHMETIC_…`
    pub arithmetic: i32,
}

plain!(dpo_dispatch);

/// The fastest combination that this machine has, by name; see [`Dispatch::detect`].
#[unsafe(no_mangle)]
pub extern "C" fn dpo_detect() -> dpo_dispatch {
    let dispatch = Dispatch::detect();
    let arithmetic = match dispatch.arithmetic() {
        Arithmetic::Fused => DPO_ARITHMETIC_FUSED,
        Arithmetic::Portable => DPO_ARITHMETIC_PORTABLE,
    };
    dpo_dispatch { level: level_code(dispatch.level()), arithmetic }
}

/// 1 if this machine has the combination, 0 if not, or if it is none; see [`Dispatch::new`].
#[unsafe(no_mangle)]
pub extern "C" fn dpo_is_available(dispatch: dpo_dispatch) -> i32 {
    i32::from(dispatch.check().is_ok())
}

pub(super) const fn level_code(level: Level) -> i32 {
    match level {
        Level::Baseline => DPO_LEVEL_BASELINE,
        Level::Avx2 => DPO_LEVEL_AVX2,
        Level::Avx512 => DPO_LEVEL_AVX512,
    }
}

impl dpo_dispatch {
    pub(super) fn check(self) -> Result<Dispatch, Fault> {
        let level = match self.level {
            DPO_LEVEL_FASTEST => Level::detect(),
            DPO_LEVEL_BASELINE => Level::Baseline,
            DPO_LEVEL_AVX2 => Level::Avx2,
            DPO_LEVEL_AVX512 => Level::Avx512,
            other => return Err(Fault::unknown(DPO_BUFFER_DISPATCH, other)),
        };
        let portable = || Dispatch::new(level, Arithmetic::Portable);
        let fused = || Dispatch::new(level, Arithmetic::Fused);
        Ok(match self.arithmetic {
            DPO_ARITHMETIC_DEFAULT => fused().or_else(|_| portable())?,
            DPO_ARITHMETIC_FUSED => fused()?,
            DPO_ARITHMETIC_PORTABLE => portable()?,
            other => return Err(Fault::unknown(DPO_BUFFER_DISPATCH, other)),
        })
    }
}
