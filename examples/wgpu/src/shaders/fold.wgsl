// A block's base, and its sums by lanes.
//
// The order is the library's: blocks of 512 columns, sixteen lanes, quads of four vectors; f32 within a lane, f64 over
// lanes. Column j is in lane j mod 16 whatever the machine, so 16 invocations are a block. The target is left out.

const LANES: u32 = 16u;
const BLOCK: u32 = 512u;
// By how many powers of two a term may exceed the base that a part of the columns chose.
const HEADROOM: i32 = 4;
const MAX_EXPONENT: i32 = 1900;
const NO_ROOM: i32 = 100;

// By integers: the order of finite numbers, and -inf below them.
fn key_of(bits: u32) -> i32 {
    let x = bitcast<i32>(bits);
    return x ^ ((x >> 31u) & 0x7fffffff);
}

fn bits_of(key: i32) -> u32 {
    return bitcast<u32>(key ^ ((key >> 31u) & 0x7fffffff));
}

const LOWEST_KEY: i32 = -2139095041;

// The base near e^(k v): a power of two, or where that is too large v itself.
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

fn base_of(shift: u32, exponent: i32, room: i32) -> Base {
    let floor = to_f32(mul(of_integer(exponent - 127), params.ln2_double));
    let roof = to_f32(mul(of_integer(exponent + room), params.ln2_double));
    return Base(bitcast<f32>(shift), exponent, f32(MAGIC - exponent), bitcast<f32>(floor), bitcast<f32>(roof));
}

// The exponent of what a block's terms are relative to: a multiple of 64, so 0 in most rows.
fn wide_exponent(exponent: i32) -> i32 {
    return (exponent + 32) & -64;
}

struct LaneSums {
    scales: f32,
    mantissas: f32,
    // The largest t.
    top: f32,
    broken: u32,
}

// One lane of the block that begins at `first`.
fn lane_sums(base: Base, row: u32, first: u32, lane: u32, skipped: u32) -> LaneSums {
    var scales = 0.0;
    var mantissas = 0.0;
    var top = 0.0;
    var broken = 0u;
    for (var quad = 0u; quad < BLOCK; quad += 4u * LANES) {
        if first + quad >= params.vocab {
            break;
        }
        var quad_scales = 0.0;
        var quad_mantissas = 0.0;
        for (var vector = 0u; vector < 4u; vector++) {
            let column = first + quad + vector * LANES + lane;
            if column < params.vocab && column != skipped {
                let bits = value_at(row, column);
                broken |= select(0u, 1u, is_bad(bits));
                let parts = split(base, distance(base, bits));
                let scale = power(parts.t);
                top = max(top, parts.t);
                quad_scales = own(quad_scales + scale);
                quad_mantissas = own(mul_add(w_of(parts.f), scale, quad_mantissas));
            }
        }
        let before = scales;
        scales = own(before + quad_scales);
        // What the addition rounded away.
        let lost = own(quad_scales - own(scales - before));
        mantissas = own(mantissas + own(quad_mantissas + lost));
    }
    return LaneSums(scales, mantissas, top, broken);
}

// The key of the largest value of a lane's columns, `step` apart, and whether one is broken.
fn lane_top(row: u32, first: u32, lane: u32, skipped: u32, step: u32) -> vec2<i32> {
    var top = vec2<i32>(LOWEST_KEY, 0);
    for (var at = lane; at < BLOCK; at += step) {
        let column = first + at;
        if column < params.vocab && column != skipped {
            let bits = value_at(row, column);
            if is_bad(bits) {
                top.y = 1;
            } else {
                top.x = max(top.x, key_of(bits));
            }
        }
    }
    return top;
}

// The t of terms that are too large for a base, relative to `wide`.
fn ceiling(exponent: i32, wide: Base) -> f32 {
    return f32(MAGIC + exponent - wide.exponent + HEADROOM);
}

// The lane's two sums in f64.
fn lane_double(parts: LaneSums) -> vec2<u32> {
    return add(of_f32(bitcast<u32>(parts.scales)), of_f32(bitcast<u32>(parts.mantissas)));
}
