"""A data set from the archive as it was downloaded to the folder that training reads."""

import csv
import dataclasses
import fcntl
import hashlib
import json
import os
import pathlib
import shutil
import types

import numpy as np
import pytest
from absl.testing import flagsaver
from PIL import Image

from jaxall import cli, prepare
from jaxall import data as data_package
from jaxall.data import (
    checking,
    dataset,
    duplicates,
    extracting,
    listing,
    manifest,
    prepared,
    quarantine,
    synthetic,
)
from tests import programs
from tests.data import packing

KINDS = ("smears.zip", "smears.tar", "smears.tgz", "smears")
PICTURES = 4 * 2 * 3


class Killed(BaseException):
    pass


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """Drawn smears; one is a copy of another, and there is a text and a program beside them."""
    root = tmp_path_factory.mktemp("drawn") / "smears"
    synthetic.write(root, subjects_per_class=2, pictures_per_subject=3, size=40)
    early = root / "Original" / "Early"
    shutil.copy(early / "Drawn-Early-S03-001.png", early / "Drawn-Early-S04-001.png")
    (root / "README").write_text("drawn")
    (root / "setup.exe").write_bytes(b"MZ")
    return packing.tree(root)


@pytest.fixture
def run(capsys):
    """Runs the command in this process; returns exit code, stdout, and stderr's lines."""

    def call(*arguments, **values):
        with flagsaver.flagsaver(
            **{name: str(value) if name == "out" else value for name, value in values.items()}
        ):
            code = cli.guarded(prepare.main, [str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err.splitlines()

    return call


def refusal(result) -> str:
    code, _, (first, *details) = result
    assert code == cli.BAD_INPUT and first.startswith("error: ")
    assert all(line.startswith("  ") for line in details)
    return first.removeprefix("error: ")


def load(folder: pathlib.Path, name: str = "drawn_smears") -> dataset.DataSet:
    return data_package.load(dataset.DataSettings(name=name, root=str(folder)))


@pytest.mark.parametrize("kind", KINDS)
def test_a_data_set_is_prepared_and_found_again(tmp_path, drawn, run, kind):
    source = packing.write(tmp_path / "in" / kind, drawn) if kind == "smears" else None
    if source is None:
        (tmp_path / "in").mkdir()
        source = packing.write(
            tmp_path / "in" / kind, {f"smears/{name}": data for name, data in drawn.items()}
        )
    out = tmp_path / "out" / "drawn smears"
    code, said, problems = run("drawn_smears", source, out=out)
    assert (code, problems) == (0, [])
    assert f"{PICTURES + 1} files extracted" in said
    assert "left out what is neither picture nor text, 1: " in said and "setup.exe" in said
    for name in synthetic.CLASS_NAMES:
        assert [name, "6", "2"] in [line.split() for line in said.splitlines()]
    assert "duplicates: 2 pictures in 1 groups, 1 of them exact copies, 0 in several" in said
    assert "quarantined: 0 pictures" in said
    assert f"mind: {synthetic.CAVEAT}\n" in said and f"cite: {synthetic.CITATION}\n" in said
    assert f"--config.data.name=drawn_smears '--config.data.root={out}'" in said

    assert sorted(path.name for path in out.parent.iterdir()) == ["drawn smears"]
    assert sorted(path.name for path in out.iterdir()) == [
        "audit.json",
        "files.sha256",
        "manifest.csv",
        "pictures",
        "prepared.json",
    ]
    found = load(out)
    assert len(found.rows) == PICTURES
    listed = manifest.load(out / "manifest.csv")
    assert [out / one.row.path for one in listed] == [found.absolute(row) for row in found.rows]
    for one, row in zip(listed, found.rows, strict=True):
        assert dataclasses.replace(one.row, path=row.path) == row
        assert one.class_name == found.class_names[row.label]
        assert one.sha256 == hashlib.sha256(found.read(row)).hexdigest()
    copies = [one.row.path.rpartition("/")[2] for one in listed if one.duplicates]
    assert copies == ["Drawn-Early-S03-001.png", "Drawn-Early-S04-001.png"]
    assert quarantine.load(out / "quarantine.csv") == {}


def test_the_checksums_are_those_of_sha256sum_and_cover_every_file(tmp_path, drawn, run):
    out = tmp_path / "out"
    run("drawn_smears", packing.write(tmp_path / "x.zip", drawn), out=out)
    sums = dict(
        reversed(line.split("  ", 1)) for line in (out / "files.sha256").read_text().splitlines()
    )
    files = packing.tree(out)
    record = json.loads(files.pop("prepared.json"))
    assert record["files_sha256"] == hashlib.sha256(files.pop("files.sha256")).hexdigest()
    assert sums == {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    assert list(sums) == sorted(sums)
    assert record["classes"]["Pre"] == {"pictures": 6, "subjects": 2}
    assert record["source"] == "x.zip"


def test_an_archive_with_everything_twice_finds_the_same_as_the_loader(tmp_path, run):
    members = {}
    for label, name in enumerate(("Benign", "Early", "Pre", "Pro")):
        stem = "WBC-Benign" if name == "Benign" else f"WBC-Malignant-{name}"
        for number in (1, 2):
            content = packing.picture(40 * label + number, "JPEG")
            for half in ("Original", "Segmented"):
                members[f"{half}/{name}/{stem}-00{number}.jpg"] = content
    source = packing.write(tmp_path / "leukemia.zip", members)
    code, said, _ = run("b_all", source, out=tmp_path / "b_all", near_duplicate=1.0)
    assert code == 0 and "16 files extracted" in said
    assert "not the published copy of b_all: expected 3,256 pictures" in said
    assert "unknown" in said
    assert len(load(tmp_path / "b_all", "b_all").rows) == 8
    assert len(manifest.load(tmp_path / "b_all" / "manifest.csv")) == 8


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bytes_done", [5_000, 60_000])
def test_a_killed_preparation_goes_on_and_ends_in_the_same_bytes(
    tmp_path, drawn, run, monkeypatch, kind, bytes_done
):
    source = packing.write(tmp_path / kind, drawn)
    assert run("drawn_smears", source, out=tmp_path / "unbroken" / "out")[0] == 0
    out = tmp_path / "killed" / "out"
    extract = extracting.extract

    def killed(container, contents, folder, progress):
        def kill(done, total):
            if done > bytes_done:
                raise Killed

        return extract(container, contents, folder, kill)

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(extracting, "extract", killed)
        run("drawn_smears", source, out=out)
    work = prepared.workplace(out)
    assert [path.name for path in out.parent.iterdir()] == [work.name]
    there = len(packing.tree(work / "data"))
    assert 0 < there < PICTURES
    (work / "data" / ".manifest.csv.0.part").write_bytes(b"half")  # as a crash leaves it
    code, said, _ = run("drawn_smears", source, out=out)
    assert code == 0
    assert f"{PICTURES + 1 - there} files extracted, {there} were there from before" in said
    assert packing.tree(out) == packing.tree(tmp_path / "unbroken" / "out")
    assert [path.name for path in out.parent.iterdir()] == ["out"]


def test_a_preparation_killed_while_it_lists_extracts_nothing_again(
    tmp_path, drawn, run, monkeypatch
):
    source = packing.write(tmp_path / "smears.zip", drawn)

    def killed(*arguments, **more):
        raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(listing, "make", killed)
        run("drawn_smears", source, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()
    said = run("drawn_smears", source, out=tmp_path / "out")[1]
    assert f"0 files extracted, {PICTURES + 1} were there from before" in said


def test_what_was_begun_from_another_source_is_thrown_away(tmp_path, drawn, run):
    strange = {**drawn, "Original/Pre/strange.png": packing.picture()}
    line = refusal(
        run("drawn_smears", packing.write(tmp_path / "a.zip", strange), out=tmp_path / "out")
    )
    assert line.startswith("wanted drawn smears (Original/Early/Drawn-Early-S13-007.png)")
    assert prepared.workplace(tmp_path / "out").is_dir()
    said = run("drawn_smears", packing.write(tmp_path / "b.zip", drawn), out=tmp_path / "out")[1]
    assert f"\n{PICTURES + 1} files extracted\n" in f"\n{said}"
    assert "strange.png" not in " ".join(packing.tree(tmp_path / "out"))
    assert not prepared.workplace(tmp_path / "out").exists()


def test_a_finished_folder_is_verified(tmp_path, drawn, run):
    source = packing.write(tmp_path / "smears.zip", drawn)
    out = tmp_path / "out"
    run("drawn_smears", source, out=out)
    before = packing.tree(out)
    code, said, _ = run("drawn_smears", source, out=out)
    assert code == 0
    assert said == f"already prepared: {out}, its {PICTURES + 3} files are as they were\n"
    assert packing.tree(out) == before

    pro = "pictures/Original/Pro/Drawn-Pro-S07-00"
    (out / f"{pro}1.png").write_bytes(b"x")
    (out / f"{pro}2.png").unlink()
    (out / f"{pro}9.png").write_bytes(b"new")
    (out / "manifest.csv").write_text("mine")
    code, _, problems = run("drawn_smears", source, out=out)
    assert code == cli.BAD_INPUT
    assert problems == [
        f"error: {out} was prepared already, but 4 of its files aren't as they were "
        "(manifest.csv: another file); delete the folder to prepare it anew",
        "  manifest.csv: another file",
        f"  {pro}1.png: another file",
        f"  {pro}2.png: no such file or directory",
        f"  {pro}9.png: wasn't there",
    ]
    (out / "files.sha256").write_text("")
    line = f"{out}/files.sha256 isn't the one that {out}/prepared.json was made with"
    assert refusal(run("drawn_smears", source, out=out)) == line
    (out / "prepared.json").write_text("{")
    assert "prepared.json is damaged: " in refusal(run("drawn_smears", source, out=out))


def test_a_finished_folder_of_something_else_is_refused(tmp_path, drawn, run):
    source = packing.write(tmp_path / "smears.tar", drawn)
    out = tmp_path / "out"
    run("drawn_smears", source, out=out)
    line = refusal(run("b_all", source, out=out, most_bad=0.5))
    assert line == (
        f"{out} was prepared otherwise (data_set was drawn_smears, now b_all; most_bad was 0.01, "
        "now 0.5); choose another --out, or delete it"
    )
    other = packing.write(tmp_path / "other.tar", {**drawn, "README": b"other"})
    digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in (source, other)]
    line = refusal(run("drawn_smears", other, out=out))
    assert f"(source_sha256 was {digests[0]}, now {digests[1]})" in line


def test_a_second_process_is_kept_out(tmp_path, drawn, run):
    source = packing.write(tmp_path / "smears.zip", drawn)
    out = tmp_path / "out"
    work = prepared.workplace(out)
    work.mkdir()
    with (work / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        line = refusal(run("drawn_smears", source, out=out))
        assert line == f"another process is preparing {out}"
    assert run("drawn_smears", source, out=out)[0] == 0


def test_one_that_finished_meanwhile_is_noticed(tmp_path, drawn, run, monkeypatch):
    source = packing.write(tmp_path / "smears.zip", drawn)
    out = tmp_path / "out"
    answers = iter([False, True])
    monkeypatch.setattr(prepared, "is_there", lambda target: next(answers))
    line = refusal(run("drawn_smears", source, out=out))
    assert line == f"another process has just prepared {out}"
    assert not prepared.workplace(out).exists()


@pytest.fixture
def spoilt(drawn):
    """Three pictures of 24 can't be read."""
    names = [name for name in drawn if name.endswith("-003.png")][:3]
    return {**drawn, **{name: drawn[name][:200] for name in names}}, names


def test_pictures_that_cannot_be_read_stop_it(tmp_path, spoilt, run):
    members, names = spoilt
    source = packing.write(tmp_path / "smears.zip", members)
    code, said, problems = run("drawn_smears", source, out=tmp_path / "out")
    assert code == cli.BAD_INPUT and len(problems) == 4
    assert problems[0].startswith(
        "error: can't read 3 of 24 pictures, nothing was prepared; --on_bad_image=quarantine "
        "leaves them out; the first: pictures/Original/"
    )
    assert all(any(name in line for line in problems[1:]) for name in names)
    assert not (tmp_path / "out").exists()
    assert f"the files stay in {prepared.workplace(tmp_path / 'out')}/data" in said
    line = refusal(
        run("drawn_smears", source, out=tmp_path / "out", on_bad_image="quarantine", most_bad=0.1)
    )
    assert "3 of 24 pictures, nothing was prepared; --most_bad allows 0.1 of them" in line


def test_pictures_that_cannot_be_read_are_quarantined(tmp_path, spoilt, run):
    members, names = spoilt
    source = packing.write(tmp_path / "smears.zip", members)
    out = tmp_path / "out"
    code, said, _ = run("drawn_smears", source, out=out, on_bad_image="quarantine", most_bad=0.125)
    assert code == 0 and "quarantined: 3 pictures" in said
    assert "--config.data.on_bad_image=quarantine --config.data.most_bad=0.125" in said
    left_out = quarantine.load(out / "quarantine.csv")
    assert sorted(left_out) == sorted(f"pictures/{name}" for name in names)
    listed = {one.row.path for one in manifest.load(out / "manifest.csv")}
    assert len(listed) == PICTURES - 3 and not listed & left_out.keys()


def test_the_command_that_is_proposed_allows_the_share_of_the_labelled_pictures(
    tmp_path, spoilt, run
):
    """`train` doesn't count those without a class, of which there may be many."""
    members, _ = spoilt
    smears = [name for name in members if name.endswith(".png")]
    lines = [f"{name},{'' if '-002' in name else name.split('/')[1]}" for name in smears]
    table = "\n".join(["path,label", *lines]).encode()
    source = packing.write(tmp_path / "mine", {**members, "table.csv": table})
    chosen = {"on_bad_image": "quarantine", "most_bad": 0.15}
    code, said, _ = run("folder", source, out=tmp_path / "out", **chosen)
    assert code == 0 and f"{PICTURES // 3}" in said.split("(unlabelled)")[1].split("\n")[0]
    assert "--config.data.most_bad=0.1875" in said  # 3 of 16


def test_a_class_without_a_picture_is_not_lost(tmp_path, drawn, run):
    source = packing.write(
        tmp_path / "mine", {"a/1.png": packing.picture(), "b/1.txt": b"", "c/d/x.doc": b""}
    )
    (source / "e").mkdir()
    line = refusal(run("folder", source, out=tmp_path / "out"))
    assert "no pictures (" in line and "in b, c, e" in line


def test_a_prepared_picture_that_was_edited_is_refused(tmp_path, drawn, run):
    """Its file is the source's own, by a hard link."""
    source, out = packing.write(tmp_path / "smears", drawn), tmp_path / "out"
    assert run("drawn_smears", source, out=out)[0] == 0
    data_set = load(out)
    sums = checking.check(data_set).sha256(data_set)
    prepared.require_untouched(data_set.root, sums)
    edited = data_set.rows[3].path
    with (data_set.root / edited).open("ab") as file:
        file.write(b"\0")
    sums = checking.check(data_set).sha256(data_set)
    line = f"1 of {PICTURES} pictures in {out} aren't the files .* prepared, the first: {edited}"
    with pytest.raises(ValueError, match=line) as caught:
        prepared.require_untouched(data_set.root, sums)
    assert caught.value.details == (edited,)


def test_unlabelled_pictures_are_listed_and_compared_with_the_others(tmp_path):
    names = [("a", 0), ("b", 1), ("c", -1), ("d", -1)]
    noise = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 3), np.uint8)
    (tmp_path / "pictures").mkdir()
    for (name, _), pixels in zip(names, noise[[0, 1, 2, 1]], strict=True):
        Image.fromarray(pixels).save(tmp_path / "pictures" / f"{name}.png")
    rows = [dataset.Row(path=f"{name}.png", label=label) for name, label in names]
    data_set = dataset.DataSet(
        name="x",
        root=tmp_path / "pictures",
        class_names=("one", "two"),
        rows=tuple(rows[:2]),
        unlabelled=tuple(rows[2:]),
    )
    found = listing.make(data_set, tmp_path, near_duplicate=duplicates.NEAR)
    assert found["unlabelled"] == 2
    assert found["duplicates"] == {"pictures": 2, "groups": 1, "copies": 1, "in_several_classes": 0}
    with (tmp_path / "manifest.csv").open() as file:
        lines = [(line["path"], line["class"], line["reason"]) for line in csv.DictReader(file)]
    assert lines == [
        ("pictures/a.png", "one", ""),
        ("pictures/b.png", "two", "exact duplicate of pictures/d.png"),
        ("pictures/c.png", "", ""),
        ("pictures/d.png", "", "exact duplicate of pictures/b.png"),
    ]


def test_a_table_may_not_name_what_lies_outside(tmp_path, drawn):
    packing.write(tmp_path, drawn)
    rows = (dataset.Row(path="../../secret.png", label=0),)
    data_set = dataset.DataSet(
        name="x", root=tmp_path / "Original", class_names=("one",), rows=rows
    )
    with pytest.raises(ValueError, match=r"x names a picture outside of it: ../../secret\.png"):
        listing.make(data_set, tmp_path, near_duplicate=duplicates.NEAR)


def test_the_command_line_is_made_sure_of(tmp_path, drawn, run, monkeypatch):
    monkeypatch.chdir(tmp_path)
    source = packing.write(tmp_path / "smears", drawn)
    line = "prepare takes a data set's name and an archive or folder; got "
    assert refusal(run()) == f"{line}none"
    assert refusal(run("b_all", "a.zip", "b.zip", out="x")) == f"{line}b_all a.zip b.zip"
    wrong = {"most_bad": 1.0, "near_duplicate": 0.0, "most_gib": -1.0}
    names = ", ".join(data_package.DATA_SETS)
    assert refusal(run("ball", "a.zip", **wrong)) == (
        f"no data set is called 'ball', there are {names}; --out names the folder to make; got "
        "none; --near_duplicate is above 0 and at most 1; got 0; --most_bad is at least 0 and "
        "below 1; got 1; --most_gib is above 0; got -1"
    )
    inside = (
        f"--tfds: {tmp_path}/x/records lies in the folder of --out, {tmp_path}/x; wanted another"
    )
    assert refusal(run("drawn_smears", source, out="x", tfds="x/records")) == inside
    inside = f"--tfds: {source}/tfds lies in the folder that is prepared, {source}"
    assert refusal(run("drawn_smears", source, out="x", tfds="smears/tfds")) == inside
    odd = "--tfds: 'a\\udcffb' isn't plain text"
    assert refusal(run("drawn_smears", source, out="x", tfds="a\udcffb")) == odd
    assert refusal(run("drawn_smears", "", out="x")) == "the archive or folder has an empty name"
    monkeypatch.setattr(os.path, "ismount", lambda path: path == tmp_path / "disk")
    line = f"{tmp_path}/disk is a mount point: wanted a folder below it for --out"
    assert refusal(run("drawn_smears", source, out="disk")) == line
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    inside = f"--out: {source}/out lies in the folder that it is made from, {source}"
    assert refusal(run("drawn_smears", source, out=source / "out")) == inside
    line = f"there is no archive and no folder {tmp_path}/no.zip"
    assert refusal(run("drawn_smears", tmp_path / "no.zip", out="out")) == line
    line = f"{source} holds no prepared data set: choose another --out"
    archive = packing.write(tmp_path / "x.zip", drawn)
    assert refusal(run("drawn_smears", archive, out=source)) == line
    line = f"refused {archive}: unpacks to more than 1 bytes"
    assert refusal(run("drawn_smears", archive, out="out", most_gib=2**-30)) == line
    assert sorted(path.name for path in tmp_path.iterdir()) == ["smears", "x.zip"]


def test_an_unsafe_archive_leaves_nothing_behind(tmp_path, drawn, run):
    source = packing.write(tmp_path / "evil.tar", {**drawn, "../a.png": b"", "/b.png": b""})
    code, _, problems = run("drawn_smears", source, out=tmp_path / "deep" / "out")
    assert code == cli.BAD_INPUT
    assert problems == [
        f"error: refused {source}: 2 of {len(drawn) + 2} members are unsafe, nothing was written; "
        "the first: '../a.png' leaves the folder",
        "  '../a.png' leaves the folder",
        "  '/b.png' has an absolute path",
    ]
    assert [path.name for path in tmp_path.iterdir()] == ["evil.tar"]


def test_a_disk_that_is_full_leaves_nothing_behind(tmp_path, drawn, run, monkeypatch):
    source = packing.write(tmp_path / "smears.zip", drawn)
    monkeypatch.setattr(shutil, "disk_usage", lambda place: types.SimpleNamespace(free=0))
    line = refusal(run("drawn_smears", source, out=tmp_path / "out"))
    assert line.startswith("wanted 0.00 GiB for the files of ")
    assert [path.name for path in tmp_path.iterdir()] == ["smears.zip"]


def test_it_is_started_as_the_other_commands_are(tmp_path, drawn):
    source = packing.write(tmp_path / "smears.zip", drawn)
    code, said, problems = programs.run(
        "prepare", "drawn_smears", source, "--out", tmp_path / "out", cache=tmp_path / "cache"
    )
    assert (code, problems) == (0, "")
    assert "next: python -m jaxall.train --config configs/quickstart.py" in said


def test_records_are_written_too_and_read_back(tmp_path, drawn, run):
    source, out = packing.write(tmp_path / "x.zip", drawn), tmp_path / "out"
    assert run("drawn_smears", source, out=out)[0] == 0
    code, said, _ = run("drawn_smears", source, out=out, tfds=str(tmp_path / "records"))
    assert code == 0 and "already prepared" in said and "TFDS records: " in said
    records, pictures = load(tmp_path / "records", "tfds"), load(out)
    assert [row.path for row in records.rows] == [row.path for row in pictures.rows]
    for one, other in zip(records.rows, pictures.rows, strict=True):
        assert records.read(one) == pictures.read(other)
    code, said, _ = run("drawn_smears", source, out=out, tfds=str(tmp_path / "records"))
    assert code == 0 and "TFDS records: already in " in said
    data_package.load(dataset.DataSettings(name="drawn_smears", root=str(tmp_path / "others")))
    other = run("folder", tmp_path / "others" / "Original", out=tmp_path / "other")
    assert other[0] == 0
    again = run(
        *("folder", tmp_path / "others" / "Original"),
        out=tmp_path / "other",
        tfds=str(tmp_path / "records"),
    )
    assert "holds records of other pictures or classes" in refusal(again)
    shutil.rmtree(tmp_path / "out2", ignore_errors=True)
    edited = {**drawn}
    name = next(name for name in drawn if name.endswith(".png"))
    edited[name] = next(drawn[other] for other in drawn if other.endswith("S08-002.png"))
    same_names = packing.write(tmp_path / "y.zip", edited)
    again = run("drawn_smears", same_names, out=tmp_path / "out2", tfds=str(tmp_path / "records"))
    assert refusal(again).endswith(f"the first that differs: {name.removeprefix('Original/')}")
