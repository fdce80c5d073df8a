"""What all builders share: a table of pictures becomes TFDS records, without TensorFlow."""

import dataclasses
import io
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

from jaxall import data, errors
from jaxall.data import dataset, decoding, tfds_source

PICTURES_PER_SHARD = 2000
_AS_THEY_ARE = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n")  # how JPEG and PNG files begin
_NUMBERS = np.iinfo(np.int64)


class TableBuilder(tfds.core.ShardBasedBuilder, skip_registration=True):
    """Writes the rows of a data set in their order, labelled ones first, then the others.

    A `GeneratorBasedBuilder` collects a whole split before it writes, and above 1,000 MiB on disk
    through TensorFlow; a `ShardBasedBuilder` writes each record as it comes: any size, in the
    memory of one picture. How data are split into train and test is the experiment's business, so
    all labelled rows are one split.

    A subclass says `name` (of a data set that `jaxall.data` knows), `VERSION`, `RELEASE_NOTES`,
    `MANUAL_DOWNLOAD_INSTRUCTIONS` and the attributes below.

    Attributes:
        DESCRIPTION: what it is, in a few sentences.
        HOMEPAGE: where it comes from.
        BIBTEX: whom to cite.
        CLASS_NAMES: if they are known before there are pictures.
    """

    DESCRIPTION = ""
    HOMEPAGE = ""
    BIBTEX = ""
    CLASS_NAMES: tuple[str, ...] = ()

    def __init__(
        self,
        *,
        data_set: dataset.DataSet | None = None,
        progress: Callable[[int], None] | None = None,
        file_format: str | None = None,
        **arguments: Any,
    ) -> None:
        """A builder of a data set that is loaded already, or of the one in TFDS's manual folder.

        Args:
            data_set: the table; None loads it from the manual folder, by the builder's name. With
                it the builder is silent.
            progress: told how many pictures are written after each.
            file_format: None for array_record.
            **arguments: of `tfds.core.DatasetBuilder`, `data_dir` first of all.
        """
        self._data_set = data_set
        self._progress = progress
        super().__init__(file_format=file_format or tfds_source.FILE_FORMAT, **arguments)

    def _info(self) -> tfds.core.DatasetInfo:
        names = list(self.CLASS_NAMES) or None
        return tfds.core.DatasetInfo(
            builder=self,
            description=self.DESCRIPTION,
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(doc="JPEG or PNG"),
                    "label": tfds.features.ClassLabel(names=names, doc="-1 if never published"),
                    "path": tfds.features.Text(doc="of the file that the picture comes from"),
                    "subject": tfds.features.Text(doc="the patient, empty if unknown"),
                    "group": tfds.features.Text(doc="what else belongs on one side of a split"),
                    "fold": tfds.features.Text(doc="of the publishers' cross-validation"),
                    "side": tfds.features.Text(doc="of the publishers' split"),
                    "number": tfds.features.Scalar(np.int64, doc="acquisition number"),
                }
            ),
            supervised_keys=("image", "label"),
            disable_shuffling=True,
            homepage=self.HOMEPAGE,
            citation=self.BIBTEX,
            metadata=tfds.core.MetadataDict(),
        )

    def _shard_iterators_per_split(
        self, dl_manager: tfds.download.DownloadManager
    ) -> Mapping[str, Sequence[Callable[[], Iterator[tuple[str, dict[str, Any]]]]]]:
        data_set = self._data_set
        if data_set is None:
            root = str(dl_manager.manual_dir)
            data_set = data.load(dataset.DataSettings(name=self.name, root=root))
        _require_plain(data_set.class_names)
        info: Any = self.info
        info.features["label"].names = list(data_set.class_names)
        info.metadata.update(
            name=data_set.name,
            class_names=list(data_set.class_names),
            citation=data_set.citation,
            caveat=data_set.caveat,
            note=data_set.note,
            table_sha256=tfds_source.table_sha256((*data_set.rows, *data_set.unlabelled)),
        )
        written = itertools.count(1)
        splits = {
            tfds_source.LABELLED: data_set.rows,
            tfds_source.UNLABELLED: data_set.unlabelled,
        }
        return {
            name: [
                _Shard(data_set, rows[start : start + PICTURES_PER_SHARD], self._progress, written)
                for start in range(0, len(rows), PICTURES_PER_SHARD)
            ]
            for name, rows in splits.items()
            if rows
        }

    # Overridden because they print, whatever the caller's terminal shows.
    def _log_download_bytes(self) -> None:
        if self._data_set is None:
            super()._log_download_bytes()

    def _log_download_done(self) -> None:
        if self._data_set is None:
            super()._log_download_done()


@dataclasses.dataclass(frozen=True)
class _Shard:
    """The examples of one shard, with their keys."""

    data_set: dataset.DataSet
    rows: Sequence[dataset.Row]
    progress: Callable[[int], None] | None
    written: Iterator[int]

    def __call__(self) -> Iterator[tuple[str, dict[str, Any]]]:
        for row in self.rows:
            image = _Once(_read(self.data_set, row))
            yield row.path, {"image": image, **_encoded(row)}
            if self.progress is not None:
                self.progress(next(self.written))


class _Once:
    """Bytes that are let go when they are read: TFDS keeps a shard's examples until its end."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def read(self) -> bytes:
        content, self._content = self._content, b""
        return content


def storable(picture: bytes) -> bytes:
    """A picture file as TFDS knows it: JPEG and PNG as they are, all else as PNG.

    The PNG decodes to the same pixels, bit for bit, as the file does with `decoding.decode`.

    Raises:
        UndecodableError: neither JPEG nor PNG, and can't be decoded.
    """
    if picture.startswith(_AS_THEY_ARE):
        return picture
    buffer = io.BytesIO()
    Image.fromarray(decoding.decode(picture)).save(buffer, "PNG")
    return buffer.getvalue()


def _encoded(row: dataset.Row) -> dict[str, Any]:
    """The row's fields; texts as bytes, since a file's name need not be UTF-8."""
    return {
        name: value.encode("utf-8", "surrogateescape") if isinstance(value, str) else value
        for name, value in dataclasses.asdict(row).items()
    }


def _require_plain(class_names: Sequence[str]) -> None:
    # TFDS keeps them as lines of UTF-8, and strips them.
    strange = [
        name
        for name in class_names
        if name.strip() != name or name.splitlines() != [name] or not name.isprintable()
    ]
    if strange:
        raise errors.UserError(
            "TFDS keeps class names as lines without spaces around them, which "
            f"{', '.join(map(ascii, strange))} can't be: rename the classes"
        )


def _read(data_set: dataset.DataSet, row: dataset.Row) -> bytes:
    if not _NUMBERS.min <= row.number <= _NUMBERS.max:
        raise errors.UserError(f"the number of {row.path} has more than 64 bits: {row.number}")
    try:
        return storable(data_set.read(row))
    except (OSError, decoding.UndecodableError) as error:
        reason = errors.reason(error)
        raise errors.UserError(f"can't read the picture {row.path}: {reason}") from error
