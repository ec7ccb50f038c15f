// Elements of bf16: two a word.

const HALVES: u32 = 2u;

// The bits of the f32 of the same value.
fn decoded(word: u32, element: u32) -> u32 {
    return select(word << 16u, word & 0xffff0000u, (element & 1u) == 1u);
}

// The nearest, ties to even; NaN stays one.
fn encoded(bits: u32) -> u32 {
    if (bits & 0x7fffffffu) > 0x7f800000u {
        return (bits >> 16u) | 0x40u;
    }
    return (bits + 0x7fffu + ((bits >> 16u) & 1u)) >> 16u;
}
