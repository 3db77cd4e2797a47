"""Checks the keys of a table in one pass: every row has a series name and a readable time."""

from dataclasses import dataclass

import polars as pl

from params.data import DataParams
from params.errors import UserError
from tasks.load.cells import time_of
from tasks.load.files import Table, collect
from tasks.load.ids import series_name
from tasks.load.moments import dated, has_offset
from tasks.load.source import Source
from tasks.load.unread import SOME, what_to_write
from tasks.names import column

DAY = len("2020-1-1")  # the shortest text that names a day


@dataclass(frozen=True, kw_only=True)
class _Keys:
    """The keys of one file.  `lost`: unreadable times; `unnamed`: rows without a series.

    `zoned`, `naive`: whether there are times with and without a UTC offset.  `shortest`, `longest`:
    characters of a time that may have several forms.
    """

    rows: int
    lost: int
    unnamed: int
    zoned: bool | None
    naive: bool | None
    shortest: int | None
    longest: int | None


def check_keys(source: Source) -> int:
    """The number of rows, after one pass over ids and times.

    Raises UserError for a table without rows, a row without a series or time, an unreadable time (the first
    is shown), or a time column that mixes times with and without a UTC offset.
    """
    data, rows, zoned, naive = source.data, 0, "", ""
    source.require_keys()
    for table in source.tables:
        keys = _keys_of(table, data)
        _refuse_lost(table, data, keys)
        zoned = zoned or (table.name if keys.zoned else "")
        if keys.naive and not naive:
            naive, first_naive = table.name, table
        if zoned and naive:
            example = _first(first_naive, data, ~has_offset(first_naive, data))
            raise UserError(
                f"{data.where}: column {dated(table, data)!r} mixes times with an offset from UTC, in {zoned}, and times "
                f"without one, in {naive} (such as {example}): give all of them an offset, or none"
            )
        rows += keys.rows
    if not rows:
        raise UserError(f"{data.where}: a header and no rows; give a table with rows")
    return rows


def _keys_of(table: Table, data: DataParams) -> _Keys:
    rows = table.rows.select(
        lost=time_of(table, data).is_null(),
        zoned=has_offset(table, data),
        unnamed=series_name(table, data).is_null(),
        size=_size(table, data),
    )
    zoned, size = pl.col("zoned"), pl.col("size")
    summary = rows.select(
        rows=pl.len(), lost=pl.col("lost").sum(), unnamed=pl.col("unnamed").sum(), zoned=zoned.any(),
        naive=(~zoned).any(), shortest=size.min(), longest=size.max(),
    )  # fmt: skip
    return _Keys(**collect(summary, table.name).row(0, named=True))


def _first(table: Table, data: DataParams, which: pl.Expr) -> str | None:
    """The first time of some rows, as written."""
    head = collect(table.rows.select(which=which, shown=_shown(data)).filter("which").head(1), table.name)
    return head["shown"].first()  # type: ignore[return-value]


def _shown(data: DataParams) -> pl.Expr:
    """A row's time as written; for several columns, each with its name."""
    texts = [column(name).cast(pl.String) for name in data.times]
    if len(texts) == 1:
        return texts[0]
    return pl.concat_str(
        (pl.lit(f"{name} ") + text.fill_null("(empty)") for name, text in zip(data.times, texts, strict=True)), separator=", "
    )


def _size(table: Table, data: DataParams) -> pl.Expr:
    """The characters of a time in one column that may have any year-first form."""
    dtype = table.columns[data.times[0]]
    if isinstance(data.frequency, int) or len(data.times) > 1 or data.time_format or data.time_unit or dtype.is_temporal():
        return pl.lit(None, pl.UInt32)
    return column(data.times[0]).cast(pl.String).str.strip_chars().str.len_chars()


def _refuse_lost(table: Table, data: DataParams, keys: _Keys) -> None:
    called = " and ".join(map(repr, data.times))
    if keys.lost:
        shown, where = "is empty: give every row its time", ""
        bad = _first(table, data, time_of(table, data).is_null())
        if bad is not None:
            row, some = _first_lost(table, data)
            shown, where = f"{bad!r} is not {what_to_write(some, data)}", f"; it stands in row {row:,}"
        raise UserError(
            f"{table.name}: column {called}: {keys.lost} of {keys.rows} times cannot be read; the first {shown}{where}"
        )
    if keys.shortest is not None and keys.longest is not None and keys.shortest < DAY <= keys.longest:
        size = _size(table, data)
        month, day = (_first(table, data, which) for which in (size < DAY, size >= DAY))
        raise UserError(
            f"{table.name}: column {called} mixes times of two kinds, such as {month!r} and {day!r}: "
            "write all of them as days, or all as months, quarters or weeks"
        )
    if keys.unnamed:
        empty = f"column {' or '.join(map(repr, data.ids))} is empty in {keys.unnamed} rows"
        raise UserError(f"{table.name}: {empty}: every row needs the name of its series")


def _first_lost(table: Table, data: DataParams) -> tuple[int, list[str]]:
    """The row number, from 1, of the first unreadable time, and examples of such times."""
    rows = table.rows.select(lost=time_of(table, data).is_null(), shown=_shown(data)).with_row_index("row", 1)
    lost = collect(rows.filter("lost").drop_nulls("shown").head(SOME).select("row", "shown"), table.name)
    return int(lost["row"][0]), lost["shown"].to_list()
