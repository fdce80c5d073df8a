"""What can be done with a run, on one so small that each command takes a second; in process."""

import dataclasses
import json
import math
import shutil

import numpy as np
import pytest
from absl.testing import flagsaver
from PIL import Image
from sklearn import metrics as sk

from jaxall import config, evaluate, predict, runtime, train
from jaxall.data import split_file, splits, synthetic
from jaxall.errors import UserError
from jaxall.evaluation import ensemble, predictions, shortcuts
from jaxall.runs import workdir
from jaxall.training import checkpoints
from tests import programs


@pytest.fixture(scope="module", autouse=True)
def _tiny():
    with pytest.MonkeyPatch.context() as patch:
        programs.register_tiny(patch)
        patch.setattr(runtime, "configure", lambda: None)
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory, _tiny):
    """A run of six epochs, two pictures short of whole batches of evaluation."""
    root = tmp_path_factory.mktemp("runs")
    synthetic.write(root / "drawn", subjects_per_class=6, pictures_per_subject=3, size=40)
    settings = programs.tiny_config(root / "drawn", (config.FlipHorizontal(),))
    settings.train.epochs = 6.0
    settings.validate()
    with workdir.locked(root / "run"):
        train.train(settings, root / "run", programs.quiet())
    return root / "run"


def evaluated(folder, side, checkpoint="best", root=""):
    """(scores, predictions) of one evaluation."""
    evaluate.evaluate(folder, side, checkpoint, root)
    target = folder / "evaluation" / f"{side}-step{checkpoints.find(folder, checkpoint)}"
    scores = json.loads((target / "scores.json").read_text())
    return scores, predictions.load_csv(target / "predictions.csv")


@pytest.mark.parametrize("side", splits.SIDES)
def test_every_side_is_scored_whole_with_the_numbers_of_scikit_learn(folder, side):
    record, found = evaluated(folder, side)
    lines = (folder / workdir.SPLIT).read_text().splitlines()
    assert sorted(found.names) == sorted(
        line.partition(",")[0] for line in lines if line.endswith(f",{side}")
    )
    rows = {row.path: row for row in synthetic.load(folder.parent / "drawn").rows}
    assert found.subjects == tuple(rows[name].subject for name in found.names)
    assert all(found.subjects)
    labels, p = found.labels, found.probabilities
    likely = p.argmax(1)
    assert len(set(likely)) > 1, "or the scores would say nothing"
    assert record["examples"] == len(labels) == np.sum(record["confusion"])
    wanted = {
        "accuracy": sk.accuracy_score(labels, likely),
        "balanced_accuracy": sk.balanced_accuracy_score(labels, likely),
        "f1_macro": sk.f1_score(labels, likely, average="macro"),
        "f1_weighted": sk.f1_score(labels, likely, average="weighted"),
        "kappa": sk.cohen_kappa_score(labels, likely),
        "matthews": sk.matthews_corrcoef(labels, likely),
        "auroc": sk.roc_auc_score(labels, p, multi_class="ovr", average="macro"),
        "average_precision": sk.average_precision_score(labels, p),
        "loss": sk.log_loss(labels, p),
        "brier": sk.brier_score_loss(labels, p),
    }
    assert {name: record[name] for name in wanted} == pytest.approx(wanted, abs=1e-12)
    assert record["confusion"] == sk.confusion_matrix(labels, likely, labels=range(4)).tolist()
    columns = sk.precision_recall_fscore_support(
        labels, likely, labels=range(4), zero_division=np.nan
    )
    for index, name in enumerate(found.class_names):
        row = record["per_class"][name]
        for key, column in zip(("precision", "recall", "f1", "support"), columns, strict=True):
            value = math.nan if row[key] is None else row[key]
            assert value == pytest.approx(column[index], abs=1e-12, nan_ok=True), (name, key)
        assert row["auroc"] == pytest.approx(sk.roc_auc_score(labels == index, p[:, index]))


def test_an_evaluation_speaks_of_subjects(folder):
    record, found = evaluated(folder, "test")
    assert record["intervals_95"]["unit"] == "subjects"
    assert record["intervals_95"]["units"] == len(set(found.subjects))
    low, high = record["intervals_95"]["bounds"]["accuracy"]
    assert 0 <= low <= record["accuracy"] <= high <= 1
    (target,) = [path for path in (folder / "evaluation").iterdir() if path.name[:4] == "test"]
    lines = (target / "subjects.csv").read_text().splitlines()[1:]
    assert {line.split(",")[0] for line in lines} == set(found.subjects)
    assert record["subjects"]["count"] == len(lines)
    for name in ("confusion", "roc", "pr", "reliability", "subjects"):
        with Image.open(target / f"{name}.png") as plot:
            assert plot.size[0] > 100


def test_baselines_are_those_of_the_pictures(folder):
    run = workdir.load(folder)
    data_set = synthetic.load(run.config.data.root)
    split = split_file.load(folder / workdir.SPLIT, data_set)
    record, found = evaluated(folder, "test")
    majority = shortcuts.majority(data_set.labels[split.indices("train")], len(found.labels))
    assert record["baselines"]["commonest class"] == np.mean(majority == found.labels)
    assert 0 <= record["baselines"]["colour only (nearest neighbour)"] <= 1


def test_a_checkpoint_is_chosen_by_name_or_by_step(folder):
    latest, best = checkpoints.find(folder, "latest"), checkpoints.find(folder, "best")
    record, at_latest = evaluated(folder, "test", "latest")
    assert record["checkpoint"] == latest
    record, at_step = evaluated(folder, "test", str(latest))
    assert record["checkpoint"] == latest
    assert at_step.probabilities.tobytes() == at_latest.probabilities.tobytes()
    record, _ = evaluated(folder, "test", "best")
    assert record["checkpoint"] == best


def test_scores_of_the_journal_are_those_of_evaluate(folder):
    lines = (folder / "journal.jsonl").read_text().splitlines()
    epochs = [record for record in map(json.loads, lines) if record["kind"] == "epoch"]
    record, _ = evaluated(folder, "validation", "latest")
    last = epochs[-1]
    assert last["step"] == record["checkpoint"]
    for name in ("accuracy", "f1_macro", "auroc", "loss", "confusion", "per_class"):
        assert last[f"validation_{name}"] == record[name], name


def test_pictures_that_have_moved_are_found_with_data(folder, tmp_path):
    run = workdir.load(folder)
    moved, copy = tmp_path / "elsewhere", tmp_path / "run"
    shutil.copytree(run.config.data.root, moved)
    shutil.copytree(folder, copy)
    plain = dataclasses.replace(run.config.data, root=str(tmp_path / "gone"))
    lost = dataclasses.replace(run.config, data=plain)
    (copy / workdir.CONFIG).write_text(lost.to_json())
    _, here = evaluated(folder, "test")
    _, there = evaluated(copy, "test", root=str(moved))
    assert there.probabilities.tobytes() == here.probabilities.tobytes()
    assert there.names == here.names
    (next(moved.rglob("*.png"))).unlink()
    with pytest.raises(UserError, match=r"doesn't fit the data set.*1 mismatches: .* isn't in"):
        evaluate.evaluate(copy, "test", "best", str(moved))


def test_predict_agrees_with_evaluate_on_files_of_any_order(folder):
    run = workdir.load(folder)
    _, found = evaluated(folder, "test")
    root = f"{run.config.data.root}/Original"
    backwards = [f"{root}/{name}" for name in reversed(found.names)]
    predicted, bad = predict.predict(folder, backwards, "best")
    assert bad == []
    assert predicted.names == tuple(backwards)
    assert predicted.probabilities[::-1].tobytes() == found.probabilities.tobytes()
    np.testing.assert_allclose(predicted.probabilities.sum(1), 1, rtol=0, atol=1e-12)
    alone, _ = predict.predict(folder, backwards[:1], "best")
    np.testing.assert_allclose(
        alone.probabilities, predicted.probabilities[:1], rtol=1e-5, atol=1e-7
    )


def test_views_are_averaged_and_said(folder):
    evaluate.evaluate(folder, "test", "best", "", "dihedral8")
    step = checkpoints.find(folder, "best")
    target = folder / "evaluation" / f"test-step{step}-dihedral8"
    record = json.loads((target / "scores.json").read_text())
    assert record["tta"] == "dihedral8"
    assert record["title"].endswith(f"step {step}, dihedral8")
    found = predictions.load_csv(target / "predictions.csv")
    paths = [str(folder.parent / "drawn" / "Original" / name) for name in found.names]
    predicted, _ = predict.predict(folder, paths, "best", "dihedral8")
    assert predicted.probabilities.tobytes() == found.probabilities.tobytes()
    _, plain = evaluated(folder, "test")
    assert not np.array_equal(plain.probabilities, found.probabilities)


@pytest.fixture(scope="module")
def sibling(folder, tmp_path_factory):
    """A run on the same pictures with other weights, worse for its few steps."""
    run = workdir.load(folder)
    settings = programs.tiny_config(run.config.data.root)
    settings.seed, settings.train.epochs = 5, 1.0
    other = tmp_path_factory.mktemp("sibling") / "run"
    train.train(settings, other, programs.quiet())
    return other


@pytest.mark.parametrize("by", ["mean", "kappa"])
def test_several_runs_predict_together(folder, sibling, tmp_path, by):
    for one in (folder, sibling):
        evaluated(one, "validation")
    members = [evaluated(one, "test")[1] for one in (folder, sibling)]
    validation = [evaluated(one, "validation")[1] for one in (folder, sibling)]
    names = [str(one) for one in (folder, sibling)]
    with flagsaver.flagsaver(ensemble=by, out=str(tmp_path / "together")):
        assert evaluate.main(names) == 0
    found = predictions.load_csv(tmp_path / "together" / "predictions.csv")
    wanted = ensemble.combine(members, by, validation)
    assert found.probabilities.tobytes() == wanted.probabilities.tobytes()
    assert (found.names, found.subjects) == (wanted.names, wanted.subjects)
    record = json.loads((tmp_path / "together" / "scores.json").read_text())
    assert (record["ensemble"], record["members"]) == (by, names)
    assert record["accuracy"] == np.mean(wanted.predicted == wanted.labels)
    if by == "kappa":
        assert record["weights"] == ensemble.kappa_weights(validation).tolist()


def test_only_the_best_runs_on_validation_are_kept(folder, sibling):
    runs = [sibling, folder]
    validation = [evaluated(one, "validation")[1] for one in runs]
    (best,) = ensemble.select(validation, most=1)
    evaluate.evaluate_together(runs, "test", "best", "", by="mean", keep=1)
    (target,) = runs[best].glob("evaluation/test-mean-*")
    record = json.loads((target / "scores.json").read_text())
    assert record["members"] == [str(runs[best])]
    found = predictions.load_csv(target / "predictions.csv")
    _, alone = evaluated(runs[best], "test")
    np.testing.assert_array_equal(found.probabilities, alone.probabilities)
