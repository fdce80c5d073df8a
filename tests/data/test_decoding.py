import io
import os

import numpy as np
import pytest
from PIL import Image

from jaxall import errors
from jaxall.data import decoding
from tests import pictures


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF"])
def test_lossless_pictures_come_back_as_they_were(kind):
    image = pictures.noise()
    decoded = decoding.decode(pictures.encode(Image.fromarray(image), kind))
    assert decoded.dtype == np.uint8
    np.testing.assert_array_equal(decoded, image)


def test_a_jpeg_is_decoded_as_pillow_does():
    data = pictures.encode(Image.fromarray(pictures.noise()), "JPEG", quality=90)
    np.testing.assert_array_equal(
        decoding.decode(data), np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    )


@pytest.mark.parametrize("mode", ["1", "L", "P", "CMYK", "RGB"])
def test_every_mode_becomes_rgb(mode):
    image = Image.fromarray(pictures.noise()).convert(mode)
    kind = "TIFF" if mode == "CMYK" else "PNG"
    assert decoding.decode(pictures.encode(image, kind)).shape == (20, 30, 3)


def test_the_exif_orientation_is_applied():
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown turned by 90 degrees clockwise
    data = pictures.encode(Image.fromarray(pictures.noise()), "PNG", exif=exif)
    np.testing.assert_array_equal(decoding.decode(data), np.rot90(pictures.noise(), -1))


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparency_is_laid_on_white(mode):
    image = Image.new(mode, (2, 1), 0)
    image.putpixel((1, 0), (0, 0, 0, 255) if mode == "RGBA" else (0, 255))
    assert decoding.decode(pictures.encode(image)).tolist() == [[[255, 255, 255], [0, 0, 0]]]


def test_a_transparent_palette_colour_is_laid_on_white():
    image = Image.new("P", (2, 1), 0)
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.putpixel((1, 0), 1)
    assert decoding.decode(pictures.encode(image, transparency=0)).tolist() == [
        [[255, 255, 255], [40, 50, 60]]
    ]


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "TIFF"])
@pytest.mark.parametrize("kept", [0.0, 0.1, 0.5, 0.9])
def test_a_truncated_picture_is_refused(kind, kept):
    data = pictures.encode(Image.fromarray(pictures.noise(size=(64, 64))), kind)
    with pytest.raises(decoding.UndecodableError):
        decoding.decode(data[: int(len(data) * kept)])


def test_other_formats_are_refused():
    gif = pictures.encode(Image.fromarray(pictures.noise()), "GIF")
    with pytest.raises(decoding.UndecodableError, match="no JPEG/PNG/BMP/TIFF"):
        decoding.decode(gif)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bit_grey_is_refused(kind):
    image = Image.fromarray(np.full((4, 4), 4000, np.uint16))
    with pytest.raises(decoding.UndecodableError, match="8 bits a channel"):
        decoding.decode(pictures.encode(image, kind))


def test_sixteen_bit_colour_is_refused():
    assert decoding.decode(pictures.png_of(1, 1, 8, b"\0\1\2\3")).tolist() == [[[1, 2, 3]]]
    with pytest.raises(decoding.UndecodableError, match="8 bits a channel"):
        decoding.decode(pictures.png_of(1, 1, 16, b"\0" + b"\1\2" * 3))


@pytest.mark.parametrize("side", [9_500, 12_000, 60_000])
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_decompression_bomb_is_refused_by_its_header(side):
    with pytest.raises(decoding.UndecodableError, match="more than 89,478,485 pixels"):
        decoding.decode(pictures.png_of(side, side, 8, b""))


def test_a_bomb_is_refused_where_warnings_are_errors_too():
    with pytest.raises(decoding.UndecodableError, match="more than 89,478,485 pixels"):
        decoding.decode(pictures.png_of(9_500, 9_500, 8, b""))


def test_pictures_are_found_sorted_and_clutter_is_passed_over(tmp_path):
    wanted = ["a/2.JPG", "a/10.jpg", "b/c/1.tif", "z.png"]
    clutter = ["a/._2.jpg", ".hidden/3.jpg", "__MACOSX/a/2.jpg", "a/notes.txt", "a/.x.png"]
    for name in wanted + clutter:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = [path.relative_to(tmp_path).as_posix() for path in decoding.find_images(tmp_path)]
    assert found == sorted(wanted)


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(errors.UserError, match="nowhere"):
        decoding.find_images(tmp_path / "nowhere")


def test_linked_folders_are_followed_once_and_pipes_are_not_read(tmp_path):
    (tmp_path / "far").mkdir()
    (tmp_path / "here").mkdir()
    Image.new("RGB", (4, 4)).save(tmp_path / "far" / "a.png")
    (tmp_path / "here" / "linked").symlink_to(tmp_path / "far")
    (tmp_path / "far" / "loop").symlink_to(tmp_path / "here")
    os.mkfifo(tmp_path / "here" / "pipe.png")
    found = decoding.find_images(tmp_path / "here")
    assert found == [tmp_path / "here" / "linked" / "a.png", tmp_path / "here" / "pipe.png"]
    with pytest.raises(decoding.UndecodableError, match="no regular file"):
        decoding.read(found[1])


def test_a_folder_that_is_linked_beside_itself_is_read_once(tmp_path):
    (tmp_path / "b").mkdir()
    Image.new("RGB", (4, 4)).save(tmp_path / "b" / "1.png")
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b" / "loop").symlink_to(tmp_path)
    assert decoding.find_images(tmp_path) == [tmp_path / "a" / "1.png"]


def test_folders_nested_too_deeply_are_told(tmp_path, monkeypatch):
    def walk(*arguments, **settings):
        yield str(tmp_path), [], []
        raise RecursionError

    monkeypatch.setattr(os, "walk", walk)
    with pytest.raises(errors.UserError, match="nested too deeply"):
        decoding.find_images(tmp_path)
