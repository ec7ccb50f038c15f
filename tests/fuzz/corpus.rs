//! Every input of the corpus, through the body of its target.

use std::fs;
use std::path::{Path, PathBuf};

use crate::bodies::TARGETS;

fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz")
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap_or_else(|why| panic!("{}: {why}", folder.display()));
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn every_input_passes() {
    for &(target, body) in TARGETS {
        let folder = fuzz().join("corpus").join(target);
        let inputs = names(&folder);
        assert!(
            inputs.len() >= 10,
            "{target} has {} inputs: the corpus is not there",
            inputs.len()
        );
        for input in inputs {
            let data = fs::read(folder.join(&input)).unwrap();
            println!("{target}/{input}");
            body(&data);
        }
    }
}

/// A body without a target, or a target without a body, would be run by nobody.
#[test]
fn every_body_has_a_target() {
    let mut bodies: Vec<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    bodies.sort();
    let files: Vec<String> = names(&fuzz().join("fuzz_targets"))
        .iter()
        .map(|name| name.strip_suffix(".rs").unwrap().to_owned())
        .collect();
    assert_eq!(files, bodies, "fuzz/fuzz_targets");
    assert_eq!(names(&fuzz().join("corpus")), bodies, "fuzz/corpus");
    let manifest = fs::read_to_string(fuzz().join("Cargo.toml")).unwrap();
    for name in bodies {
        let path = format!("fuzz_targets/{name}.rs");
        assert!(manifest.contains(&path), "fuzz/Cargo.toml has no {path}");
        let text = fs::read_to_string(fuzz().join(path)).unwrap();
        assert!(text.contains(&format!("(\"{name}\", data)")), "{name} runs another body");
    }
}
