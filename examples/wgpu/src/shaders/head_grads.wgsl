// The hidden gradient of a head, from logits that are made a second time. A workgroup is four rows.
//
//     c ((1 - p) dy/dx W[target] - sum over the other columns of p dy/dx W)
//
// Along V in chains of 256 columns, chain after chain. The sums of a row are kept in its place among the results.

const WIDTH: u32 = 256u;

@group(0) @binding(1) var<storage, read> maps: array<RowMap>;
@group(0) @binding(2) var<storage, read_write> d_hidden: array<f32>;

fn value_at(row: u32, column: u32) -> u32 {
    return NEG_INFINITY;
}

@compute @workgroup_size(256)
fn head_grads(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) i: u32) {
    let first_row = group.x * TILE_ROWS;
    let last = params.rows - 1u;
    var lines = vec4<u32>(0u);
    var some = TILE_ROWS;
    for (var r = 0u; r < TILE_ROWS; r++) {
        if first_row + r <= last && maps[params.first_row + first_row + r].kind == PLAIN {
            some = r;
        }
    }
    if some < TILE_ROWS {
        for (var r = 0u; r < TILE_ROWS; r++) {
            lines[r] = first_row + some;
            if first_row + r <= last && maps[params.first_row + first_row + r].kind == PLAIN {
                lines[r] = first_row + r;
            }
        }
        for (var first = 0u; first < params.vocab; first += CHAIN) {
            make_tile(lines, first, i);
            let column = first + i;
            if column < params.vocab {
                var terms = vec4<f32>(0.0);
                for (var r = 0u; r < TILE_ROWS; r++) {
                    let numbers = maps[params.first_row + lines[r]];
                    if column != numbers.goal {
                        terms[r] = term_of(numbers, bitcast<u32>(tile[i][r]));
                    }
                }
                tile[i] = terms;
            }
            workgroupBarrier();
            let len = min(CHAIN, params.vocab - first);
            for (var h = i; h < params.hidden_size; h += 256u) {
                var sum = vec4<f32>(0.0);
                for (var j = 0u; j < len; j++) {
                    sum = own_4(own_4(tile[j] * weight_at(first + j, h)) + sum);
                }
                for (var r = 0u; r < TILE_ROWS; r++) {
                    if lines[r] == first_row + r {
                        let at = params.out_start + lines[r] * params.hidden_size + h;
                        if first == 0u {
                            d_hidden[at] = sum[r];
                        } else {
                            d_hidden[at] = own(d_hidden[at] + sum[r]);
                        }
                    }
                }
            }
        }
    }
    for (var r = 0u; r < TILE_ROWS; r++) {
        if first_row + r > last {
            return;
        }
        let numbers = maps[params.first_row + first_row + r];
        for (var h = i; h < params.hidden_size; h += 256u) {
            let at = params.out_start + (first_row + r) * params.hidden_size + h;
            if numbers.kind == ZEROS {
                d_hidden[at] = 0.0;
            } else if numbers.kind == NANS {
                d_hidden[at] = bitcast<f32>(NAN ^ params.zero);
            } else if numbers.kind == PLAIN {
                let sums = own(d_hidden[at] * numbers.sums_factor);
                d_hidden[at] = own(mul_add(weight_at(numbers.goal, h), bitcast<f32>(numbers.goal_grad), sums));
            }
        }
    }
}
