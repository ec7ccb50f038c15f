"""The library, checked when it is loaded, and its structs by the names of their fields."""

from ._native import ffi, lib

if ffi.sizeof("size_t") != 8:
    raise ImportError(f"dpo_kernel_torch needs 64 bits, this interpreter has {8 * ffi.sizeof('size_t')}")

VERSION = ffi.string(lib.dpo_version()).decode()
DECLARED = ".".join(
    str(part)
    for part in (lib.DPO_KERNEL_VERSION_MAJOR, lib.DPO_KERNEL_VERSION_MINOR, lib.DPO_KERNEL_VERSION_PATCH)
)
if VERSION != DECLARED:
    raise ImportError(f"the library is version {VERSION}, its declarations are of {DECLARED}: reinstall the package")

# Every level has the same bits; the arithmetic is the fastest that the machine has.
FASTEST = lib.dpo_detect()


def struct(kind, /, **fields):
    """A struct of the library; its own size is set where it has one. `None` is NULL."""
    made = ffi.new(f"{kind} *")
    if kind in SIZED:
        made.size = ffi.sizeof(kind)
    for name, value in fields.items():
        setattr(made, name, ffi.NULL if value is None else value)
    return made


def new_error():
    return ffi.new("dpo_error *")


def pointer(kind, tensor, offset=0):
    """Where element `offset` of a tensor is, as a pointer of the C type; NULL for None."""
    if tensor is None:
        return ffi.NULL
    return ffi.cast(f"{kind} *", tensor.data_ptr() + offset * tensor.element_size())


def _sized():
    """The structs that begin with their size."""
    names, _, _ = ffi.list_types()
    types = {name: ffi.typeof(name) for name in names}
    return frozenset(
        name for name, kind in types.items() if kind.kind == "struct" and kind.fields[0][0] == "size"
    )


SIZED = _sized()
