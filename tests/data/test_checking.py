import hashlib
import pathlib

import numpy as np
import pytest
from PIL import Image

from jaxall import errors
from jaxall.data import checking, decoding, looking
from tests import pictures


@pytest.mark.parametrize("threads", [1, 3])
def test_a_check_returns_everything_in_the_order_of_the_rows(tmp_path, threads):
    table = pictures.write(tmp_path, ("x/3.png", "x/1.png", "y/2.png"))
    calls = []
    checked = checking.check(table, threads=threads, progress=calls.append)
    assert calls == [1, 2, 3]
    for index, row in enumerate(table.rows):
        data = table.absolute(row).read_bytes()
        assert checked.looked[index].sha256 == hashlib.sha256(data).hexdigest()
        expected = looking.shrunk(decoding.decode(data), 16)
        np.testing.assert_array_equal(checked.thumbnails[index], expected)


def test_equal_pixels_in_other_files_are_told_by_the_pixels_digest(tmp_path):
    table = pictures.write(tmp_path, ("1.png", "2.png", "3.bmp"))
    Image.fromarray(pictures.noise(0)).save(tmp_path / "3.bmp")
    Image.fromarray(pictures.noise(0).reshape(30, 20, 3)).save(
        tmp_path / "2.png"
    )  # same bytes, other size
    checked = checking.check(table)
    assert checked.pixels[0] == checked.pixels[2] != checked.pixels[1]
    assert checked.looked[0].sha256 != checked.looked[2].sha256


def test_all_unreadable_pictures_are_reported_together(tmp_path):
    table = pictures.write(tmp_path, tuple(f"{i}.png" for i in range(9)))
    whole = (tmp_path / "1.png").read_bytes()
    (tmp_path / "1.png").write_bytes(whole[:200])
    (tmp_path / "2.png").write_bytes(b"")
    (tmp_path / "4.png").write_text("<html>")
    (tmp_path / "7.png").unlink()
    with pytest.raises(checking.UnreadablePicturesError) as caught:
        checking.check(table)
    line = str(caught.value)
    assert "4 of 9 pictures" in line and "nothing was trained" in line and "\n" not in line
    assert all(f"{i}.png" in line for i in (1, 2, 4)) and "7.png" not in line
    assert [detail.split(":")[0] for detail in caught.value.details] == [
        "1.png", "2.png", "4.png", "7.png",
    ]  # fmt: skip
    assert caught.value.details[-1] == "7.png: no such file or directory"


def test_a_picture_without_permission_is_reported(tmp_path, monkeypatch):
    table = pictures.write(tmp_path, ("1.png", "2.png"))
    read = pathlib.Path.read_bytes

    def refuse(path: pathlib.Path) -> bytes:
        if path.name == "2.png":
            raise PermissionError(13, "Permission denied", str(path))
        return read(path)

    monkeypatch.setattr(pathlib.Path, "read_bytes", refuse)
    with pytest.raises(errors.UserError, match=r"1 of 2 .*2\.png: permission denied"):
        checking.check(table)
