//! `precision` of answers.json.

use dpo_kernel::verify::kit::{Additions, Difference, Format, Precision, Target, Ulps};

use super::Complaint;
use super::fields::Field;

/// All fields but `arithmetic` and `output` have the values of [`Precision::new`].
pub(crate) fn parse(field: &Field<'_>) -> Result<Precision, Complaint> {
    field.only(&[
        "arithmetic",
        "output",
        "pair",
        "product",
        "head_logits",
        "head_grads",
        "hidden_grads",
        "exp",
        "log",
        "tanh",
        "division",
        "log_absolute",
        "additions",
        "product_additions",
        "rescales",
        "difference",
        "target",
    ])?;
    let mut precision =
        Precision::new(format(&field.get("arithmetic")?)?, format(&field.get("output")?)?);
    let formats = [
        ("pair", &mut precision.pair),
        ("product", &mut precision.product),
        ("head_logits", &mut precision.head_logits),
        ("head_grads", &mut precision.head_grads),
        ("hidden_grads", &mut precision.hidden_grads),
    ];
    for (name, to) in formats {
        if let Some(field) = field.optional(name) {
            *to = format(&field)?;
        }
    }
    let functions = [
        ("exp", &mut precision.exp),
        ("log", &mut precision.log),
        ("tanh", &mut precision.tanh),
        ("division", &mut precision.division),
    ];
    for (name, to) in functions {
        if let Some(field) = field.optional(name) {
            field.only(&["constant", "slope"])?;
            let slope = field.optional("slope").map_or(Ok(0.0), |slope| slope.bound())?;
            *to = Ulps::new(field.get("constant")?.bound()?).and_slope(slope);
        }
    }
    if let Some(field) = field.optional("log_absolute") {
        precision.log_absolute = field.bound()?;
    }
    let orders = [
        ("additions", &mut precision.additions),
        ("product_additions", &mut precision.product_additions),
    ];
    for (name, to) in orders {
        if let Some(field) = field.optional(name) {
            *to = match field.text() {
                Ok("any") => Additions::Any,
                Ok(_) => return field.complain("neither \"any\" nor a number of additions"),
                Err(_) => Additions::Chain(field.index()?),
            };
        }
    }
    if let Some(field) = field.optional("rescales") {
        precision.rescales = field.index()?;
    }
    if let Some(field) = field.optional("difference") {
        precision.difference = match field.text()? {
            "whole" => Difference::Whole,
            "shifted" => Difference::Shifted,
            other => return field.complain(format!("`{other}` is none of whole, shifted")),
        };
    }
    if let Some(field) = field.optional("target") {
        precision.target = match field.text()? {
            "in_sum" => Target::InSum,
            "apart" => Target::Apart,
            other => return field.complain(format!("`{other}` is none of in_sum, apart")),
        };
    }
    match precision.check() {
        Ok(()) => Ok(precision),
        Err(implausible) => field.complain(implausible),
    }
}

/// The format that a field names.
pub(crate) fn format(field: &Field<'_>) -> Result<Format, Complaint> {
    let name = field.text()?;
    match Format::from_name(name) {
        Some(format) => Ok(format),
        None => field.complain(format!("`{name}` is none of f64, f32, f16, bf16")),
    }
}
