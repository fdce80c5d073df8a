import hashlib
import io

import numpy as np
import pytest
from PIL import Image

from jaxall.data import looking


def encode(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def noise(seed: int = 0, size: tuple[int, int] = (20, 30)) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)


def test_a_thumbnail_is_the_mean_of_each_part():
    image = noise(size=(32, 64))
    # Pillow rounds twice, after the columns and after the rows.
    means = image.reshape(16, 2, 16, 4, 3).mean(axis=(1, 3))
    small = looking.shrunk(image, 16)
    assert small.shape == (16, 16, 3) and small.dtype == np.uint8
    np.testing.assert_allclose(small, means, atol=1.01)


def test_corners_are_an_eighth_of_the_sides_from_upper_left_to_lower_right():
    image = np.zeros((64, 128, 3), np.uint8)
    image[:8, :16], image[:8, -16:], image[-8:, :16], image[-8:, -16:] = 10, 20, 30, 40
    corners = looking.look_at(encode(Image.fromarray(image))).corners
    assert corners.shape == (4, 8, 8, 3)
    assert [np.unique(corner).tolist() for corner in corners] == [[10], [20], [30], [40]]


def test_the_content_of_a_cell_on_black_does_not_depend_on_where_it_lies():
    cell = noise(size=(40, 50)) // 2 + 100
    contents = []
    for y, x in ((0, 0), (13, 70), (60, 50)):
        image = np.random.default_rng(y).integers(0, looking.BLACK + 1, (100, 120, 3), np.uint8)
        image[y : y + 40, x : x + 50] = cell
        contents.append(looking.look_at(encode(Image.fromarray(image))).content)
        np.testing.assert_array_equal(contents[-1], looking.shrunk(cell, 16))
    assert not np.array_equal(contents[0], looking.shrunk(image, 16))


@pytest.mark.parametrize("value", [0, 200])
def test_the_content_of_a_black_picture_or_a_field_is_the_whole(value):
    looked = looking.look_at(encode(Image.new("RGB", (40, 30), (value, value, value))))
    np.testing.assert_array_equal(looked.content, looked.thumbnail)


def test_a_frame_is_the_outer_eighth_row_by_row():
    image = np.zeros((64, 64, 3), np.uint8)
    image[:8], image[-8:], image[8:-8, :8], image[8:-8, -8:] = 10, 20, 30, 40
    frame = looking.frame(image)
    assert frame.shape == looking.FRAME
    side = np.repeat([30, 40], 4)
    expected = np.concatenate([[10] * 128, np.tile(side, 24), [20] * 128])
    np.testing.assert_array_equal(frame[:, 0], expected)


def test_a_picture_smaller_than_its_corners_is_looked_at_all_the_same():
    looked = looking.look_at(encode(Image.fromarray(noise(size=(1, 3)))))
    assert looked.corners.shape == looking.CORNERS
    assert looked.frame.shape == looking.FRAME
    assert looked.content.shape == looked.thumbnail.shape == looking.THUMBNAIL


def test_digests_are_of_the_file_and_of_the_pixels():
    data = encode(Image.fromarray(noise()))
    looked = looking.look_at(data)
    assert looked.size == len(data)
    assert looked.sha256 == hashlib.sha256(data).hexdigest()
    assert looked.pixels == hashlib.sha256(b"(20, 30, 3)" + noise().tobytes()).hexdigest()
