//! What was found, as text and as JSON.

use std::fmt::Write;

use serde_json::{Value, json};

use super::args::Audit;
use super::causes::{Cause, Finding, Strength, Verdict};
use super::dump::Dump;
use super::figures::{Figures, Mean};
use super::pair::{Fate, Pair};

/// All of a report.
#[derive(Debug)]
pub(crate) struct Report {
    dumps: [String; 2],
    tokens: usize,
    figures: Option<Figures>,
    clip: f64,
    tolerance: f64,
    worst: Vec<Worst>,
    verdict: Verdict,
}

/// A token that differs much.
#[derive(Clone, Copy, Debug)]
struct Worst {
    row: usize,
    position: i64,
    token: Option<i64>,
    a: f64,
    b: f64,
    delta: f64,
}

impl Report {
    pub(crate) fn of(pair: &Pair, verdict: Verdict, of: &Audit) -> Self {
        let deltas: Vec<f64> = pair
            .deltas
            .iter()
            .zip(&pair.fates)
            .map(
                |(&delta, fate)| {
                    if matches!(fate, Fate::Finite | Fate::Zero(_)) { delta } else { f64::NAN }
                },
            )
            .collect();
        Self {
            dumps: [describe(&pair.a), describe(&pair.b)],
            tokens: pair.len(),
            figures: Figures::of(&deltas, of.clip),
            clip: of.clip,
            tolerance: of.tolerance,
            worst: worst(pair, of.worst),
            verdict,
        }
    }

    pub(crate) fn agree(&self) -> bool {
        self.verdict.agree
    }

    pub(crate) fn text(&self) -> String {
        let mut out = format!("A  {}\nB  {}\n\n", self.dumps[0], self.dumps[1]);
        // Writing to a string cannot fail.
        match &self.figures {
            None => out += "no token is finite on both sides\n",
            Some(figures) => self.figures_text(&mut out, figures),
        }
        if !self.worst.is_empty() {
            let _ = writeln!(
                out,
                "\nworst      row  position     token     log p A     log p B           Δ         p A"
            );
        }
        for of in &self.worst {
            let token = of.token.map_or("-".to_owned(), |token| token.to_string());
            let Worst { row, position, a, b, delta, .. } = of;
            let _ = writeln!(
                out,
                "    {row:>10}{position:>10}{token:>10}{a:>12.5}{b:>12.5}{:>12}{:>12}",
                short(*delta),
                short(a.exp())
            );
        }
        out += "\nverdict\n";
        for line in self.verdict_lines() {
            let _ = writeln!(out, "  {line}");
        }
        out
    }

    fn figures_text(&self, out: &mut String, figures: &Figures) {
        let Figures { count, quantiles: [median, q90, q99, q999, most], .. } = figures;
        let _ = writeln!(out, "{count} of {} tokens compared, Δ = log p_B - log p_A", self.tokens);
        let _ = writeln!(
            out,
            "  |Δ|        median {median:.3e}, 90 % {q90:.3e}, 99 % {q99:.3e}, 99.9 % {q999:.3e}, max {most:.3e}"
        );
        let (low, high) = figures.ratios;
        let _ = writeln!(
            out,
            "  r = e^Δ    mean {:.6}, from {} to {}; outside of 1 ± {}: {:.2} %",
            figures.ratio.mean,
            short(low),
            short(high),
            self.clip,
            100.0 * figures.clipped
        );
        out.push_str("  KL(A to B) if the tokens were drawn from A, ± standard error\n");
        for (name, Mean { mean, error }) in [
            ("k1 = -ln r          ", figures.k1),
            ("k2 = (ln r)^2 / 2   ", figures.k2),
            ("k3 = r - 1 - ln r   ", figures.k3),
        ] {
            // Without the sign of −0.
            let _ = writeln!(out, "    {name} {:>11.4e} ± {error:.1e}", mean + 0.0);
        }
    }

    fn verdict_lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        let tolerance = format!("{:.2e} max(1, |log p|)", self.tolerance);
        if self.verdict.agree {
            lines.push(format!("the dumps agree within {tolerance}; no cause is named"));
        } else if self.verdict.causes.is_empty() {
            lines.push(format!("the dumps differ by more than {tolerance}; no cause is named"));
        }
        for finding in &self.verdict.causes {
            lines.push(finding.cause.to_string());
            lines.extend(because(finding));
        }
        lines.extend(self.verdict.notes.iter().map(|note| format!("note: {note}")));
        lines
    }

    pub(crate) fn json(&self) -> Value {
        let mean =
            |of: &Mean| json!({ "mean": number(of.mean), "standard_error": number(of.error) });
        let figures = self.figures.as_ref().map(|of| {
            let [median, q90, q99, q999, most] = of.quantiles.map(number);
            json!({
                "tokens_compared": of.count,
                "abs_delta": { "median": median, "q90": q90, "q99": q99, "q999": q999, "max": most },
                "ratio": {
                    "mean": number(of.ratio.mean), "standard_error": number(of.ratio.error),
                    "min": number(of.ratios.0), "max": number(of.ratios.1),
                    "clip": self.clip, "share_clipped": of.clipped,
                },
                "kl": { "k1": mean(&of.k1), "k2": mean(&of.k2), "k3": mean(&of.k3) },
            })
        });
        let worst = self.worst.iter().map(|of| {
            json!({
                "row": of.row, "position": of.position, "token": of.token,
                "log_prob_a": number(of.a), "log_prob_b": number(of.b), "delta": number(of.delta),
                "probability_a": number(of.a.exp()),
            })
        });
        json!({
            "a": self.dumps[0], "b": self.dumps[1],
            "tokens": self.tokens,
            "tolerance": self.tolerance,
            "figures": figures,
            "worst": worst.collect::<Vec<_>>(),
            "verdict": {
                "agree": self.verdict.agree,
                "causes": self.verdict.causes.iter().map(cause_json).collect::<Vec<_>>(),
                "notes": self.verdict.notes,
            },
        })
    }
}

/// How a cause was found.
fn because(finding: &Finding) -> Option<String> {
    let (strength, evidence) = finding.by?;
    let or = finding.or.map(|or| format!("; as good: {or}")).unwrap_or_default();
    let (before, after) = (evidence.before.0, evidence.after.0);
    Some(match strength {
        Strength::All => format!(
            "  explains {:.1} % of the {} tokens that differ; median |Δ| {before:.2e}, {after:.2e} left{or}",
            100.0 * evidence.explained,
            evidence.differing
        ),
        Strength::Most => format!(
            "  explains most: median |Δ| {before:.2e}, {after:.2e} left, which is not rounding{or}"
        ),
    })
}

fn cause_json(finding: &Finding) -> Value {
    let mut cause = finding.cause.json();
    let by = finding.by.map(|(strength, of)| {
        json!({
            "explains": if strength == Strength::All { "all" } else { "most" },
            "tokens_used": of.used, "tokens_differing": of.differing, "share_explained": of.explained,
            "median_before": number(of.before.0), "median_after": number(of.after.0),
            "q90_before": number(of.before.1), "q90_after": number(of.after.1),
        })
    });
    if let Value::Object(fields) = &mut cause {
        fields.insert("text".to_owned(), json!(finding.cause.to_string()));
        fields.insert("evidence".to_owned(), json!(by));
        fields.insert("as_good".to_owned(), json!(finding.or.map(|or| or.json())));
    }
    cause
}

/// A number, or the name of what JSON has no form for.
fn number(x: f64) -> Value {
    if x.is_finite() {
        json!(x)
    } else if x.is_nan() {
        Value::Null
    } else {
        json!(if x > 0.0 { "inf" } else { "-inf" })
    }
}

fn short(x: f64) -> String {
    if x == 0.0 || (1e-3..1e5).contains(&x.abs()) { format!("{x:.5}") } else { format!("{x:.3e}") }
}

fn describe(dump: &Dump) -> String {
    format!("{}: {}", dump.path.display(), dump.describe())
}

/// The tokens with the largest |Δ|, infinite ones first.
fn worst(pair: &Pair, count: usize) -> Vec<Worst> {
    let of = |row: usize| {
        let delta =
            pair.deltas.get(row).copied().filter(|delta| !delta.is_nan() && *delta != 0.0)?;
        let tokens = pair.a.tokens.as_ref().or(pair.b.tokens.as_ref());
        Some(Worst {
            row,
            position: pair.a.position(row),
            token: tokens.and_then(|tokens| tokens.get(row)).copied(),
            a: pair.of_a.get(row).copied()?,
            b: pair.of_b.get(row).copied()?,
            delta,
        })
    };
    let mut all: Vec<Worst> = (0..pair.len()).filter_map(of).collect();
    all.sort_by(|a, b| b.delta.abs().total_cmp(&a.delta.abs()).then(a.row.cmp(&b.row)));
    all.truncate(count);
    all
}

/// What there is to say of dumps of other tokens.
#[derive(Debug)]
pub(crate) struct Tokens {
    dumps: [String; 2],
    lengths: [usize; 2],
    cause: Cause,
    /// At the first place where they differ.
    there: [Option<i64>; 2],
    notes: Vec<String>,
}

impl Tokens {
    pub(crate) fn of(a: &Dump, b: &Dump, cause: Cause) -> Self {
        let row = match cause {
            Cause::Tokenisation { row } => Some(row),
            _ => None,
        };
        let at =
            |of: &Dump| of.tokens.as_ref().zip(row).and_then(|(ids, row)| ids.get(row).copied());
        let dumps = [describe(a), describe(b)];
        let there = [at(a), at(b)];
        Self { dumps, lengths: [a.len(), b.len()], cause, there, notes: Vec::new() }
    }

    pub(crate) fn note(&mut self, note: String) {
        self.notes.push(note);
    }

    pub(crate) fn text(&self) -> String {
        let [of_a, of_b] = self.lengths;
        let there = match self.cause {
            Cause::Tokenisation { .. } => {
                let [a, b] =
                    self.there.map(|id| id.map_or("no token".to_owned(), |x| x.to_string()));
                format!("\n  there A has {a}, B has {b}; A has {of_a} tokens, B {of_b}")
            }
            _ => String::new(),
        };
        let [a, b] = &self.dumps;
        let mut text = format!("A  {a}\nB  {b}\n\nverdict\n  {}{there}\n", self.cause);
        for note in &self.notes {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "  note: {note}");
        }
        text
    }

    pub(crate) fn json(&self) -> Value {
        let mut cause = self.cause.json();
        if let Value::Object(fields) = &mut cause {
            fields.insert("text".to_owned(), json!(self.cause.to_string()));
            fields.insert("token_a".to_owned(), json!(self.there[0]));
            fields.insert("token_b".to_owned(), json!(self.there[1]));
        }
        json!({
            "a": self.dumps[0], "b": self.dumps[1],
            "tokens_a": self.lengths[0], "tokens_b": self.lengths[1],
            "verdict": { "agree": false, "causes": [cause], "notes": self.notes },
        })
    }
}
