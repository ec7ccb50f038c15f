//! What README and the pages under `docs/` promise is what the table of bounds, the manifest and
//! the sources say, README is short, and every page is found from it.

use std::fs;
use std::path::{Path, PathBuf};

use dpo_kernel::Arithmetic;

use crate::common::bounds::{BOUNDS, Bound};

/// README says what a newcomer needs; all else is a page.
const WORDS: usize = 1200;

/// The root of the crate says what a newcomer needs; all else is a module.
const NAMES: usize = 45;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn text(file: &str) -> String {
    fs::read_to_string(root().join(file)).unwrap()
}

/// How a row of the short table begins, what the names of its entries begin with, and the bound and
/// the worst that it shows.
const FIGURES: &[(&str, &str, Option<f64>, f64)] = &[
    ("log Z, any V", "log Z of random", None, 1.13e-7),
    ("log Z where it is near 0", "log Z of normalised rows", Some(2.9e-8), 2.77e-8),
    ("log Z of one peak", "log Z of a peak over a flat tail", Some(2.2e-7), 1.82e-7),
    ("log-prob of a confident token", "confident token", Some(1.2), 0.97),
    ("p in the gradient", "p of random", None, 0.51),
    ("p in the gradient", "gradient of scaled rows", None, 0.56),
    ("1 − p of the target", "1 - p of", Some(2.1), 1.75),
    ("hidden gradient of a frozen", "hidden gradient of random", Some(18.0), 14.65),
    ("hidden gradient of a flat row", "hidden gradient of a flat row", Some(300.0), 256.2),
    ("hidden, weight and bias", "trained hidden gradient of random", Some(20.0), 16.73),
    ("hidden, weight and bias", "weight gradient of random", Some(11.0), 8.35),
    ("hidden, weight and bias", "bias gradient of random", Some(9.0), 6.4),
    ("weight gradient of 4,096", "weight gradient of 4,096", Some(30.0), 24.8),
    ("entropy, log Σp²", "entropy of", Some(3.1e-7), 2.52e-7),
    ("entropy, log Σp²", "log of the sum of p^2 of", Some(2.4e-7), 1.94e-7),
];

/// As the page writes it.
fn shown(x: f64) -> String {
    if x > 0.0 && x < 1e-3 { format!("{x:e}") } else { format!("{x}") }
}

/// What is wrong with the figures that the short table of a text shows.
fn objections(page: &str, figures: &[(&str, &str, Option<f64>, f64)]) -> Vec<String> {
    let mut objections = Vec::new();
    for &(row, names, bound, worst) in figures {
        let entries = || BOUNDS.iter().filter(|entry| entry.name.starts_with(names));
        let largest = |of: fn(&Bound) -> f64| entries().map(of).fold(0.0, f64::max);
        let (most, measured) = (largest(|entry| entry.most), largest(|entry| entry.worst.0));
        let line = page.lines().find(|line| line.starts_with(&format!("| {row}"))).unwrap_or("");
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
    let page = text("docs/numerics.md");
    let found = objections(&page, FIGURES);
    assert!(found.is_empty(), "{}", found.join("\n"));
    // The controls: a figure that the text does not show, and one that the table does not hold.
    let other = page.replace("2.77e-8, at", "2.4e-8, at");
    assert_eq!(objections(&other, FIGURES).len(), 1);
    let wrong = [("log Z where it is near 0", "log Z of normalised rows", Some(2.9e-8), 2.4e-8)];
    assert_eq!(objections(&page, &wrong).len(), 1);
}

/// The rows of the whole table, as they follow from `BOUNDS`: one a name, fused and portable side
/// by side.
fn rows_of_bounds() -> Vec<String> {
    let cell = |text: &str| text.replace('|', "\\|");
    let fused = BOUNDS.iter().filter(|entry| entry.arithmetic == Arithmetic::Fused);
    fused
        .map(|fused| {
            let is_same = |b: &&Bound| b.name == fused.name && b.arithmetic == Arithmetic::Portable;
            let portable = BOUNDS.iter().find(is_same).unwrap();
            let three = |b: &Bound| {
                format!("{} | {} | {}", shown(b.most), shown(b.worst.0), cell(b.worst.1))
            };
            format!("| {} | {} | {} |", cell(fused.name), three(fused), three(portable))
        })
        .collect()
}

/// The rows below the last line of dashes of a text.
fn last_table(page: &str) -> Vec<String> {
    let (_, table) = page.rsplit_once("|---|\n").unwrap();
    table.lines().take_while(|line| line.starts_with('|')).map(str::to_owned).collect()
}

#[test]
fn every_bound_is_on_its_page() {
    let (page, rows) = (text("docs/numerics.md"), rows_of_bounds());
    assert_eq!(rows.len() * 2, BOUNDS.len(), "each bound has both arithmetics");
    assert!(
        last_table(&page) == rows,
        "the last table of docs/numerics.md should be:\n{}",
        rows.join("\n")
    );
    // The control: one digit of the table is another.
    let other = page.replace("2.5121e-7", "2.5122e-7");
    assert!(last_table(&other) != rows, "a changed figure is not seen");
}

#[test]
fn features_and_the_oldest_rust_are_those_of_the_manifest() {
    let (page, manifest, library) =
        (text("docs/features.md"), text("Cargo.toml"), text("src/lib.rs"));
    let (_, features) = manifest.split_once("[features]").unwrap();
    let (features, _) = features.split_once("\n[").unwrap();
    let names = features.lines().filter_map(|line| line.split_once(" = ")).map(|(name, _)| name);
    for name in names.filter(|&name| name != "default") {
        let row = format!("\n| `{name}` |");
        assert!(page.contains(&row), "docs/features.md does not tell of {name}");
        assert!(library.contains(&format!("`{name}`")), "src/lib.rs does not tell of {name}");
    }
    let (_, version) = manifest.split_once("rust-version = \"").unwrap();
    let (version, _) = version.split_once('"').unwrap();
    let said = format!("Minimum Rust: {version}.");
    assert!(text("README.md").contains(&said), "README does not say {version}");
}

#[test]
fn readme_is_short() {
    let words = text("README.md").split_whitespace().count();
    assert!(words <= WORDS, "README has {words} words, {WORDS} at most: move something to docs/");
}

/// The public names of the crate's root, with all features.
fn names_at_the_root(library: &str) -> Vec<&str> {
    let items = library.split_inclusive([';', '}']).filter_map(|item| {
        let at = item.find("\npub ")?;
        Some(item[at..].trim_start().trim_end_matches(';'))
    });
    items
        .flat_map(|item| {
            let path = item.strip_prefix("pub use ").or(item.strip_prefix("pub mod ")).unwrap();
            let (_, last) = path.rsplit_once("::").unwrap_or(("", path));
            last.trim_matches(['{', '}', ' ', '\n']).split(',').map(str::trim)
        })
        .filter(|name| !name.is_empty())
        .collect()
}

#[test]
fn the_root_is_short() {
    let library = text("src/lib.rs");
    let names = names_at_the_root(&library);
    for name in ["Layout", "bf16", "preference_step", "Workspace", "loss", "verify"] {
        assert!(names.contains(&name), "{name} was not found among {names:?}");
    }
    assert!(names.len() <= NAMES, "{} names, {NAMES} at most: {names:?}", names.len());
    // The control: what a braced list adds is counted, name by name.
    let more = library.replace("pub use level::{", "pub use level::{One, Two,");
    assert_eq!(names_at_the_root(&more).len(), names.len() + 2);
}

/// Every Markdown page under `docs/`, from the root.
fn pages() -> Vec<PathBuf> {
    let files = fs::read_dir(root().join("docs")).unwrap().map(|entry| entry.unwrap().file_name());
    let mut pages: Vec<_> = files
        .map(|name| Path::new("docs").join(name))
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .collect();
    pages.sort();
    pages
}

/// The targets of the links and pictures of a text, without those of the web.
fn links(page: &str) -> impl Iterator<Item = &str> {
    let targets = page.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    targets.filter(|target| !target.starts_with("http"))
}

/// The anchors of a page's headings, as GitHub makes them.
fn anchors(page: &str) -> Vec<String> {
    let headings = page.lines().filter(|line| line.starts_with('#'));
    headings
        .map(|line| {
            let title = line.trim_start_matches('#').trim().to_lowercase();
            let kept = title.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
            kept.map(|c| if c == ' ' { '-' } else { c }).collect()
        })
        .collect()
}

/// Links of a page, a path from the root, that lead nowhere.
fn broken(page: &Path, content: &str) -> Vec<String> {
    let leads_somewhere = |link: &str| {
        let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
        let path = if file.is_empty() { page.into() } else { page.parent().unwrap().join(file) };
        let Ok(found) = root().join(path).canonicalize() else { return false };
        anchor.is_empty()
            || anchors(&fs::read_to_string(found).unwrap()).iter().any(|a| a == anchor)
    };
    let lost = links(content).filter(|link| !leads_somewhere(link));
    lost.map(|link| format!("{}: {link}", page.display())).collect()
}

#[test]
fn every_page_is_linked_from_readme() {
    let (readme, pages) = (text("README.md"), pages());
    assert!(pages.len() >= 8, "{pages:?}");
    for page in pages {
        let is_linked = links(&readme).any(|link| Path::new(link) == page);
        assert!(is_linked, "README has no link to {}", page.display());
    }
}

#[test]
fn links_lead_somewhere() {
    let mut all = pages();
    all.push("README.md".into());
    all.push("CONTRIBUTING.md".into());
    let lost: Vec<_> =
        all.iter().flat_map(|page| broken(page, &text(page.to_str().unwrap()))).collect();
    assert!(lost.is_empty(), "{}", lost.join("\n"));
    // The controls: a file and a heading that do not exist.
    let content = "[a](nowhere.md) [b](losses.md#nothing) [c](losses.md#2-which-to-choose)";
    assert_eq!(broken(Path::new("docs/speed.md"), content).len(), 2);
}
