"""Cross-validation with a network so small that a fold takes a second; in process."""

import copy
import dataclasses
import json
import shutil

import numpy as np
import pytest

from jaxall import train
from jaxall.data import checking, split_file, synthetic
from jaxall.errors import UserError
from jaxall.evaluation import predictions, scores
from jaxall.runs import folds, workdir
from jaxall.training import loop
from tests import programs

FOLDS = 3


pytestmark = pytest.mark.usefixtures("tiny_network")


@pytest.fixture(scope="module")
def settings(tmp_path_factory, tiny_network):
    root = tmp_path_factory.mktemp("folds") / "drawn"
    synthetic.write(root, subjects_per_class=6, pictures_per_subject=2, size=40)
    made = programs.tiny_config(root)
    made.split.kind, made.split.folds = "folds", FOLDS
    return made


@pytest.fixture(scope="module")
def unbroken(settings, tmp_path_factory):
    folder = tmp_path_factory.mktemp("unbroken")
    train.cross_validate(settings, folder, programs.quiet())
    return folder


def contents(folder):
    """What must be the same of two cross-validations, times of training aside."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for pattern in ("folds.json", "**/split.csv", "**/scores.json", "**/predictions.csv")
        for path in folder.glob(pattern)
    }


def test_every_fold_is_a_run_of_its_own_and_every_picture_is_tested_once(unbroken, settings):
    rows = synthetic.load(settings.data.root)
    tested = []
    for fold in range(FOLDS):
        split = split_file.load(unbroken / f"fold{fold}" / "split.csv", rows)
        tested += split.indices("test").tolist()
    assert sorted(tested) == list(range(len(rows.rows)))


def test_the_summary_holds_mean_and_spread_of_the_folds_own_scores(unbroken):
    summary = scores.from_json((unbroken / "folds.json").read_text())
    for side in ("validation", "test"):
        for name in ("accuracy", "f1_macro", "kappa", "auroc", "loss"):
            values = []
            for fold in range(FOLDS):
                (file,) = unbroken.glob(f"fold{fold}/evaluation/{side}-step*/scores.json")
                values.append(json.loads(file.read_text())[name])
            found = summary[side][name]
            assert found["mean"] == pytest.approx(np.mean(values))
            assert found["deviation"] == pytest.approx(np.std(values, ddof=1))
            assert (found["lowest"], found["highest"]) == (min(values), max(values))


def test_the_pooled_scores_are_those_of_all_predictions(unbroken):
    pooled = scores.from_json((unbroken / "folds.json").read_text())["pooled"]
    tables = [
        predictions.load_csv(next(unbroken.glob(f"fold{fold}/evaluation/test-*/predictions.csv")))
        for fold in range(FOLDS)
    ]
    hits = sum(int((table.labels == table.predicted).sum()) for table in tables)
    assert pooled["examples"] == sum(len(table.names) for table in tables)
    assert pooled["accuracy"] == pytest.approx(hits / pooled["examples"])
    assert (unbroken / "evaluation" / "pooled" / "confusion.png").is_file()
    shares = [
        scores.from_json(
            next(unbroken.glob(f"fold{fold}/evaluation/test-*/scores.json")).read_text()
        )["baselines"]["commonest class"]
        for fold in range(FOLDS)
    ]
    sizes = [len(table.names) for table in tables]
    expected = np.average(shares, weights=sizes)
    assert pooled["baselines"]["commonest class"] == pytest.approx(expected)


def test_a_cross_validation_that_was_stopped_ends_as_an_unbroken_one(settings, unbroken, tmp_path):
    runs = iter(range(FOLDS))

    def watch():
        fold = next(runs)
        return lambda step: fold == 1

    with pytest.raises(loop.Terminated):
        train.cross_validate(settings, tmp_path, programs.quiet(), watch)
    assert not (tmp_path / "folds.json").exists()
    # Every fold is set up before the first is trained; the last wasn't begun.
    assert (tmp_path / "fold1" / "journal.jsonl").exists()
    assert not (tmp_path / "fold2" / "journal.jsonl").exists()
    train.cross_validate(settings, tmp_path, programs.quiet())
    assert contents(tmp_path) == contents(unbroken)


def test_what_is_done_is_not_trained_again(settings, unbroken, monkeypatch):
    def fail(*arguments):
        raise AssertionError("trained again")

    before = contents(unbroken)
    monkeypatch.setattr(train, "train", fail)
    train.cross_validate(settings, unbroken, programs.quiet())
    assert contents(unbroken) == before


@pytest.mark.parametrize("gone", ["scores.json", "predictions.csv"])
def test_a_fold_whose_scores_are_gone_is_scored_again(settings, unbroken, tmp_path, gone):
    shutil.copytree(unbroken, tmp_path / "cv")
    (target,) = (tmp_path / "cv" / "fold1" / "evaluation").glob("test-*")
    (target / gone).unlink()
    train.cross_validate(settings, tmp_path / "cv", programs.quiet())
    assert contents(tmp_path / "cv").keys() == contents(unbroken).keys()
    assert (target / gone).exists()


def test_a_fold_of_other_settings_is_refused(settings, unbroken):
    other = copy.deepcopy(settings)
    other.optim.learning_rate = 1e-5
    with pytest.raises(UserError, match="fold0 holds a run with other settings"):
        train.cross_validate(other, unbroken, programs.quiet())


@pytest.mark.parametrize(
    ("kind", "line"),
    [
        ("group", "--folds wants split.kind=folds or official; got 'group'"),
        ("official", "--folds: drawn_smears has no folds of its own; split.kind=folds draws some"),
    ],
)
def test_a_split_without_folds_is_refused(settings, kind, line):
    other = dataclasses.replace(settings, split=dataclasses.replace(settings.split, kind=kind))
    with pytest.raises(UserError, match=line):
        folds.configs(other)


def test_damaged_scores_are_named(unbroken, tmp_path):
    shutil.copytree(unbroken, tmp_path / "cv")
    file = next((tmp_path / "cv").glob("fold1/evaluation/test-*/scores.json"))
    whole = json.loads(file.read_text())
    for text in ("{", "[]"):
        file.write_text(text)
        with pytest.raises(UserError, match=rf"the scores {file} can't be read"):
            folds.summarise(tmp_path / "cv", FOLDS)
    for lost in ("examples", "caveat"):
        file.write_text(json.dumps({key: x for key, x in whole.items() if key != lost}))
        with pytest.raises(UserError, match=rf"the scores {file} are damaged: {lost} missing"):
            folds.summarise(tmp_path / "cv", FOLDS)


def test_a_fold_that_can_not_be_split_is_told_before_any_is_trained(settings, tmp_path):
    few = copy.deepcopy(settings)
    few.split.folds = 7
    with pytest.raises(UserError, match="wanted at least 7 subjects"):
        train.cross_validate(few, tmp_path, programs.quiet())
    assert not list(tmp_path.glob("fold*/journal.jsonl"))


def test_the_pictures_are_read_once_for_all_folds(settings, tmp_path, monkeypatch):
    read = []
    check = checking.check
    monkeypatch.setattr(checking, "check", lambda *a, **k: read.append(1) or check(*a, **k))
    monkeypatch.setattr(train, "train", lambda config, *_: read.append(config.split.fold))
    monkeypatch.setattr(folds, "score", lambda *_: None)
    with pytest.raises(UserError, match="no checkpoints in"):
        train.cross_validate(settings, tmp_path, programs.quiet())
    assert read == [1, 0, 1, 2]
    assert len({(tmp_path / f"fold{fold}" / "split.csv").read_text() for fold in range(3)}) == 3


def test_a_fold_that_another_process_trains_is_refused(settings, tmp_path):
    (tmp_path / "fold0").mkdir()
    with (
        workdir.locked(tmp_path / "fold0"),
        pytest.raises(UserError, match=r"another process .*0$"),
    ):
        train.cross_validate(settings, tmp_path, programs.quiet())


def test_folds_of_other_pictures_are_refused(settings, unbroken, tmp_path):
    shutil.copytree(unbroken, tmp_path / "cv")
    pictures = tmp_path / "cv" / "fold1" / "pictures.sha256"
    pictures.write_text("".join(pictures.read_text().splitlines(keepends=True)[1:]))
    with pytest.raises(UserError, match=r"fold1 was set up on other pictures than .*fold0"):
        folds.summarise(tmp_path / "cv", FOLDS)


def test_a_finished_fold_does_not_stand_for_another_data_set(settings, unbroken, tmp_path):
    synthetic.write(tmp_path / "other", subjects_per_class=5, pictures_per_subject=2, size=40)
    other = copy.deepcopy(settings)
    other.data.root = str(tmp_path / "other")
    before = (unbroken / "fold0" / "config.json").read_bytes()
    with pytest.raises(UserError, match="doesn't fit the data set"):
        train.cross_validate(other, unbroken, programs.quiet())
    assert (unbroken / "fold0" / "config.json").read_bytes() == before
