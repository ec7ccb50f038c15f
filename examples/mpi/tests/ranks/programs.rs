//! The package's program under the launcher: digests of grids, refusals, a run that is killed.

use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::launch::{finish, folder, grid, launcher, text};

const PROGRAM: &str = env!("CARGO_BIN_EXE_dpo-kernel-mpi");

fn program(shape: &str, options: &[&str]) -> Command {
    let mut command = launcher();
    command.args(["-n", &grid(shape).ranks().to_string(), PROGRAM, "--grid", shape]).args(options);
    command
}

fn line(text: &str, start: &str) -> String {
    let found = text.lines().find(|line| line.starts_with(start));
    found.unwrap_or_else(|| panic!("no line `{start}` in {text}")).to_owned()
}

fn digest_line(shape: &str, options: &[&str]) -> String {
    let found = finish(&mut program(shape, options));
    assert!(found.status.success(), "{shape}: {}", text(&found));
    line(&text(&found), "digests: ")
}

pub(crate) fn digests() {
    let one = digest_line("1x1", &["--limit", "2"]);
    for shape in ["2x1", "1x2", "2x2", "3x1"] {
        assert_eq!(digest_line(shape, &["--limit", "2"]), one, "{shape}");
    }
    // The digests tell runs apart.
    let other = digest_line("1x1", &["--limit", "2", "--beta", "0.2"]);
    let parts = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let differ = parts(&one).into_iter().zip(parts(&other)).filter(|(one, other)| one != other);
    assert_eq!(differ.count(), 4, "losses, log-probs, gradients and weights of another β");
}

/// Two ranks that are told different things.
fn two(first: &[&str], second: &[&str]) -> String {
    let mut command = launcher();
    command.args(["-n", "1", PROGRAM, "--grid", "2x1", "--limit", "1"]).args(first);
    command.args([":", "-n", "1", PROGRAM, "--grid", "2x1", "--limit", "1"]).args(second);
    let found = finish(&mut command);
    assert!(!found.status.success(), "{first:?} and {second:?} do not fit");
    text(&found)
}

pub(crate) fn refusals() {
    let said = two(&["--arithmetic", "portable"], &[]);
    // A machine without FMA has no other arithmetic.
    if dpo_kernel::Dispatch::detect().arithmetic() == dpo_kernel::Arithmetic::Fused {
        line(&said, "dpo-kernel-mpi: rank 1: arithmetic fused, on rank 0 portable");
    }
    let said = two(&[], &["--data", "/there/is/no/file"]);
    line(&said, "dpo-kernel-mpi: rank 1: /there/is/no/file: No such file");
    let said = two(&[], &["--beta", "0.2"]);
    assert!(line(&said, "dpo-kernel-mpi: rank 1: recipe ").contains("on rank 0"));
    let said = two(&["--sead", "1"], &[]);
    line(&said, "dpo-kernel-mpi: rank 0: there is no option `--sead`");
    assert!(!said.contains("step"), "nothing was trained: {said}");
    let mut command = launcher();
    command.args(["-n", "3", PROGRAM, "--grid", "2x1"]);
    let said = text(&finish(&mut command));
    line(&said, "dpo-kernel-mpi: rank 2: --grid 2x1 takes 2 ranks, there are 3");
}

/// A run on one grid is killed between two steps or within one; another grid goes on with its file
/// and comes to the weights of a run that nothing has happened to.
pub(crate) fn resumes() {
    let weights = |line: &str| line.split_whitespace().last().expect("weights").to_owned();
    let options = ["--limit", "12"];
    let expected = weights(&digest_line("1x1", &options));
    let path = folder().join("state");
    let state = path.to_str().expect("a path");
    let with_state = [&options[..], &["--state", state, "--every", "1"]].concat();
    for (first, second) in [("2x2", "3x1"), ("3x1", "1x2")] {
        let mut running =
            program(first, &with_state).stdout(std::process::Stdio::null()).spawn().expect("ranks");
        wait_for(&path);
        sleep(Duration::from_millis(300));
        running.kill().expect("the launcher is killed");
        running.wait().expect("its status");
        let found = finish(&mut program(second, &with_state));
        assert!(found.status.success(), "{first}, then {second}: {}", text(&found));
        let said = text(&found);
        line(&said, "state: goes on from phase ");
        assert_eq!(weights(&line(&said, "digests: ")), expected, "{first}, then {second}");
        // Another run's file is refused.
        let found = text(&finish(&mut program("1x1", &["--limit", "11", "--state", state])));
        assert!(found.contains("its recipe is"), "{found}");
        std::fs::remove_file(&path).expect("the state");
    }
}

fn wait_for(path: &Path) {
    let start = Instant::now();
    while !path.exists() {
        assert!(start.elapsed() < Duration::from_secs(60), "no state after a minute");
        sleep(Duration::from_millis(10));
    }
}
