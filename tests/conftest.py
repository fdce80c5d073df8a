"""Settings that every test runs under: four CPU devices, no silent broadcasting, flags usable."""

import os

os.environ["XLA_FLAGS"] = (
    os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=4"
)
os.environ["JAX_PLATFORMS"] = "cpu"

from collections.abc import Iterator

import jax
import pytest
from absl import flags

jax.config.update("jax_numpy_rank_promotion", "raise")
# grain's worker processes read an absl flag, which pytest never parses.
flags.FLAGS.mark_as_parsed()


@pytest.fixture(scope="module")
def tiny_network() -> Iterator[None]:
    """The architecture "tiny" is known for as long as a module's tests run."""
    from tests import programs  # takes seconds to load, which few modules need

    with pytest.MonkeyPatch.context() as patch:
        programs.register_tiny(patch)
        yield
