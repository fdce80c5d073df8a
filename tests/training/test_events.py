import math
import pathlib
import struct

import pytest

from jaxall.training import events


def read(file: pathlib.Path) -> list[bytes]:
    """The records' data; their checksums are those that writing the same data gives."""
    content, found = file.read_bytes(), []
    while content:
        (length,) = struct.unpack_from("<Q", content)
        found.append(content[12 : 12 + length])
        record = events.record(found[-1])
        assert content[: len(record)] == record
        content = content[len(record) :]
    return found


def test_a_record_is_what_tensorflow_writes():
    # "123456789" is the published check of CRC-32C: 0xe3069283.
    crc = 0xE3069283
    masked = ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
    record = events.record(b"123456789")
    assert record[:8] == struct.pack("<Q", 9)
    assert record[12:] == b"123456789" + struct.pack("<I", masked)


def test_events_are_those_of_tensorboards_own_definition(tmp_path: pathlib.Path):
    messages = pytest.importorskip("tensorboardX.proto.event_pb2", exc_type=ImportError)
    log = events.Events(tmp_path / "new", 301)
    log.write(301, [("step/loss", 0.5), ("Präzision", -1e300)])
    log.write(40_000, [("step/loss", math.nan)])
    log.write(40_001, [])
    log.close()
    (file,) = (tmp_path / "new").iterdir()
    head, session, first, last = (messages.Event.FromString(data) for data in read(file))
    assert head.file_version == "brain.Event:2"
    assert (session.step, session.session_log.status) == (301, messages.SessionLog.START)
    found = [(value.tag, value.simple_value) for value in first.summary.value]
    assert (first.step, found) == (301, [("step/loss", 0.5), ("Präzision", -math.inf)])
    assert last.step == 40_000
    assert math.isnan(last.summary.value[0].simple_value)
    times = [event.wall_time for event in (head, session, first, last)]
    assert times == sorted(times)
    assert times[0] > 1e9


def test_each_opening_has_a_file_of_its_own_and_names_are_in_order(tmp_path: pathlib.Path):
    names = []
    for _ in range(3):
        log = events.Events(tmp_path, 1)
        log.close()
        names += {path.name for path in tmp_path.iterdir()} - set(names)
    assert names == sorted(names)
    assert len(names) == 3
    assert all("tfevents" in name for name in names)
