import dataclasses
import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxall.errors import UserError
from jaxall.training import plan


def make(examples: int, batch_size: int, epochs: float) -> plan.Plan:
    return plan.Plan(examples=examples, batch_size=batch_size, epochs=epochs)


def test_batches_that_divide_an_epoch_end_with_it():
    length = make(32, 8, 3)
    assert length.steps == 12
    assert length.epoch_ends() == [4, 8, 12]


def test_a_batch_that_straddles_two_epochs_belongs_to_the_first():
    # 10 pictures in batches of 4: epochs end within the third, the fifth and the eighth batch.
    length = make(10, 4, 3)
    assert length.epoch_ends() == [3, 5, 8]
    assert length.steps == 8


def test_a_fraction_of_an_epoch_ends_the_run_after_the_last_whole_one():
    length = make(10, 5, 2.5)
    assert length.epoch_ends() == [2, 4, 5]
    assert make(10, 5, 0.5).epoch_ends() == [1]


def test_a_fraction_that_needs_no_further_batch_adds_no_end():
    # Two epochs of 5 pictures are rounded up to 3 batches of 4; 2.1 epochs need no fourth.
    assert make(5, 4, 2.1).epoch_ends() == [2, 3]
    assert make(5, 4, 2.1).steps == 3


def test_a_fraction_is_not_rounded_up_for_the_sake_of_a_float():
    assert 0.07 * 100 > 7
    assert make(100, 7, 0.07).steps == 1


def test_no_epochs_are_no_steps():
    assert make(10, 4, 3).step_at(0) == 0
    assert make(10, 4, 3).step_at(0.0) == 0


@settings(deadline=None)
@given(
    examples=st.integers(1, 500),
    batch_size=st.integers(1, 64),
    epochs=st.floats(0.01, 20, allow_nan=False),
)
def test_epoch_ends_rise_to_the_last_step(examples: int, batch_size: int, epochs: float):
    length = make(max(examples, batch_size), batch_size, epochs)
    ends = length.epoch_ends()
    assert ends[-1] == length.steps >= 1
    assert all(early < late for early, late in itertools.pairwise(ends))
    assert len(ends) in (int(epochs), int(epochs) + 1)
    for number, end in enumerate(ends[:-1], 1):
        assert (end - 1) * batch_size < number * length.examples <= end * batch_size


def test_a_batch_larger_than_an_epoch_is_refused():
    with pytest.raises(UserError, match=r"batch_size is at most the 10 training pictures; got 16"):
        make(10, 16, 3)


def test_the_defaults_are_valid():
    plan.TrainSettings().validate()


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [
        ("parallel", "vmap", r"train\.parallel is one of pmap, shard_map; got 'vmap'"),
        ("epochs", 0.0, r"train\.epochs is above 0 and at most 100,000; got 0"),
        ("epochs", float("nan"), r"train\.epochs .* got nan"),
        ("epochs", float("inf"), r"train\.epochs .* got inf"),
        ("batch_size", 0, r"train\.batch_size is at least 1; got 0"),
        ("checkpoint_every", -1, r"train\.checkpoint_every is at least 0; got -1"),
        ("log_every", 0, r"train\.log_every is at least 1; got 0"),
    ],
)
def test_an_impossible_setting_is_named(field: str, value: object, told: str):
    settings = dataclasses.replace(plan.TrainSettings(), **{field: value})
    with pytest.raises(UserError, match=told):
        settings.validate()
