"""The names of series: one rule turns the cells of the id columns into text.  Copied in models/serving.py.

Text is taken literally without surrounding blanks (001 is not 1), except that a whole number followed by a
point and zeros is that number (1.0 is 1), and True is true.  Numbers are named by value: 1 and 1.0 are `1`;
integers of any size are exact.  Booleans are `true` or `false`; dates are ISO, as are times, which at
midnight are dates.  Several columns are joined by `/`; a `/` or `\\` within one is escaped with `\\`.
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

WHOLE = r"^(?:-(0)|(0|-?[1-9][0-9]*))\.0+$"  # as text: keeps what precedes the point, and drops the sign of 0
TRUTHS = {"True": "true", "TRUE": "true", "False": "false", "FALSE": "false"}


def series_name(table: Table, data: DataParams) -> pl.Expr:
    """The name of the series as text, null if one of its columns is empty; `NA` and `none` are valid names.

    Raises UserError for a dtype that cannot name a series.
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
    """Several texts joined into one, null if any is; unambiguous."""
    return pl.concat_str([_escaped(part) for part in parts], separator="/")


def text_of(cell: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    """A cell as text, null if it says nothing; names of series and categories are compared by this text."""
    if dtype in (pl.String, pl.Categorical, pl.Enum):
        return cell.cast(pl.String).map_batches(_texts_as_names, return_dtype=pl.String, is_elementwise=True)
    if dtype.is_decimal():
        return cell.cast(pl.String).str.replace(r"\.0*$", "").str.replace(r"(\.[0-9]*[1-9])0+$", "${1}")
    if dtype.is_float() or dtype.is_temporal():
        return cell.map_batches(_values_as_text, return_dtype=pl.String, is_elementwise=True)
    return cell.cast(pl.String)


def _texts_as_names(cells: pl.Series) -> pl.Series:
    """Texts as names, computed once per run of equal cells: rows of a series are mostly adjacent."""
    runs = cells.alias("cells").rle().struct.unnest()
    text = pl.col("value").str.strip_chars().str.replace(WHOLE, "${1}${2}").replace(TRUTHS)
    names = runs.select(text).select(pl.when(pl.col("value") != "").then(pl.col("value"))).to_series()
    return names.gather(np.repeat(np.arange(runs.height), runs["len"].to_numpy()))


def _values_as_text(cells: pl.Series) -> pl.Series:
    """Numbers and times as text, computed once per distinct value."""
    cells = cells.alias("cells")  # polars reads a name like ^...$ as a pattern
    values = cells.drop_nulls().unique()
    if values.dtype.is_float():
        texts = [_float_text(value) for value in values.to_numpy()]  # a numpy float32 prints its own digits
    else:
        texts = [_time_text(value) for value in values]
    return cells.replace_strict(values, pl.Series(texts, dtype=pl.String), default=None, return_dtype=pl.String)


def _float_text(value: Any) -> str | None:
    """An integer without a point, else the shortest exact digits; None for NaN."""
    if value != value:
        return None
    return str(int(value)) if abs(value) != float("inf") and value == int(value) else str(value)


def _time_text(value: Any) -> str:
    midnight = isinstance(value, datetime) and value.tzinfo is None and value.time() == time()
    return str(value.date() if midnight else value)


def _escaped(text: pl.Expr) -> pl.Expr:
    return text.str.replace_all("\\", "\\\\", literal=True).str.replace_all("/", "\\/", literal=True)
