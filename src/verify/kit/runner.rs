//! One call runs a plan: asks, judges, relates, and names causes.

use alloc::rc::Rc;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::ask::{Stray, ask};
use super::call::{Answer, Call};
use super::diagnose::{Evidence, Slot, explain};
use super::input::{Input, pair_figures};
use super::judge::{Judged, judge};
use super::plan::{Group, Related};
use super::random::Random;
use super::report::{Broken, Failure, Report, Tested, Unanswered, Wrong};
use super::{Backend, Format, Mistake, Output, Plan};
use crate::Element;

/// Runs the calls of a plan on a backend and says what is wrong, and why.
///
/// Every figure is held to the reference in f64, within the bound that follows from the backend's
/// [`Precision`](super::Precision); rows in other surroundings are held to the same bits; and where figures are wrong,
/// each known [`Mistake`] is made on the same inputs, to see which of them gives what
/// was found. A precision that [`Precision::check`](super::Precision::check) refuses is not run.
///
/// # Panics
/// Never, if the backend does not.
///
/// # Example
/// ```
/// use dpo_kernel::verify::kit::{
///     Backend, Format, Mistake, Output, Plan, Precision, RowOut, Rows, run,
/// };
///
/// /// Sums of exponentials as a first version has them.
/// struct Naive;
///
/// impl Backend for Naive {
///     type Element = f32;
///     type Error = core::convert::Infallible;
///
///     fn name(&self) -> &str {
///         "naive"
///     }
///
///     fn precision(&self) -> Precision {
///         Precision::new(Format::F32, Format::F32)
///     }
///
///     fn offers(&self) -> &[Output] {
///         &[Output::LogZ]
///     }
///
///     fn token_log_probs(
///         &mut self,
///         rows: &Rows<'_, f32>,
///         out: &mut RowOut<'_>,
///     ) -> Result<(), Self::Error> {
///         for row in (0..rows.rows).filter(|&row| rows.is_scored(row)) {
///             let x = &rows.logits[row * rows.stride..][..rows.vocab];
///             let y = x.iter().map(|&x| rows.transform.apply(x.into()) as f32);
///             let sum: f32 = y.map(f32::exp).sum();
///             out.log_z[row] = sum.ln().into();
///         }
///         Ok(())
///     }
/// }
///
/// let report = run(&mut Naive, Plan::new(1));
/// assert!(!report.is_accurate());
/// assert_eq!(report.causes[0].0, Mistake::NoMaximum, "{report}");
/// ```
pub fn run<B: Backend>(backend: &mut B, plan: Plan) -> Report {
    let mut run = Run::new(backend, plan);
    if let Err(implausible) = run.report.precision.check() {
        run.report.refused = Some(implausible);
        return run.report;
    }
    for group in plan.groups::<B::Element>() {
        // All calls of a group are of a kind.
        let asks = |call: &Call<B::Element>| {
            call.given.outputs().iter().any(|output| run.report.offers.contains(output))
        };
        if group.calls.iter().all(asks) {
            run.group(backend, &group);
        }
    }
    run.report()
}

/// Figures of a narrow call; of a wide one.
const CELLS: [usize; 2] = [6000, 300_000];

/// A call of more rows than these outweighs all others: causes are looked for in the others.
const MANY: usize = 32;

const fn tested(output: Output) -> Tested {
    Tested { output, figures: 0, unbounded: 0, vacuous: 0, related: 0, calls: 0, declined: 0 }
}

fn unanswered<E>(call: &Call<E>, message: String) -> Unanswered {
    Unanswered { call: call.name.clone(), input: call.input.clone(), message }
}

/// The calls of a slot.
#[derive(Debug, Default)]
struct Kept {
    seen: usize,
    /// Where they stand among the evidence.
    places: Vec<usize>,
}

struct Run {
    report: Report,
    evidence: Vec<Evidence>,
    /// Calls of rows, pairs and heads for each slot: how many there were, and which are kept.
    kept: [[Kept; Slot::COUNT]; 3],
    /// Which of many are kept.
    random: Random,
    /// The figures of the last call, for backends whose results come one call late.
    last: Rc<[Judged]>,
}

impl Run {
    fn new<B: Backend>(backend: &B, plan: Plan) -> Self {
        let report = Report {
            backend: backend.name().to_string(),
            storage: Format::of::<B::Element>(),
            precision: backend.precision(),
            refused: None,
            plan,
            offers: backend.offers().to_vec(),
            calls: 0,
            tested: backend.offers().iter().map(|&output| tested(output)).collect(),
            failures: Vec::new(),
            broken: Vec::new(),
            errors: Vec::new(),
            declined: Vec::new(),
            causes: Vec::new(),
        };
        let random = Random::new(plan.seed, u64::MAX);
        let kept = Default::default();
        Self { report, evidence: Vec::new(), kept, random, last: Rc::default() }
    }

    fn group<B: Backend>(&mut self, backend: &mut B, group: &Group<B::Element>) {
        let mut answers = Vec::new();
        for call in &group.calls {
            let accepted = backend.accepts(call);
            let asked = |tested: &&mut Tested| call.given.outputs().contains(&tested.output);
            for tested in self.report.tested.iter_mut().filter(asked) {
                tested.calls += 1;
                tested.declined += usize::from(accepted.is_err());
            }
            if let Err(message) = accepted {
                self.report.declined.push(unanswered(call, message));
                answers.push(None);
                continue;
            }
            self.report.calls += 1;
            let asked = ask(backend, call, self.report.calls);
            answers.push(match asked {
                Ok((answer, strays)) => {
                    self.judge(call, &answer, &strays);
                    Some(answer)
                }
                Err(message) => {
                    self.report.errors.push(unanswered(call, message));
                    None
                }
            });
        }
        for related in &group.relations {
            self.relate(group, &answers, related);
        }
    }

    fn judge<E: Element>(&mut self, call: &Call<E>, answer: &Answer, strays: &[Stray]) {
        let input = Input::of(&call.given);
        let judged = judge(&input, answer, &self.report.precision, &self.report.offers);
        for one in &judged {
            if let Some(tested) = self.report.tested.iter_mut().find(|t| t.output == one.output) {
                // NaN and infinities are held to themselves, whatever the bound.
                let bounded = one.allowed.is_finite() || !one.expected.is_finite();
                *(if bounded { &mut tested.figures } else { &mut tested.unbounded }) += 1;
                let vacuous = one.allowed >= one.expected.abs().max(1.0);
                tested.vacuous += usize::from(vacuous && one.expected.is_finite());
            }
        }
        let first = self.report.failures.len();
        self.add_failures(call, &judged, strays);
        let failed = self.report.failures.len() > first;
        let [narrow, wide] = CELLS;
        let judged: Rc<[Judged]> = judged.into();
        let last = core::mem::replace(&mut self.last, Rc::clone(&judged));
        if answer.rows() > MANY {
            return;
        }
        let special = judged.iter().any(|one| !one.expected.is_finite());
        let slot = match (failed, judged.len()) {
            (false, n) if n <= narrow && special => Slot::PassedSpecial,
            (false, n) if n <= narrow => Slot::Passed,
            (true, n) if n <= narrow => Slot::Failed,
            (true, n) if n <= wide => Slot::FailedWide,
            _ => return,
        };
        let call = self.report.calls;
        let failures = first..self.report.failures.len();
        let before = answer.before;
        self.keep(slot, Evidence { call, input, before, last, judged, failures });
    }

    /// Keeps a call, in place of another where there are enough of its slot.
    fn keep(&mut self, slot: Slot, evidence: Evidence) {
        let kind = match evidence.input {
            Input::Rows(_) => 0,
            Input::Pairs(_) => 1,
            Input::Head(_) => 2,
        };
        let kept = self.kept.get_mut(kind).and_then(|kept| kept.get_mut(slot as usize));
        let Some(kept) = kept else { return };
        kept.seen += 1;
        if kept.places.len() < slot.most(&evidence.input) {
            kept.places.push(self.evidence.len());
            self.evidence.push(evidence);
        } else if slot.is_sampled() {
            // Each of those seen so far is kept with the same chance (Vitter's algorithm R).
            let place = kept.places.get(self.random.below(kept.seen));
            if let Some(old) = place.and_then(|&place| self.evidence.get_mut(place)) {
                *old = evidence;
            }
        }
    }

    /// One failure for each row and output: the worst figure.
    fn add_failures<E>(&mut self, call: &Call<E>, judged: &[Judged], strays: &[Stray]) {
        let failure = |output, wrong, row, column| Failure {
            call: call.name.clone(),
            input: call.input.clone(),
            output,
            wrong,
            row,
            column,
            count: 1,
            expected: f64::NAN,
            found: f64::NAN,
            bound: 0.0,
            ulps: f64::NAN,
            format: self.report.storage,
            cause: None,
        };
        let mut added: Vec<Failure> = Vec::new();
        for one in judged.iter().filter(|one| !one.ok) {
            let Judged { output, row, column, expected, found, allowed, format, .. } = *one;
            let ulps = (found - expected).abs() / format.ulp(expected);
            let new = Failure {
                expected,
                found,
                bound: allowed,
                ulps,
                format,
                ..failure(output, Wrong::Figure, row, column)
            };
            match added.last_mut().filter(|last| last.output == output && last.row == row) {
                Some(last) => {
                    let count = last.count + 1;
                    // NaN is worst, and stays.
                    let share = |failure: &Failure| {
                        (failure.found - failure.expected).abs() / failure.bound
                    };
                    let (worst, other) = (share(last), share(&new));
                    if !worst.is_nan() && (other.is_nan() || other > worst) {
                        *last = new;
                    }
                    last.count = count;
                }
                None => added.push(new),
            }
        }
        for stray in strays {
            let (wrong, cause) = if stray.in_padding {
                (Wrong::Padding, Mistake::WritesPadding)
            } else {
                (Wrong::UnscoredRow, Mistake::WritesUnscoredRows)
            };
            let found = stray.found;
            let stray = failure(stray.output, wrong, stray.row, stray.column);
            added.push(Failure { found, cause: Some(cause), ..stray });
        }
        self.report.failures.append(&mut added);
    }

    /// Holds rows of two calls to the same bits.
    fn relate<E: Element>(
        &mut self,
        group: &Group<E>,
        answers: &[Option<Answer>],
        related: &Related,
    ) {
        let Related { relation, other, rows } = related;
        let (Some(Some(a)), Some(Some(b))) = (answers.first(), answers.get(*other)) else { return };
        let (Some(first), Some(second)) = (group.calls.first(), group.calls.get(*other)) else {
            return;
        };
        for &(from, to) in rows.iter().filter(|(from, _)| first.given.is_scored(*from)) {
            for &output in first.given.outputs() {
                let Some(tested) = self.report.tested.iter_mut().find(|t| t.output == output)
                else {
                    continue;
                };
                tested.related += 1;
                let width = first.given.width(output);
                let of = |answer: &Answer, row: usize| -> Vec<f64> {
                    if let Some(pairs) = &answer.pairs {
                        pairs.get(row).map_or_else(Vec::new, |p| pair_figures(p).to_vec())
                    } else {
                        let list = answer.list(output).iter();
                        list.skip(row * width).take(width).copied().collect()
                    }
                };
                let (x, y) = (of(a, from), of(b, to));
                let differ = |(x, y): (&f64, &f64)| {
                    x.to_bits() != y.to_bits() && !(x.is_nan() && y.is_nan())
                };
                let count = x.iter().zip(&y).filter(|&(x, y)| differ((x, y))).count();
                let place = x.iter().zip(&y).position(|(x, y)| differ((x, y)));
                if let Some(column) = place {
                    let found = [&x, &y].map(|list| list.get(column).copied().unwrap_or(f64::NAN));
                    self.report.broken.push(Broken {
                        relation: *relation,
                        calls: [first.name.clone(), second.name.clone()],
                        output,
                        rows: [from, to],
                        column,
                        found,
                        count,
                    });
                }
            }
        }
    }

    fn report(mut self) -> Report {
        self.evidence.sort_by_key(|evidence| evidence.call);
        explain(&mut self.report, &self.evidence);
        self.report
    }
}
