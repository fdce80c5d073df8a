import pathlib
import shutil

import pytest
from PIL import Image

from jaxall import data as data_package
from jaxall import errors
from jaxall.data import ball, dataset

NAMES = {
    "Benign": ("WBC-Benign-010.jpg", "WBC-Benign-002.jpg"),
    "Early": ("WBC-Malignant-Early-001.jpg",),
    "Pre": ("WBC-Malignant-Pre-722.jpg",),
    "Pro": ("WBC-Malignant-Pro-722.jpg", "WBC-Malignant-Pro-099.jpg", "WBC-Malignant-Pro-100.jpg"),
}


@pytest.fixture
def root(tmp_path: pathlib.Path) -> pathlib.Path:
    for half in ("Original", "Segmented"):
        for name, files in NAMES.items():
            (tmp_path / "set" / half / name).mkdir(parents=True)
            for file in files:
                Image.new("RGB", (8, 8)).save(tmp_path / "set" / half / name / file)
    return tmp_path / "set"


def test_only_the_original_half_is_read_in_order_of_class_and_number(root):
    data_set = ball.load(root)
    assert data_set.root == root / "Original"
    assert data_set.class_names == ("Benign", "Early", "Pre", "Pro")
    assert [row.number for row in data_set.rows] == [2, 10, 1, 722, 99, 100, 722]
    assert data_set.class_counts == {"Benign": 2, "Early": 1, "Pre": 1, "Pro": 3}
    assert data_set.rows[0].path == "Benign/WBC-Benign-002.jpg"
    assert all(data_set.absolute(row).is_file() for row in data_set.rows)


def test_an_incomplete_copy_is_used_with_a_note(root):
    note = ball.load(root).note
    assert "expected 3,256" in note and "Benign 504, Early 985, Pre 963, Pro 804" in note
    assert "found 7 (Benign 2, Early 1, Pre 1, Pro 3)" in note and "\n" not in note


def test_a_complete_copy_has_no_note(root, monkeypatch):
    monkeypatch.setattr(ball, "EXPECTED", {name: len(files) for name, files in NAMES.items()})
    assert ball.load(root).note == ""


def test_every_place_from_the_zip_down_to_original_is_accepted(root, tmp_path):
    rows = ball.load(root).rows
    shutil.move(root, tmp_path / "inner")
    (tmp_path / "archive" / "leukemia").mkdir(parents=True)
    shutil.move(tmp_path / "inner", tmp_path / "archive" / "leukemia" / "leukemia")
    (tmp_path / "archive" / "__MACOSX").mkdir()
    inner = tmp_path / "archive" / "leukemia" / "leukemia"
    for place in (inner / "Original", inner, inner.parent, tmp_path / "archive"):
        assert ball.load(place).rows == rows
    prepared = tmp_path / "prepared"
    shutil.copytree(tmp_path / "archive", prepared / "pictures")
    assert ball.load(prepared).rows == rows


def test_upper_and_lower_case_do_not_matter(root):
    (root / "Original" / "Pro").rename(root / "Original" / "PRO")
    (root / "Original").rename(root / "original")
    assert ball.load(root).class_counts["Pro"] == 3


def test_the_segmented_half_is_refused(root):
    with pytest.raises(errors.UserError, match="Segmented half"):
        ball.load(root / "Segmented")
    shutil.rmtree(root / "Original")
    with pytest.raises(errors.UserError, match="holds Segmented; wanted a folder with Original/"):
        ball.load(root)


@pytest.mark.parametrize("left", ["nothing", "an empty folder"])
def test_a_class_without_pictures_is_named_and_how_to_get_them(root, left):
    shutil.rmtree(root / "Original" / "Pre")
    if left == "an empty folder":
        (root / "Original" / "Pre").mkdir()
    with pytest.raises(errors.UserError, match=r"class Pre .*kaggle datasets download"):
        ball.load(root)


@pytest.mark.parametrize("place", ["nowhere", "set"])
def test_a_missing_or_empty_folder_says_how_to_get_the_pictures(tmp_path, place):
    (tmp_path / "set").mkdir()
    with pytest.raises(errors.UserError, match="kaggle datasets download -d mehradaria/leukemia"):
        ball.load(tmp_path / place)


def test_a_picture_of_another_class_is_refused(root):
    pro = root / "Original" / "Pro"
    shutil.copy(pro / "WBC-Malignant-Pro-722.jpg", root / "Original" / "Early")
    with pytest.raises(errors.UserError, match=r"1 pictures .*Early/WBC-Malignant-Pro-722\.jpg"):
        ball.load(root)


def test_the_registry_reads_it(root):
    data_set = data_package.load(dataset.DataSettings(name="b_all", root=str(root)))
    assert data_set.name == "b_all" and len(data_set.rows) == 7
