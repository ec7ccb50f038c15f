#!/bin/sh
# The crate gemm 0.19.0: what a row of a product is depends on how many rows are asked for with it.
#
# A product of matrices is thought to give each row its own sums, so that a batch of one is a row of a larger batch;
# and f16 operands are thought to be summed in f32, as on every accelerator.
#
# Seen (x86-64 with AVX2 or AVX-512, Rust 1.95):
#   1. f16, one row of 4,096 ones by 4,096 x 2 ones: 2048, not 4096. The sums are kept in f16, where 2048 + 1 is 2048.
#   2. f16, two such rows: 4096. Other code runs, which adds in f32.
#   3. f32, a row alone has other bits than the same row in a batch of 8.
# A head whose log-probs come from it gives a policy and a reference other bits, for equal weights, where their batches
# differ in rows: a DPO step 0 is then not ln 2. Here 16-bit operands are widened first, and each sum is one chain of
# additions in a fixed order.
#
# Needs cargo, and network for the first run. Leaves nothing behind.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
mkdir src
cat > Cargo.toml <<'TOML'
[package]
name = "gemm-rows"
version = "0.0.0"
edition = "2021"
[dependencies]
gemm = { version = "=0.19.0", features = ["f16"] }
[workspace]
TOML
cat > src/main.rs <<'RUST'
use gemm::{f16, gemm, Parallelism};

/// m rows of k by k columns of n, all row-major.
fn product<T: Copy + 'static>(m: usize, k: usize, n: usize, a: &[T], b: &[T], zero: T, one: T) -> Vec<T> {
    let mut c = vec![zero; m * n];
    let (k_, n_) = (k as isize, n as isize);
    // Strides are of columns, then of rows.
    unsafe {
        gemm(m, n, k, c.as_mut_ptr(), 1, n_, false, a.as_ptr(), 1, k_, b.as_ptr(), 1, n_, zero, one,
             false, false, false, Parallelism::None);
    }
    c
}

fn main() {
    let (zero, one) = (f16::from_f32(0.0), f16::from_f32(1.0));
    let ones = vec![one; 2 * 4096];
    println!("f16, one row: {}", product(1, 4096, 2, &ones[..4096], &ones, zero, one)[0]);
    println!("f16, two rows: {}", product(2, 4096, 2, &ones, &ones, zero, one)[0]);
    let number = |i: usize| ((i * 2654435761 % 65536) as f32 / 32768.0) - 1.0;
    let (m, k, n) = (8, 576, 32);
    let a: Vec<f32> = (0..m * k).map(number).collect();
    let b: Vec<f32> = (0..k * n).map(|i| number(i + 7919)).collect();
    let all = product(m, k, n, &a, &b, 0.0, 1.0);
    let differ = (0..m).any(|i| product(1, k, n, &a[i * k..(i + 1) * k], &b, 0.0, 1.0)[..] != all[i * n..(i + 1) * n]);
    println!("f32, a row alone has the bits of the batch: {}", !differ);
}
RUST
cargo run --quiet --release > out
cat out
cat > expected <<'OUT'
f16, one row: 2048
f16, two rows: 4096
f32, a row alone has the bits of the batch: false
OUT
cmp -s out expected || { echo "gemm no longer does what this says" >&2; exit 1; }
