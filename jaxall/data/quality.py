"""Light, contrast, focus and colour of a picture, in figures from which outliers stand out."""

import dataclasses

import cv2
import numpy as np


@dataclasses.dataclass(frozen=True, kw_only=True)
class Quality:
    """Figures of one picture.

    Attributes:
        brightness: mean luma (ITU-R 601), 0 to 255.
        contrast: standard deviation of the luma; near 0 where the picture is blank.
        sharpness: variance of the luma's Laplacian (Pech-Pacheco et al., 2000,
            https://doi.org/10.1109/ICPR.2000.903548); low where the picture is out of focus. It
            depends on the picture's size and noise: compare within one data set only.
        saturation: mean of the HSV saturation, 0 to 255.
        clipped: share of the pixels of which a channel is 0 or 255.
    """

    brightness: float
    contrast: float
    sharpness: float
    saturation: float
    clipped: float


def measure(image: np.ndarray) -> Quality:
    """The figures of uint8 `[H,W,3]` RGB."""
    luma = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    extreme = (image == 0) | (image == 255)
    extreme = (
        extreme[..., 0] | extreme[..., 1] | extreme[..., 2]
    )  # `any` over 3 takes 8 times as long
    return Quality(
        brightness=float(luma.mean()),
        contrast=float(luma.std()),
        sharpness=float(cv2.Laplacian(luma, cv2.CV_64F).var()),
        saturation=float(cv2.cvtColor(image, cv2.COLOR_RGB2HSV)[..., 1].mean()),
        clipped=float(extreme.mean()),
    )
