// The sums of a row as integers at fixed binary places: they do not depend on the order in which blocks are added.
//
//     a block's sum * its base  =  53 bits from some binary place on, which are kept exactly
//     cut at the multiples of 32 binary places;  each place is added up on its own
//
// Three places are kept, from the highest that a block has had downwards. When a larger block comes, they move up, and
// the lowest fall out: from one part of a row as from another. So blocks may be added in any order, by any number of
// invocations. The library's `src/row/exact.rs` does the same.

// What became of a row.
const UNSCORED: u32 = 0u;
const BASED: u32 = 1u;
const BASELESS: u32 = 2u;
const BROKEN: u32 = 3u;

// A row, or a part of its blocks.
struct RowState {
    kind: u32,
    target_value: u32,
    // The largest shift of its blocks, that of a power of two being 0.
    shift: u32,
    // The number of the highest place, whose lowest bit is 2^(32 top).
    top: i32,
    // The places, each of 64 bits, of which a block takes 32.
    high: vec2<u32>,
    middle: vec2<u32>,
    low: vec2<u32>,
}

// e^(k shift) as 2^power part, part near 1.
struct Place {
    power: i32,
    part: vec2<u32>,
}

// ln 2 = m * 2^-53, and what its f64 lacks.
const LN_2_MANTISSA: vec2<u32> = vec2<u32>(0xfefa39efu, 0x162e42u);
const LN_2_REST: vec2<u32> = vec2<u32>(0x3b39803fu, 0x3c7abc9eu);
// The exponent field of 2^29: from here on a logit and the next that f32 has are 32 nats apart or more.
const APART: i32 = 1052;

// Nothing folded yet.
fn empty(target_value: u32) -> RowState {
    let none = vec2<u32>(0u, 0u);
    return RowState(BASELESS, target_value, 0u, 0, none, none, none);
}

// Whether other values are so far from this one that terms vanish beside each other.
fn is_apart(shift: u32) -> bool {
    return exponent_of(mul(params.factor_double, of_f32(shift))) >= APART;
}

fn place_of(shift: u32) -> Place {
    // Of those that are apart, equal values alone add up.
    if shift == 0u || is_apart(shift) {
        return Place(0, ONE);
    }
    let v = of_f32(shift);
    let y = mul(params.factor_double, v);
    let sum = add(mul(y, params.log2e_double), ROUND);
    let n = wide_sub(sum, ROUND);
    // y - n ln 2 is a multiple of 2^-53 below 1/2, and what y was rounded by one of the factors' last places below half
    // of y's: both fit 64 bits that wrap around.
    let whole = signed(wide_up(mantissa_of(y), u32(exponent_of(y) - 1022)), y);
    let rest = scaled(of_signed(wide_sub(whole, low_product(n, LN_2_MANTISSA))), -53);
    let places = exponent_of(params.factor_double) + exponent_of(v) - 1075;
    let product = low_product(mantissa_of(params.factor_double), mantissa_of(v));
    let lost = wide_sub(product, wide_up(mantissa_of(y), u32(exponent_of(y) - places)));
    let low = scaled(of_signed(signed(lost, y)), places - 1075);
    let part = exp_double(add(sub(rest, mul(sub(sum, ROUND), LN_2_REST)), low));
    return Place(bitcast<i32>(n.x), part);
}

// A block as a row of its own: its sum, above 0 and relative to its base.
fn state_of_block(base: Base, sum: vec2<u32>, target_value: u32) -> RowState {
    var state = empty(target_value);
    state.kind = BASED;
    state.shift = bitcast<u32>(base.shift);
    var x = sum;
    var power = base.exponent;
    if state.shift != 0u {
        let place = place_of(state.shift);
        x = mul(sum, place.part);
        power = place.power;
    }
    // Of the highest of the 53 bits.
    let lead = exponent_of(x) - 1023 + power;
    state.top = lead >> 5u;
    let digits = mantissa_of(x);
    let up = u32(lead & 31) + 12u;
    let moved = wide_up(digits, up);
    state.low.x = moved.x;
    state.middle.x = moved.y;
    if up > 32u {
        state.high.x = (digits.y << (up - 32u)) | (digits.x >> (64u - up));
    } else {
        state.high.x = digits.y >> (32u - up);
    }
    return state;
}

// The same sum by a higher place.
fn raised(known: RowState, top: i32) -> RowState {
    var state = known;
    for (var by = min(top - known.top, 3); by > 0; by--) {
        state.low = state.middle;
        state.middle = state.high;
        state.high = vec2<u32>(0u, 0u);
    }
    state.top = top;
    return state;
}

// Two parts of a row together.
fn merged(a: RowState, b: RowState) -> RowState {
    if b.kind == BASELESS || a.kind == BROKEN {
        return a;
    }
    if a.kind == BASELESS || b.kind == BROKEN {
        return b;
    }
    var above = a;
    var below = b;
    if key_of(b.shift) > key_of(a.shift) {
        above = b;
        below = a;
    }
    if above.shift != below.shift && (is_apart(above.shift) || is_apart(below.shift)) {
        return above;
    }
    let top = max(a.top, b.top);
    var sum = raised(above, top);
    let other = raised(below, top);
    sum.high = wide_add(sum.high, other.high);
    sum.middle = wide_add(sum.middle, other.middle);
    sum.low = wide_add(sum.low, other.low);
    return sum;
}

// What the sum is taken by, as the shift and the exponent of which one is 0.
fn base_of_sum(state: RowState) -> vec2<u32> {
    return vec2<u32>(state.shift, select(0u, bitcast<u32>(32 * state.top), state.shift == 0u));
}

// The sum by that, in f64.
fn sum_of(state: RowState) -> vec2<u32> {
    let place = place_of(state.shift);
    let above = select(32 * state.top - place.power, 0, state.shift == 0u);
    let low = scaled(of_wide(state.low), above - 64);
    let middle = scaled(of_wide(state.middle), above - 32);
    let sum = add(scaled(of_wide(state.high), above), add(middle, low));
    if state.shift == 0u {
        return sum;
    }
    return div(sum, place.part);
}
