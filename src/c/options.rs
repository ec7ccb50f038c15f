//! The names and options of the losses, as plain numbers.

use core::ffi::c_char;
use core::ptr;

use super::memory::{Buffers, plain};
use super::names::*;
use super::report::report;
use super::status::{Fault, codes, dpo_error, dpo_status};
use crate::Error;
use crate::error::Parameter;
use crate::loss::{AlphaDivergence, AnyDivergence, LossName, LossOptions, Objective};

codes! {
    /// [`AnyDivergence::ReverseKl`]
    DPO_DIVERGENCE_REVERSE_KL = 0;
    /// [`AnyDivergence::ForwardKl`]
    DPO_DIVERGENCE_FORWARD_KL = 1;
    /// [`AnyDivergence::JensenShannon`]
    DPO_DIVERGENCE_JENSEN_SHANNON = 2;
    /// [`AlphaDivergence::with_paper_alpha`]
    DPO_DIVERGENCE_ALPHA_PAPER = 3;
    /// [`AlphaDivergence::with_trl_alpha`]
    DPO_DIVERGENCE_ALPHA_TRL = 4;
}

/// Most options of a loss.
pub const DPO_MOST_OPTIONS: usize = 8;

/// One option of a loss. Zeros are none.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[repr(C)]
pub struct dpo_option {
    /// `DPO_PARAMETER_…`, which is a [`Parameter`] as a number; 0 for no option.
    pub parameter: i32,
    /// Its value; the divergence is a `DPO_DIVERGENCE_…`.
    pub value: f64,
}

/// A [`LossName`] with its [`LossOptions`]. Zeros are `sigmoid` with its defaults.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[repr(C)]
pub struct dpo_loss {
    /// `DPO_LOSS_…`, which is a [`LossName`] as a number.
    pub name: i32,
    /// In any order; the loss's default for what is not there.
    pub options: [dpo_option; DPO_MOST_OPTIONS],
}

plain!(dpo_option, dpo_loss);

/// The number of a loss, from the names that trainers give it; see [`LossName`].
///
/// # Safety
/// That of [the module](super).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dpo_loss_parse(
    name: *const c_char,
    len: usize,
    out: *mut i32,
    error: *mut dpo_error,
) -> dpo_status {
    let run = || {
        let mut buffers = Buffers::new();
        let name = buffers.input(name.cast::<u8>(), len, DPO_BUFFER_NAME)?;
        let out = buffers.output(out, 1, DPO_BUFFER_OUT)?;
        let memory = buffers.check()?;
        // SAFETY: the caller's word for both.
        let (name, out) = unsafe { (memory.slice(name), memory.slice_mut(out)) };
        let name: LossName = str::from_utf8(name).map_err(|_| Error::UnknownLoss)?.parse()?;
        out.fill(name as i32);
        Ok(())
    };
    // SAFETY: the caller's word for `error`.
    unsafe { report(run(), error) }
}

/// The name of a loss, as [`LossName::name`] has it; NULL if there is none of that number.
#[unsafe(no_mangle)]
pub extern "C" fn dpo_loss_name(name: i32) -> *const c_char {
    named(name).map_or(ptr::null(), |name| name.c_name().as_ptr())
}

fn named(number: i32) -> Option<LossName> {
    LossName::ALL.into_iter().find(|&name| name as i32 == number)
}

impl dpo_loss {
    /// What the name and the options stand for.
    pub(super) fn build(&self) -> Result<Objective, Fault> {
        let name = named(self.name).ok_or(Fault::unknown(DPO_BUFFER_NAME, self.name))?;
        Ok(name.build(&self.options()?)?)
    }

    /// Not inlined: with what builds the losses it would be the library's largest function.
    #[inline(never)]
    fn options(&self) -> Result<LossOptions, Fault> {
        let mut options = LossOptions::default();
        let (mut divergence, mut alpha) = (None, None);
        for &dpo_option { parameter: number, value } in &self.options {
            if number == 0 {
                // A value without a parameter would be ignored.
                match value.to_bits() {
                    0 => continue,
                    _ => return Err(Fault::unused(DPO_BUFFER_OPTIONS)),
                }
            }
            let unknown = Fault::unknown(DPO_BUFFER_OPTIONS, number);
            let mut all = Parameter::ALL.into_iter();
            let to = match all.find(|&p| parameter_code(p) == number).ok_or(unknown)? {
                Parameter::Divergence => &mut divergence,
                Parameter::DivergenceAlpha => &mut alpha,
                parameter => options.option_mut(parameter).ok_or(unknown)?,
            };
            // So would the first of two values.
            if to.replace(value).is_some() {
                return Err(Fault::unused(DPO_BUFFER_OPTIONS));
            }
        }
        options.divergence = match divergence {
            Some(kind) => Some(any_divergence(kind, alpha)?),
            None if alpha.is_some() => return Err(Fault::unused(DPO_BUFFER_OPTIONS)),
            None => None,
        };
        Ok(options)
    }
}

/// α of the α-divergences, and of no other.
fn any_divergence(kind: f64, alpha: Option<f64>) -> Result<AnyDivergence, Fault> {
    let known = [
        DPO_DIVERGENCE_REVERSE_KL,
        DPO_DIVERGENCE_FORWARD_KL,
        DPO_DIVERGENCE_JENSEN_SHANNON,
        DPO_DIVERGENCE_ALPHA_PAPER,
        DPO_DIVERGENCE_ALPHA_TRL,
    ];
    // Whole numbers alone are equal to one of these.
    let kind = known.into_iter().find(|&known| (kind - f64::from(known)).abs() <= 0.0);
    let needed = || alpha.ok_or(Error::ParameterMissing { parameter: Parameter::DivergenceAlpha });
    let plain = match kind {
        Some(DPO_DIVERGENCE_ALPHA_PAPER) => {
            return Ok(AnyDivergence::Alpha(AlphaDivergence::with_paper_alpha(needed()?)?));
        }
        Some(DPO_DIVERGENCE_ALPHA_TRL) => {
            return Ok(AnyDivergence::Alpha(AlphaDivergence::with_trl_alpha(needed()?)?));
        }
        Some(DPO_DIVERGENCE_REVERSE_KL) => AnyDivergence::ReverseKl,
        Some(DPO_DIVERGENCE_FORWARD_KL) => AnyDivergence::ForwardKl,
        Some(DPO_DIVERGENCE_JENSEN_SHANNON) => AnyDivergence::JensenShannon,
        _ => return Err(Fault::unknown(DPO_BUFFER_OPTIONS, parameter_code(Parameter::Divergence))),
    };
    match alpha {
        None => Ok(plain),
        Some(_) => Err(Fault::unused(DPO_BUFFER_OPTIONS)),
    }
}
