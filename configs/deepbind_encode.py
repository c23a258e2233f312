"""DeepBind on one ENCODE ChIP-seq experiment: 16 detectors of 24 bases, both strands, logistic loss on shuffled negatives.

dragon train    --config="configs/deepbind_encode.py:REST_GM12878_NRSF_HudsonAlpha" --workdir=runs/deepbind_REST
dragon evaluate runs/deepbind_REST --split=test
(quick: --config="configs/deepbind_encode.py:REST_GM12878_NRSF_HudsonAlpha,smoke")

The argument is the file prefix of an experiment in $DRAGON_DATA/deepbind_encode: `_AC` trains (a hashed 15 % of it is
valid), `_B` is the published test set. `dragon download deepbind_encode` brings seven experiments; any other of the same
format works in the same way.
"""

import dragon_jax


def get_config(argument: str = "REST_GM12878_NRSF_HudsonAlpha"):
    name, _, mode = argument.partition(",")
    dragon_jax.choose(mode, ("", "smoke"), "mode, after the comma")
    c = dragon_jax.template(model="deepbind", source="table")
    folder = "$DRAGON_DATA/deepbind_encode"
    c.data.source.paths = dict(train=f"{folder}/{name}_AC.seq.gz", test=f"{folder}/{name}_B.seq.gz")
    c.data.source.sequence_column, c.data.source.id_column = "seq", "EventID"
    c.data.source.label_columns = ("Bound",)
    c.data.split.name, c.data.split.valid, c.data.split.test = "hash", 0.15, 0.0
    c.data.negatives.name, c.data.negatives.per_positive = "dinucleotide", 5
    c.model.hidden, c.model.dropout, c.model.mean_pool = 32, 0.25, True
    c.augment.mutate = 0.03
    c.optim.learning_rate, c.optim.schedule = 5e-3, "cosine"
    c.optim.ema = 0.99
    c.train.balance = 0.5  # five shuffles of each peak, but half of every batch are peaks
    c.train.batch_size, c.train.steps, c.train.eval_every = 64, 8000, 400
    c.train.monitor, c.train.patience = "auroc", 0
    if mode == "smoke":
        c.train.steps, c.train.eval_every, c.data.negatives.per_positive = 60, 20, 1
    return c


def sweep():
    """Settings to compare on valid: with and without the hidden layer, width, dropout, learning rate."""
    for hidden in (0, 32):
        for width in (16, 24):
            for rate in (1e-3, 3e-3):
                yield {"model.hidden": hidden, "model.width": width, "optim.learning_rate": rate}


def ablations():
    """One change each against the first, the config as it is."""
    yield from ({}, {"model.hidden": 0}, {"model.mean_pool": False}, {"augment.mutate": 0.0}, {"optim.ema": 0.0})
