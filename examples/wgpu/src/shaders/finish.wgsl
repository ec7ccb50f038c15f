// Stage 2: from a row's state to its target's log-prob, log Z, and the norm that the backward needs. An invocation a
// row, all of it in f64.
//
//     log p = -ln(1 + q),  q = sum over the other columns / the target's term,  1 - p = q / (1 + q)
//
// 1 - p is a quotient and never a difference: a confident token keeps its digits.

struct Norm {
    shift: u32,
    exponent: i32,
    // base / Z in [1/2, 1] and 1 - p of the target, as bits of f32; NaN of a row without a finite log Z.
    inverse: u32,
    complement: u32,
}

@group(0) @binding(1) var<storage, read> states: array<RowState>;
@group(0) @binding(2) var<storage, read_write> log_probs: array<u32>;
@group(0) @binding(3) var<storage, read_write> log_zs: array<u32>;
@group(0) @binding(4) var<storage, read_write> norms: array<Norm>;

// |y - ln base| from which on one of target and others vanishes beside the other: 600.
const FAR: vec2<u32> = vec2<u32>(0u, 0x4082c000u);

fn value_at(row: u32, column: u32) -> u32 {
    return NEG_INFINITY;
}

// The largest power of two that is a base.
const MAX_EXPONENT: i32 = 1900;

// The base that the target alone has: the power of two near e^(k v), or where that is too large v itself.
fn base_at(bits: u32) -> vec2<u32> {
    let v = of_f32(bits);
    let sum = add(mul(mul(v, params.factor_double), params.log2e_double), ROUND);
    let n = wide_sub(sum, ROUND);
    let exponent = bitcast<i32>(n.x);
    if n.y == select(0u, 0xffffffffu, exponent < 0) && abs(exponent) <= MAX_EXPONENT {
        return vec2<u32>(0u, n.x);
    }
    return vec2<u32>(bits, 0u);
}

fn distance_of(value: u32, base: vec2<u32>) -> vec2<u32> {
    let v = sub(of_f32(value), of_f32(base.x));
    let ln = mul(of_integer(bitcast<i32>(base.y)), params.plain_ln2_double);
    return sub(mul(params.factor_double, v), ln);
}

fn ln_of_base(base: vec2<u32>) -> vec2<u32> {
    let ln = mul(of_integer(bitcast<i32>(base.y)), params.plain_ln2_double);
    return add(mul(params.factor_double, of_f32(base.x)), ln);
}

@compute @workgroup_size(64)
fn finish(@builtin(global_invocation_id) id: vec3<u32>) {
    if id.x >= params.rows {
        return;
    }
    let row = params.first_row + id.x;
    let known = states[row];
    if known.kind == UNSCORED {
        return;
    }
    let is_masked = known.target_value == NEG_INFINITY;
    if known.kind == BROKEN || (known.kind == BASELESS && is_masked) {
        log_probs[row] = NAN;
        log_zs[row] = NAN;
        norms[row] = Norm(NAN, 0, NAN, NAN);
        return;
    }
    var base = base_of_sum(known);
    var others = sum_of(known);
    var is_far = is_masked;
    var away = vec2<u32>(0u, 0u);
    if !is_masked {
        away = distance_of(known.target_value, base);
        let is_beyond = wide_less(FAR, vec2<u32>(away.x, away.y & 0x7fffffffu));
        is_far = is_beyond && (away.y & SIGN) != 0u;
        if known.kind == BASELESS || (is_beyond && !is_far) {
            // The other columns vanish by the base that the target alone has.
            base = base_at(known.target_value);
            others = vec2<u32>(0u, 0u);
            away = distance_of(known.target_value, base);
            is_far = false;
        }
    }
    var sum = others;
    var complement = 0x3f800000u;
    var log_prob = NEG_INFINITY;
    if is_far {
        if !is_masked {
            log_prob = to_f32(sub(away, ln_double(others)));
        }
    } else {
        let term = exp_double(away);
        let q = div(others, term);
        sum = add(others, term);
        log_prob = to_f32(negated(ln_1p_double(q)));
        complement = to_f32(div(q, add(ONE, q)));
    }
    if log_prob == SIGN {
        log_prob = 0u;
    }
    log_probs[row] = log_prob;
    log_zs[row] = to_f32(add(ln_of_base(base), ln_double(sum)));
    // sum = mantissa * 2^power, mantissa in [1, 2).
    let power = exponent_of(sum) - 1023;
    let mantissa = vec2<u32>(sum.x, (sum.y & 0xfffffu) | ONE.y);
    let inverse = to_f32(div(ONE, mantissa));
    norms[row] = Norm(base.x, bitcast<i32>(base.y) + power, inverse, complement);
}
