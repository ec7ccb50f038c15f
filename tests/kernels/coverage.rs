//! Every public function has a test that names it.
//!
//! The list maps each `pub fn` of the stages to a test; the test's file must exist, hold that test,
//! and either it or what it runs must name the function. A new function fails until it is listed.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// File of the function, function, file of the test, test.
const LIST: &[(&str, &str, &str, &str)] = &[
    ("element.rs", "from_f32", "storage.rs", "gradients_in_place_are_those_apart"),
    ("element.rs", "to_f32", "storage.rs", "confident_bf16_targets_keep_their_gradient"),
    ("gradient/backward.rs", "logit_grads", "refusals.rs", "wrong_lengths"),
    (
        "gradient/backward.rs",
        "logit_grads_in_place",
        "untouched.rs",
        "padding_and_rows_that_are_not_scored",
    ),
    ("gradient/batch.rs", "new", "gradients.rs", "of_the_stages_equal_dual_numbers"),
    ("gradient/batch.rs", "with_unscored", "untouched.rs", "padding_and_rows_that_are_not_scored"),
    (
        "gradient/coefficients.rs",
        "token_coefficients",
        "gradients.rs",
        "of_the_stages_equal_dual_numbers",
    ),
    (
        "gradient/backward.rs",
        "tile_grads_in_place",
        "merge.rs",
        "gradients_of_tiles_are_those_of_the_row",
    ),
    ("logits.rs", "as_logits", "refusals.rs", "shapes"),
    ("logits.rs", "new", "refusals.rs", "shapes"),
    ("logits.rs", "reborrow", "refusals.rs", "shapes"),
    ("logits.rs", "row", "refusals.rs", "shapes"),
    ("logits.rs", "row_mut", "refusals.rs", "shapes"),
    ("logits.rs", "rows", "refusals.rs", "shapes"),
    ("logits.rs", "transform", "refusals.rs", "shapes"),
    ("logits.rs", "vocab", "refusals.rs", "shapes"),
    ("logits.rs", "with_stride", "refusals.rs", "shapes"),
    ("logits.rs", "with_transform", "refusals.rs", "shapes"),
    ("row/tile.rs", "fold", "merge.rs", "tiles_of_whole_blocks_change_no_bit"),
    ("row/stats.rs", "merge", "merge.rs", "in_any_order_is_the_whole"),
    ("row/stats.rs", "new", "merge.rs", "of_different_rows_is_refused"),
    ("row/stats.rs", "columns", "golden.rs", "every_row_of_torch"),
    ("row/state.rs", "write_bytes", "shards.rs", "of_whole_blocks_are_the_row"),
    ("row/state.rs", "from_bytes", "shards.rs", "damaged_bytes_are_refused"),
    ("row/shard.rs", "shard_columns", "shards.rs", "columns_of_shards"),
    ("row/details.rs", "details", "golden.rs", "every_row_of_torch"),
    ("row/finish.rs", "log_prob", "golden.rs", "every_row_of_torch"),
    ("row/finish.rs", "log_z", "golden.rs", "every_row_of_torch"),
    ("row/finish.rs", "norm", "golden.rs", "every_row_of_torch"),
    ("row/finish.rs", "target_logit", "golden.rs", "every_row_of_torch"),
    ("sequence.rs", "mean", "special.rs", "planted_faults_are_caught"),
    ("sequence.rs", "sequence_log_probs", "gradients.rs", "of_the_stages_equal_dual_numbers"),
    ("simd/dispatch.rs", "arithmetic", "levels.rs", "every_level_of_this_machine_is_run"),
    ("simd/dispatch.rs", "available", "levels.rs", "every_level_of_this_machine_is_run"),
    ("simd/dispatch.rs", "detect", "levels.rs", "every_level_of_this_machine_is_run"),
    ("simd/dispatch.rs", "level", "levels.rs", "every_level_of_this_machine_is_run"),
    ("simd/dispatch.rs", "new", "levels.rs", "levels_that_are_not_there_are_refused"),
    ("simd/detect.rs", "detect", "levels.rs", "every_level_of_this_machine_is_run"),
    ("simd/detect.rs", "is_present", "levels.rs", "levels_that_are_not_there_are_refused"),
    ("layout/checked.rs", "in_any_order", "layout.rs", "spans_of_every_kind"),
    ("layout/checked.rs", "new", "layout.rs", "spans_of_every_kind"),
    ("layout/checked.rs", "rows", "layout.rs", "empty_sequences_are_none"),
    ("layout/checked.rs", "scored_rows", "layout.rs", "empty_sequences_are_none"),
    ("layout/checked.rs", "sequences", "layout.rs", "empty_sequences_are_none"),
    ("layout/checked.rs", "spans", "layout.rs", "empty_sequences_are_none"),
    ("layout/checked.rs", "targets", "layout.rs", "empty_sequences_are_none"),
    ("layout/checked.rs", "tokens", "layout.rs", "empty_sequences_are_none"),
    ("layout/checked.rs", "vocab", "layout.rs", "empty_sequences_are_none"),
    ("layout/span.rs", "new", "refusals.rs", "spans_and_targets"),
    ("layout/span.rs", "of_batch", "refusals.rs", "spans_from_shapes"),
    ("layout/span.rs", "of_offsets", "refusals.rs", "spans_from_shapes"),
    ("layout/targets.rs", "ids", "refusals.rs", "spans_and_targets"),
    ("layout/targets.rs", "new", "refusals.rs", "spans_and_targets"),
    ("layout/targets.rs", "of_i64", "layout.rs", "labels_of_trainers"),
    ("layout/targets.rs", "scored", "refusals.rs", "spans_and_targets"),
    ("layout/targets.rs", "with_ignore", "refusals.rs", "spans_and_targets"),
    ("step/pairs.rs", "new", "gradients.rs", "of_a_step_equal_dual_numbers"),
    ("step/pairs.rs", "preference_step", "gradients.rs", "of_a_step_equal_dual_numbers"),
    ("step/pairs.rs", "with_nll", "../losses/step.rs", "a_step_is_its_stages"),
    ("step/pairs.rs", "with_nll_on", "../step/terms.rs", "tpo_takes_one_step"),
    (
        "step/pairs.rs",
        "with_nll_weights",
        "../step/terms.rs",
        "on_given_answers_add_their_gradients",
    ),
    ("step/pairs.rs", "with_offsets", "gradients.rs", "of_a_step_equal_dual_numbers"),
    ("step/pairs.rs", "with_token_weights", "gradients.rs", "of_a_step_equal_dual_numbers"),
    ("step/pairs.rs", "with_unscored", "../no_alloc.rs", "a_step_allocates_nothing"),
    ("step/pairs.rs", "total_loss", "../step/evaluation.rs", "the_total_is_what_gradients_are_of"),
    ("step/pairs.rs", "with_weights", "gradients.rs", "of_a_step_equal_dual_numbers"),
    ("step/scratch.rs", "new", "gradients.rs", "of_a_step_equal_dual_numbers"),
    ("step/scratch.rs", "with_nll", "../losses/step.rs", "a_step_is_its_stages"),
    ("step/unpaired.rs", "new", "../step/siblings.rs", "of_answers_are_their_stages"),
    ("step/unpaired.rs", "unpaired_step", "../step/siblings.rs", "of_answers_are_their_stages"),
    (
        "step/unpaired.rs",
        "with_token_weights",
        "../step/siblings.rs",
        "of_answers_are_their_stages",
    ),
    ("step/unpaired.rs", "with_unscored", "../step/siblings.rs", "of_answers_are_their_stages"),
    (
        "step/unpaired.rs",
        "total_loss",
        "../step/evaluation.rs",
        "the_total_is_what_gradients_are_of",
    ),
    ("step/unpaired.rs", "with_weights", "../step/siblings.rs", "of_answers_are_their_stages"),
    ("token.rs", "new", "untouched.rs", "padding_and_rows_that_are_not_scored"),
    ("token.rs", "token_log_probs", "untouched.rs", "padding_and_rows_that_are_not_scored"),
    ("token.rs", "with_details", "untouched.rs", "padding_and_rows_that_are_not_scored"),
    ("token.rs", "with_norms", "untouched.rs", "padding_and_rows_that_are_not_scored"),
    ("transform.rs", "new", "refusals.rs", "transforms_and_tiles"),
    ("workspace.rs", "answer_losses", "../step/siblings.rs", "of_answers_are_their_stages"),
    ("workspace.rs", "log_probs", "../step/siblings.rs", "of_a_used_workspace"),
    ("workspace.rs", "new", "../step/siblings.rs", "of_a_used_workspace"),
    ("workspace.rs", "pair_losses", "../step/siblings.rs", "of_answers_are_their_stages"),
    ("workspace.rs", "preference_step", "../step/siblings.rs", "of_a_used_workspace"),
    ("workspace.rs", "score", "../step/siblings.rs", "of_a_used_workspace"),
    ("workspace.rs", "sequences", "../step/siblings.rs", "of_every_type_agree"),
    ("workspace.rs", "unpaired_step", "../step/siblings.rs", "of_answers_are_their_stages"),
];

/// Rooms with tests of their own, and traits that are sealed or private.
const ELSEWHERE: [&str; 11] = [
    "head",
    "step/head.rs",
    "loss",
    "math",
    "pair",
    "parallel",
    "preference",
    "theory",
    "training",
    "unpaired",
    "verify",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).into()
}

/// The sources under a folder, as (path from there, text).
fn sources(folder: &Path, prefix: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = format!("{prefix}{}", path.file_name().unwrap().to_string_lossy());
        if path.is_dir() {
            found.extend(sources(&path, &format!("{name}/")));
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push((name, fs::read_to_string(&path).unwrap()));
        }
    }
    found
}

/// Names behind `pub fn` and `pub const fn`, and those of the trait `Element`.
fn public_functions(text: &str) -> BTreeSet<String> {
    let code = text.lines().map(str::trim_start).filter(|line| !line.starts_with("//"));
    code.filter_map(|line| {
        let rest = line.strip_prefix("pub ").or_else(|| line.strip_suffix(';'))?;
        let rest = ["const ", "unsafe "].iter().fold(rest, |r, w| r.strip_prefix(w).unwrap_or(r));
        let name = rest.strip_prefix("fn ")?;
        // Without `pub` only the methods of a trait that callers use count.
        let counts = line.starts_with("pub ")
            || ["to_f32(self)", "from_f32(x"].iter().any(|m| name.starts_with(m));
        counts.then(|| name.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect())
    })
    .collect()
}

/// What the list lacks, and what it names in vain.
fn objections(sources: &[(String, String)], list: &[(&str, &str, &str, &str)]) -> Vec<String> {
    let mut objections = Vec::new();
    for (file, text) in sources {
        if ELSEWHERE.iter().any(|room| file.starts_with(room)) {
            continue;
        }
        let listed: BTreeSet<String> =
            list.iter().filter(|entry| entry.0 == file).map(|entry| entry.1.to_owned()).collect();
        let found = public_functions(text);
        objections.extend(found.difference(&listed).map(|f| format!("{file}: {f} is not listed")));
        objections.extend(listed.difference(&found).map(|f| format!("{file}: {f} is gone")));
    }
    objections
}

/// Whether a text calls the function of a source: `new` by its type, other methods by a dot or a
/// path, so that nobody else's count.
fn calls(text: &str, source: &str, function: &str) -> bool {
    let types: &[&str] = match source {
        "gradient/batch.rs" => &["GradBatch"],
        "logits.rs" => &["Logits", "LogitsMut"],
        "row/stats.rs" => &["RowStats", "RowStats::<()>", "RowStats::<Details>"],
        "simd/dispatch.rs" => &["Dispatch"],
        "layout/checked.rs" => &["Layout"],
        "layout/span.rs" => &["Span"],
        "layout/targets.rs" => &["Targets"],
        "step/pairs.rs" => &["StepBatch"],
        "step/scratch.rs" => &["StepScratch"],
        "step/unpaired.rs" => &["UnpairedStepBatch"],
        "token.rs" => &["TokenOut"],
        "transform.rs" => &["Transform"],
        "workspace.rs" => &["Workspace"],
        _ => &[],
    };
    let free =
        ["logit_grads", "_in_place", "_log_probs", "_step", "token_coefficients", "shard_columns"];
    let has =
        |call: String| text.contains(&format!("{call}(")) || text.contains(&format!("{call}::<"));
    if function == "new" {
        types.iter().any(|name| has(format!("{name}::new")))
    } else if free.iter().any(|part| function.contains(part)) {
        has(function.to_owned())
    } else {
        has(format!(".{function}")) || has(format!("::{function}"))
    }
}

#[test]
fn every_public_function_is_listed() {
    let found = objections(&sources(&root().join("src"), ""), LIST);
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn every_listed_test_exists() {
    let tests = sources(&root().join("tests/kernels"), "");
    for (source, function, file, test) in LIST {
        let path = root().join("tests/kernels").join(file);
        let text = &fs::read_to_string(path).unwrap_or_else(|why| panic!("{file}: {why}"));
        let declared = format!("#[test]\nfn {test}()");
        assert!(text.contains(&declared), "{file} has no test {test}, listed for {function}");
        // Called in the test's file, or in the helpers that it runs.
        let helpers = ["run.rs", "rows.rs"].map(|h| &tests.iter().find(|t| t.0 == h).unwrap().1);
        let common = ["levels.rs", "batch.rs", "coefficients.rs"]
            .map(|name| fs::read_to_string(root().join("tests/common").join(name)).unwrap());
        let called = |text: &str| calls(text, source, function);
        let anywhere =
            called(text) || helpers.iter().any(|t| called(t)) || common.iter().any(|t| called(t));
        assert!(anywhere, "{file} does not call {function} of {source}");
    }
}

#[test]
fn planted_faults_are_caught() {
    let source = |text: &str| vec![("row/stats.rs".to_owned(), text.to_owned())];
    let list = [("row/stats.rs", "old", "a.rs", "b")];
    assert!(objections(&source("    pub const fn old() {}"), &list).is_empty());
    for wrong in [
        "pub fn old() {}\npub fn new_one() {}",
        "pub fn old() {}\n    pub const fn new_one<E>(x: E) {}",
        "pub(crate) fn old() {}",
        "// pub fn old() {}",
    ] {
        assert_eq!(objections(&source(wrong), &list).len(), 1, "{wrong}");
    }
    for (text, source, function) in [
        ("let x = Vec::new(); Span::new(0, 1)", "logits.rs", "new"),
        ("for row in rows() {}", "logits.rs", "rows"),
        ("fn mean() {} let x = mean(&y);", "sequence.rs", "mean"),
        ("token_log_prob(", "token.rs", "token_log_probs"),
    ] {
        assert!(!calls(text, source, function), "{function} of {source} is not called by {text}");
    }
    assert!(calls("Logits::new(&x, 1, 2)", "logits.rs", "new"));
    assert!(calls("batch.with_unscored(zero)", "gradient/batch.rs", "with_unscored"));
}
