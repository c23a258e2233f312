"""`deepstarr`: enhancer activity of 249-bp sequences (de Almeida et al., Nat. Genet. 54, 613-624, 2022).

With 249 bases and two real-valued tasks it has 622,722 trainable parameters and 2,016 running statistics. It was trained by
Adam (learning rate 0.002, batches of 128) on the squared error of both tasks.
"""

from __future__ import annotations

import dataclasses
from typing import Literal

from dragon_jax.models.normalization import Convention
from dragon_jax.models.tower import TowerConfig


@dataclasses.dataclass(frozen=True, kw_only=True)
class DeepSTARRConfig(TowerConfig):
    """The published network: Keras' conventions of batch normalisation and order of features (positions slow)."""

    name: str = "deepstarr"
    filters: tuple[int, ...] = (256, 60, 60, 120)
    widths: tuple[int, ...] = (7, 3, 5, 3)
    pools: tuple[int, ...] = (2, 2, 2, 2)
    padding: Literal["valid", "same"] = "same"
    dense: tuple[int, ...] = (256, 256)
    dropout: float = 0.4
    convention: Convention = "keras"
    flatten: Literal["channel", "position"] = "position"
