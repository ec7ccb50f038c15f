// Logits that stay as they are.

@group(0) @binding(3) var<storage, read> logits: array<u32>;

fn logit_at(row: u32, column: u32) -> u32 {
    let element = params.start + row * params.stride + column;
    return decoded(logits[element / HALVES], element);
}
