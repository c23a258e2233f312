"""How many positions are left after convolutions with pooling, and how many bases one of them has seen."""

from __future__ import annotations

from collections.abc import Sequence

from dragon_jax.models.dense import check_widths


def check_towers(filters: Sequence[int], widths: Sequence[int], pools: Sequence[int]) -> None:
    """Raises ValueError when the three do not describe the same convolutions."""
    for name, values in (("filters", filters), ("widths", widths), ("pools", pools)):
        check_widths(name, tuple(values), empty=False)
        if len(values) != len(filters):
            raise ValueError(f"{name}: expected {len(filters)} values as in filters, found {len(values)}")


def tower_lengths(length: int, widths: Sequence[int], pools: Sequence[int], padding: str) -> list[int]:
    """Returns the positions left after each convolution (stride 1) and its pooling side by side.

    Raises:
        ValueError: a convolution or a pooling window is wider than what is left.
    """
    lengths, left = [], length
    for i, (width, pool) in enumerate(zip(widths, pools, strict=True)):
        after = left if padding == "same" else left - width + 1
        if after < 1:
            raise ValueError(
                f"widths: of {length} bases, convolution {i} sees {left} positions, fewer than its {width}. "
                "Use longer sequences, smaller pools or padding 'same'"
            )
        if pool > after:
            raise ValueError(f"pools: of {length} bases, {after} positions are left for pool {i}, found {pool}")
        left = after // pool
        lengths.append(left)
    return lengths


def receptive_field(widths: Sequence[int], pools: Sequence[int]) -> int:
    """Returns how many bases one position of the last pooling has seen, edges apart."""
    seen, step = 1, 1
    for width, pool in zip(widths, pools, strict=True):
        seen += (width - 1) * step + (pool - 1) * step
        step *= pool
    return seen
