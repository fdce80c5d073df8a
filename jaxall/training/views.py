"""Views of a picture for test-time augmentation: a cell has no upside, so any view is as good.

The network sees each view, and the probabilities are averaged. Pictures are turned on the device,
as uint8, so that all views come from one transfer and go through the one preprocessing.
"""

import dataclasses
import re
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy import ndimage

from jaxall.errors import UserError

NONE = "none"
NAMES = f"{NONE}, dihedral8, rotations:K (K from 1 to 360)"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Views:
    """Ways of looking at a picture; the first is the picture as it is.

    Attributes:
        name: as `find` knows it.
        count: how many there are.
        turn: pictures uint8 [n,S,S,3] and the number of a view (int32, may be traced) to that view
            of them, uint8 [n,S,S,3].
    """

    name: str
    count: int
    turn: Callable[[jax.Array, jax.Array], jax.Array]


def find(name: str) -> Views:
    """The views of that name: "none", "dihedral8" or "rotations:K".

    "dihedral8" are the four turns by right angles and their mirror images, exact to the pixel.
    "rotations:K" are turns by multiples of 360/K degrees, counter-clockwise about the middle,
    bilinear, rounded to uint8; the picture's mirror image fills the corners, as when it is
    augmented in training ("reflect").

    Raises:
        UserError: there are no such views.
    """
    if name == NONE:
        return Views(name=name, count=1, turn=lambda images, _: images)
    if name == "dihedral8":
        return Views(name=name, count=8, turn=_dihedral)
    found = re.fullmatch(r"rotations:([0-9]{1,3})", name)
    if found is None or not 1 <= int(found[1]) <= 360:
        raise UserError(f"unknown views {name!r}; there are {NAMES}")
    count = int(found[1])
    angles = 2 * np.pi * np.arange(count) / count
    # Rounded, so that a right angle is one: its sine and cosine are whole numbers.
    cosines, sines = (np.round(f(angles), 12).astype(np.float32) for f in (np.cos, np.sin))

    def turn(images: jax.Array, view: jax.Array) -> jax.Array:
        return _rotated(images, jnp.asarray(cosines)[view], jnp.asarray(sines)[view])

    return Views(name=name, count=count, turn=turn)


def make_predict_step(
    apply: Callable[..., Any], normalise: Callable[[Any], Any], views: Views
) -> Callable[[Any, Any], jax.Array]:
    """A function of the variables and uint8 images [n,S,S,3] that returns logits [n,V,K] float32.

    One view after another: the memory of one, and one compilation of the network.
    """

    def predict_step(variables: Any, images: Any) -> jax.Array:
        def of_view(view: jax.Array) -> jax.Array:
            return apply(variables, normalise(views.turn(images, view)), train=False)

        return jax.lax.map(of_view, jnp.arange(views.count)).swapaxes(0, 1)

    return predict_step


def _dihedral(images: jax.Array, view: jax.Array) -> jax.Array:
    """The bits of `view`, 0 to 7: swap left and right, top and bottom, rows and columns."""
    images = jnp.where(view & 1, images[:, :, ::-1], images)
    images = jnp.where(view & 2, images[:, ::-1], images)
    return jnp.where(view & 4, images.swapaxes(1, 2), images)


def _rotated(images: jax.Array, cosine: jax.Array, sine: jax.Array) -> jax.Array:
    size = images.shape[1]
    middle = (size - 1) / 2
    y, x = jnp.meshgrid(*[jnp.arange(size, dtype=jnp.float32) - middle] * 2, indexing="ij")
    places = [sine * x + cosine * y + middle, cosine * x - sine * y + middle]

    def of_channel(channel: jax.Array) -> jax.Array:
        # scipy's "mirror" is OpenCV's "reflect_101": the outermost pixels aren't repeated
        return ndimage.map_coordinates(channel, places, order=1, mode="mirror")

    turned = jax.vmap(jax.vmap(of_channel, -1, -1))(images.astype(jnp.float32))
    return jnp.rint(turned).astype(jnp.uint8)
