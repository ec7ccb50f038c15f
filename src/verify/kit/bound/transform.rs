//! The transform of a logit, and its derivative.

use super::super::Precision;
use super::times;
use crate::verify::Transform;

/// δ of `y = softcap(scale · x)/temperature`; none where the product may leave the range.
pub(super) fn of_transform(precision: &Precision, transform: &Transform, x: f64, dx: f64) -> f64 {
    let u = precision.unit();
    let &Transform { scale, softcap, temperature } = transform;
    if !x.is_finite() {
        return 0.0;
    }
    let v = scale * x;
    let mut error = times(scale, dx) + if scale == 1.0 { 0.0 } else { u * v.abs() };
    if error == f64::INFINITY
        || (scale != 1.0 && v.abs() + error >= precision.arithmetic.overflow())
    {
        return f64::INFINITY;
    }
    let mut y = v;
    if let Some(c) = softcap {
        let w = v / c;
        let tanh = libm::tanh(w);
        let of_w = error / c + argument(precision, w);
        // Where the error of w is not small, the curve's steepest slope on the way counts; a tanh
        // is between −1 and 1 whatever its argument is.
        let moved = times(slope_near(w, of_w), of_w).min(1.0 + tanh.abs());
        let of_tanh = moved + 2.0 * u * precision.tanh.at(w) * tanh.abs().max(moved);
        y = c * tanh;
        error = c * of_tanh + u * (y.abs() + c * of_tanh);
    }
    if temperature != 1.0 {
        y /= temperature;
        error = error / temperature + precision.divided(1.0) * (y.abs() + error / temperature);
    }
    error
}

/// `1 − tanh²` at an x, and how far it may be off as a difference, with what x and its argument are
/// off.
pub(super) fn of_slope(
    precision: &Precision,
    transform: &Transform,
    (x, dx): (f64, f64),
) -> (f64, f64) {
    let Some(c) = transform.softcap else { return (1.0, 0.0) };
    let u = precision.unit();
    let v = transform.scale * x / c;
    let of_v = times(transform.scale / c, dx) + argument(precision, v);
    let tanh = libm::tanh(v).abs();
    let slope = slope_near(v, 0.0);
    // Steepest where the curve is nearest to 0; and between 0 and 1 whatever the argument is.
    let moved = (slope_near(v, of_v) - slope).max(times(2.0 * tanh * slope, of_v));
    let moved = moved.min(slope.max(1.0 - slope));
    let of_tanh = 2.0 * u * precision.tanh.at(v) * tanh;
    (slope, moved + 2.0 * tanh * of_tanh + 3.0 * u)
}

/// What the argument v of a tanh may be off, after a product and a division.
fn argument(precision: &Precision, v: f64) -> f64 {
    (precision.divided(1.0) + 2.0 * precision.unit()) * v.abs().min(1e30)
}

fn slope_near(w: f64, by: f64) -> f64 {
    let cosh = libm::cosh((w.abs() - by).max(0.0));
    1.0 / cosh / cosh
}
