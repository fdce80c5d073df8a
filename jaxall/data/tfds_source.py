"""A data set that `jaxall.data.tfds_builders` wrote as TFDS records; read without TensorFlow.

Its table, splits and batches are those of the files that it was made from, bit for bit. BMP and
TIFF files have become PNGs, though, so their sha256 are others: a run that was split on such files
can't go on with their records.
"""

import dataclasses
import errno
import hashlib
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from jaxall import errors
from jaxall.data import dataset

NAME = "tfds"
FILE_FORMAT = "array_record"  # of TFDS's formats the one that is read at random without TensorFlow
LABELLED, UNLABELLED = "train", "unlabelled"  # the splits
_INFO = "dataset_info.json"
_WANTED = f"wanted a folder that TFDS has prepared (NAME/VERSION/{_INFO})"
_AGAIN = "copy it again or build it anew"
_HOW_TO_MAKE_IT = "python -m jaxall.prepare --tfds makes one"
_FIELDS = tuple(field.name for field in dataclasses.fields(dataset.Row))
_INTEGERS = ("label", "number")
# What a builder writes of the data set, beside its records.
_ABOUT = {
    **dict.fromkeys(("name", "citation", "caveat", "note", "table_sha256"), str),
    "class_names": list,
}
_DEPTH = 3  # folders above a version's: NAME, and a configuration of it


class Reader:
    """Given a row's path, the bytes of its picture as they are stored: JPEG or PNG.

    Threads may read at the same time. It pickles as its arguments alone: each process opens the
    files for itself, at its first picture.
    """

    def __init__(self, folder: pathlib.Path, places: Mapping[str, tuple[str, int]]) -> None:
        """Reads a version's folder.

        Args:
            folder: the one with dataset_info.json.
            places: path -> the split and the position in it.
        """
        self.folder = folder
        self.places = places
        self._splits: dict[str, Sequence[Mapping[str, Any]]] = {}

    def __call__(self, path: str) -> bytes:
        """The picture's bytes.

        Raises:
            OSError: no such picture, or its record can't be read.
        """
        if path not in self.places:
            raise OSError(errno.ENOENT, f"no record in {self.folder}")
        split, position = self.places[path]
        try:
            # Two threads may both come to open them; the files are the same.
            if split not in self._splits:
                self._splits = _open(self.folder)
            return self._splits[split][position]["image"]
        # array_record raises what its C++ says: RuntimeError, ValueError, IndexError.
        except Exception as error:
            raise OSError(errno.EIO, f"damaged record in {self.folder}: {_line(error)}") from error

    def __reduce__(self) -> tuple:
        return Reader, (self.folder, self.places)


def load(root: pathlib.Path) -> dataset.DataSet:
    """Reads the table from the records, in their order, without decoding a picture.

    Every record is read once, and with it the checksums: damage shows before a run begins.

    Args:
        root: the folder of a version (.../b_all/1.0.0), or one above that holds no other.

    Raises:
        UserError: no such folder or several, files that need TensorFlow, records that are missing,
            damaged or of another kind.
    """
    folder = _find(root)
    info = _info(folder)
    about = _about(folder, info)
    rows = _rows(folder)
    _require_matching_classes(folder, info.features["label"].names, about, rows)
    if about["table_sha256"] != table_sha256((*rows.get(LABELLED, ()), *rows.get(UNLABELLED, ()))):
        raise errors.UserError(
            f"the records in {folder} aren't those that it was built with: {_AGAIN}"
        )
    places = {
        row.path: (split, position) for split in rows for position, row in enumerate(rows[split])
    }
    return dataset.require_every_class(
        dataset.DataSet(
            name=about["name"],
            root=folder,
            class_names=tuple(info.features["label"].names),
            rows=rows.get(LABELLED, ()),
            unlabelled=rows.get(UNLABELLED, ()),
            reader=Reader(folder, places),
            citation=about["citation"],
            caveat=about["caveat"],
            note=about["note"],
        )
    )


def table_sha256(rows: Sequence[dataset.Row]) -> str:
    """Tells a table from any other, in its rows or their order."""
    lines = (repr([str(cell) for cell in dataclasses.astuple(row)]) for row in rows)
    return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogateescape")).hexdigest()


def _find(root: pathlib.Path) -> pathlib.Path:
    """The one folder at or below the root that has a dataset_info.json."""
    if not root.is_dir():
        raise errors.UserError(f"there is no folder {root}; {_WANTED}; {_HOW_TO_MAKE_IT}")
    for depth in range(_DEPTH + 1):
        found = sorted(
            path.parent
            for path in root.glob("*/" * depth + _INFO)
            # What a killed build has left behind.
            if not path.parent.name.startswith("incomplete.")
        )
        if len(found) > 1:
            names = ", ".join(path.relative_to(root).as_posix() for path in found)
            raise errors.UserError(f"wanted one prepared data set, {root} holds {names}: name one")
        if found:
            return found[0]
    try:
        names = ", ".join(sorted(path.name for path in root.iterdir())[:5]) or "nothing"
    except OSError as error:
        raise errors.UserError(f"can't read the folder {root}: {error.strerror}") from error
    raise errors.UserError(f"{root} holds {names}; {_WANTED}; {_HOW_TO_MAKE_IT}")


def _builder(folder: pathlib.Path) -> Any:
    # Half a second that commands on other data sets, and their worker processes, needn't wait.
    import tensorflow_datasets as tfds

    return tfds.builder_from_directory(folder)


def _open(folder: pathlib.Path) -> dict[str, Sequence[Mapping[str, Any]]]:
    """The records of each split; their pictures are not decoded."""
    import tensorflow_datasets as tfds

    return _builder(folder).as_data_source(decoders={"image": tfds.decode.SkipDecoding()})


def _info(folder: pathlib.Path) -> Any:
    """What TFDS knows of the version, after a look at its features and files."""
    try:
        info = _builder(folder).info
    # Broken JSON, features of other versions of TFDS, and more.
    except Exception as error:
        raise errors.UserError(f"can't read {folder / _INFO}: {_line(error)}") from error
    if info.file_format.value != FILE_FORMAT:
        raise errors.UserError(
            f"{folder} holds {info.file_format.value} files, which take TensorFlow to read: "
            f"wanted {FILE_FORMAT}; {_HOW_TO_MAKE_IT}"
        )
    lacking = [name for name in ("image", *_FIELDS) if name not in info.features]
    if lacking:
        raise errors.UserError(
            f"the records in {folder} lack {', '.join(lacking)}, they hold "
            f"{', '.join(info.features)}; {_HOW_TO_MAKE_IT}"
        )
    files = [file for split in info.splits.values() for file in split.filepaths]
    missing = [file.name for file in files if not file.is_file()]
    if missing:
        raise errors.UserError(
            f"{len(missing)} of {len(files)} files of records are missing in {folder}: "
            f"{', '.join(missing[:3])}; {_AGAIN}"
        )
    return info


def _about(folder: pathlib.Path, info: Any) -> dict[str, Any]:
    """What its builder wrote of the data set."""
    try:
        about = dict(info.metadata or {})
    except Exception as error:  # broken JSON of any kind
        raise errors.UserError(f"damaged metadata in {folder}: {_line(error)}; {_AGAIN}") from error
    kinds = {name: type(value) for name, value in about.items()}
    wrong = [name for name, kind in _ABOUT.items() if kinds.get(name) is not kind]
    if wrong:
        raise errors.UserError(f"damaged metadata in {folder}: no {', '.join(wrong)}; {_AGAIN}")
    return about


def _rows(folder: pathlib.Path) -> dict[str, tuple[dataset.Row, ...]]:
    """The rows of each split."""
    try:
        return {
            split: tuple(_row(record) for record in records)
            for split, records in _open(folder).items()
        }
    # array_record raises what its C++ says: RuntimeError, ValueError, IndexError; protobuf its own.
    except Exception as error:
        raise errors.UserError(f"damaged records in {folder}: {_line(error)}; {_AGAIN}") from error


def _row(record: Mapping[str, Any]) -> dataset.Row:
    # What comes from a file's name need not be UTF-8, and is restored as it was.
    def text(name: str) -> str:
        return record[name].decode("utf-8", "surrogateescape")

    texts = {name: text(name) for name in _FIELDS if name not in _INTEGERS}
    return dataset.Row(label=record["label"], number=record["number"], **texts)


def _require_matching_classes(
    folder: pathlib.Path,
    names: Sequence[str],
    about: Mapping[str, Any],
    rows: Mapping[str, Sequence[dataset.Row]],
) -> None:
    built = about["class_names"]
    if list(built) != list(names):
        raise errors.UserError(
            f"the records in {folder} were built with the classes {', '.join(built)}, its "
            f"label.labels.txt names {', '.join(names)}; {_AGAIN}"
        )
    for split, least in ((LABELLED, 0), (UNLABELLED, -1)):
        for row in rows.get(split, ()):
            if not least <= row.label < len(names):
                raise errors.UserError(
                    f"{row.path} in {folder} has the label {row.label}, there are {len(names)} "
                    f"classes: {', '.join(names)}"
                )


def _line(error: Exception) -> str:
    """The first line of what went wrong, 200 characters at most."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]
