"""A gapped k-mer SVM on the tutorial set of LS-GKM: NF-E2 ChIP-seq peaks in GM12878, sequences of 59 to 247 bases.

Takes 4 seconds on two CPU cores; test auROC 0.992 (of the published model, which has no valid set put by: 0.993).

dragon download lsgkm_nfe2          (into $DRAGON_DATA)
dragon train    --config=configs/gkmsvm_nfe2.py --workdir=runs/gkmsvm_nfe2
dragon evaluate runs/gkmsvm_nfe2 --split=test
"""

import dragon_jax


def get_config():
    c = dragon_jax.template(model="gkmsvm", source="fasta", l=10, k=6, d=3)  # as the published model
    name = "$DRAGON_DATA/lsgkm_nfe2/wgEncodeSydhTfbsGm12878Nfe2hStdAlnRep0"
    c.data.source.positives = dict(train=f"{name}.tr.fa", test=f"{name}.test.fa")
    c.data.source.negatives = dict(train=f"{name}.neg.tr.fa", test=f"{name}.neg.test.fa")
    c.data.source.length, c.data.source.fit = 247, "pad_left"  # the model reads each sequence in its own length
    c.data.split.name, c.data.split.valid, c.data.split.test = "hash", 0.1, 0.0
    return c
