// Elements of f16: two a word, converted in integers. `unpack2x16float` may flush subnormals, and WGSL's own f16 needs a
// feature of the adapter.

const HALVES: u32 = 2u;

// The bits of the f32 of the same value.
fn decoded(word: u32, element: u32) -> u32 {
    let half = select(word & 0xffffu, word >> 16u, (element & 1u) == 1u);
    let sign = (half & 0x8000u) << 16u;
    let size = half & 0x7fffu;
    if size >= 0x7c00u {
        return sign | 0x7f800000u | ((size & 0x3ffu) << 13u);
    }
    if size >= 0x400u {
        return sign | ((size << 13u) + 0x38000000u);
    }
    if size == 0u {
        return sign;
    }
    let lead = firstLeadingBit(size);
    return sign | ((lead + 103u) << 23u) | ((size << (23u - lead)) & 0x7fffffu);
}

// The nearest, ties to even, infinite from 65520 on; NaN stays one.
fn encoded(bits: u32) -> u32 {
    let sign = (bits >> 16u) & 0x8000u;
    let size = bits & 0x7fffffffu;
    if size > 0x7f800000u {
        return sign | 0x7e00u;
    }
    if size >= 0x477ff000u {
        return sign | 0x7c00u;
    }
    if size >= 0x38800000u {
        return sign | ((size - 0x38000000u + 0xfffu + ((size >> 13u) & 1u)) >> 13u);
    }
    if size <= 0x33000000u {
        return sign;
    }
    // Subnormal: a multiple of 2^-24.
    let by = 126u - (size >> 23u);
    let m = (size & 0x7fffffu) | 0x800000u;
    let rest = m & ((1u << by) - 1u);
    let middle = 1u << (by - 1u);
    var r = m >> by;
    if rest > middle || (rest == middle && (r & 1u) == 1u) {
        r += 1u;
    }
    return sign | r;
}
