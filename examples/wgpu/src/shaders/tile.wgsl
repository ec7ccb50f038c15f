// A tile of a head's logits in workgroup memory: four rows by a block of columns. It is all there ever is of them.

const TILE_ROWS: u32 = 4u;

// Column by column, four rows each.
var<workgroup> tile: array<vec4<f32>, WIDTH>;
var<workgroup> states_of: array<vec4<f32>, CHAIN>;

// Makes the logits of the columns from `first` on. `rows` are the tile's rows; those past the last repeat it.
fn make_tile(rows: vec4<u32>, first: u32, i: u32) {
    var logits: array<vec4<f32>, WIDTH / 256u>;
    for (var begin = 0u; begin < params.hidden_size; begin += CHAIN) {
        workgroupBarrier();
        let k = begin + i;
        if k < params.hidden_size {
            states_of[i] = vec4<f32>(
                hidden_at(rows.x, k), hidden_at(rows.y, k), hidden_at(rows.z, k), hidden_at(rows.w, k)
            );
        }
        workgroupBarrier();
        let len = min(CHAIN, params.hidden_size - begin);
        for (var part = 0u; part < WIDTH / 256u; part++) {
            let column = first + part * 256u + i;
            if column < params.vocab {
                var sum = vec4<f32>(0.0);
                for (var k = 0u; k < len; k++) {
                    sum = own_4(own_4(states_of[k] * weight_at(column, begin + k)) + sum);
                }
                logits[part] = own_4(logits[part] + sum);
            }
        }
    }
    for (var part = 0u; part < WIDTH / 256u; part++) {
        let at = part * 256u + i;
        if first + at < params.vocab {
            let x = logits[part];
            let column = first + at;
            tile[at] = vec4<f32>(
                biased(x.x, column), biased(x.y, column), biased(x.z, column), biased(x.w, column)
            );
        }
    }
    workgroupBarrier();
}
