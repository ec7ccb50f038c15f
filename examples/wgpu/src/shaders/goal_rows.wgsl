// The target's logit, from memory.

@group(0) @binding(5) var<storage, read> logits: array<u32>;

fn goal_element(row: u32, goal: u32) -> u32 {
    let element = params.start + row * params.stride + goal;
    return decoded(logits[element / HALVES], element);
}
