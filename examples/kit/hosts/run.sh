#!/bin/sh
# Every library of docs/peers.md before the conformance kit: makes virtual environments with pinned versions, writes the
# cases, runs the hosts, prints the reports.
#
#     examples/kit/hosts/run.sh [FOLDER] [HOST ...]
#
# FOLDER is kept, and its environments are used again; without it, or as "", a temporary one is made and removed. HOST is
# any of numpy, torch, liger, jax, tensorflow, mlx, paddle, onnxruntime, openvino, litert, rust; all without. SEED is 1
# if it is not set. Needs python3 (3.11 was used) with venv, cargo, network for the first run, and some 15 GB: wheels
# for Linux bring GPU libraries along. The Rust hosts build for some minutes. Exits with 1 if a report is not clean,
# which is what docs/peers.md is about; with 2 if a host could not run.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../../.." && pwd)
folder=${1:-}
[ $# = 0 ] || shift
if [ -z "$folder" ]; then
    folder=$(mktemp -d)
    trap 'rm -rf "$folder"' EXIT
fi
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)
[ $# != 0 ] || set -- numpy torch liger jax tensorflow mlx paddle onnxruntime openvino litert rust

# Prints the packages of a host; hosts of one line share an environment.
packages() {
    case $1 in
        numpy) echo numpy==2.4.6 ;;
        torch | liger) echo torch==2.15.0 numpy==2.4.6 liger-kernel==0.8.5 transformers==5.24.0 ;;
        tensorflow | litert) echo tensorflow==2.21.0 numpy==2.4.6 ml_dtypes==0.6.0 ai-edge-litert==2.3.0 ;;
        jax) echo jax==0.10.2 numpy==2.4.6 ml_dtypes==0.6.0 ;;
        mlx) echo 'mlx[cpu]==0.32.4' numpy==2.4.6 ;;
        paddle) echo paddlepaddle==3.3.1 numpy==2.4.6 ;;
        onnxruntime) echo onnxruntime==1.32.0 onnx==1.23.2 numpy==2.4.6 ;;
        openvino) echo openvino==2026.4.1 onnx==1.23.2 numpy==2.4.6 ;;
        *) echo "there is no host $1" >&2; return 2 ;;
    esac
}

environment() {
    case $1 in liger) echo torch ;; litert) echo tensorflow ;; *) echo "$1" ;; esac
}

kit() {
    cargo run --quiet --release --manifest-path "$root/Cargo.toml" --features verify,alloc --example kit -- "$@"
}

worst=0

# Takes the status of a report: 1 is one that is not clean.
found() {
    if [ "$1" != 1 ]; then worst=2; elif [ $worst = 0 ]; then worst=1; fi
}

for form in f32 bf16 f16; do
    kit write "$folder/cases-$form" --dtype "$form" --seed "${SEED:-1}"
done
for host in "$@"; do
    if [ "$host" = rust ]; then
        cargo run --release --quiet --manifest-path "$here/../rust/Cargo.toml" -- "${SEED:-1}" || found $?
        continue
    fi
    wanted=$(packages "$host")
    python=$folder/venv-$(environment "$host")/bin/python
    if [ ! -x "$python" ]; then
        python3 -m venv "$folder/venv-$(environment "$host")"
        # shellcheck disable=SC2086
        "$python" -m pip install --quiet $wanted
    fi
    for form in f32 bf16 f16; do
        answers=$folder/answers-$host-$form
        rm -rf "$answers"
        code=0
        "$python" "$here/${host}_host.py" "$folder/cases-$form" "$answers" 2> "$folder/errors-$host-$form" || code=$?
        if [ ! -f "$answers/answers.json" ]; then
            tail -n 1 "$folder/errors-$host-$form"
            # What a host does not take is no failure.
            grep -q "does not take" "$folder/errors-$host-$form" || worst=2
            continue
        fi
        [ $code = 0 ] || worst=2
        kit check "$folder/cases-$form" "$answers" --json "$folder/report-$host-$form.json" || found $?
    done
done
exit $worst
