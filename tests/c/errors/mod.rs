//! Every error through C: its status, its subject, its numbers in their places, its value.

mod cases;

use std::collections::BTreeSet;
use std::fs;
use std::ptr;

use dpo_kernel::c::*;
use dpo_kernel::{Arithmetic, Dispatch, Error, Level};

use crate::abi::same_report;
use crate::header::{of_code, sources};
use crate::host::Host;
use crate::host::functions::FUNCTIONS;
use crate::programs::root;
use cases::CASES;

#[test]
fn every_number_stands_in_its_place() {
    for case in CASES {
        let function = FUNCTIONS.iter().find(|f| f.name == case.function).unwrap();
        let mut host = Host::new();
        let mut structs = host.structs();
        (function.form)(&mut structs);
        (case.spoil)(&mut host, &mut structs);
        let call = (function.call)(&structs);
        let (status, subject, numbers, value) = case.due;
        let due = dpo_error { status, subject, numbers, value };
        let found = call.expected().error;
        assert!(same_report(&found, &due), "{}: the model says {found:?}, {due:?}", case.error);
        host.judge(&call).unwrap_or_else(|why| panic!("{}: {why}", case.error));
        // Who asks for no numbers gets the same status.
        // SAFETY: as for the call before.
        let again = unsafe { call.make(ptr::null_mut()) };
        assert_eq!(again, status, "{} without a report", case.error);
    }
}

/// Levels that this machine does not have, and one without a fused multiply-add.
#[test]
fn levels_are_named() {
    let host = Host::new();
    let levels = [(Level::Baseline, 1), (Level::Avx2, 2), (Level::Avx512, 3)];
    assert_eq!(levels.map(|(level, _)| level), Level::ALL, "every level has a number");
    for (level, number) in levels {
        for (arithmetic, of) in [(Arithmetic::Fused, 1), (Arithmetic::Portable, 2)] {
            let mut structs = host.structs();
            structs.dispatch = dpo_dispatch { level: number, arithmetic: of };
            let is_here = i32::from(Dispatch::new(level, arithmetic).is_ok());
            assert_eq!(dpo_is_available(structs.dispatch), is_here, "{level:?}, {arithmetic:?}");
            for function in FUNCTIONS {
                let call = (function.call)(&structs);
                host.judge(&call).unwrap_or_else(|why| panic!("{}: {why}", function.name));
            }
            let tile = FUNCTIONS.iter().find(|f| f.name == "dpo_tile_grads_in_place").unwrap();
            let found = (tile.call)(&structs).expected().error;
            let status = match Dispatch::new(level, arithmetic) {
                Ok(_) => 0,
                Err(Error::LevelUnavailable { .. }) => 29,
                Err(_) => 30,
            };
            assert_eq!(found.status, status, "{level:?}, {arithmetic:?}");
            assert_eq!(found.subject, if status == 0 { 0 } else { number }, "{level:?}");
        }
    }
}

/// What zeros stand for, by its numbers; and numbers that stand for nothing.
#[test]
fn the_fastest_level_has_its_numbers() {
    let (fastest, found) = (Dispatch::detect(), dpo_detect());
    let level = Level::ALL.iter().position(|&level| level == fastest.level()).unwrap();
    assert_eq!(found.level, i32::try_from(level).unwrap() + 1);
    assert_eq!(found.arithmetic, if fastest.arithmetic() == Arithmetic::Fused { 1 } else { 2 });
    for (level, arithmetic, due) in
        [(0, 0, 1), (0, 2, 1), (1, 0, 1), (1, 2, 1), (4, 0, 0), (-1, 0, 0), (0, 3, 0), (1, -1, 0)]
    {
        let found = dpo_is_available(dpo_dispatch { level, arithmetic });
        assert_eq!(found, due, "level {level}, arithmetic {arithmetic}");
    }
}

/// Reports that no call makes: of memory, because none is allocated, and of a level, where the machine
/// has all of them.
#[test]
fn reports_that_no_call_makes_are_as_the_header_has_them() {
    let text = fs::read_to_string(root().join("src/c/report.rs")).unwrap();
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    for arm in [
        "Error::OutOfMemory { elements } => plain(DPO_ERROR_OUT_OF_MEMORY, [elements, 0, 0, 0]),",
        "Error::LevelUnavailable { level } => { Self { subject: level_code(level), \
         ..plain(DPO_ERROR_LEVEL_UNAVAILABLE, none) } }",
    ] {
        assert!(text.contains(arm), "{arm}");
    }
}

/// The names of the variants of [`Error`] and their fields, from its source.
fn variants() -> Vec<String> {
    let text = fs::read_to_string(root().join("src/error/refusal.rs")).unwrap();
    let (_, text) = text.split_once("pub enum Error {").unwrap();
    let variant = |line: &str| {
        let line = line.strip_prefix("    ")?;
        let is_one = line.starts_with(|c: char| c.is_ascii_uppercase());
        is_one.then(|| line.trim_end_matches([',', '{', ' ']).to_owned())
    };
    text.lines().filter_map(variant).collect()
}

/// A variant or a status that is added fails here, until a case has it.
#[test]
fn every_error_has_a_case() {
    let mut tried: BTreeSet<&str> = CASES.iter().map(|case| case.error).collect();
    // Of `levels_are_named`; and none, because nothing is allocated.
    tried.extend(["LevelUnavailable", "FusedUnavailable", "OutOfMemory"]);
    let variants = variants();
    assert_eq!(variants.len(), 37, "the variants were found: {variants:?}");
    for variant in &variants {
        assert!(tried.contains(variant.as_str()), "{variant} has no case");
    }
    let tried: BTreeSet<i64> = CASES.iter().map(|case| case.due.0.into()).collect();
    for (name, value) in of_code(&sources()).constants {
        let elsewhere = matches!(value, 29 | 30 | 33);
        let is_status = name.starts_with("DPO_ERROR_");
        assert!(!is_status || elsewhere || tried.contains(&value), "{name} has no case");
    }
}
