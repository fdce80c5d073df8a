"""Reads the folders of runs and cross-validations, to be set beside one another.

Only scores of the same pictures can be compared: runs are the same set where the files of the side
that was scored have the same content and the same classes, wherever they lie.
"""

import dataclasses
import hashlib
import pathlib
import shlex
from collections.abc import Sequence
from typing import Any

from jaxall import config as config_lib
from jaxall.data import audit, split_file
from jaxall.errors import UserError
from jaxall.evaluation import ensemble
from jaxall.runs import folds, scored, scoring, workdir
from jaxall.training import journal
from jaxall.training import views as views_lib


@dataclasses.dataclass(frozen=True, kw_only=True)
class Run:
    """A run, and what was scored of it.

    Attributes:
        label: what it is called beside the others.
        saved: its settings and facts.
        epochs: records of the journal, in their order.
        steps: as well.
        audit: of its pictures; None if there is none.
        pictures: names the set of pictures on the side that was scored: a sha256.
        subjects: how many of them are known.
        evaluations: on that side, at least one.
    """

    label: str
    saved: workdir.Run
    epochs: tuple[dict[str, Any], ...]
    steps: tuple[dict[str, Any], ...]
    audit: dict[str, Any] | None
    pictures: str
    subjects: int
    evaluations: tuple[scored.Evaluation, ...]

    @property
    def examples(self) -> int:
        """Pictures on that side."""
        return self.evaluations[0].scores["examples"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class CrossValidation:
    """The runs of all folds.

    Attributes:
        label: what it is called beside the others.
        folds: the run of each.
        spread: by score the mean, deviation, lowest and highest of the folds.
        pooled: all folds' pictures, each by the network that never saw it; None on the validation
            side, and where folds overlap.
    """

    label: str
    folds: tuple[Run, ...]
    spread: dict[str, dict[str, float]]
    pooled: scored.Evaluation | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Group:
    """What was scored on the same pictures, and so may be compared.

    Attributes:
        data: name of the data set.
        split: kind of the split.
        pictures: a sha256 that names the set.
        members: in the order in which they were asked for.
    """

    data: str
    split: str
    pictures: str
    members: tuple[Run | CrossValidation, ...]


def gather(folders: Sequence[pathlib.Path], side: str) -> tuple[Group, ...]:
    """Everything that was scored on one side, by the pictures that it was scored on.

    Args:
        folders: of runs and cross-validations; one that is named twice counts once.
        side: "train", "validation" or "test".

    Raises:
        UserError: a folder holds neither, a file is damaged, or a run was never scored there.
    """
    unique = [
        folder
        for place, folder in enumerate(folders)
        if folder.resolve() not in [other.resolve() for other in folders[:place]]
    ]
    _require_scored(unique, side)
    groups: dict[tuple[str, ...], list[Run | CrossValidation]] = {}
    for folder, label in zip(unique, _labels(unique), strict=True):
        is_whole = (folder / folds.SUMMARY).is_file()
        member = _cross_validation(folder, label, side) if is_whole else _run(folder, label, side)
        groups.setdefault(_key(member), []).append(member)
    return tuple(
        Group(data=data, split=split, pictures=pictures, members=tuple(members))
        for (data, split, pictures, *_), members in groups.items()
    )


def runs_of(member: Run | CrossValidation) -> tuple[Run, ...]:
    """The run itself, or those of the folds."""
    return member.folds if isinstance(member, CrossValidation) else (member,)


def differing(runs: Sequence[Run]) -> dict[str, list[Any]]:
    """The settings that differ: name -> the value in each run, None where there is none."""
    every = [config_lib.deciding(run.saved.config) for run in runs]
    names = sorted({name for settings in every for name in settings})
    table = {name: [settings.get(name) for settings in every] for name in names}
    return {
        name: values
        for name, values in table.items()
        if name != "name" and any(value != values[0] for value in values)
    }


def _labels(folders: Sequence[pathlib.Path]) -> list[str]:
    names = [folder.resolve().name for folder in folders]
    is_told_apart = len(set(names)) == len(names)
    return names if is_told_apart else [str(folder) for folder in folders]


def _key(member: Run | CrossValidation) -> tuple[str, ...]:
    """Data set, split, pictures and classes in their order: what two of a group must share."""
    runs = runs_of(member)
    pictures = runs[0].pictures
    if isinstance(member, CrossValidation):
        pictures = hashlib.sha256("".join(run.pictures for run in runs).encode()).hexdigest()
    settings = runs[0].saved.config
    return settings.data.name, settings.split.kind, pictures, *runs[0].saved.class_names


def _require_scored(folders: Sequence[pathlib.Path], side: str) -> None:
    missing = []
    for folder in folders:
        if (folder / folds.SUMMARY).is_file():
            continue
        if (folders_of_folds := sorted(folder.glob("fold[0-9]*"))) and not workdir.exists(folder):
            raise UserError(
                f"{folder} holds {len(folders_of_folds)} folds of a cross-validation that isn't "
                "finished: the command that began it goes on with it"
            )
        if workdir.exists(folder) and not scored.find(folder, side):
            missing.append(folder)
    if missing:
        commands = [
            f"python -m jaxall.evaluate {shlex.quote(str(folder))} --split {side}"
            for folder in missing
        ]
        first = f"{missing[0]} was never scored on its {side} side"
        others = f" (nor were {len(missing) - 1} others)" if missing[1:] else ""
        raise UserError(f"{first}{others}; wanted first: {commands[0]}", commands[1:])


def _run(folder: pathlib.Path, label: str, side: str) -> Run:
    saved = workdir.load(folder)
    if "counts" not in saved.facts.get("data", {}):
        raise UserError(f"{folder / workdir.FACTS} is damaged: no counts of the pictures")
    files_of_pictures = folder / workdir.SPLIT, folder / workdir.PICTURES
    pictures, subjects = split_file.fingerprint(*files_of_pictures, side)
    found = {path.parent.name: scored.load(path, label) for path in scored.find(folder, side)}
    if len(found) == 1:
        names = [label]
    else:
        names = [_name(label, kind, one.scores, side) for kind, one in found.items()]
    if len(set(names)) < len(names):  # as of ensembles of one run's checkpoints
        names = [f"{name}, {kind}" for name, kind in zip(names, found, strict=True)]
    epochs, steps = journal.course(folder)
    return Run(
        label=label,
        saved=saved,
        epochs=epochs,
        steps=steps,
        audit=audit.load(folder / audit.FILE) if (folder / audit.FILE).is_file() else None,
        pictures=pictures,
        subjects=subjects,
        evaluations=tuple(
            dataclasses.replace(one, label=name)
            for one, name in zip(found.values(), names, strict=True)
        ),
    )


def _name(label: str, kind: str, scores: dict[str, Any], side: str) -> str:
    """What a run's evaluation in the folder `kind` is called; an ensemble by its members."""
    if not (members := scores.get("members")):
        return f"{label}, {kind.removeprefix(f'{side}-')}"
    names = ", ".join(pathlib.Path(member).name for member in members)
    tail = scoring.words_of(scores.get("tta", views_lib.NONE))
    return f"{ensemble.WORDING.get(str(scores.get('ensemble')), 'ensemble')} of {names}{tail}"


def _cross_validation(folder: pathlib.Path, label: str, side: str) -> CrossValidation:
    summary = scored.read(folder / folds.SUMMARY)
    if not isinstance(summary.get("folds"), list) or side not in summary:
        raise UserError(
            f"{folder / folds.SUMMARY} has no scores of the {side} side; it has those of "
            f"{' and '.join(name for name in folds.SIDES if name in summary) or 'none'}"
        )
    own = [folds.folder_of(folder, fold) for fold in range(len(summary["folds"]))]
    _require_scored(own, side)
    pooled = None
    if side == "test" and isinstance(summary.get("pooled"), dict):  # JSON's null is read as NaN
        path = folder / scoring.FOLDER / "pooled" / scoring.SCORES
        pooled = scored.load(path, f"{label}, all folds pooled")
    return CrossValidation(
        label=label,
        folds=tuple(_run(one, f"{label}/{one.name}", side) for one in own),
        spread=summary[side],
        pooled=pooled,
    )
