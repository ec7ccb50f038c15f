//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;

use dpo_kernel::loss::LossName;

use crate::finetune;
use crate::finetune::args::{self, Options, Request};
use crate::finetune::text::{ANSWER_LIMIT, PROMPT_LIMIT};
use crate::finetune::train::Recipe;

fn request(words: &[&str]) -> Result<Request, String> {
    args::parse(words.iter().map(OsString::from))
}

#[test]
fn command_line_is_read_or_refused() {
    let all = "--data d --loss ipo --beta 0.5 --steps 7 --seed 9 --out o";
    let options = Options {
        data: Some(PathBuf::from("d")),
        loss: Some(LossName::Ipo),
        beta: Some(0.5),
        steps: Some(7),
        seed: 9,
        out: PathBuf::from("o"),
    };
    let all: Vec<&str> = all.split(' ').collect();
    assert_eq!(request(&all), Ok(Request::Run(options)), "every option with a value");
    assert_eq!(request(&[]), Ok(Request::Run(Options::default())), "none");
    let compare = Options { loss: None, out: "docs/losses.svg".into(), ..Options::default() };
    assert_eq!(request(&["--compare"]), Ok(Request::Run(compare.clone())), "all losses");
    let elsewhere = Options { out: "o".into(), ..compare };
    assert_eq!(request(&["--out", "o", "--compare"]), Ok(Request::Run(elsewhere)), "elsewhere");
    assert_eq!(request(&["--seed", "3", "--help"]), Ok(Request::Help), "help wins");
    for words in [
        &["--bata", "1"][..],
        &["file.jsonl"],
        &["--data"],
        &["--beta", "0"],
        &["--beta", "-1"],
        &["--beta", "nan"],
        &["--beta", "inf"],
        &["--beta", "much"],
        &["--loss"],
        &["--compare", "--loss", "ipo"],
        &["--beta", "1", "--compare"],
        &["--steps", "0"],
        &["--steps", "1.5"],
        &["--steps", "99999999999999999999"],
        &["--seed", "-1"],
    ] {
        assert!(request(words).is_err(), "{words:?} must be refused");
    }
}

#[test]
fn losses_go_by_their_names() {
    for name in LossName::ALL {
        let found = request(&["--loss", name.name()]);
        let options = Options { loss: Some(name), ..Options::default() };
        assert_eq!(found, Ok(Request::Run(options)), "{name:?}");
    }
    for unknown in ["dpop", "Sigmoid", "", "sigmoid "] {
        let error = request(&["--loss", unknown]).expect_err("no such loss");
        let message =
            format!("--loss takes the name of a loss, not `{unknown}`: --help lists them");
        assert_eq!(error, message, "in one line");
    }
    // What a loss has no use for is refused before any work.
    let options = Options { loss: Some(LossName::Orpo), beta: Some(0.1), ..Options::default() };
    let mut out = Vec::new();
    let error = finetune::run(&options, &Recipe::default(), &mut out).expect_err("a beta");
    assert!(error.to_string().contains("beta") && out.is_empty(), "{error}");
}

/// One bad value is no reason to print everything else.
#[test]
fn a_bad_value_is_named_in_one_line() {
    for (words, message) in [
        (&["--beta", "much"][..], "--beta takes a finite number above 0, not `much`"),
        (&["--steps", "0"], "--steps takes a number from 1 to 1000000, not `0`"),
        (&["--seed", "-1"], "--seed takes a whole number from 0 to 2^64 - 1, not `-1`"),
        (&["--out"], "--out needs a value"),
        (&["--bata", "1"], "there is no option `--bata`: --help lists them"),
    ] {
        assert_eq!(request(words), Err(message.to_owned()), "{words:?}");
    }
}

#[test]
fn help_says_what_the_model_reads_and_lists_every_loss() {
    let help = args::help();
    for name in LossName::ALL {
        assert!(help.split_whitespace().any(|word| word == name.name()), "{name:?} in {help}");
    }
    for limit in [PROMPT_LIMIT, ANSWER_LIMIT] {
        assert!(help.contains(&format!(" {limit} ")), "{limit} bytes in {help}");
    }
    assert!(help.lines().all(|line| line.chars().count() <= 80), "a terminal's width: {help}");
}
