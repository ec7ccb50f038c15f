// The functions of the kernels one argument at a time, for tests of what a device makes of them.

@group(0) @binding(1) var<storage, read> arguments: array<vec2<u32>>;
@group(0) @binding(2) var<storage, read_write> results: array<vec2<u32>>;

fn value_at(row: u32, column: u32) -> u32 {
    return NEG_INFINITY;
}

// A row of two blocks with these sums.
fn of_two_blocks(a: vec2<u32>, b: vec2<u32>) -> RowState {
    let base = base_of(0u, 0, ROOM);
    return merged(state_of_block(base, a, 0u), state_of_block(base, b, 0u));
}

@compute @workgroup_size(64)
fn functions(@builtin(global_invocation_id) id: vec3<u32>) {
    if id.x >= params.rows {
        return;
    }
    let a = arguments[2u * id.x];
    let b = arguments[2u * id.x + 1u];
    var found = vec2<u32>(0u, 0u);
    switch params.flags >> 8u {
        case 0u: {
            let base = base_of(0u, bitcast<i32>(b.x), ROOM);
            let parts = split(base, distance(base, a.x));
            found = vec2<u32>(bitcast<u32>(w_of(parts.f)), bitcast<u32>(power(parts.t)));
        }
        case 1u: { found.x = bitcast<u32>(tanh_of(bitcast<f32>(a.x))); }
        case 2u: { found.x = bitcast<u32>(tanh_slope(bitcast<f32>(a.x))); }
        case 3u: { found.x = bitcast<u32>(quotient(bitcast<f32>(a.x), bitcast<f32>(b.x))); }
        case 4u: { found = exp_double(a); }
        case 5u: { found = ln_1p_double(a); }
        case 6u: { found = ln_double(a); }
        case 7u: { found = add(a, b); }
        case 8u: { found = mul(a, b); }
        case 9u: { found = div(a, b); }
        case 10u: { found = of_f32(a.x); }
        case 11u: { found.x = to_f32(a); }
        case 12u: { found.x = decoded(a.x, a.y); }
        case 13u: { found.x = encoded(a.x); }
        case 14u: { found.x = select(0u, 1u, is_bad(a.x)); }
        case 15u: { found.x = value_of(a.x); }
        case 16u: { found = vec2<u32>(bitcast<u32>(place_of(a.x).power), 0u); }
        case 17u: { found = place_of(a.x).part; }
        case 18u: { found = of_signed(a); }
        case 19u: { found.x = bitcast<u32>(of_two_blocks(a, b).top); }
        case 20u: { found = of_two_blocks(a, b).high; }
        case 21u: { found = of_two_blocks(a, b).middle; }
        case 22u: { found = of_two_blocks(a, b).low; }
        default: {}
    }
    results[id.x] = found;
}
