// The sums of a row as integers at fixed binary places: they do not depend on the order in which blocks are added.
//
//     a block's sum * its base  =  digits * 2^(power - 37), rounded to that
//     cut at the multiples of 32 binary places;  each place is added up on its own
//
// Three places are kept, from the largest that a row with this base can have downwards. When a larger base comes, they
// move up, and the lowest fall out: from one part of a row as from another. So blocks may be added in any order, by any
// number of invocations. The library's `src/row/exact.rs` does the same.

// What became of a row.
const UNSCORED: u32 = 0u;
const BASED: u32 = 1u;
const BASELESS: u32 = 2u;
const BROKEN: u32 = 3u;

// A row, or a part of its blocks.
struct RowState {
    // The base, the largest of its blocks' bases: e^(k shift) 2^exponent.
    shift: u32,
    exponent: i32,
    kind: u32,
    target_value: u32,
    // The same as 2^power part, an integer of 64 bits and an f64 near 1.
    power: vec2<u32>,
    part: vec2<u32>,
    // The places, each of 64 bits, of which a block takes 32.
    high: vec2<u32>,
    middle: vec2<u32>,
    low: vec2<u32>,
}

// By how many powers of two a block's sum may exceed its base: 512 terms of 2^4.5.
const ROOM: u32 = 14u;
// Binary places behind the base.
const DIGITS: u32 = 37u;
// 1.5 * 2^52 * 2^-37: a sum with it has the digits in its low bits.
const ROUND_TO_DIGITS: vec2<u32> = vec2<u32>(0u, 0x40e80000u);
// ln 2 = m * 2^-53, and what its f64 lacks.
const LN_2_MANTISSA: vec2<u32> = vec2<u32>(0xfefa39efu, 0x162e42u);
const LN_2_REST: vec2<u32> = vec2<u32>(0x3b39803fu, 0x3c7abc9eu);
// The exponent field of 2^40. From here on values next to each other are e^60000 apart.
const APART: i32 = 1063;

// Nothing folded yet.
fn empty(target_value: u32) -> RowState {
    let none = vec2<u32>(0u, 0u);
    return RowState(0u, 0, BASELESS, target_value, none, ONE, none, none, none);
}

// e^(k v) as 2^power part, in the two members of a state.
fn with_place(known: RowState) -> RowState {
    var state = known;
    state.power = vec2<u32>(bitcast<u32>(known.exponent), select(0u, 0xffffffffu, known.exponent < 0));
    state.part = ONE;
    if known.shift == 0u {
        return state;
    }
    let v = of_f32(known.shift);
    let y = mul(params.factor_double, v);
    if exponent_of(y) >= APART {
        // Equal values alone add up, so any power will do that is larger than all below and grows with the value.
        let size = known.shift & 0x7fffffffu;
        let power = vec2<u32>(size << 12u, (size >> 20u) + (1u << 9u));
        state.power = select(power, wide_negated(power), (known.shift & SIGN) != 0u);
        return state;
    }
    let sum = add(mul(y, params.log2e_double), ROUND);
    state.power = wide_sub(sum, ROUND);
    // y - n ln 2 is a multiple of 2^-53 below 1/2, and what y was rounded by one of the factors' last places below half
    // of y's: both fit 64 bits that wrap around.
    let whole = signed(wide_up(mantissa_of(y), u32(exponent_of(y) - 1022)), y);
    let rest = scaled(of_signed(wide_sub(whole, low_product(state.power, LN_2_MANTISSA))), -53);
    let places = exponent_of(params.factor_double) + exponent_of(v) - 1075;
    let product = low_product(mantissa_of(params.factor_double), mantissa_of(v));
    let lost = wide_sub(product, wide_up(mantissa_of(y), u32(exponent_of(y) - places)));
    let low = scaled(of_signed(signed(lost, y)), places - 1075);
    state.part = exp_double(add(sub(rest, mul(sub(sum, ROUND), LN_2_REST)), low));
    return state;
}

// By how much the last digit of a block of this power is above the lowest bit that its row keeps.
fn last_digit(power: vec2<u32>) -> u32 {
    return ((power.x + ROOM) & 31u) + (64u - ROOM - DIGITS);
}

// The number of the highest place.
fn highest(power: vec2<u32>) -> vec2<u32> {
    let top = wide_add(power, vec2<u32>(ROOM, 0u));
    return vec2<u32>((top.x >> 5u) | (top.y << 27u), bitcast<u32>(bitcast<i32>(top.y) >> 5u));
}

// A block as a row of its own: its sum relative to its base.
fn state_of_block(base: vec2<u32>, sum: vec2<u32>, target_value: u32) -> RowState {
    var state = empty(target_value);
    state.shift = base.x;
    state.exponent = bitcast<i32>(base.y);
    state.kind = BASED;
    state = with_place(state);
    // Below 2^51.
    let digits = wide_sub(add(mul(sum, state.part), ROUND_TO_DIGITS), ROUND_TO_DIGITS);
    let by = last_digit(state.power);
    let moved = wide_up(digits, by);
    state.low.x = moved.x;
    state.middle.x = moved.y;
    if by > 32u {
        state.high.x = (digits.y << (by - 32u)) | (digits.x >> (64u - by));
    } else {
        state.high.x = digits.y >> (32u - by);
    }
    return state;
}

// Whether sums are relative to the base of a where b has another.
fn is_above(a: RowState, b: RowState) -> bool {
    if a.power.y != b.power.y {
        return bitcast<i32>(a.power.y) > bitcast<i32>(b.power.y);
    }
    if a.power.x != b.power.x {
        return a.power.x > b.power.x;
    }
    return key_of(a.shift) > key_of(b.shift);
}

// Two parts of a row together.
fn merged(a: RowState, b: RowState) -> RowState {
    if b.kind == BASELESS || a.kind == BROKEN {
        return a;
    }
    if a.kind == BASELESS || b.kind == BROKEN {
        return b;
    }
    var sum = a;
    var other = b;
    if is_above(b, a) {
        sum = b;
        other = a;
    }
    let below = wide_sub(highest(sum.power), highest(other.power));
    if below.y != 0u || below.x > 2u {
        return sum;
    }
    if below.x == 0u {
        sum.high = wide_add(sum.high, other.high);
        sum.middle = wide_add(sum.middle, other.middle);
        sum.low = wide_add(sum.low, other.low);
    } else if below.x == 1u {
        sum.middle = wide_add(sum.middle, other.high);
        sum.low = wide_add(sum.low, other.middle);
    } else {
        sum.low = wide_add(sum.low, other.high);
    }
    return sum;
}

// The sum relative to the base, in f64.
fn sum_of(state: RowState) -> vec2<u32> {
    let above = add(scaled(of_wide(state.high), 32), of_wide(state.middle));
    let sum = add(scaled(above, 32), of_wide(state.low));
    let by_power = scaled(sum, -i32(last_digit(state.power) + DIGITS));
    if all(state.part == ONE) {
        return by_power;
    }
    return div(by_power, state.part);
}
