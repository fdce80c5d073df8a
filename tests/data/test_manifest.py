import csv
import pathlib
import tempfile

import cv2
import hypothesis
import numpy as np
import pytest
from hypothesis import strategies
from PIL import Image

from jaxall import errors
from jaxall.data import (
    checking,
    dataset,
    decoding,
    duplicates,
    manifest,
    quality,
)

PICTURE = manifest.Picture(
    row=dataset.Row(path="pictures/a/1.png", label=0, subject="S1", number=7, fold="2"),
    class_name="a",
    size=20,
    sha256="1" * 64,
    pixels="2" * 64,
    header=decoding.Header(format="PNG", mode="RGB", width=8, height=9),
    quality=quality.Quality(
        brightness=1.5, contrast=0.25, sharpness=1e-9, saturation=3.0, clipped=0.0
    ),
)
TEXT = strategies.text(strategies.characters(codec="utf-8", exclude_characters="\0"))
NUMBERS = strategies.floats(allow_nan=False)


@hypothesis.settings(max_examples=60, deadline=None, derandomize=True, database=None)
@hypothesis.given(
    strategies.lists(
        strategies.builds(
            manifest.Picture,
            row=strategies.builds(
                dataset.Row,
                path=TEXT,
                label=strategies.integers(),
                subject=TEXT,
                number=strategies.integers(),
                group=TEXT,
                fold=TEXT,
                side=TEXT,
            ),
            class_name=TEXT,
            size=strategies.integers(),
            sha256=TEXT,
            pixels=TEXT,
            header=strategies.builds(decoding.Header, format=TEXT, mode=TEXT),
            quality=strategies.builds(quality.Quality, **dict.fromkeys(manifest.QUALITY, NUMBERS)),
            duplicates=TEXT,
            reason=TEXT,
        ),
        max_size=4,
    )
)
def test_what_is_saved_is_loaded(pictures):
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "manifest.csv")
        manifest.save(pictures, path)
        assert manifest.load(path) == tuple(pictures)


def test_bytes_of_names_that_are_no_text_are_kept(tmp_path):
    picture = manifest.Picture(**{**vars(PICTURE), "reason": "exact duplicate of \udce4.png"})
    manifest.save([picture], tmp_path / "manifest.csv")
    assert b"of \xe4.png" in (tmp_path / "manifest.csv").read_bytes()
    assert manifest.load(tmp_path / "manifest.csv") == (picture,)


def test_every_picture_is_described_as_pillow_and_opencv_see_it(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (2, 40, 50, 3), np.uint8)
    Image.fromarray(noise[0]).save(tmp_path / "1.png")
    Image.fromarray(noise[0]).save(tmp_path / "2.bmp")
    Image.fromarray(noise[1]).convert("L").save(tmp_path / "3.tif")
    rows = [
        dataset.Row(path="1.png", label=1, subject="S", number=3, side="test", group="g"),
        dataset.Row(path="2.bmp", label=0),
        dataset.Row(path="3.tif", label=-1),
    ]
    data_set = dataset.DataSet(name="x", root=tmp_path, class_names=("a", "b"), rows=tuple(rows))
    checked = checking.check(data_set)
    found = duplicates.find(data_set, checked)
    manifest.save(manifest.describe(data_set, checked, found), tmp_path / "manifest.csv")
    with (tmp_path / "manifest.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert tuple(lines[0]) == manifest.COLUMNS
    assert [(line["path"], line["class"], line["label"]) for line in lines] == [
        ("1.png", "b", "1"),
        ("2.bmp", "a", "0"),
        ("3.tif", "", "-1"),
    ]
    kept = ("subject", "number", "split", "group", "fold")
    assert [lines[0][name] for name in kept] == ["S", "3", "test", "g", ""]
    assert [(line["format"], line["mode"]) for line in lines] == [
        ("PNG", "RGB"),
        ("BMP", "RGB"),
        ("TIFF", "L"),
    ]
    assert {(line["width"], line["height"]) for line in lines} == {("50", "40")}
    assert [int(line["bytes"]) for line in lines] == [
        (tmp_path / line["path"]).stat().st_size for line in lines
    ]
    luma = cv2.cvtColor(noise[0], cv2.COLOR_RGB2GRAY)
    assert float(lines[0]["brightness"]) == pytest.approx(luma.mean(), rel=1e-5)
    assert lines[0]["pixels_sha256"] == lines[1]["pixels_sha256"] != lines[2]["pixels_sha256"]
    assert [line["duplicates"] for line in lines] == ["1.png", "1.png", ""]
    assert lines[1]["reason"] == "exact duplicate of 1.png"


def test_a_manifest_that_went_through_a_spreadsheet_is_read(tmp_path):
    path = tmp_path / "manifest.csv"
    manifest.save([PICTURE], path)
    lines = path.read_text().splitlines()
    path.write_text(f"\ufeff{lines[0]},mine\n{lines[1]},note\n")
    assert manifest.load(path) == (PICTURE,)


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("S1,7", "S1,seven", "picture 1: invalid literal for int() with base 10: 'seven'"),
        ("1.5", "bright", "picture 1: could not convert string to float: 'bright'"),
        ("S1,7", "S1", "picture 1: it has more or fewer cells than the heading"),
        ("S1,7", "S1,7,7", "picture 1: it has more or fewer cells than the heading"),
    ],
)
def test_lines_that_are_not_of_the_kind_are_named(tmp_path, old, new, line):
    path = tmp_path / "manifest.csv"
    manifest.save([PICTURE], path)
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(errors.UserError) as caught:
        manifest.load(path)
    assert str(caught.value) == f"1 lines of {path} can't be read, the first: {line}"
    assert caught.value.details == (line,)


def test_what_is_no_manifest_is_refused(tmp_path):
    path = tmp_path / "manifest.csv"
    with pytest.raises(errors.UserError, match="can't read the manifest"):
        manifest.load(path)
    path.write_text("path,class\n")
    with pytest.raises(
        errors.UserError, match=r"wanted the columns .*, label, subject, .* missing"
    ):
        manifest.load(path)
    path.write_text('path,"class\n')
    with pytest.raises(errors.UserError, match="can't read the manifest"):
        manifest.load(path)
