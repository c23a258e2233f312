"""Negatives from the genome that look like the positives: windows drawn so that GC content and repeat share agree.

A classifier that may tell positives from negatives by composition learns composition. Positives and pool are laid on one
grid over (GC, repeat share), each bin asks for as many negatives as it has positives times the ratio, and these are drawn
at random from the same bin of the pool. Where a bin of the pool runs dry, a transport problem between bins finds the
nearest ones that have windows to spare, no farther than the tolerance; it is solved exactly, so a pool that is refused
is too small for any choice. Matching GC and repeats is what gkmSVM's null sequences do (Ghandi et al., Bioinformatics
32, 2205-2207, 2016).
"""

from __future__ import annotations

import dataclasses
import hashlib
from typing import Any, Literal

import numpy as np
from jaxtyping import Float64, Int64

from dragon_jax.errors import InputError, listing, show

_LOST = 1e6  # price of a negative that no bin can give: far above every distance, so it is paid last


@dataclasses.dataclass(frozen=True)
class Features:
    """What windows are matched by.

    Attributes:
        gc: float64 `[N]` share of G and C among the known bases (`dna.gc_content`); NaN where a window has none.
        split: `[N]` label of the split that each window belongs to, text or integers.
        repeats: float64 `[N]` share of soft-masked bases, or None to match by GC alone.
    """

    gc: np.ndarray
    split: np.ndarray
    repeats: np.ndarray | None = None

    def __post_init__(self):
        wrong = [len(x) for x in (self.split, self.repeats) if x is not None and len(x) != len(self.gc)]
        if wrong:
            raise InputError(f"features of windows: expected columns of {len(self.gc):,} rows, found {wrong[0]:,}")

    def __len__(self) -> int:
        return len(self.gc)

    def take(self, rows: np.ndarray) -> Features:
        return Features(self.gc[rows], self.split[rows], None if self.repeats is None else self.repeats[rows])


@dataclasses.dataclass(frozen=True)
class MatchReport:
    """How well the chosen windows match, for one split or feature after the other.

    Attributes:
        splits: for each split: `positives`, `pool`, `chosen`, `from_other_bins`, `missing` (counts), and under `gc` and perhaps
            `repeats`: `edges` and the counts per bin of `positives`, `chosen` and `pool`, their `mean`s, and
            `ks_pool`, `ks_chosen`, the Kolmogorov-Smirnov distance of the positives to the pool and to the chosen.
        settings: ratio, bins, tolerances, seed.
    """

    splits: dict[str, dict[str, Any]]
    settings: dict[str, Any]

    def as_dict(self) -> dict[str, Any]:
        """Returns plain numbers, lists and text, ready for JSON."""
        return {"settings": dict(self.settings), "splits": self.splits}

    def lines(self) -> list[str]:
        """Returns one line per split to print."""
        result = []
        for name, found in self.splits.items():
            text = f"{name}: {found['chosen']:,} negatives for {found['positives']:,} positives from {found['pool']:,} windows"
            for feature, noun in (("gc", "GC"), ("repeats", "repeats")):
                if feature in found:
                    a = found[feature]
                    text += f", {noun} distance (KS) {a['ks_pool']:.3f} before and {a['ks_chosen']:.3f} after"
            if found["from_other_bins"]:
                text += f", {found['from_other_bins']:,} from neighbouring bins"
            if found["missing"]:
                text += f", {found['missing']:,} that the pool does not hold are missing"
            result.append(text)
        return result


def match_windows(
    positives: Features,
    pool: Features,
    ratio: float | int,
    seed: int,
    *,
    bins: Literal["width", "quantile"] = "width",
    width: float | int = 0.02,
    quantiles: int = 20,
    tolerance: float | int = 0.04,
    repeat_width: float | int = 0.1,
    repeat_tolerance: float | int = 0.2,
    shortage: Literal["refuse", "allow"] = "refuse",
) -> tuple[Int64[np.ndarray, " M"], MatchReport]:
    """Draws negatives for the positives of each split from the windows of the pool in the same split, none twice.

    The draw of a split depends on its own rows, the seed and the label of the split, and not on the other splits.

    Args:
        positives, pool: what they are matched by; repeat shares in both or in neither. Windows of the pool without any
            known base are never drawn.
        ratio: negatives per positive, above 0; each split gets the nearest whole number.
        seed: of the random draw.
        bins: `width` (GC in steps of `width`) or `quantile` (GC cut at quantiles of the positives of the split).
        quantiles: how many parts `quantile` makes.
        tolerance: how far, in GC, the bin of a negative may lie from the bin of its positive, centre to centre, when
            that one runs dry. 0 = negatives come from the same bin only.
        repeat_width, repeat_tolerance: the same for the repeat share.
        shortage: `allow` draws what there is where the pool is too small, and the report counts the `missing`.

    Returns:
        Rows of the pool, split by split in order of the label, ascending inside a split; and the report.

    Raises:
        InputError: settings out of range, positives without a known base, or a pool that is too small in some bin.
    """
    _check(positives, pool, ratio, width, quantiles, tolerance, repeat_width, repeat_tolerance)
    ratio, width, tolerance = float(ratio), float(width), float(tolerance)
    repeat_width, repeat_tolerance = float(repeat_width), float(repeat_tolerance)
    names, of_positive = np.unique(positives.split.astype(str), return_inverse=True)
    pool_split = pool.split.astype(str)
    # windows without any repeat are many and have a bin of their own
    repeat_edges = None if pool.repeats is None else np.insert(_even(repeat_width), 1, 1e-9)
    rows, reports = [np.zeros(0, np.int64)], {}
    for i, name in enumerate(names.tolist()):
        mine = positives.take(of_positive == i)
        there = np.flatnonzero((pool_split == name) & ~np.isnan(pool.gc))
        theirs = pool.take(there)
        grid = _Grid(_even(width) if bins == "width" else _quantiles(mine.gc, quantiles), repeat_edges)
        if bins == "quantile":  # the outer bins reach to 0 and 1, where no positive lies
            inside = np.r_[mine.gc.min(), grid.gc[1:-1], mine.gc.max()]
            grid.middle = (inside[1:] + inside[:-1]) / 2
        here, others = grid.place(mine), grid.place(theirs)
        needed = _shares(np.bincount(here, minlength=grid.size), ratio)
        held = np.bincount(others, minlength=grid.size)
        take = grid.transport(needed, held, tolerance, repeat_tolerance, name if shortage == "refuse" else None)
        chosen = _draw(others, take, [seed, *hashlib.sha256(name.encode()).digest()[:8]])
        rows.append(there[chosen])
        counts = {
            "from_other_bins": int(np.maximum(take - needed, 0).sum()),
            "missing": int((needed - take).sum()),
        }
        reports[name] = counts | _describe(mine, theirs, theirs.take(chosen), grid)
    settings = {"ratio": ratio, "seed": seed, "bins": bins, "tolerance": tolerance}
    settings |= {"width": width} if bins == "width" else {"quantiles": quantiles}
    if repeat_edges is not None:
        settings |= {"repeat_width": repeat_width, "repeat_tolerance": repeat_tolerance}
    return np.concatenate(rows), MatchReport(reports, settings)


def ks_distance(a: Float64[np.ndarray, " N"], b: Float64[np.ndarray, " M"]) -> float:
    """Returns the largest difference between the distribution functions of two samples, 0 to 1; NaN if one is empty."""
    if not len(a) or not len(b):
        return float("nan")
    a, b = np.sort(a), np.sort(b)
    every = np.concatenate([a, b])
    below = [np.searchsorted(x, every, "right") / len(x) for x in (a, b)]
    return float(np.abs(below[0] - below[1]).max())


class _Grid:
    """Bins over GC, and over the repeat share where there is one; numbered row by row."""

    def __init__(self, gc: Float64[np.ndarray, " E"], repeats: Float64[np.ndarray, " F"] | None):
        self.gc, self.repeats = gc, repeats
        self.middle = (gc[1:] + gc[:-1]) / 2
        self.across = 1 if repeats is None else len(repeats) - 1
        self.size = (len(gc) - 1) * self.across

    def place(self, features: Features) -> Int64[np.ndarray, " N"]:
        """Returns the bin of each window; the outer bins take what lies beyond."""
        result = np.searchsorted(self.gc[1:-1], features.gc, "right") * self.across
        if self.repeats is not None:
            assert features.repeats is not None
            result += np.searchsorted(self.repeats[1:-1], features.repeats, "right")
        return result

    def spell(self, number: int) -> str:
        i, j = divmod(number, self.across)
        text = f"GC {self.gc[i]:.3g} to {self.gc[i + 1]:.3g}"
        return text if self.repeats is None else f"{text}, repeats {self.repeats[j]:.3g} to {self.repeats[j + 1]:.3g}"

    def transport(
        self,
        needed: Int64[np.ndarray, " B"],
        held: Int64[np.ndarray, " B"],
        tolerance: float,
        repeat_tolerance: float,
        split: str | None,
    ) -> Int64[np.ndarray, " B"]:
        """Returns how many windows to draw from each bin of the pool, as near to `needed` as it holds them.

        Among all ways to serve every bin from bins within the tolerances this one has the least sum of distances. The
        constraints of a transport problem have whole-number corners, and the dual simplex method ends in a corner. Where
        there is none, InputError, or with `split=None` a way that serves as many as can be.
        """
        if (needed <= held).all():
            return needed
        from scipy.optimize import linprog
        from scipy.sparse import coo_array

        asking, giving = np.flatnonzero(needed), np.flatnonzero(held)
        gap = np.abs(self.middle[asking // self.across][:, None] - self.middle[giving // self.across][None])
        near, price = gap <= tolerance + 1e-9, gap
        if self.repeats is not None:
            middle = (self.repeats[1:] + self.repeats[:-1]) / 2
            gap = np.abs(middle[asking % self.across][:, None] - middle[giving % self.across][None])
            near, price = near & (gap <= repeat_tolerance + 1e-9), price + gap
        near |= asking[:, None] == giving[None]
        i, j = np.nonzero(near)
        n, k = len(asking), len(i)
        column = np.arange(k)
        # served + lost = needed for each bin that asks; given <= held for each bin of the pool
        equal = coo_array((np.ones(k + n), (np.r_[i, np.arange(n)], np.arange(k + n))), (n, k + n)).tocsr()
        upper = coo_array((np.ones(k), (j, column)), (len(giving), k + n)).tocsr() if len(giving) else None
        found = linprog(
            np.r_[price[i, j], np.full(n, _LOST)],
            A_ub=upper,
            b_ub=held[giving] if len(giving) else None,
            A_eq=equal,
            b_eq=needed[asking],
            method="highs-ds",
        )
        if found.status != 0:
            raise RuntimeError(f"transport between bins failed: {found.message}")
        flow = np.rint(found.x).astype(np.int64)
        lost = flow[k:]
        if lost.any() and split is not None:
            worst = int(lost.argmax())
            bin_, reach = int(asking[worst]), int(held[giving[near[worst]]].sum())
            within = f"{tolerance:g} GC" + ("" if self.repeats is None else f" and {repeat_tolerance:g} repeat share")
            raise InputError(
                f"too few candidate windows to match split '{show(split)}': {int(needed.sum()):,} negatives needed, the "
                f"pool of {int(held.sum()):,} windows can give {int((needed[asking] - lost).sum()):,}. Worst bin "
                f"{self.spell(bin_)}: expected {int(needed[bin_]):,} windows, found {int(held[bin_]):,} in it and "
                f"{reach:,} within {within}, which other bins share. Lower data.negatives.per_positive, raise "
                "data.negatives.gc_tolerance, or set data.negatives.shortage=allow to do with fewer"
            )
        return np.bincount(giving[j], flow[:k], self.size).astype(np.int64)


def _check(
    positives: Features,
    pool: Features,
    ratio: float | int,
    width: float | int,
    quantiles: int,
    tolerance: float | int,
    repeat_width: float | int,
    repeat_tolerance: float | int,
) -> None:
    if not (0 < ratio < float("inf")):
        raise InputError(f"ratio of negatives to positives: expected a number above 0, found {ratio}")
    for name, value in (("width", width), ("repeat_width", repeat_width)):
        if not 0.001 <= value <= 1:
            raise InputError(f"{name} of the bins: expected 0.001 to 1, found {value}")
    if quantiles < 1:
        raise InputError(f"quantiles: expected at least 1, found {quantiles}")
    if not (tolerance >= 0 and repeat_tolerance >= 0):
        raise InputError(f"tolerance: expected at least 0, found {min(tolerance, repeat_tolerance)}")
    if (positives.repeats is None) != (pool.repeats is None):
        having = "pool" if positives.repeats is None else "positives"
        raise InputError(
            f"repeat shares of windows: expected for positives and pool or for neither, found for the {having} only"
        )
    for noun, features in (("positive", positives), ("candidate", pool)):
        for what, values in (("GC content", features.gc), ("repeat share", features.repeats)):
            if values is None:
                continue
            bad = np.isinf(values) | (values < 0) | (values > 1)
            bad |= np.isnan(values) & (what != "GC content" or noun == "positive")
            if bad.any():
                values = values[bad]
                why = "They have no known base; remove them" if np.isnan(values).all() else "Use shares, not percents"
                raise InputError(
                    f"{what} of {int(bad.sum()):,} {noun} windows: expected 0 to 1, found {listing(values.tolist(), 3)}. {why}"
                )


def _even(width: float) -> Float64[np.ndarray, " E"]:
    return np.linspace(0, 1, max(1, int(np.ceil(1 / width - 1e-9))) + 1)


def _quantiles(gc: Float64[np.ndarray, " N"], parts: int) -> Float64[np.ndarray, " E"]:
    inner = np.unique(np.quantile(gc, np.linspace(0, 1, parts + 1)[1:-1]))
    return np.concatenate([[0.0], inner[(inner > 0) & (inner < 1)], [1.0]])


def _shares(counts: Int64[np.ndarray, " B"], ratio: float) -> Int64[np.ndarray, " B"]:
    """Returns `ratio` times the counts in whole numbers: running sums are rounded, so that no end of the grid gains."""
    return np.diff(np.floor(counts.cumsum() * ratio + 0.5).astype(np.int64), prepend=0)


def _draw(bins: Int64[np.ndarray, " N"], take: Int64[np.ndarray, " B"], seed: list[int]) -> Int64[np.ndarray, " M"]:
    """Returns ascending rows, `take[b]` of them drawn from the rows of bin b."""
    order = np.random.default_rng(seed).permutation(len(bins))
    order = order[np.argsort(bins[order], kind="stable")]
    begin = np.concatenate([[0], np.cumsum(np.bincount(bins, minlength=len(take)))[:-1]])
    place = np.arange(len(order)) - begin[bins[order]]
    return np.sort(order[place < take[bins[order]]])


def _describe(mine: Features, theirs: Features, chosen: Features, grid: _Grid) -> dict[str, Any]:
    result: dict[str, Any] = {"positives": len(mine), "pool": len(theirs), "chosen": len(chosen)}
    for feature, edges in (("gc", grid.gc), ("repeats", grid.repeats)):
        if edges is None:
            continue
        groups = {"positives": mine, "chosen": chosen, "pool": theirs}
        values = {name: getattr(group, feature).astype(np.float64) for name, group in groups.items()}
        result[feature] = {
            "edges": edges.tolist(),
            **{name: np.histogram(v, edges)[0].tolist() for name, v in values.items()},
            "mean": {name: float(v.mean()) if len(v) else None for name, v in values.items()},
            "ks_pool": ks_distance(values["positives"], values["pool"]),
            "ks_chosen": ks_distance(values["positives"], values["chosen"]),
        }
    return result
