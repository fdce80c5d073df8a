import numpy as np
import pytest

from jaxall import data as data_package
from jaxall import errors
from jaxall.data import dataset
from tests import pictures


def test_labels_and_counts_follow_the_rows(tmp_path):
    table = dataset.DataSet(
        name="test",
        root=tmp_path,
        class_names=("a", "b", "c"),
        rows=tuple(dataset.Row(path=f"{i}.png", label=label) for i, label in enumerate((0, 2, 0))),
    )
    assert table.labels.tolist() == [0, 2, 0] and table.labels.dtype == np.int32
    assert table.class_counts == {"a": 2, "b": 0, "c": 1}
    assert table.absolute(table.rows[1]) == tmp_path / "1.png"


def test_an_empty_class_is_named(tmp_path):
    table = pictures.write(tmp_path, ("1.png",))
    with pytest.raises(errors.UserError, match=r"no picture of class b .*a 1, b 0"):
        dataset.require_every_class(table)


def test_a_data_set_without_pictures_is_refused(tmp_path):
    table = dataset.DataSet(name="test", root=tmp_path, class_names=("a", "b"), rows=())
    with pytest.raises(errors.UserError, match="no pictures"):
        dataset.require_every_class(table)


def test_the_positive_class_is_the_last(tmp_path):
    for name in ("blast/1.png", "blast/2.png", "normal/3.png"):
        pictures.write(tmp_path / name.split("/")[0], (name.split("/")[1],))
    settings = dataset.DataSettings(name="folder", root=str(tmp_path), positive="blast")
    data_set = data_package.load(settings)
    assert data_set.class_names == ("normal", "blast")
    assert {row.path.split("/")[0]: row.label for row in data_set.rows} == {"blast": 1, "normal": 0}
    assert data_set.class_counts == {"normal": 1, "blast": 2}
    settings.positive = "normal"
    assert data_package.load(settings).class_names == ("blast", "normal")


@pytest.mark.parametrize("names", [("blast", "normal"), ("a", "b", "tumour")])
def test_a_positive_class_is_one_of_two(tmp_path, names):
    rows = tuple(dataset.Row(path=f"{label}", label=label) for label in range(len(names)))
    data_set = dataset.DataSet(name="x", root=tmp_path, class_names=names, rows=rows)
    line = f"data.positive is one of two classes; got 'tumour', there are {', '.join(names)}"
    with pytest.raises(errors.UserError) as caught:
        dataset.with_positive(data_set, "tumour")
    assert str(caught.value) == line


def test_an_unknown_data_set_is_answered_with_the_nearest_name():
    with pytest.raises(errors.UserError, match=r"'b_al'.*b_all, drawn_smears.*mean b_all\?"):
        data_package.load(dataset.DataSettings(name="b_al"))
