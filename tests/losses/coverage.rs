//! Every public function of the losses is called by a test here.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

pub fn text_of(folder: &str) -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let entries = fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path());
    let file = |path: std::path::PathBuf| {
        (
            path.file_name().unwrap().to_string_lossy().into_owned(),
            fs::read_to_string(&path).unwrap(),
        )
    };
    entries.filter(|path| path.extension().is_some_and(|e| e == "rs")).map(file).collect()
}

/// `pub fn`s, and `Type::function` where the type has a constructor of that name.
fn public_functions(text: &str) -> BTreeSet<String> {
    let mut owner = String::new();
    let mut found = BTreeSet::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("impl") {
            let rest =
                rest.split_once("> ").filter(|_| rest.starts_with('<')).map_or(rest, |r| r.1);
            owner = rest.trim().chars().take_while(|c| c.is_alphanumeric()).collect();
        }
        let code = line.trim_start();
        let code = code.strip_prefix("pub const fn ").or_else(|| code.strip_prefix("pub fn "));
        if let Some(code) = code {
            let name: String =
                code.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            let constructs = ["new", "paired", "unpaired"].contains(&name.as_str());
            found.insert(if constructs { format!("{owner}::{name}") } else { name });
        }
    }
    found
}

fn absent(functions: &BTreeSet<String>, tests: &[(String, String)]) -> Vec<String> {
    let called = |function: &&String| {
        let call = [format!("{function}("), format!("{function}:")];
        let name = |text: &str| {
            call.iter().any(|c| text.contains(c)) || text.contains(&format!("{function})"))
        };
        !tests.iter().any(|(_, text)| name(text))
    };
    functions.iter().filter(called).cloned().collect()
}

#[test]
fn every_public_function_is_called() {
    let sources = ["src/loss", "src/unpaired"].map(text_of).concat();
    let functions: BTreeSet<String> =
        sources.iter().flat_map(|(_, text)| public_functions(text)).collect();
    assert!(functions.len() > 60, "{functions:?}");
    let mut tests = text_of("tests/losses");
    tests.extend(text_of("tests/kernels"));
    let absent = absent(&functions, &tests);
    assert!(absent.is_empty(), "no test calls {absent:?}");
}

#[test]
fn planted_faults_are_caught() {
    let source = "impl Nca {\n    pub fn new(x: f64) {}\n}\npub const fn odd_one() {}\n";
    let functions = public_functions(source);
    assert_eq!(functions, BTreeSet::from(["Nca::new".to_owned(), "odd_one".to_owned()]));
    let test = |text: &str| vec![("a.rs".to_owned(), text.to_owned())];
    assert!(absent(&functions, &test("Nca::new(0.1); odd_one()")).is_empty());
    assert_eq!(absent(&functions, &test("Bco::new(0.1); odd_one()")), ["Nca::new"]);
    assert_eq!(absent(&functions, &test("")).len(), 2);
}
