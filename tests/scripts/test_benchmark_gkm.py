"""The gkm-SVM benchmark compares equal results."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"


@pytest.fixture
def benchmark_gkm(monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPTS))
    import benchmark_gkm

    return benchmark_gkm


def test_both_sides_find_the_same_machine(benchmark_gkm):
    codes, labels = benchmark_gkm.sequences(50, 0)
    test, _ = benchmark_gkm.sequences(10, 1)
    found, own, ours = benchmark_gkm.train(codes, labels)
    there, norms, theirs, _ = benchmark_gkm.train_directly(codes, labels)
    np.testing.assert_allclose(own, norms, rtol=1e-5)
    mine = benchmark_gkm.words(test, benchmark_gkm.KERNEL)
    across = benchmark_gkm.direct(mine, there) / np.outer(benchmark_gkm.norms(mine, benchmark_gkm.KERNEL), norms)
    expected = across[:, theirs.support_] @ theirs.dual_coef_[0] + theirs.intercept_[0]
    table = benchmark_gkm.OPERATOR.table(found, ours.coefficients / own)
    np.testing.assert_allclose(benchmark_gkm.decide(test, table, ours.rho), expected, atol=2e-3)
