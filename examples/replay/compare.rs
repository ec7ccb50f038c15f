//! One line a comparison: expected, found, the error, and whether it is tolerated.

/// Collects comparisons and remembers whether one failed.
pub struct Report {
    pub failed: bool,
    /// Leaves out the single figures of long lists.
    pub brief: bool,
}

/// A found figure beside the expected one.
#[derive(Clone, Copy, Debug)]
pub struct Figure {
    pub expected: f64,
    pub found: f64,
    /// How far they may be apart.
    pub tolerance: f64,
}

impl Figure {
    fn error(&self) -> f64 {
        (self.found - self.expected).abs()
    }

    /// NaN is never tolerated, unless it is expected.
    fn is_tolerated(&self) -> bool {
        self.error() <= self.tolerance
            || self.found.to_bits() == self.expected.to_bits()
            || (self.found.is_nan() && self.expected.is_nan())
    }
}

impl Report {
    /// A single figure.
    pub fn figure(&mut self, name: &str, figure: Figure) {
        let ok = figure.is_tolerated();
        self.failed |= !ok;
        println!(
            "  {name:<34} expected {:<22} found {:<22} error {:.1e} of {:.1e}{}",
            figure.expected,
            figure.found,
            figure.error(),
            figure.tolerance,
            if ok { "" } else { "  FAILED" },
        );
    }

    /// Many figures of one kind, and a line with the typical error and the worst by its tolerance.
    pub fn figures(&mut self, name: &str, figures: &[(String, Figure)]) {
        if !self.brief {
            for (at, figure) in figures {
                self.figure(&format!("{name} {at}"), *figure);
            }
        }
        let share = |f: &Figure| if f.is_tolerated() { f.error() / f.tolerance } else { f64::MAX };
        let failed = figures.iter().filter(|(_, f)| !f.is_tolerated()).count();
        self.failed |= failed > 0;
        let by_share =
            |a: &&(String, Figure), b: &&(String, Figure)| share(&a.1).total_cmp(&share(&b.1));
        let Some((at, worst)) = figures.iter().max_by(by_share) else { return };
        let mut errors: Vec<f64> = figures.iter().map(|(_, f)| f.error()).collect();
        errors.sort_by(f64::total_cmp);
        let typical = errors.get(errors.len() / 2).copied().unwrap_or(f64::NAN);
        println!(
            "  {name:<34} {} figures, typical error {typical:.1e}, worst {:.1e} of {:.1e}: \
             {at} expected {} found {}{}",
            figures.len(),
            worst.error(),
            worst.tolerance,
            worst.expected,
            worst.found,
            if failed == 0 { String::new() } else { format!("  FAILED: {failed} figures") },
        );
    }
}
