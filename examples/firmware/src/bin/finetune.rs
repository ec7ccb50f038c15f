//! The whole fine-tune, in every arithmetic that the machine has.

#![cfg_attr(target_os = "none", no_std, no_main)]

use core::fmt::Write;

use dpo_kernel_firmware::train::{Run, arithmetics};

dpo_kernel_firmware::main!(run);

fn run(out: &mut impl Write) -> bool {
    let mut room = Run::new();
    arithmetics().all(|(name, dispatch)| {
        let trained = room.train(dispatch, |evaluation| {
            let _ = writeln!(out, "{name} {evaluation}");
        });
        trained.is_ok()
    })
}
