"""Errors of the library as exceptions, with the numbers that it gives."""

from .native import ffi, lib

# What the numbers of a status are, in order; include/dpo_kernel_status.h says so beside each code.
NUMBERS = {
    "LENGTH": ("expected", "found"),
    "SHAPE_OVERFLOW": ("rows", "stride"),
    "EMPTY_VOCABULARY": (),
    "VOCABULARY_TOO_LARGE": ("vocab",),
    "STRIDE_BELOW_VOCABULARY": ("stride", "vocab"),
    "SHAPE_MISMATCH": ("rows", "vocab of one", "rows", "vocab of the other"),
    "TARGET_OUT_OF_RANGE": ("row", "target", "vocab"),
    "SPAN_OUT_OF_RANGE": ("sequence", "start", "end", "rows"),
    "SPANS_OVERLAP": ("first", "second"),
    "OFFSETS_NOT_ASCENDING": ("index",),
    "NO_SCORED_TOKENS": ("sequence",),
    "SEQUENCE_OUT_OF_RANGE": ("pair", "sequence", "sequences"),
    "PAIR_OF_ONE_SEQUENCE": ("pair", "sequence"),
    "TOKEN_COUNT_MISMATCH": ("sequence", "policy", "reference"),
    "PARAMETER": (),
    "PARAMETER_UNUSED": (),
    "PARAMETER_MISSING": (),
    "REFERENCE_MISSING": (),
    "INPUT_UNUSED": (),
    "UNKNOWN_LOSS": (),
    "ANSWER_OUT_OF_RANGE": ("answer", "sequence", "sequences"),
    "TOKEN_WEIGHTS_DIFFER": ("pair", "sequence"),
    "INVALID_VALUE": ("index",),
    "NON_FINITE_ROWS": ("first", "count"),
    "NON_FINITE_PAIRS": ("first", "count"),
    "NON_FINITE_ANSWERS": ("first", "count"),
    "SPANS_NOT_ASCENDING": ("sequence",),
    "STRIDE_BELOW_HIDDEN": ("stride", "hidden"),
    "HIDDEN_MISMATCH": ("rows", "hidden that are due", "rows", "hidden found"),
    "MISALIGNED": ("alignment",),
    "TOO_LONG": ("length",),
    "STRUCT_SIZE": ("its size here", "size found"),
}

STATUS = {getattr(lib, name): name.removeprefix("DPO_ERROR_") for name in dir(lib) if name.startswith("DPO_ERROR_")}
# Statuses whose number 0 is a row: what a call for some of the rows says of them is moved to all rows.
OF_ROWS = ("TARGET_OUT_OF_RANGE", "NON_FINITE_ROWS")
OF_PARAMETERS = ("PARAMETER", "PARAMETER_UNUSED", "PARAMETER_MISSING")
OF_LEVELS = ("LEVEL_UNAVAILABLE", "FUSED_UNAVAILABLE")
WITH_VALUE = ("PARAMETER", "INVALID_VALUE", "UNKNOWN_LABEL", "UNKNOWN_VALUE", "TARGET_OUT_OF_RANGE")


class KernelError(ValueError):
    """What dpo-kernel refuses.

    `status` is the name of the code in `include/dpo_kernel_status.h` without its prefix, `numbers` the numbers
    behind it by name, `subject` the buffer or parameter that it is about, or None, `value` the value that was
    found, where there is one.
    """

    def __init__(self, status, numbers=None, subject=None, value=None):
        self.status = status
        self.numbers = dict(numbers or {})
        self.subject = subject
        self.value = value
        super().__init__(self._text())

    def _text(self):
        code = getattr(lib, f"DPO_ERROR_{self.status}")
        text = f"{self.status}: {text_of(lib.dpo_status_message(code))}"
        found = [f"{name} {number}" for name, number in self.numbers.items()]
        if self.subject is not None:
            found.insert(0, self.subject)
        if self.value is not None:
            found.append(f"found {self.value:g}")
        return f"{text} ({', '.join(found)})" if found else text

    def __reduce__(self):
        return type(self), (self.status, self.numbers, self.subject, self.value)


class NonFiniteError(KernelError, ArithmeticError):
    """Rows, pairs or answers without a finite result. `numbers` has the first of them and their count."""


def text_of(pointer):
    """A static string of the library."""
    return ffi.string(pointer).decode() if pointer != ffi.NULL else None


def exception(error, first_row=0):
    """The exception for a `dpo_error` of a call whose row 0 is row `first_row` of the caller's."""
    status = STATUS.get(error.status, "UNKNOWN_VALUE")
    labels = NUMBERS.get(status, ())
    numbers = {}
    for label, number in zip(labels, error.numbers):
        # A label that stands there twice is of one and of the other.
        label = label if label not in numbers else f"{label} of the other"
        # Negative indices arrive as unsigned numbers.
        numbers[label] = number - (1 << 64) if number >> 63 else number
    if status in OF_ROWS:
        numbers[labels[0]] += first_row
    if status in OF_LEVELS:
        subject = f"level {error.subject}"
    elif status in OF_PARAMETERS:
        subject = text_of(lib.dpo_parameter_name(error.subject))
    else:
        subject = text_of(lib.dpo_buffer_name(error.subject))
    value = error.value if status in WITH_VALUE else None
    if status == "TARGET_OUT_OF_RANGE":
        # The number is unsigned; the value has its sign.
        numbers["target"], value = int(error.value), None
    kind = NonFiniteError if status.startswith("NON_FINITE") else KernelError
    return kind(status, numbers, subject, value)


def check(status, error, first_row=0):
    """Raises what a call has returned, unless it is 0."""
    if status != lib.DPO_OK:
        raise exception(error, first_row)


def merged(errors):
    """One exception for calls of several parts of the rows, in their order."""
    first = errors[0]
    if first.status == "NON_FINITE_ROWS":
        same = [error for error in errors if error.status == first.status]
        first.numbers["count"] = sum(error.numbers["count"] for error in same)
        return NonFiniteError(first.status, first.numbers, first.subject, first.value)
    return first
