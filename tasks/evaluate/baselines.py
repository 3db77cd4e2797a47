"""The forecasts that every variant has to beat: three naive ones, theta, auto_ets; never reads a row after its cutoff.

Arrays hold all series end to end, so that ten thousand of them cost no loop: shapes are [rows] for the history, [origins] in
the order of the forecast frame, `ahead` = gap + 1 .. gap + horizon.
"""

import time
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from params.schema import RunParams
from tasks.grid.frequency import Frequency

CUTOFFS = 30  # on which theta and auto_ets are fitted: a fit an origin and series is too slow for all of them
CUTOFFS_LEAST = 10  # fewer say little: the baseline is then left out


class Fitted(NamedTuple):
    """What a fit of it gets: so many rows of history or so many seasons, whichever is more, and no longer season."""

    rows: int
    seasons: int
    longest: int


# No clock stops a fit under way, hence `longest`: theta at 8760 cost 100 times what it does at 1000, auto_ets (a parameter for
# each row of a season) at 365 4 to 16 times what it does at 168.  auto_ets: 500 rows of the shipped data (season 24) cost
# twice what 240 do, for 1 % less error; three seasons are what it needs to start from a decomposition.
FITTED = {"theta": Fitted(500, 10, 1000), "auto_ets": Fitted(240, 3, 168)}


@dataclass(frozen=True)
class _Past:
    """Every series' values and where its origins stand in them.

    `y` [rows], NaN where missing; `newest` [rows], the row of the newest value observed there or in any row before;
    `start`, `at`, `cutoff` [origins]: the first row of the origin's series, the row of its cutoff, the cutoff as a number.
    """

    y: np.ndarray
    newest: np.ndarray
    start: np.ndarray
    at: np.ndarray
    cutoff: np.ndarray


def forecast_baselines(history: pl.DataFrame, origins: pl.DataFrame, run: RunParams) -> tuple[pl.DataFrame, dict[str, str]]:
    """Wide frame (unique_id, ds, cutoff, step, a column a baseline; no y) and a note for each baseline that left origins out.

    `history`: unique_id, ds, y on the regular grid, null where missing; `origins`: unique_id, cutoff.  A series without an
    observed value up to its cutoff gets nulls.  Raises ValueError for a cutoff off the grid.
    """
    names = run.evaluation.baselines
    history, origins = history.sort("unique_id", "ds"), origins.sort("unique_id", "cutoff")
    series = history.group_by("unique_id", maintain_order=True).agg(pl.col("ds").first().alias("first"), pl.len().alias("rows"))
    begins = (pl.col("rows").cum_sum() - pl.col("rows")).cast(pl.Int64).alias("start")
    origins = origins.join(series.with_columns(begins), on="unique_id", how="left", maintain_order="left")
    past = _past(history, origins, run)
    columns = _simple(past, run)
    notes: dict[str, str] = {}
    for name in FITTED:
        if name in names:
            columns[name], note = _fitted(name, past, run)
            notes |= {name: note} if note else {}
    made = [pl.Series(name, columns[name].ravel(), pl.Float64).fill_nan(None) for name in names]
    return _targets(origins, run).with_columns(made), notes


def only_naive(run: RunParams) -> RunParams:
    """The same run with no baselines but those of the three naive ones that it names."""
    names = tuple(name for name in run.evaluation.baselines if name not in FITTED)
    return run.model_copy(update={"evaluation": run.evaluation.model_copy(update={"baselines": names})})


def _targets(origins: pl.DataFrame, run: RunParams) -> pl.DataFrame:
    """One row an origin and step: unique_id, ds, cutoff, step."""
    frequency = Frequency(run.data.frequency)
    ahead = pl.col("step") + run.windows.gap
    return (
        origins.with_columns(pl.int_ranges(1, run.windows.horizon + 1, dtype=pl.Int64).alias("step"))
        .explode("step")
        .select("unique_id", frequency.shift(pl.col("cutoff"), ahead, pl.col("first")).alias("ds"), "cutoff", "step")
    )


def _past(history: pl.DataFrame, origins: pl.DataFrame, run: RunParams) -> _Past:
    """`origins`: with the `start` of their series in `history`, its `first` ds and its number of `rows`.

    Raises ValueError for a cutoff that is not one of its series' rows.
    """
    position = Frequency(run.data.frequency).position(pl.col("cutoff"), pl.col("first"))
    inside = position.is_between(0, pl.col("rows") - 1)
    at = origins.select(pl.when(inside).then(pl.col("start") + position).alias("at"))["at"]
    off = (history["ds"].gather(at) != origins["cutoff"]).fill_null(True)
    if off.any():
        raise ValueError(f"a cutoff of series {origins['unique_id'].filter(off)[0]!r} is not a row of its history")
    y = history["y"].cast(pl.Float64).to_numpy()
    newest = np.maximum.accumulate(np.where(np.isnan(y), -1, np.arange(len(y))))
    return _Past(y, newest, origins["start"].to_numpy(), at.to_numpy(), origins["cutoff"].to_physical().to_numpy())


def _simple(past: _Past, run: RunParams) -> dict[str, np.ndarray]:
    """[origins, horizon] of each of the three naive forecasts, NaN where nothing was observed yet."""
    ahead = run.windows.gap + np.arange(1, run.windows.horizon + 1)
    y, last = past.y, past.newest[past.at]
    value = np.where(last < past.start, np.nan, y[last])[:, None]
    observed = np.append(np.flatnonzero(~np.isnan(y)), len(y) - 1)  # the end: there is always one to find
    first = observed[np.searchsorted(observed[:-1], past.start)]
    slope = (value[:, 0] - y[first]) / np.maximum(last - first, 1)
    return {
        "last_value": np.broadcast_to(value, (len(last), len(ahead))),
        "drift": value + slope[:, None] * ((past.at - last)[:, None] + ahead),
        "seasonal_naive": _seasonal(past, ahead, run.evaluation.season, value),
    }


def _seasonal(past: _Past, ahead: np.ndarray, season: int, otherwise: np.ndarray) -> np.ndarray:
    """The newest observed value a whole number of seasons before each target and not after the cutoff."""
    source = past.at[:, None] + ahead - -(-ahead // season) * season
    found = _seasons_back(past.y, season)[np.maximum(source, 0)]
    # Going back may end in the series before: nothing was observed then.
    known = (source >= past.start[:, None]) & (found >= past.start[:, None]) & ~np.isnan(past.y[found])
    return np.where(known, past.y[found], otherwise)


def _seasons_back(y: np.ndarray, season: int) -> np.ndarray:
    """[rows] the nearest row with a value a whole number of seasons (0 too) before each, of any series; itself where none."""
    rows = np.arange(len(y))
    back = np.where(np.isnan(y) & (rows >= season), rows - season, rows)
    while True:  # each round doubles how far one goes back at once
        further = back[back]
        if np.array_equal(further, back):
            return back
        back = further


def _fitted(name: str, past: _Past, run: RunParams) -> tuple[np.ndarray, str | None]:
    """[origins, horizon] of theta or auto_ets on evenly spread cutoffs, NaN elsewhere; a note where that is not all of them.

    A cutoff counts once every series that has it was tried; where the time ends before enough of them do, all is NaN.
    """
    season, seconds = run.evaluation.season, run.evaluation.baseline_seconds
    nothing = np.full((len(past.at), run.windows.horizon), np.nan)
    limits = FITTED[name]
    if season > limits.longest:
        return nothing, f"left out: it takes a season of {limits.longest} rows at most"
    moment = _moments(past)
    cutoffs = np.unique(moment)
    order, model, kept = _spread(len(cutoffs)), _model(name, season), max(limits.rows, limits.seasons * season)
    deadline = time.monotonic() + seconds
    values, tried = nothing.copy(), []
    for cutoff in cutoffs[order]:
        here = np.flatnonzero(moment == cutoff)
        made = _fits(model, kept, past, here, run, deadline)
        if made is None:
            break
        values[here] = made
        tried.append(here)
    if len(tried) < min(CUTOFFS_LEAST, len(order)):
        return nothing, f"left out: its {seconds:g} s were over after {len(tried)} of {len(cutoffs)} origins"
    why = f": its {seconds:g} s were over" if len(tried) < len(order) else " (its scores are of those alone)"
    part = f"on {len(tried)} of {len(cutoffs)} origins{why}" if len(tried) < len(cutoffs) else ""
    return values, "; ".join(filter(None, (part, _lacking(values, past.start, tried)))) or None


def _moments(past: _Past) -> np.ndarray:
    """[origins] what is fitted together: the cutoff, or, where series end at different times, the place from its own last one.

    Else a spread over thirty cutoffs would leave out most series of a split by rows.
    """
    _, first, counts = np.unique(past.start, return_index=True, return_counts=True)
    if len(np.unique(past.cutoff)) <= counts.max(initial=0):
        return past.cutoff
    return np.repeat(first + counts, counts) - np.arange(len(past.start))


def _spread(count: int) -> list[int]:
    """Which of `count` cutoffs to fit on, evenly spread.

    Far apart first (bits reversed), so that a budget that runs out still leaves them spread over the whole range.
    """
    spread = np.unique(np.linspace(0, count - 1, min(CUTOFFS, count)).round().astype(int))
    return [int(spread[i]) for i in sorted(range(len(spread)), key=lambda i: f"{i:05b}"[::-1])]


def _model(name: str, season: int) -> Any:
    from statsforecast.models import AutoETS, Theta  # takes seconds to import

    return AutoETS(season_length=season) if name == "auto_ets" else Theta(season_length=season)


def _fits(model: Any, kept: int, past: _Past, here: np.ndarray, run: RunParams, deadline: float) -> np.ndarray | None:
    """[here, horizon] after the origins `here`, each from its last `kept` rows; None where the deadline came before the end."""
    made = np.full((len(here), run.windows.horizon), np.nan)
    for row, origin in enumerate(here):
        if time.monotonic() > deadline:
            return None
        at = past.at[origin]
        low = max(past.start[origin], at + 1 - kept)
        filled = past.newest[low : at + 1]
        made[row] = _fit(model, past.y[filled[filled >= low]], run.windows.gap, run.windows.horizon)
    return made


def _fit(model: Any, y: np.ndarray, gap: int, horizon: int) -> np.ndarray:
    """[horizon] after the gap after the end of `y`; NaN where the library fits nothing to it."""
    try:
        with np.errstate(all="ignore"):  # a constant series divides by its variance on the way to a sound forecast
            mean: np.ndarray = model.forecast(y=y, h=gap + horizon)["mean"][gap:]
    except Exception:  # too short and the like: the library has no type of its own for it
        return np.full(horizon, np.nan)
    return np.where(np.isfinite(mean), mean, np.nan)


def _lacking(values: np.ndarray, start: np.ndarray, tried: list[np.ndarray]) -> str:
    """How many series lack a forecast on an origin that was tried; empty where none does."""
    origins = np.concatenate([*tried, np.zeros(0, int)])
    failed = origins[np.isnan(values[origins]).any(axis=1)]
    series, lacking = len(np.unique(start[origins])), len(np.unique(start[failed]))
    return f"{lacking} of {series} series lack forecasts" if lacking else ""
