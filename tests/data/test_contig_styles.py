"""One contig under two names is refused; names that only look alike are not."""

import numpy as np
import pytest

from dragon_jax.data.contig_styles import refuse_two_styles
from dragon_jax.errors import InputError


@pytest.mark.parametrize(
    "names", [("chr1", "1"), ("chrI", "chr1"), ("I", "1"), ("chrM", "MT"), ("Chr2", "chr2"), ("chrIV", "4")]
)
def test_two_names_of_one_contig_are_refused_wherever_they_stand(names):
    for parts in ([np.array(names)], [np.array(names[:1]), np.array(names[1:])]):
        with pytest.raises(InputError, match="in one data set: expected one name for each contig"):
            refuse_two_styles(parts)


def test_different_contigs_pass():
    refuse_two_styles([])
    refuse_two_styles([np.array(["chrX", "chr10", "chr1", "chr11", "chrM", "chrUn_1", "chr1_alt", "chr"])])
    refuse_two_styles([np.array(["chrI", "chrII", "chrX", "chrIX"]), np.array(["chrI", "chrV"])])
