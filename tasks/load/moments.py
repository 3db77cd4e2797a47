"""The time of each row, as its columns say it: an instant where they name a zone, else as if they stood in UTC.

Text is ISO 8601, year first.  What a time means in the zone of its table is said in `cells.time_of`.
"""

import polars as pl

from params.data import DataParams
from params.errors import UserError
from tasks.grid.times import parse_time
from tasks.load.files import Table
from tasks.names import column as named


def read_time(table: Table, data: DataParams) -> pl.Expr:
    """Microseconds UTC, or whole numbers where the frequency is one; null where it cannot be read.

    Raises UserError for a column of a type that is no time on this grid.
    """
    (name,) = data.times
    column, dtype = named(name), table.columns[name]
    if isinstance(data.frequency, int):
        if dtype.is_integer() or dtype == pl.String:
            return (column.str.strip_chars() if dtype == pl.String else column).cast(pl.Int64, strict=False)
        hint = "give a duration such as 1h" if dtype.is_temporal() else "make the times whole numbers"
        raise UserError(
            f"{table.name}: column {name!r} (data.time) holds {dtype}, but data.frequency is a whole number: {hint}"
        )
    if isinstance(dtype, pl.Datetime):
        return (
            column.dt.convert_time_zone("UTC") if dtype.time_zone else column.dt.replace_time_zone("UTC")
        ).dt.cast_time_unit("us")
    if dtype == pl.Date:
        return column.cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
    if dtype == pl.String:
        return parse_time(column)
    hint = "for integer time steps write data.frequency as a whole number" if dtype.is_integer() else "it must hold times"
    raise UserError(f"{table.name}: column {name!r} (data.time) holds {dtype}; {hint}")
