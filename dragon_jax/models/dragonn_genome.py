"""`dragonn_genome`: the network of DragoNN's tutorials on genome-wide data, three wide convolutions with batch normalisation.

With 1,000 bases and one task it has 136,151 trainable parameters: convolutions of 3,050, 37,550 and 32,550, a dense layer
of 62,550, the head 51, and 400 in the normalisations. The tutorials hold the kernels of the first convolution to a norm of 7;
optim.max_norm=7.0 holds all.
"""

from __future__ import annotations

import dataclasses
from typing import Literal

from dragon_jax.models.normalization import Convention
from dragon_jax.models.tower import TowerConfig


@dataclasses.dataclass(frozen=True, kw_only=True)
class DragonnGenomeConfig(TowerConfig):
    """The tutorials' layers: max pooling over 40 positions after the last convolution, dropout before the head."""

    name: str = "dragonn_genome"
    filters: tuple[int, ...] = (50, 50, 50)
    widths: tuple[int, ...] = (15, 15, 13)
    pools: tuple[int, ...] = (1, 1, 40)
    padding: Literal["valid", "same"] = "same"
    dense: tuple[int, ...] = (50,)
    dropout: float = 0.2
    convention: Convention = "keras"
    flatten: Literal["channel", "position"] = "position"
