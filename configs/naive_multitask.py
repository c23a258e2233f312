"""Does one network for 109 ChIP-seq tracks do better than a network for each? ENCODE-DREAM, 100 bp, chromosomes held out.

dragon train --config=configs/naive_multitask.py:joint --workdir=runs/joint --config.weighting.name=uncertainty
(one track: --config='configs/naive_multitask.py:GM12878|SPI1'; all of them, and the table: experiments/naive_multitask)

The same small network for one track or all: the first argument is `joint` or the name of a track. `dragon download encode_dream_multitask`.
Fold 0 of five of whole chromosomes is test, fold 1 valid. One core: about a minute a run.
"""

import dragon_jax


def get_config(argument: str = "joint"):
    c = dragon_jax.template(model="hybrid", source="table")
    folder = "$DRAGON_DATA/encode_dream_multitask"
    c.data.source.paths = dict(all=f"{folder}/sequences_train.tsv.gz")
    c.data.source.label_paths = dict(all=f"{folder}/labels_train.tsv.gz")
    c.data.source.chrom_column, c.data.source.start_column, c.data.source.end_column = "chrom", "start", "end"
    c.data.source.label_columns = ("*",) if argument == "joint" else (argument,)
    c.data.split.name, c.data.split.folds, c.data.split.fold = "chromosome_folds", 5, 0
    c.data.split.duplicates = "drop"
    c.model.update(
        filters=48, width=15, pool_width=4, bins=5, dilations=(1,), block_width=5, dropout=0.2, dense=(64,), words=()
    )
    c.augment.mutate, c.augment.shift = 0.02, 1
    c.optim.update(learning_rate=3e-3, schedule="cosine", warmup_fraction=0.05, ema=0.99, weight_decay=0.01)
    c.train.update(batch_size=128, epochs=8.0, patience=0, monitor="auroc")
    return c
