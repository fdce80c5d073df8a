"""How a per-device step is spread over devices and hosts, and where its state and batches lie.

`jax.pmap` is the default; `jax.jit(jax.shard_map)` over a mesh is the other setting. Both run the
same per-device function and give the same bits.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxall.errors import UserError
from jaxall.training import state, steps

Devices = tuple[jax.Device, ...] | None  # of all hosts; None for all there are


def global_mesh(devices: Devices = None) -> Mesh:
    """The devices of all hosts along the batch axis."""
    return Mesh(np.array(devices or jax.devices()), (steps.AXIS,))


def local_mesh(devices: Devices = None) -> Mesh:
    """This host's devices among them, along the batch axis."""
    return Mesh(global_mesh(devices).local_devices, (steps.AXIS,))


@dataclasses.dataclass(frozen=True)
class Spread:
    """One way of running a step on every device.

    Attributes:
        kind: "pmap" or "shard_map".
        devices: those that take part.
    """

    kind: str
    devices: Devices = None

    @property
    def everywhere(self) -> NamedSharding:
        """A copy on every device of every host, which is how a checkpoint names a state."""
        return NamedSharding(global_mesh(self.devices), PartitionSpec())

    @property
    def replicated(self) -> NamedSharding:
        """Where a state lies; pmap donates only what lies on this host's own mesh."""
        if self.kind == "pmap":
            return NamedSharding(local_mesh(self.devices), PartitionSpec())
        return self.everywhere

    def compile(self, step: steps.TrainStep) -> steps.TrainStep:
        """The step over all devices; the state that goes in is donated."""
        if self.kind == "pmap":
            return jax.pmap(
                step,
                axis_name=steps.AXIS,
                in_axes=(None, 0),
                out_axes=None,
                devices=self.devices,
                donate_argnums=0,
            )
        # The step averages its gradients itself; under the check they would be summed as well.
        spread = jax.shard_map(
            step,
            mesh=global_mesh(self.devices),
            in_specs=(PartitionSpec(), PartitionSpec(steps.AXIS)),
            out_specs=(PartitionSpec(), PartitionSpec()),
            check_vma=False,
        )
        return jax.jit(spread, donate_argnums=0)

    def batch(self, batch: steps.Batch) -> steps.Batch:
        """This host's share of a batch, on its way to the devices that the step wants it on.

        The copying goes on after the return; on a CPU the arrays may be those of `batch`.
        """
        if self.kind == "pmap":
            mesh = local_mesh(self.devices)
            dealt = {key: x.reshape(mesh.size, -1, *x.shape[1:]) for key, x in batch.items()}
            return jax.device_put(dealt, NamedSharding(mesh, PartitionSpec(steps.AXIS)))
        sharding = NamedSharding(global_mesh(self.devices), PartitionSpec(steps.AXIS))
        return {
            key: jax.make_array_from_process_local_data(sharding, x) for key, x in batch.items()
        }

    def start(self, create: Callable[[], state.TrainState], weights: Any) -> state.TrainState:
        """A fresh state where it must lie; its backbone is that of `weights`, if there are any."""

        def begin(weights: Any) -> state.TrainState:
            fresh = create()
            return fresh if weights is None else state.with_backbone(fresh, weights)

        return jax.jit(begin, out_shardings=self.replicated)(weights)

    def place(self, tree: Any) -> Any:
        """A copy of a tree of arrays where the state lies; donating it leaves the source alone."""
        return jax.jit(lambda x: x, out_shardings=self.replicated)(jax.tree.map(np.asarray, tree))

    def to_global(self, tree: Any) -> Any:
        """The same buffers as arrays of all hosts."""
        return _relabel(tree, self.everywhere)

    def from_global(self, tree: Any) -> Any:
        """The inverse of `to_global`."""
        return _relabel(tree, self.replicated)


def _relabel(tree: Any, sharding: NamedSharding) -> Any:
    def relabel(x: jax.Array) -> jax.Array:
        shards = [shard.data for shard in x.addressable_shards]
        return jax.make_array_from_single_device_arrays(x.shape, sharding, shards)

    return jax.tree.map(relabel, tree)


def check_batch_size(batch_size: int, parts: int = 1) -> None:
    """Raises UserError where the devices can't share the global batch in equal parts."""
    count = jax.device_count()
    unit = count * parts
    if batch_size < 1 or batch_size % unit:
        near = max(unit, round(batch_size / unit) * unit)
        times = f" times accumulate={parts}" if parts > 1 else ""
        raise UserError(
            f"batch_size is a multiple of the {count} devices{times}; got {batch_size}, nearest is "
            f"{near}"
        )
