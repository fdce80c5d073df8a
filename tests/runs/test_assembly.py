"""What a run goes on with: the pictures, classes, order and split that it began with."""

import dataclasses
import pathlib

import numpy as np
import pytest
from PIL import Image

from jaxall import config
from jaxall.errors import UserError
from jaxall.runs import assembly, workdir
from tests import programs

HEADING = "path,label,subject"


@pytest.fixture
def table(tmp_path: pathlib.Path) -> pathlib.Path:
    """Sixty pictures of twenty subjects in a table of one's own."""
    generator = np.random.default_rng(0)
    lines = [HEADING]
    for i in range(60):
        name = f"{i}.png"
        Image.fromarray(generator.integers(0, 256, (8, 8, 3), np.uint8)).save(tmp_path / name)
        lines.append(f"{name},{'ab'[i % 2]},S{i % 20:02d}")
    path = tmp_path / "table.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture
def made(table: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> config.Config:
    programs.register_tiny(monkeypatch)
    plain = programs.tiny_config(table)
    data = config.DataSettings(name="folder", root=str(table))
    return dataclasses.replace(plain, data=data)


@pytest.fixture
def run(made: config.Config, tmp_path: pathlib.Path) -> workdir.Run:
    assembly.open_or_begin(made, tmp_path / "run", programs.quiet())
    return workdir.load(tmp_path / "run")


def resume(run: workdir.Run, table: pathlib.Path) -> assembly.Material:
    return assembly.resume(run, str(table), ("train",))


def test_lines_of_a_table_that_were_sorted_anew_change_nothing(run, table):
    before = resume(run, table)
    heading, *lines = table.read_text().splitlines()
    table.write_text("\n".join([heading, *reversed(lines)]) + "\n")
    after = resume(run, table)
    for side in ("train", "validation", "test"):
        assert after.names(side) == before.names(side)
        assert after.source(side).paths == before.source(side).paths


def test_a_subject_that_has_changed_is_told(run, table):
    table.write_text(table.read_text().replace("S07", "S08"))
    with pytest.raises(UserError, match=r"3 mismatches: 7.png is 1 b of S08, got 1 b of S07"):
        resume(run, table)


def test_a_side_that_was_changed_by_hand_is_told(run, table):
    path = run.workdir / workdir.SPLIT
    path.write_text(path.read_text().replace(",test", ",train", 1))
    with pytest.raises(UserError, match=r"split.csv isn't the split that the run began with"):
        resume(run, table)


def test_classes_in_another_order_are_told(run, table):
    other = dataclasses.replace(run, class_names=("b", "a"))
    with pytest.raises(UserError, match=r"has the classes b, a, the data set under .* a, b"):
        resume(other, table)
