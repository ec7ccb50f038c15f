"""What the exchange costs on paper, for 8 to 4,096 ranks: python3 examples/mpi/model.py

Time of a collective of n ranks, each of which gives m bytes:

    all to all      a + (n - 1) o + (n - 1) / n m / b
    gather          ceil(log2 n) a + (n - 1) m / b        every rank takes (n - 1) m
    all-reduce      2 ceil(log2 n) a + 2 (n - 1) / n m / b
    reduce-scatter  ceil(log2 n) a + (n - 1) / n m / b

a is the latency of a message, o the time that it keeps its sender, b the bandwidth of a rank's link in
one direction. Those of networks are what their makers state for one link, and latencies of small
messages as benchmarks of MPI usually report them; those of loopback were measured here, by --measure on
two ranks.
"""

from math import ceil, log2

NETWORKS = {  # seconds, bytes a second
    "NVLink 4": (2e-6, 450e9),
    "InfiniBand NDR": (2e-6, 50e9),
    "100 GbE": (10e-6, 12.5e9),
    "25 GbE": (20e-6, 3.1e9),
    "loopback": (0.2e-6, 3.9e9),
}
OVERHEAD = 0.5e-6  # seconds a message
ROWS = 8192  # of a group and step
WIDTH = 4096  # of a hidden state
ADAPTER = 20_000_000  # weights that are trained


def hops(ranks):
    return ceil(log2(ranks))


def gather(ranks, given, latency, bandwidth):
    return hops(ranks) * latency + (ranks - 1) * given / bandwidth


def exchange(ranks, given, latency, bandwidth):
    """All to all of what each gives, then a gather of as much, each rank its share."""
    transposed = latency + (ranks - 1) * OVERHEAD + (ranks - 1) / ranks * given / bandwidth
    return transposed + gather(ranks, given / ranks, latency, bandwidth)


def all_reduce(ranks, given, latency, bandwidth):
    return 2 * hops(ranks) * latency + 2 * (ranks - 1) / ranks * given / bandwidth


def reduce_scatter(ranks, given, latency, bandwidth):
    return hops(ranks) * latency + (ranks - 1) / ranks * given / bandwidth


def main():
    print(f"partials of {ROWS} rows over the shards, microseconds:")
    print("exchange of 64 bytes a row (a gather of them) / three all-reduces of 4 bytes")
    shards = (2, 8, 64, 256)
    print("| network |" + "".join(f" {count} shards |" for count in shards))
    for name, link in NETWORKS.items():
        cells = []
        for count in shards:
            ours, plain = (way(count, 64 * ROWS, *link) for way in (exchange, gather))
            theirs = 3 * all_reduce(count, 4 * ROWS, *link)
            cells.append(f" {1e6 * ours:,.0f} ({1e6 * plain:,.0f}) / {1e6 * theirs:,.0f} |")
        print(f"| {name} |" + "".join(cells))
    print()
    print("exchange on two ranks of loopback, microseconds, as --measure has it:")
    for rows in (1, 16, 256, 1024, 4096):
        print(f"{rows} rows: {1e6 * exchange(2, 64 * rows, *NETWORKS['loopback']):.1f}")
    print()
    print(f"hidden gradients of {ROWS} rows of {WIDTH}, 8 shards, milliseconds: i64 / f32")
    for name, link in NETWORKS.items():
        ours, theirs = (reduce_scatter(8, size * WIDTH * ROWS, *link) for size in (8, 4))
        print(f"| {name} | {1e3 * ours:.2f} / {1e3 * theirs:.2f} |")
    print()
    print(f"gradients of {ADAPTER:,} weights over all ranks, milliseconds: i64 / f32")
    ranks = (8, 64, 512, 4096)
    print("| network |" + "".join(f" {count} ranks |" for count in ranks))
    for name, link in NETWORKS.items():
        cells = []
        for count in ranks:
            ours, theirs = (all_reduce(count, size * ADAPTER, *link) for size in (8, 4))
            cells.append(f" {1e3 * ours:.2f} / {1e3 * theirs:.2f} |")
        print(f"| {name} |" + "".join(cells))


if __name__ == "__main__":
    main()
