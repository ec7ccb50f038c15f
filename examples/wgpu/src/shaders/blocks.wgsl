// Blocks of columns, sixteen invocations each: GROUPS of them at once.
//
//     choose a base near the largest value in the first vector of each quad;  sum e^y / base
//     where that vector is masked, or a term is 2^4 above the base, choose it from all columns, and sum again
//
// A block's base and sum depend on its own columns alone.

const THREADS: u32 = GROUPS * LANES;

var<workgroup> doubles: array<vec2<u32>, THREADS>;
var<workgroup> keys: array<vec2<i32>, THREADS>;
var<workgroup> tops: array<vec2<f32>, THREADS>;
var<workgroup> bases: array<vec2<u32>, GROUPS>;
// What terms are relative to, and the kind that its block has by it.
var<workgroup> wides: array<Base, GROUPS>;
var<workgroup> kinds: array<u32, GROUPS>;
var<workgroup> again: u32;

// By the sixteen's largest value.
fn choose(group: u32) {
    let top = keys[group * LANES];
    kinds[group] = select(select(BASED, BASELESS, top.x == LOWEST_KEY), BROKEN, top.y != 0);
    if kinds[group] == BASED {
        bases[group] = base_at(bits_of(top.x));
        wides[group] = base_of(bases[group].x, wide_exponent(bitcast<i32>(bases[group].y)), NO_ROOM);
    }
}

// After the sums. A block whose terms are too large is as one that has no base yet.
fn judge(group: u32) {
    let top = tops[group * LANES];
    if top.y > 0.0 {
        kinds[group] = BROKEN;
    } else if top.x > ceiling(bitcast<i32>(bases[group].y), wides[group]) {
        kinds[group] = BASELESS;
    }
}

// To the first of each sixteen, what it knows of its row with the next block added. All take part, those of a group
// that is idle, too.
fn with_block(known: RowState, is_idle: bool, row: u32, first: u32, skipped: u32, i: u32) -> RowState {
    let lane = i % LANES;
    let group = (i / LANES) % GROUPS;
    var state = known;
    var is_done = is_idle;
    for (var step = 4u * LANES; step >= LANES; step /= 4u) {
        if i == 0u {
            again = 0u;
        }
        if !is_done {
            keys[i] = lane_top(row, first, lane, skipped, step);
        }
        for (var half = LANES / 2u; half > 0u; half /= 2u) {
            workgroupBarrier();
            if !is_done && lane < half {
                keys[i] = max(keys[i], keys[i + half]);
            }
        }
        workgroupBarrier();
        if !is_done && lane == 0u {
            choose(group);
        }
        workgroupBarrier();
        let is_summing = !is_done && kinds[group] == BASED;
        if is_summing {
            let sums = lane_sums(wides[group], row, first, lane, skipped);
            doubles[i] = lane_double(sums);
            tops[i] = vec2<f32>(sums.top, f32(sums.broken));
        }
        for (var half = LANES / 2u; half > 0u; half /= 2u) {
            workgroupBarrier();
            if is_summing && lane < half {
                doubles[i] = add(doubles[i], doubles[i + half]);
                tops[i] = max(tops[i], tops[i + half]);
            }
        }
        workgroupBarrier();
        if !is_done && lane == 0u {
            if is_summing {
                judge(group);
            }
            if kinds[group] == BASED {
                let by = bitcast<i32>(bases[group].y) - wides[group].exponent;
                state = merged(state, state_of_block(bases[group], scaled(doubles[i], -by), known.target_value));
            } else if kinds[group] == BROKEN {
                state.kind = BROKEN;
            } else {
                again = 1u;
            }
        }
        if workgroupUniformLoad(&again) == 0u {
            break;
        }
        is_done = is_done || kinds[group] != BASELESS;
    }
    return state;
}
