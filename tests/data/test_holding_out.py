import collections
import dataclasses
import itertools
import pathlib

import hypothesis
import pytest
from hypothesis import strategies as st

from jaxall import errors
from jaxall.data import dataset, duplicates, splits

quick = hypothesis.settings(max_examples=40, deadline=None, derandomize=True, database=None)


def table(*subjects: tuple[int, int, str, str]) -> dataset.DataSet:
    """A subject for each (label, pictures, fold, side)."""
    rows = tuple(
        dataset.Row(
            path=f"{subject}-{number}.png",
            label=label,
            subject=f"S{subject}",
            number=number,
            fold=fold,
            side=side,
        )
        for subject, (label, count, fold, side) in enumerate(subjects)
        for number in range(count)
    )
    return dataset.DataSet(name="test", root=pathlib.Path(), class_names=("a", "b"), rows=rows)


def make(data_set: dataset.DataSet, **settings) -> splits.Split:
    alone = duplicates.Duplicates(groups=(), reasons=("",) * len(data_set.rows), copies=0)
    return splits.make(data_set, alone, splits.SplitSettings(**settings))


def sides_of(split: splits.Split, data_set: dataset.DataSet) -> dict[str, set[str]]:
    found = collections.defaultdict(set)
    for row, side in zip(data_set.rows, split.sides, strict=True):
        found[row.subject].add(side)
    return found


def with_folds(per_fold: int = 3, folds: int = 3, test: int = 0) -> dataset.DataSet:
    training = [
        (label, 4 + label, str(fold), "")
        for fold in range(folds)
        for label in (0, 1)
        for _ in range(per_fold)
    ]
    return table(*training, *[(label, 5, "", "test") for label in (0, 1) for _ in range(test)])


@st.composite
def tables(draw) -> dataset.DataSet:
    counts = st.integers(1, 12)
    subjects = [
        (label, draw(counts), str(draw(st.integers(0, 2))), "")
        for label in (0, 1)
        for _ in range(draw(st.integers(6, 12)))
    ]
    fixed = [(label, 3, str(fold), "") for label in (0, 1) for fold in range(3) for _ in range(2)]
    return table(*subjects, *fixed)


@pytest.mark.parametrize("kind", ["group", "block", "folds", "official"])
@quick
@hypothesis.given(data_set=tables(), fold=st.integers(0, 2), seed=st.integers(0, 5))
def test_no_subject_stands_on_two_sides(kind, data_set, fold, seed):
    split = make(data_set, kind=kind, folds=3, fold=fold, seed=seed)
    assert all(len(sides) == 1 for sides in sides_of(split, data_set).values())
    assert set(split.sides) == set(splits.SIDES)


@quick
@hypothesis.given(data_set=tables(), folds=st.integers(2, 6), seed=st.integers(0, 5))
def test_every_picture_is_in_the_test_side_of_exactly_one_fold(data_set, folds, seed):
    tests = [
        make(data_set, kind="folds", folds=folds, fold=fold, seed=seed).indices("test").tolist()
        for fold in range(folds)
    ]
    assert sorted(itertools.chain(*tests)) == list(range(len(data_set.rows)))
    labels = [set(data_set.labels[rows].tolist()) for rows in tests]
    assert all(found == {0, 1} for found in labels)


def test_folds_hold_equal_shares_of_each_class():
    data_set = table(*[(label, 1, "", "") for label in (0, 1) for _ in range(50)])
    split = make(data_set, kind="folds", folds=5)
    assert splits.counts(split, data_set) == {
        name: {"train": 32, "validation": 8, "test": 10} for name in ("a", "b")
    }


def test_the_official_fold_is_the_test_side_where_the_data_set_has_none():
    data_set = with_folds()
    split = make(data_set, kind="official", fold=1)
    for row, side in zip(data_set.rows, split.sides, strict=True):
        assert (side == "test") == (row.fold == "1")
    assert splits.leaks(split) == []


def test_the_official_fold_is_the_validation_side_beside_a_test_side_of_its_own():
    data_set = with_folds(test=2)
    split = make(data_set, kind="official", fold=2)
    expected = {"0": "train", "1": "train", "2": "validation", "": "test"}
    assert split.sides == tuple(expected[row.fold] for row in data_set.rows)


def test_given_sides_are_obeyed():
    given = [(label, 3, "", side) for label in (0, 1) for side in splits.SIDES]
    data_set = table(*given)
    split = make(data_set, kind="official")
    assert split.sides == tuple(row.side for row in data_set.rows)


def test_a_validation_side_that_is_not_given_is_dealt_from_train_by_groups():
    given = [(label, 3, "", side) for label in (0, 1) for side in ["train"] * 5 + ["test"] * 2]
    data_set = table(*given)
    split = make(data_set, kind="official")
    assert splits.counts(split, data_set)["a"] == {"train": 12, "validation": 3, "test": 6}
    assert all(len(sides) == 1 for sides in sides_of(split, data_set).values())


def test_official_without_folds_or_sides_is_refused():
    data_set = table(*[(label, 3, "", "") for label in (0, 1) for _ in range(5)])
    with pytest.raises(errors.UserError, match=r"wants folds or sides .*; test has none"):
        make(data_set, kind="official")


def test_a_fold_that_the_data_set_does_not_have_is_refused():
    with pytest.raises(errors.UserError, match="from 0 to 2, for test has the folds 0, 1, 2; got"):
        make(with_folds(), kind="official", fold=3)


def test_what_is_left_over_of_each_class_goes_to_different_folds():
    """Ten subjects of each of three classes over three folds: one is too many in each class."""
    rows = tuple(
        dataset.Row(path=f"{label}/{subject}-{i}.png", label=label, subject=f"S{label}{subject}")
        for label in range(3)
        for subject in range(10)
        for i in range(5)
    )
    data_set = dataset.DataSet(
        name="x", root=pathlib.Path(), class_names=("a", "b", "c"), rows=rows
    )
    for seed in range(5):
        folds = [
            len(make(data_set, kind="folds", folds=3, fold=fold, seed=seed).indices("test"))
            for fold in range(3)
        ]
        assert folds == [50, 50, 50]


def test_fewer_subjects_than_folds_are_refused_by_class():
    data_set = table(*[(0, 5, "", "")] * 6, *[(1, 5, "", "")] * 3)
    with pytest.raises(errors.UserError, match=r"at least 4 subjects .* there are: b 3"):
        make(data_set, kind="folds", folds=4)


def test_a_subject_on_two_sides_is_refused_by_name_unless_it_is_allowed():
    data_set = table(*[(label, 20, "", "") for label in (0, 1) for _ in range(4)])
    line = (
        r"subject S0 stands on train and .* \(8 of 8 subjects do\).*"
        "split.share_subjects=True"
    )
    with pytest.raises(errors.UserError, match=line) as caught:
        make(data_set, kind="random")
    assert len(caught.value.details) == 8
    assert len(splits.leaks(make(data_set, kind="random", share_subjects=True))) == 8


def test_given_sides_that_share_a_subject_are_refused():
    given = table((0, 4, "", "train"), (1, 4, "", "train"), (0, 4, "", "test"), (1, 4, "", "test"))
    rows = tuple(
        dataclasses.replace(row, subject="S9") if row.number == 0 and row.label else row
        for row in given.rows
    )
    with pytest.raises(errors.UserError, match="subject S9 stands on "):
        make(dataclasses.replace(given, rows=rows), kind="official", seed=3)


def test_rows_of_a_group_stay_together_and_say_so():
    pictures = table(*[(label, 1, "", "") for label in (0, 1) for _ in range(30)])
    rows = tuple(
        dataclasses.replace(row, subject="", group=f"slide {index // 3}")
        for index, row in enumerate(pictures.rows)
    )
    data_set = dataclasses.replace(pictures, rows=rows)
    split = make(data_set)
    assert splits.leaks(split) == [] and len(set(split.groups)) == 20
    assert split.reasons[4] == "group slide 1"


def test_the_folds_are_counted():
    settings = splits.SplitSettings
    assert splits.fold_names(with_folds(), settings(kind="official")) == ["0", "1", "2"]
    assert splits.fold_names(with_folds(), settings(kind="folds", folds=4)) == ["0", "1", "2", "3"]
    assert splits.fold_names(with_folds(), settings(kind="group")) == []
