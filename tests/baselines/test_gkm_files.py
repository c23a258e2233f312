"""Model files of LS-GKM: round trip, damage, and the published NF-E2 model with its published scores."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from dragon_jax import dna, metrics
from dragon_jax.baselines.gkmsvm import GkmConfig, GkmModel
from dragon_jax.baselines.gkmsvm_fit import cross_validate
from dragon_jax.baselines.lsgkm_files import padded_codes, read_model, write_model
from dragon_jax.data.dataset import Dataset, Task
from dragon_jax.errors import InputError
from dragon_jax.genome.fasta import read_fasta

NFE2 = "lsgkm_nfe2/wgEncodeSydhTfbsGm12878Nfe2hStdAlnRep0"
OLD = """svm_type c_svc
kernel_type gkm_esttrunc
L 6
k 4
d 2
nr_class 2
total_sv 3
rho 0.25
label 1 -1
nr_sv 2 1
SV
0.5 ACGTTGACA
0.25 acgnnttgacag
-0.75 GGGTTTCCCAAAN
"""


def small(**fields):
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 4, (5, 20), np.uint8)
    codes[2, 15:] = codes[3, 4] = dna.UNKNOWN
    config = GkmConfig(**({"l": 6, "k": 4, "d": 2} | fields))
    vectors = np.array([[0.3, 0], [-0.7, 1 / 3], [0, -1 / 3], [0.1, 0.2], [0.3, -0.2]])
    two = np.ones(2)
    return GkmModel(
        config,
        (Task("a"), Task("b")),
        20,
        codes,
        vectors,
        rho=np.array([0.1, -0.2]),
        slope=two,
        offset=0 * two,
        strengths=two,
        gap=0 * two,
        products=np.ones(2, int),
    )


@pytest.mark.parametrize("kind", ["gkm_cnt", "wgkm", "wgkmrbf"])
@pytest.mark.parametrize("both", [True, False])
def test_what_is_written_is_read_again(tmp_path, kind, both):
    model = small(kind=kind, both_strands=both, peak=20.0, gamma=1 / 3)
    write_model(model, tmp_path / "model.txt", "b")
    again = read_model(tmp_path / "model.txt", "b")
    kernel = model.config.kernel  # the file holds what its kernel uses and nothing else
    unused = ({} if kernel.weighted else {"peak": 50.0}) | ({} if kernel.radial else {"gamma": 1.0})
    model = dataclasses.replace(model, config=dataclasses.replace(model.config, **unused))
    assert again.config == model.config and again.tasks == (Task("b"),) and len(again.vectors) == 4
    codes = np.random.default_rng(1).integers(0, 4, (9, 20), np.uint8)
    np.testing.assert_allclose(again.predict(codes, raw=True)[:, 0], model.predict(codes, raw=True)[:, 1], atol=1e-6)


def test_which_task_is_written_must_be_said(tmp_path):
    for task, said in ((None, "holds one task: expected one of a, b"), ("c", "no task called 'c'")):
        with pytest.raises(InputError, match=said):
            write_model(small(), tmp_path / "model.txt", task)
    assert not list(tmp_path.iterdir())


def test_an_older_file_reads_unknown_letters_as_a(tmp_path):
    (tmp_path / "old.txt").write_text(OLD)
    model = read_model(tmp_path / "old.txt")
    assert model.config.both_strands and model.rho == 0.25 and model.strengths == 0.75
    assert dna.decode_many(model.vectors) == ["ACGTTGACANNNN", "ACGAATTGACAGN", "GGGTTTCCCAAAA"]
    assert "3 support vectors" in model.describe() and "nan" not in model.describe()


def test_a_file_whose_first_label_is_negative_speaks_for_positives_all_the_same(tmp_path):
    (tmp_path / "one.txt").write_text(OLD)
    turned = OLD
    for here, there in (
        ("label 1 -1", "label -1 1"),
        ("nr_sv 2 1", "nr_sv 1 2"),
        ("rho 0.25", "rho -0.25"),
        ("\n0.5 A", "\n-0.5 A"),
        ("\n0.25 a", "\n-0.25 a"),
        ("\n-0.75 G", "\n0.75 G"),
    ):
        assert turned.count(here) == 1
        turned = turned.replace(here, there)
    (tmp_path / "two.txt").write_text(turned)
    one, two = (read_model(tmp_path / name) for name in ("one.txt", "two.txt"))
    np.testing.assert_array_equal(one.coefficients, two.coefficients)
    assert one.rho == two.rho


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("svm_type c_svc\n", "", "expected svm_type, found none"),
        ("svm_type c_svc", "svm_type epsilon_svr", "expected c_svc, found 'epsilon_svr'"),
        ("gkm_esttrunc", "linear", "kernel_type in .* expected gkm_cnt or"),
        ("L 6", "L six", "L in .* expected a whole number, found 'six'"),
        ("L 6", "L 6.7", "L in .* expected a whole number, found '6.7'"),
        ("total_sv 3", "total_sv 3.9", "total_sv in .* expected a whole number"),
        ("nr_class 2", "nr_class 3", "nr_class in .* expected 2, found '3'"),
        ("k 4\n", "k 4\nnorc 7\n", "norc in .* expected 0 or 1, found '7'"),
        ("gkm_esttrunc", "wgkm", "header of .* expected M, H for kernel wgkm, found none"),
        ("GGGTTTCCCAAAN\n", "GGGTTTCCCAAA", "line 14 of .* expected a line end, found none"),
        ("L 6", "L 40", "l: expected 3 <= x <= 12, found 40"),
        ("k 4\n", "k 4\ndegree 3\n", "line 5 of .* expected a header field of LS-GKM .* found 'degree 3'"),
        ("-0.75 GGGTTTCCCAAAN\n", "", "expected 3 support vectors as its header says .* found 2"),
        ("0.25 acgn", "0.25 acgj", "letter 'j' in line 13 of"),
        ("0.5 ACGTTGACA", "x ACGTTGACA", "line 12 of .* expected a coefficient other than 0 and a sequence"),
        ("nr_sv 2 1", "nr_sv 2", "nr_sv in .* expected two whole numbers"),
    ],
)
def test_damage_is_named(tmp_path, old, new, said):
    assert OLD.count(old) == 1
    (tmp_path / "model.txt").write_text(OLD.replace(old, new))
    with pytest.raises(InputError, match=said):
        read_model(tmp_path / "model.txt")


# ------------------------------------------------------------------------------------------------- published model


def published(dragon_data, part):
    """Returns codes and published scores of `test` or `neg.test`."""
    codes = padded_codes([r.bases for r in read_fasta(dragon_data(f"{NFE2}.{part}.fa"))])
    lines = dragon_data(f"{NFE2}.{part}.pred.txt").read_text().splitlines()
    scores = np.array([float(line.split()[1]) for line in lines])
    return codes, scores


def test_the_published_model_gives_the_published_scores(dragon_data):
    model = read_model(dragon_data(f"{NFE2}.model.txt"))
    for part in ("test", "neg.test"):
        codes, scores = published(dragon_data, part)
        np.testing.assert_allclose(model.predict(codes, raw=True)[:, 0], scores, atol=1e-5)


def training_set(dragon_data):
    """Returns the published training sequences, positives first, and their names."""
    parts = [list(read_fasta(dragon_data(f"{NFE2}.{part}.fa"))) for part in ("tr", "neg.tr")]
    records = [*parts[0], *parts[1]]
    targets = np.repeat(np.float32([1, 0]), [len(p) for p in parts])[:, None]
    codes = padded_codes([r.bases for r in records])
    data = Dataset(codes=codes, targets=targets, tasks=(Task("bound"),), ids=np.arange(len(targets)).astype(str))
    return data, [r.name for r in records]


def test_cross_validation_gives_the_published_scores(dragon_data):
    data, names = training_set(dragon_data)
    rows = [line.split() for line in dragon_data(f"{NFE2}.cvpred.txt").read_text().splitlines()]
    assert [r[0] for r in rows] == names
    fold, theirs = np.array([int(r[3]) for r in rows]), np.array([float(r[1]) for r in rows])
    one = fold == 1  # one fold of five against the rest: the others take as long each
    ours = cross_validate(GkmConfig(l=10, k=6, d=3), data, one.astype(int))[:, 0]
    np.testing.assert_allclose(ours[one], theirs[one], atol=1e-3)


def test_trained_from_the_same_sequences_it_is_the_published_model(dragon_data):
    train, _ = training_set(dragon_data)
    (positive, p), (negative, n) = (published(dragon_data, part) for part in ("test", "neg.test"))
    truth = np.repeat([1.0, 0.0], [len(p), len(n)])
    known = Dataset(
        codes=np.concatenate(
            [np.pad(c, ((0, 0), (0, 247 - c.shape[1])), constant_values=4) for c in (positive, negative)]
        ),
        targets=truth.astype(np.float32)[:, None],
        tasks=train.tasks,
        ids=np.arange(len(truth)).astype(str),
    )
    model = GkmConfig(l=10, k=6, d=3).fit(train, known)  # `known` calibrates probabilities only
    ours, theirs = model.predict(known.codes, raw=True)[:, 0], np.append(p, n)
    assert len(model.vectors) == 958 and abs(model.rho[0] - 0.379216) < 1e-3
    np.testing.assert_allclose(ours, theirs, atol=1e-3)  # both stop at violations below 1e-3
    assert metrics.spearman(ours, theirs) > 0.9999
    assert abs(metrics.auroc(ours, truth) - metrics.auroc(theirs, truth)) < 2e-3
