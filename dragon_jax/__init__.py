"""Deep learning on regulatory DNA, in JAX.

    import dragon_jax
    run = dragon_jax.train(config, "runs/example")
    scores = dragon_jax.load("runs/example").predict(["ACGT..."])

Names are imported when they are first used, so that `import dragon_jax` stays light.
"""

from __future__ import annotations

from typing import Any

from dragon_jax.errors import choose as choose  # light, and configs need it

__version__ = "0.1.0"
__all__ = [
    "choose",
    "compare",
    "evaluate",
    "export",
    "finetune",
    "import_weights",
    "load",
    "prepare",
    "report",
    "simulate",
    "template",
    "train",
]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from dragon_jax import api

        return getattr(api, name)
    raise AttributeError(f"module 'dragon_jax' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
