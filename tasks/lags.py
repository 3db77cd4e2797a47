"""Long frame -> panel (what windows are gathered from) and lag table (the same windows as columns, for people); no network.

The panel is one float32 array on a regular grid, in a folder named by its content's hash.  The target is kept as observed;
features are carried forward over at most `forward_fill` rows, never from another series, and stay NaN beyond.
"""

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl
from prefect import task
from prefect.cache_policies import NO_CACHE

from models.windows import CALENDAR, OBSERVED, Panel, Split, WindowParams
from params.errors import UserError
from params.schema import DURATION, RunParams
from tasks.frequency import Frequency
from tasks.load import parse_time

KEYS = ("unique_id", "ds")


def write_panel(frame: pl.LazyFrame, params: WindowParams, frequency: Frequency, forward_fill: int, folder: Path) -> Path:
    """Writes the panel of a long frame (unique_id, ds, y, features; any order) below `folder`; returns its own folder.

    Missing steps become rows of NaN.  Raises UserError for a value that float32 cannot hold.  Written beside, then renamed:
    an equal panel that is already there is kept.
    """
    features = list(params.features)
    columns = list(dict.fromkeys(["y", *features]))
    rows = frame.select(*KEYS, *(pl.col(c).cast(pl.Float64) for c in columns)).sort(KEYS).collect()
    if not rows.height:
        raise UserError("no rows are left after the checks: nothing to cut into windows")
    first = pl.col("ds").first().over("unique_id")
    rows = rows.with_columns(position=frequency.position(pl.col("ds"), first))
    series = rows.group_by("unique_id", maintain_order=True).agg(pl.col("ds").first(), size=pl.col("position").last() + 1)
    offsets = np.concatenate(([0], np.cumsum(series["size"].to_numpy()))).astype(np.int64)
    starts = np.repeat(offsets[:-1], rows.group_by("unique_id", maintain_order=True).len()["len"].to_numpy())
    at = starts + rows["position"].to_numpy()
    times = _grid_times(series, frequency)
    values = np.full((int(offsets[-1]), 1 + len(params.features) + 2 * len(params.calendar)), np.nan, np.float32)
    values[at, 0] = _float32(rows["y"])
    for column, name in enumerate(features, start=1):
        values[at, column] = _float32(rows[name])
        _carry_forward(values[:, column], offsets, forward_fill)
    for number, name in enumerate(params.calendar):
        column = 1 + len(features) + 2 * number
        values[:, column], values[:, column + 1] = calendar_waves(times, name)
    facts = {"ids": series["unique_id"].to_list(), "frequency": frequency.span, "forward_fill": forward_fill}
    return _store(values, offsets, times, facts | {"channels": [OBSERVED, *params.channels]}, folder)


def _grid_times(series: pl.DataFrame, frequency: Frequency) -> np.ndarray:
    """The timestamps of every row of the grid, int64."""
    grid = series.select("ds", position=pl.int_ranges(0, pl.col("size"))).explode("position")
    return grid.select(frequency.at(pl.col("ds"), pl.col("position")).to_physical()).to_series().to_numpy()


def _float32(column: pl.Series) -> np.ndarray:
    values = column.to_numpy()
    with np.errstate(over="ignore"):
        small: np.ndarray = values.astype(np.float32)
    if np.isinf(small).any():
        worst = values[np.isinf(small)][0]
        raise UserError(
            f"column {column.name!r} holds {worst:g}, which a 32-bit float cannot: remove it or give it another unit"
        )
    return small


def _carry_forward(values: np.ndarray, offsets: np.ndarray, limit: int) -> None:
    """Fills NaN in place with the last value of the same series, at most `limit` rows old."""
    rows = np.arange(len(values))
    last = np.maximum.accumulate(np.where(np.isnan(values), -1, rows))
    start = np.repeat(offsets[:-1], np.diff(offsets))
    usable = np.isnan(values) & (last >= start) & (rows - last <= limit)
    values[usable] = values[last[usable]]


def calendar_waves(times: np.ndarray, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Sine and cosine of the hour (with its minutes), the weekday (Monday 0) or the month; `times` in microseconds UTC."""
    ds = pl.Series(times).cast(pl.Datetime("us"))
    value = {
        "hour": lambda: ds.dt.hour().cast(pl.Float64) + ds.dt.minute().cast(pl.Float64) / 60,
        "weekday": lambda: ds.dt.weekday().cast(pl.Float64) - 1,
        "month": lambda: ds.dt.month().cast(pl.Float64) - 1,
    }[name]()
    angle = 2 * np.pi * value.to_numpy() / CALENDAR[name]
    return np.sin(angle), np.cos(angle)


def _store(values: np.ndarray, offsets: np.ndarray, times: np.ndarray, facts: dict[str, Any], folder: Path) -> Path:
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    arrays = {"values": np.ascontiguousarray(values), "offsets": offsets, "times": np.ascontiguousarray(times, np.int64)}
    for array in arrays.values():
        digest.update(array.data.cast("B"))
    final = folder / digest.hexdigest()
    if (final / "panel.json").exists():
        return final
    partial = folder / f".partial-{os.getpid()}-{digest.hexdigest()[:8]}"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    for name, array in arrays.items():
        np.save(partial / f"{name}.npy", array)
    facts = facts | {"digest": digest.hexdigest(), "rows": len(values), "bytes": values.nbytes}
    (partial / "panel.json").write_text(json.dumps(facts, indent=1))
    try:
        os.replace(partial, final)
    except OSError:  # another process was quicker with the same content
        shutil.rmtree(partial, ignore_errors=True)
    return final


def panel_frame(panel: Panel) -> pl.DataFrame:
    """The panel as a frame: unique_id, ds, the observed target, then its channels; NaN as null, one row a step of the grid."""
    frequency = Frequency(panel.facts["frequency"])
    ids = pl.Series("unique_id", panel.ids, pl.String)
    counts = np.diff(panel.offsets)
    columns = {
        name: pl.Series(np.ascontiguousarray(panel.values[:, i])).fill_nan(None) for i, name in enumerate(panel.channels)
    }
    keys = {
        "unique_id": ids.gather(np.repeat(np.arange(len(counts)), counts)),
        "ds": pl.Series(panel.times).cast(frequency.dtype),
    }
    return pl.DataFrame(keys | columns)


def lag_table(
    frame: pl.DataFrame, params: WindowParams, frequency: Frequency, edges: Literal["keep", "drop"] = "keep"
) -> pl.DataFrame:
    """The windows of a gridded frame (sorted by unique_id and ds; the observed target or y, features) as columns.

    `ds` is the time of the target of step 1.  Columns, oldest first: `{feature}_lag{k}`, k rows before that target, then
    `y_step1 .. y_step{horizon}`.  keep: n + 1 rows for a series of n rows, the last one step past its end, null where there is
    nothing; drop: only the rows whose window and targets lie wholly within the series.
    """
    target = OBSERVED if OBSERVED in frame.columns else "y"
    past_end = frame.group_by("unique_id", maintain_order=True).agg(
        frequency.shift(pl.col("ds").last(), 1, pl.col("ds").first()).alias("ds")
    )
    size = pl.len().over("unique_id")
    rows = pl.concat([frame, past_end], how="diagonal").sort(KEYS)
    rows = rows.with_columns(pl.int_range(pl.len()).over("unique_id").alias("(row)"), (size - 1).alias("(size)"))
    columns = [
        pl.when(pl.col("(row)") >= k).then(pl.col(name).shift(k)).alias(f"{name}_lag{k}")
        for name, window in params.features.items()
        for k in (params.gap + 1 + window.delay + window.sampling_rate * i for i in reversed(range(window.lookback)))
    ]
    steps = [
        pl.when(pl.col("(row)") + h < pl.col("(size)")).then(pl.col(target).shift(-h)).alias(f"y_step{h + 1}")
        for h in range(params.horizon)
    ]
    table = rows.select(*KEYS, "(row)", "(size)", *columns, *steps)
    if edges == "drop":
        first, ahead = params.reach + params.gap + 1, params.horizon
        table = table.filter((pl.col("(row)") >= first) & (pl.col("(row)") + ahead <= pl.col("(size)")))
    return table.drop("(row)", "(size)")


def head_text(table: pl.DataFrame, rows: int = 10) -> str:
    """The first rows of each series of a lag table as people read it; the middle columns of a wide one are left out.

    Values have the seven digits that 32 bits hold: 39.92, not 39.919998.
    """
    shown = table.group_by("unique_id", maintain_order=True).head(rows)
    shown = shown.with_columns(pl.col(pl.Float32).cast(pl.Float64).round_sig_figs(7))
    with pl.Config(
        tbl_cols=12, tbl_rows=-1, tbl_width_chars=160, tbl_hide_dataframe_shape=True, tbl_hide_column_data_types=True
    ):
        return str(shown)


def resolve_split(run: RunParams, oldest: int, newest: int) -> Split:
    """The borders of a run: moments counted back from the newest row of all series, dates, or rows of each series.

    `oldest`, `newest`: the first and last timestamp of the table (microseconds, or integer steps).  Raises UserError where a
    border lies outside the data.
    """
    frequency = Frequency(run.data.frequency)
    given, embargo = run.split, frequency.rows_in(run.split.embargo)
    if isinstance(given.validation, int) and isinstance(given.test, int):
        return Split("rows", given.validation, given.test, embargo)
    ends = pl.Series("ds", [oldest, newest]).cast(frequency.dtype)
    after = ends.to_frame().select(frequency.shift(pl.col("ds"), 1)).to_series().slice(1)
    if DURATION.match(str(given.test)):
        test = after.dt.offset_by(f"-{given.test}")
        validation = test.dt.offset_by(f"-{given.validation}")
    else:
        test, validation = (_moment(str(text)) for text in (given.test, given.validation))
    borders = [int(border.to_physical()[0]) for border in (validation, test)]
    if borders[0] <= oldest or borders[1] > newest:
        raise UserError(
            f"split: validation would begin {validation[0]} and test {test[0]}, but the data runs from {ends[0]} to {ends[1]}; "
            "shorten split.validation and split.test"
        )
    return Split("time", borders[0], borders[1], embargo)


def split_of(run: RunParams, panel: Panel) -> Split:
    """The borders of a run on its panel."""
    oldest = min(int(panel.times[start]) for start in panel.offsets[:-1])
    return resolve_split(run, oldest, max(int(panel.times[stop - 1]) for stop in panel.offsets[1:]))


def _moment(text: str) -> pl.Series:
    moment = pl.select(parse_time(pl.lit(text))).to_series()
    if moment.null_count():
        raise UserError(f"split: {text} is no date of the calendar")
    return moment


def lag_head(panel: Panel, params: WindowParams, rows: int = 20) -> pl.DataFrame:
    """The first complete rows of the lag table of the first series."""
    frequency = Frequency(panel.facts["frequency"])
    some = panel_frame(panel).head(min(panel.rows(0).stop, params.reach + params.ahead + rows))
    return lag_table(some, params, frequency, "drop").head(rows)


@task(cache_policy=NO_CACHE)
def generate_lags(frame: pl.LazyFrame, windows: WindowParams, run: RunParams, folder: Path) -> str:
    """Writes the panel of a run (its windows without the features that the checks dropped); returns its folder."""
    return str(write_panel(frame, windows, Frequency(run.data.frequency), run.windows.forward_fill, folder))
