import gzip
import io
import os
import pathlib
import stat
import tarfile
import tempfile

import hypothesis
import pytest
from hypothesis import strategies

from jaxall import errors
from jaxall.data import archives, containers, extracting
from tests.data import packing

GOOD = {"a/good.png": packing.picture()}
KINDS = ("x.zip", "x.tar", "x.tar.gz", "x.tgz")
ATTACKS = {
    "/etc/a.png": "has an absolute path",
    "../a.png": "leaves the folder",
    "a/../../a.png": "leaves the folder",
    "a/..": "leaves the folder",
    "C:/a.png": "has a drive letter",
    "c:a.png": "has a drive letter",
    "..\\a.png": "has a backslash in its name",
    "a\\b.png": "has a backslash in its name",
    "\\\\host\\share\\a.png": "has a backslash in its name",
    "a\n.png": "has a control character in its name",
    "a\x7f.png": "has a control character in its name",
    "a\x1b[2J.png": "has a control character in its name",
    "a\u2028.png": "has a control character in its name",
    "a" * 252 + ".png": "has too long a name",
    "ä" * 126 + ".png": "has too long a name",
    "/".join(["a" * 100] * 11) + "/a.png": "has too long a name",
}


def refusal(path: pathlib.Path, **limits: int) -> errors.UserError:
    with pytest.raises(errors.UserError) as caught:
        packing.survey(path, **limits)
    assert "\n" not in str(caught.value) and str(path) in str(caught.value)
    return caught.value


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("name", "reason"), ATTACKS.items())
def test_a_name_that_is_no_files_below_the_folder_is_refused(tmp_path, kind, name, reason):
    error = refusal(packing.write(tmp_path / kind, {**GOOD, name: packing.picture()}))
    assert error.details == (f"{name!r} {reason}",)
    assert str(error) == (
        f"refused {tmp_path / kind}: 1 of 2 members are unsafe, nothing was written; the first: "
        f"{name!r} {reason}"
    )


def test_what_follows_a_nul_in_a_zips_name_is_not_cut_off(tmp_path):
    path = packing.write_zip(tmp_path / "x.zip", {**GOOD, "b.png\0.exe": b"x"})
    assert refusal(path).details == ("'b.png\\x00.exe' has a control character in its name",)


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_without_a_name_is_refused(tmp_path, kind):
    path = packing.write(tmp_path / kind, {**GOOD, ".": b"x"})
    assert refusal(path).details == ("'.' has no name",)


@pytest.mark.parametrize(
    ("name", "reason"), [("", "has no name"), ("\0", "has a control character in its name")]
)
def test_a_zip_may_hold_names_that_python_trips_over(tmp_path, name, reason):
    path = packing.write_zip(tmp_path / "x.zip", {**GOOD, name: b"x"})
    assert refusal(path).details == (f"{name!r} {reason}",)


@pytest.mark.parametrize("kind", KINDS)
def test_all_that_is_wrong_is_said_at_once_of_other_files_and_folders_too(tmp_path, kind):
    path = packing.write(
        tmp_path / kind, {**GOOD, "../a.exe": b"", "/b/": b"", "__MACOSX/../c": b""}
    )
    assert len(refusal(path).details) == 3
    assert ": 3 of 4 members are unsafe" in str(refusal(path))


@hypothesis.settings(max_examples=150, deadline=None, derandomize=True, database=None)
@hypothesis.given(
    name=strategies.text(
        strategies.sampled_from("./\\:aA\0\n ~é\u0301\u017fß")
        | strategies.characters(codec="utf-8"),
        max_size=12,
    ),
    kind=strategies.sampled_from(("x.zip", "x.tar")),
)
def test_whatever_the_name_nothing_is_written_outside_of_the_folder(name, kind):
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        hypothesis.assume(kind != "x.tar" or "\0" not in name)  # a tar's name ends there
        path = packing.write(root / kind, {**GOOD, f"{name}.png": packing.picture(7)})
        target = root / "inner" / "target"
        try:
            with archives.opened(path, archives.Limits()) as container:
                contents = archives.survey(container, archives.Limits())
                extracting.extract(container, contents, target)
        except errors.UserError:
            assert not target.exists()
            return
        written = [found for found in root.rglob("*") if found.is_file() and found != path]
        assert all(found.is_relative_to(target) for found in written)
        assert len(written) == len(contents.members)
        assert target / "a" / "good.png" in written


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("names", "reason"),
    [
        (("b/a.png", "b/a.PNG"), "'b/a.PNG' is 'b/a.png' but for case or accents"),
        (("B/a.png", "b/a.png"), "'b/a.png' is 'B/a.png' but for case or accents"),
        (("é.png", "e\u0301.png"), "'e\u0301.png' is 'é.png' but for case or accents"),
        (("ß.png", "SS.png"), "'SS.png' is 'ß.png' but for case or accents"),
        (("b.png", "./b.png"), "'./b.png' is there twice"),
        (("b/a.png", "b//a.png"), "'b//a.png' is there twice"),
        (("b.png", "B.PNG/a.png"), "'B.PNG/a.png' lies below 'b.png', which is a file"),
        (("b.png/a.png", "b.png"), "'b.png/a.png' lies below 'b.png', which is a file"),
    ],
)
def test_two_members_that_may_be_one_file_are_refused(tmp_path, kind, names, reason):
    path = packing.write(tmp_path / kind, dict.fromkeys(names, packing.picture()))
    assert refusal(path).details == (reason,)


def test_a_zip_with_the_very_same_name_twice_is_refused(tmp_path):
    def again(entries):
        entries[1].filename = "a/good.png"

    path = packing.write_zip(tmp_path / "x.zip", {**GOOD, "a/goob.png": b"2"}, again)
    assert refusal(path).details == ("'a/good.png' is there twice",)


@pytest.mark.parametrize(
    ("mode", "reason"),
    [
        (stat.S_IFLNK, "is a link"),
        (stat.S_IFIFO, "is a device or a pipe"),
        (stat.S_IFCHR, "is a device or a pipe"),
        (stat.S_IFSOCK, "is a device or a pipe"),
    ],
)
def test_a_zips_links_and_devices_are_refused(tmp_path, mode, reason):
    def spoil(entries):
        entries[0].external_attr = (mode | 0o777) << 16

    path = packing.write_zip(tmp_path / "x.zip", GOOD, spoil)
    assert refusal(path).details == (f"'a/good.png' {reason}",)


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("flag_bits", 0x1, "is encrypted"),
        ("flag_bits", 0x2000, "is encrypted"),
        ("compress_type", 12, "is packed by method 12, wanted stored or deflated"),
        ("compress_type", 99, "is packed by method 99, wanted stored or deflated"),
        ("file_size", 2**30, "unpacks to more than 200 times its size"),
    ],
)
def test_a_zips_encrypted_strange_and_exploding_members_are_refused(tmp_path, field, value, reason):
    path = packing.write_zip(
        tmp_path / "x.zip",
        {"bad.png": packing.picture(), **GOOD},
        lambda entries: setattr(entries[0], field, value),
    )
    assert refusal(path).details == (f"'bad.png' {reason}",)


def test_a_zips_members_that_share_their_bytes_are_refused(tmp_path):
    def share(entries):
        entries[1].header_offset = entries[0].header_offset

    path = packing.write_zip(tmp_path / "x.zip", {**GOOD, "b.png": b"2"}, share)
    assert refusal(path).details == ("'b.png' shares its bytes with another",)


@pytest.mark.parametrize(
    ("special", "reason"),
    [
        (packing.tar_info("b.png", tarfile.SYMTYPE, linkname="/etc"), "is a link to '/etc'"),
        (packing.tar_info("b.png", tarfile.LNKTYPE, linkname="a/good.png"), "is a link to "),
        (packing.tar_info("b", tarfile.FIFOTYPE), "is a device or a pipe"),
        (packing.tar_info("b", tarfile.CHRTYPE, devmajor=1, devminor=3), "is a device or a pipe"),
        (packing.tar_info("b", tarfile.BLKTYPE), "is a device or a pipe"),
        (packing.tar_info("b.png", tarfile.GNUTYPE_SPARSE), "is a sparse file"),
    ],
)
@pytest.mark.parametrize("kind", ["x.tar", "x.tgz"])
def test_a_tars_links_devices_and_sparse_files_are_refused(tmp_path, kind, special, reason):
    path = packing.write_tar(tmp_path / kind, GOOD, special)
    (line,) = refusal(path).details
    assert line.startswith(f"{special.name!r} {reason}")


@pytest.mark.parametrize("kind", ["x.zip", "x.tgz"])
def test_many_small_bombs_are_one(tmp_path, kind):
    blank = {f"{number}.bmp": bytes(2**20) for number in range(3)}
    error = refusal(packing.write(tmp_path / kind, blank))
    assert str(error) == f"refused {tmp_path / kind}: unpacks to more than 200 times its size"


def test_one_large_bomb_in_a_zip_is_named_among_all_that_is_wrong(tmp_path):
    noise = os.urandom(2**20)
    path = packing.write_zip(
        tmp_path / "x.zip", {"a.png": noise, "b.png": bytes(2**21), "../c.png": b""}
    )
    assert refusal(path).details == (
        "'b.png' unpacks to more than 200 times its size",
        "'../c.png' leaves the folder",
    )


def test_a_blank_picture_is_no_bomb(tmp_path):
    blank = packing.picture(0, "BMP", side=500)
    path = packing.write_zip(tmp_path / "x.zip", {"a.bmp": blank})
    assert len(blank) > 200 * path.stat().st_size
    assert packing.survey(path).size == len(blank)


@pytest.mark.parametrize("kind", [*KINDS, "folder"])
def test_the_limits_of_number_and_size_hold(tmp_path, kind):
    path = packing.write(tmp_path / kind, {"a.png": bytes(600), "b.png": bytes(600)})
    assert len(packing.survey(path, members=2, total=1200).members) == 2
    assert str(refusal(path, members=1)) == f"refused {path}: it has more than 1 members"
    assert str(refusal(path, total=1199)) == f"refused {path}: unpacks to more than 1,199 bytes"


def test_a_gzip_that_explodes_is_not_unpacked_to_its_end(tmp_path):
    path = tmp_path / "x.tgz"
    with gzip.open(path, "wb") as file:
        info = tarfile.TarInfo("a.png")
        info.size = 2**38
        file.write(info.tobuf())
        for _ in range(64):
            file.write(bytes(2**20))
    assert str(refusal(path)) == f"refused {path}: unpacks to more than {64 * 2**30:,} bytes"
    assert "200 times its size" in str(refusal(path, total=2**40))


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME])
def test_a_header_that_goes_on_for_gigabytes_is_refused(tmp_path, kind):
    path = tmp_path / "x.tar"
    info = tarfile.TarInfo("a.png")
    info.type = kind
    info.size = 2**30
    path.write_bytes(info.tobuf(tarfile.GNU_FORMAT) + bytes(1024))
    assert str(refusal(path)) == f"refused {path}: a header of 1,073,741,824 bytes"


def packed_tar(name: str) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz" if name.endswith("gz") else "w") as archive:
        for letter in "abc":
            info = tarfile.TarInfo(f"{letter}.png")
            info.size = 700
            archive.addfile(info, io.BytesIO(os.urandom(700)))
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["x.tar", "x.tgz"])
def test_a_tar_cut_anywhere_is_refused_rather_than_taken_for_a_shorter_one(tmp_path, kind):
    content = packed_tar(kind)
    payload = 3 * (512 + 1024)  # the rest is end mark
    for length in range(1, payload + 1 if kind == "x.tar" else len(content), 73):
        (tmp_path / kind).write_bytes(content[:length])
        assert "can't read" in str(refusal(tmp_path / kind))
    (tmp_path / kind).write_bytes(content[:payload])
    assert kind == "x.tgz" or "cut off before its end mark" in str(refusal(tmp_path / kind))
    (tmp_path / kind).write_bytes(content)
    assert len(packing.survey(tmp_path / kind).members) == 3


def test_a_damaged_header_in_the_middle_of_a_tar_is_not_its_end(tmp_path):
    content = bytearray(packed_tar("x.tar"))
    content[1536 + 150] ^= 1  # in the second header's checksum
    (tmp_path / "x.tar").write_bytes(content)
    assert "damaged or cut off before its end mark" in str(refusal(tmp_path / "x.tar"))


def test_a_gzips_checksum_is_verified_before_anything_is_written(tmp_path):
    content = bytearray(packed_tar("x.tgz"))
    content[-6] ^= 1
    (tmp_path / "x.tgz").write_bytes(content)
    assert "CRC check failed" in str(refusal(tmp_path / "x.tgz"))


@hypothesis.settings(max_examples=60, deadline=None, derandomize=True, database=None)
@hypothesis.given(
    flips=strategies.lists(
        strategies.tuples(strategies.integers(0, 1 << 20), strategies.integers(1, 255)),
        min_size=1,
        max_size=8,
    ),
    kind=strategies.sampled_from(("x.zip", "x.tar", "x.tgz")),
)
def test_spoilt_bytes_end_in_one_line_or_in_files_of_the_right_size(flips, kind):
    with tempfile.TemporaryDirectory() as folder:
        path = packing.write(pathlib.Path(folder, kind), {**GOOD, "b.png": packing.picture(3)})
        content = bytearray(path.read_bytes())
        for position, mask in flips:
            content[position % len(content)] ^= mask
        path.write_bytes(content)
        target = pathlib.Path(folder, "target")
        try:
            with archives.opened(path, archives.Limits()) as container:
                contents = archives.survey(container, archives.Limits())
                extracting.extract(container, contents, target)
        except errors.UserError as error:
            assert "\n" not in str(error)
        else:
            sizes = {name: len(data) for name, data in packing.tree(target).items()}
            assert sizes == {member.path: member.entry.size for member in contents.members}


@pytest.mark.parametrize("kind", [*KINDS, "folder"])
def test_only_pictures_tables_and_texts_are_taken(tmp_path, kind):
    taken = ["A/1.JPG", "A/2.jpeg", "B/3.bmp", "B/4.tiff", "B/5.tif", "C/t.csv", "README", "x.md"]
    taken += ["LICENSE", "notes.txt"]
    others = ["run.exe", "B/inner.zip", "labels.mat", "README.html", "png"]
    clutter = ["__MACOSX/A/._1.jpg", ".DS_Store", "A/.hidden.png", ".git/a.png"]
    names = [*taken, *others, *clutter]
    contents = packing.survey(packing.write(tmp_path / kind, dict.fromkeys(names, b"12")))
    assert sorted(member.path for member in contents.members) == sorted(taken)
    assert sorted(contents.others) == sorted(others)
    assert contents.size == 2 * len(taken)


def test_a_tar_of_a_folder_itself_has_the_folders_paths(tmp_path):
    folder = packing.write(tmp_path / "folder", GOOD)
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        archive.add(folder, ".")
    (member,) = packing.survey(tmp_path / "x.tar").members
    assert (member.entry.name, member.path) == ("./a/good.png", "a/good.png")


@pytest.mark.parametrize("kind", [*KINDS, "folder"])
def test_an_archive_without_a_picture_is_refused(tmp_path, kind):
    path = packing.write(tmp_path / kind, {"a.txt": b"a", ".b.png": packing.picture()})
    kinds = ".jpg, .jpeg, .png, .bmp, .tif, .tiff"
    assert str(refusal(path)) == f"no pictures ({kinds}) in {path}"


def test_what_is_no_archive_is_refused(tmp_path):
    assert (
        str(refusal(tmp_path / "no.zip")) == f"there is no archive and no folder {tmp_path}/no.zip"
    )
    for name in ("a.rar", "a.7z", "a.tar.xz", "zip"):
        (tmp_path / name).write_bytes(b"")
        line = f"wanted a folder or .zip, .tar, .tar.gz, .tgz, got {tmp_path / name}"
        assert str(refusal(tmp_path / name)) == line
    for name in KINDS:
        for content in (b"", b"no archive at all" * 100):
            (tmp_path / name).write_bytes(content)
            assert str(refusal(tmp_path / name)).startswith(f"can't read {tmp_path / name}: ")


def test_links_in_a_folder_may_not_leave_it(tmp_path):
    folder = packing.write(tmp_path / "folder", {"a/1.png": b"1", "a/2.png": b"2"})
    (tmp_path / "secret.png").write_bytes(b"s")
    (tmp_path / "more").mkdir()
    (folder / "in.png").symlink_to("a/1.png")
    (folder / "b").symlink_to("a")
    names = [member.path for member in packing.survey(folder).members]
    assert sorted(names) == ["a/1.png", "a/2.png", "in.png"]
    (folder / "out.png").symlink_to("../secret.png")
    (folder / "c").symlink_to(tmp_path / "more")
    (folder / "broken.png").symlink_to("nowhere.png")
    (folder / "loop.png").symlink_to("loop.png")
    os.mkfifo(folder / "pipe.png")
    assert sorted(refusal(folder).details) == [
        "'broken.png' is a link to nothing",
        "'c' is a link that leaves the folder",
        "'loop.png' is a link to nothing",
        "'out.png' is a link that leaves the folder",
        "'pipe.png' is a device or a pipe",
    ]


def test_a_link_into_a_hidden_folder_is_refused_rather_than_lost(tmp_path):
    (tmp_path / "source" / ".data" / "Zed").mkdir(parents=True)
    (tmp_path / "source" / ".data" / "Zed" / "1.png").write_bytes(b"x")
    (tmp_path / "source" / "Zed").symlink_to(tmp_path / "source" / ".data" / "Zed")
    (entry,) = containers.Folder(tmp_path / "source").entries(lambda done, total: None)
    assert (entry.name, entry.problem) == ("Zed", "is a link into a hidden folder")
