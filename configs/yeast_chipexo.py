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
        c.model.filters, c.model.width, c.model.pool_width, c.model.dilations = 96, 12, 10, (1,)
        c.model.bins, c.model.whole, c.model.dropout, c.model.dense = 3, True, 0.2, ()
        c.model.word_dim, c.model.word_scale, c.model.word_dropout = 64, 0.3, 0.1
        c.augment.mutate, c.augment.shift = 0.05, 20
        c.optim.learning_rate, c.optim.schedule, c.optim.weight_decay, c.optim.ema = 5e-3, "cosine", 0.05, 0.99
        c.optim.warmup_fraction, c.optim.clip_norm, c.train.motif_start = 0.1, 1.0, 0.8
        c.train.batch_size, c.train.epochs, c.train.monitor, c.train.patience = 256, 5.0, "auprc", 0
    else:
        c.model.kind, c.model.strengths = "linear", (1000.0, 300.0, 100.0, 30.0, 10.0, 3.0, 1.0, 0.3)
    return c
