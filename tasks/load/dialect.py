"""Detects the format of a text table from its bytes: encoding, lines before the header, separator, numbers.

Nothing ambiguous is guessed: the error shows the cell and what to write.
"""

import codecs
import csv
import io
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from params.data import CsvParams
from params.errors import UserError
from tasks.load.numbers import ANY, NULLS, evidence_of
from tasks.load.text import UnknownForm, opened, separator_of

HEAD = 1 << 20  # bytes examined for the layout
LEADING = 60  # most lines before the header
BODY = 400  # rows examined for the columns' content
TIMELIKE = re.compile(r"\d{1,4}[-/.]\d{1,2}([-/.]\d{1,4})?([T ].*)?|\d{1,2}:\d{2}.*|\d{4}-?[QW]\d{1,2}.*")
BOMS = {codecs.BOM_UTF8: "utf-8", codecs.BOM_UTF32_LE: "utf-32", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}


@dataclass(frozen=True)
class _Layout:
    """A way to split a text into cells: separator, lines before the header, header, and the share of cells
    that hold a number or a time."""

    separator: str
    skip: int
    header: tuple[str, ...]
    share: float


def layout_of(file: Path, encoding: str | None = None) -> CsvParams | None:
    """Separator, encoding and leading lines of a text file, without number formats; None if none is clear.

    Raises UserError if the encoding is uncertain.
    """
    encoding = encoding or _encoding(file)
    text = _head(file, encoding)
    usual = separator_of(file, CsvParams())
    first = text.partition("\n")[0].strip().strip('"')
    match = re.fullmatch(r"sep=(.)", first, re.IGNORECASE)
    layouts = [layout for mark in (match[1] if match else ",;\t|") if (layout := _layout(text, mark, bool(match)))]
    best = max((layout.share for layout in layouts), default=0.0)
    candidates = [layout for layout in layouts if layout.share >= best - 1e-9]
    if len(candidates) != 1:
        candidates = [layout for layout in candidates if layout.separator == usual]
    if not candidates:
        return None
    mark = candidates[0].separator
    return CsvParams(separator=None if mark == usual else mark, encoding=encoding, skip=candidates[0].skip)


def with_numbers(files: Sequence[Path], layout: CsvParams, rows: pl.LazyFrame, columns: Iterable[str]) -> CsvParams:
    """The layout with its number format.  Raises UserError, quoting the cell, if that is ambiguous."""
    seen = evidence_of(rows, columns)
    spaced = next((mark for mark, name in ((" ", "space"), ("'", "quote")) if seen.example(name, name + ",", name + ".")), None)
    sure = {
        ".": seen.example("decimal.", "thousands,", "space.", "quote."),
        ",": seen.example("decimal,", "thousands.", "space,", "quote,"),
    }
    maybe = {mark: seen.example(f"either{mark}") for mark in ",."}
    if sure["."] and sure[","]:
        raise _two_forms(files, layout, sure["."], sure[","])
    if not sure["."] and not sure[","] and not spaced:
        odd = maybe[","] or (maybe["."] if separator_of(files[0], layout) == ";" else seen.grouped)
        if odd:
            raise _unclear(files, layout, odd, "," if maybe[","] else ".")
    comma = sure[","] or (spaced and maybe[","] and not sure["."])
    decimal, other = (",", ".") if comma else (".", ",")
    grouped = not spaced and (seen.example(f"thousands{other}") or maybe[other])
    return layout.model_copy(update={"decimal": decimal, "thousands": other if grouped else spaced})


def header_of(file: Path, csv_: CsvParams) -> list[str]:
    """The column names of a text, split as `csv_` says; empty if it cannot be read so."""
    try:
        below = _head(file, csv_.encoding).split("\n", csv_.skip)[csv_.skip :]
        rows = csv.reader(io.StringIO("".join(below), newline=""), delimiter=separator_of(file, csv_))
        return next((row for row in rows if any(row)), [])
    except (OSError, EOFError, csv.Error):
        return []


def place_of(files: Sequence[Path], csv_: CsvParams, column: str, cell: str) -> str:
    """`file:line` of the first row with this cell in a column; the first file alone if there is none."""
    for file in files:
        with file.open("rb") as raw, opened(io.BufferedReader(raw), file) as stream:
            lines = codecs.getreader(_signed(csv_.encoding))(stream)
            for _ in range(csv_.skip):
                lines.readline()
            rows = csv.reader(lines, delimiter=separator_of(file, csv_))
            header = next((row for row in rows if row), [])
            at = header.index(column) if column in header else 0
            for row in rows:
                if len(row) > at and row[at].strip() == cell:
                    return f"{file}:{csv_.skip + rows.line_num}"
    return str(files[0])


def _unclear(files: Sequence[Path], layout: CsvParams, example: tuple[str, str], mark: str) -> UserError:
    column, cell = example
    both = {key: layout.model_copy(update={key: mark}).written for key in ("decimal", "thousands")}
    if mark == ".":
        plain = ", ".join(filter(None, (layout.written[1:-1], 'decimal: "."')))
        both = {"decimal": f"{{{plain}}}", "thousands": layout.model_copy(update={"thousands": ".", "decimal": ","}).written}
    whole, part = cell.replace(mark, ""), cell.replace(mark, ".")
    return UnknownForm(
        f"{place_of(files, layout, column, cell)}: {cell!r} in column {column!r} may be {part} or {whole}, and no other number "
        f"of the table tells which: write data.csv: {both['decimal']} in the run file where {mark!r} begins the decimals, or "
        f"csv: {both['thousands']} where it stands between thousands (for init: --csv '{both['decimal']}')"
    )


def _two_forms(files: Sequence[Path], layout: CsvParams, point: tuple[str, str], comma: tuple[str, str]) -> UserError:
    first, second = (f"{cell!r} in column {name!r} ({place_of(files, layout, name, cell)})" for name, cell in (point, comma))
    written = layout.model_copy(update={"decimal": ","}).written
    return UnknownForm(
        f"{files[0]}: numbers are written in two ways: {first} has a decimal point, {second} a decimal comma: make them alike, "
        f"or say which is right: data.csv: {written} in the run file (for init: --csv '{written}')"
    )


def _layout(text: str, mark: str, declared: bool) -> _Layout | None:
    """A text's layout with this separator; None if its rows have one cell or no row can be a header."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=mark)
    try:
        rows = [(reader.line_num, row) for row in reader]
    except csv.Error:
        return None
    starts = [0, *(line for line, _ in rows)]
    written = [(start, [cell.strip() for cell in row]) for start, (_, row) in zip(starts, rows, strict=False) if any(row)]
    body = [row for _, row in written[len(written) // 2 :]][:BODY]
    width = Counter(map(len, body)).most_common(1)[0][0] if body else 0
    if width < 2:
        return None
    body = [row for row in body if len(row) == width]
    values = [_holds_values([row[i] for row in body]) for i in range(width)]
    at = _header_at(written, width, values)
    if at is None:
        return None
    start, header = written[at]
    cells = [cell for row in body for cell in row if cell.lower() not in NULLS]
    share = sum(map(_is_value, cells)) / max(1, len(cells))
    skip = start if at or declared else 0  # blank lines alone are skipped anyway
    return _Layout(mark, skip, tuple(header), share) if len(written) - at > 1 else None


def _header_at(written: Sequence[tuple[int, list[str]]], width: int, values: Sequence[bool]) -> int | None:
    """The last leading row with names, not values, where the rows below hold values; else the first."""
    leading = range(min(len(written), LEADING))
    named = [i for i in leading if _is_header(written[i][1], width, values)]
    if named:
        return named[-1]
    return 0 if len(written[0][1]) == width and len(set(written[0][1])) == width else None


def _is_header(row: Sequence[str], width: int, values: Sequence[bool]) -> bool:
    if len(row) != width or len(set(row)) < width or not any(values):
        return False
    return all(cell.lower() not in NULLS and not _is_value(cell) for cell, value in zip(row, values, strict=True) if value)


def _holds_values(cells: Sequence[str]) -> bool:
    filled = [cell for cell in cells if cell.lower() not in NULLS]
    return bool(filled) and sum(map(_is_value, filled)) >= 0.8 * len(filled)


def _is_value(cell: str) -> bool:
    return bool(re.fullmatch(ANY, cell) or TIMELIKE.fullmatch(cell))


def _head(file: Path, encoding: str) -> str:
    """The beginning of a text, in whole lines."""
    with file.open("rb") as raw, opened(io.BufferedReader(raw), file) as stream:
        block = stream.read(HEAD)
        cut = bool(stream.read(1))
    text = codecs.getincrementaldecoder(_signed(encoding))("replace").decode(block)
    return text[: text.rfind("\n") + 1] if cut else text


def _signed(encoding: str) -> str:
    """UTF-8 is read with or without a byte order mark."""
    return "utf-8-sig" if encoding == "utf-8" else encoding


def _encoding(file: Path) -> str:
    """UTF-8 if the whole file is valid, UTF-16/32 by mark or zeros, else cp1252 if it looks Western."""
    with file.open("rb") as raw, opened(io.BufferedReader(raw), file) as stream:
        block = stream.read(HEAD)
        for mark, name in BOMS.items():
            if block.startswith(mark):
                return name
        pairs = block[: len(block) // 2 * 2]
        for name, zeros in (("utf-16-le", pairs[1::2]), ("utf-16-be", pairs[0::2])):
            if zeros and zeros.count(0) > 0.4 * len(zeros) and block.count(0) < 0.6 * len(block):
                return name
        decoder, line = codecs.getincrementaldecoder("utf-8")(), 1
        while True:
            try:
                decoder.decode(block, final=not block)
            except UnicodeDecodeError as error:
                return _western(file, error.object, line + error.object[: error.start].count(b"\n"))
            if not block:
                return "utf-8"
            line += block.count(b"\n")
            block = stream.read(HEAD)


def _western(file: Path, block: bytes, line: int) -> str:
    """cp1252 if non-ASCII letters stand alone among others, as in Western words.  Raises UserError."""
    try:
        runs = re.findall(r"[^\x00-\x7f]+", block.decode("cp1252"))
    except UnicodeDecodeError:
        runs = ["???"]
    if sum(len(run) > 2 for run in runs) > 0.02 * len(runs):
        raise UnknownForm(
            f"{file}:{line}: this file is not UTF-8, and its bytes do not tell what else: name its encoding, such as data.csv: "
            "{encoding: cp1251}, shift_jis or gb18030, in the run file (for init: --csv '{encoding: cp1251}')"
        )
    return "cp1252"
