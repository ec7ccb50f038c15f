// The fold of a row's columns: its base, and the sums of a block by lanes.
//
// The order is the library's: blocks of 512 columns, sixteen lanes, quads of four vectors; f32 within a block, f64 over
// blocks. Column j is in lane j mod 16 whatever the machine, so 16 invocations are a block. The target is left out.

const LANES: u32 = 16u;
const BLOCK: u32 = 512u;
// By how many powers of two a term may exceed the base.
const HEADROOM: i32 = 7;
const MAX_EXPONENT: i32 = 1900;
const NO_ROOM: i32 = 100;

// What became of a row.
const UNSCORED: u32 = 0u;
const BASED: u32 = 1u;
const BASELESS: u32 = 2u;
const BROKEN: u32 = 3u;

struct RowState {
    shift: u32,
    exponent: i32,
    kind: u32,
    target_value: u32,
    others: vec2<u32>,
}

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

// Sums by one base as those by another.
fn rebased(others: vec2<u32>, old: vec2<u32>, to: vec2<u32>) -> vec2<u32> {
    let power = bitcast<i32>(old.y) - bitcast<i32>(to.y);
    let delta = mul(params.factor_double, sub(of_f32(old.x), of_f32(to.x)));
    if is_zero(delta) {
        return scaled(others, power);
    }
    if exponent_of(delta) > 1023 + 18 {
        return vec2<u32>(0u, 0u);
    }
    let sum = add(mul(delta, params.log2e_double), ROUND);
    let r = sub(delta, mul(sub(sum, ROUND), params.plain_ln2_double));
    return scaled(mul(others, exp_double(r)), bitcast<i32>(sum.x) + power);
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

// The key of the largest value of a lane, and whether one is broken.
fn lane_top(row: u32, first: u32, lane: u32, skipped: u32) -> vec2<i32> {
    var top = vec2<i32>(LOWEST_KEY, 0);
    for (var at = 0u; at < BLOCK; at += LANES) {
        let column = first + at + lane;
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

fn ceiling() -> f32 {
    return f32(MAGIC + HEADROOM);
}

// The lane's two sums in f64.
fn lane_double(parts: LaneSums) -> vec2<u32> {
    return add(of_f32(bitcast<u32>(parts.scales)), of_f32(bitcast<u32>(parts.mantissas)));
}
