"""The devices of a run: one mesh axis, the batch split along it, everything else copied to all."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from dragon_jax.errors import InputError
from dragon_jax.runtime import keep_freed_memory


class Devices:
    """All local devices as one mesh axis `data`.

    Attributes:
        count: number of devices.
        replicated, split: shardings of parameters and of batches.
    """

    def __init__(self):
        keep_freed_memory()  # before XLA starts its threads
        devices = jax.local_devices()
        self.count = len(devices)
        mesh = Mesh(np.array(devices), ("data",))
        self.replicated = NamedSharding(mesh, PartitionSpec())
        self.split = NamedSharding(mesh, PartitionSpec("data"))

    def check(self, name: str, batch_size: int) -> None:
        """Raises InputError when a batch cannot be split evenly."""
        if batch_size % self.count:
            raise InputError(
                f"{name}: expected a multiple of the {self.count} devices here, found {batch_size}. "
                f"{batch_size // self.count * self.count + self.count} would do"
            )

    def put(self, batch: Any) -> Any:
        """Returns a batch (tree of arrays `[B, ...]`) on the devices, split along B."""
        return jax.device_put(batch, self.split)

    def copy(self, tree: Any) -> Any:
        """Returns a tree of arrays on the devices, a copy on each."""
        return jax.device_put(tree, self.replicated)

    def describe(self) -> str:
        """Returns for example `1 cpu (cpu)` or `8 gpu (NVIDIA H100)`."""
        device = jax.local_devices()[0]
        return f"{self.count} {device.platform} ({device.device_kind})"
