"""Bad input of every kind: one line that says what was wanted, exit code 2, never a traceback."""

import csv
import dataclasses
import pickle
import shutil
import zipfile

import numpy as np
import pytest
import safetensors.numpy
from absl.testing import flagsaver
from PIL import Image

from jaxall import cli, evaluate, port, predict, runtime, stopping, train
from jaxall.data import synthetic
from jaxall.runs import workdir
from tests import keys, programs

RESNET = {"conv1.weight": np.zeros((64, 3, 7, 7), np.float32)}


@pytest.fixture(autouse=True)
def _in_process(monkeypatch, tmp_path):
    """Commands in this process change none of its settings, and find no network."""
    programs.register_tiny(monkeypatch)
    monkeypatch.setattr(runtime, "configure", lambda: None)
    monkeypatch.setattr(stopping.StopRequests, "watch", lambda self: lambda step: False)
    for name, value in programs.environment(tmp_path / "cache").items():
        if name != "XLA_FLAGS":
            monkeypatch.setenv(name, value)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    root = tmp_path_factory.mktemp("drawn") / "smears"
    synthetic.write(root, subjects_per_class=4, pictures_per_subject=2, size=40)
    return root


@pytest.fixture(scope="module")
def run(drawn, tmp_path_factory):
    """One step of the tiny network."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    settings = programs.tiny_config(drawn)
    settings.train.epochs = 0.5
    with pytest.MonkeyPatch.context() as patch:
        programs.register_tiny(patch)
        train.train(settings, folder, programs.quiet())
    return folder


@pytest.fixture
def refused(capsys):
    """Runs a command that must be refused; returns its line on stderr, without "error: "."""

    def call(main, *arguments, **values):
        with flagsaver.flagsaver(**values):
            assert cli.guarded(main, [str(argument) for argument in arguments]) == cli.BAD_INPUT
        captured = capsys.readouterr()
        first, *details = captured.err.splitlines()
        assert first.startswith("error: ")
        assert all(line.startswith("  ") for line in details)
        return first.removeprefix("error: ")

    return call


@pytest.fixture
def refused_training(refused, drawn, tmp_path):
    """As `refused`, for `train` with other settings than those of the tiny run."""

    def call(*, root=drawn, workdir=tmp_path / "run", model=None, split=None, train_settings=None):
        made = programs.tiny_config(root)
        made.model = dataclasses.replace(made.model, **(model or {}))
        made.split = dataclasses.replace(made.split, **(split or {}))
        made.train = dataclasses.replace(made.train, **(train_settings or {}))
        return refused(train.main, config=made, workdir=str(workdir))

    return call


# train


def test_training_wants_flags_only(refused, drawn):
    made = programs.tiny_config(drawn)
    assert refused(train.main, "now", config=made) == "train takes flags only; got now"


def test_training_wants_a_folder_of_pictures(refused, tmp_path):
    made = programs.tiny_config(tmp_path / "gone")
    made.data.name = "b_all"
    line = refused(train.main, config=made, workdir=str(tmp_path / "run"))
    assert line.startswith(f"there is no folder {tmp_path}/gone; wanted a folder with Original/")


def test_training_wants_pictures_of_every_class(refused, drawn, tmp_path):
    for name in ("Benign", "Early", "Pre", "Pro"):
        (tmp_path / "half" / "Original" / name).mkdir(parents=True)
    picture = next((drawn / "Original" / "Pre").iterdir()).read_bytes()
    (tmp_path / "half" / "Original" / "Pre" / "WBC-Malignant-Pre-001.png").write_bytes(picture)
    made = programs.tiny_config(tmp_path / "half")
    made.data.name = "b_all"
    line = refused(train.main, config=made, workdir=str(tmp_path / "run"))
    assert line.startswith("no picture of class Benign, Early, Pro under ")


def test_training_wants_every_picture_to_be_readable(refused_training, drawn, tmp_path, capsys):
    for path in drawn.rglob("*.png"):
        copy = tmp_path / "spoilt" / path.relative_to(drawn)
        copy.parent.mkdir(parents=True, exist_ok=True)
        is_first = path.name == "Drawn-Early-S05-001.png"
        copy.write_bytes(path.read_bytes()[: 300 if is_first else None])
    line = refused_training(root=tmp_path / "spoilt")
    assert line.startswith("can't read 1 of 32 pictures under ")
    assert "Early/Drawn-Early-S05-001.png: " in line


def test_training_wants_pictures_enough_for_every_side(refused_training, tmp_path):
    synthetic.write(tmp_path / "few", subjects_per_class=2, pictures_per_subject=1, size=16)
    line = refused_training(root=tmp_path / "few")
    assert line.startswith("wanted a picture of every class for train, validation, test, there is")


def test_training_wants_a_batch_that_can_be_dealt_to_the_devices(refused_training, tmp_path):
    line = refused_training(train_settings={"batch_size": 6})
    assert line == "batch_size is a multiple of the 4 devices; got 6, nearest is 8"
    assert not (tmp_path / "run" / workdir.CONFIG).exists()


def test_training_wants_the_settings_of_the_run_that_is_there(refused_training, run):
    line = refused_training(workdir=run, train_settings={"epochs": 3.0})
    assert line == (
        f"{run} holds a run with other settings (1 differ, the first: train.epochs: 0.5 -> 3.0); "
        "choose another --workdir or the same settings"
    )


def test_training_wants_a_folder_of_its_own(refused_training, tmp_path):
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "diary.txt").touch()
    line = refused_training(workdir=tmp_path / "notes")
    assert line == f"{tmp_path}/notes is not empty and holds no run: choose another --workdir"


def test_training_wants_a_folder_that_can_be_written(refused_training, tmp_path):
    (tmp_path / "file").touch()
    line = refused_training(workdir=tmp_path / "file" / "run")
    assert line == f"can't write to {tmp_path}/file/run: Not a directory"


def test_two_processes_do_not_train_in_one_folder(refused_training, tmp_path):
    with workdir.locked(tmp_path / "run"):
        line = refused_training(workdir=tmp_path / "run")
    assert line == f"another process is training in {tmp_path}/run"


def test_training_wants_the_weights_of_its_architecture(refused_training, tmp_path):
    safetensors.numpy.save_file(RESNET, tmp_path / "resnet.safetensors")
    line = refused_training(model={"init": str(tmp_path / "resnet.safetensors")})
    assert line.startswith("these are not torchvision's tiny weights: ")
    line = refused_training(model={"init": str(tmp_path / "gone.pth")})
    assert line.startswith(f"no weights file at {tmp_path}/gone.pth: wanted a .pth, .safetensors")


def test_imagenet_weights_that_cannot_be_fetched_say_what_to_do(refused_training, tmp_path):
    line = refused_training(model={"init": "imagenet"})
    assert line.startswith("cannot fetch https://download.pytorch.org/models/tiny-00000000.pth (")
    assert "Connection refused" in line
    assert f"put the file by hand at {tmp_path}/cache/weights/tiny-00000000.pth" in line
    assert "--config.model.init=PATH" in line


def test_a_refused_start_does_not_bind_the_next_one(refused_training, tmp_path, drawn):
    refused_training(model={"init": "imagenet"})
    assert workdir.load(tmp_path / "run").config.model.init == "imagenet"
    workdir.save_config(tmp_path / "run", programs.tiny_config(drawn))
    assert not workdir.exists(tmp_path / "run")


# evaluate and predict


def test_evaluate_wants_one_run(refused, tmp_path):
    assert refused(evaluate.main) == "evaluate takes one run's folder; got none"
    assert refused(evaluate.main, "a", "b").startswith("evaluate takes one run's folder; got ")
    assert refused(evaluate.main, "a", "b").endswith(
        "several need --ensemble=mean, logits, vote or kappa"
    )
    line = refused(evaluate.main, "a", keep=1)
    assert line == "--keep chooses among the runs of an ensemble; wanted --ensemble too"
    missing = "config.json, run.json, split.csv, pictures.sha256 missing"
    assert refused(evaluate.main, tmp_path) == f"{tmp_path} is not the folder of a run: {missing}"
    line = refused(predict.main, tmp_path / "gone", tmp_path)
    assert line == f"{tmp_path}/gone is not the folder of a run: {missing}"


@pytest.mark.parametrize("which", ["7", "newest", "-1", ""])
def test_evaluate_wants_a_checkpoint_that_is_there(refused, run, which):
    line = refused(evaluate.main, run, checkpoint=which)
    assert line == f"no checkpoint {which!r} in {run}: wanted best, latest or a step of [1]"


def test_evaluate_wants_the_pictures_of_the_split(refused, run, tmp_path):
    synthetic.write(tmp_path / "others", subjects_per_class=1, pictures_per_subject=3, size=8)
    line = refused(evaluate.main, run, data=str(tmp_path / "others"))
    assert line.startswith(f"the split {run}/split.csv doesn't fit the data set under")


def test_evaluate_wants_the_very_files_that_were_split(refused, run, drawn, tmp_path):
    shutil.copytree(drawn, tmp_path / "copy")
    with (run / workdir.SPLIT).open() as file:
        name = next(line["path"] for line in csv.DictReader(file) if line["side"] == "test")
    spoilt = tmp_path / "copy" / "Original" / name
    Image.open(spoilt).rotate(90).save(spoilt)
    line = refused(evaluate.main, run, data=str(tmp_path / "copy"))
    assert line.startswith("1 of ")
    assert line.endswith(f"({run}/pictures.sha256), the first: {name}")


def test_a_run_whose_files_are_damaged_is_refused(refused, run, tmp_path):
    names = (workdir.CONFIG, workdir.FACTS, workdir.SPLIT, workdir.PICTURES)
    for name in names:
        for kept in names:
            (tmp_path / kept).write_bytes((run / kept).read_bytes())
        (tmp_path / name).write_bytes(b"{\xff")
        assert f"{tmp_path}/{name}" in refused(evaluate.main, tmp_path)


@pytest.mark.parametrize("options", [{"ensemble": "kappa"}, {"ensemble": "mean", "keep": 1}])
def test_an_ensemble_is_not_scored_on_the_side_that_it_was_chosen_by(refused, run, options):
    line = refused(evaluate.main, run, run, split="validation", **options)
    assert line == (
        "--split=validation: --ensemble=kappa and --keep choose by the validation side, whose "
        "scores would flatter; wanted --split=test"
    )


def test_an_ensemble_has_no_run_twice(refused, run, tmp_path):
    (tmp_path / "link").symlink_to(run)
    line = refused(evaluate.main, run, run, ensemble="mean")
    assert line == f"an ensemble is of different runs; {run} is there twice"
    line = refused(evaluate.main, run, "link", ensemble="mean")
    assert line == f"an ensemble is of different runs; link is there twice, as {run}"


@pytest.mark.parametrize("more", [(), ("another",)])
def test_evaluate_overwrites_only_an_evaluation(refused, run, tmp_path, monkeypatch, more):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(workdir, "load", None)  # nothing is read before
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "predictions.csv").write_text("mine")
    options = {"ensemble": "mean"} if more else {}
    line = refused(evaluate.main, run, *more, out="~/notes", **options)
    assert line == (
        f"--out: {tmp_path}/notes holds files, but no scores.json; wanted a new or empty folder, "
        "or one that evaluate wrote to its end"
    )
    out = "~/notes/predictions.csv"
    line = refused(evaluate.main, run, *more, out=out, **options)
    assert line == f"--out: {tmp_path}/notes/predictions.csv is a file; wanted the name of a folder"
    assert (tmp_path / "notes" / "predictions.csv").read_text() == "mine"


def test_views_that_there_are_not_are_refused(refused, run, drawn):
    wanted = "unknown views 'dihedral4'; there are none, dihedral8, rotations:K (K from 1 to 360)"
    assert refused(evaluate.main, run, tta="dihedral4") == wanted
    assert refused(predict.main, run, drawn, tta="dihedral4") == wanted


def test_predict_wants_a_run_and_pictures(refused, run, tmp_path):
    line = refused(predict.main, run)
    assert line == f"predict takes a run's folder and pictures or folders; got ['{run}']"
    (tmp_path / "empty").mkdir()
    line = refused(predict.main, run, tmp_path / "empty")
    assert line.startswith(f"no pictures under {tmp_path}/empty: wanted .jpg, .jpeg, .png")
    line = refused(predict.main, run, tmp_path / "gone")
    assert line == f"no file or folder at {tmp_path}/gone"
    (tmp_path / "text.png").write_text("no picture")
    line = refused(predict.main, run, tmp_path / "text.png")
    assert line == "none of 1 pictures can be read"


def test_predict_wants_a_place_for_its_table(refused, run, drawn, tmp_path):
    line = refused(predict.main, run, drawn, out=str(tmp_path / "gone" / "a.csv"))
    assert line == f"--out: no folder {tmp_path}/gone"
    line = refused(predict.main, run, drawn, out=str(tmp_path))
    assert line == f"--out: {tmp_path} is a folder; wanted the name of a table"


# port


def test_port_wants_an_architecture(refused):
    assert refused(port.main).startswith("port takes one architecture; got []: densenet121, ")
    line = refused(port.main, "densenet12")
    assert line.startswith("unknown model 'densenet12'; did you mean densenet121? There are: ")
    assert refused(port.main, "u2").startswith("unknown model 'u2'. There are: ")
    assert "no such weights of baseline; wanted none or a file" in refused(port.main, "baseline")


def test_port_wants_weights_of_the_architecture(refused, tmp_path):
    path = tmp_path / "weights.safetensors"
    safetensors.numpy.save_file(keys.draw(keys.efficientnet_b0(4)), path)
    line = refused(port.main, "densenet121", file=str(path))
    assert line.startswith("these are not torchvision's densenet121 weights: ")
    assert not (tmp_path / "densenet121.safetensors").exists()


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\3\4 no more", b"\x80\x02X", b"{}" * 40])
def test_port_wants_a_file_of_weights(refused, tmp_path, content):
    path = tmp_path / "weights.pth"
    path.write_bytes(content)
    line = refused(port.main, "densenet121", file=str(path))
    assert line.startswith(f"cannot read the weights in {path}: ")


def test_port_runs_nothing_that_a_file_asks_for(refused, tmp_path):
    class Evil:
        def __reduce__(self):
            return open, (str(tmp_path / "owned"), "w")

    path = tmp_path / "evil.pth"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("evil/data.pkl", pickle.dumps({"a": Evil()}, protocol=2))
    line = refused(port.main, "densenet121", file=str(path))
    assert line.startswith(f"cannot read the weights in {path}: ")
    assert "open" in line
    assert not (tmp_path / "owned").exists()


def test_port_wants_a_file_that_is_there(refused, tmp_path):
    line = refused(port.main, "densenet121", file=str(tmp_path / "gone.pth"))
    assert line.startswith(f"no weights file at {tmp_path}/gone.pth: wanted ")


def test_port_says_what_to_do_without_a_network(refused, tmp_path):
    line = refused(port.main, "densenet121")
    assert line.startswith("cannot fetch https://download.pytorch.org/models/densenet121-a639ec97")
    assert "Connection refused" in line
    assert "--file PATH (port)" in line


# The operating system's own refusals


def test_what_the_system_refuses_ends_in_one_line_too(refused, tmp_path):
    def full(_arguments):
        raise OSError(28, "No space left on device")

    def forbidden(_arguments):
        raise PermissionError(13, "Permission denied", "/there")

    assert refused(full) == "No space left on device"
    assert refused(forbidden) == "Permission denied: /there"


# As a person meets them


def test_a_real_process_exits_with_2_and_one_line(tmp_path):
    wrong = {
        "train": ("--config", tmp_path / "gone.py"),
        "evaluate": (tmp_path, "--split=tset"),
        "predict": ("--chekpoint=3", tmp_path, tmp_path),
        "port": ("alexnet",),
    }
    lines = {
        "train": f"error: no config file at {tmp_path}/gone.py: wanted a file with get_config()\n",
        "evaluate": "error: flag --split=tset: value should be one of <train|validation|test>\n",
        "predict": "error: Unknown command line flag 'chekpoint'. Did you mean: checkpoint ?\n",
        "port": "error: unknown model 'alexnet'",
    }
    started = {
        name: programs.start(name, *arguments, cache=tmp_path) for name, arguments in wrong.items()
    }
    for name, process in started.items():
        code, said, problems = programs.finish(process)
        assert (code, said) == (cli.BAD_INPUT, ""), problems
        assert problems.startswith(lines[name])
        assert problems.count("\n") == 1
