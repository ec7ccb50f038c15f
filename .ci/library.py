"""The whole library as linked code, for the checks that read its symbols.

tests/no_panic holds the address of every public function. It is built as a static library without std
and linked with everything unreachable dropped: what is left is what a caller can reach. One folder and
one mangling for all of the checks, so that a build that two of them need is made once.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "target" / "linked"
ORDINARY = ["profile.release.panic='abort'", "profile.release.debug=false"]

# Names with their type parameters.
MANGLING = {**os.environ, "RUSTFLAGS": "-Csymbol-mangling-version=v0"}


def output(*command, root=ROOT, env=None):
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, env=env)
    if done.returncode != 0:
        sys.exit(f"{Path(sys.argv[0]).name}: {' '.join(map(str, command))}\n{done.stdout}{done.stderr}")
    return done.stdout


def archive(configs, root=ROOT):
    """The static library, and the tables that it holds."""
    configs = [argument for config in configs for argument in ("--config", config)]
    build = ["cargo", "rustc", "--quiet", "--release", "--package", "dpo-kernel-no-panic", "--lib"]
    output(*build, "--crate-type", "staticlib", "--target-dir", TARGET, *configs, root=root, env=MANGLING)
    found = TARGET / "release" / "libdpo_kernel_no_panic.a"
    symbols = output("nm", "--quiet", "--defined-only", "--extern-only", found)
    tables = sorted(set(re.findall(r" (DPO_KERNEL_\w+)$", symbols, re.MULTILINE)))
    return found, tables


def linked(library, tables):
    """Tables and what they reach: a shared object, whose missing symbols do no harm."""
    found = TARGET / "linked.so"
    link = ["cc", "-shared", "-nostdlib", "-Wl,--gc-sections", "-Wl,--exclude-libs,ALL"]
    output(*link, *(f"-Wl,-u,{table}" for table in tables), "-o", found, library)
    kept = output("nm", found)
    if missing := [table for table in tables if f" {table}\n" not in kept]:
        sys.exit(f"{Path(sys.argv[0]).name}: the linker dropped the tables {missing}")
    return found
