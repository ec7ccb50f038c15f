//! The `audit` example on dumps of our own: every cause, planted on many random dumps, is named,
//! and nothing is named where nothing is planted.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::missing_assert_message,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a test may panic, and indexing a JSON value is how it is read"
)]

#[path = "../../examples/audit/main.rs"]
#[allow(dead_code, reason = "its defaults are the example itself")]
mod audit;
mod figures;
mod files;
mod headers;
mod planted;
mod random;
mod refusals;
mod special;

use std::ffi::OsString;
use std::path::PathBuf;

use serde_json::Value;

/// A directory of a test's own, without what an earlier run left in it.
fn folder(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("audit").join(name);
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// Exit status, output and complaint of the program.
fn run(arguments: &[&str]) -> (u8, String, String) {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let status = audit::run(arguments.iter().map(OsString::from), &mut out, &mut err);
    (status, String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
}

/// Exit status and report as JSON.
fn report(arguments: &[&str], folder: &std::path::Path) -> (u8, Value) {
    let path = folder.join("report.json");
    let mut all = arguments.to_vec();
    all.extend(["--json", path.to_str().unwrap()]);
    let (status, out, err) = run(&all);
    assert!(err.is_empty() && status < 2, "{status} {out} {err}");
    (status, serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap())
}
