//! Bounds grow with what is promised less, and no bound is so wide that it hides what it is for.

use std::collections::HashMap;

use dpo_kernel::verify::kit::{
    Additions, Difference, Format, Mistake, Output, Plan, Precision, Target, Ulps, run,
};

use crate::plain::{Plain, Style};
use crate::planted::SINGLE;

/// Call, output, row and column: with wider bounds another column may be the first to fail.
type Figure = (String, Output, [usize; 2]);

/// Bounds of all figures, by a backend that answers NaN to all.
fn bounds(precision: Precision) -> Vec<(Figure, f64)> {
    let mut backend = Plain::<f32, f32>::new(Style::PLAIN, precision).with(Mistake::AlwaysNan);
    let report = run(&mut backend, Plan::new(2));
    let of = |failure: &dpo_kernel::verify::kit::Failure| {
        ((failure.call.clone(), failure.output, [failure.row, failure.column]), failure.bound)
    };
    report.failures.iter().map(of).collect()
}

fn grow(narrow: Precision, wide: Precision, single: &[(Figure, f64)]) {
    let of = |precision: Precision| {
        if precision == SINGLE { single.to_vec() } else { bounds(precision) }
    };
    let (a, b): (_, HashMap<_, _>) = (of(narrow), of(wide).into_iter().collect());
    assert!(a.len() > 1000);
    let mut grown = 0;
    for (place, bound) in &a {
        let Some(wider) = b.get(place) else { continue };
        assert!(bound <= wider, "{place:?}: {bound:e} above {wider:e}");
        grown += usize::from(bound < wider);
    }
    assert!(grown > 0, "nothing grew");
}

#[test]
fn a_promise_of_less_has_wider_bounds() {
    let single = bounds(SINGLE);
    let grow = |narrow, wide| grow(narrow, wide, &single);
    let shifted = Precision { difference: Difference::Shifted, ..SINGLE };
    grow(Precision { additions: Additions::Chain(9), ..SINGLE }, SINGLE);
    grow(SINGLE, Precision { exp: Ulps::new(3.0).and_slope(2.0), ..SINGLE });
    grow(SINGLE, Precision { log: Ulps::new(4.0), ..SINGLE });
    grow(SINGLE, Precision { log_absolute: 1e-6, ..SINGLE });
    grow(SINGLE, Precision { tanh: Ulps::new(9.0), ..SINGLE });
    grow(SINGLE, Precision { division: Ulps::new(2.5), ..SINGLE });
    grow(SINGLE, Precision { rescales: 64, ..SINGLE });
    grow(SINGLE, Precision { output: Format::Bf16, ..SINGLE });
    grow(SINGLE, Precision { head_logits: Format::Bf16, ..SINGLE });
    grow(SINGLE, Precision { head_grads: Format::Bf16, ..SINGLE });
    grow(SINGLE, Precision { hidden_grads: Format::Bf16, ..SINGLE });
    grow(SINGLE, Precision { product: Format::F16, head_logits: Format::F16, ..SINGLE });
    grow(shifted, SINGLE);
    grow(Precision { target: Target::Apart, ..shifted }, shifted);
    grow(Precision { pair: Format::F64, ..SINGLE }, SINGLE);
    grow(Precision::new(Format::F64, Format::F64), SINGLE);
}
