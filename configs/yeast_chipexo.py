"""ChIP-exo peaks of yeast proteins: 300-bp windows, one network for all proteins, chromosomes held out.

dragon train --config=configs/yeast_chipexo.py --workdir=runs/yeast_chipexo
(the k-mer baseline on the same windows: --config=configs/yeast_chipexo.py:kmer)

Reads the genome and 301 peak files in $DRAGON_DATA/yeast (`dragon download yeast`). Peaks are named chr1 to chr15, the genome
chrI to chrXV: `contigs = "roman"` joins them. A window is positive for a protein when a peak lies in its central 100
bases; windows with a peak of any protein stand beside as many without one, of the same G and C.
"""

import dragon_jax


def get_config(model: str = "hybrid"):
    c = dragon_jax.template(model=model, source="genome")
    s = c.data.source
    s.genome, s.sizes = "$DRAGON_DATA/yeast/sacCer3.no_chrVII_chrXVI.fa.gz", "$DRAGON_DATA/yeast/chrom.sizes"
    s.peaks, s.contigs, s.exclude = "$DRAGON_DATA/yeast/peaks/{task}_CX.bed.gz", "roman", ("chrM",)
    s.length, s.label.core, s.label.absent, s.min_positives = 300, 100, "zero", 5
    c.data.split.name, c.data.split.duplicates = "chromosome", "drop"
    c.data.split.valid_values, c.data.split.test_values = ("chrX", "chrV"), ("chrIV",)
    c.data.negatives.name = "matched"
    if model == "hybrid":
        c.model.update(filters=96, width=12, pool_width=10, dilations=(1,), bins=3, whole=True, dropout=0.2, dense=())
        c.model.word_dim, c.model.word_scale, c.model.word_dropout = 64, 0.3, 0.1
        c.augment.mutate, c.augment.shift = 0.05, 20
        c.optim.update(
            learning_rate=5e-3, schedule="cosine", weight_decay=0.05, ema=0.99, warmup_fraction=0.1, clip_norm=1.0
        )
        c.train.update(batch_size=256, epochs=5.0, monitor="auprc", patience=0, motif_start=0.8)
    else:
        c.model.kind, c.model.strengths = "linear", (1000.0, 300.0, 100.0, 30.0, 10.0, 3.0, 1.0, 0.3)
    return c
