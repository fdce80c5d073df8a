import pathlib
from collections.abc import Callable

import jax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxall.training import parallel, probe
from tests import tiny


def search(
    needed: Callable[[int], int | None], limit: int, unit: int = 1, most: int = 65536
) -> probe.Found:
    return probe.search(needed, limit, unit=unit, most=most)


@settings(deadline=None)
@given(
    fixed=st.integers(0, 10_000),
    slope=st.integers(1, 500),
    limit=st.integers(1, 1_000_000),
    unit=st.integers(1, 12),
)
def test_on_a_line_the_largest_batch_is_found(fixed: int, slope: int, limit: int, unit: int):
    found = search(lambda size: fixed + slope * size, limit, unit)
    largest = max(min((limit - fixed) // slope, 65536) // unit * unit, 0)
    assert largest / probe.CLOSE - unit <= found.largest <= largest
    assert (found.largest == 0) == (largest == 0)
    assert all(x.batch_size % unit == 0 for x in found.measured)
    assert len({x.batch_size for x in found.measured}) == len(found.measured)


def test_a_line_takes_two_compilations_and_a_confirmation():
    found = search(lambda size: 1000 + 10 * size, 2000)
    assert [x.batch_size for x in found.measured] == [8, 16, 100]
    assert found.largest == 100


def test_parameters_that_hide_the_slope_of_small_batches_are_seen_through():
    found = search(lambda size: max(5_000, 100 * size), 100_000)
    assert found.largest == 1000
    assert max(x.batch_size for x in found.measured) <= 1024


def test_memory_that_bends_is_still_fitted():
    found = search(lambda size: size**2, 10_000)
    assert 95 <= found.largest <= 100
    found = search(lambda size: int(1000 * size**0.8), 100_000)
    assert 300 <= found.largest <= 316


def test_a_compiler_that_refuses_without_a_number_is_stepped_down_from():
    found = search(lambda size: 10 * size if size < 60 else None, 1000)
    assert 50 <= found.largest < 60
    assert None in {x.needed for x in found.measured}


def test_a_batch_of_the_smallest_unit_is_tried_before_giving_up():
    found = search(lambda size: 100 + 10 * size, 145, 4)
    assert (found.largest, [x.batch_size for x in found.measured]) == (4, [32, 4, 8])
    found = search(lambda size: 100 + 10 * size, 105, 4)
    assert (found.largest, [x.batch_size for x in found.measured]) == (0, [32, 4])


def test_nothing_above_what_is_of_use_is_tried():
    found = search(lambda size: size, 10**9, 8, 100)
    assert found.largest == 96


def test_what_a_step_needs_grows_with_the_batch_and_counts_the_state_once():
    spread = parallel.Spread("pmap")
    step = spread.compile(tiny.step())
    current = spread.start(tiny.create(), None)

    def needed(size: int) -> int:
        batch = spread.batch(probe.blank_batch(size, tiny.SIZE))
        return probe.needed_by(lambda: step.lower(current, batch).compile()) or 0

    held = sum(leaf.nbytes for leaf in jax.tree.leaves(current))
    small, large = needed(16), needed(64)
    pictures = 12 * tiny.SIZE**2 * 3  # of the further 48 on each of four devices
    assert small > held
    assert large - small > pictures


def test_an_error_of_another_kind_is_not_taken_for_a_lack_of_memory():
    def fail(text: str) -> None:
        raise jax.errors.JaxRuntimeError(text)

    assert probe.needed_by(lambda: fail("RESOURCE_EXHAUSTED: 1 GB")) is None
    with pytest.raises(jax.errors.JaxRuntimeError, match="INTERNAL"):
        probe.needed_by(lambda: fail("INTERNAL: broken"))


def test_pictures_that_the_machine_cannot_hold_are_too_many():
    assert probe.needed_by(lambda: probe.blank_batch(1 << 20, 1 << 20)) is None


@pytest.mark.parametrize(
    ("bound", "used"),
    [
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ],
)
def test_a_control_group_bounds_the_memory(tmp_path: pathlib.Path, bound: str, used: str):
    free = probe.available_memory(tmp_path)
    (tmp_path / "memory").mkdir()
    (tmp_path / used).write_text("1000\n")
    for text, wanted in (("5000\n", 4000), ("500\n", 0), ("max\n", None), (f"{2**62}\n", None)):
        (tmp_path / bound).write_text(text)
        found = probe.available_memory(tmp_path)
        assert found == wanted if wanted is not None else found > free / 2


def test_devices_of_one_machine_share_its_memory():
    limit = probe.limit_of(jax.devices()[0])
    assert 0 < 4 * limit <= probe.available_memory() * 1.1
