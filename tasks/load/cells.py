"""The cells of a table: times as UTC or integers, numbers, and text for the checks to judge.

Text times are ISO 8601, year first; explicit offsets are converted to UTC, other times count as UTC.
A text column whose first 1,000 rows are all true or false (in any case) becomes 1 and 0.
"""

from collections.abc import Collection, Mapping

import polars as pl

from params.data import DataParams
from params.errors import UserError
from tasks.load.files import Table, collect
from tasks.load.ids import text_of
from tasks.load.moments import read_time
from tasks.load.numbers import NULLS, read_numbers
from tasks.names import column

BEGINNING = 1000


def time_of(table: Table, data: DataParams) -> pl.Expr:
    """The time; null if unreadable.  Raises UserError for a dtype that is not a time on this grid."""
    return read_time(table, data)


def values_of(table: Table, names: Mapping[str, str], categories: Collection[str] = ()) -> list[pl.Expr]:
    """The columns of a table under their aliases, as numbers or text; `categories` become text, like ids.

    Raises UserError for a column that can be neither.
    """
    values = {alias: _value(table, name) for alias, name in names.items()}
    values |= {alias: _category(table, name) for alias, name in names.items() if name in categories}
    texts = {alias: values[alias] for alias, name in names.items() if _is_text(table, name) and name not in categories}
    values |= {alias: _as_number(values[alias]) for alias in _truths(table, texts)}
    return [value.alias(alias) for alias, value in values.items()]


def cleaned(text: pl.Expr) -> pl.Expr:
    """A text column with the words for nothing as null."""
    text = text.str.strip_chars()
    return pl.when(~text.str.to_lowercase().is_in(NULLS)).then(text)


def _value(table: Table, name: str) -> pl.Expr:
    """A number unchanged; anything else as text, from which the checks quote an example."""
    dtype, cell = table.columns[name], column(name)
    if dtype == pl.Boolean or dtype.is_decimal():
        return cell.cast(pl.Float64)
    if dtype.is_numeric() or dtype == pl.Null:
        return cell
    if dtype.is_temporal():
        return cell.dt.to_string("iso")
    if _is_text(table, name):
        return read_numbers(cleaned(cell.cast(pl.String)), table.csv)
    raise UserError(f"{table.name}: column {name!r} holds {dtype}; a target or feature holds numbers")


def _category(table: Table, name: str) -> pl.Expr:
    text = text_of(column(name), table.columns[name])
    return cleaned(text) if _is_text(table, name) else text


def _is_text(table: Table, name: str) -> bool:
    return table.columns[name] in (pl.String, pl.Categorical, pl.Enum)


def _truths(table: Table, texts: Mapping[str, pl.Expr]) -> list[str]:
    """The text columns that hold only true and false at the beginning of the table."""
    if not texts:
        return []
    words = (value.str.to_lowercase().alias(name) for name, value in texts.items())
    seen = collect(table.rows.head(BEGINNING).select(*words), table.name)
    distinct = {name: {*seen[name]} - {None} for name in texts}
    return [name for name, values in distinct.items() if values and values <= {"true", "false"}]


def _as_number(truth: pl.Expr) -> pl.Expr:
    """1 for true, 0 for false; anything else, numbers included, becomes text that the checks refuse."""
    word = truth.str.to_lowercase()
    return (
        pl.when(word == "true")
        .then(pl.lit("1"))
        .when(word == "false")
        .then(pl.lit("0"))
        .otherwise(truth + " among true and false")
    )
