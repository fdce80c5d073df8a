import json
import pathlib
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from jaxall import config as config_lib
from jaxall import plain
from jaxall.data.preprocessing import Preprocessing
from jaxall.errors import UserError
from jaxall.runs import workdir
from jaxall.training import checkpoints

PREPROCESSING = Preprocessing(
    image_size=33, interpolation="bicubic", mean=(0.1, 0.2, 0.3), std=(1.0, 2.0, 3.0)
)
CLASSES = ("Benign", "Früh", "Pre", "Pro")


def config(**changes: Any) -> config_lib.Config:
    made = config_lib.Config(name="a", augmentation=(config_lib.Rotate(degrees=5.0),))
    for name, value in changes.items():
        *parents, last = name.split("__")
        target = made
        for parent in parents:
            target = getattr(target, parent)
        setattr(target, last, value)
    return made


@pytest.fixture
def run(tmp_path: pathlib.Path) -> pathlib.Path:
    """A folder that is set up and has one checkpoint, as far as this module can see."""
    folder = tmp_path / "run"
    workdir.save_config(folder, config())
    (folder / workdir.SPLIT).write_text("path\n")
    (folder / workdir.PICTURES).touch()
    workdir.save_facts(folder, CLASSES, PREPROCESSING, {"versions": {"jax": "1"}})
    (folder / checkpoints.FOLDER / "4").mkdir(parents=True)
    return folder


def test_what_was_saved_is_loaded(run: pathlib.Path):
    found = workdir.load(run)
    assert found.workdir == run
    assert found.config == config()
    assert found.class_names == CLASSES
    assert found.preprocessing == PREPROCESSING
    assert found.facts == {"versions": {"jax": "1"}}
    assert workdir.exists(run)


def test_a_folder_is_a_run_when_its_facts_are_written(tmp_path: pathlib.Path):
    workdir.save_config(tmp_path, config())
    assert not workdir.exists(tmp_path)
    workdir.save_facts(tmp_path, CLASSES, PREPROCESSING, {})
    assert workdir.exists(tmp_path)


def test_other_settings_are_refused_with_every_field_that_differs(run: pathlib.Path):
    before = (run / workdir.CONFIG).read_text()
    other = config(seed=3, optim__learning_rate=0.5, train__epochs=7.0, train__parallel="shard_map")
    other.augmentation = (config_lib.Rotate(degrees=9.0), config_lib.FlipVertical())
    with pytest.raises(UserError, match=r"other settings \(\d differ, the first: ") as caught:
        workdir.save_config(run, other)
    told = "\n".join(caught.value.details)
    for line in (
        "seed: 0 -> 3",
        "optim.learning_rate: 0.0001 -> 0.5",
        "train.epochs: 40.0 -> 7.0",
        "train.parallel: pmap -> shard_map",
        "augmentation[0].degrees: 5.0 -> 9.0",
        "augmentation[1]",
    ):
        assert line in told
    assert "\n" not in str(caught.value)
    assert (run / workdir.CONFIG).read_text() == before


def test_settings_that_change_no_result_may_change(run: pathlib.Path):
    freed = config(
        loader__threads=7,
        loader__workers=1,
        data__root="/elsewhere",
        train__log_every=1,
        train__checkpoint_every=5,
    )
    workdir.save_config(run, freed)
    assert workdir.load(run).config == config()  # nothing is written before the run goes on
    workdir.update_config(run, freed)
    assert workdir.load(run).config == freed


def test_every_free_setting_is_a_setting():
    names = dict(plain.flatten(plain.to_plain(config())))
    for free in config_lib.FREE:
        assert any(name == free or name.startswith(free + ".") for name in names), free


def test_a_run_that_has_no_checkpoint_yet_is_set_up_anew(run: pathlib.Path):
    (run / checkpoints.FOLDER / "4").rmdir()
    workdir.save_config(run, config(seed=3))
    assert not workdir.exists(run)
    workdir.save_facts(run, CLASSES, PREPROCESSING, {})
    assert workdir.load(run).config.seed == 3


def test_a_folder_that_holds_something_else_is_refused(tmp_path: pathlib.Path):
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(UserError, match="is not empty and holds no run: choose another --workdir"):
        workdir.save_config(tmp_path, config())
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_what_a_killed_start_leaves_is_no_obstacle(tmp_path: pathlib.Path):
    (tmp_path / ".lock").write_text("")
    (tmp_path / ".config.json.0123.part").write_text("{")
    workdir.save_config(tmp_path, config())
    assert (tmp_path / workdir.CONFIG).exists()


@pytest.mark.parametrize("missing", [workdir.CONFIG, workdir.FACTS, workdir.SPLIT])
def test_a_folder_that_lacks_a_file_is_no_run(missing: str, run: pathlib.Path):
    (run / missing).unlink()
    with pytest.raises(UserError, match=rf"is not the folder of a run: {missing} missing"):
        workdir.load(run)


def test_a_folder_that_is_not_there_is_no_run(tmp_path: pathlib.Path):
    wanted = ", ".join((workdir.CONFIG, workdir.FACTS, workdir.SPLIT, workdir.PICTURES))
    with pytest.raises(UserError, match=f"{wanted} missing"):
        workdir.load(tmp_path / "none")


def _set(name: str, value: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda facts: {**facts, name: value}


@pytest.mark.parametrize(
    "spoil",
    [
        lambda facts: None,
        lambda facts: [],
        lambda facts: {},
        _set("class_names", None),
        _set("preprocessing", None),
        _set("preprocessing", 3),
        _set("preprocessing", {}),
        _set("preprocessing", {**PREPROCESSING.to_json(), "image_size": -1}),
    ],
)
def test_facts_that_were_tampered_with_are_told(
    spoil: Callable[[dict[str, Any]], Any], run: pathlib.Path
):
    path = run / workdir.FACTS
    path.write_text(json.dumps(spoil(json.loads(path.read_text()))))
    with pytest.raises(UserError, match=r"run\.json is damaged: "):
        workdir.load(run)


@pytest.mark.parametrize("content", [b"", b"\0\0\0", b'{"class_names": ["Ben', b"\xff\xfe"])
def test_facts_that_were_cut_off_are_told(content: bytes, run: pathlib.Path):
    (run / workdir.FACTS).write_bytes(content)
    with pytest.raises(UserError, match=r"run\.json is damaged: "):
        workdir.load(run)


@pytest.mark.parametrize(
    ("content", "told"),
    [("", "is not JSON"), ("{", "is not JSON"), ('{"nmae": "a"}', "no setting is called 'nmae'")],
)
def test_a_config_that_is_damaged_is_told(content: str, told: str, run: pathlib.Path):
    (run / workdir.CONFIG).write_text(content)
    with pytest.raises(UserError, match=told):
        workdir.load(run)
    with pytest.raises(UserError, match=told):
        workdir.save_config(run, config())


def test_a_model_that_is_no_longer_there_is_told(run: pathlib.Path):
    path = run / workdir.CONFIG
    path.write_text(path.read_text().replace('"densenet201"', '"densenet202"'))
    with pytest.raises(UserError, match="unknown model 'densenet202'; did you mean densenet201"):
        workdir.load(run)


def test_a_folder_is_locked_against_a_second_run(tmp_path: pathlib.Path):
    with (
        workdir.locked(tmp_path / "a"),
        pytest.raises(UserError, match=f"^another process is training in {tmp_path / 'a'}$"),
        workdir.locked(tmp_path / "a"),
    ):
        raise AssertionError
    with workdir.locked(tmp_path / "a"), workdir.locked(tmp_path / "b"):
        pass


@pytest.mark.parametrize("name", ["w[1]", "a\\b", "w\udcff"])
def test_a_name_below_which_no_checkpoint_can_be_read_is_refused(tmp_path, name):
    with pytest.raises(UserError, match="Orbax writes"), workdir.locked(tmp_path / name):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("class_names", "abcd", "class_names is a list of texts"),
        ("class_names", [1, 2], "class_names is a list of texts"),
        ("data", "x", "data of another kind"),
        ("data", {"counts": 3}, "data.counts of another kind"),
        ("baselines", {"test": "abc"}, "baselines of another kind"),
        ("baselines", {"test": {"a": "b"}}, "baselines of another kind"),
        ("versions", 3, "versions of another kind"),
        ("sampling", [], "sampling of another kind"),
        ("command", 3, "command of another kind"),
    ],
)
def test_facts_of_another_kind_are_told(run: pathlib.Path, name, value, reason):
    path = run / workdir.FACTS
    path.write_text(json.dumps({**json.loads(path.read_text()), name: value}))
    with pytest.raises(UserError, match=rf"run.json is damaged: {reason}"):
        workdir.load(run)


def test_what_was_scored_of_a_run_that_is_gone_is_set_aside(run: pathlib.Path):
    (run / checkpoints.FOLDER / "4").rmdir()
    (run / workdir.SCORED).mkdir()
    (run / workdir.SCORED / "a.txt").write_text("1")
    (run / f"{workdir.SCORED}.old1").mkdir()
    other = workdir.load(run).config
    other.seed = 7
    workdir.save_config(run, other)
    assert not (run / workdir.SCORED).exists()
    assert (run / f"{workdir.SCORED}.old2" / "a.txt").read_text() == "1"


def test_a_lock_dies_with_its_process(tmp_path: pathlib.Path):
    program = f"""
import pathlib
from jaxall import plain
from jaxall.runs import workdir
with workdir.locked(pathlib.Path({str(tmp_path)!r})):
    print("locked", flush=True)
    input()
"""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", program], text=True, **pipes) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "locked\n"
        with pytest.raises(UserError, match="another process"), workdir.locked(tmp_path):
            raise AssertionError
        other.kill()
        other.wait()
    with workdir.locked(tmp_path):
        pass


def test_a_folder_that_cant_be_made_is_told(tmp_path: pathlib.Path):
    (tmp_path / "file").write_text("")
    told = rf"can't write to {tmp_path / 'file' / 'run'}: Not a directory"
    with pytest.raises(UserError, match=told), workdir.locked(tmp_path / "file" / "run"):
        raise AssertionError


def test_a_write_that_fails_leaves_the_old_settings(
    run: pathlib.Path, monkeypatch: pytest.MonkeyPatch
):
    before = (run / workdir.CONFIG).read_text()

    def fail(*_: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(OSError, match="no space left"):
        workdir.update_config(run, config())
    assert (run / workdir.CONFIG).read_text() == before
    assert not list(run.glob(".*.part"))
