import os
import pathlib
import shutil
import tarfile
import types
import zipfile

import pytest

from jaxall import errors
from jaxall.data import archives, containers, extracting
from tests.data import packing

KINDS = ("x.zip", "x.tar", "x.tgz", "folder")
MEMBERS = {f"{name}/{number}.png": packing.picture(number) for name in "ab" for number in range(4)}


class Killed(BaseException):
    pass


def extract(path: pathlib.Path, folder: pathlib.Path, progress=lambda done, total: None):
    with archives.opened(path, archives.Limits()) as container:
        contents = archives.survey(container, archives.Limits())
        return extracting.extract(container, contents, folder, progress)


@pytest.mark.parametrize("kind", KINDS)
def test_files_are_those_that_pythons_own_tools_extract(tmp_path, kind):
    path = packing.write(tmp_path / kind, MEMBERS)
    seen = []
    extracted = extract(path, tmp_path / "out", lambda done, total: seen.append((done, total)))
    if kind == "folder":
        shutil.copytree(path, tmp_path / "wanted")
    elif kind == "x.zip":
        zipfile.ZipFile(path).extractall(tmp_path / "wanted")
    else:
        with tarfile.open(path) as archive:
            archive.extractall(tmp_path / "wanted", filter="data")
    assert packing.tree(tmp_path / "out") == packing.tree(tmp_path / "wanted") == MEMBERS
    assert extracted.written == len(MEMBERS)
    assert extracted.sha256 == {
        name: containers.sha256_of(tmp_path / "wanted" / name) for name in MEMBERS
    }
    total = sum(map(len, MEMBERS.values()))
    assert seen == sorted(seen) and seen[-1] == (total, total)
    assert sorted(os.listdir(tmp_path)) == sorted([kind, "out", "wanted"])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("files", [0, 1, 5, 8])
def test_a_killed_extraction_goes_on_with_the_file_that_it_was_at(tmp_path, kind, files):
    path = packing.write(tmp_path / kind, MEMBERS)
    bound = sum([len(content) for content in MEMBERS.values()][:files])

    def kill(done, total):
        if done >= bound:
            raise Killed

    with pytest.raises(Killed):
        extract(path, tmp_path / "out", kill)
    there = packing.tree(tmp_path / "out")
    assert there.items() <= MEMBERS.items()
    unbroken = extract(path, tmp_path / "unbroken")
    extracted = extract(path, tmp_path / "out")
    assert extracted.written == len(MEMBERS) - len(there)
    assert extracted.sha256 == unbroken.sha256
    assert packing.tree(tmp_path / "out") == packing.tree(tmp_path / "unbroken") == MEMBERS
    assert extract(path, tmp_path / "out").written == 0


def test_a_large_file_is_not_seen_before_it_is_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(containers, "CHUNK", 1000)
    path = packing.write(tmp_path / "x.zip", {"a.png": os.urandom(10_000)})
    seen = []

    def look(done, total):
        seen.append(done)
        assert packing.tree(tmp_path / "out").keys() == ({"a.png"} if done == 10_000 else set())
        if done == 5000:
            raise Killed

    with pytest.raises(Killed):
        extract(path, tmp_path / "out", look)
    assert seen == [1000, 2000, 3000, 4000, 5000]
    assert packing.tree(tmp_path) == {"x.zip": path.read_bytes()}


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_there_but_of_another_size_is_written_again(tmp_path, kind):
    path = packing.write(tmp_path / kind, MEMBERS)
    packing.write(tmp_path / "out", {"a/0.png": b"half", "a/1.png": MEMBERS["a/1.png"]})
    assert extract(path, tmp_path / "out").written == len(MEMBERS) - 1
    assert packing.tree(tmp_path / "out") == MEMBERS


def test_what_is_there_but_of_another_crc_is_written_again(tmp_path):
    path = packing.write(tmp_path / "x.zip", MEMBERS)
    packing.write(tmp_path / "out", {"a/0.png": bytes(len(MEMBERS["a/0.png"]))})
    assert extract(path, tmp_path / "out").written == len(MEMBERS)
    assert packing.tree(tmp_path / "out") == MEMBERS


def test_a_link_where_a_file_should_be_is_replaced_not_written_through(tmp_path):
    path = packing.write(tmp_path / "x.zip", {"a.png": b"12"})
    (tmp_path / "victim").write_bytes(b"34")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a.png").symlink_to("../victim")
    (tmp_path / ".out.part").symlink_to("victim")
    assert extract(path, tmp_path / "out").written == 1
    assert (tmp_path / "victim").read_bytes() == b"34"
    assert not (tmp_path / "out" / "a.png").is_symlink()


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("CRC", 1, "can't read 'a.png' in .*: Bad CRC-32 for file 'x'"),
        ("file_size", 999, "can't read 'a.png' in .*Bad CRC-32"),
        ("file_size", 1001, "'a.png' in .* is damaged: fewer than the 1,001 bytes"),
    ],
)
def test_a_zip_that_lies_of_size_or_content_is_found_out(tmp_path, field, value, reason):
    path = packing.write_zip(
        tmp_path / "x.zip",
        {"a.png": os.urandom(1000)},
        lambda entries: setattr(entries[0], field, value),
    )
    with pytest.raises(errors.UserError, match=reason.replace("'x'", "'a.png'")):
        extract(path, tmp_path / "out")
    assert packing.tree(tmp_path / "out") == {}


def test_a_reader_that_hands_out_more_than_it_said_is_stopped(tmp_path, monkeypatch):
    path = packing.write(tmp_path / "x.tar", {"a.png": b"12"})
    monkeypatch.setattr(
        "jaxall.data.tars.Tar.chunks", lambda self, entry: iter([b"1", b"2", b"3", b"4"])
    )
    with pytest.raises(errors.UserError, match=r"damaged: more than the 2 bytes"):
        extract(path, tmp_path / "out")
    assert packing.tree(tmp_path / "out") == {}


def test_a_disk_too_small_is_noticed_before_the_first_byte(tmp_path, monkeypatch):
    path = packing.write(tmp_path / "x.tar", {"a.png": bytes(2**20), "b.png": bytes(2**20)})
    monkeypatch.setattr(shutil, "disk_usage", lambda place: types.SimpleNamespace(free=2**20 - 1))
    line = f"wanted 0.00 GiB for the files of {path} in {tmp_path}, there is 0.00 GiB"
    with pytest.raises(errors.UserError) as caught:
        extract(path, tmp_path / "out")
    assert str(caught.value) == line
    packing.write(tmp_path / "out", {"a.png": bytes(2**20)})
    with pytest.raises(errors.UserError):
        extract(path, tmp_path / "out")
    monkeypatch.setattr(shutil, "disk_usage", lambda place: types.SimpleNamespace(free=2**20))
    assert extract(path, tmp_path / "out").written == 1


def test_a_folders_files_are_linked(tmp_path):
    path = packing.write(tmp_path / "folder", MEMBERS)
    (path / "in.png").symlink_to("a/1.png")
    extract(path, tmp_path / "out")
    for name in MEMBERS:
        assert (tmp_path / "out" / name).samefile(path / name)
    assert not (tmp_path / "out" / "in.png").is_symlink()
    assert (tmp_path / "out" / "in.png").samefile(path / "a" / "1.png")


def test_a_folders_files_are_copied_where_they_cannot_be_linked(tmp_path, monkeypatch):
    def refuse(*args, **kwargs):
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    path = packing.write(tmp_path / "folder", MEMBERS)
    extract(path, tmp_path / "out")
    assert packing.tree(tmp_path / "out") == MEMBERS
    assert not (tmp_path / "out" / "a" / "1.png").samefile(path / "a" / "1.png")


@pytest.mark.parametrize("kind", KINDS)
def test_a_source_is_known_again_by_its_content(tmp_path, kind):
    def digest(path):
        with archives.opened(path, archives.Limits()) as container:
            entries = archives.survey(container, archives.Limits()).entries
            return container.sha256(entries, lambda done, total: None)

    path = packing.write(tmp_path / kind, MEMBERS)
    first = digest(path)
    assert first == digest(path)
    if kind != "folder":
        assert first == containers.sha256_of(path)
    (tmp_path / "other").mkdir()
    other = packing.write(tmp_path / "other" / kind, {**MEMBERS, "a/0.png": b"x"})
    assert digest(other) != first
