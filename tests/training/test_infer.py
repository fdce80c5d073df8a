import functools
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
import pytest

from jaxall.data import pipeline
from jaxall.training import infer, parallel, plan, steps
from tests import tiny

COUNT = 37  # no multiple of any batch size below
ONE = (jax.devices()[0],)


class Pictures:
    """A source in memory; the last pictures are of unknown class."""

    def __init__(self, count: int = COUNT):
        fed = tiny.batches(1, seed=9, size=count)[0]
        self.images, self.labels = fed["image"], fed["label"].copy()
        self.labels[-3:] = -1

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> pipeline.Element:
        return {
            "image": self.images[index],
            "label": np.int32(self.labels[index]),
            "index": np.int32(index),
        }


@functools.cache
def trained() -> dict[str, Any]:
    """Weights whose statistics are not those of a fresh network, on all devices."""
    current, _ = tiny.train(parallel.Spread("pmap"), tiny.batches(3))
    return {"params": current.params, "batch_stats": current.batch_stats}


def batches(batch_size: int, count: int = COUNT) -> Iterator[steps.Batch]:
    with pipeline.eval_batches(
        Pictures(count), batch_size=batch_size, settings=pipeline.LoaderSettings(threads=0)
    ) as fed:
        yield from fed


def predictor(devices: parallel.Devices = None) -> infer.Predictor:
    return infer.Predictor(tiny.classifier().apply, tiny.normalise, devices)


@functools.cache
def alone() -> infer.Inferred:
    """One picture at a time on one device: no padding, nothing spread."""
    return predictor(ONE)(trained(), batches(1))


def test_every_picture_is_there_once_in_its_order_and_padding_is_not():
    found = predictor()(trained(), batches(8))
    np.testing.assert_array_equal(found.index, np.arange(COUNT))
    np.testing.assert_array_equal(found.labels, Pictures().labels)
    assert found.probabilities.shape == (COUNT, tiny.CLASSES)
    assert (found.index.dtype, found.labels.dtype) == (np.int64, np.int64)
    assert found.probabilities.dtype == np.float64


@pytest.mark.parametrize(
    ("batch_size", "devices"), [(4, None), (8, None), (40, None), (5, ONE), (64, ONE)]
)
def test_probabilities_depend_on_no_batch_size_and_no_device_count(
    batch_size: int, devices: parallel.Devices
):
    found = predictor(devices)(trained(), batches(batch_size))
    np.testing.assert_allclose(found.probabilities, alone().probabilities, rtol=0, atol=1e-6)
    np.testing.assert_array_equal(found.labels, alone().labels)


def test_probabilities_are_the_softmax_of_the_logits():
    variables = jax.device_get(trained())
    images = tiny.normalise(Pictures().images)
    logits = np.asarray(tiny.classifier().apply(variables, images, train=False), np.float64)
    wanted = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    np.testing.assert_allclose(alone().probabilities, wanted, rtol=0, atol=1e-6)
    np.testing.assert_allclose(alone().probabilities.sum(-1), 1, rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", plan.PARALLEL)
def test_weights_are_taken_from_wherever_they_lie_and_left_there(kind: str):
    placed = parallel.Spread(kind).place(trained())
    found = predictor()(placed, batches(8))
    np.testing.assert_allclose(found.probabilities, alone().probabilities, rtol=0, atol=1e-6)
    assert not any(leaf.is_deleted() for leaf in jax.tree.leaves(placed))


def test_a_state_can_be_trained_on_after_it_predicted():
    spread = parallel.Spread("pmap")
    step, fed = spread.compile(tiny.step()), spread.batch(tiny.batches(1)[0])
    current = spread.start(tiny.create(), None)
    judge = predictor()
    first = judge({"params": current.params, "batch_stats": current.batch_stats}, batches(8))
    current, _ = step(current, fed)
    second = judge({"params": current.params, "batch_stats": current.batch_stats}, batches(8))
    assert np.abs(first.probabilities - second.probabilities).max() > 1e-4


def test_progress_counts_pictures_and_not_padding():
    told: list[int] = []
    predictor()(trained(), batches(8, 19), told.append)
    assert told == [8, 16, 19]


def test_softmax_stands_extreme_logits():
    found = infer.softmax(np.array([[1e4, -1e4, 0], [-1e4, -1e4, -1e4]], np.float32))
    np.testing.assert_allclose(found, [[1, 0, 0], [1 / 3] * 3])


@pytest.mark.parametrize(("wanted", "size"), [(1, 4), (4, 4), (5, 8), (32, 32), (33, 36)])
def test_the_batch_size_is_the_next_that_all_devices_share(wanted: int, size: int):
    assert infer.batch_size(wanted) == size


@pytest.mark.parametrize("count", [1, 3, 8])
def test_few_pictures_are_enough(count: int):
    found = predictor()(trained(), batches(infer.batch_size(count), count))
    np.testing.assert_array_equal(found.index, np.arange(count))
