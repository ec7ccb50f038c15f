//! What a run found: failures, broken relations, causes.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use super::{Format, Implausible, Mistake, Output, Plan, Precision, Relation};

/// What is wrong about a row, or a pair, of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Wrong {
    /// A figure is further off than its bound.
    Figure,
    /// Something was written in a row that is not scored.
    UnscoredRow,
    /// Something was written past the vocabulary.
    Padding,
}

/// A row, or a pair, with a figure that is wrong: the worst of them.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Failure {
    /// The call: [`Plan::call`] makes it again.
    pub call: String,
    /// What is special about it, in words.
    pub input: String,
    /// What was asked for.
    pub output: Output,
    /// What is wrong.
    pub wrong: Wrong,
    /// Row or pair.
    pub row: usize,
    /// Column of the worst figure of a gradient; 0 to 5 for loss, rewards, margin and derivatives of
    /// a pair.
    pub column: usize,
    /// How many figures of the row are wrong.
    pub count: usize,
    /// What the figure should be, exactly.
    pub expected: f64,
    /// What it is.
    pub found: f64,
    /// What it may be off.
    pub bound: f64,
    /// What it is off, in units in the last place of the format that it is stored in.
    pub ulps: f64,
    /// That format.
    pub format: Format,
    /// The mistake that explains it.
    pub cause: Option<Mistake>,
}

/// A relation that does not hold.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Broken {
    /// Which.
    pub relation: Relation,
    /// The two calls.
    pub calls: [String; 2],
    /// What was asked for.
    pub output: Output,
    /// The row in each call.
    pub rows: [usize; 2],
    /// Column of a gradient, or 0.
    pub column: usize,
    /// What was found in each.
    pub found: [f64; 2],
    /// How many figures of the two rows differ.
    pub count: usize,
}

/// A call that failed, or that was declined.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Unanswered {
    /// The call.
    pub call: String,
    /// What is special about it, in words.
    pub input: String,
    /// What the backend said.
    pub message: String,
}

/// What of an output was compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tested {
    /// Which.
    pub output: Output,
    /// Figures that were held to a bound.
    pub figures: usize,
    /// Figures without a bound, because sums on the way may leave the range of the declared
    /// arithmetic: anything passes, NaN too.
    pub unbounded: usize,
    /// Figures that are held to nothing: those without a bound, and those whose bound is no less than
    /// 1 and than the figure itself.
    pub vacuous: usize,
    /// Rows that were held to the bits of others.
    pub related: usize,
    /// Calls of the plan that it can be asked in.
    pub calls: usize,
    /// Of those, calls that the backend declined.
    pub declined: usize,
}

impl Tested {
    /// Whether none was declined, or fewer than were taken.
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        self.declined == 0 || self.declined < self.calls.saturating_sub(self.declined)
    }
}

/// What a run found.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Report {
    /// Name and version of the backend.
    pub backend: String,
    /// How logits are stored.
    pub storage: Format,
    /// What the bounds were derived from.
    pub precision: Precision,
    /// Why no bounds were derived from it, and no call was made.
    pub refused: Option<Implausible>,
    /// The calls.
    pub plan: Plan,
    /// What was asked for.
    pub offers: Vec<Output>,
    /// How many calls were made.
    pub calls: usize,
    /// What of each output that is offered was compared.
    pub tested: Vec<Tested>,
    /// Rows and pairs with a wrong figure, all of them.
    pub failures: Vec<Failure>,
    /// Relations that do not hold, apart from accuracy.
    pub broken: Vec<Broken>,
    /// Calls that failed.
    pub errors: Vec<Unanswered>,
    /// Calls that the backend declined.
    pub declined: Vec<Unanswered>,
    /// The mistakes that explain failures, with the number of those that each explains, most first.
    pub causes: Vec<(Mistake, usize)>,
}

impl Report {
    /// Whether all figures are within their bounds, nothing was written beside them, no call failed,
    /// and of everything that is offered something was compared.
    #[must_use]
    pub fn is_accurate(&self) -> bool {
        let all = self.tested.iter().all(|tested| tested.figures > 0);
        all && self.figures() > 0 && self.failures.is_empty() && self.errors.is_empty()
    }

    /// How many figures were held to a bound.
    #[must_use]
    pub fn figures(&self) -> usize {
        self.tested.iter().map(|tested| tested.figures).sum()
    }

    /// Those, and the figures without a bound.
    #[must_use]
    pub fn compared(&self) -> usize {
        self.tested.iter().map(|tested| tested.figures + tested.unbounded).sum()
    }

    /// How many rows were held to the bits of others.
    #[must_use]
    pub fn related(&self) -> usize {
        self.tested.iter().map(|tested| tested.related).sum()
    }

    /// Whether every relation holds to the last bit.
    #[must_use]
    pub const fn is_invariant(&self) -> bool {
        self.broken.is_empty()
    }

    /// Whether of every output that is offered more calls were taken than declined: what is said of
    /// the others is said of few.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.tested.iter().all(Tested::is_complete)
    }

    /// All three.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.is_accurate() && self.is_invariant() && self.is_complete()
    }

    /// The failures that no mistake explains.
    #[must_use]
    pub fn unexplained(&self) -> usize {
        self.failures.iter().filter(|failure| failure.cause.is_none()).count()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { call, output, row, column, expected, found, bound, ulps, format, .. } = self;
        write!(f, "{call} ({}): {output} of row {row}", self.input)?;
        match output {
            Output::PairLoss => {
                let names = [
                    "loss",
                    "chosen reward",
                    "rejected reward",
                    "margin",
                    "d chosen",
                    "d rejected",
                ];
                write!(f, ", {}", names.get(*column).copied().unwrap_or("figure"))?;
            }
            Output::LogitGrads | Output::HiddenGrads => write!(f, ", column {column}")?,
            _ => {}
        }
        match self.wrong {
            Wrong::Figure => write!(
                f,
                ": expected {expected:e}, found {found:e}, {ulps:.3e} ulp of {} apart, bound {bound:.3e}",
                format.name()
            )?,
            Wrong::UnscoredRow => write!(f, ": found {found:e} in a row that is not scored")?,
            Wrong::Padding => write!(f, ": found {found:e} past the vocabulary")?,
        }
        if self.count > 1 {
            write!(f, "; {} figures of this row", self.count)?;
        }
        match self.cause {
            Some(cause) => write!(f, "; likely: {cause}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { relation, calls: [a, b], output, rows, column, found: [x, y], count } = self;
        let [from, to] = rows;
        write!(
            f,
            "{}: {output} of row {from} of {a}, column {column}, is {x:e}; of row {to} of {b} it is {y:e}; \
             {count} figures differ",
            relation.words()
        )
    }
}

impl fmt::Display for Unanswered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}): {}", self.call, self.input, self.message)
    }
}

/// The whole report: a verdict, causes, then every failure on a line of its own.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { backend, storage, precision, plan, .. } = self;
        writeln!(f, "{backend}: logits in {}, seed {}", storage.name(), plan.seed)?;
        writeln!(f, "precision: {precision}")?;
        if let Some(refused) = self.refused {
            return writeln!(f, "REFUSED: the precision's {refused}");
        }
        writeln!(
            f,
            "{} calls, {} figures, {} figures of rows held to the bits of others",
            self.calls,
            self.figures(),
            self.related()
        )?;
        let invariant = match self.is_invariant() {
            true if self.related() == 0 => "not tested",
            true => "ok",
            false => "FAILED",
        };
        let accurate = if self.is_accurate() { "ok" } else { "FAILED" };
        write!(f, "accuracy: {accurate}")?;
        let vacuous: usize = self.tested.iter().map(|tested| tested.vacuous).sum();
        if vacuous > 0 {
            write!(f, " ({vacuous} of {} figures are held to nothing)", self.compared())?;
        }
        write!(f, ", invariance: {invariant}")?;
        if !self.declined.is_empty() {
            let (declined, all) = (self.declined.len(), self.declined.len() + self.calls);
            let most = if self.is_complete() { "" } else { ": TOO MANY" };
            write!(f, ", {declined} of {all} calls declined{most}")?;
        }
        writeln!(f)?;
        for tested in &self.tested {
            let Tested { output, figures, unbounded, vacuous, calls, declined, .. } = tested;
            let failed = self.failures.iter().filter(|failure| failure.output == *output).count();
            let broken = self.broken.iter().filter(|broken| broken.output == *output).count();
            write!(f, "  {output:<18} {failed} rows wrong, {broken} not invariant")?;
            if *vacuous > 0 {
                write!(f, "; {vacuous} of {} figures are held to nothing", figures + unbounded)?;
            }
            if *declined > 0 {
                write!(f, "; {declined} of {calls} calls declined")?;
            }
            if *figures == 0 {
                write!(f, "; NOT TESTED: no figure was compared")?;
            }
            writeln!(f)?;
        }
        for (cause, count) in &self.causes {
            writeln!(f, "likely cause of {count}: {cause}")?;
        }
        if self.unexplained() > 0 {
            writeln!(f, "no cause is known of {}", self.unexplained())?;
        }
        for declined in &self.declined {
            writeln!(f, "declined: {declined}")?;
        }
        for error in &self.errors {
            writeln!(f, "failed: {error}")?;
        }
        for failure in &self.failures {
            writeln!(f, "wrong: {failure}")?;
        }
        for broken in &self.broken {
            writeln!(f, "differs: {broken}")?;
        }
        Ok(())
    }
}
