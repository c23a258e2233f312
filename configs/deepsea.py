"""DeepSEA with its published layers and regularisation, and two versions of it for short windows.

dragon train    --config=configs/deepsea.py --workdir=runs/deepsea
dragon evaluate runs/deepsea --split=test
(quick: --config=configs/deepsea.py:smoke; short windows: --config=configs/deepsea.py:nanog, --config=configs/deepsea.py:encode)

Without an argument: 52 million weights on 2,000 simulated sequences of 1,000 bp, 300 steps of 32. `nanog` and `encode` are a
quarter as wide. `nanog`: NANOG peaks against other accessible regions, 200 bp (`dragon download nanog_h1`); the layers are
otherwise the published ones and leave 3 positions to the dense layer. `encode`: 109 tracks of ENCODE-DREAM, 100 bp
(`dragon download encode_dream_multitask`); here convolutions keep the length (padding `same`), or the third would not fit.

As published: both strands in training, one at a time, and the mean of their probabilities afterwards; L2 penalty 5e-7, L1
penalty 1e-8 on the last hidden layer, kernel norms of at most 0.9, stochastic gradient descent with momentum. Those penalties
belong to a loss that sums over tasks, ours is their mean: with many tasks the same ones weigh more here.
Its cost a step is in experiments/benchmark, the accuracy of a network a quarter as wide in experiments/five_systems; the full one
was not trained to its end.
"""

import dragon_jax


def get_config(argument: str = ""):
    source = {"nanog": "fasta", "encode": "table"}.get(argument, "simulation")
    if argument not in ("", "smoke", "nanog", "encode"):
        raise ValueError(f"expected nanog, encode, smoke or nothing, found {argument}")
    c = dragon_jax.template(model="deepsea", source=source)
    c.augment.reverse_complement = 0.5
    c.optim.name, c.optim.learning_rate, c.optim.momentum, c.optim.nesterov = "sgd", 0.05, 0.9, False
    c.optim.l2, c.optim.l1_activations, c.optim.max_norm = 5e-7, 1e-8, 0.9
    c.train.monitor, c.train.patience = "auroc", 0
    if source == "simulation":
        c.data.source.length, c.data.source.positives, c.data.source.negatives = 1000, 1000, 1000
        c.train.batch_size, c.train.steps, c.train.eval_every = 32, 300, 50
    else:
        narrow(c)
        c.train.batch_size, c.train.epochs = 64, 10.0
        c.data.split.name = "chromosome"
        (nanog if argument == "nanog" else encode)(c)
    if argument == "smoke":
        narrow(c)
        c.data.source.positives, c.data.source.negatives = 100, 100
        c.train.steps, c.train.eval_every = 10, 5
    return c


def narrow(c):
    """A quarter of the published widths."""
    c.model.filters, c.model.dense = (80, 120, 240), (231,)


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
    c.model.padding = "same"
