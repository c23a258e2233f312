"""A transformer on motif detectors: simulated grammar, NANOG peaks or ENCODE-DREAM.

dragon train    --config=configs/transformer.py --workdir=runs/transformer
dragon evaluate runs/transformer --split=test
(quick: --config=configs/transformer.py:smoke; real data: --config=configs/transformer.py:nanog, --config=configs/transformer.py:encode)

Without an argument: the composite site of the quick start in 200 bp. `nanog`: NANOG peaks against other accessible regions,
200 bp (`dragon download nanog_h1`). `encode`: 109 tracks of ENCODE-DREAM, 100 bp (`dragon download encode_dream_multitask`).
Measured on a small budget only: `nanog` for 4 epochs on one strand (--config.train.epochs=4.0 --config.model.strands=none
--config.augment.reverse_complement=0.5) takes about one minute of CPU time and ends with valid auROC 0.703, still rising.
"""

import dragon_jax


def get_config(argument: str = ""):
    source = {"nanog": "fasta", "encode": "table"}.get(argument, "simulation")
    if argument not in ("", "smoke", "nanog", "encode"):
        raise ValueError(f"expected nanog, encode, smoke or nothing, found {argument}")
    c = dragon_jax.template(model="transformer", source=source)
    c.model.filters, c.model.width, c.model.pool_width = 64, 15, 5
    c.model.dim, c.model.blocks, c.model.heads, c.model.hidden = 64, 2, 4, 128
    c.model.dropout, c.model.block_dropout = 0.2, 0.1
    c.augment.mutate, c.augment.shift = 0.03, 2
    c.optim.name, c.optim.learning_rate, c.optim.weight_decay = "adamw", 2e-3, 0.01
    c.optim.schedule, c.optim.warmup_fraction, c.optim.clip_norm, c.optim.ema = "cosine", 0.1, 1.0, 0.99
    c.train.batch_size, c.train.epochs, c.train.patience, c.train.monitor = 64, 10.0, 0, "auroc"
    if source == "simulation":
        c.data.source.length, c.data.source.positives, c.data.source.negatives = 200, 4000, 4000
        c.train.motif_start = 0.5
    else:
        c.data.split.name = "chromosome"
        (nanog if argument == "nanog" else encode)(c)
    if argument == "smoke":
        c.data.source.positives, c.data.source.negatives = 200, 200
        c.train.steps, c.train.eval_every = 10, 5
    return c


def nanog(c):
    folder = "$DRAGON_DATA/nanog_h1"
    c.data.source.positives = dict(all=f"{folder}/positives_train.fa.gz")
    c.data.source.negatives = dict(all=f"{folder}/negatives_train.fa.gz")
    c.data.source.task, c.data.source.regions_from_names = "NANOG", True
    c.data.split.valid_values, c.data.split.test_values = ("chr10", "chr11"), ("chr8", "chr9")


def encode(c):
    folder = "$DRAGON_DATA/encode_dream_multitask"
    c.data.source.paths = dict(all=f"{folder}/sequences_train.tsv.gz")
    c.data.source.label_paths = dict(all=f"{folder}/labels_train.tsv.gz")
    c.data.source.chrom_column, c.data.source.start_column, c.data.source.end_column = "chrom", "start", "end"
    c.data.source.label_columns = ("*",)
    c.data.split.valid_values, c.data.split.duplicates = ("chr10",), "drop"
    c.model.filters, c.train.batch_size, c.train.epochs = 128, 128, 4.0


def ablations():
    """One change each: no attention, attention blind to distance, mean pooling, detectors that start at random."""
    yield from (
        {},
        {"model.blocks": 0},
        {"model.positions": "none"},
        {"model.pooling": "mean"},
        {"train.motif_start": 0.0},
    )
