import collections
import csv
import pathlib
import random

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from jaxall import errors
from jaxall.data import dataset, duplicates, split_file, splits

NAMES = ("Benign", "Early", "Pre", "Pro")
SIZES = (402, 787, 770, 641)


def table(sizes: tuple[int, ...], subjects: int = 0) -> dataset.DataSet:
    """A class per size; with `subjects`, each class's pictures are spread over that many."""
    rows = [
        dataset.Row(
            path=f"{NAMES[label]}/{number:03}.png",
            label=label,
            number=number,
            subject=f"S{label}{number % subjects}" if subjects else "",
        )
        for label, size in enumerate(sizes)
        for number in range(size)
    ]
    return dataset.DataSet(
        name="test", root=pathlib.Path("nowhere"), class_names=NAMES[: len(sizes)], rows=tuple(rows)
    )


def duplicated(data_set: dataset.DataSet, *groups: tuple[int, ...]) -> duplicates.Duplicates:
    """As if the groups had been found."""
    reasons = [""] * len(data_set.rows)
    for group in groups:
        for position, other in zip(group, (*group[1:], group[0]), strict=True):
            reasons[position] = f"exact duplicate of {data_set.rows[other].path}"
    copies = sum(len(group) - 1 for group in groups)
    return duplicates.Duplicates(groups=groups, reasons=tuple(reasons), copies=copies)


def make(
    data_set: dataset.DataSet, *groups: tuple[int, ...], kind: str = "group", **settings
) -> splits.Split:
    found = duplicated(data_set, *groups)
    return splits.make(data_set, found, splits.SplitSettings(kind=kind, **settings))


def side_counts(split: splits.Split, data_set: dataset.DataSet) -> list[list[int]]:
    return [list(cells.values()) for cells in splits.counts(split, data_set).values()]


@pytest.mark.parametrize("kind", splits.DEALERS)
def test_single_pictures_hit_the_rounded_fractions_exactly(kind):
    data_set = table(SIZES)
    assert side_counts(make(data_set, kind=kind), data_set) == [
        [257, 64, 81], [504, 126, 157], [493, 123, 154], [410, 103, 128],
    ]  # fmt: skip


def test_pairs_among_single_pictures_still_hit_the_rounded_fractions_and_reach_every_side():
    data_set = table(SIZES)
    pairs = tuple((i, i + 1) for i in range(1960, 2160, 2))
    split = make(data_set, *pairs)
    assert side_counts(split, data_set)[3] == [410, 103, 128]
    assert splits.leaks(split) == []
    shares = collections.Counter(split.sides[one] for one, _ in pairs)
    assert 54 <= shares["train"] <= 74 and shares["validation"] >= 8 and shares["test"] >= 10


@st.composite
def grouped_tables(draw) -> tuple[dataset.DataSet, tuple[tuple[int, ...], ...]]:
    sizes = tuple(draw(st.lists(st.integers(20, 60), min_size=1, max_size=4)))
    data_set = table(sizes)
    partition = duplicates.Partition(len(data_set.rows))
    positions = st.integers(0, len(data_set.rows) - 1)
    for one, other in draw(st.lists(st.tuples(positions, positions), max_size=8)):
        partition.join([one, other])
    return data_set, partition.groups()


@hypothesis.given(grouped_tables(), st.integers(0, 9), st.sampled_from(("group", "block")))
@hypothesis.settings(max_examples=60, deadline=None, derandomize=True)
def test_a_group_never_stands_on_two_sides(grouped, seed, kind):
    data_set, groups = grouped
    split = make(data_set, *groups, kind=kind, seed=seed)
    for group in groups:
        assert len({split.sides[position] for position in group}) == 1
        assert {split.groups[position] for position in group} == {
            min(data_set.rows[position].path for position in group)
        }
    assert splits.leaks(split) == []


@hypothesis.given(grouped_tables(), st.integers(0, 9), st.sampled_from(sorted(splits.DEALERS)))
@hypothesis.settings(max_examples=60, deadline=None, derandomize=True)
def test_every_row_stands_on_one_side_and_fractions_are_near(grouped, seed, kind):
    data_set, groups = grouped
    split = make(data_set, *groups, kind=kind, seed=seed)
    together = np.concatenate([split.indices(side) for side in splits.SIDES])
    assert sorted(together.tolist()) == list(range(len(data_set.rows)))
    tolerance = 1 if kind == "random" else 1 + max(map(len, groups), default=0)
    if kind == "block":  # each group may draw all its members over a cut
        tolerance = 1 + sum(map(len, groups))
    for cells in side_counts(split, data_set):
        wanted = np.array([0.64, 0.16, 0.20]) * sum(cells)
        assert np.abs(cells - wanted).max() <= tolerance


@pytest.mark.parametrize("kind", splits.DEALERS)
def test_the_order_of_the_rows_does_not_matter(kind):
    data_set = table((40, 50))
    groups = ((3, 4, 60), (70, 71))
    split = make(data_set, *groups, kind=kind, seed=5)
    order = list(range(90))
    random.Random(0).shuffle(order)
    rows = tuple(data_set.rows[position] for position in order)
    shuffled = dataset.DataSet(
        name="test", root=data_set.root, class_names=data_set.class_names, rows=rows
    )
    moved = [tuple(sorted(order.index(i) for i in group)) for group in groups]
    again = make(shuffled, *moved, kind=kind, seed=5)
    assert [again.sides[order.index(i)] for i in range(90)] == list(split.sides)
    assert [again.groups[order.index(i)] for i in range(90)] == list(split.groups)


def test_a_seed_names_one_shuffle_on_every_platform():
    split = make(table((10,)), seed=0)
    assert "".join(side[1] for side in split.sides) == "raerrrrera"


@pytest.mark.parametrize("kind", ["group", "random"])
def test_another_seed_is_another_split(kind):
    data_set = table(SIZES)
    one, same, other = (make(data_set, kind=kind, seed=seed) for seed in (1, 1, 2))
    assert one == same and one != other


def test_subjects_stay_whole_and_every_side_gets_one_of_each_class():
    data_set = table((60, 90), subjects=3)
    split = make(data_set)
    homes = collections.defaultdict(set)
    for row, side in zip(data_set.rows, split.sides, strict=True):
        homes[row.subject].add(side)
    assert all(len(sides) == 1 for sides in homes.values())
    for label in (0, 1):
        assert set.union(*(homes[f"S{label}{i}"] for i in range(3))) == set(splits.SIDES)
    assert set(split.reasons) == {f"subject S{label}{i}" for label in (0, 1) for i in range(3)}


@pytest.mark.parametrize("seed", range(10))
def test_a_subject_many_times_larger_than_the_others_leaves_no_side_empty(seed):
    subjects = ["S1"] * 200 + ["S2"] * 5 + ["S3"]
    rows = [dataset.Row(path=f"{i}", label=0, subject=s) for i, s in enumerate(subjects)]
    data_set = dataset.DataSet(
        name="test", root=pathlib.Path(), class_names=("a",), rows=tuple(rows)
    )
    split = make(data_set, seed=seed)
    assert {split.sides[0], split.sides[200], split.sides[205]} == set(splits.SIDES)


def test_duplicates_join_the_subjects_that_share_them():
    data_set = table((60,), subjects=6)
    split = make(data_set, (0, 7))
    assert (
        split.sides[0] == split.sides[1] and split.groups[0] == split.groups[1] == split.groups[6]
    )
    assert split.reasons[0] == f"exact duplicate of {data_set.rows[7].path}"
    assert split.reasons[6] == "subject S00"


def test_too_few_subjects_are_refused_by_the_name_of_the_class():
    with pytest.raises(errors.UserError, match=r"none of Benign for .* 60 pictures.* once 2"):
        make(table((60, 60), subjects=2))


@pytest.mark.parametrize("kind", splits.DEALERS)
def test_a_class_with_two_pictures_is_refused_by_class_and_side(kind):
    with pytest.raises(errors.UserError, match="none of Early for validation"):
        make(table((30, 2)), kind=kind)


@pytest.mark.parametrize("kind", splits.DEALERS)
def test_three_pictures_are_enough(kind):
    data_set = table((30, 3))
    assert side_counts(make(data_set, kind=kind), data_set)[1] == [1, 1, 1]


def test_an_empty_class_is_refused():
    with pytest.raises(errors.UserError, match="no picture of class Early"):
        make(table((30, 0)))


def test_a_block_split_follows_the_numbers():
    split = make(table((25,)), kind="block")
    assert split.sides == ("train",) * 16 + ("validation",) * 4 + ("test",) * 5


def test_a_group_stands_in_a_block_split_where_its_first_member_stands():
    split = make(table((25,)), (14, 15), (0, 24), kind="block")
    # 0 24 1 2 ... 14 | 15 would be cut, and follows 14.
    assert split.sides == ("train",) * 16 + ("validation",) * 3 + ("test",) * 5 + ("train",)


def test_subjects_whose_numbers_interleave_still_reach_every_side_of_a_block_split():
    data_set = table((100, 150), subjects=10)
    assert side_counts(make(data_set, kind="block"), data_set) == [[70, 10, 20], [105, 15, 30]]


def test_a_random_split_ignores_groups_but_records_them():
    data_set = table((100,))
    pairs = tuple((i, i + 1) for i in range(0, 100, 2))
    split = make(data_set, *pairs, kind="random")
    leaks = splits.leaks(split)
    assert 10 < len(leaks) < 50 and set(leaks) <= set(pairs)
    assert all(reason.startswith("exact duplicate of") for reason in split.reasons)
    assert f"50 groups of 100 pictures that belong together, {len(leaks)} on more" in (
        splits.summary(split)
    )


def test_the_summary_is_one_line():
    split = make(table((100,)), (0, 1, 2))
    assert splits.summary(split) == (
        "train 64, validation 16, test 20; "
        "1 groups of 3 pictures that belong together, none on more than one side"
    )


def test_indices_are_sorted_and_sides_are_named():
    split = make(table((30,)))
    test = split.indices("test")
    assert test.dtype == np.int64 and len(test) == 6 and (np.diff(test) > 0).all()
    with pytest.raises(ValueError, match="'tset'"):
        split.indices("tset")


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        (
            {"kind": "groups"},
            r"'groups', there are group, .*, official; did you mean group\?",
        ),
        ({"train": 0.7}, "sum to 1, got train 0.7, validation 0.16, test 0.2"),
        ({"train": 0.8, "validation": 0.0}, "above 0"),
        ({"train": 1.2, "validation": -0.4}, "above 0"),
        ({"test": float("nan")}, "got .* test nan"),
        ({"near_duplicate": 1.5}, "near_duplicate .* got 1.5"),
        ({"folds": 1}, "wanted from 2 to 100 folds, got 1"),
        ({"kind": "folds", "folds": 3, "fold": 3}, "wanted a fold from 0 to 2, got 3"),
        ({"kind": "official", "fold": -1}, "wanted a fold from 0 to 4, got -1"),
    ],
)
def test_impossible_settings_are_refused_in_one_line(settings, line):
    with pytest.raises(errors.UserError, match=line):
        make(table((30,)), **settings)


def test_duplicates_of_another_table_are_refused():
    with pytest.raises(ValueError, match="wanted duplicates of 30 rows, got 20"):
        splits.make(table((30,)), duplicated(table((20,))), splits.SplitSettings())


def test_a_saved_split_comes_back_in_any_order(tmp_path):
    data_set = table((30, 40), subjects=4)
    split = make(data_set, (1, 2))
    path = tmp_path / "run" / "split.csv"
    split_file.save(split, data_set, path)
    assert split_file.load(path, data_set) == split
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    assert lines[0] == "path,class,label,subject,group,reason,side\n"
    # As a spreadsheet leaves it: sorted, with a byte order mark and other line ends.
    text = "".join([lines[0], *sorted(lines[1:], reverse=True)]).replace("\n", "\r\n")
    path.write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert split_file.load(path, data_set) == split
    assert [file.name for file in path.parent.iterdir()] == ["split.csv"]


def test_a_failed_save_leaves_the_old_file(tmp_path):
    data_set = table((30,))
    path = tmp_path / "split.csv"
    split_file.save(make(data_set), data_set, path)
    before = path.read_bytes()
    with pytest.raises(ValueError, match="zip"):
        split_file.save(make(data_set), table((20,)), path)
    assert path.read_bytes() == before


def rewrite(path: pathlib.Path, column: str, value: str, lines: slice) -> None:
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows[lines]:
        row[column] = value
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, split_file.COLUMNS)
        writer.writeheader()
        writer.writerows(rows)


@pytest.mark.parametrize(
    ("column", "value", "count", "line"),
    [
        ("label", "1", 5, r"5 mismatches: Benign/000.png is 0 Benign, got 1 Benign; .*; \.\.\."),
        ("class", "Early", 1, "1 mismatches: Benign/000.png is 0 Benign, got 0 Early"),
        ("side", "exam", 1, "Benign/000.png stands on 'exam', not on train, validation, test"),
        ("path", "x.png", 1, "2 mismatches: Benign/000.png has no line; x.png isn't in the data"),
        ("path", "Benign/001.png", 1, "Benign/000.png has no line; Benign/001.png has 2 lines"),
    ],
)
def test_a_split_of_other_pictures_is_refused_in_one_line(tmp_path, column, value, count, line):
    data_set = table((30,))
    path = tmp_path / "split.csv"
    split_file.save(make(data_set), data_set, path)
    rewrite(path, column, value, slice(count))
    with pytest.raises(errors.UserError, match=line):
        split_file.load(path, data_set)


@pytest.mark.parametrize("content", [b"", b"path,label\n", b"\xff\xfe\x00", None])
def test_a_file_that_is_no_split_is_refused(tmp_path, content):
    path = tmp_path / "split.csv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(errors.UserError, match=r"split\.csv"):
        split_file.load(path, table((30,)))
