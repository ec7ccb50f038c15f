//! The loss and its gradients, on logits made from a seed; on a board also what they cost.
//!
//! Lines that begin with `#` are the machine's own; the others are the same on every machine.

#![cfg_attr(target_os = "none", no_std, no_main)]

use core::fmt::Write;

#[cfg(target_os = "none")]
use dpo_kernel_firmware::probe::LOGITS;
use dpo_kernel_firmware::probe::Probe;
use dpo_kernel_firmware::report::Fixed;
use dpo_kernel_firmware::train::arithmetics;

dpo_kernel_firmware::main!(run);

/// Rows of each case; their columns fill the buffer.
const CASES: [usize; 3] = [16, 4, 2];

fn run(out: &mut impl Write) -> bool {
    let mut good = true;
    #[cfg(target_os = "none")]
    let _ = writeln!(out, "# control: stack {} bytes", control());
    for (name, dispatch) in arithmetics() {
        // Borrowed, because moving it would take its memory twice.
        let mut probe = Probe::default();
        let mut of = (&mut probe, dispatch);
        for rows in CASES {
            // The reference is another model: another seed.
            of.0.fill(rows, 1);
            let forward = call(|(probe, dispatch)| probe.forward(*dispatch), &mut of);
            of.0.fill(rows, 2);
            let step = call(|(probe, dispatch)| probe.step(*dispatch), &mut of);
            let (probe, _) = &of;
            let Ok(summary) = probe.result() else {
                good = false;
                continue;
            };
            let _ = writeln!(
                out,
                "{name} {rows} rows of {}: loss {} margin {} bits {:016x}",
                probe.vocab(),
                Fixed(summary.loss_sum),
                Fixed(summary.margin_sum),
                probe.digest().0,
            );
            tell(out, &[("forward", forward), ("step", step)]);
        }
    }
    good
}

#[cfg(target_os = "none")]
use dpo_kernel_firmware::board::measure::{Cost, control, cost_of as call};

#[cfg(target_os = "none")]
fn tell(out: &mut impl Write, costs: &[(&str, Cost)]) {
    for (name, cost) in costs {
        let tenths = cost.instructions * 10 / LOGITS as u64;
        let _ = writeln!(
            out,
            "# {name}: stack {} bytes, {}.{} instructions a logit",
            cost.stack,
            tenths / 10,
            tenths % 10,
        );
    }
}

/// A PC is not measured.
#[cfg(not(target_os = "none"))]
struct Cost;

#[cfg(not(target_os = "none"))]
fn call<T>(what: fn(&mut T), of: &mut T) -> Cost {
    what(of);
    Cost
}

#[cfg(not(target_os = "none"))]
fn tell(_: &mut impl Write, _: &[(&str, Cost)]) {}
