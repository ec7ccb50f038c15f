#!/bin/sh
# candle-core 0.11.1: gradients that Tensor::backward() makes of tensors that nobody trains.
#
# A tensor that is no Var is not tracked (track_op() is false), so a frozen layer among trained ones is thought to cost
# its input's gradient alone, as in PyTorch, where requires_grad says so. The walk over the graph does leave out branches
# without a Var. But an operation of two tensors, of which one leads to a Var, has the gradients of both made and stored:
# of a product with frozen weights also the product for the weights, as large as them. A model with LoRA then takes
# three products a layer where two would do, and memory for gradients of every weight.
#
# Seen (states + trained bias, product with the transpose of frozen weights, sum, backward):
#   tracked: states no, frozen weights no, bias yes
#   gradients in the store: of the bias, of the states, of the transposed weights
# Here a frozen linear layer is an operation of its own, whose backward has one product (examples/smollm2).
#
# Needs cargo and, for the first run, network. Leaves nothing behind.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
mkdir src
cat > Cargo.toml <<'TOML'
[package]
name = "seen"
version = "0.0.0"
edition = "2024"
[workspace]
[dependencies]
candle-core = "=0.11.1"
TOML
cat > src/main.rs <<'RUST'
use candle_core::{DType, Device, Result, Tensor, Var};

fn main() -> Result<()> {
    let device = Device::Cpu;
    let states = Tensor::ones((3, 4), DType::F32, &device)?;
    let bias = Var::zeros(4, DType::F32, &device)?;
    let weights = Tensor::ones((5, 4), DType::F32, &device)?.t()?;
    let out = states.broadcast_add(bias.as_tensor())?.matmul(&weights)?;
    let grads = out.sum_all()?.backward()?;
    for (name, of) in [("bias", bias.as_tensor()), ("states", &states), ("weights", &weights)] {
        let sum = grads.get(of).map(|grad| grad.sum_all()?.to_scalar::<f32>()).transpose()?;
        println!("{name}: tracked {}, sum of the gradient {sum:?}", of.track_op());
    }
    Ok(())
}
RUST
cargo run --quiet > out
cat out
cat > expected <<'OUT'
bias: tracked true, sum of the gradient Some(60.0)
states: tracked false, sum of the gradient Some(60.0)
weights: tracked false, sum of the gradient Some(60.0)
OUT
cmp out expected
