// Stages 1 of a head: tiles of logits, folded as they are made. A workgroup is four rows.

const WIDTH: u32 = 512u;
const GROUPS: u32 = TILE_ROWS;

@group(0) @binding(2) var<storage, read> targets: array<u32>;
@group(0) @binding(3) var<storage, read_write> states: array<RowState>;

var<workgroup> is_scored: array<bool, TILE_ROWS>;
var<workgroup> first_column: u32;

// `column` is of the vocabulary, `row` of the tile.
fn value_at(row: u32, column: u32) -> u32 {
    return value_of(bitcast<u32>(tile[column - first_column][row]));
}

@compute @workgroup_size(256)
fn head_fold(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) i: u32) {
    let first_row = group.x * TILE_ROWS;
    let last = params.rows - 1u;
    let r = (i / LANES) % TILE_ROWS;
    let row = min(first_row + r, last);
    let goal = targets[params.first_row + row];
    let is_folding = i < THREADS && first_row + r <= last && goal != params.ignore_index;
    let is_first = is_folding && i % LANES == 0u;
    if i == 0u {
        again = 0u;
    }
    begin_blocks(i);
    workgroupBarrier();
    if is_first {
        is_scored[r] = true;
        again = 1u;
    } else if i < THREADS && i % LANES == 0u {
        is_scored[r] = false;
        if first_row + r <= last {
            states[params.first_row + row].kind = UNSCORED;
        }
    }
    // None of the four is scored.
    if workgroupUniformLoad(&again) == 0u {
        return;
    }
    // Rows that are not scored are not read: the tile has another's in their place.
    var lines = vec4<u32>(0u);
    var some = 0u;
    for (var k = 0u; k < TILE_ROWS; k++) {
        some = select(some, k, is_scored[k]);
    }
    for (var k = 0u; k < TILE_ROWS; k++) {
        lines[k] = first_row + select(some, k, is_scored[k]);
    }
    var state = empty(NEG_INFINITY);
    for (var first = 0u; first < params.vocab; first += BLOCK) {
        make_tile(lines, first, i);
        if i == 0u {
            first_column = first;
        }
        workgroupBarrier();
        if is_first && goal >= first && goal - first < BLOCK {
            state.target_value = value_at(r, goal);
        }
        state = with_block(state, !is_folding, r, first, goal, i);
    }
    if is_first {
        if is_bad(state.target_value) {
            state.kind = BROKEN;
        }
        states[params.first_row + row] = state;
    }
}
