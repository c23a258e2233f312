"""Transfer in its parts: which weights go where, what learns, what is left out of the work, low-rank additions."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dragon_jax.data.dataset import Task
from dragon_jax.errors import InputError
from dragon_jax.models.convolution import conv1d
from dragon_jax.models.registry import MODELS, make_model, model_config
from dragon_jax.training.transfer.adapters import ADAPTERS, init_factors, merged, with_factors
from dragon_jax.training.transfer.graft import Scale, graft
from dragon_jax.training.transfer.names import flat, follow, layers, nested
from dragon_jax.training.transfer.table import describe_plan
from tests.training.transfer_made import BASSET, CONVNET, NEW, OLD, data, plan_of, reference, spec, trainer, transfer
from tests.training.transfer_made import fresh as start_of

HEAD, TRUNK = {"match": "head/.*"}, {"match": "trunk/.*"}


def on_device(tree):
    return jax.tree.map(jnp.asarray, tree)


def grafted(plan, origin, fields=None, tasks=NEW, scale=None):
    """The weights of the new network, and the fresh ones that it would have had."""
    model = make_model(model_config(fields or CONVNET), len(tasks))
    variables = start_of(json.dumps(fields or CONVNET), len(tasks), 0)
    bias = np.arange(len(tasks), dtype=np.float32) - 7
    fresh = model.config.start(variables["params"], bias)
    units = scale or Scale(np.zeros(len(tasks)), np.zeros(len(tasks)), np.ones(len(tasks)))
    others = {k: v for k, v in variables.items() if k != "params"}
    params, state = graft(plan, origin, fresh, others, tasks, units)
    return flat(params), {k: flat(v) for k, v in state.items()}, flat(fresh)


def test_by_default_the_trunk_and_the_columns_of_equal_tasks_are_copied_and_others_start_at_the_prior():
    origin = reference()
    new, _, fresh = grafted(plan_of(), origin)
    old = origin.weights["params"]
    for name in new:
        if name.startswith("trunk/"):
            np.testing.assert_array_equal(new[name], old[name])
    for name in ("head/kernel", "head/bias"):  # c is new; level and a were columns 2 and 0
        np.testing.assert_array_equal(new[name][..., 1:], old[name][..., [2, 0]])
        np.testing.assert_array_equal(new[name][..., 0], fresh[name][..., 0])
    assert new["head/bias"][0] == -7


def test_a_task_map_renames_and_wrong_names_kinds_and_shapes_are_refused():
    rules = [{**HEAD, "task_map": {"c": "b"}}, TRUNK]
    new, _, _ = grafted(plan_of(rules=rules), reference())
    np.testing.assert_array_equal(new["head/kernel"], reference().weights["params"]["head/kernel"][:, [1, 2, 0]])
    for task_map, match in (
        ({"c": "bb"}, r"no task called 'bb' in runs/old; did you mean b\?"),
        ({"d": "b"}, "no task called 'd' in the new data"),
        ({"level": "a"}, "task 'level' is real, but 'a' of runs/old is binary"),
    ):
        with pytest.raises(InputError, match=match):
            grafted(plan_of(rules=[{**HEAD, "task_map": task_map}, TRUNK]), reference())
    with pytest.raises(InputError, match=r"'head/bias' is to be frozen, but runs/old has no task for c"):
        grafted(plan_of(rules=[{**HEAD, "do": "freeze"}, TRUNK]), reference())
    wider = CONVNET | {"filters": (9, 6)}
    sentence = r"'trunk/conv_0/bias' is to be copied: expected the shape \[9\], found \[8\] in runs/old"
    with pytest.raises(InputError, match=sentence):
        describe_plan(plan_of(wider), reference(), NEW)
    deeper = CONVNET | {"filters": (8, 6, 6), "widths": (8, 5, 5)}
    with pytest.raises(
        InputError, match="'trunk/conv_2/bias' is to be copied, but runs/old has no such weight; the near"
    ):
        describe_plan(plan_of(deeper), reference(), NEW)
    rules = [{"match": "trunk/conv_2/.*", "do": "init"}, {"match": ".*"}]
    assert "trunk/conv_2/kernel  5 x 6 x 6  fresh" in describe_plan(plan_of(deeper, rules=rules), reference(), NEW)


def test_copied_columns_keep_their_probabilities_and_values_in_the_units_of_the_new_data():
    """Class weights shift logits of binary tasks, and real tasks are standardised: both differ between the two data sets."""
    old_units = dict(shift=np.array([0.5, 0, 0]), center=np.array([0, 0, 3.0]), scale=np.array([1, 1, 2.0]))
    origin = reference(**old_units)
    scale = Scale(np.array([0, 0, -0.25]), np.array([0, 5.0, 0]), np.array([1, 0.5, 1]))
    new, _, _ = grafted(plan_of(), origin, scale=scale)
    old_model, new_model = (make_model(model_config(CONVNET), 3) for _ in range(2))
    inputs = {"codes": data(20, seed=9).codes}
    old = np.asarray(
        old_model.apply(on_device({"params": nested(origin.weights["params"])}), inputs, train=False), np.float64
    )
    now = np.asarray(new_model.apply({"params": nested(new)}, inputs, train=False), np.float64)
    np.testing.assert_allclose(now[:, 1] * 0.5 + 5, old[:, 2] * 2 + 3, rtol=1e-5)
    np.testing.assert_allclose(now[:, 2] + 0.25, old[:, 0] - 0.5, rtol=1e-4, atol=1e-5)


def test_heads_of_several_columns_a_task_are_copied_task_by_task():
    fields = {"name": "bpnet", "filters": 6, "layers": 1, "tracks": 2, "heads": "original", "profile_softmax": "strand"}
    fields |= {"profile_width": 5, "stem_width": 5}
    old, tasks = (Task("x", "count"), Task("y", "count")), (Task("y", "count"), Task("z", "count"))
    origin = reference(fields, old)
    new, _, fresh = grafted(plan_of(fields, tasks), origin, fields, tasks)
    for name in ("head/profile/kernel", "head/counts/kernel", "head/counts/bias"):
        assert new[name].shape[-1] == 4
        np.testing.assert_array_equal(new[name][..., :2], origin.weights["params"][name][..., 2:])
        np.testing.assert_array_equal(new[name][..., 2:], fresh[name][..., 2:])


def test_running_statistics_go_with_their_module():
    origin = reference(BASSET)
    rules = [{"match": "trunk/norm_1/.*", "do": "init"}, {"match": ".*"}]
    _, state, _ = grafted(plan_of(BASSET, rules=rules), origin, BASSET)
    stats, old = state["batch_stats"], origin.weights["batch_stats"]
    np.testing.assert_array_equal(stats["trunk/norm_0/mean"], old["trunk/norm_0/mean"])
    np.testing.assert_array_equal(stats["trunk/norm_1/mean"], np.zeros(6))


@pytest.mark.parametrize(
    ("rules", "match"),
    [
        ([TRUNK], r"no rule matches head/bias, head/kernel: expected rules for all 6 weights"),
        (
            [{"match": "trunk/cnv_0/.*"}, {"match": ".*"}],
            r"rules\[0\].match: 'trunk/cnv_0/.\*' matches no weight; the nearest are trunk/conv_0/",
        ),
        (
            [{"match": ".*"}, HEAD],
            r"rules\[1\].match: 'head/.\*' decides nothing: all that it matches \(head/bias, head/kernel\)",
        ),
        ([{"match": "head"}, {"match": ".*"}], "'head' matches no weight"),  # whole names, never a part of one
        ([{"match": ".*", "do": "freeze"}], "nothing learns"),
    ],
)
def test_rules_must_cover_everything_and_all_be_used(rules, match):
    with pytest.raises(InputError, match=match):
        plan_of(rules=rules)


@pytest.mark.parametrize(
    ("fields", "match"),
    [
        (
            {"rules": [{"match": "(", "do": "copy"}]},
            r"transfer.rules\[0\].match: expected a regular expression, found '\('",
        ),
        ({"rules": [{"match": ".*", "do": "steal"}]}, r"transfer.rules\[0\].do: expected 'copy' or 'init' or 'freeze'"),
        ({"rules": [{"match": ".*", "rates": 2.0}]}, r"transfer.rules\[0\].rates: no such field; did you mean"),
        ({"stages": [{"name": "a"}, {"name": "a"}]}, "transfer.stages: expected names that differ, found 'a' twice"),
        ({"stages": [{"name": "a", "top": 1, "train": ".*"}]}, "top: expected 0 beside train"),
        ({"rank": 0}, "transfer.rank: expected 1 <= x"),
    ],
)
def test_sections_that_cannot_be_meant_are_refused_by_name(fields, match):
    with pytest.raises(InputError, match=match):
        transfer(**fields)


def test_stages_and_adapters_that_match_nothing_are_refused():
    with pytest.raises(
        InputError, match=r"stages 'probe': train: 'heads/.\*' matches no weight; the nearest are head/"
    ):
        plan_of(stages=[{"name": "probe", "train": "heads/.*"}])
    rules = [{**HEAD, "do": "init", "rate": 0}, TRUNK]
    with pytest.raises(InputError, match="'probe': nothing learns, all of head/bias, head/kernel is frozen"):
        plan_of(rules=rules, stages=[{"name": "probe", "train": "head/.*"}])
    with pytest.raises(InputError, match="'lora' fits none of them; 'locon' adds to convolutions"):
        plan_of(adapter="lora")
    with pytest.raises(InputError, match=r"adapter_match: 'trunk/dense.\*' matches no weight"):
        plan_of(adapter="lora", adapter_match="trunk/dense.*")


@pytest.mark.parametrize("name", MODELS)
def test_layers_hold_every_weight_once_and_the_head_is_on_top(name):
    shapes, order = follow(make_model(model_config({"name": name}), 2), {"codes": np.zeros((1, 1000), np.uint8)})
    found = layers(shapes["params"], order)
    assert sorted(n for layer in found for n in layer) == sorted(shapes["params"])
    assert all(n.startswith("head/") for n in found[0]) and not any(n.startswith("head/") for n in sum(found[1:], []))
    assert all(any(len(shapes["params"][n].shape) > 1 for n in layer) for layer in found)


def test_rates_fall_from_the_head_down_and_normalisation_is_of_the_layer_before_it():
    plan = plan_of(BASSET, discriminative=0.5, rules=[{"match": "trunk/conv_0/.*", "rate": 0.1}, {"match": ".*"}])
    rates = {name: plan.weights[name].rate for name in plan.weights}
    assert rates["head/kernel"] == 1 and rates["trunk/dense_0/kernel"] == rates["trunk/dense_norm_0/scale"] == 0.5
    assert rates["trunk/conv_1/kernel"] == rates["trunk/norm_1/bias"] == 0.25
    assert rates["trunk/conv_0/kernel"] == 0.1 * 0.125 and rates["trunk/norm_0/bias"] == 0.125
    shapes, order = follow(
        make_model(model_config({"name": "transformer"}), 2), {"codes": np.zeros((1, 200), np.uint8)}
    )
    top = layers(shapes["params"], order)
    assert {n.split("/")[1] for n in top[2]} == {"block_1", "norm"} and len([n for n in top[3] if "block_0" in n]) > 8


def test_a_smaller_rate_moves_a_weight_by_as_much_less(tmp_path):
    """One step of gradient descent: the change is the rate times the gradient."""
    moved = []
    for rate in (1.0, 0.25):
        rules = [{"match": "trunk/conv_1/.*", "rate": rate}, {"match": ".*"}]
        t = trainer(
            tmp_path / str(rate), {"rules": rules}, given=spec({"name": "sgd", "momentum": 0.0}, steps=1, eval_every=1)
        )
        start = reference().weights["params"]["trunk/conv_1/kernel"]
        moved.append(flat(t.run().variables["params"])["trunk/conv_1/kernel"] - start)
    assert np.abs(moved[0]).max() > 1e-4
    np.testing.assert_allclose(moved[1], moved[0] / 4, atol=1e-6)


def started(t):
    """State at step 0, its batch and its compiled step."""
    state = t._start()[0]
    train = data(16)
    batch = {"codes": train.codes, "targets": train.targets}
    return state, jax.jit(t._step(t.model, False)).lower(state, t.devices.put(batch), {}).compile()


def test_frozen_weights_have_no_optimiser_state_and_no_backward_pass(tmp_path):
    """Counted in bytes and in operations of the compiled program: full, without the first layer, the head alone."""
    cases = {
        "all": {},
        "top": {"stages": [{"name": "top", "top": 1}]},
        "probe": {"stages": [{"name": "probe", "train": "head/.*"}]},
    }
    size = {"trunk/conv_0": 8 * 4 * 8 + 8, "trunk/conv_1": 5 * 8 * 6 + 6, "head": 6 * 3 + 3}
    learn = {"all": sum(size.values()), "top": size["trunk/conv_1"] + size["head"], "probe": size["head"]}
    work = {}
    for name, config in cases.items():
        state, compiled = started(trainer(tmp_path / name, config))
        moments = sum(x.nbytes for x in jax.tree.leaves(state.opt_state) if x.ndim)
        assert moments == 2 * 4 * learn[name]  # both moments of Adam, float32
        work[name] = compiled.cost_analysis()["flops"]
    assert work["probe"] < 0.5 * work["all"] and work["probe"] < work["top"] < 0.9 * work["all"], work


@pytest.mark.parametrize("optim", [{"max_norm": 0.5}, {"ema": 0.9, "weight_decay": 0.1, "l2": 0.1, "name": "adamw"}])
def test_frozen_weights_and_statistics_end_bit_for_bit_as_they_were(tmp_path, optim):
    rules = [{"match": "trunk/(conv|norm)_0/.*", "do": "freeze"}, {"match": ".*"}]
    t = trainer(tmp_path, {"rules": rules}, BASSET, spec(optim))
    end, old = t.run().variables, reference(BASSET).weights
    for collection in ("params", "batch_stats"):
        leaves = flat(end[collection])
        for name, x in leaves.items():
            same = np.asarray(x).tobytes() == old[collection][name].tobytes() if name.startswith("trunk/") else False
            assert same == name.startswith(("trunk/conv_0", "trunk/norm_0")), name
        assert all(x.dtype == np.float32 for x in leaves.values())


def test_a_frozen_batch_normalisation_uses_what_it_has_stored(tmp_path):
    """While training, the frozen trunk gives what it gives when predicting, whatever else is in the batch."""
    from dragon_jax.training.transfer.view import View, viewed

    fields = BASSET | {"dropout": 0.0}
    plan = plan_of(fields, stages=[{"name": "probe", "train": "head/.*"}, {"name": "full"}])
    model, old = make_model(model_config(fields), 3), reference(fields, NEW).weights
    variables = on_device({collection: nested(leaves) for collection, leaves in old.items()})
    codes = data(8).codes
    expected = model.apply(variables, {"codes": codes}, train=False)
    for stage, same in ((0, True), (1, False)):
        shown = viewed(model, View.of(plan, stage))
        logits, changed = shown.apply(variables, {"codes": codes}, train=True, mutable=["batch_stats"])
        assert np.allclose(logits, expected, atol=1e-6) == same
        kept = flat(changed["batch_stats"]) if changed else {}
        assert all(np.array_equal(x, old["batch_stats"][n]) for n, x in kept.items()) == same


def test_the_low_rank_kernel_is_the_two_layers_it_stands_for():
    """A convolution of width W to r channels and then one of width 1, beside the old one; likewise for a matrix."""
    rng = np.random.default_rng(0)
    draw = lambda *shape: jnp.asarray(rng.normal(size=shape), jnp.float32)  # noqa: E731
    kernel, a, b, x = draw(5, 4, 7), draw(5, 4, 2), draw(2, 7), draw(3, 20, 4)
    tree = with_factors({"trunk": {"conv": {"kernel": kernel}}}, {"trunk/conv/kernel/a": a, "trunk/conv/kernel/b": b})
    one = conv1d(x, merged(tree, 0.5)["trunk"]["conv"]["kernel"])
    two = conv1d(x, kernel) + 0.5 * conv1d(conv1d(x, a), b[None])
    np.testing.assert_allclose(one, two, atol=2e-5)
    flat_kernel, a, x = draw(4, 7), draw(4, 2), draw(3, 4)
    tree = with_factors({"d": {"kernel": flat_kernel}}, {"d/kernel/a": a, "d/kernel/b": b})
    np.testing.assert_allclose(x @ merged(tree, 0.5)["d"]["kernel"], x @ flat_kernel + 0.5 * (x @ a) @ b, atol=1e-5)


def test_factors_start_as_no_change_and_alone_learn():
    plan = plan_of(adapter="locon", rank=2, adapter_train=())
    factors = init_factors({n: plan.weights[n].shape for n in plan.adapted}, 2, jax.random.key(0))
    assert {n: x.shape for n, x in factors.items() if "conv_0" in n} == {
        "trunk/conv_0/kernel/a": (8, 4, 2),
        "trunk/conv_0/kernel/b": (2, 8),
    }
    params = nested(reference().weights["params"])
    same = flat(merged(with_factors(params, factors), 8.0))
    assert all(np.array_equal(x, flat(params)[n]) for n, x in same.items())
    assert plan.learning[0] == {"trunk/conv_0/kernel", "trunk/conv_1/kernel"}
    with_head = plan_of(adapter="locon").learning[0]
    assert with_head == plan.learning[0] | {"head/kernel", "head/bias"}


@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_an_adapted_network_ends_as_ordinary_weights_that_predict_as_it_did_in_training(tmp_path, ema):
    from dragon_jax.training.transfer.view import viewed

    t = trainer(tmp_path, {"adapter": "locon", "rank": 2}, given=spec({"ema": ema}))
    fitted = t.run()
    old, new = reference().weights["params"], flat(fitted.variables["params"])
    assert {n: x.shape for n, x in new.items()} == {n: w.shape for n, w in t.plan.weights.items()}
    difference = (new["trunk/conv_0/kernel"] - old["trunk/conv_0/kernel"]).reshape(-1, 8)
    assert np.linalg.matrix_rank(difference, tol=1e-4) == 2
    np.testing.assert_array_equal(new["trunk/conv_0/bias"], old["trunk/conv_0/bias"])
    state = on_device(t._restored(t._start()[0], fitted.best_step))
    inputs = {"codes": data(30, seed=4).codes}
    trained = state.ema or state.params
    assert ADAPTERS in trained
    during = viewed(t.model, t.view).apply({"params": trained}, inputs, train=False)
    after = t.model.apply(on_device(fitted.variables), inputs, train=False)
    np.testing.assert_allclose(during, after, atol=1e-6)
    moments = sum(x.nbytes for x in jax.tree.leaves(state.opt_state) if x.ndim)
    assert moments == 2 * 4 * (2 * (8 * 4 + 8) + 2 * (5 * 8 + 6) + 6 * 3 + 3)


def test_settings_that_cannot_stand_beside_a_transfer(tmp_path):
    with pytest.raises(InputError, match="train.motif_start: expected 0 with init_from"):
        trainer(tmp_path, given=spec(motif_start=0.5))
    with pytest.raises(InputError, match="optim.max_norm: expected 0 with transfer.adapter"):
        trainer(tmp_path, {"adapter": "locon"}, given=spec({"max_norm": 1.0}))


def test_the_table_says_of_every_weight_where_from_how_fast_and_when():
    stages = [{"name": "probe", "train": "head/.*"}, {"name": "full"}]
    text = describe_plan(plan_of(BASSET, stages=stages, discriminative=0.5), reference(BASSET, OLD), NEW).splitlines()
    rows = {line.split()[0]: line for line in text[2:]}
    assert text[0] == "starts from runs/old (weights 000000000000):"
    assert rows["head/kernel"].split("  ")[-4:] and "reference for level, a, fresh for c" in rows["head/kernel"]
    assert rows["head/kernel"].endswith("probe, full") and rows["trunk/conv_0/kernel"].endswith("full")
    assert "7 x 4 x 6" in rows["trunk/conv_0/kernel"] and "0.125" in rows["trunk/conv_0/kernel"]
    assert rows["trunk/norm_0/mean"].endswith("follows in full")
