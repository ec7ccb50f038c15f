//! Planted faults: wrong theories that the checkers must reject.

use proptest::prelude::*;

use crate::cancellation::log_partition_cancels;
use crate::instance::{Checked, Instance, WRONG, holds, log_softmax};
use crate::loss::{
    ascent, beta_forgotten, descent_recovers, gradient_is_the_slope, gradient_vanishes,
    small_instances,
};
use crate::optimum::no_policy_is_better;

/// Instances on which the faults are no smaller than what f64 resolves.
fn telling() -> impl Strategy<Value = Instance> {
    small_instances().prop_map(|mut case| {
        case.rewards[0] = 1.0;
        case.rewards[1] = -0.5;
        case.reference[0] += 0.5;
        case.reference = log_softmax(case.reference);
        case
    })
}

fn rejected(what: &str, cases: u32, check: impl Fn(&Instance) -> Checked) {
    holds(cases, telling(), |case| match check(case) {
        Err(_) => Ok(1.0),
        Ok(_) => Err(format!("a wrong theory passed: {what}")),
    });
}

#[test]
fn cancellation() {
    for (what, wrong) in WRONG {
        rejected(what, 256, |case| log_partition_cancels(case, wrong));
    }
}

#[test]
fn optimality() {
    for (what, wrong) in WRONG {
        rejected(what, 256, |case| no_policy_is_better(case, wrong));
    }
}

#[test]
fn stationarity() {
    for (what, wrong) in WRONG {
        rejected(what, 256, |case| gradient_vanishes(case, wrong));
    }
}

#[test]
fn slope() {
    rejected("the sign is wrong", 128, |case| gradient_is_the_slope(case, ascent));
    rejected("β is missing", 128, |case| {
        gradient_is_the_slope(
            &Instance { beta: 2.0 * case.beta.max(1.0), ..case.clone() },
            beta_forgotten,
        )
    });
}

#[test]
fn descent() {
    rejected("the sign is wrong", 64, |case| descent_recovers(case, ascent));
}
