//! Of heads.

use dpo_kernel::verify::Transform;
use dpo_kernel::verify::cases::{Place, Twist};
use dpo_kernel::{Dispatch, Error, bf16};

use super::assert_rejected;
use crate::bodies::head;
use crate::bodies::head::trained::{self, Trained};

fn head_case() -> head::Case {
    head::Case {
        size: 3,
        vocab: 530,
        padding: [1, 2, 1],
        targets: vec![Some(70), Some(9), Some(65_500), None, Some(30_000)],
        spans: vec![(0, 1), (1, 1), (2, 5)],
        coefficients: vec![0.5, 0.25, -0.75, 0.5, 0.0],
        seed: 7,
        spreads: [1.0, 0.5],
        bias: Some(vec![Twist::Peak(Place::At(65_500), 4.0), Twist::Mask(100, 200)]),
        set: Vec::new(),
        transform: Transform { scale: 1.25, softcap: Some(6.0), temperature: 0.75 },
        scratch: [2, 1, 3],
        zero_unscored: false,
        types: 0,
    }
}

/// In both buffers, which agree.
fn set(found: &mut head::Found, at: usize, x: f32) {
    (found.grads[at], found.narrow[at]) = (x, bf16::from_f32(x));
}

#[test]
fn of_heads() {
    let case = head_case();
    let dispatch = Dispatch::detect();
    let right = head::run::<f32, f32>(&case, dispatch);
    let with = |change: fn(&mut head::Found)| {
        let mut wrong = right.clone();
        change(&mut wrong);
        head::accepts::<f32, f32>(&case, dispatch, &wrong)
    };
    let mut broken = case.clone();
    broken.set = vec![(true, 0, f32::NAN.to_bits())];
    let named = head::run::<f32, f32>(&broken, dispatch);
    let after = |change: fn(&mut head::Found)| {
        let mut wrong = named.clone();
        change(&mut wrong);
        head::accepts::<f32, f32>(&broken, dispatch, &wrong)
    };
    let error =
        head::accepts::<f32, f32>(&head::Case { bias: None, ..case.clone() }, dispatch, &right);
    let idle = head::Case { coefficients: vec![0.0; 5], ..case.clone() };
    let zeroed = head::Case { zero_unscored: true, ..case.clone() };
    let accepted = |case| head::accepts::<f32, f32>(case, dispatch, &right);
    assert_rejected(
        &with(|_| ()).and(after(|_| ())),
        &[
            ("log p, an ulp off", with(|f| f.log_probs[0] = f.log_probs[0].next_up())),
            ("a row of nobody", with(|f| f.log_probs[1] = -1.0)),
            ("an ignored norm", with(|f| f.norms[3] = f.norms[0])),
            (
                "entropy, an ulp off",
                with(|f| f.details[2].entropy = f.details[2].entropy.next_up()),
            ),
            ("a token more", with(|f| f.result.as_mut().unwrap().tokens += 1)),
            ("no bias", error),
            ("padding of a gradient", with(|f| set(f, 3, 0.0))),
            ("a gradient of nobody", with(|f| set(f, 4, 0.0))),
            ("a gradient, the fourth digit", with(|f| set(f, 1, f.grads[1] * 1.0003))),
            ("a sign", with(|f| set(f, 8, -f.grads[8]))),
            ("NaN", with(|f| set(f, 8, f32::NAN))),
            ("c = 0", with(|f| set(f, 16, 1e-30))),
            ("16 bits of another number", with(|f| f.narrow[0] = f.narrow[1])),
            ("a refusal of what is right", with(|f| f.backward = Err(Error::EmptyHidden))),
            ("no refusal", after(|f| f.backward = Ok(()))),
            ("no error", after(|f| f.result = Ok(dpo_kernel::TokenSummary::default()))),
            ("gradients where none is due", accepted(&idle)),
            ("rows that are not zeroed", accepted(&zeroed)),
        ],
    );
}

#[test]
fn of_trained_heads() {
    // The bits of the seed: rank 3, gradients of W, replaced; and rank 0, of f32, added.
    for seed in [7, 8] {
        let case = head::Case {
            seed,
            types: 3,
            coefficients: vec![0.5, 0.25, -0.75, 0.5, 0.25],
            ..head_case()
        };
        let dispatch = Dispatch::detect();
        let right = trained::run::<f32, bf16>(&case, dispatch, 0);
        let accepted = |case: &head::Case, found: &Trained| {
            trained::accepts::<f32, bf16>(case, dispatch, found)
        };
        let with = |change: &dyn Fn(&mut Trained)| {
            let mut wrong = right.clone();
            change(&mut wrong);
            accepted(&case, &wrong)
        };
        let digit = |x: &mut f32, by: f32| *x *= 1.0 + by;
        let wide = 3 + usize::from(seed % 4);
        let mut faults = vec![
            ("hidden, the fourth digit", with(&|f| digit(&mut f.rows[0][1], 3e-4))),
            ("hidden, a sign", with(&|f| f.rows[1][2 * wide] *= -1.0)),
            ("NaN", with(&|f| f.rows[0][2 * wide] = f32::NAN)),
            ("weights, the second digit", with(&|f| digit(&mut f.weights[4 * 520], 0.02))),
            ("padding of weights", with(&|f| f.weights[3] = 0.0)),
            ("bias, the fourth digit", with(&|f| digit(&mut f.bias[529], 3e-4))),
            ("a refusal of what is right", with(&|f| f.result = Err(Error::EmptyHidden))),
            (
                "the other way to add",
                accepted(&head::Case { seed: seed ^ 8, ..case.clone() }, &right),
            ),
            ("no bias", accepted(&head::Case { bias: None, ..case.clone() }, &right)),
        ];
        if seed % 4 > 0 {
            faults.extend([
                ("u, the fourth digit", with(&|f| digit(&mut f.projected[0], 1e-3))),
                ("of u, the fourth digit", with(&|f| digit(&mut f.rows[0][3], 3e-4))),
                ("nothing through A", with(&|f| f.rows[1] = f.rows[0].clone())),
                ("A, the fourth digit", with(&|f| digit(&mut f.a[5], 3e-4))),
                ("B, the fourth digit", with(&|f| digit(&mut f.b[1500], 3e-4))),
            ]);
        }
        assert_rejected(&with(&|_| ()), &faults);
    }
}
