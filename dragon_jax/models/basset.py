"""`basset`: the network of DNA accessibility in many cells (Kelley, Snoek and Rinn, Genome Res. 26, 990-999, 2016).

With 600 bases and 164 tasks it has 4,135,064 trainable parameters and 5,400 running statistics. It was trained on one strand
by RMSprop (learning rate 0.002, decay 0.98) with kernel norms of at most 7: optim.max_norm=7.0.
"""

from __future__ import annotations

import dataclasses

from dragon_jax.models.tower import TowerConfig


@dataclasses.dataclass(frozen=True, kw_only=True)
class BassetConfig(TowerConfig):
    """The published network: PyTorch's conventions of batch normalisation and order of features (channels slow)."""

    name: str = "basset"
    dropout: float = 0.3
