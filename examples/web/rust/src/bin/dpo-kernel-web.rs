//! What the page computes, on a PC.
//!
//! ```text
//! dpo-kernel-web run [--base F] [--data F] [--loss NAME] [--beta X] [--rate X] [--steps N] [--seed N] [--longer] [--every N]
//! dpo-kernel-web answers BETA REFERENCE REWARDS POLICY      lists of numbers, comma-separated
//! dpo-kernel-web pair BETA CHOSEN REJECTED                  log-ratios
//! dpo-kernel-web preference REWARD REWARD
//! dpo-kernel-web read FILE.jsonl
//! ```

use std::error::Error;
use std::fmt::Display;
use std::fs;
use std::num::NonZeroU32;
use std::process::ExitCode;
use std::str::FromStr;

use dpo_kernel_web::model::Base;
use dpo_kernel_web::objective::Objective;
use dpo_kernel_web::pairs::{Examples, Pair};
use dpo_kernel_web::theory::{Answers, pair_loss, preference};
use dpo_kernel_web::train::{Figures, Rate, Run};

const USAGE: &str = "usage: dpo-kernel-web run [--base F] [--data F] [--loss NAME] [--beta X] [--rate X]\n\
     \x20                         [--steps N] [--seed N] [--longer] [--every N]\n\
     \x20      dpo-kernel-web answers BETA REFERENCE REWARDS POLICY\n\
     \x20      dpo-kernel-web pair BETA CHOSEN REJECTED\n\
     \x20      dpo-kernel-web preference REWARD REWARD\n\
     \x20      dpo-kernel-web read FILE.jsonl";

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match args.as_slice() {
        ["run", options @ ..] => run(options),
        ["answers", beta, reference, rewards, policy] => {
            answers(beta, [reference, rewards, policy])
        }
        ["pair", beta, chosen, rejected] => pair(beta, [chosen, rejected]),
        ["preference", chosen, rejected] => preferred(chosen, rejected),
        ["read", file] => read(file).map(|pairs| println!("{} pairs", pairs.len())),
        _ => Err(USAGE.into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn show(numbers: &[f64]) {
    // As many digits as tell any f64 from its neighbours: JavaScript reads back the same number.
    println!("{}", numbers.iter().map(f64::to_string).collect::<Vec<_>>().join(" "));
}

fn list(text: &str) -> Outcome<Vec<f64>> {
    text.split(',')
        .map(|number| number.parse().map_err(|_| format!("not a number: {number}").into()))
        .collect()
}

fn answers(beta: &str, lists: [&str; 3]) -> Outcome {
    let [reference, rewards, policy] = lists.map(list);
    show(&Answers::new(&reference?, &rewards?, &policy?, beta.parse()?)?.numbers());
    Ok(())
}

fn pair(beta: &str, [chosen, rejected]: [&str; 2]) -> Outcome {
    let found = pair_loss(beta.parse()?, [chosen.parse()?, rejected.parse()?])?;
    show(&[found.loss, found.margin, found.d_chosen, found.d_rejected]);
    Ok(())
}

fn preferred(chosen: &str, rejected: &str) -> Outcome {
    show(&preference(chosen.parse()?, rejected.parse()?));
    Ok(())
}

fn bytes_of(file: &str) -> Outcome<Vec<u8>> {
    fs::read(file).map_err(|error| format!("{file}: {error}").into())
}

fn read(file: &str) -> Outcome<Vec<dpo_kernel_web_reader::Pair>> {
    let name = file.rsplit('/').next().unwrap_or(file);
    Ok(dpo_kernel_web_reader::read(name, &bytes_of(file)?)?)
}

/// The value of an option.
fn value_of<T: FromStr<Err: Display>>(name: &str, text: &str) -> Outcome<T> {
    text.parse().map_err(|error| format!("{name} is {text:?}: {error}").into())
}

fn run(options: &[&str]) -> Outcome {
    let (mut base, mut data) = ("page/base.bin", "page/pairs.jsonl");
    let (mut loss, mut beta, mut rate) = ("sigmoid", None, 0.0007);
    let (mut steps, mut seed, mut longer) = (100, 1, false);
    let mut every = NonZeroU32::MIN.saturating_add(19);
    let mut options = options.iter();
    while let Some(&name) = options.next() {
        if name == "--longer" {
            longer = true;
            continue;
        }
        let value = *options.next().ok_or(USAGE)?;
        match name {
            "--base" => base = value,
            "--data" => data = value,
            "--loss" => loss = value,
            "--beta" => beta = Some(value_of(name, value)?),
            "--rate" => rate = value_of(name, value)?,
            "--steps" => steps = value_of(name, value)?,
            "--seed" => seed = value_of(name, value)?,
            "--every" => every = value_of(name, value)?,
            _ => return Err(USAGE.into()),
        }
    }
    let model =
        Base::new(bytes_of(base)?).ok_or_else(|| format!("{base} is no model of this program"))?;
    let pairs = read(data)?;
    let pairs =
        pairs.iter().map(|pair| -> Pair<'_> { [&pair.prompt, &pair.chosen, &pair.rejected] });
    let examples = Examples::new(pairs, longer);
    let rate = Rate::new(rate)
        .ok_or_else(|| format!("the learning rate is {rate}: it is a finite number above 0"))?;
    let mut run = Run::new(model, &examples, Objective::new(loss, beta)?, rate, seed)?;
    tell(&run)?;
    for step in 1..=steps {
        run.step()?;
        if step % every == 0 || step == steps {
            tell(&run)?;
        }
    }
    for policy in [false, true] {
        for index in 0..4 {
            if let Some([prompt, answer]) = run.sample(index, policy, 1) {
                println!("{} {prompt} -> {answer}", if policy { "policy   " } else { "reference" });
            }
        }
    }
    Ok(())
}

fn tell(run: &Run) -> Outcome {
    let [train, held_out] = run.figures()?.map(|figures| {
        let Figures { pairs, correct, loss, chosen, rejected } = figures;
        format!("{correct:>2}/{pairs} loss {loss:.4} chosen {chosen:+.2} rejected {rejected:+.2}")
    });
    let lengths = [run.mean_length(false), run.mean_length(true)];
    println!(
        "step {:>4}  trained on {train}  held out {held_out}  length {:.1} -> {:.1}  digest {:016x}",
        run.steps(),
        lengths[0],
        lengths[1],
        run.digest()
    );
    Ok(())
}
