"""The forecasts that every variant has to beat: last value, drift, seasonal naive, theta; never reads a row after its cutoff.

Arrays are one series each: `y` [rows] with NaN where missing, `at` the row of each cutoff, `ahead` = gap + 1 .. gap + horizon.
"""

import time
from collections.abc import Mapping

import numpy as np
import polars as pl

from params.schema import RunParams
from tasks.frequency import Frequency

THETA_ORIGINS = 30  # cutoffs on which theta is fitted: a fit an origin and series is too slow for all of them
THETA_ROWS = 500  # history of a theta fit, or ten seasons where those are more
THETA_LEAST = 4  # statsforecast fits no theta to fewer rows


def forecast_baselines(
    history: pl.DataFrame, origins: pl.DataFrame, run: RunParams, seconds: float = 30.0
) -> tuple[pl.DataFrame, dict[str, str]]:
    """Wide frame (unique_id, ds, cutoff, step, a column a baseline; no y) and a note for each baseline that left origins out.

    `history`: unique_id, ds, y on the regular grid, null where missing; `origins`: unique_id, cutoff.  A series without an
    observed value up to its cutoff gets nulls.  `seconds` is what theta may take.  Raises ValueError for a cutoff off the grid.
    """
    names = run.evaluation.baselines
    frame = _targets(history, origins, run)
    rows = {str(key): part for (key,), part in history.sort("unique_id", "ds").partition_by("unique_id", as_dict=True).items()}
    parts = []
    for (key,), part in frame.partition_by("unique_id", as_dict=True, maintain_order=True).items():
        y, at = _arrays(rows[str(key)], part, run.windows.horizon)
        columns = _simple(y, at, run)
        parts.append(part.with_columns(pl.Series(name, columns[name].ravel()) for name in names if name in columns))
    wide = pl.concat(parts) if parts else frame.with_columns(pl.lit(None, pl.Float64).alias(n) for n in names if n != "theta")
    notes: dict[str, str] = {}
    if "theta" in names:
        wide, note = _with_theta(wide, rows, run, seconds)
        notes |= {"theta": note} if note else {}
    return wide.select("unique_id", "ds", "cutoff", "step", pl.col(names).fill_nan(None)), notes


def _targets(history: pl.DataFrame, origins: pl.DataFrame, run: RunParams) -> pl.DataFrame:
    """One row an origin and step: unique_id, ds, cutoff, step."""
    frequency = Frequency(run.data.frequency)
    first = history.group_by("unique_id").agg(pl.col("ds").min().alias("first"))
    steps = pl.int_ranges(1, run.windows.horizon + 1, dtype=pl.Int64).alias("step")
    ahead = pl.col("step") + run.windows.gap
    return (
        origins.join(first, on="unique_id", how="left")
        .sort("unique_id", "cutoff")
        .with_columns(steps)
        .explode("step")
        .select("unique_id", frequency.shift(pl.col("cutoff"), ahead, pl.col("first")).alias("ds"), "cutoff", "step")
    )


def _arrays(rows: pl.DataFrame, part: pl.DataFrame, horizon: int) -> tuple[np.ndarray, np.ndarray]:
    """`y` and `at` of one series.  Raises ValueError for a cutoff that is not one of its rows."""
    times = rows["ds"].to_physical().to_numpy()
    cutoffs = part["cutoff"].to_physical().to_numpy()[::horizon]
    at = np.searchsorted(times, cutoffs)
    if not np.array_equal(times[np.minimum(at, len(times) - 1)], cutoffs):
        raise ValueError(f"a cutoff of series {part['unique_id'][0]!r} is not a row of its history")
    return rows["y"].cast(pl.Float64).to_numpy(), at


def _simple(y: np.ndarray, at: np.ndarray, run: RunParams) -> dict[str, np.ndarray]:
    """[origins, horizon] of each of the three naive forecasts, NaN where nothing was observed yet."""
    ahead = run.windows.gap + np.arange(1, run.windows.horizon + 1)
    observed = ~np.isnan(y)
    last = np.maximum.accumulate(np.where(observed, np.arange(len(y)), -1))[at]
    value = np.where(last < 0, np.nan, y[last])[:, None]
    first = int(observed.argmax())
    slope = (value[:, 0] - y[first]) / np.maximum(last - first, 1)
    shape = (len(at), len(ahead))
    return {
        "last_value": np.broadcast_to(value, shape),
        "drift": value + slope[:, None] * ((at - last)[:, None] + ahead),
        "seasonal_naive": _seasonal(y, at, ahead, run.evaluation.season, value),
    }


def _seasonal(y: np.ndarray, at: np.ndarray, ahead: np.ndarray, season: int, otherwise: np.ndarray) -> np.ndarray:
    """The newest observed value a whole number of seasons before each target and not after the cutoff."""
    padded = np.full(-(-len(y) // season) * season, np.nan)
    padded[: len(y)] = y
    phases = padded.reshape(-1, season)
    newest = np.maximum.accumulate(np.where(np.isnan(phases), -1, np.arange(len(phases))[:, None]), axis=0)
    filled = np.where(newest < 0, np.nan, np.take_along_axis(phases, newest, axis=0)).ravel()
    source = at[:, None] + ahead - -(-ahead // season) * season
    found = np.where(source < 0, np.nan, filled[np.maximum(source, 0)])
    return np.where(np.isnan(found), otherwise, found)


def _with_theta(
    frame: pl.DataFrame, rows: Mapping[str, pl.DataFrame], run: RunParams, seconds: float
) -> tuple[pl.DataFrame, str | None]:
    """The column theta on evenly spread cutoffs, the same for all series, and a note where that is not all of them."""
    from statsforecast.models import Theta  # takes seconds to import

    model = Theta(season_length=run.evaluation.season)
    cutoffs = frame["cutoff"].unique().sort()
    spread = np.unique(np.linspace(0, len(cutoffs) - 1, min(THETA_ORIGINS, len(cutoffs))).round().astype(int))
    # Far apart first (bits reversed), so that a budget that runs out still leaves the cutoffs spread over the whole range.
    order = [int(spread[i]) for i in sorted(range(len(spread)), key=lambda i: f"{i:05b}"[::-1])]
    deadline = time.monotonic() + seconds
    fits: list[pl.DataFrame] = []
    reached = 0
    for cutoff in cutoffs.gather(order):
        here: list[pl.DataFrame] = []
        rows_here = frame.filter(pl.col("cutoff") == cutoff)
        for (key,), part in rows_here.partition_by("unique_id", as_dict=True, maintain_order=True).items():
            if time.monotonic() > deadline:
                return _joined(frame, fits), f"on {reached} of {len(cutoffs)} origins: its {seconds:g} s were over"
            past = rows[str(key)].filter(pl.col("ds") <= cutoff)["y"]
            here.append(part.with_columns(pl.Series("theta", _theta(model, past, run), dtype=pl.Float64)))
        fits += here  # only now: a cutoff counts once all series have it
        reached += 1
    note = f"on {reached} of {len(cutoffs)} origins (its scores are of those alone)"
    return _joined(frame, fits), note if reached < len(cutoffs) else None


def _theta(model, past: pl.Series, run: RunParams) -> np.ndarray:  # type: ignore[no-untyped-def]  # imported late
    """[horizon] after the end of `past`; NaN where it is too short for theta."""
    kept = max(THETA_ROWS, 10 * run.evaluation.season)
    y = past.cast(pl.Float64).fill_nan(None).tail(kept).forward_fill().drop_nulls().to_numpy()
    if len(y) < THETA_LEAST:
        return np.full(run.windows.horizon, np.nan)
    with np.errstate(all="ignore"):  # a constant series divides by its variance on the way to a sound forecast
        mean: np.ndarray = model.forecast(y=y, h=run.windows.gap + run.windows.horizon)["mean"]
    return mean[run.windows.gap :]


def _joined(frame: pl.DataFrame, fits: list[pl.DataFrame]) -> pl.DataFrame:
    if not fits:
        return frame.with_columns(pl.lit(None, pl.Float64).alias("theta"))
    keys = ["unique_id", "cutoff", "step"]
    return frame.join(pl.concat(fits).select(*keys, "theta"), on=keys, how="left", maintain_order="left")
