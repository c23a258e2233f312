"""One network for the 109 ChIP-seq tracks of ENCODE-DREAM (10 cell lines), 100 bp, chr10 held out as valid.

dragon train --config=configs/encode_multitask.py --workdir=runs/encode_multitask
(quick: --config=configs/encode_multitask.py:smoke)

Reads sequences_train.tsv.gz and labels_train.tsv.gz in $DRAGON_DATA/encode_dream_multitask; every column of the label file is a
task, so that any table of the same shape works.
"""

import dragon_jax


def get_config(mode: str = "full"):
    c = dragon_jax.template(model="hybrid", source="table")
    folder = "$DRAGON_DATA/encode_dream_multitask"
    c.data.source.paths = dict(all=f"{folder}/sequences_train.tsv.gz")
    c.data.source.label_paths = dict(all=f"{folder}/labels_train.tsv.gz")
    c.data.source.chrom_column, c.data.source.start_column, c.data.source.end_column = "chrom", "start", "end"
    c.data.source.label_columns = ("*",)
    c.data.split.name, c.data.split.valid_values = "chromosome", ("chr10",)
    c.data.split.duplicates = "drop"
    c.optim.learning_rate, c.optim.schedule, c.optim.ema = 2e-3, "cosine", 0.995
    c.train.batch_size, c.train.epochs, c.train.patience = 256, 20.0, 0
    c.train.monitor = "auroc"
    if mode == "smoke":
        c.train.steps, c.train.eval_every = 40, 20
    return c
