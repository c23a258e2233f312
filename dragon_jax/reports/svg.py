"""One small chart as SVG text: axes, lines, bands, points, bars, hexagons.

Colours are CSS classes (`s1` ... `s5`, `muted`), never values, so that one drawing serves light, dark and printed pages
(`page.css` holds the rules). Titles, legends and remarks are HTML around the drawing: text there wraps by itself and
can never cover a curve. A drawing is `WIDTH` units wide and shown about as many pixels wide, on a telephone too, so 12
units of type stay readable.
"""

from __future__ import annotations

import html
import math
from collections.abc import Sequence

import numpy as np

WIDTH, HEIGHT = 380, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 14, 10, 46
_TICKS_X, _TICKS_Y = 5, 6


def escape(text: object) -> str:
    """Returns `text` safe between tags and inside quoted attributes; control characters become a visible `?`."""
    kept = "".join(c if c >= " " and not "\x7f" <= c <= "\x9f" else " " if c in "\n\t" else "?" for c in str(text))
    return html.escape(kept, quote=True)


def escape_lines(text: str) -> str:
    """Escapes text of several lines and keeps the lines."""
    return "\n".join(escape(line) for line in text.rstrip().splitlines())


def nice_ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Returns about `count` round numbers (1, 2, 2.5 or 5 times a power of ten) inside `[low, high]`."""
    if not (math.isfinite(low) and math.isfinite(high) and high > low):
        return [low] if math.isfinite(low) else []
    rough = (high - low) / max(count, 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= rough * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [i * step for i in range(first, last + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """Returns the powers of ten inside `[low, high]`; with fewer than two of them 1, 2 and 5 times each."""
    powers = range(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 2)
    for multiples in ((1,), (1, 2, 5)):
        ticks = [m * 10.0**p for p in powers for m in multiples if low * 0.999 <= m * 10.0**p <= high * 1.001]
        if len(ticks) > 1:
            break
    every = math.ceil(len(ticks) / 6)
    return ticks[::every]


def tick_labels(ticks: Sequence[float]) -> list[str]:
    """Returns short labels of one style along an axis: `0.00 0.25 0.50`, `1,500 2,000`, `10k 15k`, `1e-5 1e-4`."""
    largest = max((abs(t) for t in ticks), default=0.0)
    for unit, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if largest >= max(unit, 1e4):
            return [f"{t / unit:g}{letter}" if t else "0" for t in ticks]
    for decimals in range(4):
        if all(abs(t - round(t, decimals)) < 1e-9 * max(largest, 1e-3) for t in ticks):
            return [f"{t:,.{decimals}f}" for t in ticks]
    return [f"{t:.3g}".replace("e-0", "e-") if t else "0" for t in ticks]


def span(*values: Sequence | np.ndarray, pad: float = 0.04) -> tuple[float, float]:
    """Returns the range of all finite numbers, widened by `pad` on both sides; `(0, 1)` when there is none."""
    parts = [np.asarray(v, np.float64).ravel() for v in values]
    flat = np.concatenate(parts) if parts else np.empty(0)
    flat = flat[np.isfinite(flat)]
    if not flat.size:
        return 0.0, 1.0
    low, high = float(flat.min()), float(flat.max())
    margin = (high - low) * pad or abs(high) * 0.1 or 0.5
    return low - margin, high + margin


class Panel:
    """A chart with two axes; `render` gives the `<svg>` element.

    Attributes:
        x_range, y_range: what the axes show; data outside is clipped.
        x_log, y_log: powers of ten instead of a linear axis; the range must then be positive.
        x_whole: only whole numbers have ticks on the x axis.
        description: what a screen reader says in place of the drawing.
    """

    def __init__(
        self,
        x_label: str,
        y_label: str,
        x_range: tuple[float, float] = (0.0, 1.0),
        y_range: tuple[float, float] = (0.0, 1.0),
        *,
        x_log: bool = False,
        y_log: bool = False,
        x_whole: bool = False,
        description: str = "",
    ):
        self.x_label, self.y_label, self.description = x_label, y_label, description
        self.x_range, self.y_range, self.x_log, self.y_log = x_range, y_range, x_log, y_log
        self.x_whole = x_whole
        self._marks: list[str] = []

    # Data to drawing units. Both keep the shape of their argument.
    def _x(self, values) -> np.ndarray:
        return np.asarray(_LEFT + _unit(values, self.x_range, self.x_log) * (WIDTH - _LEFT - _RIGHT))

    def _y(self, values) -> np.ndarray:
        return np.asarray(HEIGHT - _BOTTOM - _unit(values, self.y_range, self.y_log) * (HEIGHT - _TOP - _BOTTOM))

    def line(self, x, y, style: str = "s1", *, dashed: bool = False) -> Panel:
        """Joins the points; a point that is not finite interrupts the line."""
        px, py = self._x(x), self._y(y)
        good = np.isfinite(px) & np.isfinite(py)
        edges = np.flatnonzero(np.diff(np.concatenate([[0], good.astype(np.int8), [0]])))
        pieces = [_path(px[a:b], py[a:b]) for a, b in zip(edges[::2], edges[1::2], strict=True)]
        dash = " dash" if dashed else ""
        if pieces:
            self._marks.append(f'<path class="line {style}{dash}" d="{"".join(pieces)}"/>')
        return self

    def band(self, x, low, high, style: str = "s1") -> Panel:
        """Fills the area between two curves over the same x."""
        xs = np.concatenate([np.asarray(x), np.asarray(x)[::-1]])
        ys = np.concatenate([np.asarray(low), np.asarray(high)[::-1]])
        self._marks.append(f'<path class="band {style}" d="{_path(self._x(xs), self._y(ys))}Z"/>')
        return self

    def points(self, x, y, style: str = "s1", *, radius: float = 3.2, titles: Sequence[str] | None = None) -> Panel:
        """Draws a dot each; `titles` are shown when the pointer rests on a dot."""
        px, py = self._x(x), self._y(y)
        drawn = []
        for i in np.flatnonzero(np.isfinite(px) & np.isfinite(py)).tolist():
            at = f'cx="{px[i]:.1f}" cy="{py[i]:.1f}" r="{radius:g}"'
            drawn.append(
                f"<circle {at}/>" if titles is None else f"<circle {at}><title>{escape(titles[i])}</title></circle>"
            )
        if drawn:
            self._marks.append(f'<g class="dot {style}">{"".join(drawn)}</g>')
        return self

    def bars(self, left, right, height, style: str = "s1", *, base: float = 0.0) -> Panel:
        """Draws a histogram: one bar from `base` to `height`, up or down, over each `[left, right]`."""
        x0, x1, y0, y1 = self._x(left), self._x(right), self._y(np.full(len(left), base)), self._y(height)
        corners = zip(x0, x1, y0, y1, strict=True)
        d = "".join(f"M{a:.1f} {c:.1f}V{e:.1f}H{b:.1f}V{c:.1f}Z" for a, b, c, e in corners if e != c)
        if d:
            self._marks.append(f'<path class="bar {style}" d="{d}"/>')
        return self

    def whiskers(self, x, low, high, style: str = "s1") -> Panel:
        """Draws a vertical interval at each x."""
        parts = zip(self._x(x), self._y(low), self._y(high), strict=True)
        d = "".join(f"M{a:.1f} {b:.1f}V{c:.1f}" for a, b, c in parts if np.isfinite([a, b, c]).all())
        if d:
            self._marks.append(f'<path class="line thin {style}" d="{d}"/>')
        return self

    def hexagons(self, x, y, style: str = "s1", *, columns: int = 36) -> int:
        """Counts points in hexagonal cells, more points more opaque (log scale); returns the largest count.

        Cells come from two shifted rectangular lattices, each point going to the nearer centre (Carr et al. 1987).
        """
        px, py = self._x(x), self._y(y)
        good = (px >= _LEFT) & (px <= WIDTH - _RIGHT) & (py >= _TOP) & (py <= HEIGHT - _BOTTOM)  # false for NaN
        if not good.any():
            return 0
        dx = (WIDTH - _LEFT - _RIGHT) / columns
        dy = dx * math.sqrt(3)
        u, v = (px[good] - _LEFT) / dx, (py[good] - _TOP) / dy
        uv = np.stack([u, v], 1)
        first, second = np.round(uv), np.floor(uv) + 0.5
        far = [(((uv - centre) * (1.0, math.sqrt(3))) ** 2).sum(1) for centre in (first, second)]
        centres, counts = np.unique(np.where((far[0] <= far[1])[:, None], first, second), axis=0, return_counts=True)
        levels = np.ceil(8 * np.log1p(counts) / np.log1p(counts.max())).astype(int)
        r = dx / math.sqrt(3)
        hexagon = f"l{dx / 2:.2f} {r / 2:.2f}v{r:.2f}l{-dx / 2:.2f} {r / 2:.2f}l{-dx / 2:.2f} {-r / 2:.2f}v{-r:.2f}z"
        for level in np.unique(levels):
            chosen = centres[levels == level]
            d = "".join(f"M{_LEFT + a * dx:.1f} {_TOP + b * dy - r:.1f}{hexagon}" for a, b in chosen)
            self._marks.append(f'<path class="hex {style}" fill-opacity="{0.12 + 0.11 * level:.2f}" d="{d}"/>')
        return int(counts.max())

    def horizontal(self, y: float, style: str = "muted") -> Panel:
        """Draws a dashed line across the whole width, for a baseline."""
        return self.line(np.array(self.x_range), np.array([y, y]), style, dashed=True)

    def vertical(self, x: float, style: str = "muted") -> Panel:
        """Draws a dashed line over the whole height."""
        return self.line(np.array([x, x]), np.array(self.y_range), style, dashed=True)

    def render(self) -> str:
        """Returns the `<svg>` element; marks are clipped to the axes."""
        bottom, right = HEIGHT - _BOTTOM, WIDTH - _RIGHT
        ticks_x = _ticks(self.x_range, self.x_log, _TICKS_X, self.x_whole)
        ticks_y = _ticks(self.y_range, self.y_log, _TICKS_Y)
        grid, labels = [], []
        for value, label in ticks_x:
            x = float(self._x(value))
            grid.append(f"M{x:.1f} {_TOP}V{bottom}")
            labels.append(f'<text x="{x:.1f}" y="{bottom + 16}" text-anchor="middle">{escape(label)}</text>')
        for value, label in ticks_y:
            y = float(self._y(value))
            grid.append(f"M{_LEFT} {y:.1f}H{right}")
            labels.append(f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{escape(label)}</text>')
        # Dots on an edge stay whole: marks are clipped a little outside the axes.
        box = f"{_LEFT - 4} {_TOP - 4} {right - _LEFT + 8} {bottom - _TOP + 8}"
        x0, y0, w, h = box.split()
        middle_x, middle_y = (_LEFT + right) / 2, (_TOP + bottom) / 2
        turned = f'transform="translate(12 {middle_y:.1f}) rotate(-90)"'
        marks = "".join(self._marks)
        return (
            f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(self.description)}">'
            f'<path class="lines" d="{"".join(grid)}"/>'
            f'<svg x="{x0}" y="{y0}" width="{w}" height="{h}" viewBox="{box}" overflow="hidden">{marks}</svg>'
            f'<path class="frame" d="M{_LEFT} {_TOP}V{bottom}H{right}"/>{"".join(labels)}'
            f'<text class="name" x="{middle_x:.1f}" y="{HEIGHT - 8}" text-anchor="middle">{escape(self.x_label)}</text>'
            f'<text class="name" {turned} text-anchor="middle">{escape(self.y_label)}</text></svg>'
        )


def _ticks(limits: tuple[float, float], log: bool, count: int, whole: bool = False) -> list[tuple[float, str]]:
    """Returns places and labels; on a log axis each label stands for itself."""
    if log:
        return [(t, tick_labels([t])[0]) for t in log_ticks(*limits)]
    ticks = [t for t in nice_ticks(*limits, count) if not whole or abs(t - round(t)) < 1e-6]
    return list(zip(ticks, tick_labels(ticks), strict=True))


def _unit(values, limits: tuple[float, float], log: bool) -> np.ndarray:
    """Returns where values lie between the limits, 0 to 1; NaN where a logarithm does not exist."""
    values = np.asarray(values, np.float64)
    low, high = limits
    if log:
        values = np.log10(np.where(values > 0, values, np.nan))
        low, high = math.log10(low), math.log10(high)
    return np.asarray((values - low) / ((high - low) or 1.0))


def _path(x: np.ndarray, y: np.ndarray) -> str:
    """Returns path data without the points that change nothing at a third of a unit: long curves stay small."""
    xs, ys = (np.round(np.clip(v, -1e5, 1e5) * 3).astype(np.int64) for v in (x, y))
    moved = np.ones(len(xs), bool)
    moved[1:] = (np.diff(xs) != 0) | (np.diff(ys) != 0)
    xs, ys = xs[moved], ys[moved]
    if len(xs) > 2:  # in a straight run only the ends are needed
        ax, ay, bx, by = np.diff(xs)[:-1], np.diff(ys)[:-1], np.diff(xs)[1:], np.diff(ys)[1:]
        bend = np.concatenate([[True], (ax * by != ay * bx) | (ax * bx + ay * by < 0), [True]])
        xs, ys = xs[bend], ys[bend]
    steps = [f"{a / 3:.1f} {b / 3:.1f}" for a, b in zip(xs.tolist(), ys.tolist(), strict=True)]
    return "M" + "L".join(steps) if steps else ""
