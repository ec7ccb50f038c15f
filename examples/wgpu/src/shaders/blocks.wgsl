// Blocks of columns, sixteen invocations each: GROUPS of them at once.
//
//     sum e^y / base, by the base of the block before
//     where the largest value says another base, sum again by that
//
// A block's base and sum depend on its own columns alone.

const THREADS: u32 = GROUPS * LANES;

var<workgroup> doubles: array<vec2<u32>, THREADS>;
var<workgroup> tops: array<i32, THREADS>;
// What terms are relative to.
var<workgroup> bases: array<Base, GROUPS>;
var<workgroup> is_again: array<bool, GROUPS>;
var<workgroup> again: u32;

// Before the first block, and a barrier.
fn begin_blocks(i: u32) {
    if i < GROUPS {
        bases[i] = base_of(0u, 0, ROOM);
    }
}

// To the first of each sixteen, what it knows of its row with the next block added. All take part, those of a group
// that is idle, too.
fn with_block(known: RowState, is_idle: bool, row: u32, first: u32, skipped: u32, i: u32) -> RowState {
    let lane = i % LANES;
    let group = (i / LANES) % GROUPS;
    var state = known;
    var is_done = is_idle;
    for (var sweep = 0u; sweep < 2u; sweep++) {
        if i == 0u {
            again = 0u;
        }
        if !is_done {
            let sums = lane_sums(bases[group], row, first, lane, skipped);
            doubles[i] = lane_double(sums);
            tops[i] = sums.top;
        }
        for (var half = LANES / 2u; half > 0u; half /= 2u) {
            workgroupBarrier();
            if !is_done && lane < half {
                doubles[i] = add(doubles[i], doubles[i + half]);
                tops[i] = max(tops[i], tops[i + half]);
            }
        }
        workgroupBarrier();
        if !is_done && lane == 0u {
            is_again[group] = false;
            let top = tops[i];
            if top == BAD_KEY {
                state.kind = BROKEN;
            } else if top != LOWEST_KEY {
                let base = base_of_block(bits_of(top));
                if any(base != vec2<u32>(bitcast<u32>(bases[group].shift), bitcast<u32>(bases[group].exponent))) {
                    bases[group] = base_of(base.x, bitcast<i32>(base.y), ROOM);
                    is_again[group] = true;
                    again = 1u;
                } else {
                    state = merged(state, state_of_block(bases[group], doubles[i], known.target_value));
                }
            }
        }
        if workgroupUniformLoad(&again) == 0u {
            break;
        }
        is_done = is_done || !is_again[group];
    }
    return state;
}
