"""Every kind of bad picture and bad folder: the line that it gives, or what becomes of it."""

import os

import numpy as np
import pytest
from PIL import Image

from jaxall import data as data_package
from jaxall import errors
from jaxall.data import (
    checking,
    checksums,
    dataset,
    decoding,
    duplicates,
    quarantine,
    splits,
)
from tests import pictures

PICTURE = Image.fromarray(pictures.noise(size=(40, 40)))
REFUSED = {
    "truncated.jpg": (
        pictures.encode(PICTURE, "JPEG")[:400],
        "runcated",
    ),
    "empty.png": (b"", "0 bytes that are no JPEG/PNG/BMP/TIFF"),
    "a page.jpg": (b"<html>not found</html>", "22 bytes that are no JPEG/PNG/BMP/TIFF"),
    "animated.png": (
        pictures.encode(PICTURE, "GIF", save_all=True, append_images=[PICTURE]),
        "bytes that are no JPEG/PNG/BMP/TIFF",
    ),
    "deep.png": (
        pictures.encode(Image.fromarray(np.full((4, 4), 4000, np.uint16))),
        "wanted 8 bits a channel, got more: convert the picture first",
    ),
    "deep colour.png": (
        pictures.png_of(1, 1, 16, b"\0" + b"\1\2" * 3),
        "wanted 8 bits a channel, got more: convert the picture first",
    ),
    "bomb.png": (pictures.png_of(40_000, 40_000, 8, b""), "more than 89,478,485 pixels"),
}
EXIF = Image.Exif()
EXIF[0x0112] = 6  # to be shown turned by 90 degrees clockwise
READ = {
    "cmyk.jpg": (pictures.encode(PICTURE.convert("CMYK"), "JPEG"), (40, 40, 3)),
    "palette.png": (pictures.encode(PICTURE.convert("P")), (40, 40, 3)),
    "alpha.png": (pictures.encode(PICTURE.convert("RGBA")), (40, 40, 3)),
    "grey.png": (pictures.encode(PICTURE.convert("L")), (40, 40, 3)),
    "turned.jpg": (
        pictures.encode(Image.fromarray(pictures.noise(size=(40, 20))), "JPEG", exif=EXIF),
        (20, 40, 3),
    ),
    "wrong name.jpg": (pictures.encode(PICTURE, "PNG"), (40, 40, 3)),
    "pages.tif": (
        pictures.encode(PICTURE, "TIFF", save_all=True, append_images=[PICTURE.resize((8, 8))]),
        (40, 40, 3),
    ),
    "dot.png": (pictures.encode(PICTURE.resize((1, 1))), (1, 1, 3)),
}


def folder_of(root, files: dict[str, bytes], good: int = 9):
    """Two classes of good pictures, and the files beside those of the first."""
    for name in ("blast", "normal"):
        (root / name).mkdir(parents=True)
        for number in range(good):
            image = Image.fromarray(pictures.noise(size=(16, 16 + number)))
            image.save(root / name / f"{number}.png")
    for name, content in files.items():
        (root / "blast" / name).write_bytes(content)
    return data_package.load(dataset.DataSettings(name="folder", root=str(root)))


@pytest.mark.parametrize("name", REFUSED)
def test_a_picture_that_can_not_be_used_gives_one_line_and_can_be_left_out(tmp_path, name):
    content, reason = REFUSED[name]
    data_set = folder_of(tmp_path / "mine", {name: content})
    with pytest.raises(checking.UnreadablePicturesError) as caught:
        checking.check(data_set)
    line = str(caught.value)
    assert line.startswith(f"can't read 1 of 19 pictures under {tmp_path}/mine, nothing was ")
    assert f"(blast/{name}: " in line and reason in line and "\n" not in line
    checked = checking.check(data_set, most_bad=0.06)
    assert list(checked.quarantined) == [f"blast/{name}"] and len(checked.looked) == 18
    quarantine.save(checked.quarantined, tmp_path / "quarantine.csv")
    assert quarantine.load(tmp_path / "quarantine.csv") == checked.quarantined
    assert len(data_set.without(checked.quarantined).rows) == 18


def test_more_bad_pictures_than_are_put_up_with_stop_all_the_same(tmp_path):
    data_set = folder_of(tmp_path, {name: content for name, (content, _) in REFUSED.items()})
    with pytest.raises(checking.UnreadablePicturesError) as caught:
        checking.check(data_set, most_bad=0.2)
    assert len(caught.value.details) == 7
    assert str(caught.value).endswith("; data.most_bad allows 0.2 of them")
    assert len(checking.check(data_set, most_bad=0.3).quarantined) == 7


@pytest.mark.parametrize("name", READ)
def test_unusual_pictures_are_read(tmp_path, name):
    content, shape = READ[name]
    data_set = folder_of(tmp_path, {name: content})
    checked = checking.check(data_set)
    assert not checked.quarantined and len(checked.looked) == 19
    assert decoding.decode(content).shape == shape


def test_a_file_that_may_not_be_read_is_named(tmp_path, monkeypatch):
    data_set = folder_of(tmp_path, {"secret.png": pictures.encode(PICTURE)})
    read = decoding.read

    def refuse(path):
        if str(path).endswith("secret.png"):
            raise PermissionError(13, "Permission denied", str(path))
        return read(path)

    monkeypatch.setattr(decoding, "read", refuse)
    with pytest.raises(errors.UserError, match=r"\(blast/secret\.png: permission denied\)"):
        checking.check(data_set)


def test_names_that_are_no_text_are_read_and_quarantined(tmp_path):
    name = os.fsdecode(b"caf\xe9.png")
    data_set = folder_of(tmp_path / "mine", {name: pictures.encode(PICTURE), "b\udce9d.png": b""})
    checked = checking.check(data_set, most_bad=0.1)
    assert list(checked.quarantined) == ["blast/b\udce9d.png"] and len(checked.looked) == 19
    quarantine.save(checked.quarantined, tmp_path / "quarantine.csv")
    assert quarantine.load(tmp_path / "quarantine.csv") == checked.quarantined


def test_links_in_a_circle_end(tmp_path):
    folder_of(tmp_path, {})
    (tmp_path / "blast" / "again").symlink_to(tmp_path)
    data_set = data_package.load(dataset.DataSettings(name="folder", root=str(tmp_path)))
    assert len(data_set.rows) == 18


@pytest.mark.parametrize(
    ("classes", "line"),
    [
        ((), "the classes in .* are none; wanted a folder"),
        (("blast",), "the classes in .* are blast"),
    ],
)
def test_fewer_than_two_classes_are_refused(tmp_path, classes, line):
    for name in classes:
        (tmp_path / name).mkdir()
        PICTURE.save(tmp_path / name / "1.png")
    with pytest.raises(errors.UserError, match=line):
        data_package.load(dataset.DataSettings(name="folder", root=str(tmp_path)))


def split(data_set, **settings):
    alone = duplicates.Duplicates(groups=(), reasons=("",) * len(data_set.rows), copies=0)
    return splits.make(data_set, alone, splits.SplitSettings(**settings))


def test_a_class_that_a_side_would_lack_is_refused(tmp_path):
    data_set = folder_of(tmp_path, {}, good=2)
    with pytest.raises(errors.UserError, match="there is none of blast for validation: the class"):
        split(data_set)


def test_fewer_pictures_than_folds_are_refused(tmp_path):
    data_set = folder_of(tmp_path, {}, good=4)
    with pytest.raises(errors.UserError, match="wanted at least 5 subjects or pictures of each"):
        split(data_set, kind="folds")


def test_a_line_break_in_a_name_is_told(tmp_path):
    data_set = folder_of(tmp_path, {"two\nlines.png": pictures.encode(PICTURE)})
    checked = checking.check(data_set, most_bad=0.1)
    assert checked.quarantined == {"blast/two\nlines.png": "a line break in its name"}


def test_other_kinds_of_line_end_in_a_name_are_kept(tmp_path):
    data_set = folder_of(tmp_path / "mine", {"two\u2028\x0c\r.png": pictures.encode(PICTURE)})
    sums = checking.check(data_set).sha256(data_set)
    checksums.save(sums, tmp_path / "pictures.sha256")
    checking.require_same_files(data_set, range(19), tmp_path / "pictures.sha256")


def test_a_pipe_in_place_of_a_picture_is_another_file(tmp_path):
    data_set = folder_of(tmp_path / "mine", {})
    sums = checking.check(data_set).sha256(data_set)
    checksums.save(sums, tmp_path / "pictures.sha256")
    (tmp_path / "mine" / "blast" / "3.png").unlink()
    os.mkfifo(tmp_path / "mine" / "blast" / "3.png")
    with pytest.raises(errors.UserError, match=r"1 of 18 .* the first: blast/3\.png"):
        checking.require_same_files(data_set, range(18), tmp_path / "pictures.sha256")
