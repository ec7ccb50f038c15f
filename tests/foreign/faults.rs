//! Each fault by name, and what the suite says of it.

use crate::backend::Backend;
use crate::backend::Fault::{self, *};
use crate::suite::objection;

/// Each fault, and the figure that shows it.
const FAULTS: &[(Fault, &str)] = &[
    (NoMaximum, "log p"),
    (LogOfProbability, "log p"),
    (MaximumFromZero, "log p"),
    (MaskIsNumber, "log p"),
    (TiesCountOnce, "log p"),
    (SumsInF32, "sum of tokens"),
    (StrideIsVocab, "log p"),
    (ReadsPadding, "log p"),
    (WritesPadding, "padding"),
    (WritesIgnoredRows, "padding"),
    (DropsLastColumn, ""),
    (ShiftsTargets, "log p"),
    (IgnoreIsConstant, ""),
    (TemperatureFirst, "log p"),
    (NoSlope, "gradient"),
    (ScaleNotInSlope, "gradient"),
    (SignOfGradient, "gradient"),
    (CancelsTarget, "gradient"),
    (DropsLastToken, ""),
    (SkipsOneToken, ""),
    (MeanOfTokens, "sum of tokens"),
    (NoTokenWeights, "sum of tokens"),
    (NoTokenWeightsBackward, "gradient"),
    (SwapsPairs, "pair"),
    (OverwritesSharedSequence, "∂L/∂log π"),
    (NoDivisor, "∂L/∂log π"),
    (NoWeight, "pair"),
    (AddsOffset, "pair"),
    (NoLabelSmoothing, "pair"),
    (LogOfSigmoid, "pair"),
    (SaturatedSlope, "pair"),
    (OffsetInReward, "pair"),
];

#[test]
fn the_backend_passes() {
    assert_eq!(objection(Backend(None)), None);
}

#[test]
fn each_fault_is_found() {
    let mut missed = Vec::new();
    for &(fault, figure) in FAULTS {
        match objection(Backend(Some(fault))) {
            None => missed.push(format!("{fault:?} went unnoticed")),
            Some(why) => {
                let line = why.lines().next().unwrap_or_default();
                println!("{fault:?}: {line}");
                let says = ["input", "expected", "found", "ulp", figure];
                if !says.iter().all(|word| line.contains(word)) {
                    missed.push(format!("{fault:?} is called {line:?}"));
                }
            }
        }
    }
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}

/// A fault that nobody lists would prove nothing.
#[test]
fn every_fault_is_listed() {
    let source = include_str!("backend.rs");
    let (_, rest) = source.split_once("pub enum Fault {").unwrap();
    let (names, _) = rest.split_once('}').unwrap();
    let names = names.lines().map(str::trim).filter(|line| line.ends_with(','));
    let names: Vec<&str> = names.map(|line| line.trim_end_matches(',')).collect();
    let listed: Vec<String> = FAULTS.iter().map(|(fault, _)| format!("{fault:?}")).collect();
    assert_eq!(names, listed);
}
