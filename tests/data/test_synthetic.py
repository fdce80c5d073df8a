"""The drawings are repeatable, whole or absent on disk, and colour doesn't give the class away."""

import dataclasses
import hashlib
import pathlib

import cv2
import numpy as np
import pytest

from jaxall import errors
from jaxall.data import decoding, smears, synthetic


def _colour_features(images: list[np.ndarray]) -> np.ndarray:
    """Mean and standard deviation of each channel of a 16 x 16 thumbnail, [N,6]."""
    small = [cv2.resize(image, (16, 16), interpolation=cv2.INTER_AREA) for image in images]
    pixels = np.asarray(small, np.float64).reshape(len(images), -1, 3)
    return np.concatenate([pixels.mean(axis=1), pixels.std(axis=1)], axis=1)


def _contents(root: pathlib.Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(root.rglob("*.png"))}


@pytest.mark.parametrize("class_name", synthetic.CLASS_NAMES)
def test_a_drawing_is_a_pure_function_of_its_arguments(class_name: str):
    first = smears.draw(class_name, 3, 5, size=96, seed=1)
    np.random.default_rng(0).random(7)
    assert first.shape == (96, 96, 3)
    assert first.dtype == np.uint8
    np.testing.assert_array_equal(first, smears.draw(class_name, 3, 5, size=96, seed=1))
    others = [
        smears.draw(class_name, 4, 5, size=96, seed=1),
        smears.draw(class_name, 3, 6, size=96, seed=1),
        smears.draw(class_name, 3, 5, size=96, seed=2),
    ]
    assert all(np.abs(first.astype(int) - other).mean() > 3 for other in others)


@pytest.mark.parametrize("class_name", synthetic.CLASS_NAMES)
def test_another_size_shows_the_same_scene(class_name: str):
    large = cv2.resize(smears.draw(class_name, 2, 1, size=256), (32, 32), interpolation=3)
    small = cv2.resize(smears.draw(class_name, 2, 1, size=64), (32, 32), interpolation=3)
    assert np.corrcoef(large.ravel(), small.ravel())[0, 1] > 0.98


def test_an_unknown_class_is_refused_with_the_classes_there_are():
    with pytest.raises(errors.UserError, match=r"'Late'; there is Benign, Early, Pre, Pro"):
        smears.draw("Late", 1, 1)


def test_looks_are_frozen_values():
    with pytest.raises(dataclasses.FrozenInstanceError):
        smears.CLASSES["Pro"].rim = 1.0  # pyright: ignore[reportAttributeAccessIssue] # meant


def test_nearest_colour_of_another_subject_does_not_tell_the_class():
    subjects_per_class, pictures = 10, 4
    labels = np.repeat(np.arange(4), subjects_per_class * pictures)
    subjects = np.repeat(np.arange(1, 1 + 4 * subjects_per_class), pictures)
    images = [
        smears.draw(synthetic.CLASS_NAMES[label], int(subject), 1 + index % pictures, size=64)
        for index, (label, subject) in enumerate(zip(labels, subjects, strict=True))
    ]
    features = _colour_features(images)
    squares = ((features[:, None] - features[None]) ** 2).sum(axis=-1)
    squares[subjects[:, None] == subjects[None]] = np.inf
    accuracy = np.mean(labels[squares.argmin(axis=1)] == labels)
    assert accuracy < 0.4, accuracy  # chance is 0.25


def test_the_classes_differ_little_in_colour_where_the_slide_is_the_same():
    means = np.array(
        [
            [smears.draw(name, subject, 1, size=48).mean() for subject in range(40)]
            for name in synthetic.CLASS_NAMES
        ]
    )
    gaps = np.ptp(means.mean(axis=1))
    assert gaps < 0.6 * means.std(axis=1).mean(), means.mean(axis=1)


def test_what_is_written_is_read_back_whole(tmp_path: pathlib.Path):
    root = tmp_path / "new" / "drawn"
    synthetic.write(root, subjects_per_class=3, pictures_per_subject=2, size=32)
    data_set = synthetic.load(root)
    assert data_set.name == "drawn_smears"
    assert data_set.class_names == ("Benign", "Early", "Pre", "Pro")
    assert data_set.class_counts == dict.fromkeys(data_set.class_names, 6)
    assert "drawings" in data_set.caveat
    row = next(row for row in data_set.rows if row.subject == "S05" and row.number == 2)
    assert row.path == "Early/Drawn-Early-S05-002.png"
    image = decoding.decode(data_set.absolute(row).read_bytes())
    np.testing.assert_array_equal(image, smears.draw("Early", 5, 2, size=32))
    assert [path.name for path in root.parent.iterdir()] == ["drawn"]


def test_every_subject_has_one_class(tmp_path: pathlib.Path):
    synthetic.write(tmp_path / "drawn", subjects_per_class=3, pictures_per_subject=2, size=16)
    rows = synthetic.load(tmp_path / "drawn").rows
    pairs = {(row.subject, row.label) for row in rows}
    assert len(pairs) == len({subject for subject, _ in pairs}) == 12


def test_two_writings_agree_to_the_byte_and_another_seed_does_not(tmp_path: pathlib.Path):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        synthetic.write(
            tmp_path / name, subjects_per_class=1, pictures_per_subject=2, size=32, seed=seed
        )
    first, second, third = (_contents(tmp_path / name) for name in "abc")
    assert first == second
    assert first.keys() == third.keys()
    assert all(first[name] != third[name] for name in first)


def test_no_two_pictures_are_equal(tmp_path: pathlib.Path):
    synthetic.write(tmp_path / "drawn", subjects_per_class=2, pictures_per_subject=5, size=32)
    contents = _contents(tmp_path / "drawn").values()
    assert len({hashlib.sha256(data).digest() for data in contents}) == 40


@pytest.mark.parametrize("exists", [False, True])
def test_loading_draws_where_there_is_nothing_yet(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, exists: bool
):
    monkeypatch.setitem(synthetic.write.__kwdefaults__, "subjects_per_class", 2)
    monkeypatch.setitem(synthetic.write.__kwdefaults__, "pictures_per_subject", 1)
    root = tmp_path / "drawn"
    if exists:
        root.mkdir()
    first = synthetic.load(root)
    stamps = [first.absolute(row).stat().st_mtime_ns for row in first.rows]
    second = synthetic.load(root)
    assert len(first.rows) == 8
    assert first.rows == second.rows
    assert stamps == [second.absolute(row).stat().st_mtime_ns for row in second.rows]


def test_an_interrupted_drawing_leaves_nothing(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
):
    whole = smears.draw

    def stop_at_pro(class_name: str, *arguments: int, **settings: int) -> np.ndarray:
        if class_name == "Pro":
            raise KeyboardInterrupt
        return whole(class_name, *arguments, **settings)

    monkeypatch.setattr(smears, "draw", stop_at_pro)
    with pytest.raises(KeyboardInterrupt):
        synthetic.write(tmp_path / "drawn", subjects_per_class=1, pictures_per_subject=1, size=16)
    assert list(tmp_path.iterdir()) == []


def test_who_comes_second_reads_what_the_first_has_drawn(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
):
    whole = synthetic.write

    def overtaken(root: pathlib.Path) -> None:
        whole(root, subjects_per_class=1, pictures_per_subject=1, size=16)
        whole(root, subjects_per_class=1, pictures_per_subject=1, size=16)

    monkeypatch.setattr(synthetic, "write", overtaken)
    assert len(synthetic.load(tmp_path / "drawn").rows) == 4


@pytest.mark.parametrize(
    ("files", "there_is"),
    [
        (["notes.txt"], "notes.txt"),
        (["Original/Early/WBC-Malignant-Early-001.jpg"], "Original/Early/WBC-Malignant"),
        (["Original/Early/Drawn-Pre-S01-001.png"], "Original/Early/Drawn-Pre-S01-001.png"),
        (
            ["Original/Pre/Drawn-Pre-S01-001.png", "Original/Pre/mine.png"],
            r"there is Original/Pre/mine\.png$",
        ),
    ],
)
def test_a_folder_of_something_else_is_neither_read_nor_drawn_into(
    tmp_path: pathlib.Path, files: list[str], there_is: str
):
    for name in files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(errors.UserError, match=there_is) as caught:
        synthetic.load(tmp_path)
    assert "\n" not in str(caught.value)
    with pytest.raises(errors.UserError, match="empty or a new folder"):
        synthetic.write(tmp_path)


def test_a_file_in_the_folders_place_is_refused(tmp_path: pathlib.Path):
    (tmp_path / "drawn").write_text("")
    with pytest.raises(errors.UserError, match="a file of that name"):
        synthetic.load(tmp_path / "drawn")


def test_a_lost_class_is_missed(tmp_path: pathlib.Path):
    synthetic.write(tmp_path / "drawn", subjects_per_class=1, pictures_per_subject=1, size=16)
    (tmp_path / "drawn/Original/Pre/Drawn-Pre-S03-001.png").unlink()
    with pytest.raises(errors.UserError, match="no picture of class Pre"):
        synthetic.load(tmp_path / "drawn")


@pytest.mark.parametrize("setting", ["subjects_per_class", "pictures_per_subject", "size"])
def test_counts_below_one_are_refused(tmp_path: pathlib.Path, setting: str):
    with pytest.raises(errors.UserError, match="at least 1"):
        synthetic.write(tmp_path / "drawn", **{setting: 0})
