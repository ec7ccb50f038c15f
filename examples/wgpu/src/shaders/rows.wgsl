// Stage 1: a row of logits in memory, folded into its state. A workgroup is a row, eight blocks at once.
//
//     for each eighth of the row's blocks:  add up its blocks
//     add up the eight
//
// The bits are those of one block after the other, because sums of blocks are exact.

@group(0) @binding(1) var<storage, read> logits: array<u32>;
@group(0) @binding(2) var<storage, read> targets: array<u32>;
@group(0) @binding(3) var<storage, read_write> states: array<RowState>;

// Blocks at once: 8, or 1 of rows that are no longer than one.
const GROUPS: u32 = 8u;

var<workgroup> parts: array<RowState, GROUPS>;

fn value_at(row: u32, column: u32) -> u32 {
    let element = params.start + row * params.stride + column;
    return value_of(decoded(logits[element / HALVES], element));
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
    var state = empty(value_at(row, goal));
    if is_bad(state.target_value) {
        state.kind = BROKEN;
    }
    begin_blocks(i);
    workgroupBarrier();
    for (var first = 0u; first < params.vocab; first += GROUPS * BLOCK) {
        let own_first = first + (i / LANES) * BLOCK;
        state = with_block(state, own_first >= params.vocab, row, own_first, goal, i);
    }
    if i % LANES == 0u {
        parts[i / LANES] = state;
    }
    workgroupBarrier();
    if i == 0u {
        for (var part = 1u; part < GROUPS; part++) {
            state = merged(state, parts[part]);
        }
        states[params.first_row + row] = state;
    }
}
