"""--probe-batch, as train runs it."""

import dataclasses
import io

import jax
import pytest
from absl.testing import flagsaver
from rich import console as rich_console

from jaxall import config, runtime, train
from jaxall.data import pipeline
from jaxall.errors import UserError
from jaxall.runs import probing
from jaxall.training import plan
from tests import programs


@pytest.fixture
def made(monkeypatch, tmp_path) -> config.Config:
    programs.register_tiny(monkeypatch)
    return programs.tiny_config(tmp_path / "no pictures here")


def console() -> rich_console.Console:
    return rich_console.Console(file=io.StringIO(), width=100)


@pytest.mark.parametrize("kind", plan.PARALLEL)
def test_the_largest_batch_is_printed_and_fits(made, kind):
    settings = dataclasses.replace(made.train, parallel=kind, accumulate=2)
    made = dataclasses.replace(made, train=settings)
    shown = console()
    largest = probing.largest_batch(made, shown, 1_500_000)
    said = shown.file.getvalue()
    assert largest % 8 == 0
    assert said.splitlines()[-1].endswith(f"--config.train.batch_size={largest}")
    rows = [line.split() for line in said.splitlines() if line.strip()[:1].isdigit()]
    assert [row[0] for row in rows][:2] == ["64", "128"]
    assert f"{largest:,}" in {row[0] for row in rows if "much" not in row}


def test_where_nothing_fits_it_says_what_may_help(made):
    with pytest.raises(UserError, match=r"not even a batch of 4 fits .*model\.remat"):
        probing.largest_batch(made, console(), 1000)


def test_on_a_cpu_pictures_kept_in_memory_leave_less_to_the_step(made, monkeypatch):
    share = 2 * 2**20 // jax.local_device_count()
    monkeypatch.setattr(probing.probe, "limit_of", lambda device: 1_000_000 + share)
    shown = []
    for mebibytes in (0, 2):
        settings = pipeline.LoaderSettings(cache_mib=mebibytes)
        shown.append(probing.largest_batch(dataclasses.replace(made, loader=settings), console()))
    assert shown[1] < shown[0]
    workers = pipeline.LoaderSettings(cache_mib=2, workers=1)  # which keep no pictures
    assert probing.largest_batch(dataclasses.replace(made, loader=workers), console()) == shown[0]


def test_on_an_accelerator_a_step_is_taken_and_one_that_fails_is_stepped_down_from(
    made, monkeypatch
):
    taken = []
    compiler = probing._compiler

    def compile_with_failure(config):
        compile_at = compiler(config)

        def at(size):
            compiled, run = compile_at(size)

            def one():
                taken.append(size)
                if len(taken) == 1:
                    raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: out of memory")
                return run()

            return compiled, one

        return at

    monkeypatch.setattr(probing, "_compiler", compile_with_failure)
    monkeypatch.setattr(probing, "_has_own_memory", lambda device: True)
    shown = console()
    largest = probing.largest_batch(made, shown, 1_000_000)
    assert taken[0] > taken[1] == largest
    assert "a step failed" in shown.file.getvalue()
    assert "a step was taken" in shown.file.getvalue()


def test_train_does_one_thing_at_a_time(made, monkeypatch, tmp_path):
    monkeypatch.setattr(runtime, "configure", lambda: None)
    monkeypatch.setattr(train, "_CONFIG", type("Holder", (), {"value": made}))
    chosen = (train._PROBE, True), (train._FOLDS, True), (train._WORKDIR, str(tmp_path / "run"))
    with (
        flagsaver.flagsaver(*chosen),
        pytest.raises(UserError, match="wanted one of --probe-batch, --folds at a time"),
    ):
        train.main([])
    assert list(tmp_path.iterdir()) == []


def test_train_probes_without_a_picture_and_writes_nothing(made, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(runtime, "configure", lambda: None)
    monkeypatch.setattr(probing.probe, "limit_of", lambda device: 500_000)
    made = dataclasses.replace(made, loader=pipeline.LoaderSettings(cache_mib=0))
    holder = type("Holder", (), {"value": made})
    monkeypatch.setattr(train, "_CONFIG", holder)
    folder = str(tmp_path / "run")
    with flagsaver.flagsaver((train._WORKDIR, folder), (train._PROBE, True)):
        assert train.main([]) == 0
    assert "--config.train.batch_size=" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []
