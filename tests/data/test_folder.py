import csv
import os
import pathlib
import random
import re

import hypothesis
import pytest
from hypothesis import strategies as st
from PIL import Image

from jaxall import data as data_package
from jaxall import errors
from jaxall.data import checking, dataset, folder, folder_table, ordering

HEADING = "path,label,subject,group,split,fold,number"
LINES = (
    "a/1.bmp,blast,P1,slide 1,train,0,7",
    "a/2.bmp,blast,P1,slide 1,Train,0,8",
    "b/10.bmp,normal,P2,,VALIDATION,1,9",
    "b/9.bmp,normal,P3,,test,,10",
)


def draw(root: pathlib.Path, *names: str) -> pathlib.Path:
    for shade, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4), (shade, 0, 0)).save(root / name, "BMP")
    return root


def listed(root: pathlib.Path, *lines: str, heading: str = HEADING, name: str = "table.csv"):
    """Four pictures and the CSV file that lists them."""
    draw(root, "a/1.bmp", "a/2.bmp", "b/10.bmp", "b/9.bmp")
    (root / name).write_text("\n".join((heading, *(lines or LINES))))
    return root


def refusal(root: pathlib.Path) -> errors.UserError:
    with pytest.raises(errors.UserError) as caught:
        folder.load(root)
    assert "\n" not in str(caught.value)
    return caught.value


def test_a_folder_of_class_folders_is_read_in_natural_order(tmp_path):
    names = ("Stage 10/1.bmp", "Stage 2/10.bmp", "Stage 2/9.png", "Stage 2/P7/b/1.TIF", "a/x.jpeg")
    clutter = (".git/1.bmp", "__MACOSX/a/x.jpeg", "a/._x.jpeg")
    data_set = folder.load(draw(tmp_path / "mine", *names, *clutter))
    assert data_set.name == "mine" and data_set.class_names == ("a", "Stage 2", "Stage 10")
    assert [(row.path, row.label, row.number) for row in data_set.rows] == [
        ("a/x.jpeg", 0, 1),
        ("Stage 2/9.png", 1, 1),
        ("Stage 2/10.bmp", 1, 2),
        ("Stage 2/P7/b/1.TIF", 1, 3),
        ("Stage 10/1.bmp", 2, 1),
    ]
    assert len(checking.check(data_set).looked) == 5 and data_set.note == ""


def test_no_folder_is_taken_for_a_subject(tmp_path):
    data_set = folder.load(draw(tmp_path, "a/P1/1.bmp", "b/P2/1.bmp"))
    assert {row.subject for row in data_set.rows} == {""}
    assert data_set.caveat.startswith("the pictures name no subject")


def test_a_table_gives_every_column(tmp_path):
    data_set = folder.load(listed(tmp_path / "mine"))
    assert data_set.name == "mine" and data_set.class_names == ("blast", "normal")
    assert data_set.rows[0] == dataset.Row(
        path="a/1.bmp", label=0, subject="P1", number=7, group="slide 1", fold="0", side="train"
    )
    assert [row.side for row in data_set.rows] == ["train", "train", "validation", "test"]
    assert [row.fold for row in data_set.rows] == ["0", "0", "1", ""]
    assert data_set.caveat == "" and data_set.note == ""
    assert len(checking.check(data_set).looked) == 4


def test_the_table_itself_or_its_folder_may_be_given(tmp_path):
    rows = folder.load(listed(tmp_path)).rows
    assert folder.load(tmp_path / "table.csv").rows == rows
    (tmp_path / "table.csv").rename(tmp_path / "Pictures of 2024.CSV")
    assert folder.load(tmp_path).rows == rows


@pytest.mark.parametrize("name", folder_table.NAMES)
def test_the_well_known_names_go_before_other_tables(tmp_path, name):
    listed(tmp_path, name=name)
    (tmp_path / "notes.csv").write_text("a,b\n1,2\n")
    assert len(folder.load(tmp_path).rows) == 4


def test_several_tables_are_refused(tmp_path):
    listed(tmp_path, name="one.csv")
    listed(tmp_path, name="two.csv")
    assert "there are one.csv, two.csv: give data.root one of them" in str(refusal(tmp_path))


def test_the_smallest_table_is_enough_and_is_numbered_in_natural_order(tmp_path):
    lines = [",".join(line.split(",")[:2]) for line in LINES]
    data_set = folder.load(listed(tmp_path, *lines, heading="Path,LABEL"))
    assert {row.path: row.number for row in data_set.rows} == {
        "a/1.bmp": 1,
        "a/2.bmp": 2,
        "b/9.bmp": 3,
        "b/10.bmp": 4,
    }
    assert all(row.subject == row.group == row.fold == row.side == "" for row in data_set.rows)


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_spreadsheets_and_windows_are_understood(tmp_path, delimiter):
    wanted = folder.load(listed(tmp_path)).rows
    lines = [line.replace("/", "\\") for line in LINES]
    text = "\r\n".join(("\ufeff" + HEADING.upper(), ".\\" + lines[0], *lines[1:], ",,,,,,"))
    (tmp_path / "table.csv").write_bytes(text.replace(",", delimiter).encode())
    assert folder.load(tmp_path).rows == wanted


def test_class_goes_before_label(tmp_path):
    lines = ("a/1.bmp,blast,1", "a/2.bmp,blast,1", "b/10.bmp,normal,0", "b/9.bmp,normal,0")
    data_set = folder.load(listed(tmp_path, *lines, heading="path,class,label"))
    assert data_set.class_names == ("blast", "normal")
    lines = ("a/1.bmp,10", "a/2.bmp,10", "b/10.bmp,9", "b/9.bmp,9")
    assert folder.load(listed(tmp_path, *lines, heading="path,label")).class_names == ("9", "10")


def test_lines_without_a_class_are_unlabelled_pictures(tmp_path):
    lines = ("a/1.bmp,blast", "a/2.bmp,", "b/10.bmp,normal", "b/9.bmp,")
    data_set = folder.load(listed(tmp_path, *lines, heading="path,class"))
    assert [row.path for row in data_set.rows] == ["a/1.bmp", "b/10.bmp"]
    assert [(row.path, row.label) for row in data_set.unlabelled] == [
        ("a/2.bmp", -1), ("b/9.bmp", -1),
    ]  # fmt: skip
    assert data_set.note == "2 pictures have no class and are left out"


@hypothesis.given(st.lists(st.integers(0, 10**6), unique=True), st.sampled_from(["", "x", "Y 0"]))
@hypothesis.settings(max_examples=50, deadline=None, derandomize=True)
def test_natural_order_is_that_of_the_numbers(numbers, prefix):
    names = [f"{prefix}{number}.png" for number in numbers]
    random.Random(0).shuffle(names)
    assert sorted(names, key=ordering.natural) == [f"{prefix}{n}.png" for n in sorted(numbers)]


@hypothesis.given(st.lists(st.text(max_size=6), unique=True))
@hypothesis.settings(max_examples=100, deadline=None, derandomize=True)
def test_natural_order_tells_any_two_names_apart(names):
    assert sorted(names, key=ordering.natural) == sorted(reversed(names), key=ordering.natural)


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("a/3.bmp,blast,,,,,1", "line 6: 'a/3.bmp' is no file there"),
        ("a,blast,,,,,1", "line 6: 'a' is no file there"),
        ("a/1\0.bmp,blast,,,,,1", r"line 6: 'a/1\x00.bmp' is no file there"),
        (",blast,,,,,1", "line 6: '' is no path"),
        ("../x.bmp,blast,,,,,1", "line 6: '../x.bmp' isn't a path below the table's folder"),
        ("a/../../x.bmp,x,,,,,1", "line 6: 'a/../../x.bmp' isn't a path below the table's folder"),
        ("..\\x.bmp,blast,,,,,1", "line 6: '../x.bmp' isn't a path below the table's folder"),
        ("/etc/hostname,x,,,,,1", "line 6: '/etc/hostname' isn't a path below the table's folder"),
        ("C:\\x.bmp,blast,,,,,1", "line 6: 'C:/x.bmp' isn't a path below the table's folder"),
        ("out.bmp,blast,,,,,1", "line 6: 'out.bmp' is a link that leaves the table's folder"),
        ("out/x.bmp,blast,,,,,1", "line 6: 'out/x.bmp' is a link that leaves the table's folder"),
        ("./a//1.bmp,blast,,,,,1", "line 6: 'a/1.bmp' stands in line 2 too"),
        (
            "in.bmp,blast,,,val,,1",
            "line 6: 'in.bmp' has the split 'val', not one of train, validation, test",
        ),
        ("in.bmp,blast,,,,,", "line 6: 'in.bmp' has the number '', not a whole one"),
        ("in.bmp,blast,,,,,1.5", "line 6: 'in.bmp' has the number '1.5', not a whole one"),
        ("in.bmp,Blast,,,,,1", "only case or accents tell the classes Blast and blast apart"),
        ("in.bmp,b\0,,,,,1", r"the class name 'b\x00' isn't plain text"),
    ],
)
def test_a_line_that_can_not_be_used_is_named(tmp_path, line, fault):
    root = listed(tmp_path / "mine", *LINES, line)
    draw(tmp_path, "x.bmp", "far/x.bmp")
    (root / "out.bmp").symlink_to(tmp_path / "x.bmp")
    (root / "out").symlink_to(tmp_path / "far")
    (root / "in.bmp").symlink_to(root / "a" / "1.bmp")
    error = refusal(root)
    assert list(error.details) == [fault]
    assert str(error).startswith(f"1 mistakes in {root / 'table.csv'}: {fault}; wanted the columns")


def test_all_mistakes_are_listed_together(tmp_path):
    lines = [f"no/{n}.bmp,,,,exam,,1" for n in range(5)]
    error = refusal(listed(tmp_path, *LINES, *lines))
    assert str(error).startswith("10 mistakes in") and "; ...; wanted" in str(error)
    assert len(error.details) == 10 and error.details[-1].startswith("line 10: 'no/4.bmp' has the")


@pytest.mark.parametrize(
    ("heading", "lines", "said"),
    [
        ("path,kind", ("a/1.bmp,x",), "has the columns path, kind; wanted the columns path and"),
        ("file,label", ("a/1.bmp,x",), "folders of classes: if those are meant, keep it elsewhere"),
        ("path,label", ("",), "lists no picture"),
        ("path,label", ("a/1.bmp,x",), "table.csv are x; wanted a folder"),
    ],
)
def test_a_table_without_columns_lines_or_classes_is_refused(tmp_path, heading, lines, said):
    assert said in str(refusal(listed(tmp_path, *lines, heading=heading)))


def test_a_split_that_parts_a_subject_or_a_group_is_told(tmp_path):
    lines = (*LINES[:1], "a/2.bmp,blast,P1,slide 1,test,,8", *LINES[2:])
    note = folder.load(listed(tmp_path, *lines)).note
    assert note.endswith("parts 2 subjects or groups, so it leaks: group slide 1, subject P1")


def test_a_subject_in_two_spellings_is_told(tmp_path):
    lines = ("a/1.bmp,blast,P1,,,,1", "a/2.bmp,blast,p 1,,,,2", *LINES[2:])
    note = folder.load(listed(tmp_path, *lines)).note
    assert note == (
        "only case, accents or spaces tell 1 pairs of subjects apart, so one may stand on several "
        "sides: P1 and p 1"
    )


def test_classes_that_differ_in_how_accents_are_stored_are_refused(tmp_path):
    lines = ("a/1.bmp,B\u00e9nin,,,,,1", "a/2.bmp,Be\u0301nin,,,,,2")
    assert "only case or accents tell the classes" in str(refusal(listed(tmp_path, *lines)))


def test_a_mistyped_class_is_told(tmp_path):
    names = [f"a/{number}.bmp" for number in range(50)]
    draw(tmp_path, *names)
    lines = [f"{name},{'blsat' if name == 'a/7.bmp' else 'blast'}" for name in names[:-8]]
    lines += [f"{name},normal" for name in names[-8:]]
    (tmp_path / "table.csv").write_text("\n".join(("path,label", *lines)))
    assert folder.load(tmp_path).note == (
        "the class blsat (1 pictures) has nearly the name of blast (41): is it a slip of the pen?"
    )


def test_a_rare_class_with_a_name_of_its_own_is_not_doubted(tmp_path):
    draw(tmp_path, "rare/1.bmp", *[f"common/{number}.bmp" for number in range(50)])
    assert folder.load(tmp_path).note == ""


def test_pictures_without_a_subject_are_counted(tmp_path):
    data_set = folder.load(listed(tmp_path, *LINES[:3], "b/9.bmp,normal,,,,,1"))
    assert data_set.caveat.startswith("1 of 4 pictures name no subject")


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ((), "the classes in .* are none; wanted a folder"),
        (("a/1.bmp",), "the classes in .* are a; wanted a folder"),
        (("a/1.bmp", "b/1.bmp", "1.bmp", "2.bmp"), "2 pictures lie beside the classes, like 1.bmp"),
        (("a/1.bmp", "b/.1.bmp", "c/x.txt"), r"no pictures \(.*\) in b, c"),
        (("HEM/1.bmp", "hem/1.bmp"), "only case or accents tell the classes HEM and hem"),
        (("test/a/1.bmp", "Train/a/1.bmp"), "test and Train are sides of a split, not classes"),
    ],
)
def test_folders_that_are_no_classes_are_refused(tmp_path, names, said):
    assert re.search(said, str(refusal(draw(tmp_path, *names))))


def test_loops_and_links_of_folders_end(tmp_path):
    draw(tmp_path, "a/1.bmp", "b/1.bmp")
    (tmp_path / "a" / "loop").symlink_to(tmp_path)
    (tmp_path / "b" / "self").symlink_to(tmp_path / "b")
    assert [row.path for row in folder.load(tmp_path).rows] == ["a/1.bmp", "b/1.bmp"]
    (tmp_path / "c").symlink_to(tmp_path / "a")
    assert "a and c are one folder" in str(refusal(tmp_path))


def test_names_of_files_that_are_no_text_work_and_those_of_classes_are_refused(tmp_path):
    strange = os.fsdecode(b"caf\xe9.bmp")
    draw(tmp_path, "a/1.bmp", f"b/{strange}")
    data_set = folder.load(tmp_path)
    assert data_set.rows[1].path == f"b/{strange}" and len(checking.check(data_set).looked) == 2
    content = b"path,label\na/1.bmp,a\nb/caf\xe9.bmp,b\n"
    (tmp_path / "table.csv").write_bytes(content)
    assert [row.path for row in folder.load(tmp_path).rows] == ["a/1.bmp", f"b/{strange}"]
    (tmp_path / "table.csv").unlink()
    draw(tmp_path, f"{os.fsdecode(bytes([0xE9]))}/1.bmp")
    assert r"the class name '\udce9' isn't plain text" in str(refusal(tmp_path))


def test_a_folder_without_permission_is_named(tmp_path, monkeypatch):
    draw(tmp_path, "a/1.bmp", "b/1.bmp")

    def refuse(path: pathlib.Path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(pathlib.Path, "iterdir", refuse)
    assert str(refusal(tmp_path)) == f"can't read the folder {tmp_path}: Permission denied"


def test_what_is_not_there_is_named(tmp_path):
    assert "there is no folder and no file" in str(refusal(tmp_path / "nowhere"))


def test_a_thousand_lines_keep_their_order_and_are_numbered_in_the_natural_one(tmp_path):
    names = [f"{n}.bmp" for n in random.Random(0).sample(range(1000), 1000)]
    for name in names:
        (tmp_path / name).touch()
    with (tmp_path / "table.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("path", "label"), *((name, len(name)) for name in names)])
    data_set = folder.load(tmp_path)
    assert [row.path for row in data_set.rows] == names
    assert all(row.number == 1 + int(row.path[:-4]) for row in data_set.rows)


def test_the_registry_reads_it(tmp_path):
    root = str(listed(tmp_path))
    assert len(data_package.load(dataset.DataSettings(name="folder", root=root)).rows) == 4


def test_a_link_into_another_class_is_refused(tmp_path):
    draw(tmp_path, "Early/1.bmp", "Early/2.bmp", "Pro/1.bmp", "Pro/more/2.bmp")
    (tmp_path / "Early" / "alias").symlink_to(tmp_path / "Pro" / "more")
    (tmp_path / "Early" / "3.bmp").symlink_to(tmp_path / "Pro" / "1.bmp")
    line = r"2 pictures are links into another class's folder, like Early/3\.bmp"
    with pytest.raises(errors.UserError, match=line):
        folder.load(tmp_path)
