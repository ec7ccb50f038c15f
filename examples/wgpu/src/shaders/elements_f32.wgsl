// Elements of f32: one a word, as bits.

const HALVES: u32 = 1u;

fn decoded(word: u32, element: u32) -> u32 {
    return word;
}

fn encoded(bits: u32) -> u32 {
    return bits;
}
