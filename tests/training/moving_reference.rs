//! The moving reference on every level and storage type, against f64.

use std::fmt::Debug;

use dpo_kernel::error::{Buffer, Parameter};
use dpo_kernel::training::update_reference;
use dpo_kernel::{Arithmetic, Dispatch, Element, Error, Level, bf16, f16};

use crate::common::levels::{for_each_dispatch, same_on_all_levels};

trait Store: Element + Debug {
    const NAME: &'static str;
    fn bits(self) -> u32;
}

macro_rules! store {
    ($($t:ident)*) => {
        $(impl Store for $t {
            const NAME: &'static str = stringify!($t);
            fn bits(self) -> u32 {
                self.to_bits().into()
            }
        })*
    };
}
store!(f32 f16 bf16);

type Update<E> = fn(Dispatch, &[E], f32, &mut [E]) -> Result<(), Error>;

/// Of both signs, over some powers of two, as weights are.
fn parameters<E: Store>(count: usize, seed: u64) -> Vec<E> {
    let mut state = seed;
    let mut bits = || {
        let next = state.wrapping_mul(6_364_136_223_846_793_005);
        state = next.wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as u32
    };
    let mut one = || {
        let unit = bits() as f32 / 16_777_216.0 - 0.5;
        E::from_f32(unit * 2.0_f32.powi((bits() % 12).cast_signed() - 8))
    };
    (0..count).map(|_| one()).collect()
}

const ALPHAS: [f32; 9] = [0.0, 1e-30, 5e-7, 1e-4, 0.25, 0.6, 0.999, 1.0 - f32::EPSILON / 2.0, 1.0];

/// Whether r towards t may become `found`: f32 arithmetic of three roundings, then one to storage.
fn allowed<E: Store>(t: E, r: E, alpha: f32, found: E) -> bool {
    if alpha == 0.0 || t.bits() == r.bits() {
        return found.bits() == r.bits();
    }
    if alpha == 1.0 {
        return found.bits() == t.bits();
    }
    let (t, r, alpha) = (f64::from(t.to_f32()), f64::from(r.to_f32()), f64::from(alpha));
    let exact = alpha * t + (1.0 - alpha) * r;
    let u = f64::from(f32::EPSILON) / 2.0;
    let lost = u * (2.0 * alpha * (r - t).abs() + exact.abs()) * (1.0 + 4.0 * u);
    // Storage rounds monotonically: between what the ends of the interval become.
    let down = |x: f64| if f64::from(x as f32) > x { (x as f32).next_down() } else { x as f32 };
    let low = E::from_f32(down(exact - lost)).to_f32();
    let high = E::from_f32(-down(-exact - lost)).to_f32();
    (low..=high).contains(&found.to_f32())
}

/// Everything that is promised of one update, over lengths around whole vectors.
fn objection<E: Store>(dispatch: Dispatch, update: Update<E>) -> Option<String> {
    let cases = [0, 1, 2, 15, 16, 17, 31, 33, 100].into_iter();
    cases.flat_map(|n| ALPHAS.map(|alpha| (n, alpha))).find_map(|(n, alpha)| {
        let mut policy: Vec<E> = parameters(n, 7 + n as u64);
        let mut reference: Vec<E> = parameters(n + 2, 1000 + n as u64);
        // Some agree, zeros of both signs among them; the first and the last are not in the slice.
        let zeros = [E::from_f32(-0.0), E::ZERO];
        policy.iter_mut().zip(zeros).for_each(|(to, zero)| *to = zero);
        (0..n).filter(|i| i % 3 == 0 || *i == 1).for_each(|i| reference[i + 1] = policy[i]);
        let before = reference.clone();
        update(dispatch, &policy, alpha, &mut reference[1..=n]).unwrap();
        let place = format!("{}, {dispatch:?}, alpha = {alpha}, n = {n}", E::NAME);
        if [0, n + 1].iter().any(|&i| reference[i].bits() != before[i].bits()) {
            return Some(format!("{place}: written outside"));
        }
        let wrong =
            (0..n).find(|&i| !allowed(policy[i], before[i + 1], alpha, reference[i + 1]))?;
        let (t, r, found) = (policy[wrong], before[wrong + 1], reference[wrong + 1]);
        Some(format!("{place}: {r:?} towards {t:?} became {found:?} at {wrong}"))
    })
}

#[test]
fn on_every_level_and_type() {
    for_each_dispatch(|dispatch| {
        assert_eq!(objection::<f32>(dispatch, update_reference), None);
        assert_eq!(objection::<f16>(dispatch, update_reference), None);
        assert_eq!(objection::<bf16>(dispatch, update_reference), None);
    });
}

#[test]
fn every_level_has_the_same_bits() {
    fn same<E: Store>() {
        for n in [5, 64, 77] {
            let (policy, reference) = (parameters::<E>(n, 1), parameters::<E>(n, 2));
            for alpha in ALPHAS {
                same_on_all_levels(E::NAME, |dispatch| {
                    let mut moved = reference.clone();
                    update_reference(dispatch, &policy, alpha, &mut moved).unwrap();
                    moved.into_iter().map(E::bits).collect::<Vec<_>>()
                });
            }
        }
    }
    same::<f32>();
    same::<f16>();
    same::<bf16>();
}

/// An update of one element, for the faults.
fn each<E: Store>(policy: &[E], reference: &mut [E], step: impl Fn(f32, f32) -> f32) {
    for (t, r) in policy.iter().zip(reference) {
        *r = E::from_f32(step(t.to_f32(), r.to_f32()));
    }
}

/// With the two ends special, as they should be.
fn between<E: Store>(policy: &[E], alpha: f32, r: &mut [E], step: impl Fn(f32, f32) -> f32) {
    if alpha >= 1.0 {
        r.copy_from_slice(policy);
    } else if alpha > 0.0 {
        each(policy, r, step);
    }
}

#[test]
fn planted_faults_are_caught() {
    fn right<E: Store>(_: Dispatch, t: &[E], a: f32, r: &mut [E]) -> Result<(), Error> {
        between(t, a, r, |t, r| r - a * (r - t));
        Ok(())
    }
    fn swapped<E: Store>(d: Dispatch, t: &[E], a: f32, r: &mut [E]) -> Result<(), Error> {
        update_reference(d, t, 1.0 - a, r)
    }
    fn two_products<E: Store>(_: Dispatch, t: &[E], a: f32, r: &mut [E]) -> Result<(), Error> {
        between(t, a, r, |t, r| a * t + (1.0 - a) * r);
        Ok(())
    }
    fn added<E: Store>(_: Dispatch, t: &[E], a: f32, r: &mut [E]) -> Result<(), Error> {
        between(t, a, r, |t, r| r + a * (t - r));
        Ok(())
    }
    fn no_ends<E: Store>(_: Dispatch, t: &[E], a: f32, r: &mut [E]) -> Result<(), Error> {
        each(t, r, |t, r| r - a * (r - t));
        Ok(())
    }
    fn rounded_twice<E: Store>(_: Dispatch, t: &[E], a: f32, r: &mut [E]) -> Result<(), Error> {
        between(t, a, r, |t, r| r - E::from_f32(a * (r - t)).to_f32());
        Ok(())
    }
    fn whole_vectors<E: Store>(d: Dispatch, t: &[E], a: f32, r: &mut [E]) -> Result<(), Error> {
        let n = t.len() / 16 * 16;
        update_reference(d, &t[..n], a, &mut r[..n])
    }
    fn caught<E: Store>(faults: &[(&str, Update<E>)]) {
        let dispatch = Dispatch::new(Level::Baseline, Arithmetic::Portable).unwrap();
        assert_eq!(objection::<E>(dispatch, right), None, "the control's control");
        for (name, fault) in faults {
            assert!(objection(dispatch, *fault).is_some(), "{}: {name} went unnoticed", E::NAME);
        }
    }
    // Two products round away in 16 bits, and a rounding to f32 is none in f32.
    caught::<f32>(&[
        ("swapped", swapped),
        ("two products", two_products),
        ("added", added),
        ("no ends", no_ends),
        ("whole vectors", whole_vectors),
    ]);
    let sixteen = [("swapped", swapped as Update<bf16>), ("rounded twice", rounded_twice)];
    caught::<bf16>(&sixteen);
    caught::<bf16>(&[("added", added), ("whole vectors", whole_vectors)]);
    caught::<f16>(&[("swapped", swapped), ("rounded twice", rounded_twice), ("added", added)]);
}

/// Payloads of NaN and infinities go through a copy, and stay where nothing moves.
#[test]
fn the_ends_move_bits() {
    let odd = [0x7fc5_5aa5, 0xff80_0000, 0x8000_0001, 0x0080_0000].map(f32::from_bits);
    let sixteen = [0x7fa5, 0xff80, 0x8001, 0x0080].map(bf16::from_bits);
    for_each_dispatch(|dispatch| {
        let mut reference = [1.0; 4];
        update_reference(dispatch, &odd, 1.0, &mut reference).unwrap();
        assert_eq!(reference.map(f32::to_bits), odd.map(f32::to_bits));
        update_reference(dispatch, &[2.0; 4], 0.0, &mut reference).unwrap();
        assert_eq!(reference.map(f32::to_bits), odd.map(f32::to_bits));
        let mut reference = [bf16::ZERO; 4];
        update_reference(dispatch, &sixteen, 1.0, &mut reference).unwrap();
        assert_eq!(reference.map(bf16::to_bits), sixteen.map(bf16::to_bits));
        // In between, what is not finite is not made plausible.
        let mut reference = [1.0, f32::INFINITY, f32::NAN, f32::INFINITY];
        let policy = [f32::NEG_INFINITY, 1.0, 1.0, f32::INFINITY];
        update_reference(dispatch, &policy, 0.5, &mut reference).unwrap();
        assert!(reference.iter().all(|x| !x.is_finite()), "{reference:?}");
    });
}

/// NaN of either sign stays NaN, infinities and zeros stay what they are, on every level and in
/// every lane.
#[test]
fn what_is_special_is_stored_as_it_is() {
    fn check<E: Store>() {
        let kinds = [f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 0.0, -0.0, 1.5];
        for_each_dispatch(|dispatch| {
            for turn in 0..kinds.len() {
                let policy: Vec<E> =
                    (0..37).map(|i| E::from_f32(kinds[(i + turn) % kinds.len()])).collect();
                let mut moved = vec![E::from_f32(1.0); policy.len()];
                update_reference(dispatch, &policy, 0.25, &mut moved).unwrap();
                for (i, (&to, &found)) in policy.iter().zip(&moved).enumerate() {
                    let place = format!("{}, {dispatch:?}: 1 towards {to:?} at {i}", E::NAME);
                    let (to, found) = (to.to_f32(), found.to_f32());
                    if to.is_nan() {
                        assert!(found.is_nan(), "{place} became {found}");
                    } else {
                        assert_eq!(found, to.mul_add(0.25, 0.75), "{place}");
                    }
                }
                // Nothing moves, and ∞ − ∞ is NaN.
                let mut kept = policy.clone();
                update_reference(dispatch, &policy, 0.25, &mut kept).unwrap();
                for (&to, &found) in policy.iter().zip(&kept) {
                    let same = to.bits() == found.bits();
                    let place = format!("{}, {dispatch:?}: {to:?} towards itself", E::NAME);
                    let expected = same || (!to.to_f32().is_finite() && found.to_f32().is_nan());
                    assert!(expected, "{place} became {found:?}");
                }
            }
        });
    }
    check::<f32>();
    check::<f16>();
    check::<bf16>();
}

/// From 1 towards 1.5 by a thousandth of the way, ten thousand times: the figures of the docs.
#[test]
fn sixteen_bits_stand_still_under_a_small_alpha() {
    fn after<E: Store>(dispatch: Dispatch, updates: usize) -> f32 {
        let mut reference = [E::from_f32(1.0)];
        for _ in 0..updates {
            update_reference(dispatch, &[E::from_f32(1.5)], 0.001, &mut reference).unwrap();
        }
        reference[0].to_f32()
    }
    for_each_dispatch(|dispatch| {
        let found = after::<f32>(dispatch, 10_000);
        let exact = 1.5 - 0.5 * 0.999_f64.powi(10_000);
        assert!((f64::from(found) - exact).abs() < 1e-4, "{found} {exact}");
        assert_eq!(format!("{found:.5}"), "1.49994", "the figure of the docs");
        let f16_found = after::<f16>(dispatch, 10_000);
        assert_eq!((f16_found, after::<f16>(dispatch, 20_000)), (F16_END, F16_END));
        assert_eq!(after::<bf16>(dispatch, 10_000), 1.0);
    });
}

/// Where the f16 reference stops for good.
const F16_END: f32 = 1.0 + 12.0 / 1024.0;

#[test]
fn bad_input_is_refused_and_changes_nothing() {
    let dispatch = Dispatch::detect();
    let refused = |policy: &[f32], alpha: f32| {
        let mut reference = [0.5, f32::NAN, -0.0];
        let before = reference.map(f32::to_bits);
        let error = update_reference(dispatch, policy, alpha, &mut reference).unwrap_err();
        assert_eq!(reference.map(f32::to_bits), before, "{error}");
        error
    };
    let buffer = Buffer::ReferenceParameters;
    assert_eq!(refused(&[1.0; 2], 0.5), Error::Length { buffer, expected: 2, found: 3 });
    assert_eq!(refused(&[1.0; 4], 1.0), Error::Length { buffer, expected: 4, found: 3 });
    for alpha in [-f32::MIN_POSITIVE, 1.0 + f32::EPSILON, f32::INFINITY, f32::NAN] {
        let error = refused(&[1.0; 3], alpha);
        assert!(matches!(error, Error::Parameter { parameter: Parameter::Mixing, .. }), "{error}");
    }
}
