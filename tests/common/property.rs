//! Properties on random cases.

#![allow(dead_code, reason = "each test file uses another part of it")]

use dpo_kernel::Dispatch;
use proptest::strategy::Strategy;
use proptest::test_runner::{Config, TestCaseError, TestRunner};

use super::levels::for_each_dispatch;

/// Runs a property on so many random cases and panics with the smallest that fails.
/// `PROPTEST_CASES` asks for fewer, where machines are emulated.
pub fn holds<S: Strategy>(
    cases: u32,
    strategy: S,
    check: impl Fn(&S::Value) -> Result<(), String>,
) {
    let fewer = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok());
    let cases = fewer.map_or(cases, |fewer: u32| cases.min(fewer));
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let result =
        TestRunner::new(config).run(&strategy, |case| check(&case).map_err(TestCaseError::fail));
    if let Err(why) = result {
        panic!("{why}");
    }
}

/// The first objection of any level, with the level's name.
pub fn on_every_level(check: impl Fn(Dispatch) -> Result<(), String>) -> Result<(), String> {
    let mut result = Ok(());
    for_each_dispatch(|dispatch| {
        if result.is_ok() {
            result = check(dispatch).map_err(|why| format!("{dispatch:?}: {why}"));
        }
    });
    result
}
