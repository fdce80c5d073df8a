"""Decoded pictures kept in memory, so that a picture is read and decoded once in a run.

They are kept as the preprocessing leaves them, uint8 `[S,S,3]`, before any augmentation.
"""

from collections.abc import Sequence

import numpy as np

from jaxall.data import pipeline


class KeptSource:
    """A source whose pictures, after their first reading, come out of memory, not to be written to.

    Threads may read it at the same time. It pickles as the source alone: a worker process would
    fill a memory of its own.
    """

    def __init__(self, source: pipeline.PictureSource) -> None:
        self.source = source
        self._pictures: dict[str, np.ndarray] = {}

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> pipeline.Element:
        path = self.source.paths[index]
        image = self._pictures.get(path)
        if image is None:
            # Two threads may both come to this; they store the same.
            image = self.source.picture(index)
            image.flags.writeable = False
            self._pictures[path] = image
        return self.source.element(index, image)

    def __reduce__(self) -> tuple:
        return _unchanged, (self.source,)

    def __repr__(self) -> str:
        return f"KeptSource({self.source})"


def size(source: pipeline.PictureSource) -> int:
    """Bytes of all its decoded pictures, each counted once: N * S * S * 3."""
    return len(set(source.paths)) * source.preprocessing.image_size**2 * 3


def keep(
    sources: Sequence[pipeline.PictureSource], settings: pipeline.LoaderSettings
) -> tuple[pipeline.Source, ...]:
    """The sources in their order, each a `KeptSource` if all of it fits into what is left.

    None is kept where workers read: each of them would need the memory anew.
    """
    left = 0 if settings.workers else settings.cache_mib * 2**20
    result: list[pipeline.Source] = []
    for source in sources:
        is_kept = 0 < size(source) <= left
        left -= size(source) if is_kept else 0
        result.append(KeptSource(source) if is_kept else source)
    return tuple(result)


def report(sources: Sequence[pipeline.PictureSource], settings: pipeline.LoaderSettings) -> str:
    """A line on what `keep` does with the same arguments."""
    kept = [s.source for s in keep(sources, settings) if isinstance(s, KeptSource)]
    total, held = sum(map(size, sources)), sum(map(size, kept))
    limit = f"loader.cache_mib is {settings.cache_mib:,}"
    if settings.workers:
        return f"decoded pictures are not kept in memory: loader.workers is {settings.workers}"
    if held == total:
        return f"decoded pictures kept in memory: {_mib(total)}"
    if held:
        return f"decoded pictures kept in memory: {_mib(held)} of {_mib(total)}; {limit}"
    return f"decoded pictures are not kept in memory: they need {_mib(total)}, {limit}"


def _unchanged(source: pipeline.PictureSource) -> pipeline.PictureSource:
    return source


def _mib(count: int) -> str:
    return f"{count / 2**20:,.0f} MiB" if count >= 2**20 else f"{count / 2**10:,.0f} KiB"
