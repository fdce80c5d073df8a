import os
import pathlib

import pytest

from jaxall import errors
from jaxall.data import tables


def write(path: pathlib.Path, content: bytes | str) -> pathlib.Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_what_spreadsheets_write_is_read_alike(tmp_path, delimiter, ending, mark):
    rows = ["Path,Label ", " a/1.png , x", "", "b.png,", ",", '"c.png","two words"', ""]
    text = mark + ending.join(rows).replace(",", delimiter)
    lines = tables.read(write(tmp_path / "t.csv", text), ("path", "LABEL"))
    assert [line.cells for line in lines] == [
        {"path": "a/1.png", "label": "x"},
        {"path": "b.png", "label": ""},
        {"path": "c.png", "label": "two words"},
    ]
    assert [line.number for line in lines] == [2, 4, 6]


def test_a_delimiter_may_stand_in_quotes(tmp_path):
    path = write(tmp_path / "t.csv", 'path,label\n"a,b;c.png","say ""x"""\n')
    assert tables.read(path)[0].cells == {"path": "a,b;c.png", "label": 'say "x"'}


def test_bytes_that_are_no_text_are_those_of_the_file_name(tmp_path):
    path = write(tmp_path / "t.csv", b"path\ncaf\xe9.png\n")
    assert os.fsencode(tables.read(path)[0].cells["path"]) == b"caf\xe9.png"


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ("", "wanted the columns path, label in .*, path, label are missing; there is nothing"),
        ("path;name\n", "label is missing; there is path, name"),
        ("path,label,Label\n", "has the column label twice"),
        ("path,label\na.png\nb.png,x\nc.png,x,y\n", "2 have more or fewer, the first line 2: 1"),
        ('path,label\n"a.png,x\n', r"can't read the table .*t\.csv: unexpected end of data"),
        ("path,label\n" + "x" * 200_000 + ",y\n", r"can't read the table .*field larger"),
        (b"\xff\xfep\0a\0t\0h\0,\0l\0a\0b\0e\0l\0\n\0", "is UTF-16: wanted UTF-8"),
    ],
)
def test_a_file_of_another_kind_is_refused_in_one_line(tmp_path, content, line):
    with pytest.raises(errors.UserError, match=line) as caught:
        tables.read(write(tmp_path / "t.csv", content), ("path", "label"))
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(errors.UserError, match=r"t\.csv: No such file"):
        tables.read(tmp_path / "t.csv")
