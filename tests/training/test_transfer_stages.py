"""Stages of a transfer: where each begins and ends, what is kept, and going on bit for bit from any checkpoint."""

import json
import shutil
import subprocess
import sys

import jax
import numpy as np
import pytest

from dragon_jax.errors import InputError
from dragon_jax.training.checkpoints import Checkpoints
from dragon_jax.training.trainer import Stopped, best_variables
from dragon_jax.training.transfer.names import flat
from tests.runs.helpers import environment
from tests.training.transfer_made import BASSET, reference, spec, trainer

STAGES = [
    {"name": "probe", "train": "head/.*", "steps": 8, "learning_rate": 0.05},
    {"name": "top", "top": 1, "steps": 8, "patience": 1},
    {"name": "full", "epochs": 1.0, "learning_rate": 0.005},
]


def rows(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def ends(folder):
    """All that must agree between two runs."""
    checkpoints = Checkpoints(folder / "checkpoints")
    leaves = {s: {k: v.tobytes() for k, v in checkpoints.load(s).items()} for s in checkpoints.steps()}
    return leaves, {s: checkpoints.loop(s) for s in checkpoints.steps()}, (folder / "metrics.jsonl").read_bytes()


def test_each_stage_starts_from_the_best_weights_before_it_and_trains_only_its_own(tmp_path):
    seen = {}

    class Copies:
        """Keeps every checkpoint that is written, as a killed process would leave it."""

        def __call__(self, step):
            if step not in seen and (tmp_path / "checkpoints" / f"{step:08d}.json").exists():
                found = Checkpoints(tmp_path / "checkpoints")
                seen[step] = (found.load(step), found.loop(step))

    fitted = trainer(tmp_path, {"stages": STAGES}, beat=Copies()).run()
    stages = {r["step"]: r["stage"] for r in rows(tmp_path)}
    assert [r["step"] for r in rows(tmp_path)] == sorted(r["step"] for r in rows(tmp_path))
    assert list(dict.fromkeys(stages.values())) == ["probe", "top", "full"]
    loops = {step: loop["stage"] for step, (_, loop) in seen.items()}
    assert {step: loop["name"] for step, loop in loops.items()} == stages
    old = reference().weights["params"]
    for step, (leaves, _) in seen.items():
        params = flat(best_variables(leaves, False)["params"])
        assert np.array_equal(params["trunk/conv_0/kernel"], old["trunk/conv_0/kernel"]) == (stages[step] != "full")
        assert np.array_equal(params["trunk/conv_1/kernel"], old["trunk/conv_1/kernel"]) == (stages[step] == "probe")
    first_top = min(step for step in stages if stages[step] == "top")
    assert loops[first_top]["began"] == 8 and loops[first_top]["before"] == loops[8]["early"]["best_step"]
    values = {r["step"]: r["loss"] for r in rows(tmp_path) if r["split"] == "valid"}
    assert fitted.best_value == min(values.values()) == values[fitted.best_step]
    assert set(Checkpoints(tmp_path / "checkpoints").steps()) >= {fitted.best_step}


def test_a_stage_takes_up_the_best_weights_and_not_the_last(tmp_path):
    """No gain is enough, so the first evaluation stays the best; the second stage has a rate at which weights stay."""
    stages = [
        {"name": "moves", "steps": 12, "learning_rate": 0.5},
        {"name": "stays", "steps": 4, "learning_rate": 1e-12},
    ]
    t = trainer(tmp_path, {"stages": stages}, given=spec({"name": "sgd"}, min_delta=1e6, keep_checkpoints=9))
    t.run()
    best = t.checkpoints.loop(12)["stage"]["early"]["best_step"]
    first, last, after = (t.checkpoints.load(s)["params/trunk/conv_0/kernel"] for s in (best, 12, 16))
    assert best == 4 and np.abs(first - last).max() > 1e-3
    np.testing.assert_allclose(after, first, atol=1e-8)


def test_a_worse_later_stage_does_not_cost_the_best_weights(tmp_path):
    stages = [{"name": "good", "steps": 8}, {"name": "bad", "steps": 12, "learning_rate": 5.0}]
    fitted = trainer(tmp_path, {"stages": stages}, given=spec(keep_checkpoints=2)).run()
    assert fitted.best_step <= 8 and fitted.steps == 20
    assert Checkpoints(tmp_path / "checkpoints").loop(20)["early"]["best_step"] == fitted.best_step


def test_optimisers_and_schedules_begin_anew_with_each_stage(tmp_path):
    given = spec({"schedule": "linear"}, checkpoint_every=1)
    t = trainer(tmp_path, {"stages": [{"name": "one", "steps": 3}, {"name": "two", "steps": 3}]}, given=given)
    t.run()
    counts = {int(v) for k, v in t.checkpoints.load(6).items() if k.startswith("opt_state") and k.endswith("count")}
    assert counts == {3}


@pytest.mark.parametrize(
    ("config", "optim"),
    [({"stages": STAGES}, {"ema": 0.9}), ({"stages": STAGES[:2], "adapter": "locon", "rank": 2}, {})],
    ids=["stages", "adapters"],
)
def test_killed_after_any_checkpoint_it_ends_bit_for_bit(tmp_path, config, optim):
    """Each checkpoint is taken up as a process killed right after writing it would find it; the reference is gone by then."""
    whole, killed = tmp_path / "whole", []

    def copy(step):
        place = tmp_path / f"killed_{step}"
        if (whole / "checkpoints" / f"{step:08d}.json").exists() and not place.exists():
            shutil.copytree(whole, place)
            killed.append(step)

    given = spec(optim, checkpoint_every=3)
    trainer(whole, config, given=given, beat=copy).run()
    expected = ends(whole)
    assert {6, 8, 9, 12} <= set(killed)
    for step in (8, 9, 12):  # between the first stage and the second, inside the second, and after an evaluation there
        place = tmp_path / f"killed_{step}"
        trainer(place, config, given=given, origin=None).run()
        for mine, theirs in zip(ends(place), expected, strict=True):
            assert mine == theirs, step


def test_a_signal_inside_the_second_stage_saves_and_the_run_goes_on_bit_for_bit(tmp_path):
    config = {"stages": STAGES}
    trainer(tmp_path / "whole", config).run()
    looks = iter([*[0] * 9, *[15] * 100])
    with pytest.raises(Stopped) as stopped:
        trainer(tmp_path / "cut", config, stop=lambda: next(looks)).run()
    assert stopped.value.step == 10
    assert Checkpoints(tmp_path / "cut" / "checkpoints").loop(10)["stage"]["name"] == "top"
    trainer(tmp_path / "cut", config, origin=None).run()
    _, loops, metrics = ends(tmp_path / "cut")
    _, expected, expected_metrics = ends(tmp_path / "whole")
    assert metrics == expected_metrics and loops[max(loops)] == expected[max(expected)]
    last = [Checkpoints(tmp_path / f / "checkpoints").load(max(loops)) for f in ("cut", "whole")]
    assert {k: v.tobytes() for k, v in last[0].items()} == {k: v.tobytes() for k, v in last[1].items()}


def test_without_checkpoint_and_reference_there_is_nothing_to_start_from(tmp_path):
    with pytest.raises(InputError, match="no checkpoint and no reference"):
        trainer(tmp_path, origin=None).run()


DEVICES = """
import json, sys
sys.path.insert(0, {root!r})
from pathlib import Path
import numpy as np
from dragon_jax.training.transfer.names import flat
from tests.training.test_transfer_stages import STAGES
from tests.training.transfer_made import BASSET, trainer
t = trainer(Path({folder!r}), {{"stages": STAGES[:2]}}, BASSET)
fitted = t.run()
print(json.dumps([t.devices.count, {{k: np.asarray(v).tolist() for k, v in flat(fitted.variables["params"]).items()}}]))
"""


def test_eight_devices_give_the_numbers_of_one(tmp_path, request):
    root, folder = str(request.config.rootpath), tmp_path / "eight"
    env = environment(XLA_FLAGS="--xla_force_host_platform_device_count=8")
    code = DEVICES.format(root=root, folder=str(folder))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, timeout=300)
    assert done.returncode == 0, done.stderr
    count, found = json.loads(done.stdout.splitlines()[-1])
    assert count == 8 and jax.local_device_count() == 1
    one = flat(trainer(tmp_path / "one", {"stages": STAGES[:2]}, BASSET).run().variables["params"])
    for name, values in found.items():
        np.testing.assert_allclose(one[name], values, atol=2e-5, err_msg=name)
