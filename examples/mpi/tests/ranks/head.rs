//! The head alone, on drawn states: vocabularies that do not divide, shards without columns, shards
//! without any target, rows without weight.

use dpo_kernel::Dispatch;
use dpo_kernel_mpi::comm::{Comms, Load};
use dpo_kernel_mpi::finetune::linear::{Adapter, RANK};
use dpo_kernel_mpi::finetune::random::Random;
use dpo_kernel_mpi::grid::part;
use dpo_kernel_mpi::head::HeadShard;
use dpo_kernel_mpi::shards::columns;

use crate::launch::{bytes, grid, numbers, ranks};

/// Numbers of a state.
const WIDTH: usize = 16;

struct Case {
    vocab: usize,
    unit: usize,
    rows: usize,
    /// Targets are below it: shards behind have none.
    targets: usize,
    adapter: Adapter,
}

const CASES: [Case; 5] = [
    Case { vocab: 256, unit: 32, rows: 40, targets: 256, adapter: Adapter::Off },
    // The last unit has 8 columns.
    Case { vocab: 200, unit: 32, rows: 33, targets: 200, adapter: Adapter::On },
    // Odd, and all targets in the first unit.
    Case { vocab: 1003, unit: 64, rows: 17, targets: 64, adapter: Adapter::On },
    // Two units: five of seven shards have no columns.
    Case { vocab: 40, unit: 32, rows: 9, targets: 40, adapter: Adapter::Off },
    // Fewer rows than ranks.
    Case { vocab: 300, unit: 32, rows: 3, targets: 300, adapter: Adapter::On },
];

struct Drawn {
    x: Vec<f32>,
    u: Vec<f32>,
    w: Vec<f32>,
    b: Vec<f32>,
    targets: Vec<u32>,
    coefficients: Vec<f64>,
}

fn draw(case: &Case) -> Drawn {
    let mut random = Random(case.vocab as u64);
    let mut many = |count: usize, size: f32| -> Vec<f32> {
        (0..count).map(|_| size * random.normal()).collect()
    };
    let x = many(case.rows * WIDTH, 1.0);
    let u = many(case.rows * RANK, 1.0);
    let (w, b) = (many(case.vocab * WIDTH, 0.3), many(case.vocab * RANK, 0.1));
    let targets = (0..case.rows).map(|_| (random.bits() % case.targets as u64) as u32).collect();
    // Of many sizes, both signs, and 0.
    let coefficient = |row: usize| [0.0, -0.5, 1e-6, -300.0, 0.01][row % 5] * (row + 1) as f64;
    let coefficients = (0..case.rows).map(coefficient).collect();
    let u = if case.adapter == Adapter::On { u } else { Vec::new() };
    Drawn { x, u, w, b, targets, coefficients }
}

/// log p of all rows, gradients of all states, gradients of all of W or B.
pub(crate) fn rank(comms: &Comms, case: usize) -> Vec<u8> {
    let case = &CASES[case];
    let Drawn { x, u, w, b, targets, coefficients } = draw(case);
    let (shards, dispatch, comm) = (comms.vocab.size, Dispatch::detect(), &comms.vocab);
    let shape = (case.vocab, case.unit, WIDTH);
    let head = HeadShard::new(shape, (shards, comm.rank), &w, &b).expect("a shard");
    let input = (x.as_slice(), u.as_slice());
    let mut pass = head.score(comm, dispatch, case.adapter, input, &targets).expect("log-probs");
    let blocks: Vec<_> = (0..shards).map(|shard| part(case.rows, shards, shard)).collect();
    let of_rows = (targets.as_slice(), coefficients.as_slice());
    let d = head.backward(comm, dispatch, &mut pass, of_rows, &blocks).expect("gradients");
    let stride = head.stride(case.adapter);
    let counts: Vec<usize> = blocks.iter().map(|rows| rows.len() * stride).collect();
    let d = comm.gather(Load::Rest, &d, &counts).expect("all gradients");
    let own = head.weight_grads(&pass, input, &(0..case.rows));
    let width = if case.adapter == Adapter::On { RANK } else { WIDTH };
    let of = |shard| columns(case.vocab, case.unit, shards, shard).len() * width;
    let counts: Vec<usize> = (0..shards).map(of).collect();
    let weights = comm.gather(Load::Rest, &own, &counts).expect("all gradients of weights");
    bytes(&[pass.log_probs.as_slice(), &d, &weights].concat())
}

pub(crate) fn any_shards() {
    for case in 0..CASES.len() {
        let name = format!("head:{case}");
        let one = ranks(&name, grid("1x1")).remove(0);
        for shards in ["2x1", "3x1", "7x1"] {
            for (rank, found) in ranks(&name, grid(shards)).into_iter().enumerate() {
                assert!(found == one, "{name} on {shards}: rank {rank} has other bits than 1x1");
            }
        }
    }
}

/// One process against the same in f64, by loops.
pub(crate) fn against_f64() {
    for (number, case) in CASES.iter().enumerate() {
        let found = numbers(&ranks(&format!("head:{number}"), grid("1x1")).remove(0));
        let expected = oracle(case);
        assert_eq!(found.len(), expected.len(), "case {number}");
        for (place, (found, (expected, size))) in found.iter().zip(expected).enumerate() {
            let error = (f64::from(*found) - expected).abs();
            assert!(error <= size * BOUND, "case {number}, {place}: {found} and {expected}");
        }
    }
}

/// Of the sum of sizes that a result is made of: roundings of products over WIDTH + RANK numbers in
/// f32 move a logit, whose error moves its probability by as much; then the products over rows or
/// columns. The worst found is 6.4e-7.
const BOUND: f64 = 16.0 / 16_777_216.0;

/// Each result with the size of what it is summed of.
fn oracle(case: &Case) -> Vec<(f64, f64)> {
    let Drawn { x, u, w, b, targets, coefficients } = draw(case);
    let stride = WIDTH + if case.adapter == Adapter::On { RANK } else { 0 };
    let get = |of: &[f32], width: usize, row: usize, k: usize| f64::from(of[row * width + k]);
    let input =
        |row, k| if k < WIDTH { get(&x, WIDTH, row, k) } else { get(&u, RANK, row, k - WIDTH) };
    let matrix = |j, k| if k < WIDTH { get(&w, WIDTH, j, k) } else { get(&b, RANK, j, k - WIDTH) };
    let (mut log_probs, mut d) = (Vec::new(), vec![(0.0, 0.0); case.rows * stride]);
    let trained = if case.adapter == Adapter::On { WIDTH..stride } else { 0..WIDTH };
    let mut weights = vec![(0.0, 0.0); case.vocab * trained.len()];
    for row in 0..case.rows {
        let y: Vec<f64> = (0..case.vocab)
            .map(|j| (0..stride).map(|k| input(row, k) * matrix(j, k)).sum())
            .collect();
        let top = y.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let z: f64 = y.iter().map(|y| (y - top).exp()).sum();
        let target = targets[row] as usize;
        let log_prob = y[target] - top - z.ln();
        log_probs.push((log_prob, 1.0 + log_prob.abs()));
        for j in 0..case.vocab {
            let p = (y[j] - top).exp() / z;
            let is_target = f64::from(u8::from(j == target));
            let c = coefficients[row];
            let (g, size) = (c * (is_target - p), c.abs() * (is_target + p));
            for k in 0..stride {
                let to = &mut d[row * stride + k];
                to.0 += g * matrix(j, k);
                to.1 += size * matrix(j, k).abs();
            }
            for k in trained.clone() {
                let to = &mut weights[j * trained.len() + k - trained.start];
                to.0 += g * input(row, k);
                to.1 += size * input(row, k).abs();
            }
        }
    }
    [log_probs, d, weights].concat()
}
