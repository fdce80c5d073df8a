import importlib.util
import json
import pathlib

import numpy as np
import pytest

from jaxall import files
from jaxall.errors import UserError
from jaxall.training import journal


def lines(folder: pathlib.Path) -> list[str]:
    return (folder / journal.FILE).read_text().splitlines()


def write(folder: pathlib.Path, start: int, *steps: int) -> None:
    log = journal.Journal(folder, start)
    for step in steps:
        log.write("step", step, loss=step / 10)
        if step % 2 == 0:
            log.write("epoch", step, validation_f1=step / 20)
    log.close()


def test_records_come_back_as_they_were_written(tmp_path: pathlib.Path):
    write(tmp_path, 0, 1, 2)
    assert journal.read(tmp_path) == [
        {"kind": "step", "step": 1, "loss": 0.1},
        {"kind": "step", "step": 2, "loss": 0.2},
        {"kind": "epoch", "step": 2, "validation_f1": 0.1},
    ]
    assert [record["step"] for record in journal.read(tmp_path, "epoch")] == [2]


def test_a_record_is_on_disk_before_the_next(tmp_path: pathlib.Path):
    log = journal.Journal(tmp_path, 0)
    log.write("step", 1, loss=0.5)
    assert journal.read(tmp_path) == [{"kind": "step", "step": 1, "loss": 0.5}]
    log.close()


def test_a_run_that_goes_on_drops_what_it_will_write_again(tmp_path: pathlib.Path):
    write(tmp_path, 0, 1, 2, 3, 4)
    write(tmp_path, 2, 3, 4, 5)
    found = [(record["kind"], record["step"]) for record in journal.read(tmp_path)]
    steps = [("step", 1), ("step", 2), ("epoch", 2), ("step", 3), ("step", 4), ("epoch", 4)]
    assert found == [*steps, ("step", 5)]


def test_a_run_that_starts_anew_drops_everything(tmp_path: pathlib.Path):
    write(tmp_path, 0, 0, 1, 2)
    write(tmp_path, 0)
    assert journal.read(tmp_path) == []


@pytest.mark.parametrize("damage", ["{", "12", "{}", '{"kind": "step"}', "\udcff"])
def test_another_line_that_is_damaged_is_told(damage: str, tmp_path: pathlib.Path):
    path = tmp_path / journal.FILE
    whole = '{"kind": "step", "step": 1}\n'
    files.write(path, f"{whole}{damage}\n{whole}")
    with pytest.raises(UserError, match=r"line 2 of .*journal.jsonl is damaged"):
        journal.read(tmp_path)


@pytest.mark.parametrize("cut", [2, 5, 20, 30])
def test_a_last_line_that_was_cut_off_is_passed_over_and_dropped(cut: int, tmp_path: pathlib.Path):
    write(tmp_path, 0, 1, 3)
    path = tmp_path / journal.FILE
    path.write_text(path.read_text()[:-cut])
    assert [record["step"] for record in journal.read(tmp_path)] == [1]
    write(tmp_path, 1, 3)
    assert [json.loads(line)["step"] for line in lines(tmp_path)] == [1, 3]


def test_a_line_of_zeros_that_a_power_cut_leaves_is_passed_over(tmp_path: pathlib.Path):
    write(tmp_path, 0, 1)
    with (tmp_path / journal.FILE).open("ab") as file:
        file.write(b"\0" * 40)
    assert [record["step"] for record in journal.read(tmp_path)] == [1]


def test_what_is_not_finite_becomes_null_wherever_it_stands(tmp_path: pathlib.Path):
    log = journal.Journal(tmp_path, 0)
    log.write(
        "epoch",
        1,
        loss=float("nan"),
        rate=float("inf"),
        auroc=np.float64("nan"),
        per_class={"Early": {"f1": float("nan"), "support": 3}},
        curve=[0.5, float("nan"), -float("inf")],
    )
    log.close()

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is not JSON")

    (line,) = lines(tmp_path)
    assert json.loads(line, parse_constant=refuse) == {
        "kind": "epoch",
        "step": 1,
        "loss": None,
        "rate": None,
        "auroc": None,
        "per_class": {"Early": {"f1": None, "support": 3}},
        "curve": [0.5, None, None],
    }


def test_a_folder_without_a_journal_has_no_records(tmp_path: pathlib.Path):
    assert journal.read(tmp_path) == []


def test_numbers_nested_ones_too_become_tensorboard_scalars(tmp_path: pathlib.Path):
    log = journal.Journal(tmp_path, 0)
    for step in range(1, 4):
        log.write("step", step, loss=1 / step, is_odd=bool(step % 2), per_class={"Early": 0.5})
    log.close()
    (file,) = (tmp_path / "tensorboard").iterdir()
    content = file.read_bytes()
    assert content.count(b"step/loss") == 3
    assert content.count(b"step/per_class/Early") == 3
    assert b"is_odd" not in content


@pytest.mark.skipif(
    importlib.util.find_spec("tensorboard") is None, reason="needs tensorboard to read its files"
)
def test_tensorboard_reads_a_run_that_went_on_as_one_curve(tmp_path: pathlib.Path):
    from tensorboard.backend.event_processing import event_accumulator

    write(tmp_path, 0, 1, 2, 3, 4)
    write(tmp_path, 2, 3, 4, 5)
    events = event_accumulator.EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    found = [(event.step, event.value) for event in events.Scalars("step/loss")]
    assert found == [(step, pytest.approx(step / 10)) for step in range(1, 6)]
