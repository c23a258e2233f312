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
        c.model.update(filters=32, pool_width=10, dilations=(1, 2), dense=(), bins=5, whole=True, dropout=0.2)
        c.model.word_dim, c.model.word_scale, c.augment.shift = 16, 0.1, 10
        c.optim.update(
            learning_rate=3e-3, schedule="cosine", weight_decay=0.01, ema=0.99, warmup_fraction=0.1, clip_norm=1.0
        )
        c.train.update(batch_size=256, epochs=4.0, monitor="pearson", patience=0, motif_start=0.5)
    else:
        c.model.strengths = (1000.0, 300.0, 100.0, 30.0, 10.0, 3.0, 1.0, 0.3)
    return c
