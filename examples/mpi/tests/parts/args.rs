//! The command line, and what ranks must have alike.

use std::time::Duration;

use dpo_kernel::Arithmetic;
use dpo_kernel_mpi::args::{Options, Request, help, parse};
use dpo_kernel_mpi::error::Error;
use dpo_kernel_mpi::grid::Grid;
use dpo_kernel_mpi::train::agree;

fn read(text: &str) -> Result<Request, String> {
    parse(text.split_whitespace().map(Into::into))
}

#[test]
fn every_option_is_read() {
    let text = "--grid 2x3 --data a.jsonl --beta 0.5 --seed 7 --limit 3 --arithmetic portable \
                --timeout 1.5 --state s --every 9 --measure 1000 --rows 8";
    let expected = Options {
        grid: Some(Grid { vocab: 2, data: 3 }),
        data: Some("a.jsonl".into()),
        beta: 0.5,
        seed: 7,
        limit: Some(3),
        arithmetic: Some(Arithmetic::Portable),
        timeout: Duration::from_millis(1500),
        state: Some("s".into()),
        every: 9,
        measure: Some(1000),
        rows: 8,
    };
    assert_eq!(read(text), Ok(Request::Run(Box::new(expected))));
    assert_eq!(read(""), Ok(Request::Run(Box::default())));
    for option in text.split_whitespace().filter(|word| word.starts_with("--")) {
        assert!(help().contains(option), "help has {option}");
    }
    assert_eq!(read("--limit 2 --help"), Ok(Request::Help));
}

#[test]
fn what_is_refused_is_named_with_its_value() {
    for (text, words) in [
        ("--gird 2x2", ["--gird", "--help"]),
        ("--limit", ["--limit", "needs a value"]),
        ("--limit 0", ["--limit", "`0`"]),
        ("--beta -1", ["--beta", "`-1`"]),
        ("--beta nan", ["--beta", "`nan`"]),
        ("--timeout inf", ["--timeout", "`inf`"]),
        ("--timeout 1e7", ["--timeout", "`1e7`"]),
        ("--seed -1", ["--seed", "`-1`"]),
        ("--arithmetic fast", ["--arithmetic", "`fast`"]),
        ("--measure 99999999999", ["--measure", "`99999999999`"]),
        ("--grid 2", ["2x2", "`2`"]),
    ] {
        let error = read(text).unwrap_err();
        assert!(words.iter().all(|word| error.contains(word)), "{text}: {error}");
    }
}

#[test]
fn a_rank_with_other_results_is_named() {
    assert!(agree(&[1, 2, 1, 2, 1, 2]).is_ok());
    let Err(Error::Refused(lines)) = agree(&[1, 2, 1, 2, 1, 3]) else { panic!("they differ") };
    assert_eq!(lines, ["rank 2: digest of weights 0000000000000003, on rank 0 0000000000000002"]);
    let Err(Error::Refused(lines)) = agree(&[1, 2, 0, 2]) else { panic!("they differ") };
    assert!(lines[0].starts_with("rank 1: digest of losses"), "{lines:?}");
}

#[test]
fn the_version_is_the_library_s() {
    let manifest = include_str!("../../../../Cargo.toml");
    let version = manifest.lines().find_map(|line| line.strip_prefix("version = "));
    assert_eq!(version, Some(concat!('"', env!("CARGO_PKG_VERSION"), '"')));
}
