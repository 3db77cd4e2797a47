"""Tables in memory (polars or pandas): made plain, and put into Parquet files that a run can read."""

import hashlib
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol
from zoneinfo import available_timezones

import polars as pl
import pyarrow as pa
from polars.exceptions import PolarsError

from params.errors import ChecksFailed, UserError
from params.shown import visible
from tasks.files import ROOT, placed
from tasks.load.files import did_you_mean
from tasks.load.text import listed

FOLDER = "tables"  # of the state folder, for what a run may read again
DIGITS = 32  # of a table's sha256, in the name of its file
CALLED = "the table"  # in messages, in place of the path of our file
Frame = pl.DataFrame


class PandasFrame(Protocol):
    """A pandas DataFrame, as far as it is read here; pandas itself ships no types."""

    index: Any  # the labels of its rows
    columns: Any  # the labels of its columns

    def reset_index(self) -> Any:
        """The same with its index as columns."""


Table = str | Path | pl.DataFrame | pl.LazyFrame | PandasFrame


def in_memory(table: Table) -> bool:
    """Whether a table is a frame and not the path or address of one."""
    return not isinstance(table, str | os.PathLike)


def frame_of(table: Table, time: str | None = None) -> pl.DataFrame:
    """The rows of a frame in plain columns: categories become text, a pandas index with a name a column.

    `time`: what an unnamed index of times is called.  Raises UserError for what is no table, has no rows,
    lacks names for its columns, or holds Python objects that are no values.
    """
    if isinstance(table, pl.LazyFrame):
        try:
            table = table.collect()
        except (PolarsError, OSError) as error:
            raise UserError(f"{CALLED}: this LazyFrame cannot be collected ({str(error).splitlines()[0]})") from None
    if not isinstance(table, pl.DataFrame):
        table = _from_pandas(table, time)
    if table.is_empty():
        raise UserError(f"{CALLED}: it has no {'rows' if table.width else 'columns'}; give one row for each series and step")
    if objects := [name for name, dtype in table.schema.items() if dtype == pl.Object]:
        raise UserError(f"{CALLED}: column {objects[0]!r} holds Python objects; make it numbers, texts or times, or drop it")
    texts = [name for name, dtype in table.schema.items() if dtype in (pl.Categorical, pl.Enum)]
    return table.with_columns(table[name].cast(pl.String) for name in texts)


def _from_pandas(table: Any, time: str | None) -> pl.DataFrame:
    if type(table).__module__.partition(".")[0] != "pandas" or not hasattr(table, "columns"):
        what = f"{type(table).__module__}.{type(table).__qualname__}".removeprefix("builtins.")
        raise UserError(f"{CALLED}: {what} is no table: give a polars or pandas DataFrame, or the path of a file")
    table = _with_index(table, time)
    names = list(table.columns)
    for name in names:
        if not isinstance(name, str):
            raise UserError(f"{CALLED}: column {name!r} has no text as its name; rename it: df.columns = [...]")
        if names.count(name) > 1:
            raise UserError(f"{CALLED}: {names.count(name)} columns are called {name!r}; rename or drop one")
    return pl.DataFrame([_column(table[name], name) for name in names])


def _with_index(table: Any, time: str | None) -> Any:
    """A pandas frame whose index is a column if it has a name; row numbers are left out."""
    index, columns = table.index, list(table.columns)
    levels = list(index.names)
    if levels == [None]:
        if index.dtype.kind in "iu":
            return table
        if index.dtype.kind != "M":
            why = "has no name: reset_index(names=...) makes it a column, reset_index(drop=True) leaves it out"
            raise UserError(f"{CALLED}: its index of {index.dtype} {why}")
        if time is None or time in columns:
            raise UserError(f"{CALLED}: its index of times has no name: df.reset_index(names='date') makes it a column")
        table = table.rename_axis(time)
    elif None in levels:
        raise UserError(f"{CALLED}: a level of its index has no name: df.reset_index(names=[...]) makes columns of them")
    elif both := [name for name in levels if name in columns]:
        raise UserError(f"{CALLED}: {both[0]!r} is both in its index and a column: df.reset_index(drop=True) drops the index")
    return table.reset_index()


def _column(cells: Any, name: str) -> pl.Series:
    """A column of pandas.  Raises UserError naming it if its values are of no single kind."""
    if str(cells.dtype).startswith("period"):
        raise UserError(f"{CALLED}: column {name!r} holds periods: write df[{name!r}].dt.to_timestamp() in its place")
    zone = getattr(cells.dtype, "tz", None)
    if zone is not None:  # pyarrow would read it by a deprecated way of pandas
        instants = pl.Series(name, pa.array(cells.dt.tz_convert(None), from_pandas=True)).dt.replace_time_zone("UTC")
        return instants.dt.convert_time_zone(str(zone)) if str(zone) in available_timezones() else instants
    try:
        return pl.Series(name, pa.array(cells, from_pandas=True))
    except (PolarsError, TypeError, ValueError, OverflowError) as error:  # pyarrow's errors are ValueErrors and TypeErrors
        why = str(error).splitlines()[0][:200]
        raise UserError(f"{CALLED}: column {name!r} mixes values of several kinds ({why}); make it one, or drop it") from None


def require_columns(frame: pl.DataFrame, named: Mapping[str, Sequence[str]]) -> None:
    """Raises UserError if the frame lacks a column; `named`: the columns by the argument that names them."""
    for argument, names in named.items():
        for name in names:
            if name not in frame.columns:
                hint = did_you_mean(name, frame.columns)
                there = listed([visible(one) for one in frame.columns])
                raise UserError(f"{argument}: {CALLED} has no column {name!r}; its columns: {there}{hint}")


def keep(frame: pl.DataFrame, home: Path) -> Path:
    """The Parquet file of a frame in the state folder, named by its content; one that is there is used again.

    Raises OSError if it cannot be written.
    """
    folder = home / FOLDER
    folder.mkdir(mode=0o700, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".table-", dir=home) as scratch:
        rows = Path(scratch) / "rows.parquet"
        frame.write_parquet(rows)
        with rows.open("rb") as stream:
            name = hashlib.file_digest(stream, "sha256").hexdigest()[:DIGITS]
        kept = folder / f"{name}.parquet"
        with placed(kept) as partial:  # also if it is there: it is new then, and prune leaves it
            os.replace(rows, partial)
    return kept


@contextmanager
def opened(table: Table, home: Path, time: str | None = None) -> Iterator[str]:
    """The path of a table for a block: its own, or that of a temporary file with the rows of a frame."""
    if isinstance(table, str | os.PathLike):
        yield os.fspath(table)
        return
    frame = frame_of(table, time)
    with tempfile.TemporaryDirectory(prefix=".table-", dir=home) as scratch:
        rows = Path(scratch) / "rows.parquet"
        frame.write_parquet(rows)
        with called(str(rows)):
            yield str(rows)


@contextmanager
def called(path: str, name: str = CALLED) -> Iterator[None]:
    """Within the block, errors call one of our files by a name that its user knows."""
    try:
        yield
    except (UserError, ChecksFailed) as error:
        text = str(error).replace(path, name)
        if Path(path).is_relative_to(ROOT):  # as a run file writes it
            text = text.replace(str(Path(path).relative_to(ROOT)), name)
        if text == str(error):
            raise
        raise type(error)(text) from error.__cause__
