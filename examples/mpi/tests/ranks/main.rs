//! Ranks under a launcher: this program starts itself on grids of ranks and compares what they
//! write, to the bit, with one another and with one process; and it starts the package's program.
//!
//! `MPIRUN` names the launcher that belongs to the MPI that the package was built with; `mpirun`
//! without. Each case names itself as it passes.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::float_cmp,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "tests"
)]

mod batch;
mod head;
mod launch;
mod programs;

use std::path::Path;

use dpo_kernel_mpi::comm::{Comm, Comms, Shared};
use dpo_kernel_mpi::grid::Place;
use ferrompi::{Mpi, ThreadLevel};

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let [word, case, grid, out] = args.as_slice()
        && word == launch::RANK
    {
        return rank(case, grid, Path::new(out));
    }
    // A filter, as other test programs take it.
    let wanted = |name: &str| {
        let mut filters = args.iter().filter(|arg| !arg.starts_with("--")).peekable();
        filters.peek().is_none() || filters.any(|filter| name.contains(filter.as_str()))
    };
    let cases: [(&str, fn()); 9] = [
        ("head_of_any_shards", head::any_shards),
        ("head_against_f64", head::against_f64),
        ("batch_on_any_grid", batch::any_grid),
        ("batch_against_finetune", batch::against_finetune),
        ("masked_items", batch::masked_items),
        ("what_is_not_finite", batch::not_finite),
        ("ranks_that_do_not_fit", programs::refusals),
        ("grids_give_one_digest", programs::digests),
        ("a_killed_run_goes_on", programs::resumes),
    ];
    for (name, case) in cases {
        if wanted(name) {
            case();
            println!("test {name} ... ok");
        }
    }
}

/// One rank of a case: it writes to `out`.`rank`.
fn rank(case: &str, grid: &str, out: &Path) {
    let mpi = Mpi::init_thread(ThreadLevel::Multiple).expect("MPI");
    let world = mpi.world();
    let number = world.rank();
    let shared = std::rc::Rc::new(Shared::default());
    let world = Comm::new(world.duplicate().expect("a communicator"), shared);
    let place = Place::new(grid.parse().expect("a grid"), world.rank);
    let comms = Comms::new(place, world).expect("communicators");
    let bytes = match case.split_once(':') {
        Some(("head", case)) => head::rank(&comms, case.parse().expect("a number")),
        Some(("batch", case)) => batch::rank(&comms, case),
        _ => panic!("there is no case {case}"),
    };
    std::fs::write(out.with_extension(number.to_string()), bytes).expect("a file");
}
