"""What tests of pages share: a strict reader of HTML, and a name that must never become markup."""

from __future__ import annotations

from html.parser import HTMLParser

VOID = {"meta", "input", "br", "hr"}
NASTY = "</script><b>\"'&x"


class Reader(HTMLParser):
    """Checks that tags are balanced and gathers what tests ask about."""

    def __init__(self, text: str):
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.rows: dict[str, list[list[str]]] = {}
        self._table: list[list[str]] = []
        self.feed(text)
        self.close()
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "table":
            self._table = self.rows.setdefault(dict(attrs).get("id") or f"table {len(self.rows)}", [])
        elif tag == "tr":
            self._table.append([])
        elif tag in ("td", "th"):
            self._table[-1].append("")

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open and self.open[-1] == tag, f"</{tag}> closes {self.open[-3:]}"
        self.open.pop()

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("style", "script"):
            self.words.append(data)
            if {"td", "th"} & set(self.open):
                self._table[-1][-1] += data

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())
