//! The configuration of random cases.

use proptest::test_runner::Config;

/// As it is by default, but nothing is written beside the sources when a property fails: what
/// fails is printed, and gets a test of its own. `tests/verify/leftovers.rs` holds every suite to
/// this.
pub fn quiet() -> Config {
    Config { failure_persistence: None, ..Config::default() }
}
