#!/bin/sh
# Open MPI 4.1.4: the status of mpirun after MPI_Abort(70).
#
# MPI_Abort is said to end the job with its code, and mpirun does: 70. With --enable-recovery, by which a job survives a
# process that died, MPI_Abort still ends all processes, but mpirun's status is 0: a script that looks at the status
# takes a job that was aborted for one that went well.
#
# Seen (two ranks; rank 1 sleeps, rank 0 aborts):
#   mpirun                      70
#   mpirun --enable-recovery    0
# Here a run tells its end by its last line, `digests: …`, and .ci/mpi looks at that (examples/mpi).
#
# Needs mpicc and mpirun of Open MPI (Debian: openmpi-bin libopenmpi-dev). Leaves nothing behind.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat > "$folder/abort.c" <<'C'
#include <mpi.h>
#include <unistd.h>
int main(int count, char **words) {
    int rank;
    MPI_Init(&count, &words);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    if (rank == 0) MPI_Abort(MPI_COMM_WORLD, 70);
    sleep(20);
    MPI_Finalize();
    return 0;
}
C
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
"$(command -v mpicc.openmpi || command -v mpicc)" -o "$folder/abort" "$folder/abort.c"
launcher=$(command -v mpirun.openmpi || command -v mpirun)
"$launcher" --version | head -n 1
for option in "" --enable-recovery; do
    status=0
    # shellcheck disable=SC2086 # no option is no word
    "$launcher" --oversubscribe $option -n 2 "$folder/abort" >"$folder/said" 2>&1 || status=$?
    echo "mpirun $option: status $status"
done
