// Logits that the gradients replace: an invocation reads a word before it writes it, and no other reads that half.

fn logit_at(row: u32, column: u32) -> u32 {
    let element = params.start + row * params.stride + column;
    return decoded(atomicLoad(&grads[element / HALVES]), element);
}
