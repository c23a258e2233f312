"""Batches with a fixed share of positives: what they hold, and how to take it out of the probabilities again."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dragon_jax.data.dataset import Dataset, Task
from dragon_jax.data.order import BatchOrder
from dragon_jax.data.records import TfdsSplit
from dragon_jax.errors import InputError
from dragon_jax.sections import TrainConfig


def make_order(train: Dataset | TfdsSplit, config: TrainConfig, seed: int) -> BatchOrder:
    """Returns the order of the training rows, with a fixed share of positives when the config asks for it."""
    groups = shares = None
    if config.balance:
        column = first_binary_task(train.tasks)
        values = train.targets[:, column] if isinstance(train, Dataset) else train.column(column)
        groups = (values > 0.5).astype(np.int64)
        shares = {0: 1 - config.balance, 1: config.balance}
    return BatchOrder(len(train), config.batch_size, seed, groups, shares)


def balanced_share(tasks: Sequence[Task], config: TrainConfig) -> dict[int, float]:
    """Returns the share of positives in the batches by task column, where batches are balanced."""
    return {first_binary_task(tasks): config.balance} if config.balance else {}


def first_binary_task(tasks: Sequence[Task]) -> int:
    """Returns the column of the first binary task, the one that batches are balanced by."""
    for column, task in enumerate(tasks):
        if task.kind == "binary":
            return column
    raise InputError("train.balance: expected a binary task to balance by, found none. Set it to 0")
