"""Puts a config's pictures together: read, checked, split, and laid down in the run's folder."""

import dataclasses
import os
import pathlib
import platform
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from rich import console as rich_console

from jaxall import __version__, models, runtime
from jaxall import config as config_lib
from jaxall import data as data_lib
from jaxall.data import (
    audit,
    balance,
    checking,
    checksums,
    dataset,
    pipeline,
    quarantine,
    split_file,
    splits,
)
from jaxall.data.preprocessing import Preprocessing
from jaxall.errors import UserError
from jaxall.runs import baselines, workdir
from jaxall.runs import reading as reading_lib

WARNINGS = 4  # of the audit that are printed


@dataclasses.dataclass(frozen=True, kw_only=True)
class Material:
    """The pictures of a run.

    Attributes:
        data_set: the whole table.
        split: which side each row is on.
        preprocessing: of every picture, on every side.
    """

    data_set: dataset.DataSet
    split: splits.Split
    preprocessing: Preprocessing

    def source(self, side: str) -> pipeline.PictureSource:
        """The pictures of one side, in the order of the table."""
        return pipeline.source_of(self.data_set, self.split.indices(side), self.preprocessing)

    def draws(self, settings: balance.BalanceSettings) -> balance.Draws:
        """How often the training pictures are drawn; raises UserError as `balance.Draws`."""
        return draws_of(self.data_set, self.split, settings)

    def names(self, side: str) -> tuple[str, ...]:
        """Their paths, relative to the data set's root."""
        return tuple(self.data_set.rows[index].path for index in self.split.indices(side))

    def subjects(self, side: str) -> tuple[str, ...]:
        """Their patients, "" where unknown."""
        return tuple(self.data_set.rows[index].subject for index in self.split.indices(side))


def draws_of(
    data_set: dataset.DataSet, split: splits.Split, settings: balance.BalanceSettings
) -> balance.Draws:
    """The draws from the training side, in the order of the table; raises as `balance.Draws`."""
    rows = split.indices("train")
    return balance.Draws(
        labels=data_set.labels[rows],
        subjects=tuple(data_set.rows[row].subject for row in rows),
        class_names=data_set.class_names,
        settings=settings,
    )


def preprocessing_of(config: config_lib.Config) -> Preprocessing:
    """That of the weights it starts from, with what the config has chosen.

    Raises:
        UserError: the weights are none of torchvision's.
    """
    spec, chosen = models.find(config.model.name), config.preprocessing
    preset = models.official(spec, config.model.init) or spec.preset
    return Preprocessing.for_model(
        image_size=chosen.image_size or preset.image_size,
        interpolation=preset.interpolation,
        mean=spec.mean,
        std=spec.std,
        normalisation=chosen.normalisation,
        crop=chosen.crop,
        mask=chosen.mask,
        greyscale=chosen.greyscale,
    )


def open_or_begin(
    config: config_lib.Config,
    folder: pathlib.Path,
    console: rich_console.Console,
    reading: reading_lib.Reading | None = None,
) -> Material:
    """The material of the run in `folder`, which is set up if it is new.

    Args:
        config: its settings.
        folder: where it lies.
        console: where is said what was found.
        reading: of the same pictures, where several runs are set up on them.

    Raises:
        UserError: the folder holds a run with other settings; and as `begin` and `resume`.
    """
    refusal, sides = None, ("train", "validation")
    if jax.process_index() == 0:
        try:
            workdir.save_config(folder, config)
            if not workdir.exists(folder):
                begin(config, folder, console, reading or reading_lib.Reading(config, console))
                sides = ()  # whose files have just been read
        except (OSError, UserError) as error:
            refusal = error
    # The others wait for the folder, which all hosts must see.
    is_ready = refusal is None
    if jax.process_count() > 1:
        is_ready = bool(multihost_utils.broadcast_one_to_all(np.array(is_ready)))
    if refusal is not None:
        raise refusal
    if not is_ready:
        raise UserError("process 0 can't set up the run: what it printed says why")
    material = resume(workdir.load(folder), config.data.root, sides)
    if jax.process_index() == 0:
        workdir.update_config(folder, config)
    return material


def begin(
    config: config_lib.Config,
    folder: pathlib.Path,
    console: rich_console.Console,
    reading: reading_lib.Reading,
) -> None:
    """Splits the pictures, and sets up the run's folder.

    Raises:
        UserError: as `reading.Reading.pictures`, or they can't be split or drawn as asked.
    """
    data_set, checked, found = reading.pictures
    quarantine.save(checked.quarantined, folder / quarantine.FILE)
    if checked.quarantined:
        console.print(
            f"note: {len(checked.quarantined)} pictures can't be read and are left out, see "
            f"{folder / quarantine.FILE}",
            style="yellow",
            soft_wrap=True,
        )
    split = splits.make(data_set, found, config.split)
    sampling = draws_of(data_set, split, config.balance).effective_counts()
    split_file.save(split, data_set, folder / workdir.SPLIT)
    checksums.save(checked.sha256(data_set), folder / workdir.PICTURES)
    scored = baselines.accuracies(data_set, split, checked)
    audited = audit.with_baselines(audit.audit(data_set, checked, found, split), scored)
    audit.save(audited, folder / audit.FILE)
    for warning in audited["warnings"][:WARNINGS]:
        console.print("audit:", warning, style="yellow", soft_wrap=True)
    if left := audited["warnings"][WARNINGS:]:
        console.print(f"audit: {len(left)} more in {folder / audit.FILE}", soft_wrap=True)
    facts = {
        "data": {
            "name": data_set.name,
            "note": data_set.note,
            "caveat": data_set.caveat,
            "citation": data_set.citation,
            "counts": splits.counts(split, data_set),
            "split": config.split.kind,
            "groups": splits.summary(split),
            "quarantined": len(checked.quarantined),
            "contradictions": [path for group in audited["conflicts"] for path in group],
        },
        "sampling": sampling,
        "baselines": scored,
        "split_sha256": split_file.digest(split, data_set),
        "versions": versions(),
        "command": runtime.command(),
    }
    workdir.save_facts(folder, data_set.class_names, preprocessing_of(config), facts)


def resume(run: workdir.Run, root: str, sides: Sequence[str]) -> Material:
    """The same material again, from the split that was saved.

    Args:
        run: the run to go on with.
        root: where the pictures are now.
        sides: those whose files must be the same as when they were split.

    Raises:
        UserError: the pictures are not those of the saved split.
    """
    settings = dataclasses.replace(run.config.data, root=root)
    data_set = data_lib.load(settings).without(quarantine.load(run.workdir / quarantine.FILE))
    if data_set.class_names != run.class_names:
        raise UserError(
            f"{run.workdir} has the classes {', '.join(run.class_names)}, the data set under "
            f"{data_set.root} {', '.join(data_set.class_names)}"
        )
    # A table's lines may have been sorted anew; what is drawn when depends on the order.
    places = {path: i for i, path in enumerate(checksums.load(run.workdir / workdir.PICTURES))}
    rows = sorted(data_set.rows, key=lambda row: places.get(row.path, len(places)))
    data_set = dataclasses.replace(data_set, rows=tuple(rows))
    split = split_file.load(run.workdir / workdir.SPLIT, data_set)
    before = run.facts.get("split_sha256")  # runs of earlier versions have none
    if before and before != split_file.digest(split, data_set):
        raise UserError(f"{run.workdir / workdir.SPLIT} isn't the split that the run began with")
    chosen = [row for side in sides for row in split.indices(side).tolist()]
    checking.require_same_files(data_set, chosen, run.workdir / workdir.PICTURES)
    return Material(data_set=data_set, split=split, preprocessing=run.preprocessing)


def versions() -> dict[str, Any]:
    """What the run was started with."""
    return {
        "jaxall": __version__,
        "jax": jax.__version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "devices": [device.device_kind for device in jax.devices()],
        "cores": os.cpu_count(),
    }
