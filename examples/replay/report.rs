//! Lines of figures, and whether all of them are within their bounds.

use std::fmt::Write;

/// A figure beside the one that was expected.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Figure {
    pub(crate) found: f64,
    pub(crate) expected: f64,
    pub(crate) bound: f64,
}

impl Figure {
    /// 0 for equal infinities; NaN, which is within no bound, if either is NaN.
    pub(crate) fn error(&self) -> f64 {
        #[allow(clippy::float_cmp, reason = "infinities are equal or not")]
        let equal = self.found == self.expected;
        if equal { 0.0 } else { (self.found - self.expected).abs() }
    }

    pub(crate) fn relative_error(&self) -> f64 {
        if self.error() == 0.0 { 0.0 } else { self.error() / self.expected.abs() }
    }

    /// Above 1 if the figure is out of its bound.
    pub(crate) fn share(&self) -> f64 {
        if self.error() == 0.0 { 0.0 } else { self.error() / self.bound }
    }

    pub(crate) fn ok(&self) -> bool {
        self.error() <= self.bound
    }
}

/// What one dispatch has to show.
#[derive(Debug, Default)]
pub(crate) struct Report {
    lines: String,
    summary: Vec<String>,
    faults: usize,
}

impl Report {
    pub(crate) fn line(&mut self, text: &str) {
        self.lines += "  ";
        self.lines += text;
        self.lines += "\n";
    }

    /// A line with a verdict.
    pub(crate) fn judge(&mut self, text: &str, ok: bool) {
        self.faults += usize::from(!ok);
        self.line(&format!("{text}{}", if ok { "" } else { "   OUT OF TOLERANCE" }));
    }

    pub(crate) fn figure(&mut self, name: &str, figure: &Figure) {
        let Figure { found, expected, bound } = *figure;
        let mut text = format!("{name:<28} found {found:<22} expected {expected:<22}");
        let _ = write!(text, " error {:.1e} of {bound:.1e}", figure.error());
        self.judge(&text, figure.ok());
    }

    /// Part of the last line.
    pub(crate) fn summarise(&mut self, text: String) {
        self.summary.push(text);
    }

    pub(crate) fn ok(&self) -> bool {
        self.faults == 0
    }

    pub(crate) fn lines(&self) -> &str {
        &self.lines
    }

    pub(crate) fn summary(&self) -> String {
        let verdict =
            if self.ok() { "ok".to_owned() } else { format!("{} OUT OF TOLERANCE", self.faults) };
        format!("{}: {verdict}", self.summary.join(", "))
    }
}

/// The largest and the middle one; NaN counts as the largest.
pub(crate) fn worst_and_typical(errors: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    let mut errors: Vec<f64> = errors.collect();
    errors.sort_unstable_by(f64::total_cmp);
    Some((*errors.last()?, *errors.get(errors.len() / 2)?))
}
