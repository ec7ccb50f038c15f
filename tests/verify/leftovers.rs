//! A property that fails leaves no file in the tree: by its configuration, in every suite.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use proptest::prelude::*;

use crate::common::quiet::quiet;

/// Names the property that is to fail, in a child process.
const FAIL: &str = "DPO_KERNEL_FAILING_PROPERTY";

fn is_asked_for(name: &str) -> bool {
    std::env::var(FAIL).is_ok_and(|asked| asked == name)
}

proptest! {
    #![proptest_config(quiet())]

    #[test]
    fn quiet_property(x in 0..100_u32) {
        prop_assert!(!is_asked_for("quiet_property") || x > 1000);
    }
}

proptest! {
    // With what is forbidden elsewhere, to see that this test would see it: files.
    #![proptest_config(ProptestConfig::default())]

    #[test]
    fn loud_property(x in 0..100_u32) {
        prop_assert!(!is_asked_for("loud_property") || x > 1000);
    }
}

/// Every file below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut found: Vec<PathBuf> =
        entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect();
    found.sort_unstable();
    found
}

/// What a failing property leaves in a tree like this one.
fn left_by(property: &str) -> Vec<PathBuf> {
    let tree = Path::new(env!("CARGO_TARGET_TMPDIR")).join("leftovers").join(property);
    let _ = fs::remove_dir_all(&tree);
    let source = tree.join(file!());
    fs::create_dir_all(source.parent().unwrap()).unwrap();
    fs::write(&source, "").unwrap();
    fs::write(source.with_file_name("main.rs"), "").unwrap();
    let before = files(&tree);
    let mut child = Command::new(std::env::current_exe().unwrap());
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("PROPTEST_")) {
        child.env_remove(name);
    }
    let name = format!("leftovers::{property}");
    let output =
        child.current_dir(&tree).env(FAIL, property).args(["--exact", &name]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(!output.status.success() && said.contains("1 failed"), "{property} failed: {said}");
    let mut after = files(&tree);
    after.retain(|file| !before.contains(file));
    after
}

#[test]
#[cfg_attr(not(target_arch = "x86_64"), ignore = "an emulated process cannot start another")]
fn a_failing_property_leaves_nothing() {
    assert_eq!(left_by("quiet_property"), Vec::<PathBuf>::new());
    assert_eq!(left_by("loud_property").len(), 1, "the default leaves a file, which is seen");
}

/// What may be objected to in a source file of the tests.
fn objection(source: &str) -> Option<String> {
    for (index, block) in source.split("proptest! {").enumerate().skip(1) {
        if !block.trim_start().starts_with("#![proptest_config(") {
            return Some(format!("proptest! number {index} has no configuration"));
        }
    }
    for (index, block) in source.split("proptest!(").enumerate().skip(1) {
        let config = block.split('|').next().unwrap_or_default();
        if !config.contains("failure_persistence: None") && !config.contains("quiet()") {
            return Some(format!("proptest!(…) number {index} keeps failures"));
        }
    }
    // Every default is completed by what is not kept, or is none of proptest's.
    let defaults = ["Config::default()", "..Default::default()"];
    let is_of_proptest = |line: &str| defaults.iter().any(|default| line.contains(default));
    let lines: Vec<&str> = source.lines().collect();
    for (number, line) in lines.iter().enumerate() {
        let around = lines[number.saturating_sub(5)..=number].join(" ");
        let kept = !around.contains("failure_persistence: None");
        if is_of_proptest(line) && around.contains("Config") && kept {
            return Some(format!("line {}: {line}", number + 1));
        }
    }
    let runners = source.matches("TestRunner::default()").count();
    (runners > 0).then(|| "TestRunner::default() keeps failures".to_owned())
}

#[test]
fn no_suite_keeps_failures() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut with_properties = 0;
    for path in files(&root.join("tests")) {
        let is_source = path.extension().is_some_and(|extension| extension == "rs");
        if !is_source || path.ends_with("verify/leftovers.rs") {
            continue;
        }
        let source = fs::read_to_string(&path).unwrap();
        with_properties += usize::from(source.contains("proptest"));
        assert_eq!(objection(&source), None, "{}", path.display());
    }
    assert!(with_properties > 5, "{with_properties} files have properties");
    for bad in [
        "proptest! {\n    #[test]",
        "proptest!(|(x in 0..3)| {})",
        "proptest!(Config { cases: 3, ..Config::default() }, |(x in 0..3)| {})",
        "let config = ProptestConfig {\n    cases,\n    ..ProptestConfig::default()\n};",
        "#![proptest_config(ProptestConfig { cases: 2, ..Default::default() })]",
        "TestRunner::default().run(",
    ] {
        assert!(objection(bad).is_some(), "{bad} passed");
    }
    let good = "proptest! {\n#![proptest_config(quiet())]";
    assert_eq!(objection(good), None);
}
