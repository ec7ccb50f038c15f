//! What a rank has exchanged, as a table.

use std::fmt::Write;

use crate::comm::{Load, Shared};

/// A line for each load of this rank.
#[must_use]
#[allow(clippy::cast_precision_loss, reason = "for people")]
pub fn table(shared: &Shared, rank: usize, seconds: f64) -> String {
    let mut out = format!("traffic of rank {rank}: calls, bytes given, bytes taken, seconds\n");
    let mut all = 0.0;
    for load in Load::ALL {
        let count = shared.count(load);
        let time = count.time.as_secs_f64();
        all += time;
        let _ = writeln!(
            out,
            "  {:<18} {:>7} {:>12} {:>12} {time:>8.3}",
            load.name(),
            count.calls,
            count.given,
            count.taken
        );
    }
    let _ = writeln!(out, "  in collectives {all:.3} s of {seconds:.3} s");
    out
}

/// Bytes a row of partials that this rank gave.
#[must_use]
#[allow(clippy::cast_precision_loss, reason = "for people")]
pub fn partial_bytes(shared: &Shared, rows: u64) -> f64 {
    shared.count(Load::Partials).given as f64 / rows.max(1) as f64
}
