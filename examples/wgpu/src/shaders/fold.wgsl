// A block's base, and its sums by lanes.
//
// The order is the library's: blocks of 512 columns, sixteen lanes, quads of four vectors; f32 within a lane, f64 over
// lanes. Column j is in lane j mod 16 whatever the machine, so 16 invocations are a block. The target is left out.

const LANES: u32 = 16u;
const BLOCK: u32 = 512u;
// The exponents that the largest term of a block may have beside N where its terms are relative to 2^N: N is a multiple
// of STEP, the nearest to 0 is 0 for logits from -28 to 38.
const STEP: i32 = 96;
// The least and the largest exponent of such a block's largest term, N being 19 steps from 0 at most.
const LOWEST_EXPONENT: i32 = -1864;
const LARGEST_EXPONENT: i32 = 1879;
const LOWEST_N: i32 = -1824;
// By how many powers of two a term may exceed what it is relative to without being infinite in a sum.
const ROOM: i32 = 100;

// By integers: the order of finite numbers, and -inf below them.
fn key_of(bits: u32) -> i32 {
    let x = bitcast<i32>(bits);
    return x ^ ((x >> 31u) & 0x7fffffff);
}

fn bits_of(key: i32) -> u32 {
    return bitcast<u32>(key ^ ((key >> 31u) & 0x7fffffff));
}

// Of -inf, and of what makes a row NaN.
const LOWEST_KEY: i32 = -2139095041;
const BAD_KEY: i32 = 2139095040;

// What a block's terms are relative to, by its largest value: as a shift and an exponent, one of them 0.
fn base_of_block(bits: u32) -> vec2<u32> {
    let v = bitcast<f32>(bits);
    // Beyond that the product might be infinite.
    if abs(v) * (1.0 / 2048.0) < params.ln2_high {
        let exponent = i32(own(own(v * params.log2e) + f32(MAGIC))) - MAGIC;
        if exponent >= LOWEST_EXPONENT && exponent <= LARGEST_EXPONENT {
            return vec2<u32>(0u, bitcast<u32>(LOWEST_N + (exponent - LOWEST_EXPONENT) / STEP * STEP));
        }
    }
    return vec2<u32>(bits, 0u);
}

fn base_of(shift: u32, exponent: i32, room: i32) -> Base {
    let floor = to_f32(mul(of_integer(exponent - 127), params.ln2_double));
    let roof = to_f32(mul(of_integer(exponent + room), params.ln2_double));
    return Base(bitcast<f32>(shift), exponent, f32(MAGIC - exponent), bitcast<f32>(floor), bitcast<f32>(roof));
}

struct LaneSums {
    scales: f32,
    mantissas: f32,
    // The key of the largest value.
    top: i32,
}

// One lane of the block that begins at `first`.
fn lane_sums(base: Base, row: u32, first: u32, lane: u32, skipped: u32) -> LaneSums {
    var scales = 0.0;
    var mantissas = 0.0;
    var top = LOWEST_KEY;
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
                top = max(top, select(key_of(bits), BAD_KEY, is_bad(bits)));
                let parts = split(base, distance(base, bits));
                let scale = power(parts.t);
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
    return LaneSums(scales, mantissas, top);
}

// The lane's two sums in f64.
fn lane_double(parts: LaneSums) -> vec2<u32> {
    return add(of_f32(bitcast<u32>(parts.scales)), of_f32(bitcast<u32>(parts.mantissas)));
}
