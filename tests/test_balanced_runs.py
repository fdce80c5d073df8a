"""Runs that balance classes and subjects, weigh the loss and mix pictures; in process."""

import dataclasses
import json
import pathlib

import jax
import pytest
from sklearn import metrics as sk

from jaxall import config, evaluate, train
from jaxall.data import synthetic
from jaxall.errors import UserError
from jaxall.evaluation import predictions
from jaxall.runs import assembly, runlog, workdir
from jaxall.training import checkpoints, journal, loop
from tests import programs, tiny
from tests.test_resume import whole

pytestmark = pytest.mark.usefixtures("tiny_network")


@pytest.fixture(scope="module")
def drawn(tmp_path_factory) -> pathlib.Path:
    root = tmp_path_factory.mktemp("balanced") / "drawn"
    synthetic.write(root, subjects_per_class=5, pictures_per_subject=4, size=40)
    return root


def settings(root: pathlib.Path) -> config.Config:
    made = programs.tiny_config(root, (config.FlipHorizontal(),))
    made.balance = config.BalanceSettings(sampling="subject")
    made.loss = config.LossSettings(class_weights="sqrt", focal_gamma=1.0, label_smoothing=0.1)
    made.mixing = config.MixingSettings(mixup=0.2, cutmix=1.0)
    made.validate()
    return made


def run(made: config.Config, folder: pathlib.Path, stop_after: int | None = None) -> None:
    with workdir.locked(folder):
        train.train(made, folder, programs.quiet(), lambda: lambda step: step == stop_after)


@pytest.fixture(scope="module")
def unbroken(drawn) -> pathlib.Path:
    run(settings(drawn), drawn.parent / "unbroken")
    return drawn.parent / "unbroken"


def test_a_run_that_was_cut_short_ends_with_the_same_bits(drawn, unbroken):
    folder = drawn.parent / "broken"
    with pytest.raises(loop.Terminated):
        run(settings(drawn), folder, stop_after=2)
    run(settings(drawn), folder)
    assert tiny.bits(whole(folder, "latest")) == tiny.bits(whole(unbroken, "latest"))
    found, wanted = (
        [
            {k: v for k, v in record.items() if k not in runlog.OF_THE_MACHINE}
            for record in journal.read(where)
        ]
        for where in (folder, unbroken)
    )
    assert found == wanted


def test_what_is_drawn_is_written_down_once(drawn, unbroken):
    material = assembly.resume(workdir.load(unbroken), str(drawn), ("train",))
    counts = material.draws(settings(drawn).balance).effective_counts()
    assert counts["sampling"] == "subject"
    assert json.loads((unbroken / workdir.FACTS).read_text())["sampling"] == counts
    assert journal.read(unbroken, "sampling") == [{"kind": "sampling", "step": 0, **counts}]


def test_validation_is_judged_by_plain_cross_entropy(unbroken):
    evaluate.evaluate(unbroken, "validation", "latest", "")
    step = checkpoints.find(unbroken, "latest")
    table = unbroken / "evaluation" / f"validation-step{step}" / "predictions.csv"
    judged = predictions.load_csv(table)
    plain = sk.log_loss(judged.labels, judged.probabilities)
    assert journal.read(unbroken, "epoch")[-1]["validation_loss"] == pytest.approx(plain)


def test_an_epoch_is_as_long_as_its_draws(drawn):
    made = settings(drawn)
    made.balance.sampling, made.loss.class_weights = "oversample", "none"
    made.train.epochs = 1.0
    folder = drawn.parent / "oversampled"
    run(made, folder)
    counts = json.loads((folder / workdir.FACTS).read_text())
    largest = max(cells["train"] for cells in counts["data"]["counts"].values())
    assert counts["sampling"]["epoch"] == 4 * largest
    assert journal.read(folder, "epoch")[-1]["step"] == -(-4 * largest // 16)
    assert jax.device_get(whole(folder, "latest")["step"]) == -(-4 * largest // 16)


def test_pictures_without_subjects_are_refused_before_the_run_is_set_up(drawn, monkeypatch):
    made = settings(drawn)
    load = synthetic.load

    def without_subjects(root):
        found = load(root)
        rows = tuple(dataclasses.replace(row, subject="") for row in found.rows)
        return dataclasses.replace(found, rows=rows)

    monkeypatch.setattr(synthetic, "load", without_subjects)
    folder = drawn.parent / "refused"
    told = r"^balance\.sampling=subject needs the subject of every picture, .*: use another of none"
    with pytest.raises(UserError, match=told):
        run(made, folder)
    assert not workdir.exists(folder)
