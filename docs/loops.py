#!/usr/bin/env python3
"""The hot loops of a release build: their operations, and their cycles as llvm-mca models them.

    python3 docs/loops.py [--no-build]      prints the tables of docs/speed.md, "AArch64"

The loops are taken from the program `cost` of tests/digest/targets, built for x86-64 and for AArch64:
forward without details, and gradient in place, of rows whose logits are their elements. Operations are
vector instructions that compute, four lanes each: one of AVX2 counts as two. Copies of registers, loads
and stores are no operations. The loops of x86 are also timed on this machine, in cache.

Needs what `.ci/cross aarch64` needs, a C compiler, and llvm-mca (Debian's `llvm-22`, or any newer).
"""

import math
import os
import re
import subprocess
import sys
import time
from glob import glob
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROGRAMS = ROOT / "tests" / "digest" / "targets"
TARGET = ROOT / "target" / "loops"

KERNELS = {
    "forward": r"::row::fold::Advance<{}, \(\), true>",
    "gradient": r"::gradient::map::Update<{}, true, false>",
}
TYPES = {"f32": "f32", "f16": r"[\w:]*binary16::f16", "bf16": r"[\w:]*bfloat::bf16"}
# Where a level is entered, its architecture, and the lanes of its registers.
LEVELS = {
    "AVX-512": (r"simd::avx512::run", "x86", 16), "AVX2": (r"simd::avx2::run", "x86", 8),
    "NEON": (r"simd::dispatch::run_baseline", "arm", 4),
}
ARM = ["cortex-a55", "cortex-a76", "neoverse-n1", "neoverse-v1", "apple-m1"]
X86 = ["skylake-avx512", "znver3", "znver4"]
TRIPLES = {"x86": "x86_64-unknown-linux-gnu", "arm": "aarch64-unknown-linux-gnu"}


def output(*command, **options):
    done = subprocess.run(command, capture_output=True, text=True, **options)
    if done.returncode != 0:
        sys.exit(f"loops: {' '.join(map(str, command))}\n{done.stdout}{done.stderr}")
    return done.stdout


def build():
    flags = {"RUSTFLAGS": "-Csymbol-mangling-version=v0", "CARGO_TARGET_DIR": str(TARGET)}
    arguments = ["build", "--release", "--bin", "cost", "--target"]
    output("cargo", *arguments, TRIPLES["x86"], cwd=PROGRAMS, env={**os.environ, **flags})
    debian = {"RUSTC": "/usr/bin/rustc", "RUSTC_BOOTSTRAP": "1",
              "CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER": "aarch64-linux-gnu-gcc"}
    output("/usr/bin/cargo", *arguments, TRIPLES["arm"], "-Zbuild-std=std,panic_abort", cwd=PROGRAMS,
           env={**os.environ, **flags, **debian})


def functions(architecture):
    """The instructions of each function, as (address, text)."""
    program = TARGET / TRIPLES[architecture] / "release" / "cost"
    tool = "objdump" if architecture == "x86" else "aarch64-linux-gnu-objdump"
    text = output(tool, "-d", "--no-show-raw-insn", "--demangle", program)
    found, name = {}, None
    for line in text.splitlines():
        if header := re.match(r"^[0-9a-f]+ <(.*)>:$", line):
            name = header[1]
            found[name] = []
        elif name and (instruction := re.match(r"^ *([0-9a-f]+):\t(.*)$", line)):
            text = re.sub(r"\s*(#\s|//|<).*", "", instruction[2]).strip()
            found[name].append((int(instruction[1], 16), text))
    return found


def is_shift(text):
    """The shift into the exponent: one for each vector of logits."""
    return re.match(r"(shl|vpslld)\b.*(#|\$0x)(23|17)\b", text)


def loop(body):
    """The innermost loop with most of those shifts."""
    at = {address: i for i, (address, _) in enumerate(body)}
    loops = []
    for i, (_, text) in enumerate(body):
        jump = re.match(r"(?:j\w+|b\.\w+|cbn?z|tbn?z)\s.*?\b(?:0x)?([0-9a-f]+)$", text)
        if jump and (start := at.get(int(jump[1], 16))) is not None and start < i:
            loops.append((start, i))
    inner = [a for a in loops if not any(b != a and a[0] <= b[0] and b[1] <= a[1] for b in loops)]
    texts = [[text for _, text in body[start:end + 1]] for start, end in inner]
    return max(texts, key=lambda loop: sum(1 for text in loop if is_shift(text)))


MOVES = re.compile(r"(vmov[au]p[sd]|vmovdq[au]\w*|vmovap\w)\s+%[xyz]mm\d+,%[xyz]mm\d+$|mov\s+v\d+\.16b, v\d+\.16b$")
LOADS = re.compile(r"(vmov[au]p[sd]|vmovdq[au]\w*|vmovap\w|vbroadcasts\w|vmovq|vmovd|prefetch\w*)\b.*\(|(ldr|ldp|ldur|str|stp|stur|ld1r?|st1)\b")
VECTOR = re.compile(r"%[xyz]mm|\bv\d+\.")


def operations(loop):
    return sum(1 for text in loop if VECTOR.search(text) and not MOVES.match(text) and not LOADS.match(text))


def newest_mca():
    found = sorted(glob("/usr/lib/llvm-*/bin/llvm-mca"), key=lambda path: int(re.search(r"-(\d+)", path)[1]))
    return found[-1] if found else "llvm-mca"


def cycles(loop, architecture, core):
    """Modelled cycles of one round."""
    rounds = 200
    # The jump's target is left out: what is repeated is repeated anyway.
    lines = [re.sub(r"^(j\w+)\s.*", r"\1 0", re.sub(r"^(b\.\w+)\s.*", r"\1 0", text)) for text in loop]
    syntax = [] if architecture == "arm" else ["-x86-asm-syntax=att"]
    found = output(newest_mca(), f"-mtriple={TRIPLES[architecture]}", f"-mcpu={core}", f"-iterations={rounds}",
                   *syntax, input="\n".join(lines) + "\n")
    return int(re.search(r"^Total Cycles:\s+(\d+)", found, re.MULTILINE)[1]) / rounds


def clock():
    """Cycles a nanosecond: a loop of additions that wait for each other."""
    source, program = TARGET / "clock.c", TARGET / "clock"
    source.write_text("""
        #include <stdio.h>
        #include <time.h>
        int main(void) {
            double best = 0;
            for (int lap = 0; lap < 50; lap++) {
                struct timespec from, to;
                long rounds = 1000000, x = 0;
                clock_gettime(CLOCK_MONOTONIC, &from);
                __asm__ volatile("1: .rept 10; add $1, %1; .endr; dec %0; jnz 1b" : "+r"(rounds), "+r"(x));
                clock_gettime(CLOCK_MONOTONIC, &to);
                double found = 1e7 / ((to.tv_sec - from.tv_sec) * 1e9 + (to.tv_nsec - from.tv_nsec));
                best = found > best ? found : best;
            }
            printf("%f", best);
        }
    """)
    output("cc", "-O1", "-o", program, source)
    return float(output(program))


def measured(kernel, name, level, arithmetic):
    """Nanoseconds a logit here, at best; none if the machine lacks the level."""
    vocab, few, many = 8192, 200, 1200
    program = TARGET / TRIPLES["x86"] / "release" / "cost"

    def took(times):
        start = time.perf_counter()
        done = subprocess.run([program, kernel, name, level, arithmetic, str(vocab), str(times)], capture_output=True)
        return time.perf_counter() - start if done.returncode == 0 else math.nan
    laps = [(took(few), took(many)) for _ in range(60)]
    least, most = (min(times) for times in zip(*laps))
    return (most - least) / (many - few) / vocab * 1e9


def row(*cells):
    print("|", " | ".join(str(cell) for cell in cells), "|")


def head(*cells):
    row(*cells)
    print("|---" * len(cells) + "|")


def main():
    if "--no-build" not in sys.argv:
        build()
    found = {architecture: functions(architecture) for architecture in TRIPLES}

    def body(level, arithmetic, kernel, name):
        """A loop, and its logits."""
        entry, architecture, lanes = LEVELS[level]
        fused = "true" if arithmetic == "Fused" else "false"
        wanted = re.compile(rf".*{entry}::<{fused}, .*{KERNELS[kernel].format(TYPES[name])}>$")
        [text] = [loop(body) for function, body in found[architecture].items() if wanted.match(function)]
        return text, lanes * sum(1 for line in text if is_shift(line))

    cases = [(arithmetic, kernel, name) for arithmetic in ("Fused", "Portable") for kernel in KERNELS for name in TYPES]
    head("", "AVX2", "NEON", "its instructions", *ARM)
    for arithmetic, kernel, name in cases:
        (wide, many), (text, logits) = (body(level, arithmetic, kernel, name) for level in ("AVX2", "NEON"))
        modelled = [f"{cycles(text, 'arm', core) / logits:.2f}" for core in ARM]
        row(f"{kernel}, {name}, {arithmetic.lower()}", f"{operations(wide) * 32 / many:.0f}",
            f"{operations(text) * 16 / logits:.0f}", f"{len(text) * 16 / logits:.0f}", *modelled)
    print()
    rate = clock()
    print(f"{rate:.2f} cycles a nanosecond")
    head("", *(f"{level}: {core}" for level in ("AVX2", "AVX-512") for core in [*X86, "here"]))
    for arithmetic, kernel, name in cases[:6]:
        cells = []
        for level in ("AVX2", "AVX-512"):
            text, logits = body(level, arithmetic, kernel, name)
            cells += [f"{cycles(text, 'x86', core) / logits:.2f}" if level == "AVX2" or core != "znver3" else ""
                      for core in X86]
            here = measured(kernel, name, {"AVX2": "Avx2", "AVX-512": "Avx512"}[level], arithmetic)
            cells.append(f"{here * rate:.2f}")
        row(f"{kernel}, {name}", *cells)


if __name__ == "__main__":
    main()
