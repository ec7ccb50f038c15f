//! The report as JSON. Numbers that JSON lacks are the strings `NaN`, `inf` and `-inf`.

use dpo_kernel::verify::kit::{
    Additions, Broken, Difference, Failure, Precision, Report, Size, Target, Tested, Ulps,
    Unanswered, Wrong,
};
use serde_json::{Value, json};

/// All of a report.
pub(crate) fn json(report: &Report) -> Value {
    let unanswered = |list: &[Unanswered]| -> Vec<Value> {
        let one =
            |u: &Unanswered| json!({ "call": u.call, "input": u.input, "message": u.message });
        list.iter().map(one).collect()
    };
    let causes = report
        .causes
        .iter()
        .map(|(cause, count)| json!({ "cause": cause.to_string(), "rows": count }));
    let offers = report.offers.iter().map(|output| output.name());
    json!({
        "backend": report.backend,
        "storage": report.storage.name(),
        "precision": precision(&report.precision),
        "declared": report.precision.to_string(),
        "refused": report.refused.map(|refused| refused.to_string()),
        "seed": report.plan.seed,
        "size": if report.plan.size == Size::Full { "full" } else { "small" },
        "offers": offers.collect::<Vec<_>>(),
        "calls": report.calls,
        "figures": report.figures(),
        "related": report.related(),
        "tested": report.tested.iter().map(tested).collect::<Vec<_>>(),
        "accurate": report.is_accurate(),
        "invariant": report.is_invariant(),
        "complete": report.is_complete(),
        "causes": causes.collect::<Vec<_>>(),
        "unexplained": report.unexplained(),
        "failures": report.failures.iter().map(failure).collect::<Vec<_>>(),
        "broken": report.broken.iter().map(broken).collect::<Vec<_>>(),
        "errors": unanswered(&report.errors),
        "declined": unanswered(&report.declined),
    })
}

fn tested(tested: &Tested) -> Value {
    json!({
        "output": tested.output.name(),
        "figures": tested.figures,
        "unbounded": tested.unbounded,
        "vacuous": tested.vacuous,
        "calls": tested.calls,
        "declined": tested.declined,
        "related": tested.related,
    })
}

fn number(x: f64) -> Value {
    if x.is_finite() { json!(x) } else { json!(x.to_string()) }
}

fn ulps(ulps: Ulps) -> Value {
    json!({ "constant": ulps.constant, "slope": ulps.slope })
}

fn additions(additions: Additions) -> Value {
    match additions {
        Additions::Any => json!("any"),
        Additions::Chain(longest) => json!(longest),
    }
}

/// As `answers.json` has it.
fn precision(precision: &Precision) -> Value {
    json!({
        "arithmetic": precision.arithmetic.name(),
        "output": precision.output.name(),
        "pair": precision.pair.name(),
        "product": precision.product.name(),
        "head_logits": precision.head_logits.name(),
        "head_grads": precision.head_grads.name(),
        "hidden_grads": precision.hidden_grads.name(),
        "exp": ulps(precision.exp),
        "log": ulps(precision.log),
        "tanh": ulps(precision.tanh),
        "division": ulps(precision.division),
        "log_absolute": precision.log_absolute,
        "additions": additions(precision.additions),
        "product_additions": additions(precision.product_additions),
        "rescales": precision.rescales,
        "difference": match precision.difference {
            Difference::Shifted => "shifted",
            Difference::Whole => "whole",
        },
        "target": match precision.target {
            Target::InSum => "in_sum",
            Target::Apart => "apart",
        },
    })
}

fn failure(failure: &Failure) -> Value {
    let wrong = match failure.wrong {
        Wrong::UnscoredRow => "unscored_row",
        Wrong::Padding => "padding",
        _ => "figure",
    };
    json!({
        "call": failure.call,
        "input": failure.input,
        "output": failure.output.name(),
        "wrong": wrong,
        "row": failure.row,
        "column": failure.column,
        "count": failure.count,
        "expected": number(failure.expected),
        "found": number(failure.found),
        "bound": number(failure.bound),
        "ulps": number(failure.ulps),
        "format": failure.format.name(),
        "cause": failure.cause.map(|cause| cause.to_string()),
    })
}

fn broken(broken: &Broken) -> Value {
    json!({
        "relation": broken.relation.words(),
        "calls": broken.calls,
        "output": broken.output.name(),
        "rows": broken.rows,
        "column": broken.column,
        "found": broken.found.map(number),
        "count": broken.count,
    })
}
