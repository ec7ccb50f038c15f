// Stage 1: a row of logits in memory, folded into its state. A workgroup is a row, eight blocks at once.
//
//     choose the base near the largest value of the first block that is not all masked
//     for each block:  sum e^y / base;  where a term is 2^7 above the base, choose it anew from that block
//
// Eight blocks are summed by the base of the first. One that is too large for it ends the step before it.

@group(0) @binding(1) var<storage, read> logits: array<u32>;
@group(0) @binding(2) var<storage, read> targets: array<u32>;
@group(0) @binding(3) var<storage, read_write> states: array<RowState>;

// Blocks at once: 8, or 1 of rows that are no longer than one.
const GROUPS: u32 = 8u;
const THREADS: u32 = GROUPS * LANES;

var<workgroup> doubles: array<vec2<u32>, THREADS>;
var<workgroup> keys: array<vec2<i32>, THREADS>;
var<workgroup> tops: array<vec2<f32>, THREADS>;
var<workgroup> next: u32;
var<workgroup> choosing: u32;
var<workgroup> shared_base: Base;
var<workgroup> state: RowState;

fn value_at(row: u32, column: u32) -> u32 {
    let element = params.start + row * params.stride + column;
    return value_of(decoded(logits[element / HALVES], element));
}

// Of the eight blocks, goes to the first that has a base to give.
fn choose(blocks: u32) {
    for (var b = 0u; b < GROUPS; b++) {
        if next >= blocks {
            return;
        }
        let top = keys[b * LANES];
        if top.y != 0 {
            state.kind = BROKEN;
            next = blocks;
            return;
        }
        if top.x != LOWEST_KEY {
            let old = vec2<u32>(state.shift, bitcast<u32>(state.exponent));
            let to = base_at(bits_of(top.x));
            if state.kind == BASED {
                state.others = rebased(state.others, old, to);
            }
            state.kind = BASED;
            state.shift = to.x;
            state.exponent = bitcast<i32>(to.y);
            shared_base = base_of(state.shift, state.exponent, NO_ROOM);
            choosing = 0u;
            return;
        }
        next += 1u;
    }
}

// Adds the sums of the eight blocks, as far as they fit the base.
fn take(blocks: u32) {
    for (var b = 0u; b < GROUPS; b++) {
        if next >= blocks {
            return;
        }
        let top = tops[b * LANES];
        if top.y > 0.0 {
            state.kind = BROKEN;
            next = blocks;
            return;
        }
        if top.x > ceiling() {
            choosing = 1u;
            return;
        }
        state.others = add(state.others, doubles[b * LANES]);
        next += 1u;
    }
}

@compute @workgroup_size(THREADS)
fn fold(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) i: u32) {
    let row = group.x;
    let goal = targets[params.first_row + row];
    if goal == params.ignore_index {
        if i == 0u {
            states[params.first_row + row].kind = UNSCORED;
        }
        return;
    }
    let blocks = (params.vocab + BLOCK - 1u) / BLOCK;
    let lane = i % LANES;
    if i == 0u {
        let value = value_at(row, goal);
        state = RowState(0u, 0, select(BASELESS, BROKEN, is_bad(value)), value, vec2<u32>(0u, 0u));
        next = select(0u, blocks, is_bad(value));
        choosing = 1u;
    }
    workgroupBarrier();
    loop {
        let at = workgroupUniformLoad(&next);
        if at >= blocks {
            break;
        }
        let first = (at + i / LANES) * BLOCK;
        if workgroupUniformLoad(&choosing) == 1u {
            keys[i] = lane_top(row, first, lane, goal);
            for (var half = LANES / 2u; half > 0u; half /= 2u) {
                workgroupBarrier();
                if lane < half {
                    keys[i] = max(keys[i], keys[i + half]);
                }
            }
            workgroupBarrier();
            if i == 0u {
                choose(blocks);
            }
        } else {
            let sums = lane_sums(shared_base, row, first, lane, goal);
            doubles[i] = lane_double(sums);
            tops[i] = vec2<f32>(sums.top, f32(sums.broken));
            for (var half = LANES / 2u; half > 0u; half /= 2u) {
                workgroupBarrier();
                if lane < half {
                    doubles[i] = add(doubles[i], doubles[i + half]);
                    tops[i] = max(tops[i], tops[i + half]);
                }
            }
            workgroupBarrier();
            if i == 0u {
                take(blocks);
            }
        }
        workgroupBarrier();
    }
    if i == 0u {
        states[params.first_row + row] = state;
    }
}
