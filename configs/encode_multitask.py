"""One network for the 109 ChIP-seq tracks of ENCODE-DREAM (10 cell lines), 100 bp, chr10 held out as valid.

dragon train --config=configs/encode_multitask.py --workdir=runs/encode_multitask
(quick: --config=configs/encode_multitask.py:smoke; the data: dragon download encode_dream_multitask)

Reads sequences_train.tsv.gz and labels_train.tsv.gz in $DRAGON_DATA/encode_dream_multitask; every column of the label file is a
task, so that any table of the same shape works.
"""

import dragon_jax


def get_config(mode: str = "full"):
    dragon_jax.choose(mode, ("full", "smoke"), "mode")
    c = dragon_jax.template(model="hybrid", source="table")
    folder = "$DRAGON_DATA/encode_dream_multitask"
    c.data.source.paths = dict(all=f"{folder}/sequences_train.tsv.gz")
    c.data.source.label_paths = dict(all=f"{folder}/labels_train.tsv.gz")
    c.data.source.chrom_column, c.data.source.start_column, c.data.source.end_column = "chrom", "start", "end"
    c.data.source.label_columns = ("*",)
    c.data.split.name, c.data.split.valid_values = "chromosome", ("chr10",)
    c.data.split.duplicates = "drop"
    c.model.filters, c.model.width, c.model.pool_width, c.model.bins = 96, 15, 4, 5
    c.model.dilations, c.model.block_width = (1, 1), 5
    c.model.dropout, c.model.dense, c.model.words = 0.2, (256,), ()
    c.augment.mutate, c.augment.shift = 0.02, 1
    c.optim.learning_rate, c.optim.schedule, c.optim.ema = 5e-3, "cosine", 0.99
    c.optim.weight_decay = 0.01
    c.train.batch_size, c.train.epochs, c.train.patience = 128, 14.0, 0
    c.train.monitor = "auroc"
    if mode == "smoke":
        c.train.steps, c.train.eval_every = 40, 20
    return c


def ablations():
    """One change each against the config as it is: bag of 6-mers beside it, one bin, no residual blocks, one strand, class weights."""
    yield from (
        {},
        {"model.words": (6,)},
        {"model.bins": 1},
        {"model.dilations": ()},
        {"model.strands": "none"},
        {"loss.class_weight": "balanced"},
    )
