//! Sums with Neumaier's compensation, and what is made of them in two passes.

/// Half the distance of 1 to the next f64: the error of one rounding, relative.
pub const U: f64 = f64::EPSILON / 2.0;

/// Σ x, as if with twice the digits.
pub fn sum(values: impl IntoIterator<Item = f64>) -> f64 {
    let (mut sum, mut lost) = (0.0_f64, 0.0_f64);
    for x in values {
        let next = sum + x;
        lost += if sum.abs() >= x.abs() { (sum - next) + x } else { (x - next) + sum };
        sum = next;
    }
    sum + lost
}

pub fn mean(x: &[f64]) -> f64 {
    sum(x.iter().copied()) / x.len() as f64
}

/// Σ (x − mean x)(y − mean y)
pub fn co_spread(x: &[f64], y: &[f64]) -> f64 {
    let (mean_x, mean_y) = (mean(x), mean(y));
    sum(x.iter().zip(y).map(|(x, y)| (x - mean_x) * (y - mean_y)))
}

/// The standard deviation of a sample: over n − 1.
pub fn deviation(x: &[f64]) -> f64 {
    (co_spread(x, x) / (x.len() - 1) as f64).sqrt()
}

/// Mean square over variance: how much a variance from sums is off beyond their rounding.
pub fn cancellation(x: &[f64]) -> f64 {
    sum(x.iter().map(|x| x * x)) / co_spread(x, x)
}

#[test]
fn sums_keep_what_plain_sums_lose() {
    let values = [1.0, 1e100, 1.0, -1e100];
    assert_eq!(sum(values), 2.0);
    assert_eq!(values.iter().sum::<f64>(), 0.0, "the control: a plain sum would not do");
}
