// Stage 5, once a row: the numbers of x -> -c p(x) dy/dx, and the target's gradient c (1 - p) dy/dx.

struct Norm {
    shift: u32,
    exponent: i32,
    inverse: u32,
    complement: u32,
}

@group(0) @binding(1) var<storage, read> targets: array<u32>;
@group(0) @binding(2) var<storage, read> norms: array<Norm>;
@group(0) @binding(3) var<storage, read> coefficients: array<vec2<u32>>;
@group(0) @binding(4) var<storage, read_write> maps: array<RowMap>;

fn value_at(row: u32, column: u32) -> u32 {
    return NEG_INFINITY;
}

// The least exponent at which `magic` is exact.
const LARGEST: i32 = 1572864;

@compute @workgroup_size(64)
fn factors(@builtin(global_invocation_id) id: vec3<u32>) {
    if id.x >= params.rows {
        return;
    }
    let row = params.first_row + id.x;
    let goal = targets[row];
    maps[row].goal = goal;
    if goal == params.ignore_index {
        maps[row].kind = UNTOUCHED;
        return;
    }
    let c = coefficients[row];
    let norm = norms[row];
    if is_zero(c) {
        maps[row].kind = ZEROS;
        return;
    }
    if norm.inverse == NAN {
        maps[row].kind = NANS;
        return;
    }
    let inverse = of_f32(norm.inverse);
    var factor = mul(mul(negated(c), params.slope_double), inverse);
    if (params.flags & HEAD) != 0u {
        // Of terms that weigh rows of the head: c and 1 / Z come in once they are added up.
        factor = params.slope_double;
    }
    maps[row].sums_factor = bitcast<f32>(to_f32(mul(negated(c), inverse)));
    // factor = half * 2^power, half in [1/2, 1); 4 half keeps every product normal while the power of two is.
    let power = exponent_of(factor) - 1022;
    let first = vec2<u32>(factor.x, (factor.y & 0x800fffffu) | (1024u << 20u));
    let exponent = norm.exponent - (power - 2);
    let base = base_of(norm.shift, clamp(exponent, -LARGEST, LARGEST), 127);
    maps[row].shift = base.shift;
    maps[row].magic = base.magic;
    maps[row].floor = base.floor;
    maps[row].roof = base.roof;
    maps[row].powers[0] = bitcast<f32>(to_f32(first));
    for (var i = 0u; i < 5u; i++) {
        maps[row].powers[i + 1u] = bitcast<f32>(to_f32(mul(first, of_f32(q_of(i)))));
    }
    // A masked target stays masked.
    let bits = goal_element(id.x, goal);
    var grad = 0u;
    if bits != NEG_INFINITY {
        var bend = 1.0;
        if (params.flags & SOFTCAP) != 0u {
            bend = tanh_slope(inner_of(bits));
        }
        let share = mul(mul(c, of_f32(norm.complement)), params.slope_double);
        grad = to_f32(mul(share, of_f32(bitcast<u32>(bend))));
    }
    maps[row].goal_grad = grad;
    maps[row].kind = PLAIN;
}
