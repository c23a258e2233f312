"""`metrics.jsonl` after a crash: what is whole is kept, what is torn is named once."""

from __future__ import annotations

import json

import pytest

from dragon_jax.runs.directory import RunDir
from dragon_jax.training.logs import MetricsLog, read_metrics

TORN = [b'{"step": 40, "spl', b"\x00" * 300, b'{"step": 40\xff}', b"17", b"{}", b'{"step": 20}{"step": 40}']


def lines(*steps: int) -> list[bytes]:
    return [json.dumps({"step": s, "split": "valid", "loss": 1.0}).encode() for s in steps]


@pytest.mark.parametrize("torn", TORN)
def test_a_torn_line_in_the_middle_costs_no_other(tmp_path, torn):
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b"\n".join([*lines(20), torn, *lines(60, 80), b""]))
    rows, where = read_metrics(path)
    assert [r["step"] for r in rows] == [20, 60, 80] and where == [2]
    with pytest.warns(
        UserWarning, match=r"metrics.jsonl: line 2 is torn .* and left out; all other lines are kept$"
    ) as w:
        assert len(RunDir(tmp_path).metrics()) == 3
    assert len(w) == 1
    log = MetricsLog(tmp_path, tensorboard=False, tasks=[], resume_step=60)
    assert "line 2 is torn" in log.note
    assert path.read_bytes() == b"\n".join([*lines(20, 60), b""])
    assert MetricsLog(tmp_path, tensorboard=False, tasks=[], resume_step=60).note == ""  # said once


def test_several_torn_lines_are_listed(tmp_path):
    (tmp_path / "metrics.jsonl").write_bytes(b"\n".join([b"x", *lines(20), b"y", b"z"]))
    log = MetricsLog(tmp_path, tensorboard=False, tasks=[], resume_step=20)
    assert "metrics.jsonl: lines 1, 3, 4 are torn" in log.note


def test_a_last_line_without_its_end_is_not_joined_to_the_next(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b"\n".join(lines(20, 40)))
    log = MetricsLog(tmp_path, tensorboard=False, tasks=[], resume_step=40)
    assert log.note == ""
    log.write({"step": 60, "split": "valid", "loss": 1.0}, {})
    assert path.read_bytes() == b"\n".join([*lines(20, 40, 60), b""])
