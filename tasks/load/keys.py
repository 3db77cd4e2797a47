"""The keys of a table, read in one pass: every row has the name of its series and a time that can be read."""

from dataclasses import dataclass

import polars as pl

from params.data import DataParams
from params.errors import UserError
from tasks.grid.times import OFFSET
from tasks.load.cells import time_of
from tasks.load.files import Table, collect
from tasks.load.ids import series_name
from tasks.load.source import Source
from tasks.names import column


@dataclass(frozen=True, kw_only=True)
class _Keys:
    """The keys of one file.  `lost`: times that are none, `bad` the first of them; `unnamed`: rows without a series.

    `zoned`, `naive`: whether there are times with and without an offset from UTC, `example` the first without.
    """

    rows: int
    lost: int
    bad: str | None
    unnamed: int
    zoned: bool | None
    naive: bool | None
    example: str | None


def check_keys(source: Source) -> int:
    """The number of rows, after one pass over ids and times.

    Raises UserError for a table without rows, a row without a series or time, a time that does not parse (the first is shown),
    or a time column in which some rows have an offset from UTC and some have none.
    """
    data, rows, zoned, naive = source.data, 0, "", ""
    source.require_keys()
    for table in source.tables:
        keys = _keys_of(table, data)
        _refuse_lost(table, data, keys)
        zoned = zoned or (table.name if keys.zoned else "")
        naive = naive or (f"{table.name} (such as {keys.example})" if keys.naive else "")
        if zoned and naive:
            raise UserError(
                f"{data.where}: column {data.time!r} mixes times with an offset from UTC, in {zoned}, and times "
                f"without one, in {naive}: give all of them an offset, or none"
            )
        rows += keys.rows
    if not rows:
        raise UserError(f"{data.where}: a header and no rows; give a table with rows")
    return rows


def _keys_of(table: Table, data: DataParams) -> _Keys:
    (name,) = data.times
    raw, dtype = column(name), table.columns[name]
    lost = time_of(table, data).is_null()
    if isinstance(data.frequency, int):
        zoned = pl.lit(None, pl.Boolean)
    elif dtype == pl.String:
        zoned = raw.str.strip_chars().str.contains(OFFSET) & (raw.str.strip_chars().str.len_chars() > 10)
    else:
        zoned = pl.when(raw.is_not_null()).then(isinstance(dtype, pl.Datetime) and dtype.time_zone is not None)
    rows = table.rows.select(raw=raw, lost=lost, zoned=zoned, unnamed=series_name(table, data).is_null())
    raw, lost, zoned = map(pl.col, ("raw", "lost", "zoned"))
    facts = rows.select(
        rows=pl.len(), lost=lost.sum(), bad=raw.filter(lost).first().cast(pl.String), unnamed=pl.col("unnamed").sum(),
        zoned=zoned.any(), naive=(~zoned).any(), example=raw.filter(~zoned).first().cast(pl.String),
    )  # fmt: skip
    return _Keys(**collect(facts, table.name).row(0, named=True))


def _refuse_lost(table: Table, data: DataParams, keys: _Keys) -> None:
    if keys.lost:
        whole = isinstance(data.frequency, int)
        kind = "a whole number" if whole else "a time: write it year first, such as 2013-01-31T18:00:00Z"
        shown = f"{keys.bad!r} is not {kind}" if keys.bad is not None else "is empty: give every row its time"
        raise UserError(
            f"{table.name}: column {data.time!r}: {keys.lost} of {keys.rows} times cannot be read; the first {shown}"
        )
    if keys.unnamed:
        empty = f"column {' or '.join(map(repr, data.ids))} is empty in {keys.unnamed} rows"
        raise UserError(f"{table.name}: {empty}: every row needs the name of its series")
