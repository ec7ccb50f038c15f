//! Time of the exchange beside that of the fold, at a vocabulary of one's choice.
//!
//! Logits are drawn, each rank its own columns in units of `BLOCK`. Rows are folded, partials
//! exchanged and merged; the merged rows are compared with those of the other ranks before any time
//! is told. Beside it stand three all-reduces of 4 bytes a row, which is what vocabulary-parallel
//! cross-entropies of float sums exchange.

use std::io::Write;
use std::time::{Duration, Instant};

use dpo_kernel::Dispatch;
use dpo_kernel::row::{BLOCK, ROW_BYTES, shard_columns};

use crate::comm::{Comms, Load};
use crate::digest::Digest;
use crate::error::Error;
use crate::finetune::random::Random;
use crate::shards::{Partial, exchange, units};

/// How often.
const ROUNDS: usize = 20;

/// The logit of a row's column: the same on every grid.
fn logits(row: usize, columns: std::ops::Range<usize>) -> Vec<f32> {
    columns
        .map(|column| {
            let mut random = Random((row as u64) << 32 | column as u64);
            8.0 * random.uniform() - 4.0
        })
        .collect()
}

/// Folds, exchanges, merges, and tells on rank 0 what each took, the fastest round.
///
/// # Errors
/// [`Error::Refused`] if ranks come to different rows; what an exchange refuses.
pub fn run(
    comms: &Comms,
    dispatch: Dispatch,
    vocab: usize,
    rows: usize,
    out: &mut dyn Write,
) -> Result<(), Error> {
    let comm = &comms.vocab;
    let own = shard_columns(vocab, comm.size, comm.rank);
    let matrix: Vec<Vec<f32>> = (0..rows).map(|row| logits(row, own.clone())).collect();
    let targets: Vec<u32> = (0..rows)
        .map(|row| u32::try_from(Random(row as u64).bits() % vocab as u64).unwrap_or(0))
        .collect();
    let mut times = [Duration::MAX; 4];
    let mut digest = Digest::default();
    for _ in 0..ROUNDS {
        comms.world.barrier()?;
        let start = Instant::now();
        let mut bytes = Vec::with_capacity(rows * ROW_BYTES);
        for (row, &target) in matrix.iter().zip(&targets) {
            let mut partial = Partial::new(target);
            for unit in units(own.clone(), BLOCK) {
                let at = unit.start - own.start..unit.end - own.start;
                partial.fold(dispatch, row.get(at).unwrap_or_default(), unit.start);
            }
            partial.write(&mut bytes)?;
        }
        let fold = start.elapsed();
        comms.world.barrier()?;
        let start = Instant::now();
        let before = comms.shared.count(Load::Partials).time;
        let found = exchange(comm, &bytes, &targets, vocab)?;
        let exchanged = start.elapsed();
        let within = comms.shared.count(Load::Partials).time.saturating_sub(before);
        let mut words = vec![0_i32; rows];
        comms.world.barrier()?;
        let start = Instant::now();
        for _ in 0..3 {
            comm.max(Load::Rest, &mut words)?;
        }
        let reduces = start.elapsed();
        digest = Digest::default();
        for (place, row) in (0..).zip(&found) {
            digest.add(place, u64::from(row.log_prob.to_bits()));
        }
        for (best, time) in times.iter_mut().zip([fold, exchanged, within, reduces]) {
            *best = time.min(*best);
        }
    }
    let all = comms.world.gather(Load::Rest, &[digest.0], &vec![1; comms.world.size])?;
    let differ = all.iter().enumerate().filter(|(_, found)| Some(*found) != all.first());
    let lines: Vec<String> =
        differ.map(|(rank, found)| format!("rank {rank}: rows of digest {found:016x}")).collect();
    if !lines.is_empty() {
        return Err(Error::Refused(lines));
    }
    if comms.world.rank == 0 {
        let [fold, exchanged, within, reduces] = times.map(|time| time.as_secs_f64() * 1e6);
        let grid = comms.place.grid;
        // Whoever closed the output does not want to read about it.
        let _ = writeln!(
            out,
            "measure: grid {grid} vocab {vocab} rows {rows}: fold {fold:.1} us, exchange and merge \
             {exchanged:.1} us, within MPI {within:.1} us, three all-reduces {reduces:.1} us; digest {:016x}",
            digest.0
        );
    }
    Ok(())
}
