"""Baseline `gkmsvm`: support vector machines on gapped k-mers, exact, with the kernels of LS-GKM.

The mathematics is in `gkm_kernels` and `gkm_operator`, the solver in `gkm_solver`. Prediction with a kernel that is linear
in counts of words needs one table of 4^l numbers, whatever the number of support vectors; radial kernels are worked out
against each of them.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from jaxtyping import Float32, Float64, Int64, UInt8

from dragon_jax import dna
from dragon_jax.baselines.gkm_kernels import Kernel, Kind
from dragon_jax.baselines.ragged import as_lsgkm_reads, padded_blocks
from dragon_jax.config import check_range
from dragon_jax.data.dataset import Dataset, Task
from dragon_jax.errors import InputError, listing, nearest

if TYPE_CHECKING:
    from dragon_jax.baselines.gkm_operator import Words

_KEPT = 1 << 30  # bytes of tables that a model keeps; with more tasks they are made anew for each call


@dataclasses.dataclass(frozen=True, kw_only=True)
class GkmConfig:
    """Which kernel, and how the machines are fitted: one for each task, all of which must be binary.

    Attributes:
        kind, l, k, d, peak, halving, gamma, both_strands: see `gkm_kernels.Kernel`.
        padded: unknown bases at the end of a sequence are padding and no part of it, so that sequences of several
            lengths can stand in one table (data.source.fit=pad_left puts them there). Unknown bases elsewhere, or with
            False everywhere, count as A, as in LS-GKM.
        strengths: candidates for C, the price of a violated margin; the best on valid is taken, the smallest of equals.
        choose_by: metric on valid.
        positive_weight: factor on C for positives, LS-GKM's -w. Weights of examples multiply C as well.
        tolerance: of the solver: largest violation of the optimality conditions by a pair.
        calibration_folds: where valid does not hold both classes, probabilities are calibrated on decision values of
            so many parts of train, each from a machine that was fitted to the others.
    """

    ON_DEVICE: ClassVar[bool] = True  # fitted and read by JAX, on its first device

    name: str = "gkmsvm"
    kind: Kind = "gkm_esttrunc"
    l: int = 11
    k: int = 7
    d: int = 3
    peak: float = 50.0
    halving: float = 50.0
    gamma: float = 1.0
    both_strands: bool = True
    padded: bool = True
    strengths: tuple[float, ...] = (1.0,)
    choose_by: Literal["auroc", "auprc"] = "auroc"
    positive_weight: float = 1.0
    tolerance: float = 1e-3
    calibration_folds: int = 5

    def __post_init__(self):
        self.kernel  # noqa: B018  refuses impossible settings
        if not self.strengths or not all(np.isfinite(s) and s > 0 for s in self.strengths):
            raise ValueError(f"strengths: expected one or more positive numbers, found {self.strengths}")
        check_range("positive_weight", self.positive_weight, 0, float("inf"), open_low=True, open_high=True)
        check_range("tolerance", self.tolerance, 1e-5, 1)
        check_range("calibration_folds", self.calibration_folds, 2, 100)

    @property
    def kernel(self) -> Kernel:
        """The kernel that these settings name."""
        return Kernel(**{f.name: getattr(self, f.name) for f in dataclasses.fields(Kernel)})

    def fit(
        self,
        train: Dataset,
        valid: Dataset | None = None,
        seed: int = 0,
        progress: Callable[[str], None] = lambda line: None,
    ) -> GkmModel:
        """Fits one machine for each task of `train`.

        Args:
            train: rows to fit; their weights multiply C.
            valid: rows that choose C and calibrate the probabilities; may be None where there is one C.
            seed: divides train into folds, where valid does not serve.
            progress: gets lines of text.

        Raises:
            InputError: a task that is not binary or has one class only, sequences shorter than a word, several C and no
                valid rows to choose by, or a radial kernel on more sequences than a matrix can hold.
        """
        from dragon_jax.baselines.gkmsvm_fit import fit

        return fit(self, train, valid, seed, progress)

    def from_state(self, tasks: Sequence[Task], length: int | None, state: Mapping[str, np.ndarray]) -> GkmModel:
        """Returns the model whose `state()` this is.

        Raises:
            InputError: the arrays do not fit this config and these tasks.
        """
        count, tasks = len(state.get("vectors", ())), tuple(tasks)
        shapes: dict[str, tuple[int, ...]] = {"coefficients": (count, len(tasks))}
        shapes |= {name: (len(tasks),) for name in ("rho", "slope", "offset", "strengths", "gap", "products")}
        found = {name: np.shape(state[name]) for name in shapes if name in state}
        state = {"violation": np.full(len(tasks), np.nan), **state}  # older runs do not have it
        shapes["violation"] = (len(tasks),)
        found["violation"] = np.shape(state["violation"])
        wrong = [f"{n}: expected {s}, found {found.get(n, 'none')}" for n, s in shapes.items() if found.get(n) != s]
        if np.ndim(state.get("vectors", 0)) != 2:
            wrong.insert(0, f"vectors: expected codes [S, L], found {np.shape(state.get('vectors', 0)) or 'none'}")
        if wrong:
            raise InputError(f"stored gkm-SVM does not fit its config: {'; '.join(wrong)}. Was config.json changed?")
        return GkmModel(self, tasks, length, np.asarray(state["vectors"]), **{n: np.asarray(state[n]) for n in shapes})


@dataclasses.dataclass(frozen=True)
class GkmModel:
    """Fitted machines: decision value `sum over support vectors of coefficient K(x, vector), - rho`.

    Attributes:
        tasks: what the T columns of its predictions are.
        length: bases it was trained on; it reads others too. None = fitted elsewhere, to sequences of any lengths.
        vectors: uint8 `[S, L]`, codes of the sequences that are support vectors of any task.
        coefficients: float64 `[S, T]`, a_i y_i. rho: float64 `[T]`.
        slope, offset: float64 `[T]`, log-odds = slope * decision value + offset.
        strengths: float64 `[T]`, the C that was chosen.
        gap: float64 `[T]`, duality gap as a share of the objective; NaN where another program fitted.
        products: int64 `[T]`, products with the kernel that the solver took.
        violation: float64 `[T]`, largest violation of the optimality conditions; NaN (None for all) where it is not known.
    """

    config: GkmConfig
    tasks: tuple[Task, ...]
    length: int | None
    vectors: UInt8[np.ndarray, "S L"]
    coefficients: Float64[np.ndarray, "S T"]
    rho: Float64[np.ndarray, " T"]
    slope: Float64[np.ndarray, " T"]
    offset: Float64[np.ndarray, " T"]
    strengths: Float64[np.ndarray, " T"]
    gap: Float64[np.ndarray, " T"]
    products: Int64[np.ndarray, " T"]
    violation: Float64[np.ndarray, " T"] | None = None

    def predict(
        self, sequences: Iterable[str] | Iterable[np.ndarray] | np.ndarray, *, raw: bool = False, batch_size: int = 256
    ) -> Float32[np.ndarray, "N T"]:
        """Returns float32 `[N, T]` in the order of the input: probabilities.

        Args:
            sequences: strings of one length, codes `[N, L]` or one-hot, of any length from l on; see `GkmConfig.padded`
                for unknown bases at the end. Where `length` is None also strings or codes `[L]` of several lengths,
                whose unknown bases are all read as A, as LS-GKM reads them.
            raw: decision values instead, as LS-GKM prints them.
            batch_size: sequences that are read at a time.

        Raises:
            InputError: wrong letters, or sequences shorter than a word.
        """
        codes = dna.letters(sequences) if self.length is not None else as_lsgkm_reads(sequences, self.shortest)
        result = np.empty((len(codes), len(self.tasks)))
        tables = self._tables if self._keeps else None
        for rows, part in _blocks(codes, batch_size):
            shape = min(batch_size, 1 << (len(part) - 1).bit_length())  # few shapes, each compiled once
            filled = part[np.minimum(np.arange(shape), len(part) - 1)]
            result[rows] = self._decide(filled, tables)[: len(part)]
        if not raw:
            with np.errstate(over="ignore"):
                result = 1 / (1 + np.exp(-(result * self.slope + self.offset)))
        return result.astype(np.float32)

    @property
    def shortest(self) -> int:
        """Bases that a sequence must have: those of a word."""
        return self.config.l

    def _decide(self, codes: np.ndarray, tables: list[Any] | None) -> np.ndarray:
        from dragon_jax.baselines.gkm_operator import norms, words
        from dragon_jax.baselines.gkm_radial import matrix

        kernel = self.config.kernel
        found = words(codes, kernel, padded=self.config.padded)
        own = norms(found, kernel)
        if kernel.radial:
            return matrix(kernel, found, own, *self._support) @ self.coefficients - self.rho
        columns = tables if tables is not None else (self._table(t) for t in range(len(self.tasks)))
        return np.stack([np.asarray(self._operator.read(t, found), np.float64) / own for t in columns], 1) - self.rho

    @functools.cached_property
    def _operator(self) -> Any:
        from dragon_jax.baselines.gkm_operator import Operator

        return Operator(self.config.kernel)

    @functools.cached_property
    def _support(self) -> tuple[Words, np.ndarray]:
        """Words of the support vectors, and their norms."""
        from dragon_jax.baselines.gkm_operator import norms, words

        found = words(self.vectors, self.config.kernel, padded=self.config.padded)
        return found, norms(found, self.config.kernel)

    @property
    def _keeps(self) -> bool:
        return not self.config.kernel.radial and len(self.tasks) * 4 ** (self.config.l + 1) <= _KEPT

    @functools.cached_property
    def _tables(self) -> list[Any]:
        return [self._table(t) for t in range(len(self.tasks))]

    def _table(self, task: int) -> Any:
        """What each word on one strand adds to the decision value of a sequence, before its norm is divided out."""
        found, own = self._support
        return self._operator.table(found, self.coefficients[:, task] / own)

    def spectrum(self, task: int) -> Any:
        """Returns float32 `[4^l]`, the transform of the support vectors' words times their coefficients over their norms."""
        found, own = self._support
        return self._operator.spectrum(found, self.coefficients[:, task] / own)

    def state(self) -> dict[str, np.ndarray]:
        """Returns what `GkmConfig.from_state` needs, as arrays."""
        names = ("vectors", "coefficients", "rho", "slope", "offset", "strengths", "gap", "products")
        state = {name: getattr(self, name) for name in names}
        return state | {"violation": self._violation}

    @property
    def _violation(self) -> np.ndarray:
        return np.full(len(self.tasks), np.nan) if self.violation is None else self.violation

    def describe(self) -> str:
        """Returns the printed summary: kernel, support vectors and how well the solver did, task by task."""
        c = self.config
        more = f", M={c.peak:g}, H={c.halving:g}" * c.kernel.weighted + f", gamma={c.gamma:g}" * c.kernel.radial
        lines = [
            f"gkmsvm: {'any number of' if self.length is None else self.length} bases, kernel {c.kind} (l={c.l}, k={c.k}, d={c.d}{more}), "
            f"{'both strands' if c.both_strands else 'one strand'}",
            f"  support vectors: {len(self.vectors):,}",
        ]
        for t, task in enumerate(self.tasks[:10]):
            b = np.abs(self.coefficients[:, t])
            lines.append(
                f"  {task.name}: {np.count_nonzero(b):,} support vectors, C={self.strengths[t]:g}, rho={self.rho[t]:.6g}, "
                + (
                    "fitted elsewhere"
                    if np.isnan(self.gap[t])
                    else f"duality gap {self.gap[t]:.1e} of the objective, {self.products[t]:,} products with the kernel"
                    + f", NOT CONVERGED (violation {self._violation[t]:.1e}, tolerance {c.tolerance:g})"
                    * bool(self._violation[t] >= c.tolerance)
                )
            )
        return "\n".join(lines + [f"  ... and {len(self.tasks) - 10:,} more tasks"] * (len(self.tasks) > 10))

    def word_scores(self, task: str) -> Float32[np.ndarray, " V"]:
        """Returns float32 `[4^l]`: the decision value of each word as a sequence of its own, rho left out.

        Word i has the letters of i in base 4, first letter highest. A variant's deltaSVM is the sum of differences over
        the words that cover it.

        Raises:
            InputError: there is no such task, or the kernel is radial and words have no scores of their own.
        """
        names = [t.name for t in self.tasks]
        if task not in names:
            raise InputError(f"no task called {task!r}{nearest(task, names)}. Tasks: {listing(names)}")
        kernel = self.config.kernel
        if kernel.radial:
            raise InputError(
                f"kernel {kernel.kind} is not linear in words: expected a kernel without rbf to score them. Predict instead"
            )
        table = np.asarray(self._table(names.index(task)))
        word = np.arange(4**kernel.l, dtype=np.int32)
        h = np.append(kernel.mismatch(), np.zeros(kernel.l))
        if not kernel.both_strands:
            return (table / np.sqrt(h[0])).astype(np.float32)
        other = _other_strand(word, kernel.l)
        differ = word ^ other
        own = h[0] + h[np.bitwise_count((differ | differ >> 1) & 0x55555555)]
        return ((table + table[other]) / np.sqrt(own)).astype(np.float32)

    def top_words(self, task: str, n: int = 10) -> list[tuple[str, float]]:
        """Returns the n words that speak most for a task, best first, with their `word_scores`.

        A word and its reverse complement are listed once, by the one that sorts first.

        Raises:
            InputError: see `word_scores`.
        """
        scores, l = self.word_scores(task), self.config.l
        if self.config.both_strands:
            word = np.arange(len(scores), dtype=np.int32)
            scores = np.where(word <= _other_strand(word, l), scores, -np.inf)
        best = np.argsort(-scores, kind="stable")[:n]
        letters = (best[:, None] >> 2 * np.arange(l)[::-1]) & 3
        return [(dna.decode(row.astype(np.uint8)), float(s)) for row, s in zip(letters, scores[best], strict=True)]


def _blocks(codes: np.ndarray | Sequence[np.ndarray], size: int) -> Iterable[tuple[Any, np.ndarray]]:
    """Which rows, and their codes in one array, at most `size` of them at a time."""
    if not isinstance(codes, np.ndarray):
        return padded_blocks(codes, size)
    return ((slice(i, i + size), codes[i : i + size]) for i in range(0, len(codes), size))


def _other_strand(word: np.ndarray, l: int) -> np.ndarray:
    """Returns the reverse complements of words."""
    result = np.zeros_like(word)
    for i in range(l):
        result |= (3 - (word >> 2 * i & 3)) << 2 * (l - 1 - i)
    return result
