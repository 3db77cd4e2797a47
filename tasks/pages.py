"""Web pages that work offline, from the templates in `tasks/templates/`; jinja2 escapes every text that is not `Html`."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup

Html = Markup  # text that is HTML already; whatever is joined to it is escaped
TEMPLATES = Path(__file__).with_name("templates")
NUMBER = "n"  # the look of a cell that is aligned as numbers are


class Cell(NamedTuple):
    """The text of a cell, and its class in the style sheet."""

    text: str
    look: str = ""


class Row(NamedTuple):
    """The cells of a row, and its class in the style sheet."""

    cells: Sequence[Cell]
    look: str = ""


@dataclass(frozen=True)
class Section:
    """A part of a page; one without pictures and body is left out."""

    name: str
    title: str
    note: str = ""
    pictures: Sequence[Html] = field(default_factory=tuple)
    body: Html = field(default_factory=Html)


def page(title: str, words: str, sections: Sequence[Section]) -> str:
    """A whole page with links to its sections."""
    shown = [section for section in sections if section.pictures or section.body]
    return _template("page.html.j2").render(title=title, words=words, sections=shown)


def bullets(lines: Sequence[str]) -> Html:
    """Lines of text as a list."""
    return _part("bullets", lines)


def facts(pairs: Mapping[str, str | bool | None]) -> Html:
    """Names and values."""
    return _part("facts", pairs.items())


def code(text: str) -> Html:
    """A command, or a file."""
    return _part("code", text)


def paragraph(text: str, look: str = "", word: str = "") -> Html:
    """A sentence, with an answer in bold after it where there is one."""
    return _part("paragraph", text, look, word)


def folded(title: str, body: Html) -> Html:
    """What opens on a click."""
    return _part("folded", title, body)


def figure(caption: str, image: bytes, narrow: bytes | None = None) -> Html:
    """A PNG with its caption; on a screen as narrow as a phone's another one, where there is one."""
    return _part("figure", caption, _data(image), None if narrow is None else _data(narrow))


def table(heads: Sequence[Cell], rows: Sequence[Row]) -> Html:
    """A table that scrolls by itself where the page is narrower."""
    return _part("table", heads, rows)


def grid(heads: Sequence[str], body: Sequence[Sequence[str]]) -> Html:
    """A table of texts whose columns are numbers, but for the first."""

    def cells(texts: Sequence[str]) -> list[Cell]:
        return [Cell(text, NUMBER if at else "") for at, text in enumerate(texts)]

    return table(cells(heads), [Row(cells(row)) for row in body])


@cache
def _template(name: str) -> Template:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template(name)


def _part(name: str, *values: object) -> Html:
    return Html(getattr(_template("parts.html.j2").module, name)(*values))


def _data(image: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(image).decode()}"
