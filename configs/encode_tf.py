"""One config for any ENCODE ChIP-seq experiment of 101-bp windows: motif detectors with context beside a bag of 6-mers.

dragon train    --config="configs/encode_tf.py:REST_GM12878_NRSF_HudsonAlpha" --workdir=runs/encode_tf_REST
dragon evaluate runs/encode_tf_REST --split=test
(quick: --config="configs/encode_tf.py:REST_GM12878_NRSF_HudsonAlpha,smoke")

The argument is the file prefix of an experiment in $DRAGON_DATA/deepbind_encode: `_AC` trains (a hashed 15 % of it is
valid), `_B` is the published test set; `dragon download deepbind_encode` brings seven. Designed on the valid part alone;
see experiments/encode_chipseq.
"""

import dragon_jax


def get_config(argument: str = "REST_GM12878_NRSF_HudsonAlpha"):
    name, _, mode = argument.partition(",")
    dragon_jax.choose(mode, ("", "smoke"), "mode, after the comma")
    c = dragon_jax.template(model="hybrid", source="table")
    folder = "$DRAGON_DATA/deepbind_encode"
    c.data.source.paths = dict(train=f"{folder}/{name}_AC.seq.gz", test=f"{folder}/{name}_B.seq.gz")
    c.data.source.sequence_column, c.data.source.id_column = "seq", "EventID"
    c.data.source.label_columns = ("Bound",)
    c.data.split.name, c.data.split.valid, c.data.split.test = "hash", 0.15, 0.0
    c.data.negatives.name, c.data.negatives.per_positive = "dinucleotide", 5
    c.model.filters, c.model.width, c.model.pool_width = 64, 15, 4
    c.model.dilations, c.model.block_width = (1, 1, 1), 3
    c.model.dropout, c.model.dense = 0.3, (64,)
    c.model.words, c.model.word_dim, c.model.word_scale = (6,), 2, 0.3
    c.augment.mutate = 0.03
    c.optim.learning_rate, c.optim.schedule, c.optim.ema = 2e-3, "cosine", 0.99
    c.train.balance = 0.5  # five shuffles of each peak, but half of every batch are peaks
    c.train.batch_size, c.train.steps, c.train.eval_every = 128, 4000, 400
    c.train.monitor, c.train.patience = "auroc", 0
    if mode == "smoke":
        c.train.steps, c.train.eval_every, c.data.negatives.per_positive = 40, 20, 1
    return c


def sweep():
    """What the design was chosen from, on valid."""
    yield from ({"model.pool_width": p, "model.filters": f} for p in (1, 4) for f in (64, 128))


def ablations():
    """One change each against the config as it is: without words, without residual blocks, without mutations, one strand."""
    yield from (
        {},
        {"model.words": ()},
        {"model.dilations": ()},
        {"augment.mutate": 0.0},
        {"model.strands": "none"},
        {"optim.ema": 0.0},
    )
