"""What one picture shows: digests, shrunken parts and figures, from one look at its file."""

import dataclasses
import hashlib

import numpy as np
from PIL import Image

from jaxall.data import decoding, quality

# Shapes of what is kept of a picture.
THUMBNAIL = (16, 16, 3)
FRAME = (448, 3)  # the outer 4 pixels of 32 x 32: an eighth of the sides
CORNERS = (4, 8, 8, 3)
CORNERS_IN_A_SIDE = 8
BLACK = 15  # a pixel is black if no channel is above: JPEG leaves no background at 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Looked:
    """What one picture shows.

    Attributes:
        size: of the file, in bytes.
        sha256: of the file's bytes.
        pixels: sha256 of the decoded picture and its size; equal means the same picture.
        thumbnail: uint8 [16,16,3] RGB, each pixel the mean of its part of the picture.
        frame: uint8 [448,3] RGB, the outer eighth of the picture shrunken to 32 x 32: where no
            cell of interest need be.
        corners: uint8 [4,8,8,3] RGB, each an eighth of the sides, upper left to lower right: where
            scale bars and dates are burnt in.
        content: uint8 [16,16,3] RGB, as the thumbnail, of the part that isn't black around: equal
            to the thumbnail unless the picture is a cell cut out on black.
        header: what the file says of itself.
        quality: light, contrast, focus and colour.
    """

    size: int
    sha256: str
    pixels: str
    thumbnail: np.ndarray
    frame: np.ndarray
    corners: np.ndarray
    content: np.ndarray
    header: decoding.Header
    quality: quality.Quality


def look_at(data: bytes) -> Looked:
    """Everything about one picture file.

    Raises:
        UndecodableError: see `decoding.decode`.
    """
    header, image = decoding.examine(data)
    pixels = hashlib.sha256(f"{image.shape}".encode())
    pixels.update(image.tobytes())
    return Looked(
        size=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
        pixels=pixels.hexdigest(),
        thumbnail=shrunk(image, 16),
        frame=frame(image),
        corners=corners(image),
        content=shrunk(content(image), 16),
        header=header,
        quality=quality.measure(image),
    )


def shrunk(image: np.ndarray, side: int) -> np.ndarray:
    """uint8 [H,W,3] as uint8 [side,side,3]; each pixel is the mean of the part it covers."""
    return np.array(Image.fromarray(image).resize((side, side), Image.Resampling.BOX))


def frame(image: np.ndarray) -> np.ndarray:
    """The outer eighth of uint8 [H,W,3], shrunken: uint8 [448,3], row by row."""
    is_outer = np.ones((32, 32), bool)
    is_outer[4:-4, 4:-4] = False
    return shrunk(image, 32)[is_outer]


def corners(image: np.ndarray) -> np.ndarray:
    """The four corners of uint8 [H,W,3], each an eighth of the sides: uint8 [4,8,8,3]."""
    height, width = (max(side // CORNERS_IN_A_SIDE, 1) for side in image.shape[:2])
    parts = [
        image[y : y + height, x : x + width]
        for y in (0, image.shape[0] - height)
        for x in (0, image.shape[1] - width)
    ]
    return np.stack([shrunk(part, 8) for part in parts])


def content(image: np.ndarray) -> np.ndarray:
    """The picture without the black around what it shows; a black one as it is."""
    light = np.maximum(np.maximum(image[..., 0], image[..., 1]), image[..., 2])
    rows = np.flatnonzero(light.max(axis=1) > BLACK)
    columns = np.flatnonzero(light.max(axis=0) > BLACK)
    if len(rows) == 0:
        return image
    return image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
