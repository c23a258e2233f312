"""Logistic regression on 7-mers, the baseline for one ENCODE ChIP-seq experiment; same data as configs/deepbind_encode.py.

dragon train    --config="configs/encode_kmer.py:REST_GM12878_NRSF_HudsonAlpha" --workdir=runs/kmer_REST
dragon evaluate runs/kmer_REST --split=test
(the data: dragon download deepbind_encode)
"""

import dragon_jax


def get_config(name: str = "REST_GM12878_NRSF_HudsonAlpha"):
    c = dragon_jax.template(model="kmer", source="table", k=(7,))
    folder = "$DRAGON_DATA/deepbind_encode"
    c.data.source.paths = dict(train=f"{folder}/{name}_AC.seq.gz", test=f"{folder}/{name}_B.seq.gz")
    c.data.source.sequence_column, c.data.source.id_column = "seq", "EventID"
    c.data.source.label_columns = ("Bound",)
    c.data.split.name, c.data.split.valid, c.data.split.test = "hash", 0.15, 0.0
    c.data.negatives.name, c.data.negatives.per_positive = "dinucleotide", 3  # 8,192 columns each
    return c
