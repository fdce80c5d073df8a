"""What an evaluation writes and says, of predictions made by hand."""

import io

import numpy as np
import pytest
from rich import console as rich_console

from jaxall.evaluation import predictions
from jaxall.reporting import reliability
from jaxall.runs import scored, scoring

RECORD = {"title": "made by hand", "caveat": "drawn", "baselines": {}}
DRAWN = {"confusion.png", "pr.png", "reliability.png", "roc.png"}
OF_SUBJECTS = {"subjects.csv", "subjects.png"}


def told(subjects: tuple[str, ...] = ()) -> predictions.Predictions:
    return predictions.Predictions(
        names=tuple("abcd"),
        subjects=subjects,
        labels=np.array([0, 0, 1, 1]),
        probabilities=np.array([[0.9, 0.1], [0.4, 0.6], [0.2, 0.8], [0.3, 0.7]]),
        class_names=("benign", "ALL"),
    )


def said(done: scoring.Scored) -> list[str]:
    """The lines that are shown of it."""
    console = rich_console.Console(file=io.StringIO(), width=100, markup=False)
    scoring.show(done, console)
    return console.file.getvalue().splitlines()


def test_exactly_the_files_that_were_written_are_shown(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    done = scoring.write(told(tuple("ABAB")), RECORD, tmp_path)
    names = {scoring.SCORES, scoring.PREDICTIONS, *DRAWN, *OF_SUBJECTS}
    assert {path.name for path in tmp_path.iterdir()} == {*names, "notes.txt"}
    assert [line for line in said(done) if str(tmp_path) in line] == [
        f"  {tmp_path / name}" for name in sorted(names)
    ]


def test_subjects_of_an_evaluation_before_do_not_stay_where_none_is_known(tmp_path):
    scoring.write(told(tuple("ABAB")), RECORD, tmp_path)
    done = scoring.write(told(), RECORD, tmp_path)
    names = {scoring.SCORES, scoring.PREDICTIONS, *DRAWN}
    assert {path.name for path in tmp_path.iterdir()} == names
    assert {path.name for path in done.paths} == names
    assert "subjects" not in done.scores


@pytest.mark.parametrize("is_second", [False, True])
def test_an_evaluation_that_is_killed_has_no_scores(tmp_path, monkeypatch, is_second):
    target = tmp_path / scoring.FOLDER / "test-step1"
    if is_second:
        scoring.write(told(), RECORD, target)
        assert scored.find(tmp_path, "test") == [target / scoring.SCORES]

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(reliability, "diagram", killed)  # the last of the plots
        with pytest.raises(KeyboardInterrupt):
            scoring.write(told(), RECORD, target)
    assert scored.find(tmp_path, "test") == []
    scoring.write(told(), RECORD, target)
    assert scored.find(tmp_path, "test") == [target / scoring.SCORES]


@pytest.mark.parametrize(("caveat", "lines"), [("drawn", ["mind: drawn"]), ("", [])])
def test_a_caveat_is_shown_where_there_is_one(tmp_path, caveat, lines):
    done = scoring.write(told(), {**RECORD, "caveat": caveat}, tmp_path)
    assert [line for line in said(done) if line.startswith("mind")] == lines


def test_an_evaluation_may_be_written_where_there_is_none_or_one(tmp_path):
    (tmp_path / "empty").mkdir()
    scoring.write(told(), RECORD, tmp_path / "old")
    for name in ("new", "empty", "old"):
        scoring.check_target(tmp_path / name)
