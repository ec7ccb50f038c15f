//! The rows of `docs/losses.md` say which options each loss has, and with which defaults: as the
//! code does.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use dpo_kernel::Error;
use dpo_kernel::error::Parameter as P;
use dpo_kernel::loss::{AnyDivergence, LossName, LossOptions};

/// The row of a loss.
#[derive(Clone, Debug, PartialEq)]
struct Row {
    /// Of log-ratios: marked by an f.
    takes_divergence: bool,
    /// Symbol and default; None where it must be given.
    defaults: Vec<(String, Option<f64>)>,
}

/// Rows by the name of their loss: those of tables with the columns type, name, formula, paper,
/// default.
fn rows(text: &str) -> BTreeMap<String, Row> {
    let mut found = BTreeMap::new();
    for line in text.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> =
            line.split(" | ").map(|cell| cell.trim_matches(['|', ' '])).collect();
        let [type_, names, _, _, default, ..] = cells[..] else { continue };
        if !names.starts_with('`') {
            continue;
        }
        // What stands in brackets is what others have.
        let mut plain = String::new();
        let mut depth = 0;
        for c in default.chars() {
            depth += i32::from(c == '(');
            if depth == 0 {
                plain.push(c);
            }
            depth -= i32::from(c == ')');
        }
        let pair = |part: &str| {
            let (symbol, value) = part.trim().rsplit_once(' ')?;
            Some((symbol.to_owned(), value.trim().parse().ok()))
        };
        let row = Row {
            takes_divergence: type_.ends_with(" f"),
            defaults: plain.split(',').filter_map(pair).collect(),
        };
        let name = names.split('`').nth(1).unwrap();
        assert_eq!(found.insert(name.to_owned(), row), None, "two rows of {name}");
    }
    found
}

/// The options that a symbol may stand for; a loss has at most one of them.
fn options_of(symbol: &str) -> &'static [P] {
    match symbol {
        "β" | "β₂" => &[P::Beta],
        "ε" => &[P::LabelSmoothing],
        "γ" => &[P::TargetMargin],
        "α" => &[P::RewardExponent],
        "τ" => &[P::BlendTemperature],
        "δ" => &[P::RewardShift, P::SlicMargin],
        "λ" => &[P::DropPenalty, P::OddsWeight],
        "K" => &[P::ReferenceKl],
        "w_D" => &[P::DesirableWeight],
        "w_U" => &[P::UndesirableWeight],
        "Δ" => &[P::RewardGap],
        "c" => &[P::Centering],
        "r − V*" => &[P::Advantage],
        _ => &[],
    }
}

/// Whether the loss has the option.
fn takes(name: LossName, needed: &LossOptions, parameter: P) -> bool {
    let mut given = *needed;
    match given.option_mut(parameter) {
        Some(option) => *option = Some(option.unwrap_or(0.25)),
        None => given.divergence = Some(AnyDivergence::ForwardKl),
    }
    match name.build(&given) {
        Ok(found) => {
            let was_given = needed == &given;
            assert!(was_given || Ok(found) != name.build(needed), "{name:?} ignored {parameter:?}");
            true
        }
        Err(error) => {
            assert_eq!(error, Error::ParameterUnused { parameter }, "{name:?}");
            false
        }
    }
}

/// What the row says and the loss does otherwise.
fn objections(name: LossName, row: &Row) -> Vec<String> {
    let mut objections = Vec::new();
    let (mut needed, mut explicit) = <(LossOptions, LossOptions)>::default();
    let mut options = Vec::new();
    for (symbol, default) in &row.defaults {
        // Of two options with one symbol the loss has one.
        let is_own = |p: &&P| match options_of(symbol) {
            [_] => true,
            _ => takes(name, &LossOptions::default(), **p),
        };
        let Some(&parameter) = options_of(symbol).iter().find(is_own) else {
            objections.push(format!("{name:?} has no {symbol}"));
            continue;
        };
        options.push(parameter);
        let value = default.unwrap_or(0.375);
        *explicit.option_mut(parameter).unwrap() = Some(value);
        if default.is_none() {
            *needed.option_mut(parameter).unwrap() = Some(value);
            let mut without = explicit;
            *without.option_mut(parameter).unwrap() = None;
            if name.build(&without) != Err(Error::ParameterMissing { parameter }) {
                objections.push(format!("{name:?} has a default of {symbol}"));
            }
        }
    }
    let (by_default, by_row) = (name.build(&needed), name.build(&explicit));
    if by_default.is_err() || by_default != by_row {
        objections.push(format!("{name:?}: {by_default:?} by default, {by_row:?} in the row"));
        return objections;
    }
    for parameter in P::ALL {
        let is_option = LossOptions::default().option_mut(parameter).is_some();
        let is_said = match parameter {
            P::Divergence => row.takes_divergence,
            // The same as γ, over β: instead of it, and named in the page's last column.
            P::TargetMarginRatio => continue,
            parameter if is_option => options.contains(&parameter),
            _ => continue,
        };
        if takes(name, &needed, parameter) != is_said {
            objections.push(format!("{name:?} and {parameter:?}: the row says {is_said}"));
        }
    }
    objections
}

fn page() -> BTreeMap<String, Row> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/losses.md");
    rows(&fs::read_to_string(path).unwrap())
}

#[test]
fn every_loss_has_its_row() {
    let page = page();
    let mut wrong = Vec::new();
    for name in LossName::ALL {
        match page.get(name.name()) {
            Some(row) => wrong.extend(objections(name, row)),
            None => wrong.push(format!("{name:?} has no row")),
        }
    }
    let unknown = page.keys().filter(|name| name.parse::<LossName>().is_err());
    wrong.extend(unknown.map(|name| format!("the row of {name} has no loss")));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// γ and γ/β are not taken together.
#[test]
fn the_ratio_stands_instead_of_the_margin() {
    let ratio = LossOptions { target_margin_ratio: Some(0.25), ..LossOptions::default() };
    for name in LossName::ALL {
        assert_eq!(name.build(&ratio).is_ok(), name == LossName::SimPo, "{name:?}");
    }
    let both = LossOptions { target_margin: Some(0.5), ..ratio };
    let parameter = P::TargetMargin;
    assert_eq!(LossName::SimPo.build(&both), Err(Error::ParameterUnused { parameter }));
}

#[test]
fn planted_faults_are_caught() {
    let page = page();
    let with = |name: LossName, change: &dyn Fn(&mut Row)| {
        let mut row = page[name.name()].clone();
        assert_eq!(objections(name, &row), Vec::<String>::new());
        change(&mut row);
        assert_ne!(objections(name, &row), Vec::<String>::new(), "{name:?}");
    };
    with(LossName::Sigmoid, &|row| row.takes_divergence = false);
    with(LossName::Cpo, &|row| row.takes_divergence = true);
    with(LossName::Sigmoid, &|row| row.defaults[0].1 = Some(0.2));
    with(LossName::Sigmoid, &|row| drop(row.defaults.pop()));
    with(LossName::Kto, &|row| drop(row.defaults.pop()));
    with(LossName::Hinge, &|row| row.defaults.push(("ε".to_owned(), Some(0.0))));
    with(LossName::Bco, &|row| row.defaults[1].1 = None);
}
