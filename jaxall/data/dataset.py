"""A data set: a table of rows and the pictures they name, here found, read and checked."""

import collections
import concurrent.futures
import dataclasses
import functools
import hashlib
import io
import os
import pathlib
from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image, ImageOps

from jaxall import errors, files

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff")
FORMATS = ("JPEG", "PNG", "BMP", "TIFF")
MAX_PIXELS = 89_478_485  # where Pillow's own guard against decompression bombs sets in
THUMBNAIL_SIZE = 16


class UndecodableError(ValueError):
    """The bytes are no whole picture of a kind that is read here."""


class UnreadablePicturesError(errors.UserError):
    """Pictures of a data set that can't be used; `details` names each, one line a picture."""

    def __init__(self, message: str, details: tuple[str, ...]) -> None:
        super().__init__(message)
        self.details = details


@dataclasses.dataclass(kw_only=True)
class DataSettings:
    """Which data set, and the folder that it lies in."""

    name: str = "b_all"
    root: str = "data/b_all"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """One labelled picture.

    Attributes:
        path: relative to the data set's root, with forward slashes.
        label: index into the data set's class names.
        subject: the patient, "" where unknown.
        number: the acquisition number in the file name; it orders the block split.
    """

    path: str
    label: int
    subject: str = ""
    number: int = 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataSet:
    """A table of rows.

    Attributes:
        citation: whom to thank.
        caveat: a line printed beside every score made from it.
        note: a line to warn with when it is read, "" if there is nothing to warn about.
    """

    name: str
    root: pathlib.Path
    class_names: tuple[str, ...]
    rows: tuple[Row, ...]
    citation: str = ""
    caveat: str = ""
    note: str = ""

    @functools.cached_property
    def labels(self) -> np.ndarray:
        """int32 [len(rows)]."""
        return np.array([row.label for row in self.rows], dtype=np.int32)

    @property
    def class_counts(self) -> dict[str, int]:
        """Pictures of each class, in the order of the class names."""
        counts = collections.Counter(row.label for row in self.rows)
        return {name: counts[label] for label, name in enumerate(self.class_names)}

    def absolute(self, row: Row) -> pathlib.Path:
        """Where the row's picture lies."""
        return self.root / row.path


@dataclasses.dataclass(frozen=True, kw_only=True)
class Checked:
    """What one pass over all pictures found, in the order of the rows.

    Attributes:
        sha256: of each file's bytes.
        pixels: sha256 of each decoded picture and its size; equal means the same picture.
        thumbnails: uint8 [N,16,16,3] RGB, each pixel the mean of its part of the picture.
    """

    sha256: tuple[str, ...]
    pixels: tuple[str, ...]
    thumbnails: np.ndarray


def contradictions(data_set: DataSet, checked: Checked) -> list[int]:
    """Positions of the rows whose picture stands in another class as well."""
    labels: dict[str, set[int]] = collections.defaultdict(set)
    for pixels, row in zip(checked.pixels, data_set.rows, strict=True):
        labels[pixels].add(row.label)
    return [index for index, pixels in enumerate(checked.pixels) if len(labels[pixels]) > 1]


def save_sha256(data_set: DataSet, checked: Checked, path: pathlib.Path) -> None:
    """Writes each file's sha256, as `sha256sum` does: hash, two spaces, path below the root."""
    lines = zip(checked.sha256, data_set.rows, strict=True)
    files.write(path, "".join(f"{digest}  {row.path}\n" for digest, row in lines))


def require_same_files(data_set: DataSet, rows: Sequence[int], path: pathlib.Path) -> None:
    """Makes sure that files are those whose sha256 was saved.

    Args:
        data_set: the table.
        rows: positions of the rows that matter.
        path: what `save_sha256` wrote.

    Raises:
        UserError: some are not; its details name them.
    """
    known = {}
    for line in files.read_text(path).splitlines():
        digest, _, name = line.partition("  ")
        known[name] = digest

    def is_other(row: Row) -> bool:
        with data_set.absolute(row).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() != known.get(row.path)

    other = [row.path for row in map(data_set.rows.__getitem__, rows) if is_other(row)]
    if other:
        raise errors.UserError(
            f"{len(other)} of {len(rows)} pictures under {data_set.root} are not the files that "
            f"the run was split on ({path}), the first: {other[0]}",
            other,
        )


def read(path: pathlib.Path) -> bytes:
    """A file's bytes.

    Raises:
        OSError: it can't be read.
        UndecodableError: it is a pipe or a device, which might never end.
    """
    if path.exists() and not path.is_file():
        raise UndecodableError("no regular file")
    return path.read_bytes()


def decode(data: bytes) -> np.ndarray:
    """Decodes a JPEG, PNG, BMP or TIFF to uint8 [H,W,3] RGB.

    The EXIF orientation is applied, transparency is laid on white, colour profiles are not
    applied, and of several pages the first is taken.

    Raises:
        UndecodableError: not such a picture, truncated, more than `MAX_PIXELS`, or deeper than
            8 bits a channel (which range of the values to show isn't for a decoder to guess).
    """
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            _refuse(image)
            ImageOps.exif_transpose(image, in_place=True)
            if image.has_transparency_data:
                laid = image.convert("RGBA")
                image = Image.alpha_composite(Image.new("RGBA", laid.size, "white"), laid)
            return np.array(image if image.mode == "RGB" else image.convert("RGB"))
    except UndecodableError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise UndecodableError(f"more than {MAX_PIXELS:,} pixels") from error
    except Image.UnidentifiedImageError as error:
        raise UndecodableError(f"{len(data):,} bytes that are no {'/'.join(FORMATS)}") from error
    # Hostile bytes make Pillow's decoders raise nearly anything: OSError, SyntaxError, struct.error
    except Exception as error:
        raise UndecodableError(" ".join(str(error).split()) or type(error).__name__) from error


def _refuse(image: Image.Image) -> None:
    """Looks at the header, before a pixel is decoded."""
    if image.width * image.height > MAX_PIXELS:
        raise UndecodableError(f"more than {MAX_PIXELS:,} pixels")
    # Pillow cuts 16-bit colour to its upper bytes unasked and only its raw mode tells;
    # in a BMP the same name stands for 5-6-5 bits, which is fine.
    deep = image.format in ("PNG", "TIFF") and ";16" in str(getattr(image, "tile", ""))
    if deep or image.mode.startswith(("I", "F")):
        raise UndecodableError("wanted 8 bits a channel, got more: convert the picture first")


def thumbnail(image: np.ndarray) -> np.ndarray:
    """Shrinks uint8 [H,W,3] to uint8 [16,16,3]; each pixel is the mean of the part it covers."""
    size = (THUMBNAIL_SIZE, THUMBNAIL_SIZE)
    return np.array(Image.fromarray(image).resize(size, Image.Resampling.BOX))


def find_images(folder: pathlib.Path) -> list[pathlib.Path]:
    """Lists the pictures below a folder, sorted; hidden files and `__MACOSX` are passed over.

    Links to folders are followed, each folder once.

    Raises:
        UserError: there is no such folder, or a folder in it can't be read.
    """
    if not folder.is_dir():
        raise errors.UserError(f"wanted a folder with pictures, {folder} is none")

    def fail(error: OSError) -> None:
        raise errors.UserError(f"can't read the folder {error.filename}: {error.strerror}")

    found = []
    seen: set[str] = set()
    for parent, folders, names in os.walk(folder, onerror=fail, followlinks=True):
        seen.add(os.path.realpath(parent))
        folders[:] = sorted(
            name
            for name in folders
            if not is_clutter(name) and os.path.realpath(os.path.join(parent, name)) not in seen
        )
        for name in names:
            if not is_clutter(name) and name.lower().endswith(IMAGE_SUFFIXES):
                found.append(pathlib.Path(parent, name))
    return sorted(found, key=lambda path: path.as_posix())


def is_clutter(name: str) -> bool:
    """Tells hidden files and what macOS puts into archives."""
    return name.startswith(".") or name == "__MACOSX"


def require_every_class(data_set: DataSet) -> DataSet:
    """Hands the data set back if each of its classes has a picture.

    Raises:
        UserError: names the classes without one.
    """
    counts = data_set.class_counts
    empty = [name for name, count in counts.items() if count == 0]
    if len(empty) == len(counts):
        kinds = ", ".join(IMAGE_SUFFIXES)
        raise errors.UserError(f"no pictures ({kinds}) under {data_set.root}")
    if empty:
        found = ", ".join(f"{name} {count:,}" for name, count in counts.items())
        raise errors.UserError(
            f"no picture of class {', '.join(empty)} under {data_set.root} (found: {found})"
        )
    return data_set


def check(
    data_set: DataSet,
    *,
    threads: int = 4,
    progress: Callable[[int, int], None] | None = None,
) -> Checked:
    """Reads and decodes every picture once.

    Args:
        data_set: the table.
        threads: how many pictures are read at a time.
        progress: called with (done, total) after each picture, from the calling thread.

    Raises:
        UnreadablePicturesError: pictures are missing, unreadable or undecodable; names them all.
    """
    pool = concurrent.futures.ThreadPoolExecutor(threads)
    seen: list[tuple[str, str, np.ndarray]] = []
    problems: list[str] = []
    try:
        looked = pool.map(_look_at, map(data_set.absolute, data_set.rows))
        for done, (row, result) in enumerate(zip(data_set.rows, looked, strict=True), start=1):
            if isinstance(result, str):
                problems.append(f"{row.path}: {result}")
            else:
                seen.append(result)
            if progress is not None:
                progress(done, len(data_set.rows))
    finally:
        pool.shutdown(cancel_futures=True)
    if problems:
        raise _unreadable(data_set, tuple(problems))
    shape = (len(seen), THUMBNAIL_SIZE, THUMBNAIL_SIZE, 3)
    return Checked(
        sha256=tuple(sha256 for sha256, _, _ in seen),
        pixels=tuple(pixels for _, pixels, _ in seen),
        thumbnails=np.array([small for _, _, small in seen], dtype=np.uint8).reshape(shape),
    )


def _look_at(path: pathlib.Path) -> tuple[str, str, np.ndarray] | str:
    """Returns (sha256 of the bytes, sha256 of the pixels, thumbnail), or why it can't."""
    try:
        data = read(path)
        image = decode(data)
    except OSError as error:
        return (error.strerror or type(error).__name__).lower()
    except UndecodableError as error:
        return str(error)
    pixels = hashlib.sha256(f"{image.shape}".encode())
    pixels.update(image.tobytes())
    return hashlib.sha256(data).hexdigest(), pixels.hexdigest(), thumbnail(image)


def _unreadable(data_set: DataSet, problems: tuple[str, ...]) -> UnreadablePicturesError:
    first = "; ".join(problems[:3]) + ("; ..." if len(problems) > 3 else "")
    count = f"{len(problems):,} of {len(data_set.rows):,} pictures under {data_set.root}"
    return UnreadablePicturesError(f"can't read {count}, nothing was trained ({first})", problems)
