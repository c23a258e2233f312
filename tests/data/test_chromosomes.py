"""Folds of chromosomes, a published scheme, and groups of loci."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from dragon_jax.data.chromosomes import SCHEMES, balanced_folds, locus_groups, locus_hash, scheme_splits
from dragon_jax.errors import InputError

HG38 = {  # bases of the chromosomes of GRCh38
    "chr1": 248956422, "chr2": 242193529, "chr3": 198295559, "chr4": 190214555, "chr5": 181538259, "chr6": 170805979,
    "chr7": 159345973, "chr8": 145138636, "chr9": 138394717, "chr10": 133797422, "chr11": 135086622, "chr12": 133275309,
    "chr13": 114364328, "chr14": 107043718, "chr15": 101991189, "chr16": 90338345, "chr17": 83257441, "chr18": 80373285,
    "chr19": 58617616, "chr20": 64444167, "chr21": 46709983, "chr22": 50818468, "chrX": 156040895, "chrY": 57227415,
}  # fmt: skip


def totals(folds: dict[str, int], sizes: dict[str, int]) -> list[int]:
    return [sum(sizes[c] for c in folds if folds[c] == f) for f in range(max(folds.values()) + 1)]


@pytest.mark.parametrize("count", [2, 3, 5, 10])
def test_folds_of_the_human_genome_are_balanced(count):
    folds = balanced_folds(HG38, count)
    assert set(folds) == set(HG38)
    found = totals(folds, HG38)
    assert len(found) == count
    assert (max(found) - min(found)) / np.mean(found) < {2: 0.001, 3: 0.001, 5: 0.02, 10: 0.04}[count]
    assert folds["chr1"] == 0
    shuffled = dict(sorted(HG38.items(), key=lambda item: item[0][::-1]))
    assert balanced_folds(shuffled, count) == folds


def test_folds_come_close_to_the_best_division():
    rng = np.random.default_rng(0)
    worst = 0.0
    for _ in range(40):
        sizes = {f"c{i}": int(s) for i, s in enumerate(rng.integers(1, 1000, 8))}
        best = min(
            max(totals(dict(zip(sizes, f, strict=True)), sizes))
            for f in itertools.product(range(3), repeat=8)
            if len(set(f)) == 3
        )
        worst = max(worst, max(totals(balanced_folds(sizes, 3), sizes)) / best)
    assert worst < 1.1


def test_no_fold_is_empty():
    assert sorted(balanced_folds({"a": 100, "b": 0, "c": 0}, 3).values()) == [0, 1, 2]
    assert sorted(balanced_folds({"a": 7, "b": 7}, 2).values()) == [0, 1]
    with pytest.raises(InputError, match=r"5 folds of chromosomes: expected at least 5 chromosomes, found 2 \(a, b\)"):
        balanced_folds({"a": 1, "b": 1}, 5)
    with pytest.raises(InputError, match="expected at least 2, found 1"):
        balanced_folds({"a": 1, "b": 1}, 1)


def test_the_published_human_folds():
    scheme = SCHEMES["human5"]
    tested = [name for fold in scheme.test for name in fold]
    assert sorted(tested) == sorted(HG38)  # each chromosome is tested once
    for test, valid in zip(scheme.test, scheme.valid, strict=True):
        assert not set(test) & set(valid)
        assert set(valid) <= set(HG38)
    assert scheme.test[0] == ("chr1", "chr3", "chr6")
    assert scheme.valid[0] == ("chr8", "chr20")
    assert scheme.test[4] == ("chr7", "chr13", "chr17", "chr19", "chr21", "chrX")
    assert "zenodo" in scheme.source


@pytest.mark.parametrize("prefix", ["chr", ""])
def test_rows_of_a_scheme(prefix):
    names = [n.removeprefix("chr") for n in HG38]
    chrom = np.array([prefix + n for n in names * 3])
    seen = np.zeros(72, int)
    for fold in range(5):
        rows = scheme_splits(chrom, "human5", fold)
        assert not (rows["test"] & rows["valid"]).any()
        assert set(chrom[rows["valid"]]) == {prefix + n.removeprefix("chr") for n in SCHEMES["human5"].valid[fold]}
        seen += rows["test"]
    assert (seen == 1).all()


def test_schemes_refuse_what_they_do_not_place():
    chrom = np.array(["chr1", "chrUn_KI270302v1", "chr6_GL000250v2_alt", "chr6_GL000250v2_alt"])
    with pytest.raises(InputError, match=r"3 rows lie on chromosomes that scheme 'human5' does not place \(chr6_GL"):
        scheme_splits(chrom, "human5", 0)
    with pytest.raises(InputError, match="expected fold 0 to 4, found 5"):
        scheme_splits(chrom, "human5", 5)
    with pytest.raises(InputError, match="expected one of human5, found 'human'; did you mean human5"):
        scheme_splits(chrom, "human", 0)


def naive_groups(chrom, start, end, distance):
    group = np.arange(len(start))
    for i in range(len(start)):
        for j in range(len(start)):
            apart = max(start[i], start[j]) - min(end[i], end[j])
            if chrom[i] == chrom[j] and apart <= distance:
                group[group == group[i]] = group[j]
    return group


@pytest.mark.parametrize("distance", [0, 5, 40])
def test_groups_agree_with_trying_all_pairs(distance):
    rng = np.random.default_rng(distance)
    for n in (0, 1, 7, 40, 60):
        start = rng.integers(0, 800, n)
        end = start + rng.integers(1, 30, n)
        chrom = rng.choice(["chr1", "chr10", "chr2"], n)
        group = locus_groups(chrom, start, end, distance)
        expected = naive_groups(chrom, start, end, distance)
        np.testing.assert_array_equal(group[:, None] == group, expected[:, None] == expected)
        assert sorted(set(group.tolist())) == list(range(len(set(group.tolist()))))


def test_a_long_region_holds_its_group_together():
    chrom = np.array(["chr1"] * 4)
    start, end = np.array([0, 10, 500, 1101]), np.array([1000, 20, 510, 1200])
    assert locus_groups(chrom, start, end, 100).tolist() == [0, 0, 0, 1]
    assert locus_groups(chrom, start, end, 101).tolist() == [0, 0, 0, 0]


def test_the_hash_of_a_group_does_not_depend_on_order_or_other_groups():
    rng = np.random.default_rng(0)
    n = 5000
    chrom, start = rng.choice(["chr1", "chr2"], n), rng.integers(0, 10**7, n)
    end = start + 200

    def share(rows, salt=""):
        group = locus_groups(chrom[rows], start[rows], end[rows], 300)
        return locus_hash(chrom[rows], start[rows], group, salt), group

    whole, group = share(np.arange(n))
    order = rng.permutation(n)
    np.testing.assert_array_equal(share(order)[0], whole[order])
    one = np.flatnonzero(chrom == "chr1")
    np.testing.assert_array_equal(share(one)[0], whole[one])
    assert len(np.unique(whole)) == len(np.unique(group))
    counts = np.histogram(np.unique(whole), 10, (0, 1))[0]
    assert ((counts - counts.mean()) ** 2 / counts.mean()).sum() < 9 + 5 * np.sqrt(18)
    assert (share(np.arange(n), "b")[0] != whole).any()
    np.testing.assert_allclose(locus_hash(np.array(["chr7"]), np.array([1000]), np.array([0])), [0.77537492], atol=1e-8)
