//! The report as JSON. Numbers that JSON lacks are the strings `NaN`, `inf` and `-inf`.

use dpo_kernel::verify::kit::{Broken, Failure, Precision, Report, Unanswered, Wrong};
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
        "seed": report.plan.seed,
        "offers": offers.collect::<Vec<_>>(),
        "calls": report.calls,
        "figures": report.figures,
        "related": report.related,
        "accurate": report.is_accurate(),
        "invariant": report.is_invariant(),
        "causes": causes.collect::<Vec<_>>(),
        "unexplained": report.unexplained(),
        "failures": report.failures.iter().map(failure).collect::<Vec<_>>(),
        "broken": report.broken.iter().map(broken).collect::<Vec<_>>(),
        "errors": unanswered(&report.errors),
        "declined": unanswered(&report.declined),
    })
}

fn number(x: f64) -> Value {
    if x.is_finite() { json!(x) } else { json!(x.to_string()) }
}

fn precision(precision: &Precision) -> Value {
    json!({
        "arithmetic": precision.arithmetic.name(),
        "output": precision.output.name(),
        "pair": precision.pair.name(),
        "product": precision.product.name(),
        "words": format!("{precision:?}"),
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
