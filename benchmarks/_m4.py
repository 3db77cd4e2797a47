"""How the M4 competition scores: sMAPE, MASE and OWA against Naive2, MSIS and ACD of 95 % intervals (Makridakis et al. 2020,
"The M4 Competition: 100,000 time series and 61 forecasting methods"), and the weighted quantile loss; numpy and polars, nothing
of ours.

Frames of forecasts: unique_id, cutoff, ds, y and a column a model, with `<model>-lo-L` and `<model>-hi-L` for its intervals, an
origin's rows in order.
"""

from collections.abc import Sequence

import numpy as np
import polars as pl

KEYS = ("smape", "mase", "owa")
OF_INTERVALS = ("msis", "acd", "wql", "coverage_90", *(f"coverage_90_fifth_{k}" for k in range(1, 6)))
NESTED = (20, 40, 60, 80)  # percent: intervals whose ends are the deciles, with the point as the median
CRITICAL = 1.645  # of the two-sided 90 % test of the autocorrelation


def seasonal(y: np.ndarray, season: int) -> bool:
    """Whether the autocorrelation at the seasonal lag is told from zero; never with less than three seasons."""
    if season < 2 or len(y) < 3 * season:
        return False
    apart = y - y.mean()
    total = (apart**2).sum()
    if total == 0:
        return False
    r = np.array([(apart[k:] * apart[:-k]).sum() / total for k in range(1, season + 1)])
    return bool(abs(r[-1]) > CRITICAL * np.sqrt((1 + 2 * (r[:-1] ** 2).sum()) / len(y)))


def indices(y: np.ndarray, season: int) -> np.ndarray:
    """[season] the seasonal figure of a classical multiplicative decomposition, its mean 1; the first is that of y[0]."""
    weights = np.full(season, 1 / season) if season % 2 else np.r_[0.5, np.ones(season - 1), 0.5] / season
    trend = np.convolve(y, weights, "valid")
    half = season // 2
    ratio, place = y[half : half + len(trend)] / trend, (half + np.arange(len(trend))) % season
    figure = np.array([ratio[place == k].mean() for k in range(season)])
    return np.asarray(figure / figure.mean())


def naive2(y: np.ndarray, season: int, horizon: int) -> np.ndarray:
    """[horizon] the last value, seasonally adjusted where the series is seasonal."""
    if not seasonal(y, season):
        return np.full(horizon, y[-1])
    figure = indices(y, season)
    last = y[-1] / figure[(len(y) - 1) % season]
    return np.asarray(last * figure[(len(y) + np.arange(horizon)) % season])


def smape(y: np.ndarray, forecast: np.ndarray) -> float:
    """The mean of 200 |y - f| / (|y| + |f|); a step where both are zero counts as 0."""
    size = np.abs(y) + np.abs(forecast)
    return float(np.mean(200 * np.divide(np.abs(y - forecast), size, out=np.zeros_like(size), where=size > 0)))


def owa(frame: pl.DataFrame, history: pl.DataFrame, models: Sequence[str], season: int) -> dict[str, dict[str, float | None]]:
    """model -> smape, mase, owa: means over origins; Naive2 and the scale of MASE from each series' rows up to the cutoff.

    `history`: unique_id, ds, y, all rows.  Steps without an actual are left out; so are, of MASE, series that were constant or
    are no longer than a season, which have no scale.  None where nothing is left, or Naive2 makes no error.
    """
    past = {name: rows for (name,), rows in history.sort("ds").partition_by("unique_id", as_dict=True).items()}
    scores: dict[str, list[tuple[float, float]]] = {name: [] for name in (*models, "naive2")}
    for (name, cutoff), rows in frame.partition_by("unique_id", "cutoff", as_dict=True, maintain_order=True).items():
        before = _before(past[name], cutoff)
        y, steps = rows["y"].to_numpy(), np.abs(before[season:] - before[:-season])
        there = ~np.isnan(y.astype(float))
        if not there.any():
            continue
        scale = steps.mean() if steps.any() else np.nan
        forecasts = {model: rows[model].to_numpy() for model in models}
        for model, forecast in {**forecasts, "naive2": naive2(before, season, len(y))}.items():
            error = np.abs(y[there] - forecast[there])
            scores[model].append((smape(y[there], forecast[there]), float(error.mean() / scale)))
    means = {model: np.array([_mean(column) for column in np.reshape(values, (-1, 2)).T]) for model, values in scores.items()}
    base = np.where(means["naive2"] > 0, means["naive2"], np.nan)
    rows = {model: zip(KEYS, (*mean, (mean / base).mean()), strict=True) for model, mean in means.items()}
    return {model: {key: None if np.isnan(value) else float(value) for key, value in row} for model, row in rows.items()}


def of_intervals(frame: pl.DataFrame, history: pl.DataFrame, model: str, season: int) -> dict[str, float | None]:
    """`OF_INTERVALS` of one model; None where the frame lacks the intervals, or nothing is left.

    msis: the mean over origins of the mean of (u - l) + 40 * what lies outside, at 95 %, over the scale of MASE.  acd: how far
    the share of actuals in it is from 0.95.  wql: (sum of 2 * pinball) / (sum of |y|), the mean over the nine deciles.  Fifths
    are of series, by the mean of |y| before the first cutoff, the smallest first.
    """
    past = {name: rows for (name,), rows in history.sort("ds").partition_by("unique_id", as_dict=True).items()}
    first = dict(frame.group_by("unique_id").agg(pl.col("cutoff").min()).iter_rows())
    size = {name: np.abs(_before(past[name], cutoff)).mean() for name, cutoff in first.items()}
    place = {
        name: number * 5 // len(size) for number, name in enumerate(sorted(size, key=lambda series: (size[series], series)))
    }
    scaled, losses, parts = [], [], []
    for (name, cutoff), rows in frame.partition_by("unique_id", "cutoff", as_dict=True, maintain_order=True).items():
        ends = {level: _ends(rows, model, level) for level in (*NESTED, 90, 95)}
        rows = rows.with_columns(pl.col("y", model).cast(pl.Float64).fill_null(np.nan))
        y, (low, high), before = rows["y"].to_numpy(), ends[95], _before(past[name], cutoff)
        there, steps = ~np.isnan(y + low + high), np.abs(before[season:] - before[:-season])
        if there.any():
            outside = np.maximum(low - y, 0) + np.maximum(y - high, 0)
            scaled.append((high - low + 40 * outside)[there].mean() / steps.mean() if steps.any() else np.nan)
            quantiles = [
                *(ends[level][0] for level in NESTED[::-1]),
                rows[model].to_numpy(),
                *(ends[level][1] for level in NESTED),
            ]
            levels, error = np.arange(1, 10)[:, None] / 10, (y - quantiles)[:, there]
            losses.append(2 * np.maximum(levels * error, (levels - 1) * error).sum(axis=1))
            hits = [np.where(np.isnan(low), np.nan, (low <= y) & (y <= high))[there] for low, high in (ends[95], ends[90])]
            parts.append(np.stack([np.abs(y[there]), *hits, np.full(there.sum(), place[name])]))
    if not parts:
        return dict.fromkeys(OF_INTERVALS)
    sizes, in_95, in_90, group = np.concatenate(parts, axis=1)
    by_fifth = [in_90[group == k].mean() if (group == k).any() else np.nan for k in range(5)]
    wql = (np.sum(losses, axis=0) / sizes.sum()).mean()
    values = (_mean(np.array(scaled)), abs(in_95.mean() - 0.95), wql, in_90.mean(), *by_fifth)
    return {key: None if np.isnan(value) else float(value) for key, value in zip(OF_INTERVALS, values, strict=True)}


def _before(past: pl.DataFrame, cutoff: object) -> np.ndarray:
    """The actuals of a series up to a cutoff."""
    return past.filter(pl.col("ds") <= cutoff)["y"].drop_nulls().to_numpy()


def _ends(rows: pl.DataFrame, model: str, level: int) -> np.ndarray:
    """[2, steps] where an interval begins and ends; NaN where it is not known."""
    names = [f"{model}-{side}-{level}" for side in ("lo", "hi")]
    if not {*names} <= {*rows.columns}:
        return np.full((2, rows.height), np.nan)
    return np.stack([rows[name].cast(pl.Float64).fill_null(np.nan).to_numpy() for name in names])


def _mean(values: np.ndarray) -> float:
    """Of what is known; NaN where nothing is."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else np.nan
