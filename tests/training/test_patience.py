import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxall.training import patience


@pytest.mark.parametrize(
    ("scores", "bears", "epoch"),
    [
        ([0.1, 0.2, 0.3], 1, None),
        ([0.1, 0.2, 0.2], 1, 3),
        ([0.3, 0.2, 0.1], 2, 3),
        ([0.3, 0.2, 0.4, 0.4, 0.3], 2, 5),
        ([0.3, 0.2, 0.1, 0.9], 2, 3),
        ([math.nan, None], 2, 2),
        ([0.5, math.nan, None], 2, 3),
        ([0.5] * 100, 0, None),
        ([], 1, None),
    ],
)
def test_a_run_ends_after_so_many_epochs_without_a_better_score(scores, bears, epoch):
    assert patience.stopped(scores, bears) == epoch


def test_stages_that_train_a_part_decide_nothing():
    scores = [0.9, 0.8, 0.7, 0.3, 0.4, 0.4, 0.4]
    assert patience.stopped(scores, 2) == 3
    assert patience.stopped(scores, 2, staged=3) == 7
    assert patience.stopped(scores[:3], 2, staged=3) is None
    assert patience.stopped([*scores[:3], None, None], 2, staged=3) == 5


@given(
    scores=st.lists(st.floats(0, 1) | st.none(), max_size=12),
    more=st.lists(st.floats(0, 1), max_size=4),
    bears=st.integers(1, 4),
)
def test_what_comes_later_changes_nothing(scores, more, bears):
    found = patience.stopped(scores, bears)
    if found is not None:
        assert patience.stopped(scores + more, bears) == found
        assert patience.stopped(scores[:found], bears) == found
