// A step of gradient descent of a head: W <- W - rate * sum over rows of the logit gradient times the hidden state.
//
// Along the scored rows in chains of 128, chain after chain. An invocation is four columns' weights at one k.

@group(0) @binding(1) var<storage, read> targets: array<u32>;
@group(0) @binding(2) var<storage, read> grads: array<f32>;
@group(0) @binding(3) var<storage, read> hidden: array<f32>;
@group(0) @binding(4) var<storage, read_write> weight: array<f32>;

const TOKENS: u32 = 128u;

@compute @workgroup_size(64)
fn weight_step(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) i: u32) {
    let k = group.x * 64u + i;
    if k >= params.hidden_size {
        return;
    }
    let first = group.y * 4u;
    let columns = min(vec4<u32>(first, first + 1u, first + 2u, first + 3u), vec4<u32>(params.vocab - 1u));
    var total = vec4<f32>(0.0);
    var sum = vec4<f32>(0.0);
    var count = 0u;
    for (var row = 0u; row < params.rows; row++) {
        if targets[row] != params.ignore_index {
            if count == TOKENS {
                total = own_4(total + sum);
                sum = vec4<f32>(0.0);
                count = 0u;
            }
            let at = columns + row * params.out_stride;
            let d = vec4<f32>(grads[at.x], grads[at.y], grads[at.z], grads[at.w]);
            sum = own_4(own_4(d * hidden[row * params.stride + k]) + sum);
            count += 1u;
        }
    }
    total = own_4(total + sum);
    for (var r = 0u; r < 4u && first + r < params.vocab; r++) {
        let at = (first + r) * params.hidden_size + k;
        weight[at] = own(weight[at] - own(params.rate * total[r]));
    }
}
