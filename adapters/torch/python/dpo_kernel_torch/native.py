"""The library, checked when it is loaded, and its structs by the names of their fields."""

from ._native import ffi, lib

if ffi.sizeof("size_t") != 8:
    raise ImportError(f"dpo_kernel_torch needs 64 bits, this interpreter has {8 * ffi.sizeof('size_t')}")

VERSION = ffi.string(lib.dpo_version()).decode()
DECLARED = ".".join(
    str(part) for part in (lib.DPO_KERNEL_VERSION_MAJOR, lib.DPO_KERNEL_VERSION_MINOR, lib.DPO_KERNEL_VERSION_PATCH)
)
if VERSION != DECLARED:
    raise ImportError(f"the library is version {VERSION}, its declarations are of {DECLARED}: reinstall the package")

# Every level has the same bits; the arithmetic is the fastest that the machine has.
FASTEST = lib.dpo_detect()


_VOID = ffi.typeof("void *")


def _structs():
    """Each struct that a host fills: its pointer type, and its size where it begins with it."""
    names, _, _ = ffi.list_types()
    found = {}
    for name in names:
        kind = ffi.typeof(name)
        if kind.kind == "struct":
            sized = kind.fields[0][0] == "size"
            found[name] = ffi.typeof(f"{name} *"), ffi.sizeof(kind) if sized else None
    return found


STRUCTS = _structs()


def struct(kind, /, **fields):
    """A struct of the library, zeroed but for these fields; its own size is set where it has one."""
    pointer_type, size = STRUCTS[kind]
    if size is not None:
        fields["size"] = size
    return ffi.new(pointer_type, fields)


def new_error():
    return ffi.new("dpo_error *")


def pointer(tensor, dtype, offset=0):
    """Where element `offset` of a tensor of this type is; NULL for None. C converts `void *` to what it is used as."""
    if tensor is None:
        return ffi.NULL
    # C sees no type: a tensor of narrower numbers, as PyTorch's default may be, would be written past its end.
    if tensor.dtype != dtype:
        raise TypeError(f"a tensor is {tensor.dtype} where the library takes {dtype}")
    return ffi.cast(_VOID, tensor.data_ptr() + offset * tensor.element_size())
