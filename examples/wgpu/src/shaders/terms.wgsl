// -c p(x) dy/dx of one column, by the numbers of its row.

// The kinds of a row's gradient.
const UNTOUCHED: u32 = 0u;
const ZEROS: u32 = 1u;
const NANS: u32 = 2u;
const PLAIN: u32 = 3u;

// Set in `Params::flags` where the rows are a head's.
const HEAD: u32 = 8u;

struct RowMap {
    // -c dy/dx / Z e^f in powers of f; a power of two is left for the exponential.
    powers: array<f32, 6>,
    shift: f32,
    magic: f32,
    floor: f32,
    roof: f32,
    kind: u32,
    goal: u32,
    goal_grad: u32,
    // -c / Z, of a head.
    sums_factor: f32,
    unused_0: u32,
    unused_1: u32,
}

fn term_of(numbers: RowMap, bits: u32) -> f32 {
    let base = Base(numbers.shift, 0, numbers.magic, numbers.floor, numbers.roof);
    let f = split(base, distance(base, value_of(bits)));
    var p = own(mul_add(numbers.powers[5], f.f, numbers.powers[4]));
    p = own(mul_add(p, f.f, numbers.powers[3]));
    p = own(mul_add(p, f.f, numbers.powers[2]));
    p = own(mul_add(p, f.f, numbers.powers[1]));
    p = own(mul_add(p, f.f, numbers.powers[0]));
    p = own(mul_add(p, f.f, numbers.powers[0]));
    p = own(p * power(f.t));
    if (params.flags & SOFTCAP) != 0u && bits != NEG_INFINITY {
        p = own(p * tanh_slope(inner_of(bits)));
    }
    return p;
}
