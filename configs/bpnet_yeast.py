"""Where Tn5 cuts in yeast, base by base: profile and number of ATAC-seq cut sites of the central 256 of 512 bases.

dragon train --config=configs/bpnet_yeast.py --workdir=runs/bpnet_yeast
(ridge on 6-mers for the number of cuts alone, on the same windows: --config=configs/bpnet_yeast.py:kmer)

Valid, chromosomes X and V, one seed: Pearson of log(1 + cuts) 0.657 [0.638, 0.671], Spearman 0.588, where the ridge has 0.648
[0.634, 0.664] and 0.596; multinomial loss 33.16 a window, where the mean profile of train has 40.31 and an even one 40.28;
divergence of profiles 0.824 bits (0.894; half of the windows hold 4 cuts or fewer, so that no prediction comes near 0).
26 minutes on two CPU cores that eight other programs shared.

Reads the genome and the bigWig of cut sites in $DRAGON_DATA/yeast (`dragon download yeast`); chromosomes are held out.
"""

import dragon_jax


def get_config(model: str = "bpnet"):
    c = dragon_jax.template(model=model, source="genome")
    s = c.data.source
    s.genome, s.sizes = "$DRAGON_DATA/yeast/sacCer3.no_chrVII_chrXVI.fa.gz", "$DRAGON_DATA/yeast/chrom.sizes"
    s.counts, s.exclude = dict(atac=("$DRAGON_DATA/yeast/atac/atac_cut_sites.bw",)), ("chrM",)
    s.length, s.stride, s.counts_length, s.counts_margin = 512, 256, 256, 16
    c.data.split.name, c.data.split.duplicates = "chromosome", "drop"
    c.data.split.valid_values, c.data.split.test_values = ("chrX", "chrV"), ("chrIV",)
    if model == "bpnet":
        c.model.update(filters=32, stem_width=21, layers=6, output_length=256, profile_width=41, strands="none")
        c.augment.update(reverse_complement=0.5, shift=16)
        c.loss.count_weight = 30.0
        c.optim.update(
            learning_rate=4e-3, schedule="cosine", weight_decay=0.01, ema=0.99, warmup_fraction=0.05, clip_norm=1.0
        )
        c.train.update(batch_size=64, epochs=5.0, monitor="loss", patience=0)
    else:
        c.model.strengths = (1000.0, 300.0, 100.0, 30.0, 10.0, 3.0, 1.0, 0.3)
    return c
