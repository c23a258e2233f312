"""A small reference network, made without training, and trainers that start from it."""

from __future__ import annotations

import functools
import json

import jax
import numpy as np

from dragon_jax.config import build
from dragon_jax.data.dataset import Dataset, Task
from dragon_jax.models.registry import make_model, model_config
from dragon_jax.runtime import enable_compilation_cache
from dragon_jax.sections import AugmentConfig, LossConfig, OptimConfig, TrainConfig, WeightingConfig
from dragon_jax.training.losses import task_statistics
from dragon_jax.training.trainer import TrainSpec
from dragon_jax.training.transfer.config import TransferConfig
from dragon_jax.training.transfer.graft import Reference, Scale
from dragon_jax.training.transfer.names import flat, follow
from dragon_jax.training.transfer.plan import make_plan
from dragon_jax.training.transfer.trainer import TransferTrainer

OLD, NEW = (Task("a"), Task("b"), Task("level", "real")), (Task("c"), Task("level", "real"), Task("a"))
CONVNET = {"name": "convnet", "filters": (8, 6), "widths": (8, 5), "pool_width": 0, "dropout": 0.1}
BASSET = {
    "name": "basset", "filters": (6, 6), "widths": (7, 5), "pools": (2, 2), "dense": (8,), "dropout": 0.1,
}  # fmt: skip


def data(n=128, length=40, seed=0):
    """Sequences whose targets follow from a planted word; of task c only its first half is planted."""
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, 4, (n, length)).astype(np.uint8)
    planted = rng.random(n) < 0.5
    codes[planted, 10:18] = [2, 0, 3, 0, 0, 1, 2, 2]
    level = 5 + 2 * planted + rng.normal(0, 0.3, n)
    targets = np.stack([planted, level, planted], 1).astype(np.float32)
    targets[rng.random(targets.shape) < 0.1] = np.nan
    return Dataset(codes=codes, targets=targets, tasks=NEW, ids=np.array([f"s{i}" for i in range(n)]))


def transfer(**fields):
    return build(TransferConfig, fields, "transfer")


def spec(optim=None, **train):
    values = dict(batch_size=16, steps=12, eval_every=4, tensorboard=False, patience=0) | train
    return TrainSpec(
        seed=3,
        optim=OptimConfig(**({"learning_rate": 0.02} | (optim or {}))),
        loss=LossConfig(),
        weighting=WeightingConfig(),
        augment=AugmentConfig(),
        train=TrainConfig(**values),
    )


@functools.cache
def fresh(fields: str, tasks: int, seed: int):
    """Variables of a network at its start; one compiled program is quicker than one for each of its operations."""
    model = make_model(model_config(json.loads(fields)), tasks)
    return jax.jit(lambda key, x: model.init(key, x, train=False))(jax.random.key(seed), {"codes": data(1).codes})


def reference(fields=None, tasks=OLD, **scale):
    """A network with random weights that nothing else starts from; running statistics are not those of a fresh one."""
    variables = fresh(json.dumps(fields or CONVNET), len(tasks), 77)
    rng = np.random.default_rng(5)
    weights = {
        collection: {
            name: np.asarray(x) + rng.uniform(0.1, 0.3, x.shape).astype(np.float32) for name, x in flat(tree).items()
        }
        for collection, tree in variables.items()
    }
    plain = {"shift": np.zeros(len(tasks)), "center": np.zeros(len(tasks)), "scale": np.ones(len(tasks))}
    return Reference("runs/old", tasks, Scale(**(plain | scale)), weights, {"weights_sha256": "0" * 64})


def plan_of(fields=None, tasks=NEW, **config):
    model = make_model(model_config(fields or CONVNET), len(tasks))
    return make_plan(*follow(model, {"codes": data(1).codes}), transfer(**config))


def trainer(folder, config=None, fields=None, given=None, origin="made", **kwargs):
    """A trainer of `fields` on `data`; `config` are the fields of the section transfer."""
    enable_compilation_cache()  # many trainers of one program
    train, valid = data(), data(64, seed=1)
    model = make_model(model_config(fields or CONVNET), len(NEW))
    plan = make_plan(*follow(model, {"codes": train.codes[:1]}), transfer(**(config or {})))
    origin = reference(fields) if origin == "made" else origin
    stats = task_statistics(train.targets, NEW)
    return TransferTrainer(
        given or spec(), model, train, valid, stats, folder, plan=plan, reference=origin, quiet=True, **kwargs
    )
