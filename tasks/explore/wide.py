"""Tables that are not long (a column or a row per series): recognises and melts them."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path

import polars as pl
from polars.exceptions import PolarsError

from params.data import CsvParams
from params.errors import UserError
from params.shown import visible
from tasks.explore.columns import Column
from tasks.files import placed
from tasks.grid.times import parse_time
from tasks.load.cells import cleaned
from tasks.load.files import Table
from tasks.load.numbers import read_numbers
from tasks.names import column

MANY = 20  # this many numeric columns with one time are series rather than features
FEWEST = 3


class Form(Enum):
    """The kinds of wide tables."""

    COLUMN_PER_SERIES = auto()
    ROW_PER_SERIES = auto()


@dataclass(frozen=True)
class Wide:
    """A wide table.  `columns`: those to melt; `keys`: those to keep, which name a series or are its time."""

    form: Form
    keys: tuple[str, ...]
    columns: tuple[str, ...]

    @property
    def sentence(self) -> str:
        """What was recognised, for people."""
        some = ", ".join(map(visible, self.columns[:3])) + (", ..." if len(self.columns) > 3 else "")
        count = len(self.columns)
        return {
            Form.COLUMN_PER_SERIES: f"wide: {count} columns ({some}) look like one series each",
            Form.ROW_PER_SERIES: f"wide: each row looks like one series, and {count} columns ({some}) like its steps",
        }[self.form]


def column_a_series(columns: Sequence[Column], time: str) -> Wide | None:
    """A table of one series whose numeric columns share a numbered name (store_1, store_2), or are many."""
    numbers = [c.name for c in columns if c.kind in ("whole", "number", "empty") and c.name != time]
    others = [c for c in columns if c.name not in (*numbers, time)]
    alike = [name for name in numbers if stem(name) == Counter(map(stem, numbers)).most_common(1)[0][0]]
    of_one_kind = len(alike) >= max(FEWEST, 0.8 * len(numbers)) and any(re.search(r"\d", name) for name in alike)
    if not others and (of_one_kind or len(numbers) >= MANY):
        return Wide(Form.COLUMN_PER_SERIES, (time,), tuple(numbers))
    return None


def row_a_series(columns: Sequence[Column], rows: int) -> Wide | None:
    """A table without a time whose columns are its steps (V1, V2, ... or dates), one naming the series."""
    steps = [c.name for c in columns if c.kind in ("whole", "number", "empty") and _step_of(c.name)]
    first = columns[0]
    if first.name in steps and first.kind == "text":
        steps = [name for name in steps if name != first.name]
    names = [c for c in columns if c.name not in steps and c.kind in ("text", "whole") and not c.null_share]
    named = next((c for c in names if c.distinct >= 0.9 * rows), None)
    if len(steps) >= FEWEST and named is not None:
        return Wide(Form.ROW_PER_SERIES, (named.name,), tuple(steps))
    return None


def stem(name: str) -> str:
    """A name with every number replaced by #: MT_001 is MT_#."""
    return re.sub(r"\d+", "#", name)


def _step_of(name: str) -> str | None:
    """The number or date in which a column's name ends: V12 gives 12, 2020-01-31 itself."""
    match = re.fullmatch(r"\d{4}[-/]\d{2}([-/]\d{2})?.*|[A-Za-z_ ]{0,8}?(\d+)", name.strip())
    return (match[2] or match[0]) if match else None


def melt(tables: Sequence[Table], wide: Wide, out: Path) -> None:
    """Writes the table long as Parquet (unique_id, ds, y), streamed.

    Empty cells are dropped.  Raises UserError if it cannot be written.
    """
    rows = pl.concat([table.rows for table in tables], how="vertical_relaxed")
    try:
        with placed(out) as partial:
            _long(rows, wide, tables[0].csv).sink_parquet(partial)
    except (OSError, PolarsError) as error:
        raise UserError(f"{out}: the long table cannot be written ({str(error)[:200]})") from None


def _long(rows: pl.LazyFrame, wide: Wide, csv: CsvParams) -> pl.LazyFrame:
    texts = [cleaned(column(name).cast(pl.String)) for name in wide.columns]
    places = [str(i) for i in range(len(texts))]  # numbered, so that no name collides with ours
    values = [read_numbers(text, csv).cast(pl.Float64).alias(place) for text, place in zip(texts, places, strict=True)]
    kept = rows.select(column(wide.keys[0]).alias("key"), *values)
    long = kept.unpivot(places, index="key", variable_name="place", value_name="y").drop_nulls("y")
    if wide.form is Form.COLUMN_PER_SERIES:
        return long.select(unique_id=pl.col("place").replace_strict(places, list(wide.columns)), ds="key", y="y")
    steps = [_step_of(name) or "" for name in wide.columns]
    dates = pl.Series(steps).to_frame("t").select(parse_time(pl.col("t"))).to_series()
    ds: pl.Series = pl.Series([int(step) for step in steps]) if all(step.isdigit() for step in steps) else dates
    if ds.null_count() or ds.n_unique() < len(steps):
        raise UserError(
            f"the columns {', '.join(wide.columns[:3])}, ... are no dates that can be read: write them as 2020-01-31"
        )
    return long.select(unique_id=pl.col("key").cast(pl.String), ds=pl.col("place").replace_strict(places, ds), y="y")
