"""What series are called: one rule that makes a text of the cells of the id columns.  models/serving.py has it once more.

Text is what it says, without blanks around it (001 is not 1), except that a whole number with nothing but zeros behind its
point is that number (1.0 is 1), and True is true.  A number is written by its value: 1 and 1.0 are `1`, whole numbers of any
size exactly.  Truth is `true` or `false`, a date ISO, as is a time, which at midnight is its date.
Several columns name a series by their texts with `/` between them; a `/` or `\\` within one has a `\\` before it.
"""

from collections.abc import Sequence
from datetime import datetime, time
from typing import Any

import numpy as np
import polars as pl

from params.data import DataParams
from params.errors import UserError
from tasks.load.files import Table
from tasks.names import column

WHOLE = r"^(?:-(0)|(0|-?[1-9][0-9]*))\.0+$"  # as text: what stands before the point, and no sign before 0
TRUTHS = {"True": "true", "TRUE": "true", "False": "false", "FALSE": "false"}


def series_name(table: Table, data: DataParams) -> pl.Expr:
    """The name of the series as text, null where one of its columns is empty; `NA` and `none` are names here.

    Raises UserError for a column of a type that names nothing.
    """
    if not data.ids:
        return pl.lit(data.target)
    parts = []
    for name in data.ids:
        dtype = table.columns[name]
        if dtype.is_nested() or dtype in (pl.Binary, pl.Duration, pl.Object):
            what = "the name of a series is text or a number"
            raise UserError(f"{table.name}: column {name!r} (data.id) holds {dtype}; {what}")
        parts.append(text_of(column(name), dtype))
    return parts[0] if len(parts) == 1 else joined(parts)


def joined(parts: Sequence[pl.Expr]) -> pl.Expr:
    """One text of several, null where one of them is; no two ways of saying the same."""
    return pl.concat_str([_escaped(part) for part in parts], separator="/")


def text_of(cell: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    """The text that a cell says, null where it says nothing: names of series and categories are held equal by it."""
    if dtype in (pl.String, pl.Categorical, pl.Enum):
        return cell.cast(pl.String).map_batches(_plain, return_dtype=pl.String, is_elementwise=True)
    if dtype.is_decimal():
        return cell.cast(pl.String).str.replace(r"\.0*$", "").str.replace(r"(\.[0-9]*[1-9])0+$", "${1}")
    if dtype.is_float() or dtype.is_temporal():
        return cell.map_batches(_said, return_dtype=pl.String, is_elementwise=True)
    return cell.cast(pl.String)


def _plain(cells: pl.Series) -> pl.Series:
    """Texts as names, each run of the same once: the rows of a series mostly stand together."""
    runs = cells.alias("cells").rle().struct.unnest()
    text = pl.col("value").str.strip_chars().str.replace(WHOLE, "${1}${2}").replace(TRUTHS)
    names = runs.select(text).select(pl.when(pl.col("value") != "").then(pl.col("value"))).to_series()
    return names.gather(np.repeat(np.arange(runs.height), runs["len"].to_numpy()))


def _said(cells: pl.Series) -> pl.Series:
    """Numbers and times as text, each value once."""
    cells = cells.alias("cells")  # a series of polars that is called ^...$ is a pattern to it
    values = cells.drop_nulls().unique()
    if values.dtype.is_float():
        texts = [_float_text(value) for value in values.to_numpy()]  # a float32 of numpy has the digits of its own width
    else:
        texts = [_time_text(value) for value in values]
    return cells.replace_strict(values, pl.Series(texts, dtype=pl.String), default=None, return_dtype=pl.String)


def _float_text(value: Any) -> str | None:
    """A whole number without a point; else the fewest digits that say it; None for what is no number."""
    if value != value:
        return None
    return str(int(value)) if abs(value) != float("inf") and value == int(value) else str(value)


def _time_text(value: Any) -> str:
    midnight = isinstance(value, datetime) and value.tzinfo is None and value.time() == time()
    return str(value.date() if midnight else value)


def _escaped(text: pl.Expr) -> pl.Expr:
    return text.str.replace_all("\\", "\\\\", literal=True).str.replace_all("/", "\\/", literal=True)
