//! Backends whose figures are accurate, and depend on what they should not: relations break, and
//! nothing else.

use std::convert::Infallible;

use dpo_kernel::verify::kit::{
    Backend, Call, Given, Head, Output, Plan, Precision, Relation, RowOut, Rows, run,
};

use crate::plain::{Plain, Style};
use crate::planted::SINGLE;

/// What moves the last bit.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Depends {
    Batch,
    Place,
    Stride,
    Padding,
    Neighbours,
    Calls,
}

/// Plain loops, whose results move by one unit in the last place where something is odd.
struct Moved {
    plain: Plain<f32, f32>,
    on: Depends,
    calls: usize,
}

impl Moved {
    fn is_odd(&self, rows: &Rows<'_, f32>, row: usize) -> bool {
        match self.on {
            Depends::Batch => rows.rows > 1,
            // The second half of a batch.
            Depends::Place => rows.rows > 1 && 2 * row >= rows.rows,
            Depends::Stride => (rows.stride * 4) % 64 < 32,
            Depends::Padding => {
                rows.stride > rows.vocab && rows.logits[row * rows.stride + rows.vocab] == 7.5
            }
            Depends::Neighbours => {
                (0..rows.rows).any(|other| rows.logits[other * rows.stride].is_nan())
            }
            Depends::Calls => self.calls.is_multiple_of(3),
        }
    }
}

fn moved(x: f64) -> f64 {
    if x == 0.0 || !x.is_finite() { x } else { f64::from(f32::from_bits((x as f32).to_bits() ^ 1)) }
}

impl Backend for Moved {
    type Element = f32;
    type Error = Infallible;

    fn name(&self) -> &str {
        "moved"
    }

    /// Two more units for the move itself.
    fn precision(&self) -> Precision {
        let mut precision = SINGLE;
        precision.log.constant += 4.0;
        precision.log_absolute = 1e-6;
        precision
    }

    fn offers(&self) -> &[Output] {
        &[Output::LogZ, Output::HeadLogZ]
    }

    fn token_log_probs(
        &mut self,
        rows: &Rows<'_, f32>,
        out: &mut RowOut<'_>,
    ) -> Result<(), Infallible> {
        self.calls += 1;
        self.plain.token_log_probs(rows, out)?;
        for row in (0..rows.rows).filter(|&row| rows.is_scored(row)) {
            if self.is_odd(rows, row) {
                out.log_z[row] = moved(out.log_z[row]);
            }
        }
        Ok(())
    }

    fn head(&mut self, head: &Head<'_, f32>, out: &mut RowOut<'_>) -> Result<(), Infallible> {
        self.plain.head(head, out)
    }
}

fn broken_by(on: Depends) -> Vec<Relation> {
    let plain = Plain::<f32, f32>::new(Style::PLAIN, SINGLE);
    let mut relations = Vec::new();
    for seed in 0..3 {
        let mut backend = Moved { plain: Plain::new(Style::PLAIN, plain.precision), on, calls: 0 };
        let report = run(&mut backend, Plan::new(seed));
        assert!(report.is_accurate(), "{on:?}: {report}");
        assert!(!report.is_invariant(), "{on:?}, seed {seed}");
        assert!(report.causes.is_empty(), "a broken relation has no cause of accuracy");
        for broken in &report.broken {
            assert_eq!(broken.output, Output::LogZ);
            let [a, b] = broken.found;
            assert_eq!((a as f32).to_bits() ^ 1, (b as f32).to_bits(), "exact bits");
            relations.push(broken.relation);
        }
    }
    relations.sort_unstable();
    relations.dedup();
    relations
}

#[test]
fn what_depends_on_the_batch_shows_in_rows_alone() {
    assert_eq!(broken_by(Depends::Batch), [Relation::Batch]);
}

#[test]
fn what_depends_on_the_place_shows_in_reverse() {
    // A row of the second half is the only one of its batch, too.
    let broken = broken_by(Depends::Place);
    assert!(broken.contains(&Relation::Position));
    assert!(broken.iter().all(|r| [Relation::Position, Relation::Batch].contains(r)), "{broken:?}");
}

#[test]
fn what_depends_on_alignment_shows_in_another_stride() {
    assert_eq!(broken_by(Depends::Stride), [Relation::Stride]);
}

#[test]
fn what_depends_on_padding_shows_in_other_padding() {
    assert_eq!(broken_by(Depends::Padding), [Relation::Padding]);
}

#[test]
fn what_depends_on_neighbours_shows_beside_nan() {
    let broken = broken_by(Depends::Neighbours);
    assert!(broken.contains(&Relation::Neighbours));
    // Rows that are NaN by themselves, or not scored, may be alone or not.
    assert!(
        broken.iter().all(|r| [Relation::Neighbours, Relation::Batch].contains(r)),
        "{broken:?}"
    );
}

#[test]
fn what_changes_from_call_to_call_shows_in_repetition() {
    let broken = broken_by(Depends::Calls);
    assert!(broken.contains(&Relation::Repeated), "{broken:?}");
}

/// Every relation occurs in every plan, so that none is kept for want of a case.
#[test]
fn every_plan_asks_every_relation() {
    for seed in 0..8 {
        let mut found: Vec<Relation> = Plan::new(seed)
            .groups::<f32>()
            .flat_map(|group| group.relations)
            .map(|related| related.relation)
            .collect();
        found.sort_unstable();
        found.dedup();
        assert_eq!(found, Relation::ALL, "seed {seed}");
    }
}

/// What relations hold to each other is the same input.
#[test]
fn related_rows_are_equal() {
    let row = |call: &Call<f32>, row: usize| -> Vec<u32> {
        let bits = |x: &[f32]| x.iter().map(|x| x.to_bits()).collect();
        match &call.given {
            Given::Rows(rows) => bits(rows.row(row)),
            Given::Head(head) => bits(&head.hidden[row * head.hidden_size..][..head.hidden_size]),
            Given::Pairs(_) => Vec::new(),
        }
    };
    let mut compared = 0;
    for group in Plan::new(4).groups::<f32>() {
        for related in &group.relations {
            for &(from, to) in &related.rows {
                let other = &group.calls[related.other];
                assert_eq!(row(&group.calls[0], from), row(other, to), "{}", other.name);
                compared += 1;
            }
        }
    }
    assert!(compared > 100);
}
