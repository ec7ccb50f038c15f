"""What cffi declares against the library and its headers."""

import re
from pathlib import Path

import dpo_kernel_torch as kernel
import pytest
from dpo_kernel_torch import errors
from dpo_kernel_torch.native import STRUCTS, ffi, lib, new_error

INCLUDE = Path(__file__).parents[3] / "include"
FUNCTIONS = re.compile(r"[ *](dpo_\w+)\(")


def header():
    text = "".join(path.read_text() for path in sorted(INCLUDE.glob("*.h")))
    return re.sub(r"/\*.*?\*/", " ", text, flags=re.DOTALL)


def test_every_function_and_constant_is_declared_and_there():
    functions = set(FUNCTIONS.findall(header()))
    assert len(functions) > 40
    for name in functions:
        assert getattr(lib, name), name
    text = header()
    constants = set(re.findall(r"^#define (DPO_\w+) (?:UINT32_C\()?\d", text, re.MULTILINE))
    for body in re.findall(r"enum \{(.*?)\}", text, re.DOTALL):
        constants |= set(re.findall(r"(DPO_\w+)\s*=", body))
    assert len(constants) > 150
    for name in constants:
        assert isinstance(getattr(lib, name), int), name


# A call that reads a struct, by the struct's name: it is given one of size 0 and answers with the size due.
CALLS = {
    "dpo_layout": lambda x, e: lib.dpo_sequence_log_probs(ffi.NULL, x, ffi.NULL, ffi.NULL, e),
    "dpo_logits": lambda x, e: lib.dpo_token_log_probs((0, 0), x, of("dpo_layout"), *[ffi.NULL] * 4, e),
    "dpo_logits_mut": lambda x, e: lib.dpo_logit_grads_in_place((0, 0), x, of("dpo_layout"), of("dpo_grads"), e),
    "dpo_grads": lambda x, e: lib.dpo_logit_grads_in_place((0, 0), of("dpo_logits_mut"), of("dpo_layout"), x, e),
    "dpo_head": lambda x, e: lib.dpo_head_scratch_len(x, 1, ffi.new("size_t *"), e),
    "dpo_nll": lambda x, e: lib.dpo_nll_loss(x, ffi.NULL, 0, ffi.NULL, ffi.new("dpo_nll_summary *"), e),
    "dpo_tile": lambda x, e: lib.dpo_tile_grads_in_place((0, 0), x, e),
}


def of(kind):
    """A struct with its size and nothing else."""
    made = ffi.new(f"{kind} *")
    made.size = ffi.sizeof(kind)
    return made


@pytest.mark.parametrize("kind", sorted(CALLS))
def test_sizes_are_those_of_the_library(kind):
    error = new_error()
    status = CALLS[kind](ffi.new(f"{kind} *"), error)
    assert status == lib.DPO_ERROR_STRUCT_SIZE, ffi.string(lib.dpo_status_message(status))
    assert tuple(error.numbers)[:2] == (ffi.sizeof(kind), 0)


def test_structs_without_a_size():
    """Of documented sizes, and results of the library that end where the struct does."""
    assert ffi.sizeof("dpo_row_norm") == 16 and ffi.sizeof("dpo_row_details") == 16
    assert STRUCTS["dpo_layout"][1] == ffi.sizeof("dpo_layout") and STRUCTS["dpo_span"][1] is None
    for kind in ("dpo_summary", "dpo_unpaired_summary", "dpo_nll_summary", "dpo_pair_loss", "dpo_answer_loss"):
        fields = ffi.typeof(kind).fields
        assert ffi.sizeof(kind) == 8 * len(fields) and all(field.offset % 8 == 0 for _, field in fields)


def test_numbers_of_errors_are_those_of_the_header():
    """Each code's comment: subject; numbers in order; value. Words after a number say more of it."""
    text = (INCLUDE / "dpo_kernel_status.h").read_text()
    comments = dict(re.findall(r"DPO_ERROR_(\w+) = \d+,?[ ]*(?:/\*(.*?)\*/)?", text, re.DOTALL))
    assert set(comments) == set(errors.STATUS.values())
    for status, comment in comments.items():
        said = " ".join(comment.split())
        for label in errors.NUMBERS.get(status, ()):
            assert label in said, f"{status}: {label!r} is not in {said!r}"
        listed = re.sub(r"subject: \w+;?|value: .*|\bvalue\b", "", said.split(";  ")[0])
        if status not in errors.NUMBERS:
            assert not listed.strip(" ;.") or status in SAID_OTHERWISE, f"{status}: {said!r} has no labels"


# Their comments are of a subject or a value alone, or say when they come.
SAID_OTHERWISE = (
    "SPANS_OVERLAP OUT_OF_MEMORY NULL OVERLAP UNKNOWN_VALUE FIELD_UNUSED ROW_STATS UNKNOWN_LABEL "
    "LEVEL_UNAVAILABLE FUSED_UNAVAILABLE TRANSFORM_OF_GRADIENTS MERGE_OF_DIFFERENT_ROWS EMPTY_HIDDEN"
).split()


def test_the_version_is_the_librarys():
    from importlib.metadata import PackageNotFoundError, version

    assert kernel.__version__ == ffi.string(lib.dpo_version()).decode()
    try:
        assert version("dpo-kernel-torch") == kernel.__version__
    except PackageNotFoundError:
        pytest.skip("not installed: the package is on the path alone")
