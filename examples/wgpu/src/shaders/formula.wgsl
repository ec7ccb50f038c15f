// exp and ln(1 + q) in f64, as lists of steps: an operation that is written out takes some sixty instructions.
//
// The steps, their order and the constants are those of the library's own functions, so the bits are, too.
//     exp(x)     n = round(x / ln 2), r = x - n ln 2, Taylor to r^13        found within 2.3e-16 relative
//     ln(1 + q)  u = 1 + q = 2^k (1 + f), s = f / (2 + f), series to s^21   found within 2.3e-16 relative, q >= 0

struct Formulas {
    // Four bits of operation, register, and both operands, from 16 on a constant: exp's, then those of ln(1 + q).
    steps: array<vec4<u32>, 76>,
    constants: array<vec4<u32>, 16>,
}

@group(0) @binding(9) var<uniform> formulas: Formulas;

const EXP_STEPS: u32 = 34u;
const ALL_STEPS: u32 = 74u;

var<private> registers: array<vec2<u32>, 11>;

fn operand(index: u32, is_log: bool) -> vec2<u32> {
    if index < 16u {
        return registers[index];
    }
    let pair = formulas.constants[index - 16u];
    return select(pair.xy, pair.zw, is_log);
}

fn run(first: u32, end: u32, is_log: bool) {
    for (var i = first; i < end; i++) {
        let step = formulas.steps[i];
        let a = operand(step.z, is_log);
        var b = operand(step.w, is_log);
        var found = vec2<u32>(0u, 0u);
        if step.x < 2u {
            if step.x == 1u {
                b = negated(b);
            }
            found = add(a, b);
        } else if step.x == 2u {
            found = mul(a, b);
        } else {
            found = div(a, b);
        }
        registers[step.y] = found;
    }
}

// e^x, for |x| <= 700.
fn exp_double(x: vec2<u32>) -> vec2<u32> {
    registers[0] = x;
    run(0u, EXP_STEPS, false);
    let scale = vec2<u32>(0u, (registers[1].x + 1023u) << 20u);
    return add(scale, mul(scale, registers[5]));
}

// ln(1 + q), for q >= 0.
fn ln_1p_double(q: vec2<u32>) -> vec2<u32> {
    let u = add(ONE, q);
    let is_large = wide_less(ONE, q);
    // By which sqrt(1/2), the least mantissa, is below 1 in bits.
    let least = formulas.steps[ALL_STEPS].xy;
    let moved = wide_add(u, wide_sub(ONE, least));
    registers[0] = u;
    registers[1] = select(ONE, q, is_large);
    registers[2] = select(q, ONE, is_large);
    registers[3] = vec2<u32>(moved.y >> 20u, 1075u << 20u);
    registers[4] = wide_add(vec2<u32>(moved.x, moved.y & 0xfffffu), least);
    run(EXP_STEPS, ALL_STEPS, true);
    return registers[8];
}

// ln x, for x in [1/2, 2^1000].
fn ln_double(x: vec2<u32>) -> vec2<u32> {
    if wide_less(x, ONE) {
        let twice = scaled(x, 1);
        return sub(ln_1p_double(sub(twice, ONE)), formulas.steps[ALL_STEPS].zw);
    }
    return ln_1p_double(sub(x, ONE));
}
