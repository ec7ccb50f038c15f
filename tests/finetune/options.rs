//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;

use dpo_kernel::loss::LossName;

use crate::SMALL_RECIPE;
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
    let elsewhere = Options { out: "o".into(), ..compare.clone() };
    assert_eq!(request(&["--out", "o", "--compare"]), Ok(Request::Run(elsewhere)), "elsewhere");
    assert_eq!(request(&["--seed", "3", "--help"]), Ok(Request::Help), "help wins");
    let late = ["--compare", "--seed", "4", "--steps", "1000000"];
    let late_options = Options { seed: 4, steps: Some(1_000_000), ..compare };
    assert_eq!(request(&late), Ok(Request::Run(late_options)), "options after --compare");
    let large = Options { seed: u64::MAX, steps: Some(1), ..Options::default() };
    let words = ["--seed", "18446744073709551615", "--steps", "1"];
    assert_eq!(request(&words), Ok(Request::Run(large)), "the ends of their ranges");
    assert_eq!(request(&["-h"]), Ok(Request::Help), "in short");
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
        &["--steps", "1000001"],
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
        (&["--steps", "1.5"], "--steps takes a number from 1 to 1000000, not `1.5`"),
        (
            &["--compare", "--loss", "ipo"],
            "--compare takes every loss with its own beta, not --loss or --beta",
        ),
        (
            &["--beta", "1", "--compare"],
            "--compare takes every loss with its own beta, not --loss or --beta",
        ),
        (&["--data"], "--data needs a value"),
        (&["--loss"], "--loss needs a value"),
        (&["--beta"], "--beta needs a value"),
        (&["--steps"], "--steps needs a value"),
        (&["--seed"], "--seed needs a value"),
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
    let options =
        ["--data", "--loss", "--beta", "--steps", "--seed", "--out", "--compare", "--help"];
    for option in options {
        assert!(help.contains(&format!("\n  {option} ")), "{option} in {help}");
    }
}

/// Lines of names are indented by two, and 78 columns at most.
#[test]
fn names_fill_their_lines() {
    let name = |length: usize| "x".repeat(length);
    let names = [name(70), name(5), name(1), name(76), name(77), name(2), name(73)];
    let expected = format!(
        "  {} {}\n  {}\n  {}\n  {}\n  {} {}",
        name(70),
        name(5),
        name(1),
        name(76),
        name(77),
        name(2),
        name(73)
    );
    assert_eq!(args::wrapped(names.iter().map(String::as_str)), expected);
}

/// Exit status, output and complaints of the program.
fn start(words: &[&str]) -> (u8, String, String) {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let words = words.iter().map(OsString::from);
    let status = finetune::start(words, &SMALL_RECIPE, &mut out, &mut err);
    let text = |bytes| String::from_utf8(bytes).expect("text");
    (status, text(out), text(err))
}

/// 0 for what was done, 1 for what could not be, 2 for what was not understood.
#[test]
fn the_exit_status_says_how_it_went() {
    assert_eq!(start(&["--help"]), (0, args::help(), String::new()), "help is no fault");
    let no_value = "finetune: --beta needs a value\n".to_owned();
    assert_eq!(start(&["--beta"]), (2, String::new(), no_value), "not understood");
    let (status, out, err) = start(&["--data", "no/such/file"]);
    assert_eq!((status, out.as_str()), (1, ""), "not done");
    assert!(err.starts_with("finetune: no/such/file: ") && err.ends_with('\n'), "{err}");
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let path = folder.join("finetune-status.svg");
    let picture = path.to_str().expect("text");
    let (status, out, err) = start(&["--steps", "1", "--out", picture]);
    assert_eq!((status, err.as_str()), (0, ""), "done");
    // The built-in pairs: 160 prompts, of which a fifth is held out.
    assert!(out.starts_with("data: built-in pairs: 128 pairs to train on, 32 held out\n"), "{out}");
    assert!(path.exists(), "the picture");
}

/// A picture that cannot be written is told before any work; one that is there already stays until
/// there is another.
#[test]
fn an_output_that_cannot_be_written_is_found_at_once() {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    for compare in [&["--compare"][..], &[]] {
        let out = folder.join("no-such-folder/x.svg");
        let words = [compare, &["--out", out.to_str().expect("text")]].concat();
        let (status, printed, err) = start(&words);
        assert_eq!(status, 1, "{err}");
        assert!(err.starts_with(&format!("finetune: {}: ", out.display())), "{err}");
        assert!(!printed.contains("model: "), "no work was done: {printed}");
    }
    let kept = folder.join("finetune-kept.svg");
    std::fs::write(&kept, "an older picture").expect("a scratch file");
    let options = Options { out: kept.clone(), ..Options::default() };
    let mut closed: &mut [u8] = &mut [0; 100];
    finetune::run(&options, &SMALL_RECIPE, &mut closed).expect_err("the output is full");
    assert_eq!(std::fs::read_to_string(&kept).expect("a file"), "an older picture");
}

/// `main` itself, on the arguments of a child process: those of its test runner, which are none of
/// the program's.
#[test]
#[cfg_attr(not(target_arch = "x86_64"), ignore = "an emulated process cannot start another")]
fn main_reads_the_arguments_of_its_process() {
    const CHILD: &str = "DPO_KERNEL_FINETUNE_MAIN";
    let name = "options::main_reads_the_arguments_of_its_process";
    if std::env::var_os(CHILD).is_some() {
        let status = format!("{:?}", finetune::main());
        assert_eq!(status, format!("{:?}", std::process::ExitCode::from(2)));
        return;
    }
    let mut child = std::process::Command::new(std::env::current_exe().expect("this program"));
    let child = child.args(["--exact", name]).env(CHILD, "").output().expect("a process");
    let said = String::from_utf8_lossy(&child.stderr);
    assert!(said.contains("finetune: there is no option `--exact`: --help lists them\n"), "{said}");
    assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stdout));
}
