#!/bin/sh
# candle 0.11.1 on a CPU: losses, sums and factors of tensors in bf16 and f16, and a loss times 0.
#
# A loss of 16-bit logits is thought to be summed in f32 and rounded at the end, a number that multiplies a 16-bit tensor
# to be taken as it is, and a term of weight 0 to give gradients of zeros, as in PyTorch.
#
# Seen (x86-64, Rust 1.95):
#   1. log_softmax of 32,000 equal logits: -5.53 in bf16, -7.63 in f16; ln(1/32,000) is -10.37. A row is summed in its own
#      type, where 256 + 1 is 256 (2,048 + 1 is 2,048 in f16).
#   2. cross_entropy of the same in bf16: the gradient is -2 on the target and -0.996 on each of the 31,999 other
#      columns, where it is -1 and +0.00003. A step of descent raises all logits that it should lower.
#   3. mean_all of 4,096 ones in bf16: 0.0625.
#   4. a tensor of f16 times a number: the number is rounded to f16 first. 1,000 times 1e-6 is 1.3 % off (0.001013), and
#      1,000 times 2e-8 is 0, though 2e-5 is a number of f16.
#   5. (x.sum() * 0.0).backward() has no gradient for x: `get` gives None, not zeros.
# Here rows are summed in f32 and f64 and gradients rounded once; adapters/candle multiplies kept gradients in f32.
#
# Needs cargo, and network for the first run, which builds for some minutes. Leaves nothing behind.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
mkdir src
cat > Cargo.toml <<'TOML'
[package]
name = "candle-half"
version = "0.0.0"
edition = "2021"
[dependencies]
candle-core = { version = "=0.11.1", default-features = false }
candle-nn = { version = "=0.11.1", default-features = false }
[workspace]
TOML
cat > src/main.rs <<'RUST'
use candle_core::{DType, Device, Result, Tensor, Var, D};

fn f32s(x: &Tensor) -> Result<Vec<f32>> {
    x.to_dtype(DType::F32)?.flatten_all()?.to_vec1()
}

fn main() -> Result<()> {
    let on = Device::Cpu;
    for dtype in [DType::BF16, DType::F16] {
        let logits = Var::zeros((1, 32_000), dtype, &on)?;
        let log_p = f32s(&candle_nn::ops::log_softmax(&logits, D::Minus1)?)?[0];
        let loss = candle_nn::loss::cross_entropy(&logits, &Tensor::new(&[3_u32], &on)?)?;
        let grads = f32s(loss.backward()?.get(&logits).expect("a gradient"))?;
        println!("{dtype:?}: log p {log_p:.5}, gradient {:.4} and {:.4}", grads[3], grads[4]);
    }
    let ones = Tensor::ones(4096, DType::BF16, &on)?;
    println!("mean of ones in bf16: {}", f32s(&ones.mean_all()?)?[0]);
    let x = Tensor::new(&[1000_f32], &on)?.to_dtype(DType::F16)?;
    println!("f16, 1000 times 1e-6: {:.6}, times 2e-8: {}", f32s(&(&x * 1e-6)?)?[0], f32s(&(&x * 2e-8)?)?[0]);
    let x = Var::new(&[1_f32, 2.0], &on)?;
    let grads = (x.sum_all()? * 0.0)?.backward()?;
    println!("times 0, a gradient: {}", grads.get(&x).is_some());
    Ok(())
}
RUST
cargo run --quiet --release > out
cat out
cat > expected <<'OUT'
BF16: log p -5.53125, gradient -2.0000 and -0.9961
F16: log p -7.62500, gradient -2.0000 and -0.9995
mean of ones in bf16: 0.0625
f16, 1000 times 1e-6: 0.001013, times 2e-8: 0
times 0, a gradient: false
OUT
cmp -s out expected || { echo "candle no longer does what this says" >&2; exit 1; }
