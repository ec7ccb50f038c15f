//! The f-divergences by themselves: each function of each, by its type and chosen at run time,
//! against the formulas of the paper, and where the scores overflow.

use dpo_kernel::loss::{
    AlphaDivergence, AnyDivergence, Divergence, ForwardKl, JensenShannon, ReverseKl,
};

/// A divergence by name: the paper's α, or none for Jensen and Shannon.
#[derive(Clone, Copy, Debug)]
struct Formula {
    alpha: Option<f64>,
}

impl Formula {
    /// g(u), with g(0) = 0.
    fn score(self, u: f64) -> f64 {
        match self.alpha {
            Some(0.0) => u,
            Some(alpha) => (1.0 - (-alpha * u).exp()) / alpha,
            None => 2.0_f64.ln() - (1.0 + (-u).exp()).ln(),
        }
    }

    /// g′(u)
    fn slope(self, u: f64) -> f64 {
        match self.alpha {
            Some(alpha) => (-alpha * u).exp(),
            None => 1.0 / (1.0 + u.exp()),
        }
    }
}

fn check<D: Divergence>(what: &str, divergence: D, formula: Formula) {
    let near = |found: f64, expected: f64, size: f64| {
        assert!((found - expected).abs() <= 1e-14 * size, "{what}: {found} is not {expected}");
    };
    let points = [-3.0, -0.75, 0.0, 0.5, 2.25];
    for a in points {
        near(divergence.score(a), formula.score(a), 1.0 + formula.score(a).abs());
        near(divergence.slope(a), formula.slope(a), formula.slope(a));
        for b in points {
            let (x, y) = (formula.score(a), formula.score(b));
            let size = 1.0 + x.abs() + y.abs();
            near(divergence.difference(a, b), x - y, size);
            near(divergence.mean_difference((a, 3.0), (b, 5.0)), x / 3.0 - y / 5.0, size);
        }
    }
    assert_eq!(divergence.score(0.0), 0.0, "{what}: at the reference");
    assert_eq!(divergence.mean_difference((-0.5, 7.0), (-0.5, 7.0)), 0.0, "{what}: equal answers");
}

#[test]
fn have_the_scores_and_slopes_of_the_paper() {
    let alpha = |alpha| AlphaDivergence::with_paper_alpha(alpha).unwrap();
    let of = |alpha| Formula { alpha: Some(alpha) };
    let js = Formula { alpha: None };
    check("reverse KL", ReverseKl, of(0.0));
    check("forward KL", ForwardKl, of(1.0));
    check("JS", JensenShannon, js);
    check("any reverse KL", AnyDivergence::ReverseKl, of(0.0));
    check("any forward KL", AnyDivergence::ForwardKl, of(1.0));
    check("any JS", AnyDivergence::JensenShannon, js);
    for of_paper in [-0.7, 0.0, 0.25, 0.7, 1.0, 1.5] {
        check("α", alpha(of_paper), of(of_paper));
        check("any α", AnyDivergence::Alpha(alpha(of_paper)), of(of_paper));
    }
    // TRL's α is the complement.
    check("TRL's α", AlphaDivergence::with_trl_alpha(0.25).unwrap(), of(0.75));
}

/// Where both scores overflow the larger one decides, and lengths count; equal ones have no
/// difference.
#[test]
fn that_overflow_are_compared_by_their_logarithms() {
    fn compare<D: Divergence>(divergence: D, sign: f64) {
        let at = |a: f64, m: f64, b: f64, n: f64| divergence.mean_difference((a, m), (b, n));
        // A log-ratio of ∓800 and one a tenth nearer to 0: the scores differ by e^0.1 or e^0.15, more
        // than 10 and 9.5 tokens do and less than 10 and 8.
        let (far, near) = (sign * -800.0, sign * -799.9);
        let worse = sign * f64::NEG_INFINITY;
        for (m, n) in [(10.0, 10.0), (9.0, 9.0), (10.0, 9.5), (1.0, 1000.0)] {
            assert_eq!(at(far, m, near, n), worse, "{m}, {n}");
            assert_eq!(at(near, n, far, m), -worse, "{m}, {n}");
        }
        for (m, n) in [(10.0, 8.0), (5.0, 4.0), (1000.0, 1.0)] {
            assert_eq!(at(far, m, near, n), -worse, "{m}, {n}");
            assert_eq!(at(near, n, far, m), worse, "{m}, {n}");
        }
        // A last digit of the log-ratio, below what a logarithm of the scores has.
        let next = far.next_up();
        let of_next = if sign > 0.0 { -worse } else { worse };
        assert_eq!(at(next, 7.0, far, 7.0), of_next, "the next number");
        assert_eq!(at(far, 7.0, far, 7.0), 0.0, "equal answers");
        assert_eq!(divergence.difference(far, far), 0.0, "equal answers, in sums");
        // One alone overflows.
        assert_eq!(at(far, 7.0, 0.5, 7.0), worse);
        assert_eq!(at(0.5, 7.0, far, 7.0), -worse);
    }
    compare(ForwardKl, 1.0);
    compare(AnyDivergence::ForwardKl, 1.0);
    compare(AlphaDivergence::with_paper_alpha(1.5).unwrap(), 1.0);
    // With α < 0 the scores of answers far above the reference overflow, to +∞.
    compare(AlphaDivergence::with_paper_alpha(-1.5).unwrap(), -1.0);
}
