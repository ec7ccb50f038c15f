// What every shader is told, and f32 arithmetic that the compiler cannot change.

struct Params {
    // Of this dispatch.
    rows: u32,
    vocab: u32,
    stride: u32,
    // The first row's first element, in the bound part of the buffer.
    start: u32,
    // The first row's place among targets and results.
    first_row: u32,
    ignore_index: u32,
    // 1: under a softcap. 2: with a bias. 8: of a head.
    flags: u32,
    // 0, which the compiler does not know.
    zero: u32,
    // y = k v, v = tanh(inner x) or x: ln 2 / k in two words, log2(e) k, k.
    log2e: f32,
    ln2_high: f32,
    ln2_low: f32,
    factor: f32,
    inner: f32,
    // |x| from which on tanh(inner x) is 1.
    limit: f32,
    // The same words for k = 1, and the distance at which e^d counts as 0.
    unit_log2e: f32,
    unit_ln2_high: f32,
    unit_ln2_low: f32,
    unit_floor: f32,
    // Of a head.
    hidden_size: u32,
    // As the first row's first element, of the gradients.
    out_start: u32,
    out_stride: u32,
    // Of a step of gradient descent.
    rate: f32,
    // f64: k, ln 2 / k, dy/dx at 0, log2(e), ln 2.
    factor_double: vec2<u32>,
    ln2_double: vec2<u32>,
    slope_double: vec2<u32>,
    log2e_double: vec2<u32>,
    plain_ln2_double: vec2<u32>,
}

@group(0) @binding(0) var<uniform> params: Params;

const SOFTCAP: u32 = 1u;
const BIAS: u32 = 2u;

const NEG_INFINITY: u32 = 0xff800000u;
const NAN: u32 = 0x7fc00000u;

// x itself. Its bits go through an exclusive or with a 0 that is only known when the shader runs: what is computed here
// is rounded here, and neither fused with what follows nor reordered.
fn own(x: f32) -> f32 {
    return bitcast<f32>(bitcast<u32>(x) ^ params.zero);
}

fn own_4(x: vec4<f32>) -> vec4<f32> {
    return bitcast<vec4<f32>>(bitcast<vec4<u32>>(x) ^ vec4<u32>(params.zero));
}

// a * b + c, rounded twice.
fn mul_add(a: f32, b: f32, c: f32) -> f32 {
    return own(a * b) + c;
}

// NaN and +inf, by their bits: a comparison may be compiled as if there were none.
fn is_bad(bits: u32) -> bool {
    return (bits & 0x7fffffffu) >= 0x7f800000u && bits != NEG_INFINITY;
}
