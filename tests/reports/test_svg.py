"""Charts: round ticks, labels of one style, paths that stay small and true, text that cannot break out."""

from __future__ import annotations

import re

import numpy as np
import pytest

from dragon_jax.reports import svg
from dragon_jax.reports.svg import Panel, escape, log_ticks, nice_ticks, span, tick_labels


@pytest.mark.parametrize(
    ("low", "high"), [(0.0, 1.0), (-0.02, 1.02), (0.537, 0.541), (0.0, 12_345.0), (-7.0, 3e6), (1e-7, 3e-7)]
)
def test_ticks_are_few_round_and_inside(low, high):
    ticks = nice_ticks(low, high)
    assert 2 <= len(ticks) <= 8
    assert all(low - 1e-9 * abs(high) <= t <= high * (1 + 1e-9) for t in ticks)
    steps = np.diff(ticks)
    np.testing.assert_allclose(steps, steps[0], rtol=1e-6)
    mantissa = steps[0] / 10 ** np.floor(np.log10(steps[0]) + 1e-9)
    assert min(abs(mantissa - m) for m in (1, 2, 2.5, 5)) < 1e-6
    labels = tick_labels(ticks)
    assert len(set(labels)) == len(labels)


def test_labels_along_an_axis_share_their_style():
    assert tick_labels([0.0, 0.25, 0.5]) == ["0.00", "0.25", "0.50"]
    assert tick_labels([0.0, 500.0, 1000.0]) == ["0", "500", "1,000"]
    assert tick_labels([0.0, 5e3, 1e4]) == ["0", "5k", "10k"]
    assert tick_labels([1e-5, 2e-5]) == ["1e-5", "2e-5"]


def test_ticks_of_a_log_axis_are_powers_or_few_multiples():
    np.testing.assert_allclose(log_ticks(0.001, 1.1), [0.001, 0.01, 0.1, 1])
    np.testing.assert_allclose(log_ticks(0.15, 0.9), [0.2, 0.5])


def test_range_ignores_what_is_not_finite_and_is_never_empty():
    assert span([np.nan, np.inf]) == (0.0, 1.0)
    low, high = span([3.0, 3.0], [np.nan])
    assert low < 3 < high


def test_long_curve_stays_small_and_keeps_its_ends():
    x = np.linspace(0, 1, 100_000)
    drawing = Panel("x", "y").line(x, np.sqrt(x)).render()
    assert len(drawing) < 20_000
    path = re.search(r'class="line s1" d="([^"]+)"', drawing).group(1)  # type: ignore[union-attr]
    points = np.array([p.split() for p in path.removeprefix("M").split("L")], float)
    assert points[0, 0] == svg._LEFT and points[-1, 0] == svg.WIDTH - svg._RIGHT
    panel = Panel("x", "y")
    on_curve = panel._y(np.sqrt((points[:, 0] - svg._LEFT) / (svg.WIDTH - svg._RIGHT - svg._LEFT)))
    late = points[:, 0] > 100  # it rises steeply at first
    np.testing.assert_allclose(points[late, 1], on_curve[late], atol=0.6)


def test_gap_in_a_line_where_a_value_is_missing():
    drawing = Panel("x", "y").line([0, 0.2, 0.4, 0.6, 0.8], [0, 1, np.nan, 1, 0]).render()
    path = re.search(r'class="line s1" d="([^"]+)"', drawing).group(1)  # type: ignore[union-attr]
    assert path.count("M") == 2


def test_values_far_outside_the_axes_do_not_break_the_drawing():
    drawing = Panel("x", "y").line([0, 1], [-1e300, 1e300]).points([0.5], [np.inf]).render()
    assert "nan" not in drawing and "inf" not in drawing and "<circle" not in drawing


def test_hexagons_count_every_point_once():
    rng = np.random.default_rng(0)
    one = Panel("x", "y")
    assert one.hexagons(np.full(500, 0.3), np.full(500, 0.7)) == 500
    assert one.render().count("v") >= 2
    many = Panel("x", "y")
    most = many.hexagons(rng.random(5000), rng.random(5000))
    assert 1 < most < 50  # about 4 in each of 36 x 24 x 2 cells
    assert Panel("x", "y").hexagons(np.array([np.nan, 5.0]), np.array([0.5, 0.5])) == 0


def test_text_is_escaped_everywhere_in_a_chart():
    nasty = '</svg><script>alert("1")</script>\x00'
    drawing = Panel(nasty, nasty, description=nasty).points([0.5], [0.5], titles=[nasty]).render()
    assert "<script" not in drawing and drawing.count("</svg>") == 2 and "\x00" not in drawing
    assert escape("a\x00b\nc<&\"'") == "a?b c&lt;&amp;&quot;&#x27;"
