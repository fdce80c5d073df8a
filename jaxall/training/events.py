"""TensorBoard's event files, of scalars only: protocol buffers in checked records.

The messages are those of tensorflow/core/util/event.proto and framework/summary.proto; a record is
TFRecord's: length, its checksum, data, its checksum (CRC-32C, rotated and shifted).
"""

import itertools
import math
import pathlib
import socket
import struct
import time
from collections.abc import Iterable

_PREFIX = "events.out.tfevents"
_VERSION = b"brain.Event:2"
_LARGEST = struct.unpack("<f", b"\xff\xff\x7f\x7f")[0]  # of a float32


def _table() -> tuple[int, ...]:
    values = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
        values.append(value)
    return tuple(values)


_TABLE = _table()


class Events:
    """One process's file in a folder of events.

    Args:
        folder: made if it isn't there.
        start: TensorBoard forgets what other files of the folder hold from this step on.
    """

    def __init__(self, folder: pathlib.Path, start: int):
        folder.mkdir(parents=True, exist_ok=True)
        # Read in the order of their names.
        self._file = (folder / f"{_PREFIX}.{time.time_ns()}.{socket.gethostname()}").open("xb")
        self._add(0, _bytes(3, _VERSION))
        self._add(start, _bytes(7, _varint(1, 1)))  # the session's log: START

    def write(self, step: int, scalars: Iterable[tuple[str, float]]) -> None:
        """Adds (name, value) pairs; they are handed to the system at once."""
        values = [_bytes(1, name.encode()) + _float(2, value) for name, value in scalars]
        if values:
            self._add(step, _bytes(5, b"".join(_bytes(1, value) for value in values)))

    def close(self) -> None:
        """Closes the file."""
        self._file.close()

    def _add(self, step: int, what: bytes) -> None:
        self._file.write(
            record(struct.pack("<Bd", 1 << 3 | 1, time.time()) + _varint(2, step) + what)
        )
        self._file.flush()


def record(data: bytes) -> bytes:
    """The data as one record of the file."""
    length = struct.pack("<Q", len(data))
    return b"".join(itertools.chain(*((part, _checksum(part)) for part in (length, data))))


def _checksum(data: bytes) -> bytes:
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _TABLE[(crc ^ byte) & 0xFF] ^ crc >> 8
    crc ^= 0xFFFFFFFF
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def _varint(field: int, value: int) -> bytes:
    return _number(field << 3) + _number(value)


def _bytes(field: int, value: bytes) -> bytes:
    return _number(field << 3 | 2) + _number(len(value)) + value


def _float(field: int, value: float) -> bytes:
    if abs(value) > _LARGEST:  # NaN isn't
        value = math.copysign(math.inf, value)
    return _number(field << 3 | 5) + struct.pack("<f", value)


def _number(value: int) -> bytes:
    """Seven bits to a byte, the lowest first."""
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*found, value])
