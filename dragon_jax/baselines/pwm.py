"""Baseline `pwm`: known motifs as predictors, one score per sequence, calibrated on valid.

What a network has to add something to is often one motif and where it matches best. With the settings `KIPOI` it is the
model `pwm_HOCOMOCO` of Kipoi (Avsec et al., Nat. Biotechnol. 37, 592-600, 2019): natural log-odds of probabilities with
0.001 added, uniform background, forward strand, rectified, best window.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
from jaxtyping import Bool, Float32, Float64

from dragon_jax import dna
from dragon_jax.baselines.kmer import values
from dragon_jax.baselines.pwm_score import Score, Strand, Unknown, scan
from dragon_jax.config import check_range
from dragon_jax.data.dataset import Dataset, Task
from dragon_jax.errors import InputError, listing
from dragon_jax.motifs.files import Format
from dragon_jax.motifs.motif import Motif, check_background

# Fields that differ from the defaults in Kipoi's models of HOCOMOCO motifs.
KIPOI: dict[str, Any] = {"strand": "forward", "rectify": True, "unknown": "mean", "calibrate": False}


@dataclasses.dataclass(frozen=True, kw_only=True)
class PwmConfig:
    """Which motifs score which tasks, and how.

    Attributes:
        motifs: motif file of any format that `motifs.files.read_motifs` knows.
        format: of that file; `auto` = told from its content.
        assign: motif, or motifs of which the best match counts, by task. A task that is not named gets the one motif that
            tells its training rows best: by auROC, and by Pearson correlation where the task is no 0/1 one. Valid and test
            have no say.
        candidates: names of the motifs among which to choose; empty = all of the file.
        strand: `forward`; `max` = the better of both strands; `sum` = their odds added.
        score: `best` window, or `logsum` of the odds of all windows.
        rectify: scores below 0 become 0, so that sequences without a match are tied.
        unknown: an unknown base counts as the `mean` of the four scores, or its windows are left out (`skip`).
        pseudocount: how much is added to every cell, see `Motif.pwm`; of no matter to the rules `sqrt` and `log`.
        pseudocount_kind: added `probability`, `count` per cell, or the rules `sqrt` (of the number of sites) and `log`.
        background: frequencies of A C G T; where both strands are read, those of a base and its complement are averaged.
        log_base: of the log-odds.
        calibrate: predictions are probabilities (values, rates) by logistic (linear, Poisson) regression on the score, fitted
            on valid; else predictions are the scores themselves.
    """

    ON_DEVICE: ClassVar[bool] = True  # scores are worked out by JAX, the fit by NumPy

    name: str = "pwm"
    motifs: str = ""
    format: Format = "auto"
    assign: dict[str, tuple[str, ...] | str] = dataclasses.field(default_factory=dict)
    candidates: tuple[str, ...] = ()
    strand: Strand = "max"
    score: Score = "best"
    rectify: bool = False
    unknown: Unknown = "mean"
    pseudocount: float = 0.001
    pseudocount_kind: Literal["probability", "count", "sqrt", "log"] = "probability"
    background: tuple[float, ...] = (0.25, 0.25, 0.25, 0.25)
    log_base: float = math.e
    calibrate: bool = True

    def __post_init__(self):
        if not self.motifs:
            raise ValueError("motifs: expected the path of a motif file, found none")
        if self.motifs == "-":
            raise ValueError("motifs: expected the path of a motif file that can be read again, found standard input")
        check_range("pseudocount", self.pseudocount, 0, math.inf, open_high=True)
        check_range("log_base", self.log_base, 1, math.inf, open_low=True, open_high=True)
        if self.pseudocount == 0 and self.pseudocount_kind in ("probability", "count"):
            raise ValueError("pseudocount: expected > 0, found 0: a base never seen would score minus infinity")
        try:
            check_background(self.background)
        except InputError as e:
            raise ValueError(str(e)) from e
        for task, names in self.assign.items():
            if not names or not all(names if isinstance(names, tuple) else (names,)):
                raise ValueError(f"assign.{task}: expected one or more names of motifs, found {names!r}")

    def assigned(self, task: str) -> tuple[str, ...]:
        """Names of the motifs that the config gives a task; none where one is to be chosen."""
        names = self.assign.get(task, ())
        return (names,) if isinstance(names, str) else names

    def pssm(self, motif: Motif) -> Float64[np.ndarray, "W 4"]:
        """Returns the log-odds of one motif with this pseudocount, background and base."""
        background = check_background(self.background)
        if self.strand != "forward":
            background = (background + background[::-1]) / 2
        kind, unit = self.pseudocount_kind, "probability"
        amount = self.pseudocount if kind in ("probability", "count") else kind
        if kind == "count":
            unit = "count"
        return motif.pssm(amount, background, unit=unit, base=self.log_base)  # type: ignore[arg-type]

    def scores(
        self, matrices: Sequence[np.ndarray], codes: np.ndarray, batch_size: int = 1024
    ) -> Float32[np.ndarray, "N M"]:
        """Returns the score of every sequence for every matrix, rectified where the config says so."""
        found = scan(
            matrices,
            codes,
            strand=self.strand,
            score=self.score,
            unknown=self.unknown,
            log_base=self.log_base,
            batch_size=batch_size,
        )
        return np.maximum(found, 0) if self.rectify else found

    def fit(
        self,
        train: Dataset,
        valid: Dataset | None = None,
        seed: int = 0,
        progress: Callable[[str], None] = lambda line: None,
    ) -> PwmModel:
        """Reads the motifs, chooses where it has to, and calibrates.

        Args:
            train: rows that choose motifs. valid: rows that calibrate; where it cannot (one class only), train does.
            seed: for the face that all models share; nothing here is random.
            progress: gets lines of text.

        Raises:
            InputError: a bad motif file, unknown tasks or motifs, or motifs longer than the sequences.
        """
        from dragon_jax.baselines.pwm_fit import fit

        return fit(self, train, valid, progress)

    def from_state(self, tasks: Sequence[Task], length: int, state: Mapping[str, np.ndarray]) -> PwmModel:
        """Returns the model whose `state()` this is; the motif file is not needed.

        Raises:
            InputError: the arrays do not fit each other or these tasks.
        """
        absent = [k for k in ("matrices", "widths", "names", "members", "slope", "offset") if k not in state]
        if absent:
            raise InputError(f"stored PWM model lacks {listing(absent)}. Was its checkpoint changed?")
        widths, padded = np.asarray(state["widths"]), np.asarray(state["matrices"])
        names = tuple(bytes(np.asarray(state["names"])).decode().split("\n"))
        m, t = len(widths), len(tasks)
        shapes = {"matrices": (m, *padded.shape[1:2], 4), "members": (t, m), "slope": (t,), "offset": (t,)}
        wrong = [f"{k}: expected {s}, found {np.shape(state[k])}" for k, s in shapes.items() if np.shape(state[k]) != s]
        if wrong or len(names) != m or not ((widths > 0) & (widths <= padded.shape[1])).all():
            raise InputError(
                f"stored PWM model does not fit its config: {'; '.join(wrong) or 'names or widths of motifs'}. "
                "Was config.json changed?"
            )
        return PwmModel(
            self,
            tuple(tasks),
            length,
            names=names,
            matrices=tuple(p[:w] for p, w in zip(padded, widths, strict=True)),
            members=np.asarray(state["members"], bool),
            slope=np.asarray(state["slope"]),
            offset=np.asarray(state["offset"]),
        )


@dataclasses.dataclass(frozen=True)
class PwmModel:
    """Motifs with their tasks. The score of a task is that of its best motif.

    Attributes:
        tasks: what the T columns of its predictions are. length: bases of its input.
        names, matrices: the M motifs in use, log-odds float64 `[W, 4]`.
        members: bool `[T, M]`, which motifs score which task.
        slope, offset: float64 `[T]`, log-odds (value, log rate) = slope score + offset.
        origin: what the provenance of a run should say of where this comes from.
    """

    config: PwmConfig
    tasks: tuple[Task, ...]
    length: int
    names: tuple[str, ...]
    matrices: tuple[np.ndarray, ...]
    members: Bool[np.ndarray, "T M"]
    slope: Float64[np.ndarray, " T"]
    offset: Float64[np.ndarray, " T"]
    origin: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def predict(
        self, sequences: Iterable[str] | np.ndarray, *, raw: bool = False, batch_size: int = 256
    ) -> Float32[np.ndarray, "N T"]:
        """Returns float32 `[N, T]` in the order of the input: probability, value or rate; the score if not calibrated.

        Args:
            sequences: strings, codes `[N, L]` or one-hot, all of `length` bases.
            raw: the score of the scan instead.
            batch_size: sequences at a time, at most.

        Raises:
            InputError: wrong lengths or letters.
        """
        codes = dna.letters(sequences)
        if codes.shape[1] != self.length:
            raise InputError(
                f"sequences of {codes.shape[1]} bases: expected {self.length}, the length this model was fitted on. "
                "Crop or pad them"
            )
        scores = self.scores(codes, batch_size)
        if raw or not self.config.calibrate:
            return scores
        return values((scores * self.slope[None, :] + self.offset[None, :]).astype(np.float32), self.tasks)

    def scores(self, codes: np.ndarray, batch_size: int = 1024) -> Float32[np.ndarray, "N T"]:
        """Returns the score of every sequence for every task."""
        return combined(self.config.scores(self.matrices, codes, batch_size), self.members)

    def state(self) -> dict[str, np.ndarray]:
        """Returns what `PwmConfig.from_state` needs, as arrays; matrices are padded with zeros to one width."""
        padded = np.zeros((len(self.matrices), max(map(len, self.matrices)), 4))
        for row, matrix in zip(padded, self.matrices, strict=True):
            row[: len(matrix)] = matrix
        return {
            "matrices": padded,
            "widths": np.array([len(m) for m in self.matrices]),
            "names": np.frombuffer("\n".join(self.names).encode(), np.uint8),
            "members": self.members,
            "slope": self.slope,
            "offset": self.offset,
        }

    def describe(self) -> str:
        """Returns the printed summary: how is scored, and which motifs serve which task."""
        c = self.config
        strands = {"forward": "forward strand", "max": "better strand", "sum": "both strands added"}[c.strand]
        what = {"best": "best window", "logsum": "log-sum of all windows"}[c.score]
        lines = [f"pwm: {self.length} bases, {what}, {strands}{', rectified' * c.rectify}"]
        lines.append(f"  parameters: {sum(m.size + 1 for m in self.matrices):,}")  # one bias a motif, as Kipoi counts
        for task, row, slope in zip(self.tasks[:10], self.members, self.slope, strict=False):
            mine = [f"{self.names[i]} ({len(self.matrices[i])} bases)" for i in np.flatnonzero(row)]
            useless = "; calibration found no use for it" if c.calibrate and slope == 0 else ""
            lines.append(f"  {task.name}: {listing(mine)}{useless}")
        if len(self.tasks) > 10:
            lines.append(f"  ... and {len(self.tasks) - 10:,} more tasks")
        return "\n".join(lines)


def combined(scores: Float32[np.ndarray, "N M"], members: Bool[np.ndarray, "T M"]) -> Float32[np.ndarray, "N T"]:
    """Returns for every task the best score among its motifs."""
    return np.stack([scores[:, row].max(1) for row in members], 1)
