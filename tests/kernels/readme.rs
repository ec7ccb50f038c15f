//! What README promises is what the table of bounds, the manifest and the sources say.

use std::fs;
use std::path::Path;

use crate::common::bounds::BOUNDS;

fn text(file: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap()
}

/// How a row of README's table begins, what the names of its entries begin with, and the bound and the worst
/// that it shows.
const FIGURES: &[(&str, &str, Option<f64>, f64)] = &[
    ("log Z, any V", "log Z of random", None, 1.13e-7),
    ("log Z where it is near 0", "log Z of normalised rows", Some(2.9e-8), 2.58e-8),
    ("log Z of one peak", "log Z of a peak over a flat tail", Some(2.2e-7), 1.82e-7),
    ("log-prob of a confident token", "confident token", Some(1.1), 0.91),
    ("p in the gradient", "p of random", None, 0.51),
    ("p in the gradient", "gradient of scaled rows", None, 0.56),
    ("1 − p of the target", "1 - p of", Some(2.1), 1.73),
    ("entropy, log Σp²", "entropy of", Some(3.1e-7), 2.52e-7),
    ("entropy, log Σp²", "log of the sum of p^2 of", Some(2.4e-7), 1.94e-7),
];

/// As README writes it.
fn shown(x: f64) -> String {
    if x < 1e-3 { format!("{x:e}") } else { format!("{x}") }
}

/// What is wrong with the figures that a text shows.
fn objections(readme: &str, figures: &[(&str, &str, Option<f64>, f64)]) -> Vec<String> {
    let mut objections = Vec::new();
    for &(row, names, bound, worst) in figures {
        let entries = || BOUNDS.iter().filter(|entry| entry.name.starts_with(names));
        let largest =
            |of: fn(&crate::common::bounds::Bound) -> f64| entries().map(of).fold(0.0, f64::max);
        let (most, measured) = (largest(|entry| entry.most), largest(|entry| entry.worst.0));
        let line = readme.lines().find(|line| line.starts_with(&format!("| {row}"))).unwrap_or("");
        let shows = |x: f64| line.contains(&shown(x));
        if bound.is_some_and(|bound| (bound / most - 1.0).abs() > 1e-9 || !shows(bound)) {
            objections.push(format!("{row}: the bound of {names} is {most:e}"));
        }
        if worst < measured || worst > 1.03 * measured || !shows(worst) {
            objections.push(format!("{row}: the worst of {names} is {measured:e}"));
        }
    }
    objections
}

#[test]
fn figures_are_those_of_the_table() {
    let readme = text("README.md");
    let found = objections(&readme, FIGURES);
    assert!(found.is_empty(), "{}", found.join("\n"));
    // The controls: a figure that the text does not show, and one that the table does not hold.
    let other = readme.replace("2.58e-8", "2.4e-8");
    assert_eq!(objections(&other, FIGURES).len(), 1);
    let wrong = [("log Z where it is near 0", "log Z of normalised rows", Some(2.9e-8), 2.4e-8)];
    assert_eq!(objections(&readme, &wrong).len(), 1);
}

#[test]
fn features_and_the_oldest_rust_are_those_of_the_manifest() {
    let (readme, manifest, library) = (text("README.md"), text("Cargo.toml"), text("src/lib.rs"));
    let (_, features) = manifest.split_once("[features]").unwrap();
    let (features, _) = features.split_once("\n[").unwrap();
    let names = features.lines().filter_map(|line| line.split_once(" = ")).map(|(name, _)| name);
    for name in names.filter(|&name| name != "default") {
        assert!(readme.contains(&format!("\n| `{name}` |")), "README does not tell of {name}");
        assert!(library.contains(&format!("`{name}`")), "src/lib.rs does not tell of {name}");
    }
    let (_, version) = manifest.split_once("rust-version = \"").unwrap();
    let (version, _) = version.split_once('"').unwrap();
    assert!(readme.contains(&format!("Minimum Rust: {version}.")), "README does not say {version}");
}
