//! Starts ranks and reads what they wrote.

use std::path::PathBuf;
use std::process::{Command, Output};

use dpo_kernel_mpi::grid::Grid;

/// The first argument of a rank.
pub(crate) const RANK: &str = "rank";

/// The launcher. Its ranks may be more than the cores, and may belong to root.
pub(crate) fn launcher() -> Command {
    let mut command = Command::new(std::env::var_os("MPIRUN").unwrap_or_else(|| "mpirun".into()));
    command
        .env("OMPI_ALLOW_RUN_AS_ROOT", "1")
        .env("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1")
        .env("OMPI_MCA_rmaps_base_oversubscribe", "1")
        .env("PRTE_MCA_rmaps_default_mapping_policy", ":oversubscribe");
    command
}

/// A folder of this run's own.
pub(crate) fn folder() -> PathBuf {
    let folder = std::env::temp_dir().join(format!("dpo-kernel-mpi-ranks-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    folder
}

/// What each rank of a case wrote.
pub(crate) fn ranks(case: &str, grid: Grid) -> Vec<Vec<u8>> {
    let out = folder().join(format!("{}-{grid}", case.replace([':', '.'], "-")));
    let count = grid.ranks().to_string();
    let program = std::env::current_exe().expect("this program");
    let mut command = launcher();
    command.args(["-n", &count]).arg(program).args([RANK, case, &grid.to_string()]).arg(&out);
    let found = finish(&mut command);
    assert!(found.status.success(), "{case} on {grid}: {}", text(&found));
    let read = |rank: usize| std::fs::read(out.with_extension(rank.to_string()));
    (0..grid.ranks()).map(|rank| read(rank).expect("what a rank wrote")).collect()
}

pub(crate) fn finish(command: &mut Command) -> Output {
    command.output().unwrap_or_else(|error| panic!("{command:?}: {error}; is MPI installed?"))
}

/// All that a program said.
pub(crate) fn text(output: &Output) -> String {
    [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes)).concat()
}

pub(crate) fn grid(text: &str) -> Grid {
    text.parse().expect("a grid")
}

/// Numbers as bytes, one after another.
pub(crate) fn bytes(numbers: &[f32]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
}

pub(crate) fn numbers(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks().0.iter().map(|word| f32::from_le_bytes(*word)).collect()
}
