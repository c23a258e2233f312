"""An extra task that tells sequences from their own shuffles: motifs are then learned even where labels give little slope.

Where a label depends on two motifs standing close together, while both occur in every sequence, no single motif predicts
it and little draws the first layer towards motifs: whether a network finds the pair depends on its width and on luck.
Against a shuffle that keeps every dinucleotide count, each motif predicts. The task exists in train alone; valid and test
rows are not measured in it, so no figure of theirs contains it. (Shuffled negatives as in DeepBind, Alipanahi et al., Nat.
Biotechnol. 33, 831-838, 2015; here they carry no label of the user's tasks.)
"""

from __future__ import annotations

import dataclasses

import numpy as np

from dragon_jax.data.dataset import Dataset, Task, concatenate
from dragon_jax.data.lengths import text_array
from dragon_jax.dna import dinucleotide_shuffle
from dragon_jax.errors import InputError

CONTRAST = "contrast"


def add_contrast(splits: dict[str, Dataset], copies: int, seed: int) -> dict[str, Dataset]:
    """Returns the splits with one more task, last, and in train `copies` shuffles of each row.

    Rows of train have label 1 in it, shuffles 0; shuffles are not measured in any other task.

    Raises:
        InputError: a task of this name is there already.
    """
    if any(task.name == CONTRAST for data in splits.values() for task in data.tasks):
        raise InputError(f"data.negatives.contrast: a task is called '{CONTRAST}' already: expected another name")
    result = {}
    for name, data in splits.items():
        own = np.full((len(data), 1), 1.0 if name == "train" else np.nan, np.float32)
        tasks = (*data.tasks, Task(CONTRAST))
        wide = dataclasses.replace(data, targets=np.concatenate([data.targets, own], 1), tasks=tasks)
        parts = [wide] + [_shuffles(wide, copy, seed) for copy in range(copies if name == "train" else 0)]
        result[name] = dataclasses.replace(concatenate(parts), notes=data.notes)
    return result


def _shuffles(data: Dataset, copy: int, seed: int) -> Dataset:
    targets = np.full_like(data.targets, np.nan)
    targets[:, -1] = 0
    return dataclasses.replace(
        data,
        codes=dinucleotide_shuffle(data.codes, [seed, copy, 97]),  # 97: a stream of its own beside shuffled negatives
        targets=targets,
        ids=text_array([f"{name}_contrast{copy + 1}" for name in data.ids.tolist()]),
        notes={},
    )
