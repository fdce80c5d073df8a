"""Stages, averages, plateaus and early ends of whole runs: cut short anywhere, nothing changes."""

import dataclasses
import io
import itertools
import pathlib
import shutil
from typing import Any

import jax
import numpy as np
import pytest
from orbax.checkpoint import v1 as ocp
from rich import console as rich_console

from jaxall import config, evaluate, train
from jaxall.data import synthetic
from jaxall.errors import UserError
from jaxall.evaluation import scores
from jaxall.runs import runlog
from jaxall.training import checkpoints, journal, loop
from tests import programs, tiny

EDGE = 4  # step: the second stage begins inside an epoch, ...
LATER_EDGE = 12  # ... and the rest of the run with one
EPOCHS = 3


pytestmark = pytest.mark.usefixtures("tiny_network")


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    root = tmp_path_factory.mktemp("drawn") / "drawn"
    synthetic.write(root, subjects_per_class=6, pictures_per_subject=3, size=40)
    return root


def staged(drawn: pathlib.Path) -> config.Config:
    """Everything at once: stages, groups, averages, a plateau that falls early."""
    made = programs.tiny_config(drawn, (config.FlipHorizontal(),))
    made.optim = config.OptimSettings(
        learning_rate=1e-2,
        weight_decay=1e-2,
        schedule="plateau",
        plateau_patience=0,
        groups=(config.Group(pattern="backbone/.*", factor=0.1),),
    )
    made.train = config.TrainSettings(
        batch_size=8,
        epochs=float(EPOCHS),
        ema=0.9,
        log_every=1,
        stages=(
            config.Stage(epochs=0.6, trainable=("head/.*",)),
            config.Stage(
                epochs=1.4,
                trainable=("head/.*", "backbone/(conv1|norm1)/.*"),
                factor=0.5,
                batch_norm="frozen",
            ),
        ),
    )
    made.validate()
    return made


def run(made: config.Config, folder: pathlib.Path, stop: int = 0) -> str:
    """Trains, up to a step if one is given; what it said."""
    said = io.StringIO()
    console = rich_console.Console(file=said, width=110)
    try:
        train.train(made, folder, console, lambda: lambda step: step == stop)
    except loop.Terminated:
        assert stop
    return said.getvalue()


def whole(folder: pathlib.Path, which: str = "latest") -> Any:
    path = folder / checkpoints.FOLDER / str(checkpoints.find(folder, which))
    device = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    tree = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=device),
        ocp.metadata(str(path)).metadata,
    )
    return ocp.load(str(path), tree)


def told(folder: pathlib.Path) -> list[dict[str, Any]]:
    return [
        {key: value for key, value in record.items() if key not in runlog.OF_THE_MACHINE}
        for record in journal.read(folder)
    ]


@pytest.fixture(scope="module")
def unbroken(drawn: pathlib.Path, tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("unbroken") / "run"
    said = run(staged(drawn), folder)
    assert f"after step 0: head/.* (52 of {52 + 8 * 27 + 12 * 72 + 40:,} parameters)" in said
    assert f"after step {EDGE}: head/.* backbone/(conv1|norm1)/.* (" in said
    assert "parameters), learning rate x 0.5, batch statistics frozen" in said
    return folder


@pytest.fixture(scope="module")
def broken(drawn: pathlib.Path, unbroken: pathlib.Path, tmp_path_factory) -> pathlib.Path:
    """Stopped exactly at an edge, one step behind it, and inside the last part."""
    folder = tmp_path_factory.mktemp("broken") / "run"
    for stop in (EDGE, EDGE + 1, LATER_EDGE + 2):
        run(staged(drawn), folder, stop)
        assert int(whole(folder)["step"]) == stop
    said = run(staged(drawn), folder)
    assert f"going on from step {LATER_EDGE + 2}" in said
    return folder


@pytest.mark.parametrize("which", ["latest", "best"])
def test_stages_that_are_cut_short_end_with_the_same_bits(which, unbroken, broken):
    assert checkpoints.find(unbroken, which) == checkpoints.find(broken, which)
    wanted = whole(unbroken, which)
    assert "ema" in wanted
    assert tiny.bits(whole(broken, which)) == tiny.bits(wanted)


def test_stages_that_are_cut_short_tell_the_same_story(unbroken, broken):
    assert told(broken) == told(unbroken)


def test_the_journal_tells_the_rate_of_each_step(unbroken):
    """The stage's factor, and a fall after each epoch whose score was not better."""
    scale, best, rates = 1.0, -1.0, {}
    for record in told(unbroken):
        if record["kind"] == "step":
            step = record["step"]
            factor = 0.5 if EDGE < step <= LATER_EDGE else 1.0
            rates[step] = (record["learning_rate"], 1e-2 * factor * scale)
        elif record["kind"] == "epoch":
            score = record["validation_f1_macro"]
            scale, best = (scale, score) if score > best else (scale * 0.1, best)
    found, wanted = np.array(list(rates.values())).T
    np.testing.assert_allclose(found, wanted, rtol=1e-5)


def test_a_finished_run_says_that_nothing_is_left_to_do(drawn, unbroken):
    before = (unbroken / journal.FILE).read_bytes()
    said = run(staged(drawn), unbroken)
    assert f"nothing left to do: all {EPOCHS} epochs are done" in said
    assert (unbroken / journal.FILE).read_bytes() == before


def test_averages_are_judged_and_raw_weights_can_be_asked_for(unbroken):
    last = journal.read(unbroken, "epoch")[-1]
    losses = {}
    for weights in ("judged", "ema", "raw"):
        out = unbroken / "out" / weights
        evaluate.evaluate(unbroken, "validation", "latest", "", "none", out, weights)
        text = (out / "scores.json").read_text()
        losses[weights] = float(text.split('"loss": ')[1].split(",")[0].split("\n")[0])
    assert losses["judged"] == losses["ema"] == pytest.approx(last["validation_loss"])
    assert losses["raw"] != losses["judged"]


def test_a_run_that_gets_no_better_ends_early_and_is_complete(drawn, tmp_path):
    made = programs.tiny_config(drawn)
    # A rate of nearly nothing: the scores stay what they were.
    made.optim = config.OptimSettings(learning_rate=1e-12)
    made.train = dataclasses.replace(made.train, epochs=9.0, patience=2, batch_norm="frozen")
    made.validate()
    folder = tmp_path / "run"
    length = 3
    run(made, folder, stop=2 * length + 1)  # once early on, ...
    said = run(made, folder)
    reason = "stopped early at epoch 3: 2 epochs without a better validation f1_macro"
    assert reason in said
    assert len(journal.read(folder, "epoch")) == 3
    before = (folder / journal.FILE).read_bytes()
    again = run(made, folder)  # ... and once more
    assert f"nothing left to do: {reason}" in again
    assert "going on from" not in again
    assert (folder / journal.FILE).read_bytes() == before
    assert checkpoints.find(folder, "latest") == 3 * length


def test_early_stopping_misses_a_journal_that_is_gone(drawn, tmp_path):
    made = programs.tiny_config(drawn)
    made.train = dataclasses.replace(made.train, epochs=4.0, patience=3)
    run(made, tmp_path / "run", stop=7)
    (tmp_path / "run" / journal.FILE).unlink()
    with pytest.raises(UserError, match=r"has the scores of 0 of the 2 epochs behind the run"):
        run(made, tmp_path / "run")


def test_a_run_does_not_end_early_within_a_stage(drawn, tmp_path):
    made = programs.tiny_config(drawn)
    made.optim = config.OptimSettings(learning_rate=1e-12)
    stage = config.Stage(epochs=3.0, trainable=("head/.*",), batch_norm="frozen")
    made.train = dataclasses.replace(
        made.train, epochs=9.0, patience=2, batch_norm="frozen", stages=(stage,)
    )
    said = run(made, tmp_path / "run")
    # The first epoch of all is the best that there is.
    assert "stopped early at epoch 6: 2 epochs without a better validation f1_macro" in said


def test_a_run_that_ends_as_it_would_have_is_not_called_early(drawn, tmp_path):
    made = programs.tiny_config(drawn)
    made.optim = config.OptimSettings(learning_rate=1e-12)
    made.train = dataclasses.replace(made.train, epochs=3.0, patience=2, batch_norm="frozen")
    assert "early" not in run(made, tmp_path / "run")
    assert "nothing left to do: all 3 epochs are done" in run(made, tmp_path / "run")


@pytest.mark.parametrize("best_by", ["loss", "f1_macro"])
def test_the_best_checkpoint_is_that_of_the_best_epoch(drawn, tmp_path, best_by):
    made = programs.tiny_config(drawn)
    made.optim = config.OptimSettings(learning_rate=0.3)
    made.train = dataclasses.replace(made.train, epochs=5.0, best_by=best_by)
    run(made, tmp_path / "run")
    epochs = journal.read(tmp_path / "run", "epoch")
    best = scores.best(epochs, f"validation_{best_by}")
    assert best is not None
    assert checkpoints.find(tmp_path / "run", "best") == epochs[best]["step"]


def test_a_stage_that_matches_no_parameter_is_refused_before_anything_is_trained(drawn, tmp_path):
    made = staged(drawn)
    made.train.stages[1].trainable = ("backbone/block1/.*",)
    line = r"^train.stages\[1\].trainable\[0\]: 'backbone/block1/.\*' matches no parameter; the"
    with pytest.raises(UserError, match=line):
        run(made, tmp_path / "run")
    shutil.rmtree(tmp_path / "run")


def test_edges_are_where_the_tests_think_they_are(unbroken):
    ends = [record["step"] for record in journal.read(unbroken, "epoch")]
    assert EDGE not in ends
    assert ends[1] == LATER_EDGE
    assert all(early < late for early, late in itertools.pairwise(ends))
