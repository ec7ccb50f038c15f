// Stages 1 of a head: tiles of logits, folded as they are made. A workgroup is four rows.

const WIDTH: u32 = 512u;

@group(0) @binding(2) var<storage, read> targets: array<u32>;
@group(0) @binding(3) var<storage, read_write> states: array<RowState>;

var<workgroup> doubles: array<vec2<u32>, 64>;
var<workgroup> keys: array<vec2<i32>, 64>;
var<workgroup> tops: array<vec2<f32>, 64>;
var<workgroup> bases: array<Base, 4>;
var<workgroup> rows_of: array<RowState, 4>;
var<workgroup> again: u32;
var<workgroup> first_column: u32;

// `column` is of the vocabulary, `row` of the tile.
fn value_at(row: u32, column: u32) -> u32 {
    return value_of(bitcast<u32>(tile[column - first_column][row]));
}

fn rebase_row(r: u32) {
    let to = base_at(bits_of(keys[r * LANES].x));
    if rows_of[r].kind == BASED {
        let old = vec2<u32>(rows_of[r].shift, bitcast<u32>(rows_of[r].exponent));
        rows_of[r].others = rebased(rows_of[r].others, old, to);
    }
    rows_of[r].kind = BASED;
    rows_of[r].shift = to.x;
    rows_of[r].exponent = bitcast<i32>(to.y);
    bases[r] = base_of(to.x, bitcast<i32>(to.y), NO_ROOM);
}

@compute @workgroup_size(256)
fn head_fold(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) i: u32) {
    let first_row = group.x * TILE_ROWS;
    let last = params.rows - 1u;
    let r = (i / LANES) % TILE_ROWS;
    let row = min(first_row + r, last);
    let lane = i % LANES;
    let goal = targets[params.first_row + row];
    let is_folding = i < TILE_ROWS * LANES && first_row + r <= last && goal != params.ignore_index;
    if i == 0u {
        again = 0u;
    }
    workgroupBarrier();
    if is_folding && lane == 0u {
        rows_of[r] = RowState(0u, 0, BASELESS, NEG_INFINITY, vec2<u32>(0u, 0u));
        again = 1u;
    } else if i < TILE_ROWS * LANES && lane == 0u {
        rows_of[r].kind = UNSCORED;
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
        some = select(some, k, rows_of[k].kind != UNSCORED);
    }
    for (var k = 0u; k < TILE_ROWS; k++) {
        lines[k] = first_row + select(some, k, rows_of[k].kind != UNSCORED);
    }
    for (var first = 0u; first < params.vocab; first += BLOCK) {
        make_tile(lines, first, i);
        if i == 0u {
            first_column = first;
        }
        workgroupBarrier();
        // The largest value of each row, the target left out.
        if is_folding {
            keys[i] = lane_top(r, first, lane, goal);
        }
        for (var half = LANES / 2u; half > 0u; half /= 2u) {
            workgroupBarrier();
            if is_folding && lane < half {
                keys[i] = max(keys[i], keys[i + half]);
            }
        }
        workgroupBarrier();
        if is_folding && lane == 0u {
            if goal >= first && goal - first < BLOCK {
                rows_of[r].target_value = value_at(r, goal);
            }
            if keys[i].y != 0 {
                rows_of[r].kind = BROKEN;
            }
            if rows_of[r].kind == BASELESS && keys[i].x != LOWEST_KEY {
                rebase_row(r);
            }
        }
        workgroupBarrier();
        // Once more by a new base, where a row's terms are too large.
        for (var attempt = 0u; attempt < 2u; attempt++) {
            let is_summing = is_folding && rows_of[r].kind == BASED && (attempt == 0u || tops[r * LANES].y > 0.0);
            workgroupBarrier();
            if i == 0u {
                again = 0u;
            }
            if is_summing {
                let sums = lane_sums(bases[r], r, first, lane, goal);
                doubles[i] = lane_double(sums);
                tops[i] = vec2<f32>(sums.top, 0.0);
            }
            for (var half = LANES / 2u; half > 0u; half /= 2u) {
                workgroupBarrier();
                if is_summing && lane < half {
                    doubles[i] = add(doubles[i], doubles[i + half]);
                    tops[i] = max(tops[i], tops[i + half]);
                }
            }
            workgroupBarrier();
            if is_summing && lane == 0u {
                if tops[i].x > ceiling() && attempt == 0u {
                    rebase_row(r);
                    tops[i].y = 1.0;
                    again = 1u;
                } else {
                    tops[i].y = 0.0;
                    rows_of[r].others = add(rows_of[r].others, doubles[i]);
                }
            }
            if workgroupUniformLoad(&again) == 0u {
                break;
            }
        }
    }
    workgroupBarrier();
    if is_folding && lane == 0u {
        if is_bad(rows_of[r].target_value) {
            rows_of[r].kind = BROKEN;
        }
        states[params.first_row + row] = rows_of[r];
    }
}
