"""Reads the pickles in torch's weight files without running them.

A pickle is a program for a small stack machine, and Python's own machine will call any function
that the program names. This one knows only the instructions that `torch.save` writes for dicts,
lists, text, numbers and tensors; nothing is imported, and the few names that such files need
stand for descriptions made here. Whatever else comes is refused by name.

Every instruction costs memory in proportion to its own bytes: nothing is compared, hashed,
printed or copied that the file could have nested or repeated at will.
"""

import dataclasses
import math
import pickletools
import struct
from collections.abc import Callable, Iterable, Sequence

MAX_BYTES = 4 * 2**20  # a pickle describes a tensor in some 170 bytes
MAX_COUNT = 2**48
MAX_RANK = 32

# (module, name) of a storage class -> dtype
STORAGES = {
    ("torch", "FloatStorage"): "float32",
    ("torch", "HalfStorage"): "float16",
    ("torch", "BFloat16Storage"): "bfloat16",
    ("torch", "DoubleStorage"): "float64",
    ("torch", "LongStorage"): "int64",
    ("torch", "IntStorage"): "int32",
    ("torch", "ShortStorage"): "int16",
    ("torch", "CharStorage"): "int8",
    ("torch", "ByteStorage"): "uint8",
    ("torch", "BoolStorage"): "bool",
}

# layout of the number that follows an instruction: a value, a length or a place in the memo
_OPERANDS = {
    **dict.fromkeys("KUhq\x80\x8a\x8c", "<B"),
    **dict.fromkeys("TXjr", "<I"),
    **{"M": "<H", "J": "<i", "G": ">d", "\x95": "<Q"},
}


class RefusedError(ValueError):
    """Why a weights file isn't read; says nothing of which file."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Storage:
    """The `count` numbers that lie in the file under `key`, of which `start:stop` are meant."""

    key: str
    dtype: str
    count: int
    start: int
    stop: int


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Tensor:
    """A strided view into a storage; offset and strides count elements, not bytes."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class _Name:
    """A name that the pickle mentions, which is on the allow-list."""

    module: str
    name: str


def load(data: bytes, position: int = 0) -> tuple[object, int, dict[str, Storage]]:
    """Returns the value that starts at `position`, where it ends, and all storages it mentions.

    The value is made of dicts (an OrderedDict comes as a dict), lists, tuples, text, numbers,
    `None` and `Tensor`. Lists and dicts may contain themselves.

    Raises:
        RefusedError: If the pickle holds anything else, or is damaged.
    """
    machine = _Machine(data, position)
    try:
        return machine.run(), machine.position, machine.storages
    except (IndexError, KeyError, UnicodeDecodeError) as error:
        where = f"byte {machine.position} of {len(data)}"
        raise RefusedError(f"the pickle is damaged or cut short at {where}") from error


def quoted(text: str) -> str:
    """Text from a file, fit for a terminal and for one line."""
    return repr(text if len(text) <= 80 else text[:77] + "...")


def _instruction_name(instruction: str) -> str:
    for known in pickletools.opcodes:
        if known.code == instruction:
            return known.name
    return hex(ord(instruction))


class _Machine:
    def __init__(self, data: bytes, position: int) -> None:
        self.data = data
        self.position = position
        self.stack: list = []
        self.outer: list[list] = []  # the stacks below each open MARK
        self.memo: dict[int, object] = {}
        self.storages: dict[str, Storage] = {}

    def run(self) -> object:
        while (instruction := chr(self.take(1)[0])) != ".":
            layout = _OPERANDS.get(instruction)
            operand = struct.unpack(layout, self.take(struct.calcsize(layout)))[0] if layout else 0
            self.step(instruction, operand)
        if self.outer or len(self.stack) != 1:
            raise RefusedError("the pickle ends with something other than one value")
        return self.stack[0]

    def step(self, instruction: str, operand: int) -> None:
        match instruction:
            case "h" | "j":  # BINGET
                self.stack.append(self.memo[operand])
            case "q" | "r":  # BINPUT
                self.memo[operand] = self.stack[-1]
            case "\x94":  # MEMOIZE
                self.memo[len(self.memo)] = self.stack[-1]
            case "K" | "M" | "J" | "G":  # BININT, BINFLOAT
                self.stack.append(operand)
            case "\x8a":  # LONG1
                self.stack.append(int.from_bytes(self.take(operand), "little", signed=True))
            case "X" | "\x8c" | "T" | "U":  # BINUNICODE, and BINSTRING of Python 2
                self.stack.append(self.take(operand).decode())
            case "N":
                self.stack.append(None)
            case "\x88" | "\x89":  # NEWTRUE, NEWFALSE
                self.stack.append(instruction == "\x88")
            case ")":  # EMPTY_TUPLE
                self.stack.append(())
            case "}":  # EMPTY_DICT
                self.stack.append({})
            case "]":  # EMPTY_LIST
                self.stack.append([])
            case "\x85" | "\x86" | "\x87":  # TUPLE1, TUPLE2, TUPLE3
                self.stack.append(self.pop(ord(instruction) - 0x84))
            case "(":  # MARK
                self.outer.append(self.stack)
                self.stack = []
            case "t":  # TUPLE
                values = tuple(self.since_mark())
                self.stack.append(values)
            case "a":  # APPEND
                self.extend(list(self.pop(1)))
            case "e":  # APPENDS
                self.extend(self.since_mark())
            case "s":  # SETITEM
                self.update(list(self.pop(2)))
            case "u":  # SETITEMS
                self.update(self.since_mark())
            case "c":  # GLOBAL
                self.mention(self.line(), self.line())
            case "\x93":  # STACK_GLOBAL
                self.mention(*self.pop(2))
            case "R":  # REDUCE
                self.reduce(*self.pop(2))
            case "b":  # BUILD
                self.build(*self.pop(1))
            case "Q":  # BINPERSID
                self.refer(*self.pop(1))
            case "\x80" | "\x95":  # PROTO, FRAME
                pass
            case _:
                raise RefusedError(
                    f"refused the pickle instruction {_instruction_name(instruction)}: "
                    "no file of weights needs it"
                )

    def take(self, count: int) -> bytes:
        if count > len(self.data) - self.position:
            raise IndexError
        self.position += count
        return self.data[self.position - count : self.position]

    def line(self) -> str:
        end = self.data.find(b"\n", self.position, self.position + 512)
        if end < 0:
            raise IndexError
        text = self.take(end - self.position).decode()
        self.position += 1
        return text

    def pop(self, count: int) -> tuple:
        if len(self.stack) < count:
            raise IndexError
        values = tuple(self.stack[-count:])
        del self.stack[-count:]
        return values

    def since_mark(self) -> list:
        values, self.stack = self.stack, self.outer.pop()
        return values

    def extend(self, values: list) -> None:
        if type(self.stack[-1]) is not list:
            raise RefusedError("refused to append to something that is not a list")
        self.stack[-1].extend(values)

    def update(self, flat: list) -> None:
        if type(self.stack[-1]) is not dict or len(flat) % 2:
            raise RefusedError("refused to set items of something that is not a dict")
        _fill(self.stack[-1], zip(flat[::2], flat[1::2], strict=True))

    def mention(self, module: object, name: object) -> None:
        if type(module) is not str or type(name) is not str:
            raise RefusedError("refused a name that is not text")
        if (module, name) not in STORAGES and (module, name) not in _CALLS:
            raise RefusedError(
                f"refused {quoted(module + '.' + name)}: a file of weights names only OrderedDict, "
                "tensors and their storages (save model.state_dict(), not the model)"
            )
        self.stack.append(_Name(module, name))

    def reduce(self, function: object, arguments: object) -> None:
        call = _CALLS.get((function.module, function.name)) if type(function) is _Name else None
        if call is None or type(arguments) is not tuple:
            raise RefusedError("refused to call something that is not a known function")
        self.stack.append(call(arguments))

    def build(self, state: object) -> None:
        # torch hangs the modules' version numbers on the OrderedDict; they are dropped
        if type(self.stack[-1]) is not dict or type(state) is not dict:
            raise RefusedError("refused to set the attributes of something other than OrderedDict")

    def refer(self, identity: object) -> None:
        storage = _storage(identity)
        whole = dataclasses.replace(storage, start=0, stop=storage.count)
        if self.storages.setdefault(storage.key, whole) != whole:
            raise RefusedError(f"describes storage {quoted(storage.key)} in two different ways")
        self.stack.append(storage)


def _fill(into: dict, pairs: Iterable[Sequence]) -> None:
    for pair in pairs:
        if type(pair) not in (list, tuple) or len(pair) != 2:
            raise RefusedError("refused a dict made of something other than pairs")
        key, value = pair
        # hashing a tuple can take for ever, and long integers can be made to collide
        if type(key) is not str and not _is_count(key, 2**31):
            raise RefusedError("refused a dict key that is neither text nor a small number")
        if key in into:
            raise RefusedError(f"the key {quoted(str(key))} comes twice in one dict")
        into[key] = value


def _ordered_dict(arguments: tuple) -> dict:
    """From nothing, or from a list of pairs as Python 2 wrote it."""
    result: dict = {}
    if len(arguments) == 1 and type(arguments[0]) is list:
        pairs = arguments[0].copy()
        arguments[0].clear()  # so that a list repeated by the pickle isn't copied each time
        _fill(result, pairs)
    elif arguments:
        raise RefusedError("refused an OrderedDict made of something other than a list")
    return result


def _storage(identity: object) -> Storage:
    """From ("storage", class, key, location, count) and, in old files, None or a view."""
    if type(identity) is not tuple or len(identity) not in (5, 6) or identity[0] != "storage":
        raise RefusedError("refused a reference to something other than a tensor's storage")
    _, kind, key, location, count = identity[:5]
    dtype = STORAGES.get((kind.module, kind.name)) if type(kind) is _Name else None
    if dtype is None or type(key) is not str or type(location) is not str or not _is_count(count):
        raise RefusedError("refused a storage whose description is malformed")
    start, length = 0, count
    if identity[5:] not in ((), (None,)):
        view = identity[5]  # (the view's own key, where it starts, how many)
        if type(view) is not tuple or len(view) != 3 or not all(map(_is_count, view[1:])):
            raise RefusedError("refused a view of a storage whose description is malformed")
        _, start, length = view
    if start + length > count:
        raise RefusedError(f"a view reaches past the end of storage {quoted(key)}")
    return Storage(key=key, dtype=dtype, count=count, start=start, stop=start + length)


def _tensor(arguments: tuple) -> Tensor:
    """From (storage, offset, shape, strides), then requires_grad, hooks and metadata, if any."""
    if len(arguments) not in (4, 6, 7) or arguments[6:] not in ((), (None,)):
        raise RefusedError("refused a tensor with other than the usual attributes")
    storage, offset, shape, strides = arguments[:4]
    malformed = (
        type(storage) is not Storage
        or not _is_count(offset)
        or not _are_counts(shape)
        or not _are_counts(strides)
        or len(shape) != len(strides)
    )
    if malformed:
        raise RefusedError("refused a tensor whose description is malformed")
    available = storage.stop - storage.start
    size = math.prod(shape)
    last = offset + sum((n - 1) * stride for n, stride in zip(shape, strides, strict=True))
    # the first test also refuses expanded tensors, which repeat few numbers many times
    if size > available or (size and last >= available):
        raise RefusedError(
            f"a tensor of shape {shape} with strides {strides} at {offset} "
            f"doesn't fit into its storage {quoted(storage.key)} of {available} numbers"
        )
    return Tensor(storage=storage, offset=offset, shape=shape, strides=strides)


def _parameter(arguments: tuple) -> Tensor:
    """From (tensor, requires_grad, hooks)."""
    if len(arguments) != 3 or type(arguments[0]) is not Tensor:
        raise RefusedError("refused a parameter whose description is malformed")
    return arguments[0]


def _are_counts(values: object) -> bool:
    return type(values) is tuple and len(values) <= MAX_RANK and all(map(_is_count, values))


def _is_count(value: object, limit: int = MAX_COUNT) -> bool:
    return type(value) is int and 0 <= value < limit


_CALLS: dict[tuple[str, str], Callable[[tuple], object]] = {
    ("collections", "OrderedDict"): _ordered_dict,
    ("torch._utils", "_rebuild_tensor"): _tensor,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch._utils", "_rebuild_parameter"): _parameter,
}
