// Logits that a host wants in memory: hidden R x H by weight V x H. An invocation is four rows of a column.

@group(0) @binding(1) var<storage, read_write> logits: array<f32>;

@compute @workgroup_size(64)
fn logits_of_head(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) i: u32) {
    let column = group.x * 64u + i;
    if column >= params.vocab {
        return;
    }
    let first = group.y * 4u;
    let rows = min(vec4<u32>(first, first + 1u, first + 2u, first + 3u), vec4<u32>(params.rows - 1u));
    var logit = vec4<f32>(0.0);
    for (var begin = 0u; begin < params.hidden_size; begin += CHAIN) {
        var sum = vec4<f32>(0.0);
        for (var k = begin; k < min(params.hidden_size, begin + CHAIN); k++) {
            let states =
                vec4<f32>(hidden_at(rows.x, k), hidden_at(rows.y, k), hidden_at(rows.z, k), hidden_at(rows.w, k));
            sum = own_4(own_4(states * weight_at(column, k)) + sum);
        }
        logit = own_4(logit + sum);
    }
    for (var r = 0u; r < 4u && first + r < params.rows; r++) {
        logits[params.out_start + (first + r) * params.out_stride + column] = biased(logit[r], column);
    }
}
