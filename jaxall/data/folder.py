"""Anyone's own pictures: a folder of class folders, or a CSV file that lists them."""

import collections
import dataclasses
import difflib
import os.path
import pathlib
from collections.abc import Iterator, Mapping, Sequence

from jaxall import errors
from jaxall.data import dataset, decoding, folder_table, ordering, spelling

NAME = "folder"
RARE, ALIKE = 20, 0.75  # times fewer pictures, and `difflib`'s ratio of names, of a likely slip
_WANTED = (
    "wanted a folder with a folder of pictures for each of two or more classes, or a CSV file "
    "with the columns path and label"
)
_SIDES = ("train", "training", "val", "valid", "validation", "test", "testing")


def load(root: pathlib.Path) -> dataset.DataSet:
    """Reads the table; the data set is named after its folder, its classes are sorted naturally.

    Lines of a table without a class are unlabelled pictures, which can only be predicted.

    A CSV file in the folder (table.csv, manifest.csv, dataset.csv or the only one) goes before
    folders of classes. What lies deeper in a class's folder belongs to it; no name of a folder is
    taken for a subject.

    Args:
        root: the folder, or the CSV file itself.

    Raises:
        UserError: neither, fewer than two classes, or something that can't be used.
    """
    if root.is_dir():
        table = folder_table.find(root)
    elif root.is_file():
        table, root = root, root.parent
    else:
        raise errors.UserError(f"there is no folder and no file {root}; {_WANTED}")
    class_names, rows = folder_table.read(table) if table else _read_folders(root)
    if len(class_names) < 2:
        names = ", ".join(class_names) or "none"
        raise errors.UserError(f"the classes in {table or root} are {names}; {_WANTED}")
    data_set = dataset.DataSet(
        name=root.resolve().name,
        root=root,
        class_names=class_names,
        rows=tuple(row for row in rows if row.label >= 0),
        unlabelled=tuple(row for row in rows if row.label < 0),
        caveat=_caveat([row for row in rows if row.label >= 0]),
    )
    note = "; ".join((*_notes(rows), *_slips(data_set.class_counts)))
    return dataset.require_every_class(dataclasses.replace(data_set, note=note))


def _read_folders(root: pathlib.Path) -> tuple[tuple[str, ...], tuple[dataset.Row, ...]]:
    """Rows by class, in each numbered in the natural order of their paths."""
    pictures: dict[str, list[str]] = {
        path.name: []
        for path in root.iterdir()
        if path.is_dir() and not decoding.is_clutter(path.name)
    }
    loose, strangers = [], []
    homes = {os.path.realpath(root / name): name for name in pictures}
    for path in decoding.find_images(root):
        first, *rest = path.relative_to(root).parts
        real = pathlib.Path(os.path.realpath(path))
        if any(homes.get(str(above), first) != first for above in real.parents):
            strangers.append(path.relative_to(root).as_posix())
        if rest:
            pictures[first].append("/".join((first, *rest)))
        else:
            loose.append(first)
    class_names = tuple(sorted(pictures, key=ordering.natural))
    problems = _faults(root, class_names)
    if loose:
        problems.append(f"{len(loose):,} pictures lie beside the classes, like {loose[0]}")
    if strangers:
        problems.append(
            f"{len(strangers):,} pictures are links into another class's folder, like "
            f"{strangers[0]}"
        )
    if empty := [name for name in class_names if not pictures[name]]:
        kinds = ", ".join(decoding.IMAGE_SUFFIXES)
        problems.append(f"no pictures ({kinds}) in {', '.join(empty)}")
    if problems:
        raise errors.UserError(f"can't use {root}: {'; '.join(problems)}; {_WANTED}", problems)
    rows = tuple(
        dataset.Row(path=path, label=label, number=number)
        for label, name in enumerate(class_names)
        for number, path in enumerate(sorted(pictures[name], key=ordering.natural), start=1)
    )
    return class_names, rows


def _faults(root: pathlib.Path, class_names: Sequence[str]) -> list[str]:
    """What is wrong with folders as classes."""
    faults = folder_table.faults_of_classes(class_names)
    places: dict[str, str] = {}
    for name in class_names:
        other = places.setdefault(os.path.realpath(root / name), name)
        if other != name:
            faults.append(f"{other} and {name} are one folder")
    if class_names and all(name.lower() in _SIDES for name in class_names):
        faults.append(
            f"{' and '.join(class_names)} are sides of a split, not classes: list the pictures in "
            "a CSV file with the columns path, label and split"
        )
    return faults


def _caveat(rows: Sequence[dataset.Row]) -> str:
    nameless = sum(not row.subject for row in rows)
    if not nameless:
        return ""
    if nameless == len(rows):
        return "the pictures name no subject, so no split keeps patients apart"
    return (
        f"{nameless:,} of {len(rows):,} pictures name no subject, so a patient's may stand on "
        "several sides"
    )


def _slips(counts: Mapping[str, int]) -> Iterator[str]:
    """Warns of small classes that have nearly the name of a large one."""
    for name, count in counts.items():
        large = {other.lower(): other for other, own in counts.items() if own > RARE * count}
        for close in difflib.get_close_matches(name.lower(), large, n=1, cutoff=ALIKE):
            other = large[close]
            yield (
                f"the class {name} ({count:,} pictures) has nearly the name of {other} "
                f"({counts[other]:,}): is it a slip of the pen?"
            )


def _notes(rows: Sequence[dataset.Row]) -> Iterator[str]:
    """Warns of pictures without a class, and of a split that parts what belongs together."""
    spelt: dict[str, set[str]] = collections.defaultdict(set)
    for row in rows:
        spelt["".join(spelling.caseless(row.subject).split())].add(row.subject)
    if twice := [" and ".join(sorted(names)) for names in spelt.values() if len(names) > 1]:
        yield (
            f"only case, accents or spaces tell {len(twice):,} pairs of subjects apart, so one may "
            f"stand on several sides: {errors.some(twice)}"
        )
    if nameless := sum(row.label < 0 for row in rows):
        yield f"{nameless:,} pictures have no class and are left out"
    sides: dict[str, set[str]] = collections.defaultdict(set)
    for row in rows:
        for kind, name in (("subject", row.subject), ("group", row.group)):
            if name and row.side:
                sides[f"{kind} {name}"].add(row.side)
    parted = sorted((name for name, found in sides.items() if len(found) > 1))
    if parted:
        yield (
            f"the table's own split, which split.kind=official uses, parts {len(parted):,} "
            f"subjects or groups, so it leaks: {errors.some(parted)}"
        )
