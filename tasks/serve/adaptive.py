"""Intervals of scheduled forecasts whose level follows the realised coverage (`promotion.intervals: aci`).

Gibbs & Candes 2021, "Adaptive conformal inference under distribution shift" (NeurIPS 34): each series has a
target miss rate of its 90 % interval, `miss`, initially 0.1.  After each realised forecast, miss += RATE *
(0.1 - what it missed), so that in the long run a tenth is missed, whatever the data do.  A forecast of
several steps counts row by row, as actuals arrive.  Below A0, where no trained quantile is left, the
outermost one widens up to a limit; the paper uses an infinite interval there.

The state is an input of a served forecast and is stored with it: `miss`; `seen`, the newest row with an
actual at that time; `turn`, a counter.  The next state follows from the stored forecasts and the actuals
since, so running again on the same data gives the same state.  A version, its proof and plain `forecast`
never read it.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import NormalDist

import numpy as np
import polars as pl

from models.serving import Bounds, ends_of
from tasks.evaluate.frames import COVERAGE

RATE = 0.02  # by simulation: if the deviation triples, coverage is 90 % again after 60 forecasts; a stable panel loses nothing
ALPHA = (100 - COVERAGE) / 100
LEAST, MOST = -0.35, 0.5  # limits of `miss`: a hundred times as wide as at A0, and an interval of 50 %
A0 = 0.01
STATE = ("miss", "seen", "turn")
KEPT = ("unique_id", "cutoff", "ds", f"yhat-lo-{COVERAGE}", f"yhat-hi-{COVERAGE}", *STATE)


def next_state(files: Iterable[Path], history: pl.DataFrame) -> pl.DataFrame:
    """unique_id, miss, seen, turn for the next forecast of each series with an actual in `history`.

    `history`: unique_id, ds, y.  `files`: served forecasts; those made without a state are ignored.
    """
    actuals = history.select("unique_id", "ds", _y=pl.col("y").cast(pl.Float64).fill_nan(None)).drop_nulls()
    now = actuals.group_by("unique_id", maintain_order=True).agg(_now=pl.col("ds").max().to_physical().cast(pl.Int64))
    kept = [file for file in files if _of_a_state(pl.read_parquet_schema(file), history.schema["ds"])]
    if not kept:
        return now.select("unique_id", miss=pl.lit(ALPHA), seen="_now", turn=pl.lit(1, pl.Int64))
    states = pl.concat(pl.read_parquet(file, columns=["unique_id", *STATE]).unique() for file in kept)
    last = states.sort("turn").unique("unique_id", keep="last", maintain_order=True)
    come = _come_true(kept, last, actuals)
    joined = now.join(last, on="unique_id", how="left", maintain_order="left").join(come, on="unique_id", how="left")
    miss = (pl.col("miss").fill_null(ALPHA) + RATE * pl.col("_less").fill_null(0.0)).clip(LEAST, MOST)
    seen, turn = pl.max_horizontal("seen", "_now"), pl.col("turn").fill_null(0) + 1
    return joined.select("unique_id", miss=miss, seen=seen, turn=turn).sort("unique_id")


def _of_a_state(schema: Mapping[str, pl.DataType], ds: pl.DataType) -> bool:
    return {*KEPT} <= {*schema} and schema["ds"] == ds


def _come_true(files: Iterable[Path], last: pl.DataFrame, actuals: pl.DataFrame) -> pl.DataFrame:
    """unique_id, _less: the sum over forecasts of ALPHA minus their miss rate, since the `last` state.

    If a cutoff was forecast twice, the later forecast counts.
    """
    ds, oldest, low, high = pl.col("ds").to_physical(), last["seen"].min(), f"yhat-lo-{COVERAGE}", f"yhat-hi-{COVERAGE}"
    some = [file for file in files if pl.scan_parquet(file).select((ds > oldest).any()).collect().item()]
    if not some:
        return pl.DataFrame(schema={"unique_id": pl.String, "_less": pl.Float64})
    rows = pl.concat(pl.read_parquet(file, columns=list(KEPT)).drop("miss", "seen") for file in some)
    rows = rows.sort("turn").unique(["unique_id", "cutoff", "ds"], keep="last", maintain_order=True)
    rows = rows.with_columns(_steps=pl.len().over("unique_id", "cutoff")).join(actuals, on=["unique_id", "ds"])
    rows = rows.join(last.select("unique_id", "seen"), on="unique_id").filter(ds > pl.col("seen"))
    missed = (~pl.col("_y").is_between(low, high)).cast(pl.Float64)
    return rows.sort("unique_id", "cutoff", "ds").group_by("unique_id").agg(_less=((ALPHA - missed) / pl.col("_steps")).sum())


def adapted(made: pl.DataFrame, state: pl.DataFrame, levels: Sequence[float], bounds: Bounds) -> pl.DataFrame:
    """Forecasts with their 90 % interval adapted to the state, and the state's columns in order.

    `made`: yhat and `yhat-q-LEVEL` for all the version's `levels`, which are removed.  A series without a
    state, since no actual is known, starts one.
    """
    rows = made.join(state, on="unique_id", how="left", maintain_order="left").with_columns(
        pl.col("miss").fill_null(ALPHA), pl.col("turn").fill_null(1), pl.col("seen").fill_null(pl.col("cutoff").to_physical())
    )
    point, miss = (rows[name].cast(pl.Float64).fill_null(np.nan).to_numpy() for name in ("yhat", "miss"))
    names = [f"yhat-q-{level:g}" for level in levels]
    quantiles = rows.select(pl.col(names).cast(pl.Float64).fill_null(np.nan)).to_numpy()
    ends = bounds.outward(interval(point, quantiles, np.array(levels), miss), np.array(ends_of(COVERAGE)))
    columns = {f"yhat-{side}-{COVERAGE}": ends[:, at] for at, side in enumerate(("lo", "hi"))}
    rows = rows.with_columns(pl.Series(name, values, pl.Float64).fill_nan(None) for name, values in columns.items())
    return rows.drop(names)


def interval(point: np.ndarray, quantiles: np.ndarray, levels: np.ndarray, miss: np.ndarray) -> np.ndarray:
    """[R, 2] the ends of intervals with miss rate `miss` [R] around `point` [R]; NaN if unknown.

    Interpolated along a normal distribution between the quantiles [R, Q] at ascending `levels` [Q]; beyond
    the outermost known one, as far from the point as a normal distribution's.
    """
    ends, wanted = np.empty((len(point), 2)), reach_of(miss)
    for end, sign in enumerate((-1, 1)):
        normal = sign * np.array([NormalDist().inv_cdf(level) for level in levels])
        some = np.flatnonzero(normal > 0)
        some = some[np.argsort(normal[some])]  # from the middle outward
        reach, away = np.r_[0.0, normal[some]], np.c_[np.zeros(len(point)), sign * (quantiles[:, some] - point[:, None])]
        away = np.maximum(away, 0.0)  # keeps NaN
        for k in range(2, len(reach)):  # NaN: too few errors
            away[:, k] = np.where(np.isnan(away[:, k]), away[:, k - 1] * reach[k] / reach[k - 1], away[:, k])
        above = np.clip(np.searchsorted(reach, wanted), 1, len(reach) - 1)
        row = np.arange(len(point))
        share = (wanted - reach[above - 1]) / (reach[above] - reach[above - 1])
        between = away[row, above - 1] + share * (away[row, above] - away[row, above - 1])
        beyond = away[row, -1] * wanted / reach[-1]
        ends[:, end] = point + sign * np.where(wanted > reach[-1], beyond, between)
    return ends


def reach_of(miss: np.ndarray) -> np.ndarray:
    """How many deviations a normal interval of this miss rate reaches; below A0 smoothly towards infinity."""
    normal = NormalDist()
    last = normal.inv_cdf(1 - A0 / 2)
    steep = 1 / (2 * normal.pdf(last) * last)
    each, at = np.unique(miss, return_inverse=True)  # all rows of a series share one
    inside = np.array([normal.inv_cdf(1 - rate / 2) for rate in np.clip(each, A0, 1.0)])
    return np.asarray(np.where(each >= A0, inside, last * np.exp(steep * (A0 - each)))[at])


def levels_in_words(state: pl.DataFrame) -> str:
    """The miss rates that the intervals were set to, in words."""
    least, most = state["miss"].min(), state["miss"].max()
    return f"intervals of {COVERAGE} % adapted by what came true, to levels of {1 - most:.0%} to {1 - least:.0%}"  # type: ignore[operator]
