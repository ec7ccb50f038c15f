//! The names and options of the losses, as plain numbers.

use core::ffi::{CStr, c_char};
use core::ptr;

use super::memory::{Buffers, plain};
use super::names::*;
use super::report::report;
use super::status::{Fault, codes, dpo_error, dpo_status};
use crate::Error;
use crate::loss::{AlphaDivergence, AnyDivergence, LossName, LossOptions, Objective};

codes! {
    /// [`LossName::Sigmoid`]
    DPO_LOSS_SIGMOID = 0;
    /// [`LossName::Robust`]
    DPO_LOSS_ROBUST = 1;
    /// [`LossName::Hinge`]
    DPO_LOSS_HINGE = 2;
    /// [`LossName::Ipo`]
    DPO_LOSS_IPO = 3;
    /// [`LossName::IpoSum`]
    DPO_LOSS_IPO_SUM = 4;
    /// [`LossName::Exo`]
    DPO_LOSS_EXO_PAIR = 5;
    /// [`LossName::DiscoPop`]
    DPO_LOSS_DISCOPOP = 6;
    /// [`LossName::SigmoidNorm`]
    DPO_LOSS_SIGMOID_NORM = 7;
    /// [`LossName::RpoForward`]
    DPO_LOSS_RPO_FWD_KL = 8;
    /// [`LossName::RpoBackward`]
    DPO_LOSS_RPO_BWD_KL = 9;
    /// [`LossName::RpoSquare`]
    DPO_LOSS_RPO_SQ = 10;
    /// [`LossName::SimPo`]
    DPO_LOSS_SIMPO = 11;
    /// [`LossName::Cpo`]
    DPO_LOSS_CPO = 12;
    /// [`LossName::CpoHinge`]
    DPO_LOSS_CPO_HINGE = 13;
    /// [`LossName::CpoIpo`]
    DPO_LOSS_CPO_IPO = 14;
    /// [`LossName::Slic`]
    DPO_LOSS_SLIC = 15;
    /// [`LossName::AlphaPo`]
    DPO_LOSS_ALPHAPO = 16;
    /// [`LossName::Orpo`]
    DPO_LOSS_ORPO = 17;
    /// [`LossName::Nca`]
    DPO_LOSS_NCA_PAIR = 18;
    /// [`LossName::Bco`]
    DPO_LOSS_BCO_PAIR = 19;
    /// [`LossName::SppoHard`]
    DPO_LOSS_SPPO_HARD = 20;
    /// [`LossName::ApoZero`]
    DPO_LOSS_APO_ZERO = 21;
    /// [`LossName::ApoDown`]
    DPO_LOSS_APO_DOWN = 22;
    /// [`LossName::Kto`]
    DPO_LOSS_KTO = 23;
    /// [`LossName::CalDpo`]
    DPO_LOSS_CAL_DPO = 24;
    /// [`LossName::DpopInside`]
    DPO_LOSS_DPOP_INSIDE = 25;
    /// [`LossName::DpopOutside`]
    DPO_LOSS_DPOP_OUTSIDE = 26;
    /// [`LossName::Aot`]
    DPO_LOSS_AOT = 27;
    /// [`LossName::AotUnpaired`]
    DPO_LOSS_AOT_UNPAIRED = 28;
    /// [`LossName::Sft`]
    DPO_LOSS_SFT = 29;
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

/// `beta` is given.
pub const DPO_OPTION_BETA: u32 = 1 << 0;
/// `label_smoothing` is given.
pub const DPO_OPTION_LABEL_SMOOTHING: u32 = 1 << 1;
/// `target_margin` is given.
pub const DPO_OPTION_TARGET_MARGIN: u32 = 1 << 2;
/// `target_margin_ratio` is given.
pub const DPO_OPTION_TARGET_MARGIN_RATIO: u32 = 1 << 3;
/// `reward_exponent` is given.
pub const DPO_OPTION_REWARD_EXPONENT: u32 = 1 << 4;
/// `blend_temperature` is given.
pub const DPO_OPTION_BLEND_TEMPERATURE: u32 = 1 << 5;
/// `reward_shift` is given.
pub const DPO_OPTION_REWARD_SHIFT: u32 = 1 << 6;
/// `slic_margin` is given.
pub const DPO_OPTION_SLIC_MARGIN: u32 = 1 << 7;
/// `drop_penalty` is given.
pub const DPO_OPTION_DROP_PENALTY: u32 = 1 << 8;
/// `odds_weight` is given.
pub const DPO_OPTION_ODDS_WEIGHT: u32 = 1 << 9;
/// `reference_kl` is given.
pub const DPO_OPTION_REFERENCE_KL: u32 = 1 << 10;
/// `desirable_weight` is given.
pub const DPO_OPTION_DESIRABLE_WEIGHT: u32 = 1 << 11;
/// `undesirable_weight` is given.
pub const DPO_OPTION_UNDESIRABLE_WEIGHT: u32 = 1 << 12;
/// `reward_gap` is given.
pub const DPO_OPTION_REWARD_GAP: u32 = 1 << 13;
/// `divergence` is given.
pub const DPO_OPTION_DIVERGENCE: u32 = 1 << 14;

/// A [`LossName`] with its [`LossOptions`]. What `given` does not name has the loss's default, and is 0
/// here.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[repr(C)]
pub struct dpo_loss {
    /// `DPO_LOSS_…`
    pub name: i32,
    /// `DPO_OPTION_…`, or-ed.
    pub given: u32,
    /// [`LossOptions::beta`]
    pub beta: f64,
    /// [`LossOptions::label_smoothing`]
    pub label_smoothing: f64,
    /// [`LossOptions::target_margin`]
    pub target_margin: f64,
    /// [`LossOptions::target_margin_ratio`]
    pub target_margin_ratio: f64,
    /// [`LossOptions::reward_exponent`]
    pub reward_exponent: f64,
    /// [`LossOptions::blend_temperature`]
    pub blend_temperature: f64,
    /// [`LossOptions::reward_shift`]
    pub reward_shift: f64,
    /// [`LossOptions::slic_margin`]
    pub slic_margin: f64,
    /// [`LossOptions::drop_penalty`]
    pub drop_penalty: f64,
    /// [`LossOptions::odds_weight`]
    pub odds_weight: f64,
    /// [`LossOptions::reference_kl`]
    pub reference_kl: f64,
    /// [`LossOptions::desirable_weight`]
    pub desirable_weight: f64,
    /// [`LossOptions::undesirable_weight`]
    pub undesirable_weight: f64,
    /// [`LossOptions::reward_gap`]
    pub reward_gap: f64,
    /// α of the α-divergences; 0 for the others.
    pub divergence_alpha: f64,
    /// `DPO_DIVERGENCE_…`, [`LossOptions::divergence`]
    pub divergence: i32,
}

plain!(dpo_loss);

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
        out.fill(code_of(name));
        Ok(())
    };
    // SAFETY: the caller's word for `error`.
    unsafe { report(run(), error) }
}

/// The name of a loss, as [`LossName::name`] has it; NULL if there is none of that number.
#[unsafe(no_mangle)]
pub extern "C" fn dpo_loss_name(name: i32) -> *const c_char {
    let name: &CStr = match name {
        DPO_LOSS_SIGMOID => c"sigmoid",
        DPO_LOSS_ROBUST => c"robust",
        DPO_LOSS_HINGE => c"hinge",
        DPO_LOSS_IPO => c"ipo",
        DPO_LOSS_IPO_SUM => c"ipo_sum",
        DPO_LOSS_EXO_PAIR => c"exo_pair",
        DPO_LOSS_DISCOPOP => c"discopop",
        DPO_LOSS_SIGMOID_NORM => c"sigmoid_norm",
        DPO_LOSS_RPO_FWD_KL => c"rpo_fwd_kl",
        DPO_LOSS_RPO_BWD_KL => c"rpo_bwd_kl",
        DPO_LOSS_RPO_SQ => c"rpo_sq",
        DPO_LOSS_SIMPO => c"simpo",
        DPO_LOSS_CPO => c"cpo",
        DPO_LOSS_CPO_HINGE => c"cpo_hinge",
        DPO_LOSS_CPO_IPO => c"cpo_ipo",
        DPO_LOSS_SLIC => c"slic",
        DPO_LOSS_ALPHAPO => c"alphapo",
        DPO_LOSS_ORPO => c"orpo",
        DPO_LOSS_NCA_PAIR => c"nca_pair",
        DPO_LOSS_BCO_PAIR => c"bco_pair",
        DPO_LOSS_SPPO_HARD => c"sppo_hard",
        DPO_LOSS_APO_ZERO => c"apo_zero",
        DPO_LOSS_APO_DOWN => c"apo_down",
        DPO_LOSS_KTO => c"kto",
        DPO_LOSS_CAL_DPO => c"cal_dpo",
        DPO_LOSS_DPOP_INSIDE => c"dpop_inside",
        DPO_LOSS_DPOP_OUTSIDE => c"dpop_outside",
        DPO_LOSS_AOT => c"aot",
        DPO_LOSS_AOT_UNPAIRED => c"aot_unpaired",
        DPO_LOSS_SFT => c"sft",
        _ => return ptr::null(),
    };
    name.as_ptr()
}

const fn code_of(name: LossName) -> i32 {
    match name {
        LossName::Sigmoid => DPO_LOSS_SIGMOID,
        LossName::Robust => DPO_LOSS_ROBUST,
        LossName::Hinge => DPO_LOSS_HINGE,
        LossName::Ipo => DPO_LOSS_IPO,
        LossName::IpoSum => DPO_LOSS_IPO_SUM,
        LossName::Exo => DPO_LOSS_EXO_PAIR,
        LossName::DiscoPop => DPO_LOSS_DISCOPOP,
        LossName::SigmoidNorm => DPO_LOSS_SIGMOID_NORM,
        LossName::RpoForward => DPO_LOSS_RPO_FWD_KL,
        LossName::RpoBackward => DPO_LOSS_RPO_BWD_KL,
        LossName::RpoSquare => DPO_LOSS_RPO_SQ,
        LossName::SimPo => DPO_LOSS_SIMPO,
        LossName::Cpo => DPO_LOSS_CPO,
        LossName::CpoHinge => DPO_LOSS_CPO_HINGE,
        LossName::CpoIpo => DPO_LOSS_CPO_IPO,
        LossName::Slic => DPO_LOSS_SLIC,
        LossName::AlphaPo => DPO_LOSS_ALPHAPO,
        LossName::Orpo => DPO_LOSS_ORPO,
        LossName::Nca => DPO_LOSS_NCA_PAIR,
        LossName::Bco => DPO_LOSS_BCO_PAIR,
        LossName::SppoHard => DPO_LOSS_SPPO_HARD,
        LossName::ApoZero => DPO_LOSS_APO_ZERO,
        LossName::ApoDown => DPO_LOSS_APO_DOWN,
        LossName::Kto => DPO_LOSS_KTO,
        LossName::CalDpo => DPO_LOSS_CAL_DPO,
        LossName::DpopInside => DPO_LOSS_DPOP_INSIDE,
        LossName::DpopOutside => DPO_LOSS_DPOP_OUTSIDE,
        LossName::Aot => DPO_LOSS_AOT,
        LossName::AotUnpaired => DPO_LOSS_AOT_UNPAIRED,
        LossName::Sft => DPO_LOSS_SFT,
    }
}

impl dpo_loss {
    /// What the name and the options stand for.
    pub(super) fn build(&self) -> Result<Objective, Fault> {
        let name = LossName::ALL.into_iter().find(|&name| code_of(name) == self.name);
        let name = name.ok_or(Fault::unknown(DPO_BUFFER_NAME, self.name))?;
        Ok(name.build(&self.options()?)?)
    }

    fn options(&self) -> Result<LossOptions, Fault> {
        let mut known = 0;
        // A value that is not given must not be there either: it would be ignored.
        let mut option = |flag: u32, value: f64| {
            known |= flag;
            if self.given & flag != 0 {
                Ok(Some(value))
            } else if value.to_bits() == 0 {
                Ok(None)
            } else {
                Err(Fault::unused(DPO_BUFFER_OPTIONS))
            }
        };
        let mut options = LossOptions {
            beta: option(DPO_OPTION_BETA, self.beta)?,
            label_smoothing: option(DPO_OPTION_LABEL_SMOOTHING, self.label_smoothing)?,
            target_margin: option(DPO_OPTION_TARGET_MARGIN, self.target_margin)?,
            target_margin_ratio: option(DPO_OPTION_TARGET_MARGIN_RATIO, self.target_margin_ratio)?,
            reward_exponent: option(DPO_OPTION_REWARD_EXPONENT, self.reward_exponent)?,
            blend_temperature: option(DPO_OPTION_BLEND_TEMPERATURE, self.blend_temperature)?,
            reward_shift: option(DPO_OPTION_REWARD_SHIFT, self.reward_shift)?,
            slic_margin: option(DPO_OPTION_SLIC_MARGIN, self.slic_margin)?,
            drop_penalty: option(DPO_OPTION_DROP_PENALTY, self.drop_penalty)?,
            odds_weight: option(DPO_OPTION_ODDS_WEIGHT, self.odds_weight)?,
            reference_kl: option(DPO_OPTION_REFERENCE_KL, self.reference_kl)?,
            desirable_weight: option(DPO_OPTION_DESIRABLE_WEIGHT, self.desirable_weight)?,
            undesirable_weight: option(DPO_OPTION_UNDESIRABLE_WEIGHT, self.undesirable_weight)?,
            reward_gap: option(DPO_OPTION_REWARD_GAP, self.reward_gap)?,
            divergence: None,
        };
        let divergence = option(DPO_OPTION_DIVERGENCE, f64::from(self.divergence))?;
        if self.given & !known != 0 {
            return Err(Fault::unknown(DPO_BUFFER_OPTIONS, self.given.cast_signed()));
        }
        options.divergence = match divergence {
            Some(_) => Some(self.divergence()?),
            None if self.divergence_alpha.to_bits() != 0 => {
                return Err(Fault::unused(DPO_BUFFER_OPTIONS));
            }
            None => None,
        };
        Ok(options)
    }

    fn divergence(&self) -> Result<AnyDivergence, Fault> {
        let alpha = self.divergence_alpha;
        let plain = match self.divergence {
            DPO_DIVERGENCE_ALPHA_PAPER => {
                return Ok(AnyDivergence::Alpha(AlphaDivergence::with_paper_alpha(alpha)?));
            }
            DPO_DIVERGENCE_ALPHA_TRL => {
                return Ok(AnyDivergence::Alpha(AlphaDivergence::with_trl_alpha(alpha)?));
            }
            DPO_DIVERGENCE_REVERSE_KL => AnyDivergence::ReverseKl,
            DPO_DIVERGENCE_FORWARD_KL => AnyDivergence::ForwardKl,
            DPO_DIVERGENCE_JENSEN_SHANNON => AnyDivergence::JensenShannon,
            other => return Err(Fault::unknown(DPO_BUFFER_OPTIONS, other)),
        };
        if alpha.to_bits() == 0 { Ok(plain) } else { Err(Fault::unused(DPO_BUFFER_OPTIONS)) }
    }
}
