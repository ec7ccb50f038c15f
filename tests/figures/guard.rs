//! No public struct of the library is without an assertion here.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Asserted field by field, in the file of this suite that names it.
const ASSERTED: &[&str] = &[
    "AnswerLoss",
    "GapAverages",
    "GapSums",
    "GradBatch",
    "Inputs",
    "LengthSums",
    "LogRatioSums",
    "LossOptions",
    "MixtureTerm",
    "NllBatch",
    "NllSummary",
    "Pair",
    "PairBatch",
    "PairLogProbs",
    "PairLoss",
    "PairOut",
    "RowDetails",
    "RowNorm",
    "Selection",
    "SequenceLogProb",
    "StepBatch",
    "StepScratch",
    "StepSummary",
    "Summary",
    "TokenSummary",
    "UnpairedAnswer",
    "UnpairedBatch",
    "UnpairedOut",
    "UnpairedStepBatch",
    "UnpairedSummary",
];

/// Losses and terms: what they are made of shows in their figures (`tests/losses`).
const LOSSES: &[&str] = &[
    "AStarPo",
    "AlphaDivergence",
    "AlphaPo",
    "Aot",
    "AotOver",
    "ApoDown",
    "ApoZero",
    "Bco",
    "CalDpo",
    "Cpo",
    "CpoHinge",
    "CpoIpo",
    "CurveLoss",
    "DiscoPop",
    "Dpo",
    "DpopInside",
    "DpopOutside",
    "DynamicBeta",
    "Exo",
    "ForwardKl",
    "Hinge",
    "Ipo",
    "IpoSum",
    "JensenShannon",
    "Kto",
    "Mixture",
    "Nca",
    "Nll",
    "Orpo",
    "PerAnswer",
    "PerPair",
    "ReverseKl",
    "RewardModel",
    "Robust",
    "RpoBackward",
    "RpoForward",
    "RpoSquare",
    "SigmoidNorm",
    "SimPo",
    "Slic",
    "SoftmaxDpo",
    "SppoHard",
    "Tangent",
    "Tpo",
    "TpoHinge",
    "TpoIpo",
    "TpoL",
    "Xpo",
];

/// Views, buffers and statistics whose numbers are private: their results are asserted in the
/// suites of their stages.
const OTHERS: &[&str] = &[
    "Adapted",
    "Adapter",
    "AnswerSet",
    "Base",
    "Block",
    "ColumnSums",
    "DetailFigures",
    "DetailSums",
    "Details",
    "Dispatch",
    "FrozenHead",
    "HeadGrads",
    "HeadRow",
    "HeadScratch",
    "Hidden",
    "HiddenMut",
    "Layout",
    "Linear",
    "Logits",
    "LogitsMut",
    "NonFinite",
    "Parallel",
    "RowStats",
    "RowSums",
    "ScoredHead",
    "Span",
    "States",
    "Sum",
    "Targets",
    "Tile",
    "TokenOut",
    "TrainedHead",
    "Transform",
    "Workspace",
];

/// The sources but for the instructions, the reference and the C ABI, which have suites of their
/// own.
fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() && !["simd", "verify", "c"].contains(&name.as_str()) {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

fn public_structs(text: &str) -> impl Iterator<Item = String> {
    text.lines().filter_map(|line| {
        let rest = line.trim_start().strip_prefix("pub struct ")?;
        Some(rest.chars().take_while(|c| c.is_alphanumeric()).collect())
    })
}

#[test]
fn every_public_struct_is_asserted() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut paths = Vec::new();
    sources(&root.join("src"), &mut paths);
    let texts: Vec<String> = paths.iter().map(|path| fs::read_to_string(path).unwrap()).collect();
    let found: BTreeSet<String> = texts.iter().flat_map(|text| public_structs(text)).collect();
    let known = |name: &String| [ASSERTED, LOSSES, OTHERS].concat().contains(&name.as_str());
    let unknown: Vec<&String> = found.iter().filter(|name| !known(name)).collect();
    assert!(unknown.is_empty(), "{unknown:?} are public and asserted nowhere");
    let gone = ASSERTED.iter().filter(|name| !found.contains(**name));
    assert_eq!(gone.collect::<Vec<_>>(), [&""; 0], "listed, but there no more");
    // The files beside this one name each of them.
    let mut files = Vec::new();
    sources(&root.join("tests/figures"), &mut files);
    files.retain(|path| !path.ends_with("guard.rs"));
    let all: String = files.iter().map(|path| fs::read_to_string(path).unwrap()).collect();
    for name in ASSERTED {
        let words = all.split(|c: char| !c.is_alphanumeric());
        assert!(words.into_iter().any(|word| word == *name), "{name} is in no file");
    }
}

#[test]
fn planted_faults_are_caught() {
    let text = "#[repr(C)]\npub struct Sums {\n    pub a: u64,\n}\npub struct Row<D = ()>(D);\n";
    assert_eq!(public_structs(text).collect::<Vec<_>>(), ["Sums", "Row"]);
    assert!(!ASSERTED.contains(&"Sums") && !LOSSES.contains(&"Sums"), "a new struct is unknown");
}
