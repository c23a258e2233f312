"""Quick start: the primer's convolutional network on simulated sequences with one planted motif; nothing to download.

./scripts/dragon train --config=configs/quickstart.py --workdir=runs/quickstart
"""

import dragon_jax


def get_config():
    c = dragon_jax.template(model="convnet", source="simulation")
    c.model.filters, c.model.widths = (32,), (16,)
    c.model.pool_width = 0  # over all positions
    c.model.strands = "average"
    c.model.dropout = 0.1
    c.optim.learning_rate = 1e-2
    c.train.epochs = 8.0
    c.train.monitor = "auroc"
    return c
