import concurrent.futures
import dataclasses
import pathlib
import pickle
import threading

import numpy as np
import pytest
from PIL import Image

from jaxall.data import keeping, pipeline, preprocessing, transforms

COUNT, SIZE = 6, 64
BYTES = COUNT * SIZE * SIZE * 3  # 72 KiB


@pytest.fixture
def source(tmp_path):
    generator = np.random.default_rng(0)
    paths = [tmp_path / f"{number}.png" for number in range(COUNT)]
    for number, path in enumerate(paths):
        pixels = generator.integers(0, 256, (SIZE + number % 2, SIZE, 3), np.uint8)
        Image.fromarray(pixels).save(path)
    unit = preprocessing.Preprocessing.for_model(SIZE, "bilinear", (0.5,) * 3, (0.5,) * 3, "unit")
    labels = np.arange(COUNT, dtype=np.int32)
    return pipeline.PictureSource(paths=tuple(map(str, paths)), labels=labels, preprocessing=unit)


def settings(**changes):
    return pipeline.LoaderSettings(**{"threads": 0, **changes})


def keep(source, **changes):
    (result,) = keeping.keep([source], settings(**changes))
    return result


def delete_files(source):
    for path in set(source.paths):
        pathlib.Path(path).unlink()


def assert_same(batches, expected):
    for batch, other in zip(batches, expected, strict=True):
        assert batch.keys() == other.keys()
        for key in batch:
            np.testing.assert_array_equal(batch[key], other[key])


@pytest.mark.parametrize("threads", [0, 3])
def test_batches_are_the_same_with_and_without(source, threads):
    def train(used):
        batches = pipeline.train_batches(
            used,
            transforms=[transforms.Rotate(), transforms.FlipVertical(), transforms.Contrast()],
            batch_size=4,
            seed=0,
            settings=settings(threads=threads),
        )
        with batches:
            return [next(batches) for _ in range(6)]

    def evaluate(used):
        with pipeline.eval_batches(used, batch_size=4, settings=settings(threads=threads)) as read:
            return list(read)

    kept = keep(source)
    for read in (train, evaluate, train):
        assert_same(read(kept), read(source))


def test_a_picture_is_read_once_and_cannot_be_written_to(source):
    kept = keep(source)
    first = [kept[index] for index in range(COUNT)]
    delete_files(source)
    for index, element in enumerate(first):
        again = kept[index]
        assert again["image"] is element["image"]
        assert (again["label"], again["index"]) == (index, index)
        with pytest.raises(ValueError, match="read-only"):
            again["image"][0] = 0


def test_a_row_that_is_there_twice_is_kept_once(source):
    twice = dataclasses.replace(source, paths=source.paths * 2, labels=np.arange(2 * COUNT))
    kept = keep(twice)
    assert keeping.size(twice) == keeping.size(source) == BYTES
    assert kept[COUNT]["image"] is kept[0]["image"]
    assert kept[COUNT]["label"] == COUNT


def test_threads_that_read_at_the_same_time_agree(source):
    kept, start = keep(source), threading.Barrier(8)

    def read(_):
        start.wait()
        return [kept[index]["image"].tobytes() for index in range(COUNT)]

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        results = list(pool.map(read, range(8)))
    assert results == [[source[index]["image"].tobytes() for index in range(COUNT)]] * 8


def test_what_is_kept_does_not_travel_to_a_worker(source):
    kept = keep(source)
    for index in range(COUNT):
        kept[index]
    travelled = pickle.loads(pickle.dumps(kept))
    assert isinstance(travelled, pipeline.PictureSource)
    assert travelled.paths == source.paths
    assert len(pickle.dumps(kept)) < len(pickle.dumps(source)) + 200 < BYTES / 10


def test_sources_are_kept_as_long_as_they_fit(source):
    large = dataclasses.replace(
        source, preprocessing=dataclasses.replace(source.preprocessing, image_size=230)
    )
    sources = (source, large, source)  # 72, 930 and 72 KiB
    kept = keeping.keep(sources, settings(cache_mib=1))
    assert [isinstance(x, keeping.KeptSource) for x in kept] == [True, True, False]
    kept = keeping.keep((large, large, source), settings(cache_mib=1))
    assert [isinstance(x, keeping.KeptSource) for x in kept] == [True, False, True]


@pytest.mark.parametrize("changes", [{"cache_mib": 0}, {"workers": 1}])
def test_nothing_is_kept_without_memory_or_with_workers(source, changes):
    assert keep(source, **changes) is source


@pytest.mark.parametrize(
    "changes, line",
    [
        ({}, "decoded pictures kept in memory: 2 MiB"),
        ({"cache_mib": 0}, "are not kept in memory: they need 2 MiB, loader.cache_mib is 0"),
        ({"cache_mib": 1}, "kept in memory: 930 KiB of 2 MiB; loader.cache_mib is 1"),
        ({"workers": 2}, "decoded pictures are not kept in memory: loader.workers is 2"),
    ],
)
def test_the_report_says_what_is_kept(source, changes, line):
    large = dataclasses.replace(
        source, preprocessing=dataclasses.replace(source.preprocessing, image_size=230)
    )
    assert line in keeping.report([large, large], settings(**changes))


def test_no_pictures_need_no_memory(source):
    nothing = dataclasses.replace(source, paths=(), labels=())
    assert keep(nothing) is nothing
    assert keeping.report([nothing], settings()) == "decoded pictures kept in memory: 0 KiB"
