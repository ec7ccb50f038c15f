//! How much memory a step of dpo-kernel takes, in a process of its own.

use std::io::{Error, Result};
use std::process::{Command, ExitCode};

use dpo_kernel::head::Linear;
use dpo_kernel::{Element, bf16};

use crate::dispatch;
use crate::step::Step;
use crate::work::Work;

/// A line of this process's status, in bytes.
fn status(field: &str) -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with(field))?;
    Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? * 1024)
}

/// The rise of the resident size in the first step, what it allocates included.
fn rise<E: Element>(shape: (usize, usize, usize), is_trained: bool) -> Option<u64> {
    let work = Work::<E>::new(shape);
    let head = Linear::new(&work.weights, work.vocab, work.size).ok()?;
    let before = status("VmRSS")?;
    // The peak begins anew.
    std::fs::write("/proc/self/clear_refs", "5").ok()?;
    let mut step = Step::new(&work, dispatch(), head);
    if is_trained {
        step.trained(&mut vec![E::ZERO; work.weights.len()]);
    } else {
        step.frozen();
    }
    status("VmHWM").map(|after| after.saturating_sub(before))
}

/// What the child does: prints bytes.
pub fn child(mut arguments: impl Iterator<Item = String>) -> ExitCode {
    let (kind, what) = (arguments.next(), arguments.next());
    let numbers = arguments.map(|n| n.parse().ok()).collect::<Option<Vec<_>>>();
    let Some(&[rows, size, vocab]) = numbers.as_deref() else { return ExitCode::from(2) };
    let shape = (rows, size, vocab);
    let is_f32 = kind.as_deref() == Some("f32");
    let rise = if is_f32 { rise::<f32> } else { rise::<bf16> };
    let Some(bytes) = rise(shape, what.as_deref() == Some("trained")) else {
        return ExitCode::FAILURE;
    };
    println!("{bytes}");
    ExitCode::SUCCESS
}

/// Asks a child.
pub fn ask((rows, size, vocab): (usize, usize, usize), kind: &str, what: &str) -> Result<f64> {
    let output = Command::new(std::env::current_exe()?)
        .args(["memory", kind, what])
        .args([rows, size, vocab].map(|n| n.to_string()))
        .output()?;
    let bytes = String::from_utf8_lossy(&output.stdout).trim().parse();
    bytes.map_err(|_| Error::other(format!("the child ended with {}", output.status)))
}
