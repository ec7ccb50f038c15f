//! The `kit` example: a host that reads the folder alone, right and wrong, and what is refused.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    clippy::missing_assert_message,
    reason = "a test may panic, and indexing a JSON value is how it is read"
)]

mod host;
#[path = "../../examples/kit/main.rs"]
#[allow(dead_code, reason = "its defaults are the example itself")]
mod kit;
mod refusals;

use std::ffi::OsString;
use std::path::PathBuf;

use host::Fault;
use serde_json::Value;

/// Folders of one test.
struct Folders {
    root: PathBuf,
}

impl Folders {
    fn new(name: &str) -> Self {
        let root =
            std::env::temp_dir().join(format!("dpo-kernel-kit-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&root).unwrap();
        Self { root }
    }

    fn path(&self, name: &str) -> String {
        self.root.join(name).to_str().unwrap().to_owned()
    }
}

impl Drop for Folders {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.root).unwrap();
    }
}

/// Exit status, output and errors of the program.
fn run(arguments: &[&str]) -> (u8, String, String) {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let status = kit::kit(arguments.iter().map(OsString::from), &mut out, &mut err);
    (status, String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
}

/// Writes cases, has them answered and checks the answers; status, report and its JSON.
fn checked(name: &str, dtype: &str, fault: Option<Fault>) -> (u8, String, Value) {
    let folders = Folders::new(name);
    let (cases, answers) = (folders.path("cases"), folders.path("answers"));
    let json = folders.path("report.json");
    let (status, said, _) = run(&["write", &cases, "--dtype", dtype, "--seed", "7"]);
    assert_eq!(status, 0, "{said}");
    host::answer(cases.as_ref(), answers.as_ref(), fault);
    let (status, report, err) = run(&["check", &cases, &answers, "--json", &json]);
    assert_eq!(err, "", "{report}");
    let json = serde_json::from_str(&std::fs::read_to_string(json).unwrap()).unwrap();
    (status, report, json)
}

#[test]
fn a_right_host_passes() {
    for dtype in ["f32", "f16", "bf16"] {
        let (status, report, json) = checked(&format!("right-{dtype}"), dtype, None);
        assert_eq!(status, 0, "{dtype}: {report}");
        assert_eq!((&json["accurate"], &json["invariant"]), (&true.into(), &true.into()));
        assert_eq!(json["storage"], dtype);
        assert!(json["figures"].as_u64().unwrap() > 100_000, "{report}");
        assert_eq!(json["causes"].as_array().unwrap().len(), 0);
        // One case was declined, and is neither passed nor failed.
        assert_eq!(json["declined"][0]["message"], "not today");
        assert_eq!(json["complete"], true);
    }
}

#[test]
fn a_wrong_host_is_told_why() {
    for (fault, cause) in [
        (Fault::NoTemperature, "the temperature is left out"),
        (Fault::WritesPadding, "columns past the vocabulary are written"),
        (Fault::SwapsPairs, "chosen and rejected are swapped"),
        (Fault::NoBias, "the bias is left out"),
    ] {
        let (status, report, json) = checked(&format!("{fault:?}"), "f32", Some(fault));
        assert_eq!(status, 1, "{fault:?}");
        assert_eq!(json["causes"][0]["cause"], cause, "{report}");
        assert_eq!(json["accurate"], false);
        let first = &json["failures"][0];
        assert!(report.contains(first["call"].as_str().unwrap()), "{report}");
        let counted: u64 =
            json["causes"].as_array().unwrap().iter().map(|c| c["rows"].as_u64().unwrap()).sum();
        let unexplained = json["unexplained"].as_u64().unwrap();
        assert_eq!(counted + unexplained, json["failures"].as_array().unwrap().len() as u64);
    }
}

/// A host that skips all but a few cases has not shown much.
#[test]
fn a_host_that_skips_most() {
    let (status, report, json) = checked("skips", "f32", Some(Fault::SkipsMost));
    assert_eq!((status, &json["accurate"], &json["complete"]), (1, &true.into(), &false.into()));
    let tested = &json["tested"][0];
    assert!(tested["declined"].as_u64() > Some(20) && tested["calls"].as_u64() > Some(20));
    assert!(report.contains(" calls declined: TOO MANY"), "{report}");
}

/// A row whose bits depend on where it stands is not invariant, and accurate all the same.
#[test]
fn a_host_that_is_not_invariant() {
    let (status, report, json) = checked("position", "f32", Some(Fault::DependsOnRow));
    assert_eq!(status, 1);
    assert_eq!((&json["accurate"], &json["invariant"]), (&true.into(), &false.into()), "{report}");
    let relations: Vec<&str> = json["broken"]
        .as_array()
        .unwrap()
        .iter()
        .map(|broken| broken["relation"].as_str().unwrap())
        .collect();
    assert!(relations.contains(&"rows in reverse"), "{relations:?}");
    assert!(!relations.contains(&"the same call repeated"), "{relations:?}");
}

/// A call that the host failed in is a failure with its message.
#[test]
fn a_host_that_fails() {
    let (status, report, json) = checked("fails", "f32", Some(Fault::Fails));
    assert_eq!((status, &json["accurate"]), (1, &false.into()));
    assert_eq!(json["errors"][0]["message"], "out of memory");
    assert!(report.contains("failed: rows-0001"), "{report}");
}
