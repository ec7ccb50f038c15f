//! The run on a PC, bit for bit as committed: what every board must print too (`.ci/firmware`).

use std::fmt::Write;
use std::path::Path;
use std::process::Command;

use dpo_kernel::Arithmetic;
use dpo_kernel_firmware::report::{Digest, Evaluation, Fixed};
use dpo_kernel_firmware::train::{Run, arithmetics};

const FINETUNE: &str = include_str!("../expected/finetune");
const LOSS: &str = include_str!("../expected/loss");

/// The lines of the arithmetics that this machine has.
fn expected(text: &str) -> String {
    let names: Vec<&str> = arithmetics().map(|(name, _)| name).collect();
    let lines = text.lines().filter(|line| names.contains(&line.split(' ').next().unwrap_or("")));
    lines.flat_map(|line| [line, "\n"]).collect()
}

fn evaluations(of: Arithmetic) -> Vec<Evaluation> {
    let mut found = Vec::new();
    let (_, dispatch) = arithmetics().find(|(_, d)| d.arithmetic() == of).expect("an arithmetic");
    Run::new().train(dispatch, |evaluation| found.push(evaluation.clone())).expect("finite logits");
    found
}

#[test]
fn the_run_has_the_bits_that_are_committed() {
    let mut text = String::new();
    let mut room = Run::new();
    for (name, dispatch) in arithmetics() {
        let tell = |evaluation: &Evaluation| writeln!(text, "{name} {evaluation}").expect("text");
        room.train(dispatch, tell).expect("finite logits");
    }
    assert_eq!(
        text,
        expected(FINETUNE),
        "results have changed: if that is meant, `finetune` prints the new ones"
    );
}

#[test]
fn the_loss_alone_has_the_bits_that_are_committed() {
    let found = Command::new(env!("CARGO_BIN_EXE_loss")).output().expect("the program runs");
    assert!(found.status.success(), "{found:?}");
    assert_eq!(String::from_utf8_lossy(&found.stdout), expected(LOSS), "results have changed");
}

/// A run's first and last evaluation show that it trains, not only that it repeats.
#[test]
fn the_pairs_become_ordered() {
    let found = evaluations(Arithmetic::Portable);
    let [first, .., last] = found.as_slice() else { panic!("a run has two evaluations") };
    for summary in [&first.train, &first.held_out] {
        assert_eq!(summary.ties, summary.pairs, "policy and reference are the same at step 0");
        assert_eq!(Fixed(summary.mean_loss()).to_string(), "0.693147");
    }
    assert!(last.train.mean_loss() < 0.2, "{last}");
    assert_eq!(last.train.correct, last.train.pairs, "{last}");
    assert!(last.held_out.mean_loss() < 0.4 && last.held_out.correct >= 7, "{last}");
    let falls = found.windows(2).all(|two| two[1].train.loss_sum < two[0].train.loss_sum);
    assert!(falls, "every pass lowers the loss");
}

/// The model in flash is the one that `pretrain` makes, on any machine.
#[test]
fn pretraining_makes_the_model_in_flash() {
    let made = Path::new(env!("CARGO_TARGET_TMPDIR")).join("base.bin");
    let status = Command::new(env!("CARGO_BIN_EXE_pretrain")).arg(&made).status();
    assert!(status.expect("the program runs").success());
    let made = std::fs::read(made).expect("the file was written");
    assert!(made == include_bytes!("../base.bin"), "base.bin differs from what pretrain makes");
}

#[test]
fn a_digest_sees_every_bit() {
    let of = |bits: [u64; 2]| {
        let mut digest = Digest::default();
        for bits in bits {
            digest.add(bits);
        }
        digest
    };
    let sound = of([1, 2]);
    assert_ne!(sound, of([1, 3]), "one bit");
    assert_ne!(sound, of([2, 1]), "the order");
    assert_ne!(sound, of([1 | 1 << 63, 2]), "a sign");
}
