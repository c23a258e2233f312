"""PWM scan on one ENCODE ChIP-seq experiment: the motif that tells train best among HOCOMOCO's 1,443, calibrated on valid.

dragon train    --config="configs/pwm.py:GABPA_GM12878_GABP_HudsonAlpha" --workdir=runs/pwm_GABPA
dragon evaluate runs/pwm_GABPA --split=test
(Kipoi's way, forward strand and rectified: --config="configs/pwm.py:GABPA_GM12878_GABP_HudsonAlpha,kipoi")

The argument is the file prefix of an experiment in $DRAGON_DATA/deepbind_encode (`dragon download deepbind_encode`); motifs come
from $DRAGON_DATA/motifs (`dragon download motifs`). Two busy CPU cores: 21 s. GABPA: FLI1 (the same ETS family) is chosen,
test auROC 0.964; REST: REST, 0.990.
"""

import dragon_jax
from dragon_jax.baselines.pwm import KIPOI


def get_config(argument: str = "GABPA_GM12878_GABP_HudsonAlpha"):
    name, _, style = argument.partition(",")
    dragon_jax.choose(style, ("", "kipoi"), "style, after the comma")
    fields = {k: v for k, v in KIPOI.items() if k != "calibrate"} if style == "kipoi" else {}
    c = dragon_jax.template(model="pwm", source="table", **fields)
    folder = "$DRAGON_DATA/deepbind_encode"
    c.data.source.paths = dict(train=f"{folder}/{name}_AC.seq.gz", test=f"{folder}/{name}_B.seq.gz")
    c.data.source.sequence_column, c.data.source.id_column = "seq", "EventID"
    c.data.source.label_columns = ("Bound",)
    c.data.split.name, c.data.split.valid, c.data.split.test = "hash", 0.15, 0.0
    c.data.negatives.name = "dinucleotide"
    c.model.motifs = "$DRAGON_DATA/motifs/H12CORE_meme_format.meme"
    return c


def ablations():
    """One change each against the first, the config as it is."""
    yield from ({}, {"model.strand": "forward"}, {"model.score": "logsum"}, {"model.rectify": True})
