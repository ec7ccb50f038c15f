// The exponential of all kernels, e^(k d) / 2^N as a power of two times 1 + w, and tanh.
//
//     n = round(k d / ln 2),  f = k (d - n ln2/k),  e^(k d) / 2^N = 2^(n - N) (1 + w),  w = e^f - 1 = f + f^2 q(f)
//
// As in the library's portable arithmetic, bit for bit: its `src/simd/exp.rs` explains every step. Here each product is
// made by `own` before it is added, and no argument is infinite.

// 1.5 * 2^23 + 127: adding it leaves the nearest integer in the low bits, which are then an exponent field.
const MAGIC: i32 = 12583039;

struct Base {
    // Sums are relative to e^(k shift) 2^exponent, of which one is 1.
    shift: f32,
    exponent: i32,
    magic: f32,
    // d at and below which terms are 0, and above which they are too large for the base.
    floor: f32,
    roof: f32,
}

struct Split {
    t: f32,
    f: f32,
}

fn split_by(d: f32, log2e: f32, magic: f32, high: f32, low: f32, factor: f32) -> Split {
    let t = own(own(d * log2e) + magic);
    let n = own(t - magic);
    var f = own(d - own(n * high));
    f = own(f - own(n * low));
    return Split(t, own(f * factor));
}

fn split(base: Base, d: f32) -> Split {
    return split_by(d, params.log2e, base.magic, params.ln2_high, params.ln2_low, params.factor);
}

// 2^(n - N) of the t of `split`.
fn power(t: f32) -> f32 {
    return bitcast<f32>(bitcast<u32>(t) << 23u);
}

fn q_of(i: u32) -> u32 {
    // 0.49999994, 0.1666652, 0.0416684, 0.0083689, 0.00138142
    let table = array<u32, 5>(0x3efffffeu, 0x3e2aaa48u, 0x3d2aac7cu, 0x3c091db6u, 0x3ab510d5u);
    return table[i];
}

// e^f - 1
fn w_of(f: f32) -> f32 {
    let q0 = bitcast<f32>(0x3efffffeu);
    let q1 = bitcast<f32>(0x3e2aaa48u);
    let q2 = bitcast<f32>(0x3d2aac7cu);
    let q3 = bitcast<f32>(0x3c091db6u);
    let q4 = bitcast<f32>(0x3ab510d5u);
    let f2 = own(f * f);
    let low = own(mul_add(q1, f, q0));
    let high = own(mul_add(f2, q4, own(mul_add(q3, f, q2))));
    return own(mul_add(f2, own(mul_add(high, f2, low)), f));
}

// d = v - shift between floor and roof. -inf is the floor: it never enters arithmetic. Halves cannot overflow.
fn distance(base: Base, bits: u32) -> f32 {
    if bits == NEG_INFINITY || is_bad(bits) {
        return base.floor;
    }
    let v = bitcast<f32>(bits);
    let half = 0.5 * v - 0.5 * base.shift;
    if half < -1e36 {
        return base.floor;
    }
    if half > 1e36 {
        return base.roof;
    }
    return clamp(own(v - base.shift), base.floor, base.roof);
}

// a / b rounded to nearest, of positive normal numbers whose quotient is one, or a = 0. WGSL allows its own 2.5 ulp:
// the rest of the division in integers says which neighbour is nearest.
fn quotient(a: f32, b: f32) -> f32 {
    let a_bits = bitcast<u32>(a);
    let b_bits = bitcast<u32>(b);
    if a_bits == 0u {
        return 0.0;
    }
    let p = (a_bits & 0x7fffffu) | 0x800000u;
    let q = (b_bits & 0x7fffffu) | 0x800000u;
    let is_below = p < q;
    let up = select(23u, 24u, is_below);
    let exponent = i32(a_bits >> 23u) - i32(b_bits >> 23u) + select(127, 126, is_below);
    var m = u32(f32(p) / f32(q) * f32(1u << up));
    // Less than 2^28 in size, so its low 32 bits are all of it.
    var rest = bitcast<i32>((p << up) - m * q);
    for (var i = 0; i < 8; i++) {
        if rest < 0 {
            m -= 1u;
            rest += i32(q);
        } else if rest >= i32(q) {
            m += 1u;
            rest -= i32(q);
        }
    }
    if 2 * rest > i32(q) || (2 * rest == i32(q) && (m & 1u) == 1u) {
        m += 1u;
    }
    return bitcast<f32>((u32(exponent - 1) << 23u) + m);
}

// e^(-2a), a >= 0
fn exp_of_minus_twice(a: f32) -> f32 {
    let d = max(a * -2.0, params.unit_floor);
    let parts = split_by(d, params.unit_log2e, f32(MAGIC), params.unit_ln2_high, params.unit_ln2_low, 1.0);
    let scale = power(parts.t);
    return own(mul_add(w_of(parts.f), scale, scale));
}

fn tanh_of(u: f32) -> f32 {
    let a = abs(u);
    if a < bitcast<f32>(0x3f0ccccdu) {
        let p0 = bitcast<f32>(0xbeaaaaa4u);
        let p1 = bitcast<f32>(0x3e08864cu);
        let p2 = bitcast<f32>(0xbd5c87e0u);
        let p3 = bitcast<f32>(0x3cac334du);
        let p4 = bitcast<f32>(0xbbcb1eb1u);
        let u2 = own(u * u);
        var p = own(mul_add(p4, u2, p3));
        p = own(mul_add(p, u2, p2));
        p = own(mul_add(p, u2, p1));
        p = own(mul_add(p, u2, p0));
        return own(mul_add(own(u * u2), p, u));
    }
    let e = exp_of_minus_twice(a);
    let large = quotient(own(1.0 - e), own(1.0 + e));
    return select(large, -large, u < 0.0);
}

// 1 - tanh^2 u = 4 e / (1 + e)^2
fn tanh_slope(u: f32) -> f32 {
    let e = exp_of_minus_twice(abs(u));
    let d = own(1.0 + e);
    return quotient(4.0 * e, own(d * d));
}

// inner x, where it is beyond all doubt no smaller than where tanh is 1.
fn inner_of(bits: u32) -> f32 {
    return own(clamp(bitcast<f32>(bits), -params.limit, params.limit) * params.inner);
}

// From an element to the value of which the logit is a multiple, by bits; infinities and NaN stay what they are.
fn value_of(bits: u32) -> u32 {
    if (params.flags & SOFTCAP) == 0u || (bits & 0x7f800000u) == 0x7f800000u {
        return bits;
    }
    return bitcast<u32>(tanh_of(inner_of(bits)));
}
