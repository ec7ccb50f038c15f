//! A number and its power of two, as `libm` takes it apart.

use crate::source::frexp::frexp;

#[test]
fn frexp_is_libms() {
    let powers = (-1074..1024).map(|n| libm::scalbn(1.0, n));
    let numbers = powers.flat_map(|x| [x, x * 1.999, -x * 1.5, x.next_down()]);
    for x in numbers.chain([0.0, -0.0, f64::MAX, f64::INFINITY]) {
        let ((half, power), (expected, of)) = (frexp(x), libm::frexp(x));
        assert_eq!((half.to_bits(), power), (expected.to_bits(), of), "{x:e}");
    }
}
