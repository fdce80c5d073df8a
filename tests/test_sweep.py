"""The search itself, with runs that only write journals; and once with real ones."""

import csv
import dataclasses
import json
import shlex
import signal
import sqlite3
import sys
from concurrent import futures

import numpy as np
import pytest
from absl.testing import flagsaver
from PIL import Image

from jaxall import cli, config, models, sweep
from jaxall.data import synthetic
from jaxall.errors import UserError
from jaxall.evaluation import predictions
from jaxall.evaluation import scores as scores_lib
from jaxall.reporting import sweeps as shown
from jaxall.search import studies, sweeps, trials
from jaxall.training import journal
from tests import miniature, programs

optuna = pytest.importorskip("optuna")

# ml_collections loads config files by a method that is deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:the load_module:DeprecationWarning")

QUICKSTART = str(programs.ROOT / "configs" / "quickstart.py")
SCORE, EPOCHS = "validation_f1_macro", 4
SPACE = {
    "optim.learning_rate": sweeps.Uniform(1e-5, 1e-2, log=True),
    "model.head": sweeps.Choice(("linear", "two_layer")),
}


def made(**changed):
    return dataclasses.replace(sweeps.Sweep(base=QUICKSTART, space=SPACE, seed=3), **changed)


def quality(settings):
    """The score that a run comes to, best at a learning rate of 1e-3."""
    off = abs(np.log10(settings["optim.learning_rate"]) + 3)
    return float(0.9 - 0.2 * off + 0.05 * (settings["model.head"] == "linear"))


class Run:
    """Stands for a process: at each look an epoch more is in the journal, as train would write."""

    def __init__(self, taken, scores, code=0, says=""):
        self.folder, self.scores, self.code = taken.folder, scores, code
        self.signals, self.is_killed = [], False
        taken.folder.mkdir(exist_ok=True)
        self.journal = taken.folder / "journal.jsonl"
        self.done = len(self.journal.read_text().splitlines()) if self.journal.exists() else 0
        taken.log.write_text(says)

    def poll(self):
        if self.done == len(self.scores):
            return self.code
        if self.signals:
            return 128 + self.signals[0] if self.signals[0] != signal.SIGKILL else -signal.SIGKILL
        score = self.scores[self.done]
        self.done += 1
        with self.journal.open("a") as file:
            record = {"kind": "epoch", "step": 8 * self.done, "epoch": self.done, SCORE: score}
            file.write(json.dumps(record) + "\n")
        return None

    def send_signal(self, sig):
        self.signals.append(sig)

    def wait(self):
        while (code := self.poll()) is None:
            pass
        return code


class Search:
    """Searches in a folder; `scores` makes a run's from its settings."""

    def __init__(self, folder, plan=None, scores=None, make=None):
        self.folder, self.plan = folder, plan or made()
        self.scores = scores or (lambda x: [quality(x) * n / EPOCHS for n in range(1, EPOCHS + 1)])
        self.make = make or (lambda taken: Run(taken, self.scores(taken.settings)))
        self.started = []

    def open(self):
        return studies.Study(self.folder, self.plan, sweeps.resolve(self.plan))

    def start(self, taken):
        run = self.make(taken)
        self.started.append((taken.number, run))
        return trials.Running(taken, run, self.plan.score, EPOCHS)

    def __call__(self, most, study=None, **values):
        values = {"score": self.plan.score, "pause": lambda: None, **values}
        with study or self.open() as study:
            sweep.search(study, self.start, programs.quiet(), most=most, **values)
            return study.rows()


def told(rows):
    return [(row.number, row.state, row.score, row.epochs, dict(row.settings)) for row in rows]


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    return Search(tmp_path_factory.mktemp("unbroken") / "sweep")(12)


def test_every_trial_is_run_once_and_judged_by_its_best_epoch(unbroken):
    assert [row.number for row in unbroken] == list(range(12))
    assert {row.state for row in unbroken} == {"complete"}
    assert [row.score for row in unbroken] == [quality(row.settings) for row in unbroken]
    assert {row.epochs for row in unbroken} == {EPOCHS}
    rates = [row.settings["optim.learning_rate"] for row in unbroken]
    assert len(set(rates)) == 12
    assert all(1e-5 <= rate <= 1e-2 for rate in rates)


# Of the twelve trials the last two are no longer drawn blindly.
@pytest.mark.parametrize(("moment", "most"), [(1, 2), (6, 12)])
def test_a_search_that_is_cut_off_ends_as_if_it_had_not_been(tmp_path, unbroken, moment, most):
    search, looks = Search(tmp_path / "sweep"), []

    def stops():
        return int(len(looks) >= moment)

    before = search(3, stops=stops, pause=lambda: looks.append(1))
    cut = [row for row in before if row.state == "unfinished"]
    assert len(cut) == 1
    assert search.started[-1][1].signals == [signal.SIGTERM]
    assert told(search(most)) == told(unbroken[:most])
    # It went on in its folder: no epoch was run twice.
    numbers = [number for number, _ in search.started]
    assert numbers.count(cut[0].number) == 2
    lines = (tmp_path / "sweep" / f"trial{cut[0].number:04d}" / "journal.jsonl").read_text()
    assert lines.count("\n") == EPOCHS
    search(most)
    assert [number for number, _ in search.started] == numbers, "all were finished"


def test_a_second_signal_kills(tmp_path):
    search = Search(tmp_path / "sweep", scores=lambda settings: [0.5] * 1000)
    asked = iter([0, 0, 1, 1, 2, 2, 2, 2, 2, 2, 2])

    class Deaf(Run):
        def poll(self):
            own = self.signals
            self.signals = [x for x in own if x == signal.SIGKILL]
            code = super().poll()
            self.signals = own
            return code

    search.make = lambda taken: Deaf(taken, [0.5] * 1000)
    rows = search(1, stops=lambda: next(asked))
    assert search.started[0][1].signals == [signal.SIGTERM, signal.SIGKILL]
    assert [row.state for row in rows] == ["unfinished"]


def test_a_trial_in_someones_hands_is_left_to_them_and_taken_up_when_they_are_gone(tmp_path):
    search = Search(tmp_path / "sweep")
    with search.open() as first, search.open() as second:
        mine = first.take(9)
        other = second.take(9)
        assert (mine.number, other.number) == (0, 1)
        mine.release()
        again = second.take(9)
        assert (again.number, again.settings) == (0, mine.settings)
        again.finish(0.5)
        again.release()
        assert second.take(2) is None
        other.release()


def test_the_training_process_keeps_its_trial_when_the_search_is_gone(tmp_path):
    search = Search(tmp_path / "sweep")
    with search.open() as study:
        taken = study.take(1)
        process = trials.start(["sleep", "60"], taken, 1)
        with process:
            taken.release()
            assert study.take(1) is None
            process.kill()
        again = study.take(1)
        assert again.number == 0
        again.release()


def test_workers_run_at_once(tmp_path):
    search, looks = Search(tmp_path / "sweep"), []
    search(5, workers=3, pause=lambda: looks.append([run.done for _, run in search.started]))
    assert looks[0] == [1, 1, 1]


def test_searches_share_a_study_and_run_every_trial_once(tmp_path):
    searches = [Search(tmp_path / "sweep") for _ in range(3)]
    with futures.ThreadPoolExecutor() as pool:
        seen = list(pool.map(lambda search: search(9, workers=2), searches))
    numbers = [number for search in searches for number, _ in search.started]
    assert sorted(numbers) == list(range(9))
    with searches[0].open() as study:
        assert [row.state for row in study.rows()] == ["complete"] * 9
    assert max(map(len, seen)) == 9


def test_a_hopeless_trial_is_ended_and_counts_as_pruned(tmp_path):
    plan = made(pruning=sweeps.Median(after_epochs=2, after_trials=3))
    search = Search(tmp_path / "sweep", plan)
    finals = iter([0.8, 0.7, 0.9, 0.1, 0.95])
    search.make = lambda taken: Run(taken, [next(finals)] * EPOCHS)
    rows = search(5)
    assert [row.state for row in rows] == [*["complete"] * 3, "pruned", "complete"]
    assert rows[3].epochs == 2
    assert rows[3].score == 0.1
    assert search.started[3][1].signals == [signal.SIGTERM]
    assert [run.signals for _, run in search.started if run.scores[0] > 0.5] == [[]] * 4


def test_the_last_epoch_is_not_pruned_for_the_run_is_over(tmp_path):
    plan = made(pruning=sweeps.Median(after_epochs=EPOCHS, after_trials=1))
    search = Search(tmp_path / "sweep", plan)
    finals = iter([0.8, 0.1])
    search.make = lambda taken: Run(taken, [next(finals)] * EPOCHS)
    assert [row.state for row in search(2)] == ["complete", "complete"]


@pytest.mark.parametrize(
    ("code", "says", "reason"),
    [
        (2, "epoch 1\nerror: the loss is not finite\n  at step 3\n", "the loss is not finite"),
        (1, "Traceback\nMemoryError: no\n", "exit code 1: MemoryError: no"),
        (-9, "", "signal 9"),
        (143, "", "exit code 143"),
        (0, "", f"no epoch has a {SCORE}"),
    ],
)
def test_a_failure_has_its_reason_and_does_not_end_the_search(tmp_path, code, says, reason):
    search = Search(tmp_path / "sweep")

    def make(taken):
        if taken.number != 1:
            return Run(taken, [0.5] * EPOCHS)
        return Run(taken, [None], code, says)

    search.make = make
    rows = search(3 if code == 2 else 2)
    assert [row.state for row in rows] == ["complete", "failed", "complete"][: len(rows)]
    assert rows[1].error == reason


def test_three_failures_before_any_success_end_the_search(tmp_path):
    search = Search(tmp_path / "sweep")
    search.make = lambda taken: Run(taken, [], 2, "error: there is no folder gone\n")
    with pytest.raises(UserError, match="the first 3 trials failed, the last by: there is no fol"):
        search(20)
    assert len(search.started) == 3
    search.make = lambda taken: Run(taken, [0.5])
    assert [row.state for row in search(5)] == [*["failed"] * 3, *["complete"] * 2]


def test_runs_are_ended_when_the_search_fails(tmp_path):
    search = Search(tmp_path / "sweep", scores=lambda settings: [0.5] * 1000)
    looks = []

    def pause():
        looks.append(1)
        if len(looks) == 3:
            raise sqlite3.OperationalError("disk I/O error")

    with pytest.raises(sqlite3.OperationalError):
        search(4, workers=2, pause=pause)
    assert [run.signals for _, run in search.started] == [[signal.SIGTERM]] * 2
    with search.open() as study:
        assert {row.state for row in study.rows()} == {"unfinished"}


def test_lower_is_better_for_a_loss(tmp_path):
    plan = made(score="validation_loss", direction="minimise")
    search = Search(tmp_path / "sweep", plan)

    class Losses(Run):
        def poll(self):
            code = super().poll()
            self.journal.write_text(self.journal.read_text().replace(SCORE, plan.score))
            return code

    losses = iter([[0.7, 0.5, 0.6], [0.9, 0.8, 0.4]])
    search.make = lambda taken: Losses(taken, next(losses))
    rows = search(2)
    assert [row.score for row in rows] == [0.5, 0.4]
    assert shown.best(rows, plan.score) is rows[1]


@pytest.mark.parametrize("score", sweeps.SCORES)
def test_of_every_score_one_direction_is_right(score):
    """As of the scores of a perfect and of a poor model."""
    labels, names = np.arange(40) % 2, tuple(map(str, range(40)))
    found = []
    for right in (np.full(40, 0.99), np.where(np.arange(40) < 30, 0.4, 0.6)):
        of_first = np.where(labels == 0, right, 1 - right)
        probabilities = np.stack([of_first, 1 - of_first], 1)
        told = predictions.Predictions(
            names=names, labels=labels, probabilities=probabilities, class_names=("a", "b")
        )
        value = scores_lib.from_predictions(told)[score.removeprefix("validation_")]
        found.append({score: value})
    good, poor = (one[score] for one in found)
    right = "minimise" if good < poor else "maximise"
    wrong = {"minimise": "maximise", "maximise": "minimise"}[right]
    made(score=score, direction=right).validate()
    with pytest.raises(UserError, match=f"direction of {score} is {right}; got '{wrong}'"):
        made(score=score, direction=wrong).validate()
    assert scores_lib.best(found, score, loss="none") == 0


def test_what_mattered_is_told_of_many_trials_and_is_right(tmp_path):
    space = {f"{name}": sweeps.Uniform(0.0, 1.0) for name in ("a", "b", "c")}
    with studies.Study(tmp_path / "sweep", made(space=space), config.Config(name="a")) as study:
        for number in range(studies.ENOUGH):
            assert study.importances() == {}
            taken = study.take(studies.ENOUGH)
            taken.report(1, taken.settings["b"])
            taken.finish(taken.settings["b"] + number * 1e-6)
            taken.release()
        found = study.importances()
    assert sum(found.values()) == pytest.approx(1) and found["b"] > 0.8


@pytest.mark.parametrize("name", ["a?b", "a#b", "a%41"])
def test_a_folder_that_no_database_may_have_is_refused(tmp_path, name):
    with pytest.raises(UserError, match="no address of a database may have"):
        Search(tmp_path / name)(1)


@pytest.mark.parametrize("damage", [b"\0nonsense" * 500, b""])
def test_a_damaged_database_is_told_in_a_line(tmp_path, damage):
    Search(tmp_path / "sweep")(1)
    (tmp_path / "sweep" / studies.DATABASE).write_bytes(damage)
    with pytest.raises(UserError, match=r"study.db (can't be read|is gone or empty)") as caught:
        Search(tmp_path / "sweep")(2)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "body",
    [
        "sweeps.Sweep(base='x.py', space={'seed': sweeps.Uniform(1, 10**400)})",
        "sweeps.Sweep(base='x.py', space={'seed': sweeps.Integers(1, 3)}, pruning='median')",
        "sweeps.Sweep(base='x.py', space={5: sweeps.Integers(1, 3)})",
    ],
)
def test_fields_of_another_kind_are_told_in_a_line(sweep_file, body):
    with pytest.raises(UserError, match=r"made\.py: "):
        sweeps.load(sweep_file(body))


def test_another_sweep_in_the_same_folder_is_refused(tmp_path):
    Search(tmp_path / "sweep")(1)
    with pytest.raises(
        UserError, match=r"holds another sweep \(1 settings differ, .* seed: 3 -> 4"
    ):
        Search(tmp_path / "sweep", made(seed=4))(1)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").touch()
    with pytest.raises(UserError, match="is not empty and holds no sweep"):
        Search(tmp_path / "other")(1)


def test_without_optuna_one_line_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(UserError, match=r"a sweep needs optuna \(pip install 'optuna>=4,<6'\)"):
        Search(tmp_path / "sweep")(1)
    assert not (tmp_path / "sweep").exists()


# The command.


@pytest.fixture
def sweep_file(tmp_path):
    def write(body):
        path = tmp_path / "made.py"
        text = f"from jaxall.search import sweeps\n\ndef get_sweep():\n    return {body}\n"
        path.write_text(text)
        return str(path)

    return write


def called(**values):
    with flagsaver.flagsaver(**values):
        return cli.guarded(sweep.main, [])


BASE = f"base={QUICKSTART!r}"
RATE = "'optim.learning_rate': sweeps.Uniform(1e-5, 1e-2, log=True)"


@pytest.mark.parametrize(
    ("body", "line"),
    [
        ("1", "returns int; wanted a sweeps.Sweep"),
        (
            f"sweeps.Sweep({BASE}, space={{}})",
            "space is a table of settings and their ranges; got {}",
        ),
        (
            f"sweeps.Sweep({BASE}, space={{'optim.rate': sweeps.Uniform(0, 1)}})",
            "no setting is called 'optim.rate'; the nearest are ",
        ),
        (
            f"sweeps.Sweep({BASE}, space={{'train.batch_size': sweeps.Uniform(1, 9)}})",
            "train.batch_size is a whole number; got '1.0'",
        ),
        (
            f"sweeps.Sweep({BASE}, space={{'model.dropout': sweeps.Uniform(0.5, 1.5)}})",
            "model.dropout is at least 0 and below 1; got 1.5",
        ),
        (
            f"sweeps.Sweep({BASE}, space={{'model.name': sweeps.Choice(('vgg0', 'densenet121'))}})",
            "'vgg0'",
        ),
        (
            f"sweeps.Sweep({BASE}, space={{'model.dropout': sweeps.Uniform(0.5, 0.1)}})",
            "model.dropout wants two finite numbers, the lower first; got 0.5, 0.1",
        ),
        (
            f"sweeps.Sweep({BASE}, space={{'model.dropout': sweeps.Uniform(0.0, 0.1, log=True)}})",
            "model.dropout wants numbers above 0 for log; got 0.0",
        ),
        (
            f"sweeps.Sweep({BASE}, space={{'model.width': sweeps.Integers(8, 9.5)}})",
            "model.width wants whole numbers; got 8, 9.5, step 1",
        ),
        (
            f"sweeps.Sweep({BASE}, space={{'model.width': sweeps.Integers(8, 30, step=8)}})",
            "model.width wants a step of 1, or without log one that leads to its end; got 8",
        ),
        (
            f"sweeps.Sweep({BASE}, space={{'model.head': sweeps.Choice(('linear',))}})",
            "model.head wants two different values or more; got ('linear',)",
        ),
        (
            f"sweeps.Sweep({BASE}, space={{'split.seed': sweeps.Integers(0, 9)}})",
            "split.seed can't be searched: trials would be judged by different pictures",
        ),
        (
            f"sweeps.Sweep({BASE}, space={{{RATE}}}, score='test_accuracy')",
            "got 'test_accuracy': the test side is for the end",
        ),
        (
            f"sweeps.Sweep({BASE}, space={{{RATE}}}, score='validation_loss')",
            "direction of validation_loss is minimise; got 'maximise'",
        ),
        (f"sweeps.Sweep(base=1, space={{{RATE}}})", "base is the path of a config file; got 1"),
        (
            f"sweeps.Sweep({BASE}, space={{{RATE}}}, pruning=sweeps.Median(after_epochs=0))",
            "pruning.after_epochs and after_trials are at least 1",
        ),
        (f"sweeps.Sweep(base='gone.py', space={{{RATE}}})", "no config file at gone.py"),
    ],
)
def test_an_impossible_sweep_ends_in_one_line_before_any_trial(
    sweep_file, tmp_path, capsys, body, line
):
    code = called(sweep=sweep_file(body), workdir=str(tmp_path / "sweep"))
    said = capsys.readouterr().err
    assert code == cli.BAD_INPUT
    assert said.startswith("error: ")
    assert said.count("\n") == 1
    assert line in said
    assert not (tmp_path / "sweep").exists()


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({"sweep": ""}, "wanted --sweep FILE.py, a file with get_sweep()"),
        ({"sweep": "gone.py"}, "no sweep file at gone.py: wanted a file with get_sweep()"),
        ({"sweep": QUICKSTART}, "has no function get_sweep()"),
        ({"set": ["seed"]}, "--set wants NAME=VALUE, as train.epochs=5; got 'seed'"),
        ({"set": ["sed=1"]}, "no setting is called 'sed'"),
        ({"set": ["train.best_by=loss"]}, "train.best_by follows from the sweep's score"),
        ({"set": ["optim.learning_rate=1"]}, "optim.learning_rate is searched: it can't be set"),
        ({"show": True}, "holds no sweep"),
    ],
)
def test_the_command_refuses_in_one_line(sweep_file, tmp_path, capsys, values, line):
    given = {"sweep": sweep_file(f"sweeps.Sweep({BASE}, space={{{RATE}}})"), **values}
    assert called(workdir=str(tmp_path / "sweep"), **given) == cli.BAD_INPUT
    said = capsys.readouterr().err
    assert line in said
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    "file", sorted((programs.ROOT / "configs" / "sweeps").glob("*.py")), ids=lambda file: file.stem
)
def test_a_sweep_file_is_possible_on_its_base(file, monkeypatch):
    monkeypatch.chdir(programs.ROOT)
    found = sweeps.load(str(file))
    assert sweeps.resolve(found, ["--config.data.root=x"]).data.root == "x"
    assert f"python -m jaxall.sweep --sweep configs/sweeps/{file.name}" in file.read_text()
    assert "from jaxall.search import sweeps" in file.read_text()


def test_a_real_run_and_one_that_fails_are_told_apart_and_the_best_can_be_made_by_hand(
    sweep_file, tmp_path, monkeypatch, capfd
):
    for name, value in programs.environment(tmp_path / "cache").items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(programs.ROOT)
    monkeypatch.setattr(sweep, "PROGRAM", (sys.executable, "-m", "tests.miniature", "train"))
    monkeypatch.setattr(sweep.StopRequests, "__init__", lambda self: setattr(self, "count", 0))
    root, folder = tmp_path / "drawn", tmp_path / "sweep"
    synthetic.write(root, subjects_per_class=4, pictures_per_subject=2, size=40)
    sizes = "'train.batch_size': sweeps.Choice((8, 4096))"  # there are no 4096 pictures
    by_loss = "seed=1, score='validation_loss', direction='minimise'"
    file = sweep_file(f"sweeps.Sweep({BASE}, space={{{RATE}, {sizes}}}, {by_loss})")
    fixed = [
        *(f"model.name={miniature.NAME}", f"data.root={root}", "preprocessing.image_size=33"),
        *("train.epochs=1", "optim.warmup_epochs=0", "loader.threads=1"),
    ]
    monkeypatch.setitem(models.SPECS, miniature.NAME, miniature.SPEC)
    common = {"sweep": file, "workdir": str(folder), "set": fixed}
    assert called(trials=2, workers=2, **common) == 0
    said = capfd.readouterr().out
    with (folder / "sweep.csv").open() as table:
        rows = list(csv.DictReader(table))
    failed, row = sorted(rows, key=lambda row: row["state"], reverse=True)
    assert (failed["state"], failed["train.batch_size"]) == ("failed", "4096")
    assert "train.batch_size is at most the 16 training pictures; got 4096" in failed["error"]
    assert f"trial {failed['trial']} failed: {failed['error']}" in said
    run = folder / f"trial{int(row['trial']):04d}"
    config = json.loads((run / "config.json").read_text())
    assert config["optim"]["learning_rate"] == float(row["optim.learning_rate"])
    (epoch,) = journal.read(run, "epoch")
    assert (row["state"], float(row["validation_loss"])) == ("complete", epoch["validation_loss"])
    assert shlex.split(row["command"])[-2:] == ["--workdir", str(run)]
    assert "next: python -m jaxall.evaluate" in run.with_suffix(".log").read_text()
    wanted = (
        f"--config.optim.learning_rate={row['optim.learning_rate']} --config.train.batch_size=8"
    )
    assert "its settings: python -m jaxall.train --config " in said
    assert wanted in said
    with Image.open(folder / "sweep.png") as plot:
        assert plot.size[0] > 1000
    (folder / "sweep.png").unlink()
    assert called(show=True, **common) == 0
    assert (folder / "sweep.png").exists()
