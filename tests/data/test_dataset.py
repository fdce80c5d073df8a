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


def test_an_unknown_data_set_is_answered_with_the_nearest_name():
    with pytest.raises(errors.UserError, match=r"'b_al'.*b_all, drawn_smears.*mean b_all\?"):
        data_package.load(dataset.DataSettings(name="b_al"))
