"""What the columns of a table hold, and which of them give the time and name the series."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import polars as pl

from params.data import CsvParams
from params.errors import UserError
from tasks.explore.names import ENTITIES, ID_NAMES, Likely, by_name, likely_target, says
from tasks.grid.times import parse_time
from tasks.load.cells import cleaned
from tasks.load.files import Table, collect
from tasks.load.numbers import read_numbers
from tasks.names import column

TRIED = 2_000  # rows of a text column that must all be times
HEAD = 200_000  # rows examined first
FEWEST_STEPS = 4  # average rows per series, at least, if its name is a guess

Kind = Literal["time", "whole", "number", "text", "empty", "other"]


@dataclass(frozen=True)
class Column:
    """One column: content, share of nulls, approximate number of distinct values, lowest and highest number.

    `whole`: all its numbers are integers.
    """

    name: str
    kind: Kind
    null_share: float
    distinct: int
    low: float | None = None
    high: float | None = None
    whole: bool = False

    @property
    def number(self) -> bool:
        """Whether it holds numbers."""
        return self.kind in ("whole", "number")

    @property
    def switch(self) -> bool:
        """Whether it holds only 0 and 1."""
        return self.whole and self.low == 0 and self.high == 1


def columns_of(tables: Sequence[Table]) -> tuple[list[Column], int]:
    """Every column of the table, in order, and the number of rows; one pass."""
    first = tables[0]
    names = list(first.columns)
    rows = pl.concat([table.rows.select(map(column, names)) for table in tables], how="vertical_relaxed")
    schema = rows.collect_schema()
    summary = collect(
        rows.select(
            pl.len().alias("rows"), *(e for i, name in enumerate(names) for e in _summaries(i, name, schema, first.csv))
        ),
        first.name,
    )
    figures = summary.row(0, named=True)
    if not figures["rows"]:
        raise UserError(f"{first.name}: a header and no rows; give a table with rows")
    head = collect(rows.head(TRIED), first.name)
    columns = []
    for i, name in enumerate(names):
        counts = {fact: figures[f"{fact}:{i}"] for fact in ("filled", "numbers", "whole", "truths", "distinct")}
        empty = 1 - counts["filled"] / figures["rows"]
        kind, whole = _kind(schema[name], counts, head[name].alias("cells")), 0 < counts["numbers"] == counts["whole"]
        low, high, truths = figures[f"low:{i}"], figures[f"high:{i}"], counts["filled"] == counts["truths"] > 0
        if truths:
            low, high, whole = 0.0, 1.0, True
        columns.append(Column(name, kind, empty, counts["distinct"], low, high, whole))
    return columns, figures["rows"]


def _summaries(i: int, name: str, schema: pl.Schema, csv: CsvParams) -> list[pl.Expr]:
    dtype, cell = schema[name], column(name)
    text = dtype in (pl.String, pl.Categorical, pl.Enum)
    if text:
        cell = read_numbers(cleaned(cell.cast(pl.String)), csv)
    simple = not (dtype.is_nested() or dtype in (pl.Object, pl.Binary))
    counts = simple and not dtype.is_temporal()
    number = cell.cast(pl.Float64, strict=False).fill_nan(None) if counts else pl.lit(None, pl.Float64)
    return [
        cell.count().alias(f"filled:{i}"),
        number.count().alias(f"numbers:{i}"),
        (number == number.floor()).sum().alias(f"whole:{i}"),
        number.min().alias(f"low:{i}"),
        number.max().alias(f"high:{i}"),
        (cell.str.to_lowercase().is_in(("true", "false")).sum() if text else pl.lit(0)).alias(f"truths:{i}"),
        (cell.approx_n_unique() if simple else pl.lit(0)).alias(f"distinct:{i}"),
    ]


def _kind(dtype: pl.DataType, counts: dict[str, int], head: pl.Series) -> Kind:
    if not counts["filled"]:
        return "empty"
    if isinstance(dtype, pl.Datetime) or dtype == pl.Date:
        return "time"
    if dtype in (pl.String, pl.Categorical, pl.Enum):
        if counts["truths"] == counts["filled"]:
            return "whole"
        if counts["numbers"] == counts["filled"]:
            return "whole" if counts["whole"] == counts["filled"] else "number"
        text = head.cast(pl.String).drop_nulls()
        times = text.to_frame("t").select(parse_time(pl.col("t"))).to_series() if len(text) else text
        return "time" if len(times) and not times.null_count() else "text"
    if dtype.is_integer():
        return "whole"
    return "number" if dtype.is_numeric() or dtype == pl.Boolean else "other"


def sorted_by_name(columns: Sequence[Column], hints: Sequence[str]) -> list[Column]:
    """The columns sorted by name: those that equal a hint first, then those that contain one."""
    order = by_name([c.name for c in columns], hints)
    return sorted(columns, key=lambda c: order.index(c.name))


def ids_of(
    tables: Sequence[Table],
    columns: Sequence[Column],
    rows: int,
    times: Sequence[str],
    asked: tuple[str, ...] = (),
    why: Callable[[Sequence[str]], str] = lambda keys: "",
    excused: bool = False,
) -> tuple[str, ...]:
    """The columns that name the series: as asked, none if times are unique, or the fewest that suffice.

    `why`: another explanation for times that repeat within the series of some columns; if `excused`, they may
    repeat then.  Raises UserError if no columns make the times unique: there are duplicates.
    """
    twice = _RepeatCounter(tables, rows, times)

    def clear(keys: Sequence[str]) -> bool:
        return not twice.any(keys) or (excused and bool(why(keys)))

    name, when = tables[0].name, " and ".join(map(repr, times))
    if asked:
        if not clear(asked):
            raise UserError(why(asked) or _repeats(name, twice.count(asked), when, asked))
        return asked
    if clear(()):
        return ()
    named, others = _may_name(columns, rows, times)
    sure = (keys for size, most in ((1, 12), (2, 8), (3, 8)) for keys in combinations(named[:most], size))
    guessed = (keys for size in (1, 2) for keys in combinations([*named[:4], *others[:6]], size))
    for keys in (*sure, *guessed):
        if clear(keys) and (set(keys) <= set(named) or twice.fills(keys)):
            return tuple(c.name for c in columns if c.name in keys)
    if not named:
        raise UserError(
            why(())
            or f"{name}: column {when} repeats a time in {twice.count(()):,} rows and no column names the series: "
            "keep one row a time, or add a column with the name of the series"
        )
    counts = {key: twice.count((key,)) for key in named[:6]}
    best = min(counts, key=lambda key: counts[key])
    raise UserError(why((best,)) or _repeats(name, counts[best], when, (best,)))


def _repeats(name: str, count: int, when: str, keys: Sequence[str]) -> str:
    return (
        f"{name}: {count:,} rows repeat a time ({when}) of the same series ({', '.join(map(repr, keys))}): keep one row a "
        "series and time, or add a column that tells these series apart"
    )


def _may_name(columns: Sequence[Column], rows: int, times: Sequence[str]) -> tuple[list[str], list[str]]:
    """The columns that may name a series, likeliest first, and integers whose names do not tell."""
    may = [c for c in columns if c.name not in times and not c.null_share and 1 < c.distinct <= rows / 2]
    texts = [c.name for c in may if c.kind == "text"]
    numbers = [c for c in may if c.whole and not c.switch and likely_target(c.name)[0] in (Likely.PLAIN, Likely.OTHER)]
    named = [c.name for c in numbers if says(c.name, ENTITIES)]
    others = [c.name for c in numbers if c.name not in named and c.distinct <= rows / (2 * FEWEST_STEPS)]
    return [name for some in (texts, named) for name in by_name(some, ID_NAMES)], others


class _RepeatCounter:
    """Counts rows that repeat a time within the series named by some columns."""

    def __init__(self, tables: Sequence[Table], rows: int, times: Sequence[str]) -> None:
        self.tables, self.rows, self.times = tables, rows, times
        self.head = self._scan(list(tables[0].columns)).head(HEAD) if rows > 2 * HEAD else None

    def any(self, keys: Sequence[str]) -> bool:
        """Whether there are any; reads all of a large table only if its first rows do not tell."""
        names = (*self.times, *keys)
        return (self.head is not None and self._distinct(self.head, names) < HEAD) or self.count(keys) > 0

    def count(self, keys: Sequence[str]) -> int:
        """How many there are in all."""
        names = (*self.times, *keys)
        return self.rows - self._distinct(self._scan(names), names)

    def fills(self, keys: Sequence[str]) -> bool:
        """Whether a third of all (series, time) pairs exist; a random key leaves most of them empty."""
        rows = self._scan((*self.times, *keys))
        return self._distinct(rows, keys) * self._distinct(rows, self.times) <= 3 * self.rows

    def _scan(self, names: Sequence[str]) -> pl.LazyFrame:
        return pl.concat([table.rows.select(map(column, names)) for table in self.tables], how="vertical_relaxed")

    def _distinct(self, rows: pl.LazyFrame, names: Sequence[str]) -> int:
        return int(collect(rows.select(pl.struct(map(column, names)).n_unique()), self.tables[0].name).item())


def constant_within(rows: pl.LazyFrame, columns: Sequence[Column], name: str) -> list[str]:
    """The columns of a long frame, numbers or text, that are constant within each series."""
    value = {c.name: column(c.name).cast(pl.Float64 if c.number else pl.String, strict=False) for c in columns}
    for some in (rows.head(HEAD), rows):  # most columns already vary in the first rows
        if value:
            spread = some.group_by("unique_id").agg((v.max() == v.min()).alias(n) for n, v in value.items())
            same = collect(spread.select(column(n).fill_null(True).all() for n in value), name).row(0)
            value = {n: v for (n, v), constant in zip(value.items(), same, strict=True) if constant}
    return list(value)
