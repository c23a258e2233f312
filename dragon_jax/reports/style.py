"""The frame of a page: style sheet and script inside, a table of contents, sections, figures with their legends.

A page loads nothing: its content policy forbids every request, so it looks the same in ten years and tells nobody that
it was opened. `page.css` and `page.js` lie beside this file and are copied into every page. Series colours are told
apart under the common colour-vision deficiencies, and lines that share a chart also differ in dashing.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from importlib.resources import files

from dragon_jax.reports.svg import escape

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'"


@dataclasses.dataclass(frozen=True)
class Section:
    """A part of a page: anchor, heading and body, which is HTML already."""

    anchor: str
    title: str
    body: str


def page(title: str, header: str, sections: Sequence[Section], footer: str) -> str:
    """Returns a whole page with a table of contents; `title` and headings are text, header, bodies and footer HTML."""
    css, script = (
        files("dragon_jax.reports").joinpath(name).read_text(encoding="utf-8") for name in ("page.css", "page.js")
    )
    contents = "".join(f'<li><a href="#{s.anchor}">{escape(s.title)}</a></li>' for s in sections)
    bodies = "".join(f'<section id="{s.anchor}"><h2>{escape(s.title)}</h2>\n{s.body}</section>\n' for s in sections)
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>{escape(title)}</title><style>{css}</style></head>\n<body>"
        f'<header>{header}</header>\n<nav aria-label="Contents"><ul>{contents}</ul></nav>\n<main>\n{bodies}</main>'
        f"<footer>{footer}</footer><script>{script}</script></body></html>\n"
    )


def figure(caption: str, drawing: str, legend: Sequence[tuple[str, str]] = (), remark: str = "") -> str:
    """Returns a chart with its caption, legend and remark, all text escaped here.

    Args:
        legend: pairs of style (`s1`, `s2 dash`, `dot s3`, `band s1`) and text.
    """
    items = "".join(f"<li>{_swatch(style)}{escape(text)}</li>" for style, text in legend)
    legend_html = f'<ul class="legend">{items}</ul>' if items else ""
    remark_html = f'<p class="remark">{escape(remark)}</p>' if remark else ""
    return f"<figure><figcaption>{escape(caption)}</figcaption>{drawing}{legend_html}{remark_html}</figure>"


def grid(figures: Sequence[str]) -> str:
    """Puts figures side by side, as many in a row as fit; empty ones are left out."""
    return f'<div class="grid">{"".join(figures)}</div>' if any(figures) else ""


def fold(title: str, body: str) -> str:
    """Returns a part that opens on a click; `title` is escaped here."""
    return f"<details><summary>{escape(title)}</summary>{body}</details>"


def note(text: str) -> str:
    """Returns a highlighted remark; `text` is escaped here."""
    return f'<p class="note">{escape(text)}</p>'


def anchor(text: str) -> str:
    """Returns a name that is safe as an id: letters, digits and dashes."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "part"


def _swatch(style: str) -> str:
    words = style.split()
    if "dot" in words:
        return f'<svg viewBox="0 0 26 10"><g class="{style}"><circle cx="13" cy="5" r="4"/></g></svg>'
    if "band" in words or "bar" in words:
        return f'<svg viewBox="0 0 26 10"><rect class="{style}" width="26" height="10"/></svg>'
    return f'<svg viewBox="0 0 26 10"><path class="line {style}" d="M0 5H26"/></svg>'
