"""Opens text tables in any format that their bytes make clear, and suggests what a run file should say."""

import re
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl

from params.data import CsvParams, DataParams
from params.errors import UserError
from tasks.load.dialect import header_of, layout_of, with_numbers
from tasks.load.files import Table
from tasks.load.kinds import TEXTS, suffix_of
from tasks.load.numbers import PLAIN, evidence_of, form_of, own_form
from tasks.load.opening import open_tables
from tasks.load.text import UnknownForm
from tasks.names import column

COMMA, GROUPS = {"decimal": ","}, {"thousands": ","}
WAYS: dict[str, tuple[dict[str, str], ...]] = {  # number form -> settings that read it
    "decimal,": (COMMA,), "either,": (COMMA, GROUPS), "thousands,": (GROUPS,), "thousands.": ({**COMMA, "thousands": "."},),
    **{f"{name}{end}": ({"thousands": mark},) for name, mark in (("space", " "), ("quote", "'")) for end in ("", ".")},
    **{f"{name},": ({**COMMA, "thousands": mark},) for name, mark in (("space", " "), ("quote", "'"))},
}  # fmt: skip


def open_recognised(
    data: DataParams, root: Path, files: Sequence[Path], known: Mapping[str, Any]
) -> tuple[DataParams, tuple[Table, ...]]:
    """The tables of a source, whatever their separator, encoding and number format, and its params, with what
    was found in `csv` (None if it is the default for the suffix).

    `files`: of the source; `known`: given keys of `csv`.  Raises UserError if one is unreadable or ambiguous.
    """
    texts = [file for file in files if suffix_of(file) in TEXTS]
    if not texts:
        return data, open_tables(data, root)
    given = CsvParams(**known)
    layout = given if {"encoding", "separator", "skip"} <= set(known) else layout_of(texts[0], known.get("encoding")) or PLAIN
    layout = CsvParams(**{**layout.model_dump(), **known})
    tables = open_tables(data.model_copy(update={"csv": layout}), root)
    text_tables = [table for table in tables if table.file in texts]
    csv = layout
    if text_tables and not {"decimal", "thousands"} & set(known):
        names = [name for name, kind in text_tables[0].columns.items() if kind == pl.String]
        rows = pl.concat([table.rows.select(map(column, names)) for table in text_tables])
        csv = with_numbers(texts, layout, rows, names)
    form = None if csv == PLAIN else csv
    return data.model_copy(update={"csv": form}), tuple(replace(t, csv=csv) if t.file in texts else t for t in tables)


def open_alike(
    data: DataParams, root: Path, files: Sequence[Path], read: Collection[str]
) -> tuple[DataParams, tuple[Table, ...]]:
    """The tables of a source whose text may differ from `data.csv`, if their bytes make clear how.

    `read`: the columns whose numbers count.  Raises UserError as `open_tables` does.
    """
    texts = [file for file in files if suffix_of(file) in TEXTS]
    if not texts:
        return data, open_tables(data, root)
    dialect = data.csv or PLAIN
    layout = layout_of(texts[0])
    if layout is not None:
        numbers = {"decimal": dialect.decimal, "thousands": dialect.thousands}
        same = dialect.is_utf8 if layout.is_utf8 else layout.encoding == dialect.encoding
        if not (same and _has_keys(data, dialect, texts[0])) and _has_keys(data, layout, texts[0]):
            dialect = layout.model_copy(update=numbers)
    data = data.model_copy(update={"csv": None if dialect == PLAIN else dialect})
    tables = open_tables(data, root)
    names = [name for name in tables[0].columns if name in read and tables[0].columns[name] == pl.String]
    rows = pl.concat([table.rows.select(map(column, names)) for table in tables if table.file in texts])
    if names and any(not re.fullmatch(own_form(dialect), cell) for _, cell in evidence_of(rows, names).seen.values()):
        with suppress(UserError):  # the cell is reported where it is read
            csv = with_numbers(texts, dialect.model_copy(update={"decimal": ".", "thousands": None}), rows, names)
            data, tables = data.model_copy(update={"csv": csv}), tuple(replace(table, csv=csv) for table in tables)
    return data, tables


def _has_keys(data: DataParams, csv: CsvParams, file: Path) -> bool:
    """Whether a header, split as `csv` says, names the time."""
    header = header_of(file, csv)
    return set(data.times) <= set(header) or "ds" in header


def what_to_write(files: Sequence[Path], csv: CsvParams | None) -> str:
    """What to write in the run file, if files look different from what it says; else empty."""
    texts = [file for file in files if suffix_of(file) in TEXTS]
    for file in texts[:1]:
        try:
            data = DataParams.model_construct(path=str(file), query=None, csv=None)
            recognised = open_recognised(data, file.parent, [file], {})[0].csv
        except UserError as error:
            recognised = _layout_alone(file)
            if recognised is None:
                return f"; {error}" if isinstance(error, UnknownForm) else ""
        if recognised is not None and recognised != csv:
            return f"; it looks written another way: write csv: {recognised.written} under data in the run file, as init does"
    return ""


def _layout_alone(file: Path) -> CsvParams | None:
    try:
        layout = layout_of(file)
    except UserError:
        return None
    return None if layout == PLAIN else layout


def as_a_number(cell: str, csv: CsvParams | None) -> str:
    """What to write if a cell that is not a number under `csv` is one in another form; else empty."""
    ways = [(csv or PLAIN).model_copy(update=way).written for way in WAYS.get(form_of(cell) or "", ())]
    return f"; if {cell!r} is a number, write data.csv: {' or '.join(ways)} in the run file" if ways else ""
