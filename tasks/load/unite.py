"""Unites the files of a table: adds columns from folder names, requires equal columns, unifies dtypes."""

import re
from collections.abc import Sequence
from dataclasses import replace

import polars as pl
from polars.exceptions import PolarsError

from params.errors import UserError
from tasks.load.files import Table
from tasks.load.find import partition_of
from tasks.load.text import listed
from tasks.names import column

WHOLE = re.compile(r"0|-?[1-9][0-9]{0,17}", re.ASCII)
PANDAS_INDEX = re.compile(r"__index_level_[0-9]+__")  # pandas writes it to some files of a table only


def partitioned(tables: Sequence[Table]) -> list[Table]:
    """Adds the columns in each table's folder names (`store=A/`): integers if all values are, else text.

    A column that a file itself has stays as it is there.
    """
    partitions = [
        {name: value for name, value in partition_of(table.file).items() if name not in table.columns} for table in tables
    ]
    values: dict[str, list[str]] = {}
    for folders in partitions:
        for name, value in folders.items():
            values.setdefault(name, []).extend([] if value is None else [value])
    whole = {name for name, texts in values.items() if texts and all(map(WHOLE.fullmatch, texts))}
    united = []
    for table, folders in zip(tables, partitions, strict=True):
        if not folders:
            united.append(table)
            continue
        kinds = {name: pl.Int64() if name in whole else pl.String() for name in folders}
        cells = [pl.lit(value).cast(kinds[name]).alias(name) for name, value in folders.items()]
        columns = pl.Schema({**table.columns, **kinds})
        united.append(replace(table, rows=table.rows.with_columns(cells), columns=columns))
    return united


def aligned(tables: Sequence[Table]) -> tuple[Table, ...]:
    """The tables with one common dtype per column; times stay as they are, since zones are compared later.

    Raises UserError if their columns differ, or have no common dtype.
    """
    tables = _of_the_same_columns(tables)
    first = tables[0]
    if all(table.columns == first.columns for table in tables):
        return tuple(tables)
    types: dict[str, pl.DataType] = {}
    for name in first.columns:
        kinds = list(dict.fromkeys(table.columns[name] for table in tables))
        if not all(kind.is_temporal() for kind in kinds):
            types[name] = kinds[0] if len(kinds) == 1 else _common(tables, name, kinds)
    return tuple(_cast(table, types) for table in tables)


def _of_the_same_columns(tables: Sequence[Table]) -> Sequence[Table]:
    first = tables[0]
    for table in tables[1:]:
        differ = sorted(set(first.columns) ^ set(table.columns))
        if differ and all(map(PANDAS_INDEX.fullmatch, differ)):
            return [_without_index(table) for table in tables]
        if differ:
            raise UserError(
                f"{table.name}: its columns are not those of {first.name} (only one of them has {listed(differ)}); "
                "give files with the same columns, or name fewer files in data.path"
            )
    return tables


def _without_index(table: Table) -> Table:
    kept = [name for name in table.columns if not PANDAS_INDEX.fullmatch(name)]
    return replace(
        table, rows=table.rows.select(map(column, kept)), columns=pl.Schema({name: table.columns[name] for name in kept})
    )


def _common(tables: Sequence[Table], name: str, kinds: Sequence[pl.DataType]) -> pl.DataType:
    if any(isinstance(kind, pl.Categorical | pl.Enum) for kind in kinds):
        kinds = [pl.String() if isinstance(kind, pl.Categorical | pl.Enum) else kind for kind in kinds]
    try:
        return pl.concat([pl.Series(name, [], kind).to_frame() for kind in kinds], how="vertical_relaxed").schema[name]
    except PolarsError:
        first = tables[0]
        other = next(table for table in tables if table.columns[name] != first.columns[name])
        raise UserError(
            f"{other.name}: column {name!r} holds {other.columns[name]}, and {first.columns[name]} in {first.name}: write it "
            "alike in all files, or name fewer files in data.path"
        ) from None


def _cast(table: Table, types: dict[str, pl.DataType]) -> Table:
    casts = [column(name).cast(kind) for name, kind in types.items() if table.columns[name] != kind]
    return (
        replace(table, rows=table.rows.with_columns(casts), columns=pl.Schema({**table.columns, **types})) if casts else table
    )
