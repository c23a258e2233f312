"""The plan of a transfer as a table for people."""

from __future__ import annotations

import math
from collections.abc import Sequence

from dragon_jax.data.dataset import Task
from dragon_jax.training.transfer.graft import Reference, sources
from dragon_jax.training.transfer.plan import Plan, Weight


def describe_plan(plan: Plan, reference: Reference, tasks: Sequence[Task]) -> str:
    """Returns one row for each weight: name, shape, where it comes from, what happens to it, its rate, when it learns.

    Raises:
        InputError: a weight that cannot be copied, see `graft.sources`.
    """
    origins = sources(plan, reference, tasks)
    head = ("weight", "shape", "from", "do", "rate", "learns in")
    rows: list[tuple[str, ...]] = [head]
    for weight in plan.weights.values():
        rows.append(
            (
                weight.name,
                " x ".join(map(str, weight.shape)) or "1",
                origins[weight.name],
                _action(weight, plan),
                f"{weight.rate:.4g}" if weight.rate else "-",
                _when(weight, plan),
            )
        )
    widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
    lines = [f"starts from {reference.name} (weights {str(reference.record['weights_sha256'])[:12]}):"]
    lines += ["  " + "  ".join(text.ljust(w) for text, w in zip(row, widths, strict=True)).rstrip() for row in rows]
    total = sum(math.prod(w.shape) for w in plan.weights.values() if not w.statistics)
    for stage, learning in zip(plan.stages, plan.learning, strict=True):
        count = sum(_numbers(plan.weights[name], plan.config.rank) for name in learning)
        named = f"stage '{stage.name}': " if plan.config.stages else ""
        beside = ", low-rank factors included" if any(plan.weights[name].adapted for name in learning) else ""
        lines.append(f"  {named}{count:,} numbers learn{beside}; the network has {total:,}")
    return "\n".join(lines)


def _action(weight: Weight, plan: Plan) -> str:
    return f"{weight.action} + {plan.config.adapter} of rank {plan.config.rank}" if weight.adapted else weight.action


def _when(weight: Weight, plan: Plan) -> str:
    if weight.statistics:
        module = weight.name.rpartition("/")[0]
        stages = [s.name for i, s in enumerate(plan.stages) if module not in plan.still(i)]
        return f"follows in {', '.join(stages)}" if stages else "never"
    return (
        ", ".join(s.name for s, names in zip(plan.stages, plan.learning, strict=True) if weight.name in names)
        or "never"
    )


def _numbers(weight: Weight, rank: int) -> int:
    size = math.prod(weight.shape)
    return rank * (size // weight.shape[-1] + weight.shape[-1]) if weight.adapted else size
