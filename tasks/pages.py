"""Offline web pages from the templates in `tasks/templates/`; jinja2 escapes all text that is not `Html`."""

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup

Html = Markup  # text that is already HTML; what is joined to it is escaped
TEMPLATES = Path(__file__).with_name("templates")
EMPTY = Html()
NUMBER = "n"  # the CSS class of numeric cells


class Cell(NamedTuple):
    """The text of a cell, and its CSS class."""

    text: str
    look: str = ""


class Row(NamedTuple):
    """The cells of a row, and its CSS class."""

    cells: Sequence[Cell]
    look: str = ""


@dataclass(frozen=True)
class Section:
    """A part of a page; omitted if it has neither pictures nor a body.  `folded`: it opens on a click."""

    name: str
    title: str
    note: str = ""
    pictures: Sequence[Html] = field(default_factory=tuple)
    body: Html = field(default_factory=Html)
    folded: bool = False


def page(title: str, words: str, sections: Sequence[Section], top: Html = EMPTY, script: str = "") -> str:
    """A complete page with links to its sections.

    `top`: what stands above the links.  `script`: the name of a template, the only script that may run.
    """
    shown = [section for section in sections if section.pictures or section.body]
    text = TEMPLATES.joinpath(script).read_text(encoding="utf-8") if script else ""
    seal = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() if script else ""
    return _template("page.html.j2").render(title=title, words=words, sections=shown, top=top, script=Html(text), seal=seal)


def marks(given: Sequence[tuple[str, str, str, str]]) -> Html:
    """Questions with their answers, each as (CSS class, question, answer, words)."""
    signs = {"ok": "\N{CHECK MARK}", "fail": "\N{BALLOT X}", "warn": "?"}
    return _part("marks", [(signs[look], look, *rest) for look, *rest in given])


def chooser(data: object, words: str, names: Mapping[str, str], still: Html) -> Html:
    """A picture that `chooser.js` draws from `data`, any JSON.

    `still` stands in its place where no script runs.  `names`: the legend, by the CSS class of a line.
    """
    return _part("chooser", _json(data), words, names.items(), still)


def bullets(lines: Sequence[str]) -> Html:
    """Lines of text as a list."""
    return _part("bullets", lines)


def facts(pairs: Mapping[str, str | bool | None]) -> Html:
    """Names and values as a list."""
    return _part("facts", pairs.items())


def code(text: str) -> Html:
    """A command or a file as code."""
    return _part("code", text)


def paragraph(text: str, look: str = "", word: str = "") -> Html:
    """A sentence, followed by `word` in bold if given."""
    return _part("paragraph", text, look, word)


def folded(title: str, body: Html) -> Html:
    """Content that opens on a click."""
    return _part("folded", title, body)


def figure(caption: str, image: bytes, narrow: bytes | None = None) -> Html:
    """A PNG with its caption, and optionally another PNG for narrow screens."""
    return _part("figure", caption, _data(image), None if narrow is None else _data(narrow))


def table(heads: Sequence[Cell], rows: Sequence[Row]) -> Html:
    """A table with its own scroll bar on narrow pages."""
    return _part("table", heads, rows)


def grid(heads: Sequence[str], body: Sequence[Sequence[str]]) -> Html:
    """A table of texts: a first column of names, the others numbers."""

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


def _json(data: object) -> Html:
    """JSON that can stand in an HTML element: no character in it ends that or begins another."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    return Html("".join(f"\\u{ord(letter):04x}" if letter in "<>&" else letter for letter in text))


def _data(image: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(image).decode()}"
