import collections
import dataclasses
import io
import os
import pathlib
import pickle
import random
import struct
import sys
import tarfile
import warnings
import zipfile

import numpy as np
import pytest
from safetensors import numpy as safetensors_numpy

from jaxall import errors
from jaxall.weights import pickles, state_dict

# Files made by hand, so that the reader is tested where torch is absent, and with what it never
# writes.


@dataclasses.dataclass
class Name:
    module: str
    name: str


@dataclasses.dataclass
class Call:
    function: object
    arguments: object


@dataclasses.dataclass
class Reference:
    identity: object


@dataclasses.dataclass
class Raw:
    code: bytes


TENSOR = Name("torch._utils", "_rebuild_tensor_v2")
TENSOR_1 = Name("torch._utils", "_rebuild_tensor")
PARAMETER = Name("torch._utils", "_rebuild_parameter")
ORDERED_DICT = Name("collections", "OrderedDict")
HOOKS = Call(ORDERED_DICT, ())


def emit(value) -> bytes:
    match value:
        case Raw(code):
            return code
        case None:
            return b"N"
        case bool():
            return b"\x88" if value else b"\x89"
        case int() if -(2**31) <= value < 2**31:
            return b"J" + struct.pack("<i", value)
        case int():
            data = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
            return b"\x8a" + bytes([len(data)]) + data
        case float():
            return b"G" + struct.pack(">d", value)
        case str():
            return b"X" + struct.pack("<I", len(value.encode())) + value.encode()
        case bytes():  # a str of Python 2
            return b"U" + bytes([len(value)]) + value
        case tuple():
            return b"(" + b"".join(map(emit, value)) + b"t"
        case list():
            return b"](" + b"".join(map(emit, value)) + b"e"
        case dict():
            return b"}(" + b"".join(emit(k) + emit(v) for k, v in value.items()) + b"u"
        case Name(module, name):
            return f"c{module}\n{name}\n".encode()
        case Call(function, arguments):
            return emit(function) + emit(arguments) + b"R"
        case Reference(identity):
            return emit(identity) + b"Q"
    raise TypeError(value)


def pickled(value) -> bytes:
    return b"\x80\x02" + emit(value) + b"."


def storage(key: object = "0", count=6, kind="FloatStorage", **more) -> Reference:
    view = (more["view"],) if "view" in more else ()
    return Reference(("storage", Name("torch", kind), key, "cuda:0", count, *view))


def tensor(source=None, offset=0, shape=(2, 3), strides=(3, 1)) -> Call:
    arguments = (source or storage(), offset, shape, strides, False, HOOKS)
    return Call(TENSOR, arguments)


NUMBERS = np.arange(6, dtype=np.float32)
ENTRIES = {"byteorder": b"little", "data/0": NUMBERS.tobytes(), "version": b"3\n"}


def write_zip(path, tree, entries=None, *, compression=zipfile.ZIP_STORED) -> pathlib.Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("w/data.pkl", tree if isinstance(tree, bytes) else pickled(tree))
        for name, data in (ENTRIES if entries is None else entries).items():
            archive.writestr(f"w/{name}", data)
    return path


def write_old(path, tree, storages=None, *, info=None, keys=None, end=b"") -> pathlib.Path:
    storages = {"0": NUMBERS} if storages is None else storages
    info = {"protocol_version": 1001, "little_endian": True} if info is None else info
    keys = list(storages) if keys is None else keys
    with path.open("wb") as file:
        for value in (state_dict.OLD_MAGIC, state_dict.OLD_PROTOCOL, info, tree, keys):
            file.write(value if isinstance(value, bytes) else pickled(value))
        for numbers in storages.values():
            file.write(struct.pack("<q", numbers.size) + numbers.tobytes())
        file.write(end)
    return path


def test_the_emitter_of_these_tests_writes_what_python_reads():
    value = {"a": [1, -5, 2**70, 0.5, None, True, "\u00e9"], "b": ((), {}), "c": (False,)}
    assert pickle.loads(pickled(value)) == value
    assert pickles.load(pickled(value))[0] == value


@pytest.mark.parametrize("write", [write_zip, write_old])
def test_a_tensor_comes_as_a_contiguous_array_that_owns_its_data(tmp_path, write):
    turned = tensor(shape=(3, 2), strides=(1, 3))
    arrays = state_dict.read(write(tmp_path / "f", {"b": tensor(), "a": turned}))
    assert list(arrays) == ["b", "a"]
    np.testing.assert_array_equal(arrays["b"], NUMBERS.reshape(2, 3))
    np.testing.assert_array_equal(arrays["a"], NUMBERS.reshape(2, 3).T)
    for array in arrays.values():
        assert array.dtype == np.float32
        assert array.flags.c_contiguous and array.flags.owndata and array.flags.writeable


def test_a_file_that_python_2_wrote_is_read(tmp_path):
    identity = (b"storage", Name("torch", "FloatStorage"), b"94", b"cpu", 6, None)
    old = Call(TENSOR_1, (Reference(identity), 1, (5,), (1,)))
    tree = Call(ORDERED_DICT, ([[b"features.norm.1.weight", old]],))
    (item,) = state_dict.read(write_old(tmp_path / "f", tree, {"94": NUMBERS})).items()
    assert item[0] == "features.norm.1.weight"
    np.testing.assert_array_equal(item[1], NUMBERS[1:])


def test_a_view_of_a_storage_begins_where_the_old_file_says(tmp_path):
    first = tensor(storage(view=("1", 0, 2)), 0, (2,), (1,))
    second = tensor(storage(view=("2", 2, 4)), 1, (3,), (1,))
    arrays = state_dict.read(write_old(tmp_path / "f", {"a": first, "b": second}))
    np.testing.assert_array_equal(arrays["a"], NUMBERS[:2])
    np.testing.assert_array_equal(arrays["b"], NUMBERS[3:])


@pytest.mark.parametrize(("kind", "dtype"), pickles.STORAGES.items())
@pytest.mark.parametrize("order", ["little", "big"])
def test_every_storage_class_is_read_in_both_byte_orders(tmp_path, kind, dtype, order):
    stored = state_dict.STORED[dtype].newbyteorder("<" if order == "little" else ">")
    numbers = np.array([0, 1, 3], "<f4")
    wanted = numbers.astype("float32" if dtype == "bfloat16" else dtype)
    raw = numbers.view("<u4") >> 16 if dtype == "bfloat16" else wanted
    entries = {"byteorder": order.encode(), "data/0": raw.astype(stored).tobytes()}
    whole = tensor(storage(count=3, kind=kind[1]), 0, (3,), (1,))
    single = tensor(storage(count=3, kind=kind[1]), 2, (), ())
    arrays = state_dict.read(write_zip(tmp_path / "f", {"a": whole, "s": single}, entries))
    assert arrays["a"].dtype == arrays["s"].dtype == wanted.dtype
    assert arrays["s"].shape == () and arrays["s"] == wanted[2]
    np.testing.assert_array_equal(arrays["a"], wanted)


@pytest.mark.parametrize("key", state_dict.WRAPPERS)
def test_a_wrapped_dict_is_taken_out_and_module_is_stripped(tmp_path, key):
    inner = {"module.a": tensor(), "module.module.b": tensor()}
    outer = {"epoch": 3, "loss": 0.1, "arch": "x", "optimizer": {0: [None]}, key: inner}
    assert list(state_dict.read(write_zip(tmp_path / "f", outer))) == ["a", "module.b"]


def test_a_prefix_that_not_all_names_have_stays(tmp_path):
    path = write_zip(tmp_path / "f", {"module.a": tensor(), "b": tensor()})
    assert list(state_dict.read(path)) == ["module.a", "b"]


def test_a_parameter_and_the_metadata_of_modules_are_read_as_tensors(tmp_path):
    parameter = Call(PARAMETER, (tensor(), True, HOOKS))
    built = Raw(emit({"a": parameter}) + emit({"_metadata": {"": {"version": 1}}}) + b"b")
    np.testing.assert_array_equal(
        state_dict.read(write_zip(tmp_path / "f", built))["a"], NUMBERS.reshape(2, 3)
    )


REFUSED_TREES = [
    ("a dict of tensors, got list", [tensor()]),
    ("a dict of tensors, got Tensor", tensor()),
    ("an empty dict", {}),
    ("not named tensors: 'epoch', '7'", {"epoch": 3, "a": tensor(), 7: tensor()}),
    ("not named tensors: 'c', 'd', 'e', 'f', 'g' and 1 more", dict.fromkeys("cdefgh")),
    ("not named tensors: 'model'", {"state_dict": {"model": {"a": tensor()}}}),
    ("cannot choose", {"state_dict": {"a": tensor()}, "model": {"a": tensor()}}),
    ("'a' comes twice", Raw(b"}(" + (emit("a") + emit(tensor())) * 2 + b"u")),
    ("neither text nor a small number", {(1, 2): tensor()}),
    ("doesn't fit", {"a": tensor(offset=1)}),
    ("of shape (7,)", {"a": tensor(shape=(7,), strides=(0,))}),
    ("strides (4, 1)", {"a": tensor(strides=(4, 1))}),
    ("a tensor whose description is malformed", {"a": tensor(strides=(-3, 1))}),
    ("a tensor whose description is malformed", {"a": tensor(offset=-1)}),
    (
        "a tensor whose description is malformed",
        {"a": tensor(shape=(2**63, 2**63), strides=(0, 0))},
    ),
    ("a tensor whose description is malformed", {"a": tensor(shape=(True,), strides=(1,))}),
    ("a tensor whose description is malformed", {"a": tensor(shape=(1,) * 33, strides=(1,) * 33)}),
    ("a tensor whose description is malformed", {"a": tensor(shape=(2, 3), strides=(1,))}),
    ("a tensor whose description is malformed", {"a": tensor(shape=[6], strides=[1])}),
    ("other than the usual attributes", {"a": Call(TENSOR, (storage(), 0, (6,)))}),
    (
        "other than the usual attributes",
        {"a": Call(TENSOR, (storage(), 0, (6,), (1,), 0, 0, {"neg": 1}))},
    ),
    ("a parameter", {"a": Call(PARAMETER, (Call(PARAMETER, ()), True, HOOKS))}),
    ("a storage whose description is malformed", {"a": tensor(storage(count=-6))}),
    ("a storage whose description is malformed", {"a": tensor(storage(count=2**60))}),
    ("a storage whose description is malformed", {"a": tensor(storage(key=0))}),
    ("other than a tensor's storage", {"a": tensor(Reference("0"))}),
    (
        "other than a tensor's storage",
        {"a": tensor(Reference(("module", ORDERED_DICT, None, None, "")))},
    ),
    ("two different ways", {"a": tensor(), "b": tensor(storage(count=5), 0, (5,), (1,))}),
    ("'torch.UntypedStorage'", {"a": tensor(storage(kind="UntypedStorage"))}),
    ("instead of 20", {"a": tensor(storage(count=5), 0, (5,), (1,))}),
    ("no entry 'data/../0'", {"a": tensor(storage(key="../0"))}),
    ("past the end", {"a": tensor(storage(view=("1", 3, 4)), 0, (1,), (1,))}),
    ("a view of a storage", {"a": tensor(storage(view=("1", -1, 4)), 0, (1,), (1,))}),
    ("not a list", Raw(b"}" + emit(1) + b"a")),
    ("not a dict", Raw(b"]" + emit(1) * 2 + b"s")),
    ("than one value", Raw(b"NN")),
]


@pytest.mark.parametrize(("reason", "tree"), REFUSED_TREES)
def test_what_is_not_a_dict_of_fitting_tensors_is_refused(tmp_path, reason, tree):
    assert reason in refusal(write_zip(tmp_path / "f", tree))


def refusal(path: pathlib.Path) -> str:
    with pytest.raises(state_dict.StateDictError) as caught:
        state_dict.read(path)
    assert isinstance(caught.value, errors.UserError)
    message = str(caught.value)
    assert path.name in message and message.isprintable()
    return message


@dataclasses.dataclass
class Runs:
    """Pickled, a call of `function`."""

    function: object
    arguments: tuple

    def __reduce__(self):
        return self.function, self.arguments


EXECUTABLE = {
    "system": lambda marker: Runs(os.system, (f"mkdir '{marker}'",)),
    "mkdir": lambda marker: Runs(os.mkdir, (str(marker),)),
    "eval": lambda marker: Runs(eval, (f"__import__('os').mkdir({str(marker)!r})",)),
    "exec": lambda marker: Runs(exec, (f"import os; os.mkdir({str(marker)!r})",)),
    "getattr": lambda marker: Runs(Runs(getattr, (os, "mkdir")), (str(marker),)),
}


def attack(kind: str, marker: pathlib.Path, protocol: int) -> bytes:
    if kind == "getattr":  # modules can't be pickled, so this one is assembled
        importer = Name("importlib", "import_module")
        found = Call(Name("builtins", "getattr"), (Call(importer, ("os",)), "mkdir"))
        return pickled(Call(found, (str(marker),)))
    return pickle.dumps({"a": EXECUTABLE[kind](marker)}, protocol)


@pytest.mark.parametrize("kind", EXECUTABLE)
@pytest.mark.parametrize("protocol", range(6))
def test_a_pickle_that_runs_code_is_refused_and_runs_nothing(tmp_path, kind, protocol):
    marker = tmp_path / "marker"
    code = attack(kind, marker, protocol)
    pickle.loads(code)
    marker.rmdir()  # so the attack is a real one
    wrapped = code[:-1] if protocol in (0, 1) else code[2:-1]
    paths = [
        write_zip(tmp_path / "1", code),
        write_old(tmp_path / "2", code),
        write_old(tmp_path / "3", {"a": tensor()}, info=code),
        write_old(tmp_path / "4", {"a": tensor()}, keys=code),
        write_zip(tmp_path / "5", {"state_dict": {"a": tensor()}, "b": Raw(wrapped)}),
    ]
    (tmp_path / "6").write_bytes(code)
    for path in [*paths, tmp_path / "6"]:
        assert "refused" in refusal(path) or path.name == "6"
        assert not marker.exists()


REFUSED_NAMES = [
    ("posix", "system"),
    ("builtins", "eval"),
    ("builtins", "getattr"),
    ("torch._utils", "_rebuild_tensor_v3"),
    ("torch._utils", "_rebuild_tensor_v2.__globals__"),
    ("torch._utils", "_rebuild_wrapper_subclass"),
    ("torch", "_utils._rebuild_tensor_v2"),
    ("torch", "load"),
    ("torch.storage", "_load_from_bytes"),
    ("torch.cuda", "FloatStorage"),
    ("torchvision.models.densenet", "DenseNet"),
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "scalar"),
    ("collections", "OrderedDict.fromkeys"),
    ("collections", "defaultdict"),
    ("collections.abc", "OrderedDict"),
    ("jaxall.weights.pickles", "_ordered_dict"),
    ("planted", "value"),
    ("", ""),
    ("\x1b[31m", "\u202e"),
]


@pytest.mark.parametrize("name", REFUSED_NAMES)
@pytest.mark.parametrize("style", ["line", "stack"])
def test_every_other_name_is_refused_by_name_and_not_imported(tmp_path, monkeypatch, name, style):
    (tmp_path / "planted.py").write_text(f"import os; os.mkdir({str(tmp_path / 'marker')!r})")
    monkeypatch.syspath_prepend(tmp_path)
    mention = emit(Name(*name)) if style == "line" else emit(name[0]) + emit(name[1]) + b"\x93"
    message = refusal(write_zip(tmp_path / "f", {"a": Raw(mention)}))
    assert repr(".".join(name)) in message
    assert "planted" not in sys.modules and not (tmp_path / "marker").exists()


REFUSED_CODE = [
    ("OBJ", b"(" + emit(ORDERED_DICT) + b"o"),
    ("INST", b"(icollections\nOrderedDict\n"),
    ("NEWOBJ", emit(ORDERED_DICT) + b")\x81"),
    ("NEWOBJ_EX", emit(ORDERED_DICT) + b")}\x92"),
    ("EXT1", b"\x82\x01"),
    ("EXT2", b"\x83\x01\x00"),
    ("EXT4", b"\x84\x01\x00\x00\x00"),
    ("PERSID", b"P0\n"),
    ("LONG4", b"\x8b\x01\x00\x00\x00\x01"),
    ("NEXT_BUFFER", b"\x97"),
    ("0xff", b"\xff"),
    ("refused to call something", emit("system") + b")R"),
    ("refused to call something", emit(Name("torch", "FloatStorage")) + emit((2**40,)) + b"R"),
    ("refused to call something", emit(ORDERED_DICT) + emit([]) + b"R"),
    ("refused to call something", emit(HOOKS) + b")R"),
    ("than a list", emit(Call(ORDERED_DICT, ({"a": 1},)))),
    ("other than pairs", emit(Call(ORDERED_DICT, ([(1, 2, 3)],)))),
    ("set the attributes", emit(ORDERED_DICT) + emit({"__init__": 1}) + b"b"),
    ("set the attributes", emit(tensor()) + emit({"shape": 1}) + b"b"),
    ("set the attributes", emit(HOOKS) + emit(({}, {"__class__": 1})) + b"b"),
    ("not text", emit(1) + emit("a") + b"\x93"),
]


@pytest.mark.parametrize(("reason", "code"), REFUSED_CODE)
def test_instructions_beyond_the_few_are_refused_by_name(tmp_path, reason, code):
    assert reason in refusal(write_zip(tmp_path / "f", {"a": Raw(code)}))


BOMBS = {
    "depth": b")" + b"\x85" * 200_000 + b".",
    "marks": b"(" * 200_000 + b".",
    "hash": b"})" + b"q\0h\0\x86" * 100 + b"Ns.",
    "text": b"X\xff\xff\xff\xffa.",
    "memo": b"}r\xff\xff\xff\xff.",
    "integers": b"}(" + b"".join(emit(k * (2**61 - 1)) + b"N" for k in range(1, 9)) + b"u.",
    "loop": b"]q\0h\0a.",
    "loop of dicts": b"}q\0X\1\0\0\0ah\0s.",
}


@pytest.mark.timeout(20)
@pytest.mark.parametrize("bomb", BOMBS)
def test_a_small_pickle_costs_little(tmp_path, bomb):
    refusal(write_zip(tmp_path / "1", b"\x80\x02" + BOMBS[bomb]))
    refusal(write_old(tmp_path / "2", b"\x80\x02" + BOMBS[bomb]))


def test_a_list_repeated_in_a_pickle_is_not_copied_each_time():
    pairs = [(str(number), None) for number in range(1000)]
    code = b"\x80\x02(" + emit(pairs) + b"q\0" + (emit(ORDERED_DICT) + b"h\0\x85R") * 1000 + b"t."
    value, _, _ = pickles.load(code)
    assert isinstance(value, tuple)
    dicts = value[1:]
    assert len(dicts) == 1000 and sum(map(len, dicts)) == 1000


def test_a_tensor_repeated_many_times_is_refused(tmp_path):
    numbers = np.zeros(20_000, np.float32)
    one = tensor(storage(count=20_000), 0, (20_000,), (1,))
    write_old(tmp_path / "tied", {"a": one, "b": one}, {"0": numbers})
    assert len(state_dict.read(tmp_path / "tied")) == 2
    write_old(tmp_path / "bomb", {str(i): one for i in range(10)}, {"0": numbers})
    assert "repeat one another" in refusal(tmp_path / "bomb")


def test_zip_tricks_are_refused(tmp_path):
    tree = {"a": tensor()}
    packed = write_zip(tmp_path / "packed", tree, compression=zipfile.ZIP_DEFLATED)
    assert "compressed" in refusal(packed)
    with warnings.catch_warnings(), zipfile.ZipFile(tmp_path / "twice", "w") as archive:
        warnings.simplefilter("ignore")  # zipfile warns of the duplicate that is wanted here
        for data in (pickled(tree), pickled({"b": tensor()})):
            archive.writestr("w/data.pkl", data)
    assert "two entries of one name" in refusal(tmp_path / "twice")
    script = write_zip(tmp_path / "script", tree, {**ENTRIES, "constants.pkl": b""})
    assert "TorchScript" in refusal(script)
    order = write_zip(tmp_path / "order", tree, {**ENTRIES, "byteorder": b"middle"})
    assert "byte order" in refusal(order)
    assert "followed" in refusal(write_zip(tmp_path / "more", pickled(tree) + b"more"))
    with write_zip(tmp_path / "end", tree).open("ab") as file:
        file.write(b"more")
    assert "followed" in refusal(tmp_path / "end")
    good = write_zip(tmp_path / "good", tree).read_bytes()
    spoilt = good.replace(NUMBERS.tobytes(), (NUMBERS + 1).tobytes())
    (tmp_path / "spoilt").write_bytes(spoilt)
    assert "Bad CRC-32" in refusal(tmp_path / "spoilt")
    size = struct.pack("<I", 24)
    (tmp_path / "huge").write_bytes(good.replace(size, struct.pack("<I", 2**31)))
    assert "more than its own size" in refusal(tmp_path / "huge")


def test_old_files_whose_storages_disagree_are_refused(tmp_path):
    tree = {"a": tensor()}
    both = {"0": NUMBERS, "1": NUMBERS}
    assert "do not agree" in refusal(write_old(tmp_path / "f", tree, both))
    assert "do not agree" in refusal(write_old(tmp_path / "f", tree, keys=[["0"]]))
    assert "count 6" in refusal(write_old(tmp_path / "f", tree, {"0": NUMBERS[1:]}))
    assert "got 0" in refusal(write_old(tmp_path / "f", tree, {}))
    assert "cut short" in refusal(write_old(tmp_path / "f", tree, end=b"more"))


def test_other_files_are_refused_with_what_they_are(tmp_path):
    path = tmp_path / "weights.pth"
    assert "No such file" in refusal(path)
    path.touch()
    assert "empty" in refusal(path)
    path.write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    assert "begins with b'version" in refusal(path)
    path.write_bytes(pickle.dumps({"a": 1}))
    assert "bare pickle" in refusal(path)
    path.write_bytes(pickled(state_dict.OLD_MAGIC) + pickled(1000))
    assert "version 1001" in refusal(path)
    with tarfile.open(path, "w") as archive:
        archive.addfile(tarfile.TarInfo("storages"), io.BytesIO())
    assert "tar format" in refusal(path)
    path.write_bytes(b"\x08\0\0\0\0\0\0\0{bogus!}")
    assert "safetensors" in refusal(path)


@pytest.mark.parametrize("write", [write_zip, write_old])
def test_a_cut_or_spoilt_file_never_raises_anything_else(tmp_path, write):
    write(tmp_path / "whole", {"a": tensor(), "b": tensor(offset=1, shape=(), strides=())})
    whole = (tmp_path / "whole").read_bytes()
    path = tmp_path / "spoilt"
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        refusal(path)
    generator = random.Random(0)
    for _ in range(400):
        spoilt = bytearray(whole)
        for _ in range(generator.choice([1, 2, 8])):
            spoilt[generator.randrange(len(spoilt))] = generator.randrange(256)
        path.write_bytes(spoilt)
        try:
            state_dict.read(path)
        except state_dict.StateDictError as error:
            assert str(error).isprintable()


def test_safetensors_are_read_with_bfloat16_as_float32(tmp_path):
    arrays = {
        "module.w": np.arange(6, dtype=np.float32).reshape(2, 3),
        "module.n": np.array(7, np.int64),
        "module.h": np.array([1.5], np.float16),
        "module.m": np.array([True, False]),
        "module.e": np.zeros((0, 3), np.float32),
    }
    path = tmp_path / "weights.pth"  # the name says nothing
    safetensors_numpy.save_file(arrays, path)
    result = state_dict.read(path)
    assert set(result) == {"w", "n", "h", "m", "e"}
    for name, array in result.items():
        wanted = arrays[f"module.{name}"]
        assert array.dtype == wanted.dtype and array.shape == wanted.shape
        assert array.flags.owndata and array.tobytes() == wanted.tobytes()
    header = b'{"b":{"dtype":"BF16","shape":[2],"data_offsets":[0,4]}}'
    content = struct.pack("<Q", len(header)) + header + b"\x80\x3f\x00\xc0"
    path.write_bytes(content)
    np.testing.assert_array_equal(state_dict.read(path)["b"], np.array([1, -2], np.float32))
    path.write_bytes(content[:-1])
    assert "as safetensors it is damaged" in refusal(path)
    path.write_bytes(content.replace(b"BF16", b" U16").replace(b'" U16', b' "U16'))
    assert "another dtype: 'b'" in refusal(path)


@pytest.mark.parametrize("new_format", [True, False])
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_what_torch_saves_is_what_is_read(tmp_path, new_format, protocol):
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    kinds = pickles.STORAGES.values()
    saved = collections.OrderedDict(
        (kind, torch.randint(0, 2, (3, 4), dtype=torch.int64).to(getattr(torch, kind)))
        for kind in kinds
    )
    noise = torch.randn(4, 5, 6)
    saved["whole"] = noise
    saved["turned"] = noise.permute(2, 0, 1)
    saved["sliced"] = noise[1:3, ::2, 4]
    saved["channels_last"] = torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last)
    saved["parameter"] = torch.nn.Parameter(torch.randn(3))
    saved["scalar"] = torch.tensor(5)
    saved["empty"] = torch.empty(0, 3)
    saved["bfloat16 noise"] = torch.randn(100).to(torch.bfloat16)
    path = tmp_path / "f"
    torch.save(saved, path, _use_new_zipfile_serialization=new_format, pickle_protocol=protocol)
    arrays = state_dict.read(path)
    assert list(arrays) == list(saved)
    for name, wanted in saved.items():
        wanted = wanted.detach()
        wanted = (wanted.float() if wanted.dtype == torch.bfloat16 else wanted).numpy()
        assert arrays[name].dtype == wanted.dtype and arrays[name].shape == wanted.shape
        assert arrays[name].tobytes() == wanted.tobytes()
        assert arrays[name].flags.c_contiguous and arrays[name].flags.owndata


@pytest.mark.parametrize("new_format", [True, False])
def test_a_checkpoint_with_an_optimizer_is_read_and_a_whole_model_refused(tmp_path, new_format):
    torch = pytest.importorskip("torch")
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.ones(1, 3, 8, 8)).sum().backward()
    optimizer.step()
    wrapped = torch.nn.DataParallel(model).state_dict()
    path = tmp_path / "f"
    checkpoint = {"epoch": 1, "state_dict": wrapped, "optimizer": optimizer.state_dict()}
    torch.save(checkpoint, path, _use_new_zipfile_serialization=new_format)
    arrays = state_dict.read(path)
    assert set(arrays) == set(model.state_dict())
    for name, wanted in model.state_dict().items():
        np.testing.assert_array_equal(arrays[name], wanted.numpy())
    torch.save(model, path, _use_new_zipfile_serialization=new_format)
    assert "torch.nn.modules.container.Sequential" in refusal(path)


@pytest.mark.real
def test_a_real_file_is_read_bit_for_bit_as_torch_reads_it():
    root = pathlib.Path(__file__).parents[2]
    folder = pathlib.Path(os.environ.get("JAXALL_WEIGHTS", root / "../shared/weights"))
    path = folder / "efficientnet_b0_finetuned_binary.pth"
    if not path.is_file():
        pytest.skip(f"no {path}")
    torch = pytest.importorskip("torch")
    arrays = state_dict.read(path)
    wanted = torch.load(path, map_location="cpu", weights_only=True)
    assert list(arrays) == list(wanted) and len(arrays) == 360
    for name, array in arrays.items():
        assert array.tobytes() == wanted[name].numpy().tobytes()
        assert array.shape == tuple(wanted[name].shape)
