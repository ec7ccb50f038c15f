//! `mpirun -n 4 dpo-kernel-mpi --grid 2x2`: see the library of this package.

use std::process::ExitCode;

fn main() -> ExitCode {
    dpo_kernel_mpi::run::start(std::env::args_os().skip(1))
}
