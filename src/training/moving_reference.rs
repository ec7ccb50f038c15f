//! The moving reference of TR-DPO.
//!
//! ```text
//! θ_ref ← α·θ + (1 − α)·θ_ref  =  r − α·(r − t)          t of the policy, r of the reference
//! ```
//!
//! The simple version is the right-hand side over the elements. This one differs in that
//! 1. α = 0 and α = 1 do no arithmetic, because r − (r − t) need not be t;
//! 2. the last elements, which do not fill a vector, go through a copy that does.
//!
//! The step is subtracted, not added: r + α·(t − r) would turn a −0 that both have into +0.

use core::marker::PhantomData;

use crate::element::per_type;
use crate::error::{Buffer, Parameter, check_length};
use crate::simd::{Kernel, LANES, Simd};
use crate::{Dispatch, Element, Error};

/// Moves the reference's parameters towards the policy's, as TR-DPO does every τ steps.
///
/// ```text
/// θ_ref ← α·θ + (1 − α)·θ_ref
/// ```
///
/// TRL's default is α = 0.6 with τ = 512. α = 1 is the hard update, which copies the policy.
/// Log-probs under the reference that were stored before an update are those of another model:
/// compute them again.
///
/// # Shapes
/// `policy` (θ) and `reference` (`θ_ref`) have the same length, in elements, in f32, f16 or bf16.
/// Call it once for each tensor.
///
/// # Numerics
/// With t of the policy and r of the reference, r − α·(r − t) is computed in f32 and rounded to
/// storage once. α = 1 copies the bits of t, α = 0 leaves those of r. Where t = r the result is r
/// to the bit, whatever α is; so after a hard update the loss is exactly its value at step 0. NaN
/// or ∞ in either buffer gives NaN or ∞ there, and so does a difference beyond the range of f32.
/// Every level gives the same bits; only which NaN it is may differ.
///
/// **16-bit references stand still under a small α.** A step of less than half the distance to the
/// next number rounds away, and so does the next step. bf16 keeps 8 bits, so r stops at the latest
/// where α·|t − r| < |r|·2⁻⁹. From 1 towards 1.5 with α = 0.001, 10,000 updates bring an f32
/// reference to 1.49994 (exact: 1.49998); an f16 reference stops at 1.0117 for good, and a bf16
/// reference never leaves 1. Keep the reference in f32, or update rarely with a large α.
///
/// # Errors
/// Before anything is written: [`Error::Length`], [`Error::Parameter`] unless 0 ≤ α ≤ 1.
///
/// # Panics
/// Never.
///
/// # Example
/// ```
/// use dpo_kernel::Dispatch;
/// use dpo_kernel::training::update_reference;
/// let mut reference = [1.0_f32, -2.0];
/// update_reference(Dispatch::detect(), &[3.0, -2.0], 0.25, &mut reference)?;
/// assert_eq!(reference, [1.5, -2.0]);
/// # Ok::<(), dpo_kernel::Error>(())
/// ```
///
/// Gorbatovski et al. 2024, arXiv 2404.09656.
#[doc(alias = "TR-DPO")]
#[doc(alias = "tr_dpo")]
#[doc(alias = "sync_ref_model")]
#[doc(alias = "ref_model_mixup_alpha")]
#[doc(alias = "ref_model_sync_steps")]
#[doc(alias = "SyncRefModelCallback")]
#[doc(alias = "moving reference")]
#[doc(alias = "EMA")]
#[doc(alias = "polyak")]
#[doc(alias = "soft update")]
pub fn update_reference<E: Element>(
    dispatch: Dispatch,
    policy: &[E],
    alpha: f32,
    reference: &mut [E],
) -> Result<(), Error> {
    check_length(Buffer::ReferenceParameters, policy.len(), reference.len())?;
    Parameter::Mixing.check(f64::from(alpha), (0.0..=1.0).contains(&alpha))?;
    if alpha >= 1.0 {
        reference.copy_from_slice(policy);
    } else if alpha > 0.0 {
        E::call::<MixJob<'_>>(dispatch, Mix { policy, alpha, reference });
    }
    Ok(())
}

struct MixJob<'a>(PhantomData<&'a ()>);
per_type!(MixJob<'a>, E, Mix<'a, E> => (), mix_all);

fn mix_all<E: Element>(dispatch: Dispatch, mix: Mix<'_, E>) {
    dispatch.run(mix);
}

struct Mix<'a, E> {
    policy: &'a [E],
    alpha: f32,
    reference: &'a mut [E],
}

impl<E: Element> Kernel for Mix<'_, E> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let alpha = s.splat(self.alpha);
        let (policy, policy_rest) = self.policy.as_chunks::<LANES>();
        let (reference, reference_rest) = self.reference.as_chunks_mut::<LANES>();
        for (t, r) in policy.iter().zip(reference) {
            mix(s, alpha, t, r);
        }
        let (mut t, mut r) = ([E::ZERO; LANES], [E::ZERO; LANES]);
        for ((t, r), (from_t, from_r)) in
            t.iter_mut().zip(&mut r).zip(policy_rest.iter().zip(&*reference_rest))
        {
            (*t, *r) = (*from_t, *from_r);
        }
        mix(s, alpha, &t, &mut r);
        for (to, from) in reference_rest.iter_mut().zip(r) {
            *to = from;
        }
    }
}

#[inline(always)]
fn mix<S: Simd, E: Element>(s: S, alpha: S::F, t: &[E; LANES], r: &mut [E; LANES]) {
    for s in s.parts() {
        let from = E::load(s, r);
        let step = s.sub(from, E::load(s, t));
        E::store(s, s.neg_mul_add(alpha, step, from), r);
    }
}
