"""Baseline `kmer`: linear and logistic regression on bags of k-mers.

A sequence is the vector of how often each word of k bases occurs in it, a word and its reverse complement counted as
one. Position and neighbourhood of the words are lost, which is what a network has to add something to.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import ClassVar, Literal

import numpy as np
from jaxtyping import Float32, Float64, UInt8

from dragon_jax import dna
from dragon_jax.config import check_range
from dragon_jax.data.dataset import Dataset, Task
from dragon_jax.errors import InputError, listing, nearest

_LARGEST_K = 8  # 32,896 canonical words; one float32 row takes 128 KiB
_ROWS = 4096


@dataclasses.dataclass(frozen=True, kw_only=True)
class KmerConfig:
    """How k-mers are counted and what is fitted to them.

    Binary tasks get what `kind` says, real tasks ridge regression, count tasks Poisson regression, all with the penalty
    `strength / 2 * |w|^2` beside the mean loss.

    Attributes:
        kind: `logistic`, or `linear`: ridge regression on 0 and 1, whose score is then turned into log-odds.
        k: lengths of the words, 1 to 8; several stand side by side.
        canonical: a word and its reverse complement are one feature, so that both strands get the same prediction.
        transform: `count`, `log1p` of it, `frequency` among the words of this length, or `present` (0 or 1).
        scale: `common` divides all features by one number, so that rare words stay small and are penalised more;
            `each` gives every feature unit variance. Means and scales come from the training rows.
        strengths: candidates for the penalty; the best on valid is taken, the strongest of equals.
        choose_by: metric of binary tasks on valid. `auroc` and `auprc` rank best and may shrink probabilities towards
            the mean; `log_loss` gives the truest probabilities. Real tasks go by mean squared error, counts by Poisson
            deviance.
        per_task: every task has its own strength; else one for all tasks of a kind, by the mean over them.
    """

    ON_DEVICE: ClassVar[bool] = False  # NumPy and scikit-learn

    name: str = "kmer"
    kind: Literal["logistic", "linear"] = "logistic"
    k: tuple[int, ...] | int = (6,)
    canonical: bool = True
    transform: Literal["count", "log1p", "frequency", "present"] = "log1p"
    scale: Literal["common", "each"] = "common"
    strengths: tuple[float, ...] = (10.0, 3.0, 1.0, 0.3, 0.1, 0.03, 0.01, 0.003)
    choose_by: Literal["auroc", "auprc", "log_loss"] = "auroc"
    per_task: bool = True

    def __post_init__(self):
        if not self.lengths or len(set(self.lengths)) != len(self.lengths):
            raise ValueError(f"k: expected one or more different lengths, found {self.k}")
        for k in self.lengths:
            check_range("k", k, 1, _LARGEST_K)
        if not self.strengths or not all(np.isfinite(s) and s > 0 for s in self.strengths):
            raise ValueError(f"strengths: expected one or more positive numbers, found {self.strengths}")

    @property
    def lengths(self) -> tuple[int, ...]:
        """The word lengths as a tuple, however they were given."""
        return (self.k,) if isinstance(self.k, int) else self.k

    @property
    def words(self) -> tuple[str, ...]:
        """Names of the F features, in order."""
        return tuple(word for k in self.lengths for word in dna.kmer_names(k, self.canonical))

    def features(self, codes: UInt8[np.ndarray, "N L"], *, extra: int = 0) -> Float32[np.ndarray, "N G"]:
        """Returns float32 `[N, F + extra]`: transformed counts, then `extra` columns of ones."""
        sizes = [len(dna.kmer_names(k, self.canonical)) for k in self.lengths]
        result = np.ones((len(codes), sum(sizes) + extra), np.float32)
        for start in range(0, len(codes), _ROWS):
            rows, column = slice(start, start + _ROWS), 0
            for k, size in zip(self.lengths, sizes, strict=True):
                counts = dna.kmer_counts(codes[rows], k, self.canonical)
                result[rows, column : column + size] = self._transformed(counts)
                column += size
        return result

    def _transformed(self, counts: Float32[np.ndarray, "n f"]) -> Float32[np.ndarray, "n f"]:
        if self.transform == "log1p":
            return np.log1p(counts)
        if self.transform == "frequency":
            return counts / np.maximum(counts.sum(1, keepdims=True), 1)
        return counts if self.transform == "count" else (counts > 0).astype(np.float32)

    def fit(
        self,
        train: Dataset,
        valid: Dataset | None = None,
        seed: int = 0,
        progress: Callable[[str], None] = lambda line: None,
    ) -> KmerModel:
        """Fits all tasks of `train`.

        Args:
            train: rows to fit; their weights count.
            valid: rows that choose the strength and calibrate `kind="linear"`; may be None where there is one strength.
            seed: for the face that all models share; nothing here is random.
            progress: gets lines of text.

        Raises:
            InputError: a task that cannot be fitted, too many features for linear regression, or no valid rows.
        """
        from dragon_jax.baselines.kmer_fit import fit

        return fit(self, train, valid, progress)

    def from_state(self, tasks: Sequence[Task], length: int, state: Mapping[str, np.ndarray]) -> KmerModel:
        """Returns the model whose `state()` this is.

        Raises:
            InputError: the arrays do not fit this config and these tasks.
        """
        shapes = {"weights": (len(self.words), len(tasks)), "bias": (len(tasks),)}
        shapes |= {"scale": (len(self.words),), "strengths": (len(tasks),)}
        found = {name: np.shape(state[name]) for name in shapes if name in state}
        if wrong := [
            f"{n}: expected {s}, found {found.get(n, 'none')}" for n, s in shapes.items() if found.get(n) != s
        ]:
            raise InputError(
                f"stored k-mer model does not fit its config: {'; '.join(wrong)}. Was config.json changed?"
            )
        return KmerModel(self, tuple(tasks), length, **{name: np.asarray(state[name]) for name in shapes})


@dataclasses.dataclass(frozen=True)
class KmerModel:
    """A fitted k-mer regression: `raw = features @ weights + bias`.

    Attributes:
        tasks: what the T columns of its predictions are. length: bases of its input.
        weights: float32 `[F, T]`, on the transformed counts. bias: float32 `[T]`.
        scale: float32 `[F]`, standard deviation of each transformed count over the training rows.
        strengths: float64 `[T]`, the penalty that was chosen.
    """

    config: KmerConfig
    tasks: tuple[Task, ...]
    length: int
    weights: Float32[np.ndarray, "F T"]
    bias: Float32[np.ndarray, " T"]
    scale: Float32[np.ndarray, " F"]
    strengths: Float64[np.ndarray, " T"]

    def predict(
        self, sequences: Iterable[str] | np.ndarray, *, raw: bool = False, batch_size: int = 256
    ) -> Float32[np.ndarray, "N T"]:
        """Returns float32 `[N, T]` in the order of the input: probability, value or rate.

        Args:
            sequences: strings, codes `[N, L]` or one-hot, all of `length` bases; unknown bases belong to no word.
            raw: log-odds, value or log rate instead.
            batch_size: sequences whose words are counted at a time.

        Raises:
            InputError: wrong lengths or letters.
        """
        codes = dna.letters(sequences)
        if codes.shape[1] != self.length:
            raise InputError(
                f"sequences of {codes.shape[1]} bases: expected {self.length}, the length this model was trained on. "
                "Crop or pad them"
            )
        result = np.empty((len(codes), len(self.tasks)), np.float32)
        for start in range(0, len(codes), batch_size):
            rows = slice(start, start + batch_size)
            result[rows] = self.config.features(codes[rows]) @ self.weights + self.bias
        return result if raw else values(result, self.tasks)

    def state(self) -> dict[str, np.ndarray]:
        """Returns what `KmerConfig.from_state` needs, as arrays."""
        return {"weights": self.weights, "bias": self.bias, "scale": self.scale, "strengths": self.strengths}

    def describe(self) -> str:
        """Returns the printed summary: features, parameters, chosen strengths."""
        c, (features, tasks) = self.config, self.weights.shape
        kinds = {k: sum(t.kind == k for t in self.tasks) for k in ("binary", "real", "count")}
        regressions = {"binary": c.kind, "real": "linear", "count": "Poisson"}
        fits = ", ".join(f"{regressions[k]} regression for {n} {k} task{'s' * (n > 1)}" for k, n in kinds.items() if n)
        strengths, times = np.unique(self.strengths, return_counts=True)
        chosen = ", ".join(f"{s:g} ({n})" for s, n in zip(strengths, times, strict=True))
        words = f"{'canonical ' * c.canonical}words of {listing(c.lengths)} bases"
        return (
            f"kmer: {self.length} bases, {fits}\n"
            f"  features: {features:,} {words} ({c.transform})\n"
            f"  parameters: {features * tasks + tasks:,}\n"
            f"  strength of the penalty (tasks): {chosen}"
        )

    def top_words(self, task: str, n: int = 10) -> list[tuple[str, float]]:
        """Returns the n words that speak most for a task, with the effect of one standard deviation of each on `raw`.

        Raises:
            InputError: there is no such task.
        """
        names = [t.name for t in self.tasks]
        if task not in names:
            raise InputError(f"no task called {task!r}{nearest(task, names)}. Tasks: {listing(names)}")
        effect = self.weights[:, names.index(task)] * self.scale
        best = np.argsort(-effect, kind="stable")[:n]
        words = self.config.words
        return [(words[i], float(effect[i])) for i in best]


def values(raw: Float32[np.ndarray, "N T"], tasks: Sequence[Task]) -> Float32[np.ndarray, "N T"]:
    """Probability, value or rate of log-odds, value or log rate."""
    wide = raw.astype(np.float64)
    with np.errstate(over="ignore"):
        probability, rate = 1 / (1 + np.exp(-wide)), np.exp(np.minimum(wide, 80))  # float32 ends near exp(88)
    kinds = np.array([t.kind for t in tasks])
    return np.where(kinds == "binary", probability, np.where(kinds == "count", rate, wide)).astype(np.float32)
