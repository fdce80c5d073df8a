"""What is seen of a picture: its middle, or all but a corner."""

import numpy as np


def middle(image: np.ndarray, side: int) -> np.ndarray:
    """The square in the middle, uint8 `[side, side, 3]`; black where there is no picture.

    The very pixels of torchvision's `center_crop`.

    Args:
        image: uint8 `[H,W,3]`.
        side: in pixels.
    """
    short = [max(side - length, 0) for length in image.shape[:2]]
    if any(short):
        image = np.pad(image, [*((x // 2, x - x // 2) for x in short), (0, 0)])
    top, left = (round((length - side) / 2) for length in image.shape[:2])
    return np.ascontiguousarray(image[top : top + side, left : left + side])


def without_corner(image: np.ndarray, width: int, height: int) -> np.ndarray:
    """A copy whose lower right corner has the mean colour of the pixels along its two inner sides.

    What was there leaves no trace, and no colour that no smear has takes its place.

    Args:
        image: uint8 `[H,W,3]`.
        width: of the corner, in pixels, less than the picture's; with 0 it has none.
        height: likewise.
    """
    if not width or not height:
        return image
    top, left = image.shape[0] - height, image.shape[1] - width
    along = np.concatenate([image[top - 1, left - 1 :], image[top:, left - 1]])
    painted = image.copy()
    painted[top:, left:] = np.rint(along.mean(0))
    return painted
