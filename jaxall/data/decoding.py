"""From a picture file's bytes to its pixels, and how picture files are found in folders."""

import dataclasses
import io
import os
import pathlib
from collections.abc import Iterator

import numpy as np
from PIL import Image, ImageOps

from jaxall import errors

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff")
FORMATS = ("JPEG", "PNG", "BMP", "TIFF")
MAX_PIXELS = 89_478_485  # where Pillow's own guard against decompression bombs sets in


class UndecodableError(ValueError):
    """The bytes are no whole picture of a kind that is read here."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Header:
    """What a file says of its picture before a pixel is decoded.

    Attributes:
        format: one of `FORMATS`.
        mode: Pillow's name of its colours: RGB, L, P, RGBA, CMYK and so on.
        width, height: in pixels as stored, before any EXIF orientation.
    """

    format: str
    mode: str
    width: int
    height: int


def read(path: str | os.PathLike[str]) -> bytes:
    """A file's bytes.

    Raises:
        OSError: it can't be read.
        UndecodableError: it is a pipe or a device, which might never end.
    """
    file = pathlib.Path(path)
    if file.exists() and not file.is_file():
        raise UndecodableError("no regular file")
    return file.read_bytes()


def decode(data: bytes) -> np.ndarray:
    """Decodes a JPEG, PNG, BMP or TIFF to uint8 [H,W,3] RGB.

    The EXIF orientation is applied, transparency is laid on white, colour profiles are not
    applied, and of several pages the first is taken.

    Raises:
        UndecodableError: not such a picture, truncated, more than `MAX_PIXELS`, or deeper than
            8 bits a channel (which range of the values to show isn't for a decoder to guess).
    """
    return examine(data)[1]


def examine(data: bytes) -> tuple[Header, np.ndarray]:
    """What the file says of its picture, and the picture as `decode` gives it.

    Raises:
        UndecodableError: see `decode`.
    """
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            _refuse(image)
            header = Header(
                format=str(image.format), mode=image.mode, width=image.width, height=image.height
            )
            ImageOps.exif_transpose(image, in_place=True)
            if image.has_transparency_data:
                laid = image.convert("RGBA")
                image = Image.alpha_composite(Image.new("RGBA", laid.size, "white"), laid)
            return header, np.array(image if image.mode == "RGB" else image.convert("RGB"))
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


def find_images(folder: pathlib.Path) -> list[pathlib.Path]:
    """Lists the pictures below a folder, sorted; hidden files and `__MACOSX` are passed over.

    Links to folders are followed, each folder once.

    Raises:
        UserError: there is no such folder, or one in it can't be read or lies too deep.
    """
    if not folder.is_dir():
        raise errors.UserError(f"wanted a folder with pictures, {folder} is none")
    found = []
    seen = {os.path.realpath(folder)}

    def is_new(path: str) -> bool:
        before = len(seen)
        seen.add(os.path.realpath(path))
        return len(seen) > before

    for parent, folders, names in walk(folder, follow_links=True):
        folders[:] = [name for name in folders if is_new(os.path.join(parent, name))]
        for name in names:
            if name.lower().endswith(IMAGE_SUFFIXES):
                found.append(pathlib.Path(parent, name))
    return sorted(found, key=lambda path: path.as_posix())


def walk(
    folder: pathlib.Path, *, follow_links: bool = False
) -> Iterator[tuple[str, list[str], list[str]]]:
    """`os.walk` without clutter, folders and files sorted by name.

    Raises:
        UserError: a folder can't be read, or lies too deep.
    """

    def fail(error: OSError) -> None:
        raise errors.UserError(f"can't read the folder {error.filename}: {error.strerror}")

    try:
        for parent, folders, names in os.walk(folder, onerror=fail, followlinks=follow_links):
            folders[:] = sorted(name for name in folders if not is_clutter(name))
            yield parent, folders, sorted(name for name in names if not is_clutter(name))
    except RecursionError as error:  # Python 3.11 goes down by recursion
        raise errors.UserError(f"the folders in {folder} are nested too deeply") from error


def is_clutter(name: str) -> bool:
    """Tells hidden files and what macOS puts into archives."""
    return name.startswith(".") or name == "__MACOSX"
