"""DeepBind on one ENCODE ChIP-seq experiment with its settings calibrated as published: random search by cross-validation.

dragon train    --config="configs/deepbind_calibrated.py:ELK1_GM12878_ELK1_(1277-1)_Stanford" --workdir=runs/calibrated_ELK1
dragon evaluate runs/calibrated_ELK1 --split=test
(quick: --config="configs/deepbind_calibrated.py:ELK1_GM12878_ELK1_(1277-1)_Stanford,smoke")

30 settings on 3 folds of train, the number of steps chosen too, then 6 retrainings of the best; `provenance.json` holds all
that was tried. The data are those of `configs/deepbind_encode.py` (`dragon download deepbind_encode`): `_AC` trains (a hashed
15 % of it is valid, which the calibration does not see), `_B` is the published test set.

4,000 steps, the default here, were not run to their end; GABPA with --config.model.steps=1200 took 19 minutes on a core shared
with many processes: valid auROC 0.904, test 0.973 (published, 20,000 steps: 0.980). See `experiments/deepbind_calibration`.
"""

import dragon_jax


def get_config(argument: str = "ELK1_GM12878_ELK1_(1277-1)_Stanford"):
    name, _, mode = argument.partition(",")
    dragon_jax.choose(mode, ("", "smoke"), "mode, after the comma")
    c = dragon_jax.template(model="deepbind_calibrated", source="table")
    folder = "$DRAGON_DATA/deepbind_encode"
    c.data.source.paths = dict(train=f"{folder}/{name}_AC.seq.gz", test=f"{folder}/{name}_B.seq.gz")
    c.data.source.sequence_column, c.data.source.id_column = "seq", "EventID"
    c.data.source.label_columns = ("Bound",)
    c.data.split.name, c.data.split.valid, c.data.split.test = "hash", 0.15, 0.0
    c.data.negatives.name, c.data.negatives.per_positive = "dinucleotide", 5
    c.model.steps = 4000  # published: 20,000
    if mode == "smoke":
        c.model.trials, c.model.steps, c.model.retrained, c.data.negatives.per_positive = 4, 50, 2, 1
    return c
