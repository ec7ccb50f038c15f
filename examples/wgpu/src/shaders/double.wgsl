// f64 in integers: WGSL has no such type, and what it promises of f32 is too little for two-float sums.
//
// A number is vec2(low word, high word) of its IEEE-754 bits. Results are rounded to nearest, ties to even, as f64
// is everywhere. Integers have exact operations, so no compiler may change a bit of this. Left out: NaN and infinities,
// which never come here, and subnormal results, which become 0.

const SIGN: u32 = 0x80000000u;
const ONE: vec2<u32> = vec2<u32>(0u, 0x3ff00000u);
// 1.5 * 2^52: adding it leaves the nearest integer in the low word.
const ROUND: vec2<u32> = vec2<u32>(0u, 0x43380000u);

fn wide_product(a: u32, b: u32) -> vec2<u32> {
    let a0 = a & 0xffffu;
    let a1 = a >> 16u;
    let b0 = b & 0xffffu;
    let b1 = b >> 16u;
    let low = a0 * b0;
    let cross = a0 * b1;
    let other = a1 * b0;
    let middle = (low >> 16u) + (cross & 0xffffu) + (other & 0xffffu);
    let high = a1 * b1 + (cross >> 16u) + (other >> 16u) + (middle >> 16u);
    return vec2<u32>((low & 0xffffu) | (middle << 16u), high);
}

fn wide_add(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
    let low = a.x + b.x;
    return vec2<u32>(low, a.y + b.y + select(0u, 1u, low < a.x));
}

fn wide_sub(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
    return vec2<u32>(a.x - b.x, a.y - b.y - select(0u, 1u, a.x < b.x));
}

fn wide_negated(a: vec2<u32>) -> vec2<u32> {
    return wide_sub(vec2<u32>(0u, 0u), a);
}

// The low 64 bits of a product.
fn low_product(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
    let low = wide_product(a.x, b.x);
    return vec2<u32>(low.x, low.y + a.x * b.y + a.y * b.x);
}

fn wide_less(a: vec2<u32>, b: vec2<u32>) -> bool {
    return a.y < b.y || (a.y == b.y && a.x < b.x);
}

// Bits moved up, by less than 64.
fn wide_up(a: vec2<u32>, by: u32) -> vec2<u32> {
    if by >= 32u {
        return vec2<u32>(0u, a.x << (by - 32u));
    }
    if by == 0u {
        return a;
    }
    return vec2<u32>(a.x << by, (a.y << by) | (a.x >> (32u - by)));
}

// Bits moved down; whether a bit is lost stays in the lowest.
fn wide_down(a: vec2<u32>, by: u32) -> vec2<u32> {
    if by == 0u {
        return a;
    }
    if by >= 64u {
        return vec2<u32>(select(0u, 1u, (a.x | a.y) != 0u), 0u);
    }
    if by >= 32u {
        let rest = by - 32u;
        let lost = a.x | (a.y & ((1u << rest) - 1u));
        return vec2<u32>((a.y >> rest) | select(0u, 1u, lost != 0u), 0u);
    }
    let lost = a.x & ((1u << by) - 1u);
    return vec2<u32>((a.x >> by) | (a.y << (32u - by)) | select(0u, 1u, lost != 0u), a.y >> by);
}

fn exponent_of(a: vec2<u32>) -> i32 {
    return i32((a.y >> 20u) & 0x7ffu);
}

// 53 bits, the leading one among them.
fn mantissa_of(a: vec2<u32>) -> vec2<u32> {
    return vec2<u32>(a.x, (a.y & 0xfffffu) | 0x100000u);
}

// A number of a sign, a biased exponent and 56 bits, of which three are rounded away; the lowest is sticky.
fn rounded(sign: u32, exponent: i32, bits: vec2<u32>) -> vec2<u32> {
    let last = bits.x & 7u;
    var m = vec2<u32>((bits.x >> 3u) | (bits.y << 29u), bits.y >> 3u);
    if last > 4u || (last == 4u && (m.x & 1u) == 1u) {
        m = wide_add(m, vec2<u32>(1u, 0u));
    }
    if exponent <= 0 {
        return vec2<u32>(0u, sign);
    }
    if exponent >= 2047 {
        return vec2<u32>(0u, sign | 0x7ff00000u);
    }
    // The leading bit, and a carry into the one above, add to the exponent.
    return vec2<u32>(m.x, sign | ((u32(exponent - 1) << 20u) + m.y));
}

fn negated(a: vec2<u32>) -> vec2<u32> {
    return vec2<u32>(a.x, a.y ^ SIGN);
}

fn is_zero(a: vec2<u32>) -> bool {
    return exponent_of(a) == 0;
}

fn add(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
    var large = a;
    var small = b;
    if wide_less(vec2<u32>(a.x, a.y & 0x7fffffffu), vec2<u32>(b.x, b.y & 0x7fffffffu)) {
        large = b;
        small = a;
    }
    if is_zero(small) {
        if is_zero(large) {
            return vec2<u32>(0u, a.y & b.y & SIGN);
        }
        return large;
    }
    var exponent = exponent_of(large);
    let m = wide_up(mantissa_of(large), 3u);
    let other = wide_down(wide_up(mantissa_of(small), 3u), u32(exponent - exponent_of(small)));
    var sum = vec2<u32>(0u, 0u);
    if ((large.y ^ small.y) & SIGN) == 0u {
        sum = wide_add(m, other);
        if (sum.y & 0x1000000u) != 0u {
            sum = wide_down(sum, 1u);
            exponent += 1;
        }
    } else {
        sum = wide_sub(m, other);
        if (sum.x | sum.y) == 0u {
            return vec2<u32>(0u, 0u);
        }
        var lead = 32u + firstLeadingBit(sum.y);
        if sum.y == 0u {
            lead = firstLeadingBit(sum.x);
        }
        sum = wide_up(sum, 55u - lead);
        exponent -= i32(55u - lead);
    }
    return rounded(large.y & SIGN, exponent, sum);
}

fn sub(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
    return add(a, negated(b));
}

fn mul(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
    let sign = (a.y ^ b.y) & SIGN;
    if is_zero(a) || is_zero(b) {
        return vec2<u32>(0u, sign);
    }
    let p = mantissa_of(a);
    let q = mantissa_of(b);
    let low = wide_product(p.x, q.x);
    let cross = wide_add(wide_product(p.x, q.y), wide_product(p.y, q.x));
    let high = wide_product(p.y, q.y);
    // Words 1 to 3 of the product of 106 bits.
    let x1 = wide_add(cross, vec2<u32>(low.y, 0u));
    let x2 = wide_add(high, vec2<u32>(x1.y, 0u));
    // Its upper 56 or 57.
    let lost = low.x | (x1.x & 0x1ffffu);
    var m = vec2<u32>((x1.x >> 17u) | (x2.x << 15u), (x2.x >> 17u) | (x2.y << 15u));
    m.x = m.x | select(0u, 1u, lost != 0u);
    var exponent = exponent_of(a) + exponent_of(b) - 1023;
    if (m.y & 0x1000000u) != 0u {
        m = wide_down(m, 1u);
        exponent += 1;
    }
    return rounded(sign, exponent, m);
}

fn div(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
    let sign = (a.y ^ b.y) & SIGN;
    if is_zero(a) {
        return vec2<u32>(0u, sign);
    }
    var rest = mantissa_of(a);
    let by = mantissa_of(b);
    var exponent = exponent_of(a) - exponent_of(b) + 1023;
    if wide_less(rest, by) {
        rest = wide_up(rest, 1u);
        exponent -= 1;
    }
    var m = vec2<u32>(0u, 0u);
    for (var i = 0u; i < 56u; i++) {
        m = wide_up(m, 1u);
        if !wide_less(rest, by) {
            rest = wide_sub(rest, by);
            m.x = m.x | 1u;
        }
        rest = wide_up(rest, 1u);
    }
    m.x = m.x | select(0u, 1u, (rest.x | rest.y) != 0u);
    return rounded(sign, exponent, m);
}

// A finite f32, given by its bits, subnormal ones included.
fn of_f32(bits: u32) -> vec2<u32> {
    let sign = bits & SIGN;
    var fraction = bits & 0x7fffffu;
    var exponent = i32((bits >> 23u) & 0xffu) + 896;
    if exponent == 896 {
        if fraction == 0u {
            return vec2<u32>(0u, sign);
        }
        let lead = firstLeadingBit(fraction);
        fraction = (fraction << (23u - lead)) & 0x7fffffu;
        exponent = i32(lead) + 874;
    }
    return vec2<u32>(fraction << 29u, sign | (u32(exponent) << 20u) | (fraction >> 3u));
}

fn of_integer(x: i32) -> vec2<u32> {
    if x == 0 {
        return vec2<u32>(0u, 0u);
    }
    let size = u32(abs(x));
    let lead = firstLeadingBit(size);
    let m = wide_up(vec2<u32>(size, 0u), 52u - lead);
    return vec2<u32>(m.x, select(0u, SIGN, x < 0) | ((lead + 1023u) << 20u) | (m.y & 0xfffffu));
}

// An integer below 2^56.
fn of_wide(x: vec2<u32>) -> vec2<u32> {
    if (x.x | x.y) == 0u {
        return x;
    }
    let lead = select(firstLeadingBit(x.x), 32u + firstLeadingBit(x.y), x.y != 0u);
    return rounded(0u, i32(lead) + 1023, wide_up(x, 55u - lead));
}

// An integer of two's complement between -2^56 and 2^56.
fn of_signed(x: vec2<u32>) -> vec2<u32> {
    if (x.y & SIGN) == 0u {
        return of_wide(x);
    }
    return negated(of_wide(wide_negated(x)));
}

// An integer with the sign of an f64.
fn signed(x: vec2<u32>, like: vec2<u32>) -> vec2<u32> {
    return select(x, wide_negated(x), (like.y & SIGN) != 0u);
}

// The bits of the nearest f32, subnormal ones included.
fn to_f32(a: vec2<u32>) -> u32 {
    let sign = a.y & SIGN;
    let exponent = exponent_of(a) - 896;
    if is_zero(a) || exponent < -30 {
        return sign;
    }
    if exponent >= 255 {
        return sign | 0x7f800000u;
    }
    let m = wide_down(mantissa_of(a), select(27u, u32(28 - exponent), exponent <= 0));
    let last = m.x & 3u;
    var r = m.x >> 2u;
    if last == 3u || (last == 2u && (r & 1u) == 1u) {
        r += 1u;
    }
    let above = select(0u, u32(max(exponent, 1) - 1) << 23u, exponent > 0);
    return sign | (above + r);
}

// x * 2^n, where that is neither too large nor subnormal; else 0.
fn scaled(x: vec2<u32>, n: i32) -> vec2<u32> {
    let exponent = exponent_of(x) + n;
    if is_zero(x) || exponent <= 0 {
        return vec2<u32>(0u, x.y & SIGN);
    }
    return vec2<u32>(x.x, (x.y & 0x800fffffu) | (u32(exponent) << 20u));
}
