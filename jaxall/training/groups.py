"""Learning rates of their own for groups of parameters.

Discriminative fine-tuning: Howard & Ruder, 2018, https://arxiv.org/abs/1801.06146
Layer-wise decay of the rate: Clark et al., 2020, https://arxiv.org/abs/2003.10555
"""

import dataclasses
import re
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import optax

from jaxall.training import patterns


@dataclasses.dataclass(kw_only=True)
class Group:
    """Parameters with a learning rate of their own.

    Attributes:
        pattern: of their paths, such as "backbone/.*".
        factor: multiplies the learning rate, and with it AdamW's decay; 0 leaves them unchanged.
    """

    pattern: str = ".*"
    factor: float = 1.0

    def problems(self, name: str) -> Iterator[str]:
        """A line for each impossible value; `name` is the group's."""
        yield from patterns.problems(f"{name}.pattern", self.pattern)
        if not self.factor >= 0:
            yield f"{name}.factor is at least 0; got {self.factor:g}"


def by_layer(names: Sequence[str], decay: float) -> tuple[Group, ...]:
    """A group for each part of the backbone, whose rate is `decay` times that of the one above.

    The head, above all, keeps the whole rate.

    Args:
        names: of the backbone's parts, from the picture to the head.
        decay: above 0 and at most 1.
    """
    heights = range(len(names), 0, -1)
    return tuple(
        Group(pattern=f"backbone/{re.escape(name)}/.*", factor=decay**height)
        for name, height in zip(names, heights, strict=True)
    )


def factors(groups: Sequence[Group], params: Any) -> Any:
    """Of each parameter that of the last group that it is of; 1 outside of all."""

    def factor(keys: Any, _parameter: Any) -> float:
        path = patterns.path_of(keys)
        found = [group.factor for group in groups if patterns.matches(group.pattern, path)]
        return found[-1] if found else 1.0

    return jax.tree_util.tree_map_with_path(factor, params)


def scale_updates(groups: Sequence[Group]) -> optax.GradientTransformation:
    """Multiplies each update by its parameter's factor."""

    def update(updates: Any, _params: Any) -> Any:
        return jax.tree.map(lambda x, factor: x * factor, updates, factors(groups, updates))

    return optax.stateless(update)
