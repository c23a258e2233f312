"""Digests and statistics do not depend on how the rows are cut, and joined parts give the same bits as one pass."""

import dataclasses
import json

import numpy as np
import pytest

from dragon_jax.data.dataset import Dataset, Task
from dragon_jax.data.fingerprints import BLOCK, RunningDigests, digest_columns
from dragon_jax.data.load import sequence_digest
from dragon_jax.data.rows import MemoryRows
from dragon_jax.data.survey import GC_BINS, Survey, gc_histogram, survey
from dragon_jax.training.losses import task_statistics

TASKS = (Task("bound"), Task("strength", "real"), Task("reads", "count"))


def make(n: int, seed: int = 0) -> Dataset:
    rng = np.random.default_rng(seed)
    targets = np.stack([rng.random(n) < 0.2, 1e4 + rng.normal(size=n), rng.poisson(4, n)], 1).astype(np.float32)
    targets[rng.random((n, 3)) < 0.3] = np.nan
    return Dataset(
        codes=rng.integers(0, 5, (n, 30)).astype(np.uint8),
        targets=targets,
        tasks=TASKS,
        ids=np.array([f"peak {i} é" for i in range(n)]),
        inputs={"signal": rng.normal(size=(n, 3)).astype(np.float32)},
        weights=rng.random(n).astype(np.float32),
    )


def in_pieces(data: Dataset, sizes: list[int]) -> Survey:
    result, start = Survey.empty(data.tasks, data.length), 0
    for size in [*sizes, len(data)]:
        result.add(data.take(np.arange(start, min(start + size, len(data)))))
        start += size
    return result


@pytest.mark.parametrize("n", [1, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK, 3 * BLOCK + 17])
@pytest.mark.parametrize("sizes", [[], [1], [5, BLOCK, 3], [BLOCK, BLOCK], [BLOCK + 1, 2, 0, 7]])
def test_pieces_have_the_digests_of_the_whole(n, sizes):
    data = make(n)
    found = in_pieces(data, sizes)
    assert found.rows == n
    assert found.fingerprint == data.fingerprint()
    assert found.row_fingerprint == data.row_fingerprint()
    assert found.sequence_digest == sequence_digest(data)


def test_every_change_shows_in_the_right_digests():
    data = make(BLOCK + 5)
    changed = {
        "codes": dataclasses.replace(data, codes=(data.codes + 1) % 5),
        "targets": dataclasses.replace(data, targets=data.targets + 1),
        "inputs": dataclasses.replace(data, inputs={"signal": data.inputs["signal"] * 2}),
        "names": dataclasses.replace(data, inputs={"other": data.inputs["signal"]}),
        "dtype": dataclasses.replace(data, inputs={"signal": data.inputs["signal"].view(np.int32)}),
        "weights": dataclasses.replace(data, weights=None),
        "tasks": dataclasses.replace(data, tasks=(Task("other"), *TASKS[1:])),
        "order": data.take(np.arange(len(data))[::-1]),
        "last row": data.take(np.arange(len(data) - 1)),
        "shape": dataclasses.replace(data, codes=data.codes.reshape(-1, 30)[:, ::-1].copy()),
    }
    marks = {name: other.fingerprint() for name, other in changed.items()}
    assert len({*marks.values(), data.fingerprint()}) == len(marks) + 1
    renamed = dataclasses.replace(data, ids=np.roll(data.ids, 1))
    assert renamed.fingerprint() == data.fingerprint() and renamed.row_fingerprint() != data.row_fingerprint()
    relabelled = dataclasses.replace(data, targets=np.zeros_like(data.targets))
    assert sequence_digest(relabelled) == sequence_digest(data) != sequence_digest(renamed)


def test_byte_order_and_text_width_do_not_matter():
    values, names = np.arange(9, dtype="<f8"), np.array(["a", "bb", "é"] * 3)
    expected = digest_columns({"x": values, "id": names})
    assert digest_columns({"x": values.astype(">f8"), "id": names.astype("<U50")}) == expected
    assert digest_columns({"x": values, "id": names.astype(object)}) == expected
    assert digest_columns({"x": values, "id": np.array(["ab", "b", "é"] * 3)}) != expected


def test_columns_that_change_on_the_way_are_refused():
    running = RunningDigests()
    running.update({"x": np.zeros((3, 2))})
    for wrong in ({"x": np.zeros((3, 3))}, {"x": np.zeros((3, 2)), "y": np.zeros(3)}, {"x": np.zeros((3, 2), int)}):
        with pytest.raises(ValueError, match="expected"):
            running.update(wrong)
    with pytest.raises(ValueError, match="cannot be followed"):
        running.extend(running)


def test_joined_parts_are_the_same_to_the_bit_also_through_json():
    data = make(5 * BLOCK + 3)
    parts = []
    for start in range(0, len(data), 2 * BLOCK):
        part = Survey.empty(TASKS, 30)
        part.add(data.take(np.arange(start, min(start + 2 * BLOCK, len(data)))))
        parts.append(part)
    joined, reread = Survey.empty(TASKS, 30), Survey.empty(TASKS, 30)
    for part in parts:
        joined.extend(part)
        reread.extend(Survey.of(json.loads(json.dumps(part.state()))))
    assert json.dumps(joined.record()) == json.dumps(reread.record())
    assert joined.fingerprint == data.fingerprint()
    half = Survey.of(json.loads(json.dumps(in_pieces(data.take(np.arange(700)), []).state())))
    half.add(data.take(np.arange(700, len(data))))  # also in the middle of a block
    assert half.row_fingerprint == data.row_fingerprint()


def test_statistics_are_those_of_the_whole():
    data = make(4 * BLOCK + 100)
    found = survey(MemoryRows(data))
    expected = task_statistics(data.targets, TASKS)
    np.testing.assert_array_equal(found.measured, expected.measured)
    mean = found.total / found.measured
    np.testing.assert_allclose(mean, expected.mean, rtol=1e-13)
    np.testing.assert_allclose(found.centre, expected.mean, rtol=1e-13)
    spread = np.sqrt(found.deviations / found.measured)
    # A mean of 10,000 with a spread of 1: the sum of squares alone would leave eight digits
    np.testing.assert_allclose(spread[1], expected.scale[1], rtol=1e-12)
    assert mean[0] == expected.mean[0] and mean[2] == expected.mean[2]  # whole numbers: exact
    record = found.record()
    bound = data.targets[:, 0]
    assert record["statistics"]["positives"] == [int(np.nansum(bound)), None, None]
    assert record["statistics"]["missing"][0] == int(np.isnan(bound).sum())
    np.testing.assert_allclose(record["statistics"]["sum"], np.nansum(data.targets.astype(np.float64), 0))
    np.testing.assert_allclose(
        record["statistics"]["sum_of_squares"], np.nansum(data.targets.astype(np.float64) ** 2, 0)
    )
    assert json.loads(json.dumps(record)) == record


def test_a_task_without_labels_has_no_mean():
    data = dataclasses.replace(make(10), targets=np.full((10, 3), np.nan, np.float32))
    record = survey(MemoryRows(data)).record()
    assert record["statistics"]["mean"] == [None] * 3
    assert record["statistics"]["measured"] == [0, 0, 0]


def test_gc_bins_are_exact_at_their_edges():
    rows = np.array([[1] * 10, [0] * 10, [1] * 5 + [0] * 5, [4] * 10, [2, 0, 0, 0, 0, 4, 4, 4, 4, 4]], np.uint8)
    counts, known, strong = gc_histogram(rows)
    assert counts.sum() == 4  # a row without known bases is in no bin
    assert {int(i): int(counts[i]) for i in np.flatnonzero(counts)} == {GC_BINS - 1: 1, 0: 1, 25: 1, 10: 1}
    assert (known, strong) == (35, 16)
