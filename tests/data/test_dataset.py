import hashlib
import io
import os
import pathlib
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from jaxall import data as data_package
from jaxall import errors
from jaxall.data import dataset


def encode(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def noise(seed: int = 0, size: tuple[int, int] = (20, 30)) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)


def write(root: pathlib.Path, names: tuple[str, ...]) -> dataset.DataSet:
    for seed, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(noise(seed)).save(root / name)
    rows = tuple(dataset.Row(path=name, label=index % 2) for index, name in enumerate(names))
    return dataset.DataSet(name="test", root=root, class_names=("a", "b"), rows=rows)


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF"])
def test_lossless_pictures_come_back_as_they_were(kind):
    image = noise()
    decoded = dataset.decode(encode(Image.fromarray(image), kind))
    assert decoded.dtype == np.uint8
    np.testing.assert_array_equal(decoded, image)


def test_a_jpeg_is_decoded_as_pillow_does():
    data = encode(Image.fromarray(noise()), "JPEG", quality=90)
    np.testing.assert_array_equal(
        dataset.decode(data), np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    )


@pytest.mark.parametrize("mode", ["1", "L", "P", "CMYK", "RGB"])
def test_every_mode_becomes_rgb(mode):
    image = Image.fromarray(noise()).convert(mode)
    kind = "TIFF" if mode == "CMYK" else "PNG"
    assert dataset.decode(encode(image, kind)).shape == (20, 30, 3)


def test_the_exif_orientation_is_applied():
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown turned by 90 degrees clockwise
    data = encode(Image.fromarray(noise()), "PNG", exif=exif)
    np.testing.assert_array_equal(dataset.decode(data), np.rot90(noise(), -1))


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparency_is_laid_on_white(mode):
    image = Image.new(mode, (2, 1), 0)
    image.putpixel((1, 0), (0, 0, 0, 255) if mode == "RGBA" else (0, 255))
    assert dataset.decode(encode(image)).tolist() == [[[255, 255, 255], [0, 0, 0]]]


def test_a_transparent_palette_colour_is_laid_on_white():
    image = Image.new("P", (2, 1), 0)
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.putpixel((1, 0), 1)
    assert dataset.decode(encode(image, transparency=0)).tolist() == [
        [[255, 255, 255], [40, 50, 60]]
    ]


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "TIFF"])
@pytest.mark.parametrize("kept", [0.0, 0.1, 0.5, 0.9])
def test_a_truncated_picture_is_refused(kind, kept):
    data = encode(Image.fromarray(noise(size=(64, 64))), kind)
    with pytest.raises(dataset.UndecodableError):
        dataset.decode(data[: int(len(data) * kept)])


def test_other_formats_are_refused():
    gif = encode(Image.fromarray(noise()), "GIF")
    with pytest.raises(dataset.UndecodableError, match="no JPEG/PNG/BMP/TIFF"):
        dataset.decode(gif)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bit_grey_is_refused(kind):
    image = Image.fromarray(np.full((4, 4), 4000, np.uint16))
    with pytest.raises(dataset.UndecodableError, match="8 bits a channel"):
        dataset.decode(encode(image, kind))


def png_of(width: int, height: int, depth: int, pixels: bytes) -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        checksum = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)

    header = struct.pack(">IIBBBBB", width, height, depth, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(pixels)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def test_sixteen_bit_colour_is_refused():
    assert dataset.decode(png_of(1, 1, 8, b"\0\1\2\3")).tolist() == [[[1, 2, 3]]]
    with pytest.raises(dataset.UndecodableError, match="8 bits a channel"):
        dataset.decode(png_of(1, 1, 16, b"\0" + b"\1\2" * 3))


@pytest.mark.parametrize("side", [9_500, 12_000, 60_000])
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_decompression_bomb_is_refused_by_its_header(side):
    with pytest.raises(dataset.UndecodableError, match="more than 89,478,485 pixels"):
        dataset.decode(png_of(side, side, 8, b""))


def test_a_bomb_is_refused_where_warnings_are_errors_too():
    with pytest.raises(dataset.UndecodableError, match="more than 89,478,485 pixels"):
        dataset.decode(png_of(9_500, 9_500, 8, b""))


def test_a_thumbnail_is_the_mean_of_each_part():
    image = noise(size=(32, 64))
    # Pillow rounds twice, after the columns and after the rows.
    means = image.reshape(16, 2, 16, 4, 3).mean(axis=(1, 3))
    small = dataset.thumbnail(image)
    assert small.shape == (16, 16, 3) and small.dtype == np.uint8
    np.testing.assert_allclose(small, means, atol=1.01)


def test_pictures_are_found_sorted_and_clutter_is_passed_over(tmp_path):
    wanted = ["a/2.JPG", "a/10.jpg", "b/c/1.tif", "z.png"]
    clutter = ["a/._2.jpg", ".hidden/3.jpg", "__MACOSX/a/2.jpg", "a/notes.txt", "a/.x.png"]
    for name in wanted + clutter:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = [path.relative_to(tmp_path).as_posix() for path in dataset.find_images(tmp_path)]
    assert found == sorted(wanted)


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(errors.UserError, match="nowhere"):
        dataset.find_images(tmp_path / "nowhere")


def test_labels_and_counts_follow_the_rows(tmp_path):
    table = dataset.DataSet(
        name="test",
        root=tmp_path,
        class_names=("a", "b", "c"),
        rows=tuple(dataset.Row(path=f"{i}.png", label=label) for i, label in enumerate((0, 2, 0))),
    )
    assert table.labels.tolist() == [0, 2, 0] and table.labels.dtype == np.int32
    assert table.class_counts == {"a": 2, "b": 0, "c": 1}
    assert table.absolute(table.rows[1]) == tmp_path / "1.png"


def test_an_empty_class_is_named(tmp_path):
    table = write(tmp_path, ("1.png",))
    with pytest.raises(errors.UserError, match=r"no picture of class b .*a 1, b 0"):
        dataset.require_every_class(table)


def test_a_data_set_without_pictures_is_refused(tmp_path):
    table = dataset.DataSet(name="test", root=tmp_path, class_names=("a", "b"), rows=())
    with pytest.raises(errors.UserError, match="no pictures"):
        dataset.require_every_class(table)


@pytest.mark.parametrize("threads", [1, 3])
def test_a_check_returns_everything_in_the_order_of_the_rows(tmp_path, threads):
    table = write(tmp_path, ("x/3.png", "x/1.png", "y/2.png"))
    calls = []
    checked = dataset.check(table, threads=threads, progress=lambda *call: calls.append(call))
    assert calls == [(1, 3), (2, 3), (3, 3)]
    for index, row in enumerate(table.rows):
        data = table.absolute(row).read_bytes()
        assert checked.sha256[index] == hashlib.sha256(data).hexdigest()
        expected = dataset.thumbnail(dataset.decode(data))
        np.testing.assert_array_equal(checked.thumbnails[index], expected)


def test_equal_pixels_in_other_files_are_told_by_the_pixels_digest(tmp_path):
    table = write(tmp_path, ("1.png", "2.png", "3.bmp"))
    Image.fromarray(noise(0)).save(tmp_path / "3.bmp")
    Image.fromarray(noise(0).reshape(30, 20, 3)).save(tmp_path / "2.png")  # same bytes, other size
    checked = dataset.check(table)
    assert checked.pixels[0] == checked.pixels[2] != checked.pixels[1]
    assert checked.sha256[0] != checked.sha256[2]


def test_all_unreadable_pictures_are_reported_together(tmp_path):
    table = write(tmp_path, tuple(f"{i}.png" for i in range(9)))
    whole = (tmp_path / "1.png").read_bytes()
    (tmp_path / "1.png").write_bytes(whole[:200])
    (tmp_path / "2.png").write_bytes(b"")
    (tmp_path / "4.png").write_text("<html>")
    (tmp_path / "7.png").unlink()
    with pytest.raises(dataset.UnreadablePicturesError) as caught:
        dataset.check(table)
    line = str(caught.value)
    assert "4 of 9 pictures" in line and "nothing was trained" in line and "\n" not in line
    assert all(f"{i}.png" in line for i in (1, 2, 4)) and "7.png" not in line
    assert [detail.split(":")[0] for detail in caught.value.details] == [
        "1.png", "2.png", "4.png", "7.png",
    ]  # fmt: skip
    assert caught.value.details[-1] == "7.png: no such file or directory"


def test_a_picture_without_permission_is_reported(tmp_path, monkeypatch):
    table = write(tmp_path, ("1.png", "2.png"))
    read = pathlib.Path.read_bytes

    def refuse(path: pathlib.Path) -> bytes:
        if path.name == "2.png":
            raise PermissionError(13, "Permission denied", str(path))
        return read(path)

    monkeypatch.setattr(pathlib.Path, "read_bytes", refuse)
    with pytest.raises(errors.UserError, match=r"1 of 2 .*2\.png: permission denied"):
        dataset.check(table)


def test_an_unknown_data_set_is_answered_with_the_nearest_name():
    with pytest.raises(errors.UserError, match=r"'b_al'.*b_all, drawn_smears.*mean b_all\?"):
        data_package.load(dataset.DataSettings(name="b_al"))


def test_linked_folders_are_followed_once_and_pipes_are_not_read(tmp_path):
    (tmp_path / "far").mkdir()
    (tmp_path / "here").mkdir()
    Image.new("RGB", (4, 4)).save(tmp_path / "far" / "a.png")
    (tmp_path / "here" / "linked").symlink_to(tmp_path / "far")
    (tmp_path / "far" / "loop").symlink_to(tmp_path / "here")
    os.mkfifo(tmp_path / "here" / "pipe.png")
    found = dataset.find_images(tmp_path / "here")
    assert found == [tmp_path / "here" / "linked" / "a.png", tmp_path / "here" / "pipe.png"]
    with pytest.raises(dataset.UndecodableError, match="no regular file"):
        dataset.read(found[1])


def test_copies_in_another_class_are_found(tmp_path):
    rows = []
    for label, name in ((0, "a"), (0, "b"), (1, "c"), (1, "d")):
        colour = {"a": 10, "b": 20, "c": 10, "d": 30}[name]
        Image.new("RGB", (4, 4), (colour, 0, 0)).save(tmp_path / f"{name}.png")
        rows.append(dataset.Row(path=f"{name}.png", label=label))
    data_set = dataset.DataSet(name="x", root=tmp_path, class_names=("A", "B"), rows=tuple(rows))
    assert dataset.contradictions(data_set, dataset.check(data_set)) == [0, 2]
