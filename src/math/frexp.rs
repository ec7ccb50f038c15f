//! A number as one in ±[½, 1) and a power of two.

/// A number in ±[½, 1), and the power of two that makes it `x`; (x, 0) where there is none.
pub(crate) fn frexp(x: f64) -> (f64, i32) {
    const EXPONENT: u64 = 0x7ff << 52;
    let (mut bits, mut moved) = (x.to_bits(), 0);
    if bits & EXPONENT == 0 {
        // A subnormal number is made normal.
        (bits, moved) = ((x * f64::from_bits(1087 << 52)).to_bits(), 64);
    }
    if bits << 1 == 0 || bits & EXPONENT == EXPONENT {
        return (x, 0);
    }
    #[allow(clippy::cast_possible_truncation, reason = "eleven bits")]
    let exponent = ((bits & EXPONENT) >> 52) as i32;
    (f64::from_bits(bits & !EXPONENT | 1022 << 52), exponent - 1022 - moved)
}
