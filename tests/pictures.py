"""Pictures that tests draw: noise, encoded as files are, and tables of them."""

import io
import pathlib
import struct
import zlib

import numpy as np
from PIL import Image

from jaxall.data import dataset


def encode(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    """A picture file's bytes."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def noise(seed: int = 0, size: tuple[int, int] = (20, 30)) -> np.ndarray:
    """uint8 [H,W,3]."""
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)


def png_of(width: int, height: int, depth: int, pixels: bytes) -> bytes:
    """A colour PNG of these lines, each after its filter byte, whatever the header claims."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        checksum = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)

    header = struct.pack(">IIBBBBB", width, height, depth, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(pixels)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def write(root: pathlib.Path, names: tuple[str, ...]) -> dataset.DataSet:
    """Noise under these names, of two classes in turn."""
    for seed, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(noise(seed)).save(root / name)
    rows = tuple(dataset.Row(path=name, label=index % 2) for index, name in enumerate(names))
    return dataset.DataSet(name="test", root=root, class_names=("a", "b"), rows=rows)
