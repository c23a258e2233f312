"""FactorNet with ATAC-seq cut sites beside the sequence: where 12 sequence-specific proteins of yeast bind, chromosomes held out.

dragon train --config=configs/factornet_yeast.py --workdir=runs/factornet_yeast
(the same network without the signal: --config=configs/factornet_yeast.py:sequence)

Reads the genome, 12 peak files and the bigWig of cut sites in $DRAGON_DATA/yeast (`dragon download yeast`). 300-bp windows with
a peak in their central 100 bases, and twice as many without one, of the same G and C. Two busy CPU cores: 2 to 4 minutes.
Seed 0, mean test auROC / auPRC: 0.825 / 0.233 with the signal, 0.803 / 0.248 without (valid 0.860 / 0.216 and 0.814 /
0.254). Open chromatin tells bound from unbound windows better, but less of the training goes into telling one protein from
another; with the signal ten times as large (no `profile_scale`) still less: 0.810 / 0.213.
"""

import dragon_jax

PROTEINS = ("Reb1", "Abf1", "Fkh1", "Cin5", "Sok2", "Mcm1", "Rap1", "Mig1", "Phd1", "Met4", "Hap3", "Fkh2")


def get_config(inputs: str = "signal"):
    dragon_jax.choose(inputs, ("signal", "sequence"), "inputs")
    c = dragon_jax.template(model="factornet", source="genome")
    s = c.data.source
    s.genome, s.sizes = "$DRAGON_DATA/yeast/sacCer3.no_chrVII_chrXVI.fa.gz", "$DRAGON_DATA/yeast/chrom.sizes"
    s.files = {name: f"$DRAGON_DATA/yeast/peaks/{name}_CX.bed.gz" for name in PROTEINS}
    s.contigs, s.exclude = "roman", ("chrM",)
    s.length, s.label.core, s.label.absent = 300, 100, "zero"
    if inputs == "signal":
        s.profiles = dict(signal=("$DRAGON_DATA/yeast/atac/atac_cut_sites.bw",))
        s.profile_scale, s.profile_log1p = dict(signal=(0.1,)), True
    c.data.split.name, c.data.split.duplicates = "chromosome", "drop"
    c.data.split.valid_values, c.data.split.test_values = ("chrX", "chrV"), ("chrIV",)
    c.data.negatives.name, c.data.negatives.per_positive = "matched", 2
    c.model.update(width=20, pool_width=15, dropout=0.0, train_strands="one")
    c.augment.reverse_complement, c.augment.shift = 0.5, 10
    c.optim.update(learning_rate=2e-3, schedule="cosine", warmup_fraction=0.1, ema=0.99)
    c.train.update(batch_size=100, epochs=30.0, monitor="auprc", patience=0, motif_start=0.5)
    return c


def ablations():
    """One change each against the first, the config as it is; the signal is taken away by the argument `sequence`."""
    yield from ({}, {"model.recurrent": 0}, {"model.recurrent": -1}, {"train.motif_start": 0.0})
