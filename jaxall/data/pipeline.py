"""From a table of pictures to batches, with grain.

Two pipelines, never one with a flag: `train_batches` (shuffled, augmented, endless) and
`eval_batches` (in order, every picture once). Every order and every augmentation is a pure function
of the seed and the step: threads, workers and processes change the speed only, and a run that
resumes at step k sees what it would have seen.
"""

import dataclasses
import functools
import multiprocessing
import multiprocessing.process
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol, Self

import cv2
import grain
import numpy as np

from jaxall import errors
from jaxall.data import dataset, decoding, preprocessing, transforms

Element = dict[str, Any]
# What fills the last batch of an evaluation.
PADDING = {"image": 0, "label": -1, "index": -1, "mask": 0}


@dataclasses.dataclass(kw_only=True)
class LoaderSettings:
    """How much works at reading; never what is read.

    OpenCV and Pillow release Python's lock, so threads serve better than workers on few cores.
    Workers are spawned processes, about a second and 200 MB each. They need absl flags to be
    parsed: outside `absl.app.run` call `absl.flags.FLAGS.mark_as_parsed()` first
    (https://github.com/google/grain/issues/1355), and a script needs `if __name__ == "__main__"`.
    """

    threads: int = 2  # in each process; 0 reads in the caller's thread, when asked
    workers: int = 0  # processes besides the caller's
    prefetch: int = 4  # batches kept ready in each process
    cache_mib: int = 2048  # memory for decoded pictures if all of them fit in, see `keeping`

    def validate(self) -> None:
        """Raises UserError where a number is too small or too large."""
        ranges = {
            "threads": (0, 1024),
            "workers": (0, 1024),
            "prefetch": (1, 1024),
            "cache_mib": (0, 2**20),
        }
        problems = [
            f"loader {name} must be from {least} to {most:,}, not {getattr(self, name)}"
            for name, (least, most) in ranges.items()
            if not least <= getattr(self, name) <= most
        ]
        errors.refuse(problems)


class Source(Protocol):
    """Elements {"image": uint8 [S,S,3], "label": int32, "index": int32}; must pickle."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Element: ...


class Order(Protocol):
    """Which element of a source stands at each place of an endless stream; must pickle."""

    def __getitem__(self, place: int, /) -> int: ...


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class PictureSource:
    """Pictures, read when asked for; an element's "index" is its place in `paths`.

    Attributes:
        paths: of files, or of whatever `read` finds by them.
        labels: -1 where unknown.
        preprocessing: of every picture.
        read: a path's picture file, as bytes.
    """

    paths: Sequence[str]
    labels: Sequence[int] | np.ndarray
    preprocessing: preprocessing.Preprocessing
    read: Callable[[str], bytes] = decoding.read

    def __post_init__(self) -> None:
        if len(self.paths) != len(self.labels):
            raise ValueError(f"{len(self.paths)} paths have {len(self.labels)} labels")

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Element:
        return self.element(index, self.picture(index))

    def picture(self, index: int) -> np.ndarray:
        """Reads one, uint8 `[S,S,3]`.

        Raises:
            UserError: names the file and what is wrong with it.
        """
        path = self.paths[index]
        try:
            return self.preprocessing.load(self.read(path))
        except (OSError, decoding.UndecodableError) as error:
            reason = errors.reason(error)
            raise errors.UserError(f"can't read the picture {path}: {reason}") from error

    def element(self, index: int, image: np.ndarray) -> Element:
        """The picture with its label and index."""
        return {"image": image, "label": np.int32(self.labels[index]), "index": np.int32(index)}

    def __repr__(self) -> str:
        return f"PictureSource({len(self)} pictures, {self.preprocessing})"


def source_of(
    data_set: dataset.DataSet,
    indices: Sequence[int] | np.ndarray,
    preprocessing: preprocessing.Preprocessing,
) -> PictureSource:
    """The rows `indices` of a data set, in that order; a row may be there several times."""
    rows = [data_set.rows[index] for index in indices]
    place = (lambda row: row.path) if data_set.reader else data_set.absolute
    return PictureSource(
        paths=tuple(str(place(row)) for row in rows),
        labels=np.array([row.label for row in rows], np.int32),
        preprocessing=preprocessing,
        read=data_set.reader or decoding.read,
    )


class Batches:
    """An iterator of batches that holds threads or processes until it is closed."""

    def __init__(self, iterator: grain.DatasetIterator, *, copy: bool) -> None:
        self._iterator = iterator
        self._copy = copy

    def __iter__(self) -> Iterator[dict[str, np.ndarray]]:
        return self

    def __next__(self) -> dict[str, np.ndarray]:
        batch = next(self._iterator)
        # From workers the arrays lie in shared memory, which is scarce (64 MB in a container) and
        # must be let go before the workers end.
        return {key: np.array(value) for key, value in batch.items()} if self._copy else batch

    def close(self) -> None:
        """Ends the threads and processes; a second time does nothing."""
        self._iterator.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def train_batches(
    source: Source,
    *,
    transforms: Sequence[transforms.Transform],
    batch_size: int,
    seed: int,
    settings: LoaderSettings,
    order: Order | None = None,
    start_step: int = 0,
    process_index: int = 0,
    process_count: int = 1,
) -> Batches:
    """Shuffled and augmented batches without end; a batch may straddle epochs.

    Args:
        source: At least one picture; fewer than a batch are repeated.
        transforms: Augmentations, applied in their order.
        batch_size: Of the global batch, all processes together.
        seed: At least 0.
        settings: Threads, workers and prefetching.
        order: Of the elements; None for all of them once an epoch, shuffled anew in each.
        start_step: Batches to skip, without reading them.
        process_index: Which of the processes this one is.
        process_count: How many there are; each reads its own share of every global batch.

    Returns:
        {"image": uint8 [b,S,S,3], "label": int32 [b], "position": int32 [b]} with
        b = batch_size / process_count; "position" is the place in the global batch.

    Raises:
        UserError: no pictures, a batch that can't be shared out evenly, a setting out of range.
    """
    settings.validate()
    if len(source) == 0:
        raise errors.UserError("there are no pictures to train on")
    if batch_size < 1 or process_count < 1 or batch_size % process_count:
        raise errors.UserError(
            f"batch_size must be a multiple of the {process_count} processes, not {batch_size}"
        )
    if seed < 0 or start_step < 0 or not 0 <= process_index < process_count:
        raise errors.UserError(
            f"seed {seed} and start_step {start_step} must be at least 0, process_index "
            f"{process_index} below process_count {process_count}"
        )
    # grain shuffles epoch e with seed + e: neighbouring seeds would share all orders but one.
    shuffling, augmentation = np.random.SeedSequence(seed).generate_state(2).tolist()
    if order is None:
        drawn = grain.MapDataset.source(source).shuffle(seed=shuffling).repeat(None)
    else:
        drawn = grain.MapDataset.source(_Ordered(source, order))
    examples = drawn.random_map(
        functools.partial(_augment, tuple(transforms)), seed=augmentation
    ).map_with_index(functools.partial(_place, batch_size))
    # Sharing out comes after shuffling and repeating, so that all processes together read what one
    # would; batching comes before the workers, so that their number doesn't change a batch.
    share = examples[process_index::process_count]
    batches = share.batch(batch_size // process_count, drop_remainder=True)[start_step:]
    return _read(batches, settings)


def eval_batches(source: Source, *, batch_size: int, settings: LoaderSettings) -> Batches:
    """Every element once, in order.

    Returns:
        {"image": uint8 [b,S,S,3], "label": int32 [b], "index": int32 [b], "mask": float32 [b]} with
        b = batch_size always: the last batch is filled up with black pictures of mask 0, label -1
        and index -1; all others have mask 1.

    Raises:
        UserError: a setting is out of range.
    """
    settings.validate()
    if batch_size < 1:
        raise errors.UserError(f"batch_size must be at least 1, not {batch_size}")
    fill = functools.partial(_stack_and_fill, batch_size)
    return _read(grain.MapDataset.source(source).batch(batch_size, batch_fn=fill), settings)


@dataclasses.dataclass(frozen=True)
class _Ordered:
    """The elements of a source in an endless order."""

    source: Source
    order: Order

    def __len__(self) -> int:
        return sys.maxsize

    def __getitem__(self, index: int) -> Element:
        return self.source[self.order[index]]


def _augment(
    steps: Sequence[transforms.Transform], element: Element, generator: np.random.Generator
) -> Element:
    return {**element, "image": transforms.apply(steps, element["image"], generator)}


def _place(batch_size: int, index: int, element: Element) -> Element:
    """`index` counts on over the epochs."""
    position = np.int32(index % batch_size)
    return {"image": element["image"], "label": element["label"], "position": position}


def _stack_and_fill(batch_size: int, elements: Sequence[Element]) -> dict[str, np.ndarray]:
    batch = {key: np.stack([element[key] for element in elements]) for key in elements[0]}
    batch["mask"] = np.ones(len(elements), np.float32)
    for key, array in batch.items():
        widths = [(0, batch_size - len(elements))] + [(0, 0)] * (array.ndim - 1)
        batch[key] = np.pad(array, widths, constant_values=PADDING[key])
    return batch


def _read(batches: grain.MapDataset, settings: LoaderSettings) -> Batches:
    """Starts reading with threads and workers.

    Turns OpenCV's own threads off in this process and in the workers: the threads and workers here
    are the parallel ones, and more would get in each other's way.
    """
    cv2.setNumThreads(0)
    # In batches, not pictures; fewer than threads would leave threads idle.
    ahead = max(settings.prefetch, settings.threads)
    reading = batches.to_iter_dataset(
        grain.ReadOptions(num_threads=settings.threads, prefetch_buffer_size=ahead)
    )
    if settings.workers:
        # One batch of each worker lies in shared memory; the others wait in the worker.
        reading = reading.mp_prefetch(
            grain.MultiprocessingOptions(num_workers=settings.workers, per_worker_buffer_size=1),
            worker_init_fn=_start_worker,
        )
    return Batches(iter(reading), copy=settings.workers > 0)


def _start_worker(_index: int, _count: int) -> None:
    cv2.setNumThreads(0)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: multiprocessing.process.BaseProcess) -> None:
    """A parent that is killed outright tells its workers nothing: they'd wait for ever."""
    parent.join()
    os._exit(1)
