"""What holds for every test: flags, shape strictness, and where the data of the real experiments lies."""

from __future__ import annotations

import functools
import gzip
import os
from collections.abc import Callable
from pathlib import Path

import jax
import pytest
from absl import flags

# Names of parametrised tests hold what they are given. Compressed bytes must not hold the time, or processes that share the
# tests collect different ones.
gzip.compress = functools.partial(gzip.compress, mtime=0)

flags.FLAGS.mark_as_parsed()  # Grain's workers read absl flags, which pytest does not parse
jax.config.update("jax_numpy_rank_promotion", "raise")  # no silent (B,) - (B, 1)


@pytest.fixture
def dragon_data() -> Callable[[str], Path]:
    """Returns a function from a name below $DRAGON_DATA to its path; it skips the test where that is absent."""

    def find(name: str) -> Path:
        root = os.environ.get("DRAGON_DATA")
        if not root:
            pytest.skip("DRAGON_DATA is not set: no real data here")
        path = Path(root).expanduser() / name
        if not path.exists():
            pytest.skip(f"{name} is not in DRAGON_DATA={root}")
        return path

    return find
