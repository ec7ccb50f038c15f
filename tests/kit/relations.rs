//! Backends whose figures are accurate, and depend on what they should not: relations break, and
//! nothing else.

use std::convert::Infallible;

use dpo_kernel::verify::PairResult;
use dpo_kernel::verify::kit::{
    Backend, Call, Given, Head, Output, Pairs, Plan, Precision, Relation, RowOut, Rows, run,
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
    /// Of wide rows alone: one row is divided among blocks.
    WideAlone,
    /// Of heads alone.
    HeadAlone,
    /// Of heads alone.
    HeadNeighbours,
    /// Of losses alone: every second call.
    LossCalls,
    /// Of losses alone.
    LossAlone,
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
            Depends::WideAlone => rows.rows == 1 && rows.vocab > 4000,
            _ => false,
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
        &[Output::LogZ, Output::HeadLogZ, Output::PairLoss]
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
        self.plain.head(head, out)?;
        let moves = match self.on {
            Depends::HeadAlone => head.rows == 1,
            Depends::HeadNeighbours => {
                (0..head.rows).any(|row| head.hidden[row * head.hidden_size].is_nan())
            }
            _ => false,
        };
        for row in (0..head.rows).filter(|&row| moves && head.targets[row] != head.ignore) {
            out.log_z[row] = moved(out.log_z[row]);
        }
        Ok(())
    }

    fn pair_loss(&mut self, pairs: &Pairs<'_>, out: &mut [PairResult]) -> Result<(), Infallible> {
        self.calls += 1;
        self.plain.pair_loss(pairs, out)?;
        let moves = match self.on {
            Depends::LossCalls => self.calls.is_multiple_of(2),
            Depends::LossAlone => out.len() == 1,
            _ => false,
        };
        out.iter_mut().filter(|_| moves).for_each(|out| out.margin = moved(out.margin));
        Ok(())
    }
}

fn broken_by(on: Depends) -> Vec<Relation> {
    let output = match on {
        Depends::HeadAlone | Depends::HeadNeighbours => Output::HeadLogZ,
        Depends::LossCalls | Depends::LossAlone => Output::PairLoss,
        _ => Output::LogZ,
    };
    let plain = Plain::<f32, f32>::new(Style::PLAIN, SINGLE);
    let mut relations = Vec::new();
    for seed in 0..3 {
        let mut backend = Moved { plain: Plain::new(Style::PLAIN, plain.precision), on, calls: 0 };
        let report = run(&mut backend, Plan::new(seed));
        assert!(report.is_accurate(), "{on:?}: {report}");
        assert!(!report.is_invariant(), "{on:?}, seed {seed}");
        assert!(report.causes.is_empty(), "a broken relation has no cause of accuracy");
        for broken in &report.broken {
            assert_eq!(broken.output, output);
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

#[test]
fn a_wide_row_alone_has_the_bits_of_its_batch() {
    assert_eq!(broken_by(Depends::WideAlone), [Relation::Batch]);
}

#[test]
fn heads_are_held_to_their_bits_too() {
    assert_eq!(broken_by(Depends::HeadAlone), [Relation::Batch]);
    let broken = broken_by(Depends::HeadNeighbours);
    assert!(broken.contains(&Relation::Neighbours));
    assert!(
        broken.iter().all(|r| [Relation::Neighbours, Relation::Batch].contains(r)),
        "{broken:?}"
    );
}

#[test]
fn losses_are_held_to_their_bits_too() {
    assert_eq!(broken_by(Depends::LossAlone), [Relation::Batch]);
    assert!(broken_by(Depends::LossCalls).contains(&Relation::Repeated));
}

/// Every relation occurs in every plan, so that none is kept for want of a case: all for rows, those
/// that there are for heads and pairs.
#[test]
fn every_plan_asks_every_relation() {
    use Relation::*;
    for seed in 0..8 {
        let mut found: [Vec<Relation>; 3] = Default::default();
        for group in Plan::new(seed).groups::<f32>() {
            let kind = match group.calls[0].given {
                Given::Rows(_) => 0,
                Given::Head(_) => 1,
                Given::Pairs(_) => 2,
            };
            found[kind].extend(group.relations.iter().map(|related| related.relation));
        }
        for list in &mut found {
            list.sort_unstable();
            list.dedup();
        }
        assert_eq!(found[0], Relation::ALL, "seed {seed}");
        assert_eq!(found[1], [Repeated, Batch, Position, Neighbours], "seed {seed}");
        assert_eq!(found[2], [Repeated, Batch, Position], "seed {seed}");
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
            Given::Pairs(pairs) => {
                let of = &pairs.log_probs[row];
                bits(&[
                    of.policy_chosen as f32,
                    of.policy_rejected as f32,
                    pairs.weights[row] as f32,
                    pairs.offsets[row] as f32,
                ])
            }
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
