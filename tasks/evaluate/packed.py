"""Packs the wide forecast frame: 32 bits if rounding is far below a naive forecast's error, and compressed.

In 32 bits a forecast of 15.3 C loses 5e-7, which no figure shows; one of 16,777,217.0 with errors of
hundredths loses 1.  BYTE_STREAM_SPLIT groups bytes by significance: signs and exponents repeat.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from models.data.panel import Panel
from models.serving import Bounds
from tasks.evaluate.bounds import NO_BOUNDS

SHARE = 1e-3  # of a series' in-sample naive error: the limit for rounding
VALUES = 1 << 20  # values of the panel examined at a time
KEPT = ("unique_id", "ds", "cutoff", "y", "_fold")  # columns besides forecasts


def is_narrow(panel: Panel, naive: Mapping[str, float], bounds: Bounds = NO_BOUNDS) -> bool:
    """Whether 32 bits suffice for every series: rounding at its largest |y| is below SHARE of naive errors.

    `naive`: in-sample errors of series that have one.  A series without, or with an error of 0, needs values
    that 32 bits hold exactly, and so do `bounds`, which no rounded forecast may pass.
    """
    if any(bound is not None and float(np.float32(bound)) != bound for bound in (bounds.lowest, bounds.highest)):
        return False
    errors, first = np.array([naive.get(name, 0.0) for name in panel.ids]), 0
    while first < len(panel.ids):
        last = max(int(np.searchsorted(panel.offsets, panel.offsets[first] + VALUES, "right")) - 1, first + 1)
        rows = slice(panel.offsets[first], panel.offsets[last])
        if not _holds(np.asarray(panel.target[rows], np.float64), panel.offsets[first:last] - rows.start, errors[first:last]):
            return False
        first = last
    return True


def _holds(y: np.ndarray, starts: np.ndarray, errors: np.ndarray) -> bool:
    """The same for series that begin at rows `starts` of `y`, with their naive errors."""
    y = np.nan_to_num(y, nan=0.0)
    if (np.abs(y) > np.finfo(np.float32).max).any():
        return False
    level, lost = (np.maximum.reduceat(values, starts) for values in (np.abs(y), np.abs(y - y.astype(np.float32))))
    rounding = np.spacing(level.astype(np.float32)).astype(np.float64) / 2
    return bool(((rounding < SHARE * errors) | ((errors == 0) & (lost == 0))).all())


def table_of(frame: pl.DataFrame, narrow: bool) -> pa.Table:
    """A block of the frame as stored: forecasts in 32 bits if `narrow`, else in 64."""
    kind = pl.Float32 if narrow else pl.Float64
    return frame.with_columns(pl.exclude(*KEPT).cast(kind)).to_arrow()


def writer(path: Path, schema: pa.Schema) -> pq.ParquetWriter:
    """A writer for such blocks."""
    numbers = [field.name for field in schema if field.name not in KEPT]
    split = dict.fromkeys(numbers, "BYTE_STREAM_SPLIT") | {"ds": "DELTA_BINARY_PACKED"}
    names = [name for name in ("unique_id", "cutoff", "_fold") if name in schema.names]
    return pq.ParquetWriter(path, schema, compression="zstd", use_dictionary=names, column_encoding=split)
