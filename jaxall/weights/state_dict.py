"""Reads files of weights as numpy arrays, without torch and without trusting them.

Three formats, told apart by what the file begins with, never by its name: the zip archives of
torch >= 1.6, torch's older format (in which torchvision still serves DenseNet), and safetensors.
"""

import contextlib
import math
import os
import pathlib
import struct
import zipfile
from collections.abc import Callable, Iterator
from typing import BinaryIO

import numpy as np
import safetensors

from jaxall import errors
from jaxall.weights import pickles

OLD_MAGIC = 0x1950A86A20F9469CFC6C
OLD_PROTOCOL = 1001
# dtype -> how its numbers lie in the file; bfloat16 and bool need a word more, see `_owned`
STORED = {
    **{name: np.dtype(name) for name in ("float16", "float32", "float64")},
    **{name: np.dtype(name) for name in ("int8", "int16", "int32", "int64", "uint8")},
    **{"bfloat16": np.dtype("uint16"), "bool": np.dtype("uint8")},
}
SAFETENSORS = {
    **{"F16": "float16", "F32": "float32", "F64": "float64", "BF16": "bfloat16", "BOOL": "bool"},
    **{"I8": "int8", "I16": "int16", "I32": "int32", "I64": "int64", "U8": "uint8"},
}
WRAPPERS = ("state_dict", "model")
# tied weights are stored once and read several times; this many times the file, together
MAX_REPETITION = 4


class StateDictError(errors.UserError):
    """A file of weights that can't be read, or that is refused: one line that names the file."""


def read(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """Returns the tensors by name, in the file's order, as C-contiguous arrays that own their data.

    bfloat16 comes as float32, which holds it exactly. A dict under the key "state_dict" or "model"
    of an outer dict is accepted, one level deep, whatever plain values lie beside it; "module."
    is taken off when every name begins with it (`DataParallel` puts it there).

    Raises:
        StateDictError: If the file is missing or damaged, or holds anything but named tensors.
    """
    path = pathlib.Path(path)
    try:
        with path.open("rb") as file:
            arrays = _read(file)
    except OSError as error:
        raise StateDictError(f"cannot read {path}: {error.strerror or error}") from error
    except pickles.RefusedError as error:
        raise StateDictError(f"cannot read the weights in {path}: {error}") from error
    if all(name.startswith("module.") for name in arrays):
        return {name.removeprefix("module."): array for name, array in arrays.items()}
    return arrays


def _read(file: BinaryIO) -> dict[str, np.ndarray]:
    start = file.read(512)
    file.seek(0)
    if start.startswith(b"PK\3\4"):
        return _read_zip(file)
    if start.startswith(b"\x80"):
        return _read_old(file)
    if start[8:9] == b"{":
        return _read_safetensors(file)
    if start[257:262] == b"ustar":
        raise pickles.RefusedError("it is in the tar format of torch before 0.1.10; save it anew")
    raise pickles.RefusedError(
        "wanted a file of torch.save or safetensors, "
        + (f"but this one begins with {start[:16]!r}" if start else "but the file is empty")
    )


def _read_zip(file: BinaryIO) -> dict[str, np.ndarray]:
    size = file.seek(0, os.SEEK_END)
    with _damage_refused():
        archive = zipfile.ZipFile(file)
    entries = _entries(archive, file, size)

    def content(name: str, limit: int) -> bytes:
        if name not in entries:
            raise pickles.RefusedError(f"the zip archive has no entry {pickles.quoted(name)}")
        if entries[name].file_size > limit:
            raise pickles.RefusedError(f"the entry {pickles.quoted(name)} is larger than it may be")
        with _damage_refused():
            return archive.read(entries[name])

    order = content("byteorder", 16) if "byteorder" in entries else b"little"
    if order not in (b"little", b"big"):
        raise pickles.RefusedError(f"wanted byte order little or big, got {order!r}")
    pickle = content("data.pkl", pickles.MAX_BYTES)
    tree, end, _ = pickles.load(pickle)
    if end != len(pickle):
        raise pickles.RefusedError("the pickle is followed by something else")
    tensors = _chosen(tree)
    return _arrays(
        tensors,
        lambda storage: content(f"data/{storage.key}", size),
        order="<" if order == b"little" else ">",
        file_size=size,
    )


def _entries(archive: zipfile.ZipFile, file: BinaryIO, size: int) -> dict[str, zipfile.ZipInfo]:
    """Returns the archive's entries by their names below its one folder."""
    entries = archive.infolist()
    names = [entry.filename.partition("/")[2] for entry in entries]
    file.seek(max(size - 22, 0))
    if file.read(4) != b"PK\5\6":
        raise pickles.RefusedError("the zip archive is followed by something else")
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise pickles.RefusedError("refused compressed zip entries: torch.save writes none")
    # entries that are larger together than the file must share bytes, as in a zip bomb
    if sum(max(entry.file_size, entry.compress_size) for entry in entries) > size:
        raise pickles.RefusedError("the zip archive claims to hold more than its own size")
    if len(set(names)) < len(names) or len({e.filename.partition("/")[0] for e in entries}) > 1:
        raise pickles.RefusedError("the zip archive has two entries of one name, or two folders")
    if "constants.pkl" in names:
        raise pickles.RefusedError("it is a TorchScript program; save model.state_dict() instead")
    return dict(zip(names, entries, strict=True))


@contextlib.contextmanager
def _damage_refused() -> Iterator[None]:
    try:
        yield
    except (zipfile.BadZipFile, RuntimeError, EOFError, UnicodeDecodeError, struct.error) as error:
        detail = pickles.quoted(str(error))
        raise pickles.RefusedError(f"the zip archive is damaged or cut short: {detail}") from error


def _read_old(file: BinaryIO) -> dict[str, np.ndarray]:
    """Reads five pickles (magic, protocol, word sizes, the dict, storage keys), then storages."""
    head = file.read(pickles.MAX_BYTES)
    magic, position, _ = pickles.load(head)
    if magic != OLD_MAGIC:
        raise pickles.RefusedError("it is a bare pickle, not a file of torch.save")
    protocol, position, _ = pickles.load(head, position)
    if protocol != OLD_PROTOCOL:
        raise pickles.RefusedError(f"wanted version {OLD_PROTOCOL} of torch's old format")
    _, position, _ = pickles.load(head, position)  # storages are little-endian, whatever it says
    tree, position, storages = pickles.load(head, position)
    keys, position, _ = pickles.load(head, position)
    places = _places(file, position, keys, storages)

    def content(storage: pickles.Storage) -> bytes:
        file.seek(places[storage.key])
        return file.read(storage.count * STORED[storage.dtype].itemsize)

    return _arrays(_chosen(tree), content, order="<", file_size=file.seek(0, os.SEEK_END))


def _places(
    file: BinaryIO, position: int, keys: object, storages: dict[str, pickles.Storage]
) -> dict[str, int]:
    """Returns where each storage's numbers begin; each has its count before it."""
    places: dict[str, int] = {}
    for key in keys if type(keys) is list else ():
        if type(key) is not str or key not in storages or key in places:
            raise pickles.RefusedError("the list of storages and the tensors do not agree")
        storage = storages[key]
        file.seek(position)
        if file.read(8) != struct.pack("<q", storage.count):
            raise pickles.RefusedError(
                f"storage {pickles.quoted(key)} doesn't begin with its count {storage.count}: "
                "the file is damaged or cut short"
            )
        places[key] = position + 8
        position += 8 + storage.count * STORED[storage.dtype].itemsize
    size = file.seek(0, os.SEEK_END)
    if len(places) != len(storages) or position != size:
        raise pickles.RefusedError(
            f"wanted {len(storages)} storages up to byte {position}, "
            f"got {len(places)} and a file of {size} bytes: it is damaged or cut short"
        )
    return places


def _read_safetensors(file: BinaryIO) -> dict[str, np.ndarray]:
    try:
        entries = dict(safetensors.deserialize(file.read()))
    except safetensors.SafetensorError as error:
        detail = pickles.quoted(str(error))
        raise pickles.RefusedError(f"as safetensors it is damaged: {detail}") from error
    odd = [name for name, entry in entries.items() if entry["dtype"] not in SAFETENSORS]
    if odd or not entries:
        raise pickles.RefusedError(
            f"wanted tensors of {', '.join(SAFETENSORS)}; "
            + (f"of another dtype: {_listed(odd)}" if odd else "got none at all")
        )
    arrays = {}
    for name in list(entries):
        entry = entries.pop(name)  # so that at most one tensor is held twice
        dtype = SAFETENSORS[entry["dtype"]]
        view = np.frombuffer(entry["data"], STORED[dtype].newbyteorder("<"))
        arrays[name] = _owned(view.reshape(entry["shape"]), dtype)
    return arrays


def _chosen(tree: object) -> dict[str, pickles.Tensor]:
    """Returns the dict of tensors: the tree itself, or the one that it wraps."""
    if type(tree) is not dict:
        raise pickles.RefusedError(f"wanted a dict of tensors, got {type(tree).__name__}")
    wrappers = [name for name in WRAPPERS if type(tree.get(name)) is dict]
    if len(wrappers) > 1:
        raise pickles.RefusedError(f"cannot choose between its dicts {_listed(wrappers)}")
    named = tree[wrappers[0]] if wrappers else tree
    odd = [
        key
        for key, value in named.items()
        if type(key) is not str or type(value) is not pickles.Tensor
    ]
    if odd or not named:
        raise pickles.RefusedError(
            f"wanted a dict of tensors, or one under {' or '.join(WRAPPERS)}; "
            + (f"not named tensors: {_listed(odd)}" if odd else "got an empty dict")
        )
    return named


def _listed(keys: list) -> str:
    shown = ", ".join(pickles.quoted(str(key)) for key in keys[:5])
    return shown + (f" and {len(keys) - 5} more" if len(keys) > 5 else "")


def _arrays(
    tensors: dict[str, pickles.Tensor],
    content: Callable[[pickles.Storage], bytes],
    *,
    order: str,
    file_size: int,
) -> dict[str, np.ndarray]:
    """Reads each storage once and copies its tensors out of it."""
    by_storage: dict[str, list[str]] = {}
    total = 0
    for name, tensor in tensors.items():
        by_storage.setdefault(tensor.storage.key, []).append(name)
        total += math.prod(tensor.shape) * STORED[tensor.storage.dtype].itemsize
    if total > MAX_REPETITION * file_size:
        raise pickles.RefusedError(
            f"its tensors are {total} bytes, more than {MAX_REPETITION} times the file: "
            "they repeat one another"
        )
    arrays: dict[str, np.ndarray] = {}
    for names in by_storage.values():
        storage = tensors[names[0]].storage
        raw = content(storage)
        wanted = storage.count * STORED[storage.dtype].itemsize
        if len(raw) != wanted:
            raise pickles.RefusedError(
                f"storage {pickles.quoted(storage.key)} has {len(raw)} bytes instead of {wanted}"
            )
        for name in names:
            arrays[name] = _array(raw, tensors[name], order)
    return {name: arrays[name] for name in tensors}


def _array(raw: bytes, tensor: pickles.Tensor, order: str) -> np.ndarray:
    dtype = tensor.storage.dtype
    stored = STORED[dtype].newbyteorder(order)
    if 0 in tensor.shape:
        return _owned(np.empty(tensor.shape, stored), dtype)
    # a stride along an axis of one element is never taken, and may be anything
    strides = [
        stride * stored.itemsize if size > 1 else 0
        for size, stride in zip(tensor.shape, tensor.strides, strict=True)
    ]
    offset = (tensor.storage.start + tensor.offset) * stored.itemsize
    return _owned(np.ndarray(tensor.shape, stored, raw, offset, strides), dtype)


def _owned(view: np.ndarray, dtype: str) -> np.ndarray:
    """Returns a contiguous copy of the stored numbers in the machine's own form."""
    if dtype == "bfloat16":  # the upper half of a float32
        wide = view.astype(np.uint32)
        np.left_shift(wide, 16, out=wide)
        return np.array(wide.view(np.float32), order="C")
    return np.array(view, dtype=dtype, order="C")  # from uint8 to bool: whatever isn't 0 is true
