"""Transfer: a network that knows one composite site learns another, of the same two motifs, from 100 examples.

dragon train --config=configs/transfer.py:reference --workdir=runs/reference     (8,000 sequences with and without the first site)
dragon train --config=configs/transfer.py --config.init_from=runs/reference --workdir=runs/transfer
dragon train --config=configs/transfer.py:adapter --config.init_from=runs/reference --workdir=runs/adapter
dragon train --config=configs/transfer.py:scratch --workdir=runs/scratch         (the same 100 sequences and nothing before)
(quick: configs/transfer.py:reference,smoke first, then configs/transfer.py:smoke)

`init_from` is the run to start from, any finished run of the same network; here it is `runs/reference` unless another is given.
Valid auROC (one seed, 114 training sequences): scratch 0.923, stages 0.964, adapter 0.978, which trains 1,633 numbers in place of
10,849. The reference takes about 80 s on a busy core, the others 30 to 50 s each.
"""

import dragon_jax

MODES = ("stages", "adapter", "reference", "scratch", "smoke")


def get_config(argument: str = "stages"):
    words = [dragon_jax.choose(word, MODES, "argument of configs/transfer.py") for word in argument.split(",")]
    c = dragon_jax.template(model="convnet", source="simulation")
    c.model.filters, c.model.widths, c.model.pool_width = (32, 32), (12, 9), 0
    c.model.strands, c.model.dropout = "average", 0.1
    c.optim.learning_rate, c.train.monitor, c.train.patience = 3e-3, "auroc", 0
    source, reference = c.data.source, "reference" in words
    source.positives, source.negatives, source.seed = (4000, 4000, 0) if reference else (1050, 1050, 1)
    if reference:
        c.train.epochs = 10.0
    else:
        source.motif, source.task = "CTGNNNNNAGATAAG", "closer"  # the same half sites, three bases nearer
        c.data.split.valid, c.data.split.test, c.train.batch_size = 0.85, 0.1, 20
        c.train.steps, c.train.eval_every = 300, 30
        if "scratch" not in words:
            c.init_from = "runs/reference"
    if "adapter" in words:
        c.transfer.adapter, c.transfer.rank = "locon", 4
    elif c.init_from:
        c.transfer.stages = (
            dict(name="probe", train="head/.*", steps=100),  # the new task's columns only
            dict(name="full", steps=200, learning_rate=1e-3),  # then everything, slowly
        )
    if "smoke" in words:
        c.train.steps, c.train.eval_every = 10, 5
        if c.transfer.stages:
            c.transfer.stages = (dict(name="probe", train="head/.*", steps=5), dict(name="full", steps=5))
    return c
