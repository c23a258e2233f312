"""Scores of released DeepBind models for sequences of any length, by the three conventions that are in use.

With detectors of m bases the original program looks at windows of w = floor(1.5 m) bases:

- `whole`: the sequence is one window, with m - 1 unknown bases (a quarter of each letter) on both sides. ChIP-seq models
  were trained and tested so.
- `program`: every window of w bases by itself, padded as above; the largest score. The default of the program.
- `kipoi`: the same windows, but they see their real neighbours: detectors run over the whole padded sequence, and w + m - 1
  neighbouring responses are pooled for each window.

A sequence of at most w bases is one window in all three. The score is linear, or has one layer of rectified hidden units;
DNA models take the larger score of both strands.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Float32, Int, UInt8

from dragon_jax.dna import UNKNOWN, one_hot, reverse_complement
from dragon_jax.models.deepbind_files import DeepBindParameters

Window = Literal["whole", "program", "kipoi"]
_CELLS = 1 << 22  # detector responses at a time
_STEP = 32  # lengths are rounded up to multiples of this: few shapes, few compilations


def score_windows(
    parameters: DeepBindParameters,
    sequences: Sequence[np.ndarray] | UInt8[np.ndarray, "N L"],
    window: Window,
    batch_size: int = 256,
) -> Float32[np.ndarray, " N"]:
    """Returns the original score of each sequence.

    Args:
        sequences: uint8 codes `[L]` of one or more bases each, of any lengths.
        window: convention, see the module.
        batch_size: sequences (windows, for `program`) at a time, fewer where they are long.
    """
    result = np.empty(len(sequences), np.float32)
    arrays = {k: jnp.asarray(v) for k, v in parameters.arrays().items()}
    lengths = np.array([len(s) for s in sequences])
    width = 3 * parameters.width // 2
    cut = window == "program"
    pieces = np.maximum(lengths - width + 1, 1) if cut else np.ones_like(lengths)
    order = np.argsort(lengths, kind="stable")  # neighbours are alike, so that little is padded
    at = 0
    while at < len(order):
        longest = min(int(lengths[order[at]]), width) if cut else int(lengths[order[at]])
        reach = -(-longest // _STEP) * _STEP + parameters.width - 1
        room = max(1, _CELLS // (reach * len(parameters.thresholds)))
        rows = min(batch_size, room, len(order) - at)
        if cut:  # whole sequences whose windows fit in a call, at least one
            rows = max(1, int(np.searchsorted(pieces[order[at : at + rows]].cumsum(), room, side="right")))
        else:  # only those that are about as long
            rows = int(np.searchsorted(lengths[order[at : at + rows]], -(-longest // _STEP) * _STEP, side="right"))
        chosen = order[at : at + rows]
        result[chosen] = _scored(parameters, arrays, [sequences[i] for i in chosen], window, width, room)
        at += rows
    return result


def _scored(
    parameters: DeepBindParameters,
    arrays: dict[str, Array],
    sequences: Sequence[np.ndarray],
    window: Window,
    width: int,
    room: int,
) -> Float32[np.ndarray, " n"]:
    both = parameters.reverse_complement
    strands = [list(sequences), [reverse_complement(s) for s in sequences]] if both else [list(sequences)]
    scores = []
    for strand in strands:
        begin = np.arange(len(strand))
        if window == "program":
            cut = [_windows(s, width) for s in strand]
            begin = np.cumsum([0, *(len(c) for c in cut[:-1])])
            strand = [row for c in cut for row in c]
        found = []
        for start in range(0, len(strand), room):  # one sequence may have more windows than fit
            part = strand[start : start + room]
            codes, lengths = _padded(part)
            if window == "kipoi":
                pool = width + parameters.width - 1
                values = _kipoi(arrays, codes, lengths, pool=pool, mean_pool=parameters.mean_pool)
            else:
                values = _whole(arrays, codes, lengths, mean_pool=parameters.mean_pool)
            found.append(np.asarray(values)[: len(part)])
        scores.append(np.maximum.reduceat(np.concatenate(found), begin))
    return np.maximum.reduce(scores)


def _windows(codes: UInt8[np.ndarray, " L"], width: int) -> np.ndarray:
    """All windows of a sequence, `[n, width]`; the sequence itself where it is shorter."""
    return codes[None] if len(codes) <= width else np.lib.stride_tricks.sliding_window_view(codes, width)


def _padded(rows: Sequence[np.ndarray]) -> tuple[UInt8[np.ndarray, "B L"], Int[np.ndarray, " B"]]:
    """Codes and lengths of rows side by side; both sizes are rounded up, so that few shapes occur."""
    lengths = np.array([len(r) for r in rows], np.int32)
    count = 1 << (len(rows) - 1).bit_length()
    codes = np.full((count, -(-int(lengths.max()) // _STEP) * _STEP), UNKNOWN, np.uint8)
    if (lengths == lengths[0]).all():
        codes[: len(rows), : lengths[0]] = rows
    else:
        for place, row in zip(codes, rows, strict=False):
            place[: len(row)] = row
    return codes, np.pad(lengths, (0, count - len(rows)), constant_values=1)


def _responses(arrays: dict[str, Array], codes: UInt8[Any, "B L"], lengths: Int[Any, " B"]) -> Float[Array, "B P D"]:
    """Rectified detectors at the L + m - 1 places where they touch a row; 0 behind its end, which no maximum notices."""
    kernel = arrays["detectors"]
    pad = kernel.shape[0] - 1
    x = jnp.pad(one_hot(codes, "float32", 0.25), ((0, 0), (pad, pad), (0, 0)), constant_values=0.25)
    sums = jax.lax.conv_general_dilated(
        x, kernel, (1,), "VALID", dimension_numbers=("NWC", "WIO", "NWC"), precision=jax.lax.Precision.HIGHEST
    )
    return jnp.where(_inside(sums, lengths + pad), jax.nn.relu(sums + arrays["thresholds"][None, None, :]), 0.0)


def _inside(values: Float[Array, "B P D"], sizes: Int[Array, " B"]) -> Bool[Array, "B P 1"]:
    return (jnp.arange(values.shape[1])[None, :] < sizes[:, None])[:, :, None]


def _dense(arrays: dict[str, Array], pooled: Float[Array, "... H"]) -> Array:
    highest = jax.lax.Precision.HIGHEST
    x = jnp.dot(pooled, arrays["weights1"], precision=highest)
    x = x + arrays["biases1"].reshape((1,) * (x.ndim - 1) + (-1,))
    if arrays["weights2"].shape[0]:
        x = jnp.dot(jax.nn.relu(x), arrays["weights2"], precision=highest) + arrays["biases2"].reshape((1,) * x.ndim)
    return x[..., 0]


def _joined(top: Float[Array, "... D"], mean: Float[Array, "... D"]) -> Float[Array, "... H"]:
    return jnp.stack([top, mean], -1).reshape(*top.shape[:-1], -1)  # max_0, mean_0, max_1, mean_1, ...


def _whole_scores(
    arrays: dict[str, Array], codes: UInt8[Any, "B L"], lengths: Int[Any, " B"], mean_pool: bool
) -> Float[Array, " B"]:
    responses = _responses(arrays, codes, lengths)
    pooled = responses.max(1)
    if mean_pool:
        places = lengths + (arrays["detectors"].shape[0] - 1)
        pooled = _joined(pooled, responses.sum(1) / places[:, None])
    return _dense(arrays, pooled)


def _kipoi_scores(
    arrays: dict[str, Array], codes: UInt8[Any, "B L"], lengths: Int[Any, " B"], pool: int, mean_pool: bool
) -> Float[Array, " B"]:
    """`pool` is how many neighbouring responses belong to a window."""
    responses = _responses(arrays, codes, lengths)
    responses = jnp.pad(responses, ((0, 0), (0, max(0, pool - responses.shape[1])), (0, 0)))
    shape, strides = (1, pool, 1), (1, 1, 1)
    pooled = jax.lax.reduce_window(responses, 0.0, jax.lax.max, shape, strides, "VALID")
    places = lengths + (arrays["detectors"].shape[0] - 1)
    if mean_pool:
        total = jax.lax.reduce_window(responses, 0.0, jax.lax.add, shape, strides, "VALID")
        pooled = _joined(pooled, total / jnp.minimum(places, pool)[:, None, None])
    scores = _dense(arrays, pooled)
    real = jnp.arange(scores.shape[1])[None, :] < jnp.maximum(places - pool + 1, 1)[:, None]
    return jnp.where(real, scores, -jnp.inf).max(1)


_whole = jax.jit(_whole_scores, static_argnames=("mean_pool",))
_kipoi = jax.jit(_kipoi_scores, static_argnames=("pool", "mean_pool"))
