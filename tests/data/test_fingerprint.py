"""What names the pictures of a side: their content and classes, not where they lie."""

import csv
import pathlib

import pytest

from jaxall import errors
from jaxall.data import split_file

ROWS = [
    ("a/1.png", "a", "S1", "test", "d1"),
    ("a/2.png", "a", "S1", "test", "d2"),
    ("b/3.png", "b", "S2", "test", "d3"),
    ("b/4.png", "b", "", "test", "d4"),
    ("b/5.png", "b", "S3", "train", "d5"),
]


def fingerprint(folder: pathlib.Path, rows: list[tuple], side: str = "test") -> tuple[str, int]:
    with (folder / "split.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(split_file.COLUMNS)
        for path, name, subject, own, _ in rows:
            writer.writerow((path, name, "abc".index(name), subject, "", "", own))
    lines = [f"{digest}  {path}\n" for path, *_, digest in rows]
    (folder / "pictures.sha256").write_text("".join(lines))
    return split_file.fingerprint(folder / "split.csv", folder / "pictures.sha256", side)


def changed(row: int, column: int, value: str) -> list[tuple]:
    rows = [list(one) for one in ROWS]
    rows[row][column] = value
    return [tuple(one) for one in rows]


@pytest.mark.parametrize(
    "rows",
    [
        ROWS[::-1],
        changed(0, 0, "elsewhere/x.png"),
        changed(4, 4, "another picture of the other side"),
    ],
    ids=["order", "path", "other side"],
)
def test_the_same_pictures_have_the_same_name(tmp_path, rows):
    assert fingerprint(tmp_path, ROWS) == fingerprint(tmp_path, rows)


@pytest.mark.parametrize(
    "rows",
    [changed(0, 4, "d0"), changed(0, 1, "b"), changed(0, 3, "train"), ROWS[1:]],
    ids=["content", "class", "side", "missing"],
)
def test_other_pictures_have_another(tmp_path, rows):
    assert fingerprint(tmp_path, ROWS)[0] != fingerprint(tmp_path, rows)[0]


def test_subjects_that_are_known_are_counted(tmp_path):
    assert fingerprint(tmp_path, ROWS)[1] == 2


def test_files_that_are_gone_or_damaged_are_refused(tmp_path):
    gone = tmp_path / "gone.csv"
    fingerprint(tmp_path, ROWS)
    with pytest.raises(
        errors.UserError, match=r"can't read .*gone.csv or pictures.sha256: .*No such file"
    ):
        split_file.fingerprint(gone, tmp_path / "pictures.sha256", "test")
    gone.write_text("path\na/1.png\n")
    with pytest.raises(errors.UserError, match=r"gone.csv and pictures.sha256 are damaged: no 'si"):
        split_file.fingerprint(gone, tmp_path / "pictures.sha256", "test")
