"""Explanations of gkm-SVMs: by definition on small words, by their sum, and those published for the NF-E2 model."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from dragon_jax import dna
from dragon_jax.baselines.gkm_explain import explain
from dragon_jax.baselines.gkm_operator import norms, words
from dragon_jax.baselines.gkmsvm import GkmConfig, GkmModel
from dragon_jax.baselines.lsgkm_files import padded_codes, read_model
from dragon_jax.data.dataset import Task
from dragon_jax.errors import InputError
from dragon_jax.genome.fasta import read_fasta

NFE2 = "lsgkm_nfe2/wgEncodeSydhTfbsGm12878Nfe2hStdAlnRep0"


def model(tasks=1, **fields):
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 4, (4, 14), np.uint8)
    codes[1, 11:] = dna.UNKNOWN
    one = np.ones(tasks)
    return GkmModel(
        GkmConfig(**({"l": 5, "k": 3, "d": 2, "halving": 3.0} | fields)),
        tuple(Task(f"t{i}") for i in range(tasks)),
        14,
        codes,
        rng.normal(size=(4, tasks)),
        rho=0.3 * one,
        slope=one,
        offset=0 * one,
        strengths=one,
        gap=0 * one,
        products=np.ones(tasks, int),
    )


def brute(machine, codes, hypothetical):
    """Every pair of words, in the words of the definition."""
    kernel = machine.config.kernel
    h, l = kernel.mismatch(), kernel.l
    mine, theirs = words(codes, kernel), words(machine.vectors, kernel)
    own, other = norms(mine, kernel), norms(theirs, kernel)
    letters = [[(int(word) >> 2 * (l - 1 - p)) & 3 for p in range(l)] for word in range(4**l)]
    result = np.zeros((*codes.shape, 4))
    for n in range(len(codes)):
        for i in np.flatnonzero(mine.weight[n]):
            u = letters[mine.forward[n, i]]
            for s in range(len(machine.vectors)):
                for j in np.flatnonzero(theirs.weight[s]):
                    q = machine.coefficients[s, 0] * mine.weight[n, i] * theirs.weight[s, j] / own[n] / other[s]
                    for strand in (theirs.forward, theirs.reverse)[: 1 + kernel.both_strands]:
                        v = letters[strand[s, j]]
                        m = sum(a != b for a, b in zip(u, v, strict=True))
                        for p in range(l if m <= kernel.d else 0):
                            if u[p] == v[p]:
                                result[n, i + p, u[p]] += q * h[m] / (l - m)
                            elif hypothetical:
                                result[n, i + p, v[p]] += q * h[m - 1] / (l - m + 1)
    return result


@pytest.mark.parametrize("hypothetical", [False, True])
@pytest.mark.parametrize("fields", [{}, {"both_strands": False}, {"kind": "wgkm"}, {"kind": "gkm_cnt", "d": 0}])
def test_credit_is_what_the_definition_says(hypothetical, fields):
    machine = model(**fields)
    codes = np.random.default_rng(1).integers(0, 4, (3, 12), np.uint8)
    codes[0, 10:] = dna.UNKNOWN
    found = explain(machine, codes, hypothetical=hypothetical)
    np.testing.assert_allclose(found, brute(machine, codes, hypothetical), atol=2e-6)
    there = np.take_along_axis(found, np.where(codes == 4, 0, codes)[..., None], 2)[..., 0]
    np.testing.assert_allclose(there.sum(1), machine.predict(codes, raw=True)[:, 0] + 0.3, atol=1e-5)
    assert not found[0, 10:].any()


def test_what_cannot_be_explained_is_refused():
    with pytest.raises(InputError, match="of 2 tasks: expected one of t0, t1"):
        explain(model(2), ["ACGTACGT"])
    with pytest.raises(InputError, match="no task called 't7'"):
        explain(model(2), ["ACGTACGT"], "t7")
    with pytest.raises(InputError, match="gkmrbf is not linear in words"):
        explain(model(kind="gkmrbf"), ["ACGTACGT"])


def test_the_published_explanations(dragon_data):
    machine = read_model(dragon_data(f"{NFE2}.model.txt"))
    codes = padded_codes([r.bases for r in read_fasta(dragon_data(f"{NFE2}.test.fa"))])
    found = explain(machine, codes)
    lines = dragon_data(f"{NFE2}.test.explain.txt").read_text().splitlines()
    assert len(lines) == len(codes)
    for row, line in zip(found, lines, strict=True):
        expected = np.array([[float(x) for x in base.split(",")] for base in line.split("\t")[2].split(";")])
        np.testing.assert_allclose(row[: len(expected)], expected, atol=1e-6)


def test_a_model_fitted_elsewhere_is_explained_as_it_predicts():
    """Sequences of several lengths, and unknown bases that count as A."""
    machine = dataclasses.replace(model(), length=None)
    sequences = ["ACGTTGCANNACGTAGGCTANN", "TTGACCGTAAGC", "NNNNNACGTT"]
    found = explain(machine, sequences)
    assert found.shape == (3, 22, 4)
    sums = found.sum((1, 2)) - machine.rho[0]
    np.testing.assert_allclose(sums, machine.predict(sequences, raw=True)[:, 0], atol=2e-6)
    assert not found[1, 12:].any()


def test_long_sequences_are_cut_as_lsgkm_cuts_them():
    machine = dataclasses.replace(model(), length=None)
    bases = dna.decode(np.random.default_rng(2).integers(0, 4, 2500, np.uint8))
    with pytest.warns(UserWarning, match="1 of 2 sequences are cut after 2,047 bases"):
        found = machine.predict([bases, bases[:2047]], raw=True)
    assert found[0, 0] == found[1, 0]
