import dataclasses
import os
import pathlib
import select
import signal
import subprocess
import sys

import cv2
import numpy as np
import pytest
from PIL import Image

from jaxall import errors
from jaxall.data import dataset, pipeline, preprocessing, transforms

PICTURES = 10
SIZE = 12
QUIET = pipeline.LoaderSettings(threads=0, workers=0, prefetch=1)
AUGMENTATIONS = (
    transforms.Rotate(degrees=20.0),
    transforms.FlipHorizontal(),
    transforms.FlipVertical(),
    transforms.Brightness(strength=0.1),
    transforms.Contrast(strength=0.1),
)


def unit(size=SIZE):
    return preprocessing.Preprocessing.for_model(
        size, "bilinear", (0.5,) * 3, (0.5,) * 3, normalisation="unit"
    )


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """A data set of ten small noisy PNGs of two classes, of different sizes."""
    root = tmp_path_factory.mktemp("pictures")
    generator = np.random.default_rng(0)
    rows = []
    for number in range(PICTURES):
        image = generator.integers(0, 256, (SIZE + number % 3, SIZE, 3), np.uint8)
        Image.fromarray(image).save(root / f"{number}.png")
        rows.append(dataset.Row(path=f"{number}.png", label=number % 2, number=number))
    return dataset.DataSet(name="drawn", root=root, class_names=("even", "odd"), rows=tuple(rows))


@pytest.fixture(scope="module")
def source(pictures):
    return pipeline.source_of(pictures, range(PICTURES), unit())


def train(source, steps, settings=QUIET, augmentations=AUGMENTATIONS, **changes):
    arguments = {"batch_size": 4, "seed": 0, **changes}
    batches = pipeline.train_batches(
        source, transforms=augmentations, settings=settings, **arguments
    )
    with batches:
        return [next(batches) for _ in range(steps)]


def evaluate(source, batch_size=4, settings=QUIET):
    with pipeline.eval_batches(source, batch_size=batch_size, settings=settings) as batches:
        return list(batches)


def assert_same(batches, expected):
    assert len(batches) == len(expected)
    for batch, other in zip(batches, expected, strict=True):
        assert batch.keys() == other.keys()
        for key in batch:
            assert batch[key].dtype == other[key].dtype, key
            np.testing.assert_array_equal(batch[key], other[key], err_msg=key)


def merged(shards):
    """The global batches, each put together by the positions."""
    whole = []
    for parts in zip(*shards, strict=True):
        batch = {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
        order = np.argsort(batch["position"])
        whole.append({key: array[order] for key, array in batch.items()})
    return whole


def seen(batches):
    """Which pictures, by their bytes, in order; of batches without augmentation."""
    return [image.tobytes() for batch in batches for image in batch["image"]]


def all_pictures(source):
    return [source[index]["image"].tobytes() for index in range(len(source))]


def test_a_training_batch_has_the_promised_shapes_and_types(source):
    (batch,) = train(source, 1)
    assert {key: (array.shape, array.dtype.name) for key, array in batch.items()} == {
        "image": ((4, SIZE, SIZE, 3), "uint8"),
        "label": ((4,), "int32"),
        "position": ((4,), "int32"),
    }
    assert batch["position"].tolist() == [0, 1, 2, 3]


def test_labels_stay_with_their_pictures(source):
    labels = {source[index]["image"].tobytes(): index % 2 for index in range(PICTURES)}
    for batch in train(source, 5, augmentations=()):
        assert [labels[image.tobytes()] for image in batch["image"]] == batch["label"].tolist()


def test_every_epoch_shows_every_picture_once_in_another_order(source):
    order = seen(train(source, 15, augmentations=()))
    epochs = [order[start : start + PICTURES] for start in range(0, 60, PICTURES)]
    for epoch in epochs:
        assert sorted(epoch) == sorted(all_pictures(source))
    assert len({tuple(epoch) for epoch in epochs}) == len(epochs)


def test_neighbouring_seeds_share_no_order(source):
    orders = [seen(train(source, 10, augmentations=(), seed=seed)) for seed in range(3)]
    epochs = {
        tuple(order[start : start + PICTURES])
        for order in orders
        for start in range(0, 40, PICTURES)
    }
    assert len(epochs) == 12


def test_the_same_picture_is_augmented_anew_each_time(source):
    single = dataclasses.replace(source, paths=source.paths[:1], labels=source.labels[:1])
    images = seen(train(single, 5))
    assert len(set(images)) > 15


def test_augmentation_does_not_change_the_order(source):
    plain, augmented = train(source, 5, augmentations=()), train(source, 5)
    for batch, other in zip(plain, augmented, strict=True):
        np.testing.assert_array_equal(batch["label"], other["label"])
        assert not np.array_equal(batch["image"], other["image"])


@pytest.mark.parametrize("threads, workers, prefetch", [(2, 0, 1), (4, 0, 4), (2, 2, 3)])
def test_threads_and_workers_do_not_change_a_batch(source, threads, workers, prefetch):
    settings = pipeline.LoaderSettings(threads=threads, workers=workers, prefetch=prefetch)
    batches = train(source, 6, settings)
    assert_same(batches, train(source, 6))
    # Arrays in the workers' shared memory would end with the workers.
    assert all(type(array) is np.ndarray for batch in batches for array in batch.values())


@pytest.mark.parametrize("count", [2, 4])
def test_the_shares_of_all_processes_make_up_the_batch_of_one(source, count):
    shards = [train(source, 6, process_index=p, process_count=count) for p in range(count)]
    assert all(batch["image"].shape[0] == 4 // count for shard in shards for batch in shard)
    assert_same(merged(shards), train(source, 6))


@pytest.mark.parametrize("step", [1, 2, 5, 7])
def test_starting_at_a_step_equals_skipping_to_it(source, step):
    assert_same(train(source, 3, start_step=step), train(source, step + 3)[step:])


def test_threads_a_worker_processes_and_start_step_together_change_nothing(source):
    settings = pipeline.LoaderSettings(threads=2, workers=1)
    share = train(source, 2, settings, start_step=3, process_index=1, process_count=2)
    expected = [
        {key: array[batch["position"]] for key, array in whole.items()}
        for batch, whole in zip(share, train(source, 5)[3:], strict=True)
    ]
    assert_same(share, expected)
    assert share[0]["position"].tolist() == [1, 3]


def test_a_far_step_is_reached_without_reading_up_to_it(source):
    assert len(train(source, 1, start_step=10**9)) == 1


def test_fewer_pictures_than_a_batch_are_repeated(source):
    few = dataclasses.replace(source, paths=source.paths[:3], labels=source.labels[:3])
    (batch,) = train(few, 1, augmentations=(), batch_size=8)
    counts = {image: seen([batch]).count(image) for image in all_pictures(few)}
    assert sorted(counts.values()) == [2, 3, 3]


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"batch_size": 4, "process_count": 3}, "multiple of the 3 processes, not 4"),
        ({"batch_size": 0}, "multiple of the 1 processes, not 0"),
        ({"process_index": 2, "process_count": 2}, "process_index 2 below process_count 2"),
        ({"seed": -1}, "seed -1"),
        ({"start_step": -1}, "start_step -1"),
    ],
)
def test_impossible_training_batches_are_refused(source, changes, message):
    with pytest.raises(errors.UserError, match=message):
        train(source, 1, **changes)


def test_training_on_nothing_is_refused(source):
    nothing = dataclasses.replace(source, paths=(), labels=())
    with pytest.raises(errors.UserError, match="no pictures"):
        train(nothing, 1)


def test_all_wrong_loader_settings_are_named_at_once():
    with pytest.raises(errors.UserError) as caught:
        pipeline.LoaderSettings(threads=-1, workers=-2, prefetch=0, cache_mib=-3).validate()
    assert str(caught.value) == (
        "loader threads must be from 0 to 1,024, not -1; loader workers must be from 0 to 1,024, "
        "not -2; loader prefetch must be from 1 to 1,024, not 0; loader cache_mib must be from 0 "
        "to 1,048,576, not -3"
    )


@pytest.mark.parametrize("batch_size", [1, 3, 4, 5, 10, 16])
def test_evaluation_sees_every_picture_once_in_order(source, batch_size):
    batches = evaluate(source, batch_size)
    assert all(batch["image"].shape == (batch_size, SIZE, SIZE, 3) for batch in batches)
    flat = {key: np.concatenate([batch[key] for batch in batches]) for key in batches[0]}
    kept = flat["mask"] == 1
    assert flat["index"][kept].tolist() == list(range(PICTURES))
    assert flat["label"][kept].tolist() == [0, 1] * 5
    assert seen([{"image": flat["image"][kept]}]) == all_pictures(source)
    assert len(kept) - kept.sum() < batch_size


def test_the_last_evaluation_batch_is_filled_up(source):
    last = evaluate(source, 4)[-1]
    assert last["mask"].tolist() == [1, 1, 0, 0] and last["mask"].dtype == np.float32
    assert last["index"].tolist() == [8, 9, -1, -1] and last["index"].dtype == np.int32
    assert last["label"].tolist() == [0, 1, -1, -1] and last["label"].dtype == np.int32
    assert not last["image"][2:].any() and last["image"].dtype == np.uint8


@pytest.mark.parametrize("threads, workers", [(2, 0), (1, 2)])
def test_evaluation_is_the_same_with_threads_and_workers(source, threads, workers):
    settings = pipeline.LoaderSettings(threads=threads, workers=workers)
    assert_same(evaluate(source, 3, settings), evaluate(source, 3))


def test_workers_end_with_a_process_that_is_killed(pictures):
    script = f"""
import multiprocessing, os, signal, sys
from absl import flags
from jaxall.data import pipeline
from tests.data import test_pipeline

if __name__ == "__main__":
    flags.FLAGS.mark_as_parsed()
    paths = {[str(pictures.absolute(row)) for row in pictures.rows]}
    source = pipeline.PictureSource(
        paths=paths, labels=[0] * len(paths), preprocessing=test_pipeline.unit()
    )
    settings = pipeline.LoaderSettings(threads=1, workers=1)
    batches = pipeline.train_batches(
        source, transforms=(), batch_size=2, seed=0, settings=settings
    )
    next(batches)
    print(*(child.pid for child in multiprocessing.active_children()), flush=True)
    sys.stdin.readline()
    os.kill(os.getpid(), signal.SIGKILL)
"""
    command = [sys.executable, "-c", script]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes, cwd=pathlib.Path(__file__).parents[2]) as process:
        workers = [os.pidfd_open(int(pid)) for pid in process.stdout.readline().split()]
        process.communicate("\n")
    assert process.returncode == -signal.SIGKILL and workers
    for worker in workers:
        assert select.select([worker], [], [], 20)[0]  # readable: it has ended
        os.close(worker)


def test_evaluating_nothing_gives_no_batch(source):
    assert evaluate(dataclasses.replace(source, paths=(), labels=())) == []


def test_evaluation_in_batches_of_none_is_refused(source):
    with pytest.raises(errors.UserError, match="batch_size must be at least 1, not 0"):
        evaluate(source, 0)


def test_indices_pick_rows_in_their_order(pictures):
    chosen = pipeline.source_of(pictures, np.array([7, 2, 2]), unit())
    assert [pathlib.Path(path).name for path in chosen.paths] == ["7.png", "2.png", "2.png"]
    assert [int(chosen[place]["label"]) for place in range(3)] == [1, 0, 0]
    assert [int(chosen[place]["index"]) for place in range(3)] == [0, 1, 2]


def test_paths_of_unknown_label_can_be_evaluated(pictures):
    paths = [str(pictures.absolute(row)) for row in pictures.rows[:3]]
    source = pipeline.PictureSource(paths=paths, labels=[-1] * 3, preprocessing=unit())
    (batch,) = evaluate(source, 3)
    assert batch["label"].tolist() == [-1] * 3 and batch["mask"].tolist() == [1] * 3


def test_a_source_says_what_it_is(source):
    assert repr(source).startswith("PictureSource(10 pictures, Preprocessing(image_size=12")


def test_paths_without_labels_are_refused():
    with pytest.raises(ValueError, match="2 paths have 1 labels"):
        pipeline.PictureSource(paths=["a", "b"], labels=[0], preprocessing=unit())


def broken_source(tmp_path, content):
    path = tmp_path / "broken.png"
    if content is not None:
        path.write_bytes(content)
    return pipeline.PictureSource(paths=[str(path)], labels=[0], preprocessing=unit())


@pytest.mark.parametrize("content", [None, b"no picture"])
@pytest.mark.parametrize("threads", [0, 2])
def test_a_picture_that_cannot_be_read_is_named(tmp_path, threads, content):
    settings = pipeline.LoaderSettings(threads=threads)
    with pytest.raises(errors.UserError, match=r"can't read the picture .*broken\.png: "):
        train(broken_source(tmp_path, content), 1, settings)


def test_a_worker_names_the_picture_that_it_cannot_read(tmp_path):
    settings = pipeline.LoaderSettings(threads=1, workers=1)
    with pytest.raises(errors.UserError, match=r"can't read the picture .*broken\.png: "):
        evaluate(broken_source(tmp_path, b"no picture"), 1, settings)


@pytest.mark.parametrize("threads", [0, 2])
def test_batches_can_be_closed_twice_and_then_give_nothing(source, threads):
    batches = pipeline.eval_batches(
        source, batch_size=2, settings=pipeline.LoaderSettings(threads=threads)
    )
    next(batches)
    batches.close()
    batches.close()
    with pytest.raises(ValueError, match="closed"):
        next(batches)


def test_opencv_is_left_to_the_threads_of_the_pipeline(source):
    cv2.setNumThreads(2)
    train(source, 1)
    assert cv2.getNumThreads() <= 1


def test_a_worker_opens_no_device_and_no_threads_of_opencv(source):
    class Probe:
        """Local, so that it travels to the worker by value."""

        def __len__(self):
            return 2

        def __getitem__(self, index):
            import cv2
            import jax

            opened = jax._src.xla_bridge.backends_are_initialized()
            image = np.full((1, 1, 3), cv2.getNumThreads(), np.uint8)
            return {"image": image, "label": np.int32(opened), "index": np.int32(index)}

    (batch,) = evaluate(Probe(), 2, pipeline.LoaderSettings(threads=1, workers=1))
    assert batch["label"].tolist() == [0, 0]
    assert batch["image"].max() <= 1


def test_importing_the_pipeline_opens_no_device():
    # grain itself imports jax for its tree functions where it is installed.
    program = (
        "import sys; import jaxall.data.pipeline; bridge = sys.modules.get('jax._src.xla_bridge');"
        "sys.exit(bridge is not None and bridge.backends_are_initialized())"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


@pytest.mark.parametrize("module", ["preprocessing", "transforms", "dataset"])
def test_what_reads_and_changes_pictures_does_not_import_jax(module):
    program = f"import sys; import jaxall.data.{module}; sys.exit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
