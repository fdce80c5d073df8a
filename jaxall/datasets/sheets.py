"""Sheets of pictures for people: what a network is shown, as the pipelines make it."""

import dataclasses
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from rich import console as rich_console

from jaxall import config as config_lib
from jaxall import data as data_lib
from jaxall.data import dataset, pipeline
from jaxall.data.preprocessing import Preprocessing
from jaxall.errors import UserError
from jaxall.reporting import contact_sheets
from jaxall.runs import assembly


def augmentation_sheet(
    config: config_lib.Config,
    out: pathlib.Path,
    console: rich_console.Console,
    pictures: int = 3,
    draws: int = 6,
) -> None:
    """Pictures as the training pipeline augments them, then each transform on its own.

    A row a picture, then a row a transform: first the picture as evaluation sees it, then what
    training makes of it when it comes again and again, with the config's seed.

    Args:
        config: whose data set is read.
        out: the PNG to write.
        console: is told what is on the sheet.
        pictures: at most; each is the first of its class.
        draws: of every row.

    Raises:
        UserError: the config has no augmentation, or a picture can't be read.
    """
    chain = config.augmentation
    if not chain:
        raise UserError(
            f"{config.name} has no augmentation to show: wanted at least one transform in "
            "the config's augmentation"
        )
    data_set = data_lib.load(config.data)
    preprocessing = assembly.preprocessing_of(config)
    chosen = _first_of_each_class(data_set)[:pictures]
    images, captions = [], []
    for number, index in enumerate(chosen):
        name = data_set.class_names[data_set.rows[index].label]
        images += _row(data_set, index, preprocessing, chain, config.seed, number, draws)
        captions += [f"{name}\nas evaluation sees it", *_numbered("augmented", draws)]
    for transform in chain:
        images += _row(data_set, chosen[0], preprocessing, (transform,), config.seed, 0, draws)
        captions += [_described(transform), *_numbered(type(transform).__name__, draws)]
    contact_sheets.draw(images, captions, out, columns=1 + draws)
    side = preprocessing.image_size
    console.print(
        f"{config.name}: {len(chosen)} pictures of {data_set.name}, {side} x {side}, "
        f"{len(chain)} transforms together and each alone"
    )
    console.print(f"  {out}", soft_wrap=True)


def _first_of_each_class(data_set: dataset.DataSet) -> list[int]:
    """Positions in the table."""
    firsts: dict[int, int] = {}
    for index, row in enumerate(data_set.rows):
        firsts.setdefault(row.label, index)
    return [firsts[label] for label in sorted(firsts)]


def _row(
    data_set: dataset.DataSet,
    index: int,
    preprocessing: Preprocessing,
    transforms: Sequence[Any],
    seed: int,
    number: int,
    draws: int,
) -> list[np.ndarray]:
    """The picture, and a batch of a training on nothing else; each `number` is another batch."""
    source = pipeline.source_of(data_set, [index], preprocessing)
    with pipeline.train_batches(
        source,
        transforms=transforms,
        batch_size=draws,
        seed=seed,
        settings=pipeline.LoaderSettings(threads=0),
        start_step=number,
    ) as batches:
        return [source.picture(0), *next(batches)["image"]]


def _numbered(what: str, draws: int) -> list[str]:
    return [f"{what} {number}" for number in range(1, draws + 1)]


def _described(transform: Any) -> str:
    """The caption of a row: name, and all settings on the line below."""
    words = [
        f"{key} {value:g}" if isinstance(value, float) else f"{key} {value}"
        for key, value in dataclasses.asdict(transform).items()
    ]
    return f"{type(transform).__name__} alone\n{', '.join(words)}"
