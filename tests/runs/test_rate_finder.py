"""--find-lr: the sweep's suggestions, and a whole sweep as train runs it."""

import dataclasses
import io
import math

import numpy as np
import pytest
from PIL import Image
from rich import console as rich_console

from jaxall import config
from jaxall.data import synthetic
from jaxall.errors import UserError
from jaxall.runs import rate_finder
from jaxall.training import checkpoints
from tests import programs


def made(losses) -> rate_finder.RateSweep:
    count = len(losses)
    rates = np.geomspace(1e-7, 1.0, count).tolist()
    return rate_finder.RateSweep(rates=rates, losses=list(losses))


def test_the_smoothed_loss_is_the_weighted_mean_of_the_losses_so_far():
    losses = np.random.default_rng(0).uniform(1, 2, 20)
    wanted = [
        np.average(losses[: n + 1], weights=rate_finder.KEPT ** np.arange(n, -1, -1))
        for n in range(20)
    ]
    np.testing.assert_allclose(made(losses).smoothed, wanted)


def test_the_suggestions_are_the_steepest_descent_and_a_tenth_of_the_lowest():
    # Level up to 1e-4, a slope, the lowest place near 1e-2, then up again.
    powers = np.linspace(-7, 0, 100)
    losses = 2 - 1 / (1 + np.exp(-6 * (powers + 3.5))) + np.exp(4 * (powers + 1))
    sweep = made(losses)
    assert 1e-4 < sweep.steepest < 3e-3
    lowest = sweep.rates[int(sweep.smoothed.argmin())]
    assert 3e-3 < lowest < 0.1
    assert sweep.tenth == pytest.approx(lowest / 10)


def test_one_batchs_luck_is_not_the_steepest_descent():
    # The loss falls slowly from 1e-5 to 1e-3, where a single batch is far better than the others.
    powers = np.linspace(-7, 0, 100)
    losses = 2 - np.clip((powers + 5) / 2, 0, 1)
    losses[85] -= 0.9
    sweep = made(losses)
    assert 1e-5 < sweep.steepest < 3e-3
    assert sweep.is_clear


def test_a_fall_within_the_batches_differences_is_not_clear():
    noise = np.random.default_rng(0).normal(2, 0.3, 100)
    assert not made(noise - np.linspace(0, 0.05, 100)).is_clear


def test_where_the_loss_never_falls_there_is_no_suggestion():
    sweep = made(np.linspace(1, 2, 50))
    assert math.isnan(sweep.steepest)
    assert math.isnan(sweep.tenth)


def test_the_rates_ascend_from_the_lowest_to_the_highest():
    found = [float(rate_finder.rate_at(step)) for step in range(rate_finder.STEPS)]
    assert found[0] == pytest.approx(1e-7, rel=1e-4)
    assert found[-1] == pytest.approx(1.0, rel=1e-4)
    np.testing.assert_allclose(np.diff(np.log(found)), np.log(1e7) / 99, rtol=1e-2)


@pytest.fixture
def settings(monkeypatch, tmp_path) -> config.Config:
    programs.register_tiny(monkeypatch)
    synthetic.write(tmp_path / "drawn", subjects_per_class=5, pictures_per_subject=2, size=40)
    return programs.tiny_config(tmp_path / "drawn")


def test_a_sweep_prints_a_rate_and_keeps_no_checkpoint(settings, tmp_path):
    settings.train = dataclasses.replace(settings.train, batch_size=8)
    said, folder = io.StringIO(), tmp_path / "run"
    sweep = rate_finder.learning_rate(settings, folder, rich_console.Console(file=said, width=110))
    rate = float(said.getvalue().splitlines()[-1].partition("--config.optim.learning_rate=")[2])
    assert rate == pytest.approx(min(sweep.steepest, sweep.tenth), rel=0.05)
    assert 1e-7 < rate < 1
    lines = (folder / rate_finder.TABLE).read_text().splitlines()
    assert lines[0] == "learning_rate,loss,smoothed"
    assert len(lines) == len(sweep.rates) + 1
    with Image.open(folder / rate_finder.PLOT) as plot:
        assert plot.format == "PNG"
    assert not (folder / checkpoints.FOLDER).exists()


def test_a_sweep_in_which_nothing_is_learned_is_told(monkeypatch, tmp_path):
    flat = made(np.linspace(1, 2, 50))
    monkeypatch.setattr(rate_finder, "_sweep", lambda *_: flat)
    monkeypatch.setattr(rate_finder.parallel, "check_batch_size", lambda *_: None)
    line = r"^the loss falls at no rate from 1e-07 to 1, see .*lr_finder.png: are data, weights"
    with pytest.raises(UserError, match=line):
        rate_finder.learning_rate(config.Config(name="a"), tmp_path, programs.quiet())
    assert (tmp_path / rate_finder.TABLE).exists()
