// Stage 6: x -> -c p(x) dy/dx over the rows' columns, and the target's gradient in its place.
//
// An invocation is a word of the gradients: one element of f32, two of 16 bits. Of the words that a row shares with its
// neighbour or with padding it changes its own half alone, by an atomic exclusive or.

@group(0) @binding(1) var<storage, read> maps: array<RowMap>;
@group(0) @binding(2) var<storage, read_write> grads: array<atomic<u32>>;

// Words of a workgroup.
const CHUNK: u32 = 2048u;

fn grad_of(numbers: RowMap, row: u32, column: u32) -> u32 {
    if numbers.kind == ZEROS {
        return 0u;
    }
    if numbers.kind == NANS {
        return NAN;
    }
    if column == numbers.goal {
        return numbers.goal_grad;
    }
    return bitcast<u32>(term_of(numbers, logit_at(row, column)));
}

@compute @workgroup_size(256)
fn map(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) i: u32) {
    let row = group.y;
    let numbers = maps[params.first_row + row];
    if numbers.kind == UNTOUCHED {
        return;
    }
    let first = params.out_start + row * params.out_stride;
    let end = (first + params.vocab + HALVES - 1u) / HALVES;
    for (var at = i; at < CHUNK; at += 256u) {
        let word = first / HALVES + group.x * CHUNK + at;
        if word >= end {
            return;
        }
        // Before the row's first column it wraps around, and is past its last.
        let column = word * HALVES - first;
        if HALVES == 1u {
            atomicStore(&grads[word], grad_of(numbers, row, column));
        } else if column < params.vocab && column + 1u < params.vocab {
            let low = encoded(grad_of(numbers, row, column));
            let high = encoded(grad_of(numbers, row, column + 1u));
            atomicStore(&grads[word], low | (high << 16u));
        } else if column < params.vocab {
            let grad = encoded(grad_of(numbers, row, column));
            atomicXor(&grads[word], (atomicLoad(&grads[word]) & 0xffffu) ^ grad);
        } else if column + 1u < params.vocab {
            let grad = encoded(grad_of(numbers, row, column + 1u));
            atomicXor(&grads[word], ((atomicLoad(&grads[word]) >> 16u) ^ grad) << 16u);
        }
    }
}
