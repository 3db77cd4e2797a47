"""Sums over groups of rows, block by block in row order: the same bits for any number of threads.

polars adds a group up in as many parts as it has threads, which changes the last digits.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl


def summed(keys: pl.DataFrame, columns: Mapping[str, np.ndarray]) -> pl.DataFrame:
    """The distinct rows of `keys`, sorted, and the sum of each column [R] over their rows.

    Rows with a null key are left out.
    """
    values, sizes, code = [], [], np.zeros(keys.height, np.int64)
    for key in keys.get_columns():
        distinct, place = _coded(key)
        code = np.where((place < 0) | (code < 0), -1, code * len(distinct) + place)
        values.append(distinct)
        sizes.append(len(distinct))
    if (code < 0).any():
        known = code >= 0
        code, columns = code[known], {name: column[known] for name, column in columns.items()}
    cells, sums = _added(code, columns, int(np.prod(sizes)))
    places = np.unravel_index(cells, sizes) if len(cells) else [cells] * len(sizes)
    key_columns = [value.gather(place).alias(name) for value, place, name in zip(values, places, keys.columns, strict=True)]
    return pl.DataFrame([*key_columns, *(pl.Series(name, sum_, pl.Float64) for name, sum_ in zip(columns, sums, strict=True))])


def _added(code: np.ndarray, columns: Mapping[str, np.ndarray], count: int) -> tuple[np.ndarray, list[np.ndarray]]:
    """The codes in use [G], ascending, and the sum of each column [G] over their rows; all below `count`."""
    begins = np.append(True, code[1:] != code[:-1])[: len(code)]
    if (code[1:] >= code[:-1]).all():  # each group's rows are contiguous
        starts = np.flatnonzero(begins)
        return code[starts], [np.add.reduceat(column, starts) if len(starts) else column for column in columns.values()]
    cells = np.arange(count)
    if count > len(code):
        cells, code = np.unique(code, return_inverse=True)
    there = np.flatnonzero(np.bincount(code, minlength=len(cells)))
    return cells[there], [np.bincount(code, column, len(cells))[there] for column in columns.values()]


def merged(parts: Sequence[pl.DataFrame], keys: Sequence[str]) -> pl.DataFrame:
    """The sums over all blocks from those of each: adds up every column but the keys."""
    rows = pl.concat(parts)
    return summed(rows.select(keys), {name: rows[name].to_numpy() for name in rows.columns if name not in keys})


def _coded(key: pl.Series) -> tuple[pl.Series, np.ndarray]:
    """The distinct values, sorted, and each row's index among them; -1 for a null."""
    if key.dtype.is_integer() and len(key) and not key.null_count():
        numbers = key.cast(pl.Int64).to_numpy()
        low, high = int(numbers.min()), int(numbers.max())
        if high - low < len(numbers):
            return pl.Series(np.arange(low, high + 1)).cast(key.dtype), numbers - low
    runs = key.rle().struct.unnest()  # few runs: series, origins and the like are contiguous
    place = runs["value"].rank("dense").cast(pl.Int64).fill_null(0).to_numpy() - 1
    return runs["value"].drop_nulls().unique().sort(), np.repeat(place, runs["len"].to_numpy())
