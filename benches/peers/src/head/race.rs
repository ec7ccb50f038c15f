//! Everybody in turns on one size: weighed, checked, timed.

use std::io::Result;
use std::time::Duration;

use dpo_kernel::Element;
use dpo_kernel::head::Linear;

use crate::clock::Start;
use crate::python::{Peer, Setting};
use crate::step::Step;
use crate::work::{Found, Work, apart};
use crate::{bare, check, dispatch, memory};

/// Steps, as head.py calls them.
pub const STEPS: [&str; 2] = ["frozen", "trained"];

/// As head.py calls them.
const PEERS: [&str; 5] = ["trl", "torch", "torch128", "logits", "liger"];

/// What differences from ours a peer may have before it counts as doing other work: of the loss, and
/// of gradients relative to the largest of their row.
const TOLERANCE: (f64, f64) = (1e-3, 1e-2);

/// The same with 16 bits: PyTorch rounds sums of log-probs, some thousands, to bf16.
const TOLERANCE_16: (f64, f64) = (0.1, 0.25);

/// Figures of one, of each of the steps.
pub struct Row {
    pub name: String,
    /// Seconds.
    pub times: [Option<f64>; 2],
    /// Bytes beside inputs and gradients.
    pub memory: [Option<f64>; 2],
    /// Of gradients, from f64 (ours) or ours.
    pub error: f64,
}

pub struct Race {
    pub shape: (usize, usize, usize),
    pub kind: &'static str,
    pub rows: Vec<Row>,
    /// Two bare products: whose, and seconds.
    pub products: Vec<(String, f64)>,
}

impl Race {
    /// The two bare products of the fastest.
    pub fn product(&self) -> f64 {
        self.products.iter().map(|(_, time)| *time).fold(f64::INFINITY, f64::min)
    }
}

fn least(of: &mut Option<f64>, time: Duration) {
    *of = Some(of.unwrap_or(f64::INFINITY).min(time.as_secs_f64()));
}

/// The first of the steps, `steps` of them.
pub fn race<E: Element>(
    work: &Work<E>,
    kind: &'static str,
    setting: &Setting,
    rounds: usize,
    steps: usize,
) -> Result<Race> {
    let shape = (work.rows, work.size, work.vocab);
    let steps = &STEPS[..steps];
    let head = Linear::new(&work.weights, work.vocab, work.size).expect("the shapes are right");
    let mut step = Step::new(work, dispatch(), head);
    let mut weights = vec![E::ZERO; work.weights.len()];
    let rounding = if kind == "f32" { 0.0 } else { 1.0 / 256.0 };
    if steps.contains(&"trained") {
        let found = step.trained(&mut weights);
        work.check("dpo-kernel, trained", found);
        work.check_weights("dpo-kernel, trained", found, &weights, rounding);
    }
    let found = &step.frozen().clone();
    work.check("dpo-kernel, frozen", found);
    let (mut rows, mut peers) = (vec![ours(work, found, kind, steps)?], Vec::new());
    for key in PEERS {
        let peer = Peer::new(setting, key).and_then(|mut peer| {
            let row = checked(work, found, kind, steps, &mut peer)?;
            Ok((peer, row))
        });
        match peer {
            Ok((peer, row)) => {
                peers.push(peer);
                rows.push(row);
            }
            Err(error) => println!("{key} is not measured: {error}"),
        }
    }
    let mut bare = [
        ("gemm 0.19", bare::Bare::new(work, bare::by_gemm), None),
        ("matrixmultiply 0.3", bare::Bare::new(work, bare::by_matrixmultiply), None),
    ];
    for (name, bare, _) in &mut bare {
        bare.check(name);
    }
    let mut by_torch = None;
    // Short turns are disturbed easily.
    let rounds = if work.vocab * work.size < 1 << 20 { 40 * rounds } else { rounds };
    for _ in 0..rounds {
        for (what, best) in steps.iter().zip(&mut rows[0].times) {
            let start = Start::now();
            if *what == "trained" {
                step.trained(&mut weights);
            } else {
                step.frozen();
            }
            least(best, start.elapsed());
        }
        for (_, bare, best) in &mut bare {
            least(best, bare.run().iter().sum::<Duration>());
        }
        for (peer, row) in peers.iter_mut().zip(&mut rows[1..]) {
            for (what, best) in steps.iter().zip(&mut row.times) {
                // One that has stopped keeps the times that it had.
                if let Ok(time) = peer.turn(what) {
                    least(best, time);
                }
            }
        }
        if let Some(peer) = peers.first_mut() {
            least(&mut by_torch, peer.turn("products")?);
        }
    }
    let mut products: Vec<_> =
        bare.into_iter().filter_map(|(name, _, time)| Some((name.into(), time?))).collect();
    products.extend(by_torch.map(|time| ("PyTorch".into(), time)));
    Ok(Race { shape, kind, rows, products })
}

/// Bytes of the gradients of a step, of elements of so many bytes.
fn gradients<E>(work: &Work<E>, what: &str, of_hidden: usize) -> f64 {
    let of_weights = if what == "trained" { size_of_val(&work.weights[..]) } else { 0 };
    (work.rows * work.size * of_hidden + of_weights) as f64
}

/// Our row, weighed in another process. Our hidden gradients are f32.
fn ours<E: Element>(work: &Work<E>, found: &Found, kind: &str, steps: &[&str]) -> Result<Row> {
    let mut memory = [None; 2];
    for (what, memory) in steps.iter().zip(&mut memory) {
        let shape = (work.rows, work.size, work.vocab);
        *memory = Some(memory::ask(shape, kind, what)? - gradients(work, what, 4));
    }
    let (_, exact) = work.exact(0, found.coefficients[0]);
    let error = apart(&found.grads[..work.size], &exact);
    let name = format!("dpo-kernel, {:?}", dispatch().level());
    Ok(Row { name, times: [None; 2], memory, error })
}

/// A peer, weighed, whose results are near ours.
fn checked<E: Element>(
    work: &Work<E>,
    found: &Found,
    kind: &str,
    steps: &[&str],
    peer: &mut Peer<'_>,
) -> Result<Row> {
    let tolerance = if kind == "f32" { TOLERANCE } else { TOLERANCE_16 };
    let (mut worst, mut memory) = (0.0_f64, [None; 2]);
    for (what, memory) in steps.iter().zip(&mut memory) {
        *memory = Some(peer.memory(what)? - gradients(work, what, size_of::<E>()));
        peer.turn(what)?;
        let loss = peer.found("loss")?.first().map_or(f64::NAN, |&loss| f64::from(loss));
        let apart = (loss - check::loss(work, found)).abs();
        assert!(apart <= tolerance.0, "{}: the loss is off by {apart}", peer.name);
        worst = worst.max(check::hidden(work, found, &peer.found("hidden")?));
        if *what == "trained" {
            worst = worst.max(check::weights(work, found, &peer.found("weights")?));
        }
    }
    assert!(worst <= tolerance.1, "{}: gradients are off by {worst}", peer.name);
    Ok(Row { name: peer.name.clone(), times: [None; 2], memory, error: worst })
}
