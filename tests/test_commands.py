"""The whole program on drawn pictures: port, train, evaluate, predict, as a person runs them."""

import csv
import dataclasses
import hashlib
import json
import math
import pathlib
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
import safetensors
import safetensors.numpy
from absl.testing import flagsaver
from PIL import Image

from jaxall import cli, models, predict, runtime
from jaxall import port as port_command
from jaxall.data import split_file, splits, synthetic
from jaxall.errors import UserError
from jaxall.evaluation import predictions
from jaxall.runs import assembly, trained, workdir
from jaxall.training import checkpoints
from jaxall.weights import initial, parity, port
from tests import keys, programs

COMMANDS = ("train", "evaluate", "predict", "port", "prepare", "report", "sweep")
QUICKSTART = programs.ROOT / "configs" / "quickstart.py"
PICTURES = 4 * 6 * 2


@dataclasses.dataclass(frozen=True)
class Program:
    """What all four commands left behind, one after another.

    Attributes:
        folder: where everything lies: drawn/, weights, run/, pictures/, predictions.csv.
        said: command -> (exit code, stdout, stderr).
        tensors: what the weights file was made of, in torchvision's layout.
    """

    folder: pathlib.Path
    said: dict[str, tuple[int, str, str]]
    tensors: dict[str, np.ndarray]

    @property
    def run(self) -> workdir.Run:
        return workdir.load(self.folder / "run")

    @property
    def evaluation(self) -> pathlib.Path:
        (found,) = (self.folder / "run" / "evaluation").iterdir()
        return found


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    folder = tmp_path_factory.mktemp("program")
    cache = tmp_path_factory.mktemp("cache")
    synthetic.write(folder / "drawn", subjects_per_class=6, pictures_per_subject=2, size=40)
    tensors = keys.draw(keys.efficientnet_b0(10))
    safetensors.numpy.save_file(tensors, folder / "torch.safetensors")
    said = {}

    weights = folder / "ported.safetensors"
    files = ("--file", folder / "torch.safetensors", "--out", weights)
    said["port"] = programs.run("port", "efficientnet_b0", *files, cache=cache)

    run = folder / "run"
    said["train"] = programs.run(
        "train",
        *("--config", QUICKSTART, "--workdir", run),
        f"--config.data.root={folder / 'drawn'}",
        "--config.model.name=efficientnet_b0",
        f"--config.model.init={weights}",
        "--config.preprocessing.image_size=33",
        "--config.train.batch_size=16",
        "--config.train.epochs=1",
        "--config.train.checkpoint_every=1",
        "--config.train.log_every=1",
        cache=cache,
    )
    said["evaluate"] = programs.run("evaluate", run, cache=cache)

    # The test side under the same names, where the data set isn't; and files that are no pictures.
    pictures = folder / "pictures"
    with (run / workdir.SPLIT).open() as file:
        names = [line["path"] for line in csv.DictReader(file) if line["side"] == "test"]
    for name in names:
        (pictures / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(folder / "drawn" / "Original" / name, pictures / name)
    spoil(pictures)
    said["predict"] = programs.run(
        "predict", run, pictures, "--out", folder / "predictions.csv", cache=cache
    )
    return Program(folder, said, tensors)


def spoil(folder):
    """Files with the names of pictures that are none."""
    Image.fromarray(np.full((40, 40, 3), 200, np.uint8)).save(folder / "cut.jpg")
    (folder / "cut.jpg").write_bytes((folder / "cut.jpg").read_bytes()[:-300])
    (folder / "text.png").write_text("no picture\n")
    (folder / "empty.bmp").touch()
    (folder / "gone.tif").symlink_to(folder / "nowhere")


@pytest.mark.parametrize("command", ["port", "train", "evaluate"])
def test_a_command_succeeds_without_a_complaint(program, command):
    code, _, problems = program.said[command]
    # XLA itself complains about a compilation that takes minutes, as on a busy machine.
    own = [line for line in problems.splitlines() if line.strip("* ") and "Very slow" not in line]
    assert (code, own) == (0, [])


def test_port_writes_every_tensor_transposed_for_flax(program):
    ported = safetensors.numpy.load_file(program.folder / "ported.safetensors")
    counters = sum(name.endswith("num_batches_tracked") for name in program.tensors)
    assert len(ported) == len(program.tensors) - counters
    conv = program.tensors["features.2.1.block.1.0.weight"]
    path = "params/backbone/stage2/block1/depthwise/conv/kernel"
    np.testing.assert_array_equal(ported[path], conv.transpose(2, 3, 1, 0))
    dense = ported["params/head/dense/kernel"]
    np.testing.assert_array_equal(dense, program.tensors["classifier.1.weight"].T)
    assert "efficientnet_b0:" in program.said["port"][1]


def test_train_leaves_a_whole_run_behind(program):
    folder = program.folder / "run"
    assert {path.name for path in folder.iterdir()} >= {
        "config.json",
        "run.json",
        "split.csv",
        "journal.jsonl",
        "curves.png",
        "checkpoints",
        "tensorboard",
    }
    assert not list(folder.rglob("*.part"))
    run = program.run
    assert run.config.model.init == str(program.folder / "ported.safetensors")
    assert run.config.train.batch_size == 16
    assert run.class_names == synthetic.CLASS_NAMES
    assert run.preprocessing == assembly.preprocessing_of(run.config)
    assert run.preprocessing.image_size == 33
    assert run.facts["versions"]["jax"]
    command = ["python", "-m", "jaxall.train", "--config", str(QUICKSTART)]
    assert run.facts["command"][:5] == command
    with Image.open(folder / "curves.png") as curves:
        assert curves.size[0] > 100


def test_train_splits_every_picture_and_keeps_subjects_whole(program):
    data_set = synthetic.load(program.folder / "drawn")
    split = split_file.load(program.folder / "run" / workdir.SPLIT, data_set)
    assert len(split.sides) == PICTURES
    assert splits.leaks(split) == []
    counts = program.run.facts["data"]["counts"]
    assert counts == splits.counts(split, data_set)
    sides = {}
    for row, side in zip(data_set.rows, split.sides, strict=True):
        sides.setdefault(row.subject, set()).add(side)
    assert all(len(found) == 1 for found in sides.values())


def test_train_writes_down_every_step_and_epoch(program):
    lines = (program.folder / "run" / "journal.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    assert [(record["kind"], record["step"]) for record in records] == [
        ("sampling", 0),
        ("step", 1),
        ("step", 2),
        ("epoch", 2),
    ]
    assert records[0]["epoch"] == 32
    assert [record["learning_rate"] for record in records[1:]] == pytest.approx([0, 5e-4, 5e-4])
    epoch = records[-1]
    assert epoch["train_examples"] == 32
    assert epoch["validation_examples"] == 8
    assert math.isfinite(epoch["validation_loss"])
    assert np.sum(epoch["validation_confusion"]) == 8


def test_train_starts_from_the_weights_that_it_was_given(program):
    # The learning rate of the first step is 0, so its checkpoint holds the parameters as given.
    run = program.run
    assert checkpoints.find(run.workdir, "1") == 1
    ported = safetensors.numpy.load_file(program.folder / "ported.safetensors")
    for step, is_as_given in ((1, True), (2, False)):
        params = parameters(run, step)
        assert params.keys() == {name for name in ported if name.startswith("params/backbone/")}
        same = [np.array_equal(value, ported[name]) for name, value in params.items()]
        assert all(same) if is_as_given else not any(same)


def parameters(run, step):
    """The backbone's parameters in a checkpoint, by the names of ported files."""
    variables = trained.load(run, str(step)).variables
    flat = port.flatten({"params": {"backbone": variables["params"]["backbone"]}})
    return {name: np.asarray(value) for name, value in flat.items()}


def test_evaluate_counts_every_test_picture_exactly_once(program):
    found = predictions.load_csv(program.evaluation / "predictions.csv")
    data_set = synthetic.load(program.folder / "drawn")
    split = split_file.load(program.folder / "run" / workdir.SPLIT, data_set)
    rows = [data_set.rows[index] for index in split.indices("test")]
    assert found.names == tuple(row.path for row in rows)
    assert found.labels.tolist() == [row.label for row in rows]
    record = json.loads((program.evaluation / "scores.json").read_text())
    assert record["examples"] == len(rows) == np.sum(record["confusion"]) == 8
    assert record["accuracy"] == np.mean(found.predicted == found.labels)
    assert (record["side"], record["split"], record["checkpoint"]) == ("test", "group", 2)
    assert record["caveat"] == data_set.caveat
    assert program.evaluation.name == "test-step2"
    for name in ("confusion.png", "roc.png"):
        with Image.open(program.evaluation / name) as plot:
            assert plot.size[0] > 100


def test_evaluate_shows_the_baselines_beside_the_score(program):
    record = json.loads((program.evaluation / "scores.json").read_text())
    assert set(record["baselines"]) == {
        "colour only (nearest neighbour)",
        "border only",
        "corners only",
        "commonest class",
    }
    assert record["baselines"]["commonest class"] == 0.25
    said = program.said["evaluate"][1]
    for name in record["baselines"]:
        assert name in said
    assert synthetic.CAVEAT in said
    assert str(program.evaluation / "scores.json") in said


def test_predict_gives_the_probabilities_of_evaluate_bit_for_bit(program):
    evaluated = predictions.load_csv(program.evaluation / "predictions.csv")
    predicted = predictions.load_csv(program.folder / "predictions.csv")
    pictures = program.folder / "pictures"
    assert predicted.names == tuple(str(pictures / name) for name in evaluated.names)
    assert predicted.probabilities.tobytes() == evaluated.probabilities.tobytes()
    assert predicted.class_names == evaluated.class_names
    assert (predicted.labels == -1).all()
    np.testing.assert_allclose(predicted.probabilities.sum(1), 1, rtol=0, atol=1e-12)


def test_predict_lists_what_it_cannot_read_and_exits_with_2(program):
    code, said, problems = program.said["predict"]
    table, pictures = program.folder / "predictions.csv", program.folder / "pictures"
    assert code == predict.UNREADABLE
    *counts, total, caution = said.splitlines()
    assert [line.split()[1] for line in counts] == ["Benign", "Early", "Pre", "Pro"]
    assert sum(int(line.split()[0]) for line in counts) == 8
    assert total.strip() == f"8 pictures: {table}"
    assert caution == "for research only, not for diagnosis"
    lines = [line for line in problems.splitlines() if str(program.folder) in line]
    assert lines[0] == f"error: 4 pictures can't be read and are not in {table}:"
    assert [line.partition(": ")[0] for line in lines[1:]] == [
        f"  {pictures / name}" for name in ("cut.jpg", "empty.bmp", "gone.tif", "text.png")
    ]
    assert "truncated" in lines[1].lower()
    assert lines[2].endswith("0 bytes that are no JPEG/PNG/BMP/TIFF")
    assert lines[3].endswith("No such file or directory")
    assert lines[4].endswith("11 bytes that are no JPEG/PNG/BMP/TIFF")
    assert "Traceback" not in problems


def test_pictures_that_may_not_be_read_are_listed_too(tmp_path, monkeypatch):
    good, bad = tmp_path / "good.png", tmp_path / "bad.png"
    for path in (good, bad):
        Image.new("RGB", (4, 4)).save(path)
    read = pathlib.Path.read_bytes

    def guarded(path):
        if path == bad:
            raise PermissionError(13, "Permission denied", str(path))
        return read(path)

    monkeypatch.setattr(pathlib.Path, "read_bytes", guarded)
    assert predict.readable([good, bad]) == ([str(good)], [f"{bad}: Permission denied"])


def test_predict_takes_no_second_run(program):
    folder = program.folder / "run"
    with pytest.raises(UserError, match=r"predict takes one run, then pictures; .* is a run too"):
        predict.predict(folder, [str(folder)], "best")


def test_predict_takes_folders_and_files_once_each_in_their_order(tmp_path):
    for name in ("b/2.png", "b/1.png", "b/.hidden.png", "b/notes.txt", "a.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = predict.find_pictures([f"{tmp_path}/b", f"{tmp_path}/a.png", f"{tmp_path}/b/1.png"])
    assert [path.relative_to(tmp_path).as_posix() for path in found] == [
        "b/1.png",
        "b/2.png",
        "a.png",
    ]


def test_every_command_explains_itself(tmp_path):
    started = {name: programs.start(name, "--help", cache=tmp_path) for name in COMMANDS}
    for name, process in started.items():
        _, said, problems = programs.finish(process)
        source = (programs.ROOT / "jaxall" / f"{name}.py").read_text()
        assert said.startswith(source.split('"""')[1].splitlines()[0]), problems
        assert f"python -m jaxall.{name} " in said
        assert problems == ""
        own = set(re.findall(r"DEFINE_\w+\(\s*\"(\w+)\"", source))
        own |= {"config"} if name == "train" else set()
        own |= {"checkpoint", "tta"} if name in ("evaluate", "predict") else set()
        assert own <= set(re.findall(r"^  --(?:\[no\])?(\w+):", said, re.MULTILINE))


@pytest.mark.parametrize("arguments", [["--help"], ["--no_such_flag"]])
@pytest.mark.parametrize("name", COMMANDS)
def test_no_library_is_loaded_to_explain_a_command_or_refuse_a_flag(name, arguments):
    source = (
        "import runpy, sys\n"
        f"sys.argv = ['jaxall.{name}', *{arguments}]\n"
        "try:\n"
        f"    runpy.run_module('jaxall.{name}', run_name='__main__', alter_sys=True)\n"
        "except SystemExit:\n"
        "    pass\n"
        "print(*{x.partition('.')[0] for x in sys.modules}, file=sys.stderr)\n"
    )
    command = [sys.executable, "-c", source]
    done = subprocess.run(command, cwd=programs.ROOT, capture_output=True, text=True, check=True)
    loaded = set(done.stderr.splitlines()[-1].split())
    slow = {"jax", "flax", "optax", "orbax", "grain", "matplotlib", "torch", "tensorboardX"}
    if name not in ("prepare", "report"):  # which read the words of their flags from jaxall.data
        slow |= {"numpy", "cv2", "PIL"}
    assert "jaxall" in loaded
    assert not loaded & slow


def test_port_reads_the_names_of_a_file_and_its_classes(tmp_path, monkeypatch):
    monkeypatch.setattr(runtime, "configure", lambda: None)
    tensors = keys.draw(keys.densenet121(5))
    given, out = tmp_path / "torch.safetensors", tmp_path / "new" / "ported.safetensors"
    safetensors.numpy.save_file(tensors, given)
    with flagsaver.flagsaver(file=str(given), out=str(out)):
        assert port_command.main(["densenet121"]) == 0
    ported = initial.load(str(out), models.find("densenet121"), tmp_path)
    norm = ported["batch_stats"]["backbone"]["denseblock3"]["denselayer24"]["norm2"]
    name = "features.denseblock3.denselayer24.norm2"
    np.testing.assert_array_equal(norm["var"], tensors[f"{name}.running_var"])
    np.testing.assert_array_equal(norm["mean"], tensors[f"{name}.running_mean"])
    assert ported["params"]["head"]["dense"]["kernel"].shape == (1024, 5)
    with safetensors.safe_open(out, "numpy") as file:
        metadata = file.metadata()
    facts = json.loads(metadata["facts"])
    assert (metadata["model"], facts["source"]) == ("densenet121", "torch.safetensors")
    assert facts["sha256"] == hashlib.sha256(given.read_bytes()).hexdigest()
    assert [path.name for path in out.parent.iterdir()] == [out.name]


@pytest.mark.parametrize("name", ["densenet121", "efficientnet_b0"])
@pytest.mark.parity
def test_the_key_tables_of_these_tests_are_torchvisions(name):
    torchvision = pytest.importorskip("tests.torchvision_cpu", exc_type=ImportError).torchvision
    model = torchvision.models.get_model(name, weights=None, num_classes=7)
    found = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    assert getattr(keys, name)(7) == found


@pytest.mark.parametrize("block", [1e-4, math.nan, math.inf])
def test_port_verify_keeps_no_port_with_a_block_that_differs(tmp_path, monkeypatch, capsys, block):
    monkeypatch.setattr(runtime, "configure", lambda: None)
    given, out = tmp_path / "torch.safetensors", tmp_path / "ported.safetensors"
    safetensors.numpy.save_file(keys.draw(keys.efficientnet_b0(6)), given)
    found = parity.Agreement(logits=1e-7, blocks={"a/b": 1e-7, "a/c": block})
    monkeypatch.setattr(port_command, "verify", lambda *_: found)
    with flagsaver.flagsaver(file=str(given), out=str(out), verify=True):
        assert cli.guarded(port_command.main, ["efficientnet_b0"]) == cli.BAD_INPUT
    assert "is not kept: a/c by" in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.parity
@pytest.mark.parametrize("is_spoilt", [False, True])
def test_port_verify_finds_agreement_or_the_block_that_differs(
    tmp_path, monkeypatch, capsys, is_spoilt
):
    torch = pytest.importorskip("tests.torchvision_cpu", exc_type=ImportError).torch
    monkeypatch.setattr(runtime, "configure", lambda: None)
    tensors = keys.draw(keys.efficientnet_b0(6))
    given, out = tmp_path / "torch.pth", tmp_path / "ported.safetensors"
    torch.save({key: torch.from_numpy(value) for key, value in tensors.items()}, given)
    if is_spoilt:
        load = port.load

        def spoilt(spec, path):
            variables = load(spec, path)
            variables["params"]["backbone"]["stage4"]["block1"]["project"]["norm"]["scale"] *= 1.01
            return variables

        monkeypatch.setattr(port, "load", spoilt)
    with flagsaver.flagsaver(file=str(given), out=str(out), verify=True):
        code = cli.guarded(port_command.main, ["efficientnet_b0"])
    report = json.loads(out.with_suffix(".parity.json").read_text())
    worst = max(report["logits"], *report["blocks"].values())
    said = capsys.readouterr()
    assert "logits" in said.out
    assert len(report["blocks"]) > 100
    if is_spoilt:
        assert code == cli.BAD_INPUT
        assert worst > 1e-3
        wanted = "error: the port disagrees with torchvision and is not kept: backbone/stage4/"
        assert said.err.startswith(wanted)
        assert not out.exists()
        return
    assert (code, said.err) == (0, "")
    assert worst <= port_command.TOLERANCE
    with flagsaver.flagsaver(file=str(out), out=str(tmp_path / "again"), verify=True):
        assert cli.guarded(port_command.main, ["efficientnet_b0"]) == cli.BAD_INPUT
    assert "a file that was ported has other names" in capsys.readouterr().err
