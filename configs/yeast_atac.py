"""ATAC-seq cut sites of yeast as a regression from sequence: log(1 + cuts) in the central 200 of 500 bases.

dragon train --config=configs/yeast_atac.py --workdir=runs/yeast_atac
(the k-mer baseline on the same windows: --config=configs/yeast_atac.py:kmer)

Reads the genome and the bigWig of cut sites in $DRAGON_DATA/yeast (`dragon download yeast`); chromosomes are held out.
"""

import dragon_jax


def get_config(model: str = "hybrid"):
    c = dragon_jax.template(model=model, source="genome")
    s = c.data.source
    s.genome, s.sizes = "$DRAGON_DATA/yeast/sacCer3.no_chrVII_chrXVI.fa.gz", "$DRAGON_DATA/yeast/chrom.sizes"
    s.files, s.kind, s.exclude = dict(atac="$DRAGON_DATA/yeast/atac/atac_cut_sites.bw"), "real", ("chrM",)
    s.length, s.stride, s.label.core, s.label.summary, s.label.log1p = 500, 100, 200, "sum", True
    c.data.split.name, c.data.split.duplicates = "chromosome", "drop"
    c.data.split.valid_values, c.data.split.test_values = ("chrX", "chrV"), ("chrIV",)
    if model == "hybrid":
        c.model.filters, c.model.pool_width, c.model.dilations, c.model.dense = 32, 10, (1, 2), ()
        c.model.bins, c.model.whole, c.model.dropout = 5, True, 0.2
        c.model.word_dim, c.model.word_scale, c.augment.shift = 16, 0.1, 10
        c.optim.learning_rate, c.optim.schedule, c.optim.weight_decay, c.optim.ema = 3e-3, "cosine", 0.01, 0.99
        c.optim.warmup_fraction, c.optim.clip_norm, c.train.motif_start = 0.1, 1.0, 0.5
        c.train.batch_size, c.train.epochs, c.train.monitor, c.train.patience = 256, 4.0, "pearson", 0
    else:
        c.model.strengths = (1000.0, 300.0, 100.0, 30.0, 10.0, 3.0, 1.0, 0.3)
    return c
