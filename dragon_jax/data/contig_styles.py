"""Names of one contig in two styles, which would hide overlaps: `chr1` in some rows and `1` in others."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dragon_jax.errors import InputError, show

_ROMAN = {"I": "1", "II": "2", "III": "3", "IV": "4", "V": "5", "VI": "6", "VII": "7", "VIII": "8", "IX": "9",
          "XI": "11", "XII": "12", "XIII": "13", "XIV": "14", "XV": "15", "XVI": "16"}  # fmt: skip  # X is a chromosome


def refuse_two_styles(chroms: Sequence[np.ndarray]) -> None:
    """Refuses rows whose contigs go by several names that differ in style only: `chr` before them, case, Roman numerals.

    Args:
        chroms: names of the contigs of each part, text `[N]`.

    Raises:
        InputError: with the first two names of one contig.
    """
    known: dict[str, str] = {}
    for name in sorted({str(n) for part in chroms for n in np.unique(part.astype(str)).tolist()}):
        bare = name[3:] if name.lower().startswith("chr") and len(name) > 3 else name
        key = _ROMAN.get(bare.upper(), bare.upper().replace("MT", "M"))
        if known.setdefault(key, name) != name:
            raise InputError(
                f"contigs '{show(known[key])}' and '{show(name)}' in one data set: expected one name for each contig, or rows that "
                "overlap between splits cannot be seen. Rename one, or set data.split.overlaps=ignore if they are different"
            )
