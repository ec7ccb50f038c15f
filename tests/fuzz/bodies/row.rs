//! One row: folded whole, by tiles and in parts that merge.

use arbitrary::{Arbitrary, Result as Made, Unstructured};
use dpo_kernel::row::{BLOCK, Details, RowStats};
use dpo_kernel::verify::cases::{Place, RowCase};
use dpo_kernel::verify::{self, compare};
use dpo_kernel::{Dispatch, Transform};

use super::batch::transform;
use super::levels::for_each_dispatch;
use super::store::Store;
use super::tolerance::Sizes;

/// A row, and where it is cut.
#[derive(Clone, Debug)]
pub struct Cut {
    pub row: RowCase,
    pub cuts: Vec<u16>,
}

impl<'a> Arbitrary<'a> for Cut {
    fn arbitrary(u: &mut Unstructured<'a>) -> Made<Self> {
        let cuts = (0..u.int_in_range(0..=4_u8)?).map(|_| u.arbitrary()).collect::<Made<_>>()?;
        Ok(Self { row: u.arbitrary()?, cuts })
    }
}

impl Cut {
    /// The edges of the tiles, 0 and V among them.
    pub fn edges(&self) -> Vec<usize> {
        let vocab = self.row.logits.len();
        let mut edges = vec![0, vocab];
        edges.extend(self.cuts.iter().map(|&at| Place::At(at).column(vocab + 1, 0)));
        edges.sort_unstable();
        edges
    }
}

pub fn id(x: usize) -> u32 {
    u32::try_from(x).expect("columns fit in u32")
}

/// What a fold says of a row.
#[derive(Clone, Copy, Debug)]
pub struct Figures {
    pub log_z: f64,
    pub log_prob: f64,
    pub columns: u64,
}

impl Figures {
    fn of(stats: &RowStats<Details>) -> Self {
        let log_prob = stats.log_prob().unwrap_or(f64::INFINITY);
        Self { log_z: stats.log_z(), log_prob, columns: stats.columns() }
    }
}

pub fn check(cut: &Cut) -> Result<(), String> {
    crate::for_each_storage!(check_storage(cut))
}

fn check_storage<E: Store>(cut: &Cut) -> Result<(), String> {
    let row: Vec<E> = cut.row.stored();
    let transform = transform(&cut.row.transform);
    let judge = Judge::of::<E>(&cut.row);
    let mut first = Vec::new();
    let mut result = Ok(());
    for_each_dispatch(|dispatch| {
        if result.is_err() {
            return;
        }
        let found = folds(cut, &row, dispatch, transform);
        result = found.and_then(|stats| {
            judge.accepts(&Figures::of(&stats[0])).map_err(|why| format!("whole: {why}"))?;
            judge.accepts(&Figures::of(&stats[1])).map_err(|why| format!("tiles: {why}"))?;
            judge.accepts(&Figures::of(&stats[2])).map_err(|why| format!("merged: {why}"))?;
            same_on_levels(&mut first, dispatch, format!("{stats:?}"))
        });
        result = result.clone().map_err(|why| format!("{dispatch:?}: {why}"));
    });
    result
}

/// Each arithmetic has one result. Debug prints every number so that it can be read back.
pub fn same_on_levels(
    first: &mut Vec<(Dispatch, String)>,
    dispatch: Dispatch,
    found: String,
) -> Result<(), String> {
    match first.iter().find(|(seen, _)| seen.arithmetic() == dispatch.arithmetic()) {
        None => first.push((dispatch, found)),
        Some((seen, expected)) if *expected != found => {
            return Err(format!("differs from {seen:?}:\n{found}\n{expected}"));
        }
        Some(_) => {}
    }
    Ok(())
}

/// Folded whole, tile by tile, and in parts merged from the last to the first; blocks must agree to
/// the bit with the whole.
fn folds<E: Store>(
    cut: &Cut,
    row: &[E],
    dispatch: Dispatch,
    transform: Transform,
) -> Result<[RowStats<Details>; 3], String> {
    let new = || RowStats::<Details>::new(transform, Some(id(cut.row.target)));
    let mut whole = new();
    whole.fold(dispatch, row, 0);
    let mut blocks = new();
    for (i, block) in row.chunks(BLOCK).enumerate() {
        blocks.fold(dispatch, block, id(i * BLOCK));
    }
    // By their text: NaN is equal to itself there.
    if format!("{blocks:?}") != format!("{whole:?}") {
        return Err(format!("blocks give {blocks:?}, the whole {whole:?}"));
    }
    let (mut tiles, mut parts) = (new(), Vec::new());
    for edge in cut.edges().windows(2) {
        let tile = &row[edge[0]..edge[1]];
        tiles.fold(dispatch, tile, id(edge[0]));
        let mut part = new();
        part.fold(dispatch, tile, id(edge[0]));
        parts.push(part);
    }
    let mut merged = new();
    for part in parts.iter().rev() {
        merged.merge(part).map_err(|why| format!("parts do not merge: {why}"))?;
    }
    Ok([whole, tiles, merged])
}

/// The reference's figures of a row.
#[derive(Debug)]
pub struct Judge {
    sizes: Sizes,
    target_logit: f64,
    log_z: f64,
    log_prob: f64,
    columns: u64,
}

impl Judge {
    pub fn of<E: Store>(row: &RowCase) -> Self {
        let y = row.transformed::<E>();
        Self {
            sizes: Sizes::of(row, &y),
            target_logit: y[row.target],
            log_z: verify::log_sum_exp(&y),
            log_prob: verify::log_prob(&y, row.target),
            columns: y.len() as u64,
        }
    }

    pub fn accepts(&self, found: &Figures) -> Result<(), String> {
        let Self { sizes, target_logit, log_z, log_prob, columns } = *self;
        let failed = |why: verify::Mismatch| why.to_string();
        compare("log Z", target_logit, log_z, found.log_z, sizes.log_z()).map_err(failed)?;
        let tolerance = sizes.log_prob(log_prob);
        compare("log p", target_logit, log_prob, found.log_prob, tolerance).map_err(failed)?;
        if found.log_prob > 0.0 {
            return Err(format!("a log-prob of {}", found.log_prob));
        }
        if found.columns != columns {
            return Err(format!("{} columns of {columns}", found.columns));
        }
        Ok(())
    }
}
