//! What two lists of log-probs differ by: quantiles, ratios, and estimates of the divergence.
//!
//! ```text
//! Δ_t = log p_B(t) − log p_A(t),   r_t = e^Δ_t
//! ```
//!
//! If the tokens were drawn from A, the mean of each of these estimates KL(A ‖ B):
//! k1 = −ln r, k2 = ½ (ln r)², k3 = r − 1 − ln r. k1 and k3 are unbiased; k2 and k3 are never
//! negative (Schulman 2020, *Approximating KL divergence*).

/// A mean and its standard error.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mean {
    pub(crate) mean: f64,
    pub(crate) error: f64,
}

impl Mean {
    fn of(values: impl Iterator<Item = f64> + Clone) -> Self {
        let n = values.clone().count() as f64;
        let mean = values.clone().sum::<f64>() / n;
        let squares: f64 = values.map(|x| (x - mean) * (x - mean)).sum();
        // One value tells nothing of its spread: 0 / 0.
        Self { mean, error: (squares / (n - 1.0) / n).sqrt() }
    }
}

/// Of the tokens that have a finite log-prob on both sides.
#[derive(Clone, Debug)]
pub(crate) struct Figures {
    pub(crate) count: usize,
    /// Of |Δ|: median, 90, 99 and 99.9 %, greatest.
    pub(crate) quantiles: [f64; 5],
    pub(crate) ratio: Mean,
    pub(crate) ratios: (f64, f64),
    /// The share of the tokens whose ratio a clip touches.
    pub(crate) clipped: f64,
    pub(crate) k1: Mean,
    pub(crate) k2: Mean,
    pub(crate) k3: Mean,
}

impl Figures {
    /// `None` where no token is finite on both sides. `deltas` may hold others.
    pub(crate) fn of(deltas: &[f64], clip: f64) -> Option<Self> {
        let finite: Vec<f64> = deltas.iter().copied().filter(|x| x.is_finite()).collect();
        let mut sizes: Vec<f64> = finite.iter().map(|x| x.abs()).collect();
        sizes.sort_unstable_by(f64::total_cmp);
        let greatest = *sizes.last()?;
        let at = |share| quantile(&sizes, share).unwrap_or(f64::NAN);
        let each = |f: fn(f64) -> f64| finite.iter().map(move |&x| f(x));
        let ratios = each(f64::exp)
            .fold((f64::INFINITY, 0.0_f64), |(low, high), r| (low.min(r), high.max(r)));
        let touched = each(f64::exp).filter(|r| (r - 1.0).abs() > clip).count();
        Some(Self {
            count: finite.len(),
            quantiles: [at(0.5), at(0.9), at(0.99), at(0.999), greatest],
            ratio: Mean::of(each(f64::exp)),
            ratios,
            clipped: touched as f64 / finite.len() as f64,
            k1: Mean::of(each(|x| -x)),
            k2: Mean::of(each(|x| 0.5 * x * x)),
            k3: Mean::of(each(|x| x.exp_m1() - x)),
        })
    }
}

/// The smallest of sorted values that a share of them does not exceed.
pub(crate) fn quantile(sorted: &[f64], share: f64) -> Option<f64> {
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.max(1) - 1).copied()
}

/// The middle of values in any order; `None` of none.
pub(crate) fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_unstable_by(f64::total_cmp);
    quantile(&values, 0.5)
}
