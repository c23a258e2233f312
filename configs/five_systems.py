"""The primer's five systems and their neighbours on the same folds: which system, which data, which fold.

dragon train    --config="configs/five_systems.py:deepbind,nanog,0" --workdir=runs/five/deepbind_nanog_0
dragon evaluate runs/five/deepbind_nanog_0 --split=test
(all of them, and the table: python experiments/five_systems/run.py --workdir=runs/five)

First word: pwm, deepbind, gkmsvm, deepsea, factornet; kmer, hybrid, dilated, transformer. Second: `nanog` (NANOG peaks against
other accessible regions, 200 bp), `encode` (31 tracks of ENCODE-DREAM, 100 bp) or `yeast` (ChIP-exo of 12 proteins, and ATAC-seq
for `factornet_atac`). Third: fold 0 to 4; the chromosomes of a fold are test, those of the next are valid. Data:
`dragon download nanog_h1`, `dragon download encode_dream_multitask`, `dragon download motifs`, `dragon download yeast`. Cost and figures:
experiments/five_systems.
"""

import dragon_jax
from dragon_jax.files import expand

MOTIFS = "$DRAGON_DATA/motifs/H12CORE_meme_format.meme"
# The first track of each of the 31 factors in the file, because a machine or a motif is fitted to each track by itself.
TRACKS = (
    "A549|CEBPB A549|CTCF A549|E2F6 A549|GATA3 A549|MAX A549|MYC A549|TEAD4 GM12878|ATF7 GM12878|CREB1 GM12878|E2F1 "
    "GM12878|EGR1 GM12878|EP300 GM12878|GABPA GM12878|MAFK GM12878|RFX5 GM12878|SPI1 GM12878|SRF GM12878|TAF1 "
    "GM12878|TCF12 GM12878|YY1 GM12878|ZNF143 H1-hESC|ATF3 H1-hESC|NANOG H1-hESC|REST HCT116|JUND HCT116|TCF7L2 "
    "HeLa-S3|STAT3 HepG2|ARID3A HepG2|FOXA1 HepG2|FOXA2 HepG2|HNF4A"
)


def get_config(argument: str = "deepbind,nanog,0"):
    system, data, fold = (argument.split(",") + ["", ""])[:3]
    dragon_jax.choose(system, tuple(SYSTEMS), "system, first word")
    dragon_jax.choose(data, tuple(DATA), "data, second word")
    dragon_jax.choose(fold, ("0", "1", "2", "3", "4"), "fold, third word")
    model, settings = SYSTEMS[system]
    source = {"nanog": "fasta", "encode": "table", "yeast": "genome"}[data]
    fields = {"motifs": MOTIFS} if model == "pwm" else {}
    c = dragon_jax.template(model=model, source=source, **fields)
    c.data.split.name, c.data.split.folds, c.data.split.fold = "chromosome_folds", 5, int(fold)
    DATA[data](c)
    if system == "factornet_atac":
        c.data.source.profiles = dict(signal=("$DRAGON_DATA/yeast/atac/atac_cut_sites.bw",))
        c.data.source.profile_scale, c.data.source.profile_log1p = dict(signal=(0.1,)), True
    settings(c, data)
    return c


def nanog(c):
    folder = "$DRAGON_DATA/nanog_h1"
    c.data.source.positives = dict(all=f"{folder}/positives_train.fa.gz")
    c.data.source.negatives = dict(all=f"{folder}/negatives_train.fa.gz")
    c.data.source.task, c.data.source.regions_from_names = "NANOG", True


def encode(c):
    folder = "$DRAGON_DATA/encode_dream_multitask"
    c.data.source.paths = dict(all=f"{folder}/sequences_train.tsv.gz")
    c.data.source.label_paths = dict(all=f"{folder}/labels_train.tsv.gz")
    c.data.source.chrom_column, c.data.source.start_column, c.data.source.end_column = "chrom", "start", "end"
    c.data.source.label_columns = tuple(TRACKS.split())
    c.data.split.duplicates = "drop"


def yeast(c):
    """Twelve sequence-specific proteins, a peak centre in the central 100 of 300 bp, as configs/factornet_yeast.py."""
    names = ("Reb1", "Abf1", "Fkh1", "Cin5", "Sok2", "Mcm1", "Rap1", "Mig1", "Phd1", "Met4", "Hap3", "Fkh2")
    s = c.data.source
    s.genome, s.sizes = "$DRAGON_DATA/yeast/sacCer3.no_chrVII_chrXVI.fa.gz", "$DRAGON_DATA/yeast/chrom.sizes"
    s.files = {name: f"$DRAGON_DATA/yeast/peaks/{name}_CX.bed.gz" for name in names}
    s.contigs, s.exclude = "roman", ("chrM",)
    s.length, s.label.core, s.label.absent = 300, 100, "zero"
    c.data.split.duplicates = "drop"
    c.data.negatives.name, c.data.negatives.per_positive = "matched", 2


def pwm(c, data):
    """One motif a task, the best on train: of all for one task, of those named after any of the factors for many."""
    if data == "encode":
        c.model.candidates = tuple(motif_names({track.split("|")[1] for track in TRACKS.split()}))


def motif_names(factors):
    with open(expand(MOTIFS)) as lines:
        names = [line.split()[1] for line in lines if line.startswith("MOTIF")]
    return [name for name in names if name.split(".")[0] in factors]


def gkmsvm(c, data):
    """The defaults of LS-GKM."""


def kmer(c, data):
    if data == "encode":
        c.model.kind = "linear"  # ridge: all tasks from one decomposition


def network(c, data, rate, batch, epochs):
    """What all networks share: cosine schedule, averaged weights, the best evaluation on valid is kept."""
    c.optim.learning_rate, c.optim.schedule, c.optim.ema = rate, "cosine", 0.99
    c.train.batch_size, c.train.epochs, c.train.patience, c.train.monitor = batch, epochs, 0, "auroc"
    c.augment.mutate, c.augment.shift = 0.03, 4 if data == "nanog" else 1
    c.train.motif_start = 0.5  # half of the first filters start at words enriched in train


def deepbind(c, data):
    network(c, data, rate=5e-3, batch=64, epochs=36.0 if data == "nanog" else 18.0)
    c.model.hidden, c.model.dropout, c.model.mean_pool = 32, 0.25, True
    if data == "encode":
        c.model.detectors, c.model.hidden, c.train.batch_size = 128, 128, 128


def hybrid(c, data):
    network(c, data, rate=2e-3, batch=64, epochs=12.0)
    c.model.filters, c.model.width, c.model.pool_width = 64, 15, 4
    c.model.dilations, c.model.block_width = (1, 1, 1), 3
    c.model.dropout, c.model.dense = 0.3, (64,)
    c.model.words, c.model.word_dim, c.model.word_scale = (6,), 2, 0.3
    if data == "encode":  # as configs/encode_multitask.py
        c.model.filters, c.model.bins, c.model.dilations, c.model.block_width = 96, 5, (1, 1), 5
        c.model.dropout, c.model.dense, c.model.words = 0.2, (256,), ()
        c.optim.learning_rate, c.optim.weight_decay, c.train.batch_size = 5e-3, 0.01, 128


def deepsea(c, data):
    """A quarter as wide as published, as the data are few; 100 bp need the padding, see configs/deepsea.py."""
    network(c, data, rate=3e-3, batch=64, epochs=36.0 if data == "nanog" else 18.0)
    c.model.filters, c.model.dense = (80, 120, 240), (231,)
    c.optim.l2, c.optim.l1_activations, c.optim.max_norm = 5e-7, 1e-8, 0.9
    c.augment.reverse_complement = 0.5
    if data == "encode":
        c.model.padding, c.train.batch_size = "same", 128


def factornet(c, data):
    """The sizes of the smallest released models."""
    network(c, data, rate=2e-3, batch=64, epochs=12.0 if data == "nanog" else 18.0)
    if data == "encode":
        c.train.batch_size = 128
    if data == "yeast":  # as configs/factornet_yeast.py
        c.model.update(width=20, pool_width=15, dropout=0.0, train_strands="one")
        c.augment.update(reverse_complement=0.5, shift=10, mutate=0.0)
        c.optim.warmup_fraction = 0.1
        c.train.update(batch_size=100, epochs=30.0, monitor="auprc")


def dilated(c, data):
    network(c, data, rate=5e-3, batch=64, epochs=36.0 if data == "nanog" else 18.0)
    c.model.filters, c.model.stem_width, c.model.pool_width, c.model.layers = 64, 15, 4, 3
    c.model.first_dilation, c.model.strands, c.model.dropout = 1, "average", 0.3
    if data == "encode":
        c.train.batch_size = 128


def transformer(c, data):
    network(c, data, rate=2e-3, batch=64, epochs=36.0 if data == "nanog" else 6.0)
    c.model.filters, c.model.width, c.model.pool_width = 64, 15, 5
    c.model.dim, c.model.blocks, c.model.heads, c.model.hidden = 64, 2, 4, 128
    c.model.dropout, c.model.block_dropout = 0.2, 0.1
    c.optim.name, c.optim.weight_decay, c.optim.warmup_fraction, c.optim.clip_norm = "adamw", 0.01, 0.1, 1.0
    if data == "encode":
        c.model.filters, c.train.batch_size = 128, 128


DATA = {"nanog": nanog, "encode": encode, "yeast": yeast}
SYSTEMS = {
    "pwm": ("pwm", pwm),
    "deepbind": ("deepbind", deepbind),
    "gkmsvm": ("gkmsvm", gkmsvm),
    "kmer": ("kmer", kmer),
    "hybrid": ("hybrid", hybrid),
    "deepsea": ("deepsea", deepsea),
    "factornet": ("factornet", factornet),
    "factornet_atac": ("factornet", factornet),
    "dilated": ("dilated", dilated),
    "transformer": ("transformer", transformer),
}
