"""A run that is cut short and started again ends as if nothing had happened, to the last bit."""

import contextlib
import dataclasses
import json
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
import pytest
from orbax.checkpoint import v1 as ocp

from jaxall import stopping
from jaxall.data import synthetic
from jaxall.runs import runlog
from jaxall.training import checkpoints, journal
from tests import miniature, programs, tiny

EPOCHS, EPOCH = 4, 8  # epochs, and the steps of each
STEPS = EPOCHS * EPOCH
# Of the compiled programs, what pmap and shard_map call the training step's.
STEP_PROGRAMS = ("jit__fun", "pmap_", "jit_train_step")


@dataclasses.dataclass(frozen=True)
class Place:
    """Where this module's runs are, their pictures, and the programs that they compile."""

    folder: pathlib.Path

    @property
    def cache(self) -> pathlib.Path:
        return self.folder / "cache"

    def command(self, run: str, *flags: str) -> list[str]:
        """Trains in `run`: augmentation, dropout, stochastic depth, a cosine after a warm-up."""
        settings = {
            "model.name": miniature.NAME,
            "data.root": self.folder / "drawn",
            "preprocessing.image_size": 33,
            "train.batch_size": 8,
            "train.epochs": float(EPOCHS),
            "train.log_every": 1,
            "loader.threads": 1,
        }
        return [
            *(sys.executable, "-m", "tests.miniature", "train"),
            *("--config", str(programs.ROOT / "configs" / "quickstart.py")),
            *("--workdir", str(self.folder / run)),
            *(f"--config.{name}={value}" for name, value in settings.items()),
            *flags,
        ]

    @contextlib.contextmanager
    def start(self, run: str, *flags: str, devices: int = 2) -> Iterator[subprocess.Popen]:
        """A process that does not outlive the block."""
        count = f"--xla_force_host_platform_device_count={devices}"
        environment = {
            **programs.environment(self.cache),
            "XLA_FLAGS": count,
            "no_proxy": "127.0.0.1",  # hosts find each other by gRPC, which asks a proxy otherwise
        }
        process = subprocess.Popen(
            self.command(run, *flags),
            cwd=programs.ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        with process:
            try:
                yield process
            finally:
                process.kill()

    def finish(self, run: str, *flags: str) -> str:
        """What a run that succeeds says."""
        with self.start(run, *flags) as process:
            return succeed(process)

    def interrupt(
        self,
        run: str,
        *flags: str,
        when: Callable[[pathlib.Path], bool],
        by: signal.Signals,
    ) -> tuple[int, str]:
        """Starts a run and sends it a signal; its exit code and output."""
        deadline = time.monotonic() + 300
        with self.start(run, *flags) as process:
            while not when(self.folder / run):
                assert time.monotonic() < deadline, "the run did not get so far in time"
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(0.005)
                    raise AssertionError(process.communicate())
            process.send_signal(by)
            output, _ = process.communicate()
            return process.returncode, output

    def programs(self) -> set[str]:
        """The training steps that were compiled so far."""
        found = (path.name for path in (self.cache / "compiled").iterdir())
        return {name for name in found if name.startswith(STEP_PROGRAMS)}


def succeed(process: subprocess.Popen) -> str:
    output, problems = process.communicate()
    assert process.returncode == 0, problems
    return output


def last_step(run: pathlib.Path) -> int:
    return max((record["step"] for record in journal.read(run)), default=0)


def steps_kept(run: pathlib.Path) -> list[int]:
    folder = run / checkpoints.FOLDER
    names = [path.name for path in folder.iterdir()] if folder.exists() else []
    return sorted(int(name) for name in names if name.isdecimal())


def whole(run: pathlib.Path, which: str) -> Any:
    """Everything that a checkpoint holds, by name."""
    path = run / checkpoints.FOLDER / str(checkpoints.find(run, which))
    device = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    tree = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=device),
        ocp.metadata(str(path)).metadata,
    )
    return ocp.load(str(path), tree)


def without_clock(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {k: v for k, v in record.items() if k not in runlog.OF_THE_MACHINE} for record in records
    ]


def went_on_from(output: str) -> int:
    (line,) = [line for line in output.splitlines() if line.startswith("going on from step ")]
    return int(line.split()[4])


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    folder = tmp_path_factory.mktemp("resume")
    synthetic.write(folder / "drawn", subjects_per_class=6, pictures_per_subject=4, size=40)
    return Place(folder)


@pytest.fixture(scope="module")
def unbroken(place: Place) -> pathlib.Path:
    # Their compilations share the cores better side by side.
    other = place.start("mapped", "--config.train.parallel=shard_map")
    with place.start("unbroken") as process, other as mapped:
        succeed(process)
        succeed(mapped)
    return place.folder / "unbroken"


@dataclasses.dataclass(frozen=True)
class Broken:
    """A run that was cut short three times.

    Attributes:
        run: its folder.
        outputs: of the second, third and last start.
        stopped: exit code after SIGTERM, and the newest checkpoint that it left.
        compiled: steps that its four starts compiled, beyond those of the unbroken runs.
    """

    run: pathlib.Path
    outputs: tuple[str, str, str]
    stopped: tuple[int, int]
    compiled: set[str]


@pytest.fixture(scope="module")
def broken(place: Place, unbroken: pathlib.Path) -> Broken:
    run, before = place.folder / "broken", place.programs()
    # Killed inside the second epoch, once the first is saved, ...
    code, _ = place.interrupt(
        "broken",
        when=lambda run: last_step(run) > EPOCH and bool(steps_kept(run)),
        by=signal.SIGKILL,
    )
    assert code == -signal.SIGKILL
    # ... killed again, now with a checkpoint inside the epoch, ...
    code, second = place.interrupt(
        "broken",
        "--config.train.checkpoint_every=3",
        when=lambda run: any(step % EPOCH for step in steps_kept(run)),
        by=signal.SIGKILL,
    )
    assert code == -signal.SIGKILL
    # ... and asked to stop.
    code, third = place.interrupt(
        "broken", when=lambda run: last_step(run) > 2 * EPOCH, by=signal.SIGTERM
    )
    stopped = code, steps_kept(run)[-1]
    last = place.finish("broken")
    return Broken(run, (second, third, last), stopped, place.programs() - before)


def test_a_killed_run_goes_on_from_the_end_of_an_epoch(broken: Broken):
    assert went_on_from(broken.outputs[0]) % EPOCH == 0


def test_a_killed_run_goes_on_from_inside_an_epoch_where_it_was_saved_there(broken: Broken):
    step = went_on_from(broken.outputs[1])
    assert step % EPOCH
    assert step % 3 == 0


def test_a_run_that_is_asked_to_stop_saves_and_goes_on_from_there(broken: Broken):
    code, step = broken.stopped
    assert code == 143
    assert "stopped as asked; the state is saved" in broken.outputs[1]
    assert 2 * EPOCH < step < STEPS
    assert went_on_from(broken.outputs[2]) == step


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_is_asked_for_once_and_ctrl_c_twice_is_at_once(number, capsys):
    before = {n: signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)}
    requests = stopping.StopRequests()
    try:
        must_stop = requests.watch()
        assert not must_stop(1)
        signal.raise_signal(number)
        assert must_stop(2)
        assert must_stop(3)
        assert requests.exit_code == 128 + number
        if number == signal.SIGINT:
            assert capsys.readouterr().err == "stopping after this step; Ctrl-C again: at once\n"
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(number)
    finally:
        for n, handler in before.items():
            signal.signal(n, handler)


@pytest.mark.parametrize("which", ["latest", "best"])
def test_a_run_that_was_cut_short_ends_with_the_same_bits(
    which: str, unbroken: pathlib.Path, broken: Broken
):
    assert checkpoints.find(unbroken, which) == checkpoints.find(broken.run, which)
    wanted = whole(unbroken, which)
    assert {"params", "batch_stats", "opt_state", "step", "tally"} == set(wanted)
    assert int(wanted["step"]) == checkpoints.find(unbroken, which)
    assert tiny.bits(whole(broken.run, which)) == tiny.bits(wanted)


def test_the_last_state_is_that_of_the_last_step(unbroken: pathlib.Path):
    assert int(whole(unbroken, "latest")["step"]) == STEPS
    assert STEPS - EPOCH in steps_kept(unbroken)


@pytest.mark.parametrize(("kind", "count"), [("step", STEPS), ("epoch", EPOCHS)])
def test_a_run_that_was_cut_short_tells_the_same_story(
    kind: str, count: int, unbroken: pathlib.Path, broken: Broken
):
    wanted = without_clock(journal.read(unbroken, kind))
    assert len(wanted) == count
    assert without_clock(journal.read(broken.run, kind)) == wanted


def test_a_run_that_goes_on_compiles_no_other_step(place: Place, broken: Broken):
    assert broken.compiled == set()
    assert place.programs()


def test_shard_map_ends_with_the_bits_of_pmap(place: Place, unbroken: pathlib.Path):
    mapped = place.folder / "mapped"
    assert tiny.bits(whole(mapped, "latest")) == tiny.bits(whole(unbroken, "latest"))
    for kind in ("step", "epoch"):
        wanted = without_clock(journal.read(unbroken, kind))
        assert without_clock(journal.read(mapped, kind)) == wanted


def test_a_finished_run_has_nothing_left_to_do(place: Place, unbroken: pathlib.Path):
    again = place.folder / "again"
    shutil.copytree(unbroken, again)

    def content() -> dict[str, bytes]:
        kept = [again / journal.FILE, *(again / checkpoints.FOLDER).rglob("*")]
        return {str(path): path.read_bytes() for path in kept if path.is_file()}

    before = content()
    said = place.finish("again")
    assert f"nothing left to do: all {EPOCHS} epochs are done" in said
    assert "going on from" not in said
    assert content() == before


def test_a_damaged_checkpoint_stops_the_run_and_says_what_to_delete(
    place: Place, unbroken: pathlib.Path
):
    shutil.copytree(unbroken, place.folder / "damaged")
    newest = place.folder / "damaged" / checkpoints.FOLDER / str(STEPS)
    for file in newest.glob("state/**/d/*"):
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with place.start("damaged") as process:
        _, problems = process.communicate()
    assert process.returncode == 2
    (told,) = [line for line in problems.splitlines() if line.startswith("error: ")]
    assert f"checkpoint {newest} can't be read" in told
    assert f"delete that folder, and the run goes on from step {STEPS - EPOCH}" in told
    assert newest.exists()


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@pytest.mark.parametrize("kind", ["pmap", "shard_map"])
def test_two_hosts_train_as_one(kind: str, place: Place, unbroken: pathlib.Path):
    run = f"hosts-{kind}"
    hosts = (f"--coordinator=127.0.0.1:{free_port()}", "--processes=2")
    flags = (f"--config.train.parallel={kind}", *hosts)
    with (
        place.start(run, *flags, "--process=0", devices=1) as first,
        place.start(run, *flags, "--process=1", devices=1) as second,
    ):
        said, other = succeed(first), succeed(second)

    # Only the first speaks and writes.
    assert "next: python -m jaxall.evaluate" in said
    assert "quickstart" not in other
    records = journal.read(place.folder / run)
    assert [record["step"] for record in records if record["kind"] == "step"] == list(
        range(1, STEPS + 1)
    )
    assert len(list((place.folder / run / "tensorboard").iterdir())) == 1

    alone = journal.read(unbroken)
    for name, start in (("loss", 1e-5), ("gradient_norm", 1e-4)):
        wanted, found = (
            np.array([record[name] for record in told if record["kind"] == "step"])
            for told in (alone, records)
        )
        np.testing.assert_allclose(found[0], wanted[0], rtol=start)
        np.testing.assert_allclose(found, wanted, rtol=1e-2)
    for wanted, found in zip(
        journal.read(unbroken, "epoch"), journal.read(place.folder / run, "epoch"), strict=True
    ):
        for name in ("train_loss", "validation_loss"):
            assert found[name] == pytest.approx(wanted[name], rel=1e-3)
    split = "split.csv"
    assert (place.folder / run / split).read_text() == (unbroken / split).read_text()
    assert json.loads((place.folder / run / "run.json").read_text())["class_names"]
