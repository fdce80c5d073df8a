from collections.abc import Callable

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxall.data import transforms
from jaxall.errors import UserError
from jaxall.training import infer, views
from tests import tiny
from tests.training import test_infer as plain

COUNT = 11


def pictures(size: int = 16) -> np.ndarray:
    """Noise, uint8 [3,size,size,3]."""
    return np.random.default_rng(0).integers(0, 256, (3, size, size, 3), np.uint8)


def all_views(name: str, images: np.ndarray) -> list[np.ndarray]:
    found = views.find(name)
    turned = jax.jit(found.turn)
    return [np.asarray(turned(jnp.asarray(images), jnp.int32(v))) for v in range(found.count)]


def inferred(name: str, turn: Callable[[np.ndarray], np.ndarray] = lambda image: image):
    """The tiny network's probabilities for pictures that were turned beforehand."""
    predictor = infer.Predictor(tiny.classifier().apply, tiny.normalise, views=name)
    batches = []
    for batch in plain.batches(8, COUNT):
        batches.append({**batch, "image": np.stack([turn(image) for image in batch["image"]])})
    return predictor(plain.trained(), batches)


def test_dihedral8_is_every_turn_and_flip_once_to_the_pixel():
    images = pictures()
    found = {view.tobytes() for view in all_views("dihedral8", images)}
    wanted = {
        np.rot90(flipped, turns, (1, 2)).tobytes()
        for flipped in (images, images[:, :, ::-1])
        for turns in range(4)
    }
    assert len(wanted) == 8
    assert found == wanted


@pytest.mark.parametrize("size", [15, 16])
def test_rotations_by_right_angles_are_exact(size: int):
    images = pictures(size)
    for turns, view in enumerate(all_views("rotations:4", images)):
        np.testing.assert_array_equal(view, np.rot90(images, turns, (1, 2)))


@pytest.mark.parametrize("name", ["none", "dihedral8", "rotations:1", "rotations:7"])
def test_the_first_view_is_the_picture_itself(name: str):
    first = all_views(name, pictures())[0]
    assert first.dtype == np.uint8
    np.testing.assert_array_equal(first, pictures())


def test_a_rotation_is_the_one_that_training_augments_with():
    smooth = cv2.GaussianBlur(pictures(64)[0], (0, 0), 4, borderType=cv2.BORDER_REFLECT_101)
    smooth = cv2.normalize(smooth, None, 0, 255, cv2.NORM_MINMAX)
    for turn, view in enumerate(all_views("rotations:5", smooth[np.newaxis])):

        class Angle:
            """In place of a generator: draws this turn's angle."""

            def uniform(self, *_: float, angle: float = 72.0 * turn) -> float:
                return angle

        wanted = transforms.apply([transforms.Rotate(degrees=180.0)], smooth, Angle())
        # OpenCV interpolates between 32 places a pixel.
        assert np.abs(view[0].astype(int) - wanted).max() <= 2


def test_the_identity_alone_gives_the_plain_probabilities_bit_for_bit():
    wanted, found = inferred("none"), inferred("rotations:1")
    assert found.probabilities.tobytes() == wanted.probabilities.tobytes()
    np.testing.assert_array_equal(found.index, wanted.index)
    np.testing.assert_array_equal(found.labels, wanted.labels)


def test_probabilities_are_the_mean_over_the_views():
    by_turn = [
        inferred("none", lambda image, turns=turns: np.rot90(image, turns)).probabilities
        for turns in range(4)
    ]
    found = inferred("rotations:4").probabilities
    np.testing.assert_allclose(found, np.mean(by_turn, axis=0), rtol=0, atol=1e-6)
    assert np.abs(by_turn[0] - by_turn[1]).max() > 1e-3, "or a mean would prove nothing"


@pytest.mark.parametrize(
    "turn", [lambda image: np.rot90(image), lambda image: image[::-1].swapaxes(0, 1)]
)
def test_with_dihedral8_it_does_not_matter_how_a_picture_lies(
    turn: Callable[[np.ndarray], np.ndarray],
):
    wanted, found = inferred("dihedral8"), inferred("dihedral8", turn)
    np.testing.assert_allclose(found.probabilities, wanted.probabilities, rtol=0, atol=1e-6)
    as_it_is, turned = inferred("none"), inferred("none", turn)
    assert np.abs(turned.probabilities - as_it_is.probabilities).max() > 1e-3


@pytest.mark.parametrize("name", ["", "dihedral", "rotations", "rotations:0", "rotations:361"])
def test_unknown_views_are_refused(name: str):
    with pytest.raises(UserError, match=f"unknown views '{name}'; there are none, dihedral8, rot"):
        infer.Predictor(tiny.classifier().apply, tiny.normalise, views=name)


def test_an_output_that_is_not_finite_is_refused_in_any_view():
    def apply(variables: object, images: jax.Array, *, train: bool) -> jax.Array:
        del variables, train
        return jnp.log(images[:, 0, 0, :])  # -1 to 1: the logarithm of a negative is NaN

    predictor = infer.Predictor(apply, tiny.normalise, views="dihedral8")
    with pytest.raises(UserError, match="not finite for 11 of 11 pictures"):
        predictor(plain.trained(), plain.batches(8, COUNT))
