"""A motif: what base stands where in the sites of one factor, and the matrices that follow from it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from jaxtyping import Float64

from dragon_jax.dna import ALPHABET, encode_many
from dragon_jax.errors import InputError, show

Pseudocount = float | int | Literal["sqrt", "log"]
Unit = Literal["probability", "count"]
Background = Sequence[float | int] | np.ndarray
UNIFORM = (0.25, 0.25, 0.25, 0.25)
SUM_TOLERANCE = 0.02  # files round: rows that miss 1 by less are renormalised
_IUPAC = {
    frozenset(bases): letter
    for letter, bases in zip(
        "ACGTRYSWKMBDHVN",
        "A C G T AG CT CG AT GT AC CGT AGT ACT ACG ACGT".split(),
        strict=True,
    )
}


@dataclasses.dataclass(frozen=True, eq=False)
class Motif:
    """One motif of W positions; columns are A C G T, rows run from 5' to 3'.

    A motif holds what its file says: zeros stay zero, pseudocounts are added by `pwm` and `pssm`.

    Attributes:
        name: unique within its collection.
        probabilities: float64 `[W, 4]`, rows sum to 1 (a position probability matrix).
        counts: float64 `[W, 4]`, how many sites have which base, or None where only probabilities are known.
        sites: number of sites behind the matrix, or None.
        background: float64 `[4]`, base frequencies that the file states, or None.
        alt_name: a second name, free text.
        notes: what was put in order while reading (counts by name).
    """

    name: str
    probabilities: Float64[np.ndarray, "W 4"]
    counts: Float64[np.ndarray, "W 4"] | None = None
    sites: float | int | None = None
    background: Float64[np.ndarray, " 4"] | None = None
    alt_name: str = ""
    notes: Mapping[str, int] = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        p = self.probabilities
        if p.ndim != 2 or p.shape[1] != 4 or not len(p) or p.dtype != np.float64:
            raise InputError(f"{self._called()}: expected float64 [W, 4] with W > 0, found {p.dtype} {p.shape}")
        if not np.isfinite(p).all() or (p < 0).any() or (np.abs(p.sum(1) - 1) > 1e-6).any():
            raise InputError(f"{self._called()}: expected rows of probabilities that sum to 1")
        if self.counts is not None and self.counts.shape != p.shape:
            raise InputError(f"{self._called()}: expected counts of shape {p.shape}, found {self.counts.shape}")
        if self.sites is not None and not 0 < self.sites < np.inf:
            raise InputError(f"{self._called()}: expected a number of sites > 0, found {self.sites}")
        if not self.name:
            raise InputError("a motif without a name: expected some text")

    def _called(self) -> str:
        return f"motif '{show(self.name)}'"

    @classmethod
    def from_counts(
        cls,
        name: str,
        counts: Float64[np.ndarray, "W 4"],
        *,
        background: Float64[np.ndarray, " 4"] | None = None,
        alt_name: str = "",
        notes: Mapping[str, int] | None = None,
    ) -> Motif:
        """Returns the motif of a count matrix; `sites` is the mean of the row sums.

        Raises:
            InputError: negative or infinite counts, or a position without any.
        """
        total = counts.sum(1)
        if not np.isfinite(counts).all() or (counts < 0).any() or (total <= 0).any():
            raise InputError(f"motif '{show(name)}': expected counts >= 0, some of them > 0 at every position")
        sites = float(total.mean())
        return cls(name, counts / total[:, None], counts, sites, background, alt_name, notes or {})

    @classmethod
    def from_sites(cls, name: str, sites: Sequence[str]) -> Motif:
        """Returns the motif of aligned sites of one length, letters A C G T.

        Raises:
            InputError: no site, unequal lengths, or a base that is not known.
        """
        codes = encode_many(sites, f"sites of motif '{show(name)}'")
        if (codes > 3).any():
            row = int(np.argmax((codes > 3).any(1)))
            raise InputError(
                f"site {row + 1} of motif '{show(name)}': expected A C G T only, found {show(sites[row])!r}"
            )
        return cls.from_counts(name, (codes[:, :, None] == np.arange(4)).sum(0).astype(np.float64))

    def __len__(self) -> int:
        return len(self.probabilities)

    def reverse_complement(self) -> Motif:
        """Returns the motif as it reads on the other strand; names and notes stay."""

        def turned(matrix):
            return None if matrix is None else np.ascontiguousarray(matrix[..., ::-1])  # A C G T backwards is T G C A

        return dataclasses.replace(
            self,
            probabilities=np.ascontiguousarray(self.probabilities[::-1, ::-1]),
            counts=None if self.counts is None else np.ascontiguousarray(self.counts[::-1, ::-1]),
            background=turned(self.background),
        )

    def pwm(
        self, pseudocount: Pseudocount = 0.0, background: Background | None = None, *, unit: Unit = "probability"
    ) -> Float64[np.ndarray, "W 4"]:
        """Returns probabilities with pseudocounts, rows summing to 1.

        With background b and `pseudocount` e a cell becomes, n being the number of sites at its position:

        - unit `probability`: (p + 4 e b) / (1 + 4 e); with uniform b every cell gains e (Kipoi's HOCOMOCO models: 0.001).
        - unit `count`: (n p + 4 e b) / (n + 4 e); with uniform b every count gains e (Biopython, JASPAR).
        - `"sqrt"` and `"log"`: (n p + a b) / (n + a) with a = sqrt(n), or a = ln(max(n, 2)) as HOCOMOCO has it.

        Args:
            pseudocount: how much, on average over the four cells; or a rule on the number of sites.
            background: base frequencies by which pseudocounts are shared out; None = uniform.
            unit: what `pseudocount` counts in; of no matter to the rules.

        Raises:
            InputError: the number of sites is needed and not known; a background or pseudocount that is none.
        """
        share = check_background(background)
        if isinstance(pseudocount, str):
            if pseudocount not in ("sqrt", "log"):
                raise InputError(f"pseudocount: expected a number, 'sqrt' or 'log', found {pseudocount!r}")
            n = self._sites_by_position(f"pseudocount {pseudocount!r}")
            extra = np.sqrt(n) if pseudocount == "sqrt" else np.log(np.maximum(n, 2))
        else:
            if not 0 <= pseudocount < np.inf:
                raise InputError(f"pseudocount: expected a number >= 0, found {pseudocount}")
            n = np.ones(len(self)) if unit == "probability" else self._sites_by_position("a pseudocount in counts")
            extra = np.full(len(self), 4.0 * pseudocount)
        return (self.probabilities * n[:, None] + extra[:, None] * share[None, :]) / (n + extra)[:, None]

    def pssm(
        self,
        pseudocount: Pseudocount = 0.01,
        background: Background | None = None,
        *,
        unit: Unit = "probability",
        base: float = 2.0,
    ) -> Float64[np.ndarray, "W 4"]:
        """Returns the log-odds log(p / b) of the `pwm` over the background, a position-specific scoring matrix.

        Args:
            pseudocount, unit: see `pwm`; with 0 a base never seen scores minus infinity.
            background: base frequencies b; None = uniform. The motif's own is used only if passed.
            base: of the logarithm; 2 gives bits, `math.e` nats.
        """
        odds = self.pwm(pseudocount, background, unit=unit) / check_background(background)[None, :]
        with np.errstate(divide="ignore"):
            return np.log(odds) / np.log(base)

    def information(self, background: Background | None = None, *, correct: bool = False) -> Float64[np.ndarray, " W"]:
        """Returns the bits each position tells: sum of p log2(p / b), which is 2 minus the entropy for uniform b.

        Args:
            background: base frequencies b; None = uniform.
            correct: take off what chance alone gives in few sites, e(n) = 3 / (2 ln(2) n) (Schneider, Stormo, Gold and
                Ehrenfeucht, J. Mol. Biol. 188, 415-431, 1986); a position may then fall below 0.

        Raises:
            InputError: `correct` without a known number of sites.
        """
        p = self.probabilities
        ratio = np.where(p > 0, p, 1.0) / np.where(p > 0, check_background(background)[None, :], 1.0)
        bits = (p * np.log2(ratio)).sum(1)
        return bits - 1.5 / (np.log(2) * self._sites_by_position("the small-sample correction")) if correct else bits

    def consensus(self, *, iupac: bool = False) -> str:
        """Returns the most frequent base of each position, the alphabetically first where several are.

        Args:
            iupac: write ambiguity codes by the rule of TRANSFAC (Cavener, Nucleic Acids Res. 15, 1353-1361, 1987): one
                base above 50 % and twice as frequent as the next; else the two above 75 % together; else three, where
                the fourth never occurs; else N.
        """
        if not iupac:
            return "".join(ALPHABET[i] for i in self.probabilities.argmax(1))
        text = []
        for row in self.probabilities if self.counts is None else self.counts:
            order = np.argsort(-row, kind="stable")
            first, second, third, last = row[order]
            if first > second + third + last and first > 2 * second:
                kept = 1
            elif first + second > 3 * (third + last):
                kept = 2
            else:
                kept = 4 if last > 0 else 3
            text.append(_IUPAC[frozenset(ALPHABET[i] for i in order[:kept])])
        return "".join(text)

    def trim(self, threshold: float | int) -> Motif:
        """Returns the motif without the outer positions that tell less than `threshold` bits (uniform background).

        Raises:
            InputError: no position tells as much.
        """
        bits = self.information()
        kept = np.flatnonzero(bits >= threshold)
        if not kept.size:
            raise InputError(
                f"{self._called()}: expected a position with at least {threshold} bits, found {bits.max():.3f} at most. "
                "Lower the threshold"
            )
        rows = slice(int(kept[0]), int(kept[-1]) + 1)
        counts = None if self.counts is None else self.counts[rows].copy()
        return dataclasses.replace(self, probabilities=self.probabilities[rows].copy(), counts=counts)

    def _sites_by_position(self, use: str) -> np.ndarray:
        if self.counts is not None:
            return self.counts.sum(1)
        if self.sites is None:
            raise InputError(
                f"{self._called()}: expected a number of sites for {use}, found none in its file. "
                "Give the pseudocount as a probability, or leave the correction out"
            )
        return np.full(len(self), float(self.sites))


def check_background(background: Background | None) -> Float64[np.ndarray, " 4"]:
    """Returns base frequencies of A C G T as float64 `[4]` that sum to 1; None = uniform.

    Raises:
        InputError: not four numbers above 0 that sum to 1 within 0.02.
    """
    values = np.asarray(UNIFORM if background is None else background, np.float64)
    if values.shape != (4,) or not (values > 0).all() or not abs(values.sum() - 1) <= SUM_TOLERANCE:
        raise InputError(f"background: expected four frequencies above 0 that sum to 1, found {show(values.tolist())}")
    return values / values.sum()
