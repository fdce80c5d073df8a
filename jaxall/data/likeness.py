"""Pairs of pictures that show the same, however they are turned or mirrored.

A perceptual hash finds candidates among all pairs: the signs of the lowest frequencies of the luma
(pHash; Zauner, 2010, https://www.phash.org/docs/pubs/thesis_zauner.pdf). A candidate counts if the
colours correlate as well. Both look only at what isn't black, so that of cells cut out on black
the texture is compared and not the silhouette, in which all cells are alike.
"""

import dataclasses
from collections.abc import Iterator

import numpy as np

from jaxall.data import looking

# Of the pairs in Taleqani's set whose colours correlate above 0.9 none differs in more than 7.
MOST_BITS = 12
BITS = 63  # 8 x 8 frequencies without the constant one
LEAST_OVERLAP = 0.8  # of the silhouettes: what both show over what either shows
# What `moved` does to a picture, by position.
WORDS = (
    "",
    "turned by 90 degrees",
    "turned by 180 degrees",
    "turned by 270 degrees",
    "mirrored",
    "mirrored, turned by 90 degrees",
    "mirrored, turned by 180 degrees",
    "mirrored, turned by 270 degrees",
)
BACK = np.array([0, 3, 2, 1, 4, 5, 6, 7])  # the position that undoes a position
_LUMA = np.array([0.299, 0.587, 0.114])  # ITU-R 601
_BLOCK = 1024  # pictures compared with all others at a time: 60 MB of agreements for 15,000
_PAIRS = 4096  # pairs verified at a time: 100 MB


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pairs:
    """Pairs of alike pictures, each array [P].

    Attributes:
        first, second: their numbers.
        position: the first is the second, `moved` to here.
        correlation: how alike they are so, at most 1.
    """

    first: np.ndarray
    second: np.ndarray
    position: np.ndarray
    correlation: np.ndarray

    def both_ways(self) -> "Pairs":
        """Each pair twice, the second time with the pictures' roles changed."""
        return Pairs(
            first=np.concatenate([self.first, self.second]),
            second=np.concatenate([self.second, self.first]),
            position=np.concatenate([self.position, BACK[self.position]]),
            correlation=np.concatenate([self.correlation, self.correlation]),
        )


def moved(images: np.ndarray, position: int) -> np.ndarray:
    """Images [N,S,S,...] mirrored left to right from position 4 on, then turned anticlockwise."""
    mirrored = images[:, :, ::-1] if position >= 4 else images
    return np.rot90(mirrored, position % 4, axes=(1, 2))


def hashes(contents: np.ndarray) -> np.ndarray:
    """The perceptual hash in all eight positions: uint8 [N,S,S,3] -> float32 [8,N,63] of +1, -1.

    A picture of one colour has none: zeros, which agree with nothing.
    """
    shown = _shown(contents)
    count = np.maximum(shown.sum(axis=(1, 2)), 1)[:, None, None]
    luma = np.where(shown, contents @ _LUMA, 0.0)
    luma = np.where(shown, luma - luma.sum(axis=(1, 2), keepdims=True) / count, 0.0)
    is_flat = np.abs(luma).max(axis=(1, 2), initial=0.0) < 1e-6
    places = (2 * np.arange(contents.shape[1]) + 1) / (2 * contents.shape[1])
    waves = np.cos(np.pi * np.arange(8)[:, None] * places)
    found = []
    for position in range(len(WORDS)):
        frequencies = (waves @ moved(luma, position) @ waves.T).reshape(-1, 64)[:, 1:]
        # What is 0 but for rounding, as in a symmetric picture, must have one sign everywhere.
        signs = np.where(np.round(frequencies, 6) >= 0, 1.0, -1.0)
        found.append(np.where(is_flat[:, None], 0.0, signs))
    return np.array(found, np.float32)


def correlations(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """How alike pictures are, two by two: uint8 [P,S,S,3] twice -> [P], at most 1.

    The correlation of the pixels that aren't black in either, each channel about its own mean: a
    common stain is no likeness. 0 where the silhouettes differ or a picture has one colour.
    """
    shown_first, shown_second = _shown(first), _shown(second)
    both = shown_first & shown_second
    either = np.count_nonzero(shown_first | shown_second, axis=(1, 2))
    count = np.count_nonzero(both, axis=(1, 2))

    def centred(images: np.ndarray) -> np.ndarray:
        values = np.where(both[..., None], images, 0).astype(np.float64)
        means = values.sum(axis=(1, 2)) / np.maximum(count, 1)[:, None]
        return np.where(both[..., None], values - means[:, None, None], 0.0)

    one, other = centred(first), centred(second)
    squares = np.square(one).sum(axis=(1, 2, 3)) * np.square(other).sum(axis=(1, 2, 3))
    is_sound = (squares > 1e-6) & (count >= LEAST_OVERLAP * either)
    products = (one * other).sum(axis=(1, 2, 3))
    return np.where(is_sound, np.minimum(products / np.sqrt(np.maximum(squares, 1e-6)), 1.0), 0.0)


def find(contents: np.ndarray, bound: float) -> Pairs:
    """All pairs whose correlation in some position is above the bound.

    Args:
        contents: what isn't black of each picture, uint8 [N,S,S,3].
        bound: in (0, 1].
    """
    found = []
    for first, second, position in _candidates(hashes(contents)):
        for start in range(0, len(first), _PAIRS):
            some = slice(start, start + _PAIRS)
            others = moved(contents[second[some]], position)
            correlation = correlations(contents[first[some]], others)
            above = np.flatnonzero(correlation > bound)
            pairs = first[some][above], second[some][above]
            found.append((*pairs, np.full(len(above), position), correlation[above]))
    columns = [np.concatenate(column) for column in zip(*found, strict=True)]
    first, second, position, correlation = columns or (*np.zeros((3, 0), np.int64), np.zeros(0))
    return Pairs(first=first, second=second, position=position, correlation=correlation)


def _candidates(hashed: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray, int]]:
    """Yields (first, second, position): pairs, first < second, of nearly the same hash."""
    for start in range(0, hashed.shape[1], _BLOCK):
        block = hashed[0, start : start + _BLOCK]
        for position, others in enumerate(hashed):
            agreements = block @ others[start:].T  # bits that agree less those that differ
            first, second = np.nonzero(agreements >= BITS - 2 * MOST_BITS)
            later = second > first
            yield start + first[later], start + second[later], position


def _shown(images: np.ndarray) -> np.ndarray:
    """Which pixels aren't black, bool [N,S,S]."""
    return images.max(axis=3) > looking.BLACK
