"""Checkpoints: whole or not there, bit for bit, damage named, mismatches listed."""

import json
import shutil

import jax.numpy as jnp
import numpy as np
import pytest

from dragon_jax.errors import InputError, RunError
from dragon_jax.training.checkpoints import Checkpoints, restore, to_leaves

STATE = {
    "params": {"conv_1": {"kernel": jnp.arange(24.0).reshape(2, 3, 4), "bias": jnp.full(4, jnp.nan)}},
    "opt": (jnp.int32(7), {"mu": jnp.ones(3, jnp.bfloat16)}),
    "key": jnp.array([1, 2], jnp.uint32),
}


@pytest.fixture
def saved(tmp_path):
    checkpoints = Checkpoints(tmp_path / "run" / "checkpoints")
    for step in (100, 200, 300):
        checkpoints.save(STATE, step, {"early": {"best_step": 100}, "reason": ""})
    return checkpoints


def flip_a_bit(folder):
    path = max((p for p in folder.rglob("d/*") if p.is_file()), key=lambda p: p.stat().st_size)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def test_what_comes_back_is_what_was_saved_bit_for_bit(saved):
    leaves = saved.load(200)
    assert {k: (v.dtype, v.tobytes()) for k, v in leaves.items()} == {
        k: (v.dtype, v.tobytes()) for k, v in to_leaves(STATE).items()
    }
    restored = restore(STATE, leaves, "here")
    assert to_leaves(restored).keys() == to_leaves(STATE).keys()
    assert saved.loop(200)["early"]["best_step"] == 100


def test_a_flipped_bit_is_named_and_the_one_before_is_used(saved):
    flip_a_bit(saved.folder / "00000300")
    assert saved.latest() == 200
    assert "checkpoint 300" in saved.notes[0] and "does not match its recorded digest" in saved.notes[0]
    with pytest.raises(
        InputError, match=r"checkpoint 300 .* does not match .* Checkpoint 200 is intact: pass --step=200"
    ):
        saved.load(300)


def test_missing_files_and_unreadable_manifests_are_damage_too(saved):
    next(p for p in (saved.folder / "00000300").rglob("*") if p.is_file()).unlink()
    (saved.folder / "00000200.json").write_text("{")
    assert saved.latest() == 100
    assert len(saved.notes) == 2
    shutil.rmtree(saved.folder / "00000100")
    with pytest.raises(InputError, match="No checkpoint of .* is intact"):
        saved.latest()


def test_unfinished_saves_are_ignored_counted_and_replaced(saved):
    (saved.folder / "00000400").mkdir()
    (saved.folder / "00000400" / "part").write_text("x")
    (saved.folder / "00000500.orbax-checkpoint-tmp-1").mkdir()
    (saved.folder / "00000400.json.tmp").write_text("{")
    assert saved.latest() == 300
    saved.save(STATE, 400, {})
    assert saved.latest() == 400
    assert saved.clean() == 1  # the save of step 400 has replaced its own remains
    assert sorted(p.name for p in saved.folder.iterdir()) == sorted(
        f"{s:08d}{end}" for s in (100, 200, 300, 400) for end in ("", ".json")
    )


def test_only_the_wanted_steps_stay(saved):
    saved.keep([100, 300])
    assert saved.steps() == [100, 300]
    assert not (saved.folder / "00000200").exists()


def test_weights_that_do_not_fit_are_listed_by_path(saved):
    leaves = saved.load(100)
    other = {
        "params": {"conv_1": {"kernel": jnp.zeros((2, 3, 5)), "scale": jnp.zeros(4)}},
        "opt": (jnp.int32(0), {"mu": jnp.ones(3, jnp.float32)}),
        "key": STATE["key"],
    }
    with pytest.raises(InputError) as error:
        restore(other, leaves, "checkpoint 100")
    text = str(error.value)
    assert "params/conv_1/kernel: expected (2, 3, 5) float32, found (2, 3, 4) float32" in text
    assert "params/conv_1/bias: expected nothing, found (4,) float32" in text
    assert "opt/1/mu: expected (3,) float32, found (3,) bfloat16" in text
    assert "params/conv_1/scale: expected (4,) float32, found nothing" in text


def test_no_room_and_failing_disks_name_the_last_good_checkpoint(saved, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10, 10, 0))
    with pytest.raises(RunError, match=r"need about .* in .*run, 0 kB free; checkpoint 300 is intact"):
        saved.save(STATE, 400, {})
    monkeypatch.undo()

    def broken(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("dragon_jax.training.checkpoints._orbax_save", broken)
    with pytest.raises(RunError, match=r"could not save checkpoint 400 .*No space left.*checkpoint 300 is intact"):
        saved.save(STATE, 400, {})
    assert saved.latest() == 300


def test_a_manifest_lists_every_file_and_leaf(saved):
    manifest = json.loads((saved.folder / "00000100.json").read_text())
    on_disk = {
        p.relative_to(saved.folder / "00000100").as_posix()
        for p in (saved.folder / "00000100").rglob("*")
        if p.is_file()
    }
    assert set(manifest["files"]) == on_disk
    assert manifest["leaves"]["params/conv_1/kernel"] == [[2, 3, 4], "float32"]
    assert np.dtype(manifest["leaves"]["key"][1]) == np.uint32
