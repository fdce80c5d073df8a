"""Where a new run's backbone comes from."""

import pathlib
from collections.abc import Callable

from jaxall import files, models
from jaxall.weights import download, port


def load(
    init: str,
    spec: models.ModelSpec,
    cache_dir: pathlib.Path,
    progress: Callable[[int, int | None], None] | None = None,
) -> port.Variables | None:
    """Variables to take the backbone from, or None for random weights.

    Args:
        init: "imagenet", "imagenet_v2", "none", or a path.
        spec: the architecture.
        cache_dir: where fetched files are kept.
        progress: told (bytes done, bytes in all or None) while fetching.

    Raises:
        UserError: the file can't be fetched, found, read, or is of another architecture.
    """
    if init == "none":
        return None
    official = models.official(spec, init)
    if official is not None:
        return port.load(spec, fetch(official, cache_dir, progress))
    return port.load(spec, files.home(init))


def fetch(
    official: models.Weights,
    cache_dir: pathlib.Path,
    progress: Callable[[int, int | None], None] | None = None,
) -> pathlib.Path:
    """Torchvision's file, from the cache or the network."""
    return download.fetch(
        official.url, official.sha256_prefix, cache_dir=cache_dir, progress=progress
    )
