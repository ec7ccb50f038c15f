// A head's logits: hidden R x H by weight V x H, and a bias.
//
// A logit is a sum along H in chains of 256 terms, in their order; chains are added in theirs.

@group(0) @binding(10) var<storage, read> hidden: array<u32>;
@group(0) @binding(11) var<storage, read> weight: array<u32>;
@group(0) @binding(12) var<storage, read> bias: array<u32>;

const CHAIN: u32 = 256u;

fn hidden_at(row: u32, k: u32) -> f32 {
    let element = params.start + row * params.stride + k;
    return bitcast<f32>(decoded(hidden[element / HALVES], element));
}

fn weight_at(column: u32, k: u32) -> f32 {
    let element = column * params.hidden_size + k;
    return bitcast<f32>(decoded(weight[element / HALVES], element));
}

// A bias of -inf masks its column: it does not enter arithmetic.
fn biased(logit: f32, column: u32) -> f32 {
    if (params.flags & BIAS) == 0u {
        return logit;
    }
    let bits = bias[column];
    if bits == NEG_INFINITY {
        return bitcast<f32>(bits);
    }
    return own(logit + bitcast<f32>(bits));
}

fn logit_of(row: u32, column: u32) -> f32 {
    var logit = 0.0;
    for (var begin = 0u; begin < params.hidden_size; begin += CHAIN) {
        var sum = 0.0;
        for (var k = begin; k < min(params.hidden_size, begin + CHAIN); k++) {
            sum = own(mul_add(hidden_at(row, k), weight_at(column, k), sum));
        }
        logit = own(logit + sum);
    }
    return biased(logit, column);
}
