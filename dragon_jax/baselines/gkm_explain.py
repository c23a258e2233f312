"""What each base adds to the decision value of a gkm-SVM, after gkmexplain (Shrikumar et al. 2019), by l transforms.

A pair of words with m mismatches counts h(m), of which each of its l - m equal places is given `h(m) / (l - m)`. What
place p of a word u gets is therefore the sum over words v with the same letter there of `h'(m)`, m now counting
mismatches in the other l - 1 places and `h'(m) = h(m) / (l - m)`. As an operator this is the identity in place p and
depends on the number of mismatches alone in the others: diagonal under the same transform as the kernel (see
`gkm_operator`), with the eigenvalue `sum over m of h'(m) Kr_m(j)` for l - 1 places, j not counting place p. One table of
4^l for each place, shared by all sequences, is all it takes, however many support vectors there are.

A letter c that is not in the sequence is credited with what it would get from words v that have it in place p while u
does not: `h'(m - 1)` for m <= d mismatches, that is the same operator with one mismatch less, read at u with c put in.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float32, Float64

from dragon_jax import dna
from dragon_jax.baselines.gkm_kernels import Kernel, krawtchouk
from dragon_jax.baselines.gkm_operator import norms, transform, words
from dragon_jax.baselines.gkmsvm import GkmModel
from dragon_jax.baselines.ragged import as_lsgkm_reads
from dragon_jax.errors import InputError, listing, nearest


def explain(
    model: GkmModel, sequences: Iterable[str] | np.ndarray, task: str | None = None, *, hypothetical: bool = False
) -> Float32[np.ndarray, "N L 4"]:
    """Returns what each base of each sequence adds, float32 `[N, L, 4]`, columns A C G T.

    Only the column of the base that is there is filled (gkmexplain's mode 0), and all of a sequence's values sum to its
    decision value plus rho. Unknown bases are explained as the A that they count as; padding gets 0. For a model that was
    fitted elsewhere sequences may have several lengths; rows are as long as the longest.

    Args:
        sequences: as for `GkmModel.predict`. task: needed where there are several.
        hypothetical: fill the other columns with what those letters would be credited with (mode 1).

    Raises:
        InputError: no such task, none named of several, a radial kernel, or what `predict` refuses.
    """
    names = [t.name for t in model.tasks]
    if task is None and len(names) > 1:
        raise InputError(
            f"a gkm-SVM of {len(names)} tasks: expected one of {listing(names)} to explain, found none named"
        )
    if task is not None and task not in names:
        raise InputError(f"no task called {task!r}{nearest(task, names)}. Tasks: {listing(names)}")
    kernel = model.config.kernel
    if kernel.radial:
        raise InputError(f"kernel {kernel.kind} is not linear in words: expected a kernel without rbf to explain")
    codes = dna.letters(sequences) if model.length is not None else _as_predicted(sequences, model)
    found = words(codes, kernel, padded=model.config.padded)
    weight = found.weight / norms(found, kernel)[:, None].astype(np.float32)
    spectrum = model.spectrum(0 if task is None else names.index(task))
    there, elsewhere = (jnp.asarray(e, jnp.float32) for e in _eigenvalues(kernel))
    # Letters are counted from the one that is there: column z stands for `letter xor z`, which reads the same on the
    # other strand, because a complement is `xor 3`.
    credit = np.zeros((*codes.shape, 4), np.float32)
    width, l = found.forward.shape[1], kernel.l
    for place in range(l):
        shift = 2 * (l - 1 - place)
        forward, reverse = _read_place(spectrum, there, elsewhere, found.forward, found.reverse, shift, l, hypothetical)
        credit[:, place : place + width] += np.asarray(forward) * weight[..., None]
        if kernel.both_strands:
            credit[:, l - 1 - place : l - 1 - place + width] += np.asarray(reverse) * weight[..., None]
    letters = np.where(codes == dna.UNKNOWN, 0, codes)
    return np.take_along_axis(credit, letters[..., None] ^ np.arange(4), 2)


def _as_predicted(sequences: Any, model: GkmModel) -> np.ndarray:
    """Returns codes `[N, L]` as `predict` reads them for a model of any length: an unknown base is an A, padding behind."""
    rows = as_lsgkm_reads(sequences, model.shortest)
    if isinstance(rows, np.ndarray):
        return rows
    codes = np.full((len(rows), max(map(len, rows))), dna.UNKNOWN, np.uint8)
    for out, row in zip(codes, rows, strict=True):
        out[: len(row)] = np.where(row == dna.UNKNOWN, 0, row)
    return codes


def _eigenvalues(kernel: Kernel) -> tuple[Float64[np.ndarray, " j"], Float64[np.ndarray, " j"]]:
    """Returns those of h' on l - 1 places, float64 `[l]`, over 4^l: with d mismatches there, and with d - 1."""
    l, d = kernel.l, kernel.d
    share = kernel.mismatch() / (l - np.arange(d + 1))
    terms = np.array([[krawtchouk(m, j, l - 1) for j in range(l)] for m in range(d + 1)], np.float64)
    return share @ terms / 4**l, share[:d] @ terms[:d] / 4**l


@functools.partial(jax.jit, static_argnames=("l", "hypothetical"))
def _read_place(spectrum, there, elsewhere, forward, reverse, shift, l: int, hypothetical: bool) -> tuple[Array, Array]:
    """What place `shift / 2` from the end of each word gets, on both strands: float32 `[N, W, 4]`, z last."""
    w = jnp.arange(4**l, dtype=jnp.int32)
    letters = jax.lax.population_count((w | w >> 1) & 0x55555555 & ~(1 << shift))
    same = transform(there[letters] * spectrum, l)
    other = transform(elsewhere[letters] * spectrum, l) if hypothetical else None

    def read(at):
        columns = [same[at]]
        columns += [jnp.zeros_like(columns[0]) if other is None else other[at ^ (z << shift)] for z in (1, 2, 3)]
        return jnp.stack(columns, -1)

    return read(forward), read(reverse)
