"""Finds row numbers: columns of any name that only count the rows of a table."""

import re
from collections.abc import Collection, Sequence

import polars as pl

from tasks.explore.columns import Column
from tasks.load.cells import cleaned
from tasks.load.files import Table, collect
from tasks.names import column

# names that pandas, polars and R give to row numbers, recognised even if some numbers are missing
WRITTEN = re.compile(r"|unnamed: ?\d+(\.\d+)*|__index_level_\d+__|rownames|row\.names|\.\.\.1|level_0", re.IGNORECASE)
FEWEST = 12  # rows from which a column is unlikely to take each value once by chance


def row_numbers(
    tables: Sequence[Table], columns: Sequence[Column], rows: int, ids: Sequence[str], spoken: Collection[str]
) -> list[str]:
    """The columns that count rows: of the whole table in any order, of each file, or of each series (`ids`).

    None of `spoken`, and none at all unless another column holds numbers that vary.
    """
    may = [c for c in columns if c.kind == "whole" and c.name not in (*spoken, *ids) and not c.null_share]
    counters = [c.name for c in may if WRITTEN.fullmatch(c.name.strip())]
    first = [c.name for c in may if c.low in (0, 1) and c.distinct > 2 and c.name not in counters and not c.switch]
    if first and rows >= FEWEST:
        counters += _counting(tables, first, rows, ids)
    others = [c for c in columns if c.number and c.distinct > 1 and c.name not in (*counters, *spoken, *ids)]
    return counters if others else []


def _counting(tables: Sequence[Table], names: Sequence[str], rows: int, ids: Sequence[str]) -> list[str]:
    """The columns with every integer from 0 or 1 on once, in the table, in each file, or in each series."""
    numbers = {f"{i}": _number(tables[0], name) for i, name in enumerate(names)}
    every = [table.rows.select(*map(column, ids), **numbers) for table in tables]
    whole = pl.concat(every, how="vertical_relaxed")
    parts = [whole.select(_counts(i) for i in numbers)]
    if len(tables) > 1:
        parts.append(pl.concat([frame.select(_counts(i) for i in numbers) for frame in every]).select(pl.all().all()))
    if ids:
        keys = {f"id{k}": column(name) for k, name in enumerate(ids)}
        series = whole.select(*(pl.col(i) for i in numbers), **keys).group_by(list(keys)).agg(_counts(i) for i in numbers)
        long = series.select(pl.col(i).all() for i in numbers), series.select(pl.len())
        if collect(long[1], tables[0].name).item() * 3 <= rows:
            parts.append(long[0])
    held = [collect(part, tables[0].name).row(0, named=True) for part in parts]
    return [name for i, name in zip(numbers, names, strict=True) if any(row[i] for row in held)]


def _number(table: Table, name: str) -> pl.Expr:
    cell = column(name)
    return (cleaned(cell) if table.columns[name] == pl.String else cell).cast(pl.Int64, strict=False)


def _counts(name: str) -> pl.Expr:
    """Whether a column holds each of 0 .. n - 1, or of 1 .. n, once."""
    number = pl.col(name)
    lowest, highest = number.min(), number.max()
    return (lowest.is_in([0, 1]) & (highest - lowest == pl.len() - 1) & (number.n_unique() == pl.len())).fill_null(False)
