import pathlib

import numpy as np
import pytest

from jaxall.data import checking, dataset, decoding, duplicates, looking, quality


def table(count: int) -> dataset.DataSet:
    rows = tuple(dataset.Row(path=f"p{i}.png", label=0) for i in range(count))
    return dataset.DataSet(name="test", root=pathlib.Path(), class_names=("a",), rows=rows)


def looked(thumbnail: np.ndarray, pixels: str) -> looking.Looked:
    header = decoding.Header(format="PNG", mode="RGB", width=16, height=16)
    return looking.Looked(
        size=1,
        sha256=pixels,
        pixels=pixels,
        thumbnail=thumbnail,
        frame=np.zeros((448, 3), np.uint8),
        corners=np.zeros((4, 8, 8, 3), np.uint8),
        content=looking.shrunk(looking.content(thumbnail), 16),
        header=header,
        quality=quality.measure(thumbnail),
    )


def checked(thumbnails: np.ndarray, pixels: tuple[str, ...] = ()) -> checking.Checked:
    pixels = pixels or tuple(f"digest {i}" for i in range(len(thumbnails)))
    return checking.Checked(looked=tuple(map(looked, thumbnails, pixels)))


def noise(count: int, seed: int = 0) -> np.ndarray:
    generator = np.random.default_rng(seed)
    return generator.integers(0, 256, (count, 16, 16, 3), dtype=np.uint8)


def test_unrelated_pictures_are_alone():
    found = duplicates.find(table(5), checked(noise(5)))
    assert found.groups == () and found.reasons == ("",) * 5
    assert found.copies == 0 and found.pictures == 0


def test_equal_pixels_are_exact_duplicates():
    found = duplicates.find(table(4), checked(noise(4), ("x", "y", "x", "x")))
    assert found.groups == ((0, 2, 3),)
    assert found.reasons == (
        "exact duplicate of p2.png", "", "exact duplicate of p0.png", "exact duplicate of p0.png",
    )  # fmt: skip
    assert found.copies == 2


def test_a_brighter_copy_is_a_near_duplicate_and_the_correlation_is_told():
    thumbnails = noise(3) // 2
    thumbnails[2] = thumbnails[0] + 40
    thumbnails[2, 0, 0] = 0
    # Each channel about its own mean, over the pixels that are black in neither.
    shown = (thumbnails[[0, 2]] > looking.BLACK).any(axis=3).all(axis=0)
    one, other = (image[shown] - image[shown].mean(axis=0) for image in thumbnails[[0, 2]])
    expected = np.corrcoef(one.ravel(), other.ravel())[0, 1]
    found = duplicates.find(table(3), checked(thumbnails))
    assert found.groups == ((0, 2),) and found.copies == 0
    assert found.reasons[2] == f"near duplicate of p0.png ({expected:.3f})"


def test_the_exact_reason_goes_before_the_near_one():
    thumbnails = noise(3)
    thumbnails[1:] = thumbnails[0]
    found = duplicates.find(table(3), checked(thumbnails, ("x", "y", "x")))
    assert found.groups == ((0, 1, 2),)
    assert found.reasons[0] == "exact duplicate of p2.png"
    assert found.reasons[1] == "near duplicate of p0.png (1.000)"


def test_groups_chain():
    one, other = noise(2).astype(float)
    thumbnails = np.stack([one, 0.75 * one + 0.25 * other, 0.5 * one + 0.5 * other])
    found = duplicates.find(table(3), checked(thumbnails.astype(np.uint8)), near_duplicate=0.85)
    assert np.corrcoef(thumbnails[0].ravel(), thumbnails[2].ravel())[0, 1] < 0.85
    assert found.groups == ((0, 1, 2),)


def test_a_bound_of_one_finds_exact_duplicates_only():
    thumbnails = np.repeat(noise(1), 3, axis=0)
    found = duplicates.find(table(3), checked(thumbnails, ("x", "y", "x")), near_duplicate=1.0)
    assert found.groups == ((0, 2),)


def test_pictures_of_one_colour_are_no_near_duplicates():
    thumbnails = np.full((3, 16, 16, 3), 7, np.uint8)
    assert duplicates.find(table(3), checked(thumbnails)).groups == ()


def test_a_turned_or_mirrored_copy_is_told_in_both_directions():
    thumbnails = noise(4)
    thumbnails[1] = np.rot90(thumbnails[0])
    thumbnails[3] = np.rot90(thumbnails[2][:, ::-1])
    found = duplicates.find(table(4), checked(thumbnails))
    assert found.groups == ((0, 1), (2, 3)) and found.copies == 0
    assert found.reasons == (
        "near duplicate of p1.png (1.000, turned by 270 degrees)",
        "near duplicate of p0.png (1.000, turned by 90 degrees)",
        "near duplicate of p3.png (1.000, mirrored, turned by 90 degrees)",
        "near duplicate of p2.png (1.000, mirrored, turned by 90 degrees)",
    )


def test_a_symmetric_copy_is_told_as_it_is():
    half = noise(1)[0, :, :8]
    thumbnails = np.repeat(np.concatenate([half, half[:, ::-1]], axis=1)[None], 2, axis=0)
    found = duplicates.find(table(2), checked(thumbnails))
    assert found.reasons[1] == "near duplicate of p0.png (1.000)"


def test_a_set_without_pictures_has_no_duplicates():
    assert duplicates.find(table(0), checked(noise(0))).groups == ()


@pytest.mark.parametrize("bound", [0.0, -0.5, 1.01, float("nan")])
def test_an_impossible_bound_is_refused(bound):
    with pytest.raises(ValueError, match="near_duplicate"):
        duplicates.find(table(2), checked(noise(2)), near_duplicate=bound)


def test_a_check_of_another_table_is_refused():
    with pytest.raises(ValueError, match="wanted 3 checked pictures, got 2"):
        duplicates.find(table(3), checked(noise(2)))


def test_a_partition_joins_sets_that_share_a_member():
    partition = duplicates.Partition(7)
    for positions in ([5, 6], [1, 3], [3, 4], [4, 6], [2]):
        partition.join(positions)
    assert partition.groups() == ((1, 3, 4, 5, 6),)
