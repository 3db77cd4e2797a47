"""A model's residuals: over time, their spread and their autocorrelation."""

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from tasks.report.plots.style import (
    ACTUAL,
    CHOSEN,
    GRID,
    OTHERS,
    UNIT,
    dress,
    label,
    legend_above,
    new_figure,
    note,
    time_axis,
    times,
    whole_ticks,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_POINTS = 1500  # more than a picture has pixels
MOST_LAGS = 40
TAIL = 0.005  # this share on each side is left out of the histogram


def autocorrelation(values: np.ndarray, lags: int) -> np.ndarray:
    """[..., lags] the autocorrelation of values [..., time] at lags 1 .. `lags`; NaN values are missing.

    Missing pairs are left out and the rest scaled up; without any missing this is the usual estimate, with
    one variance for all lags.  NaN if no pair is known or nothing varies.
    """
    known = np.isfinite(values)
    count = known.sum(-1, keepdims=True)
    mean = np.where(known, values, 0).sum(-1, keepdims=True) / np.maximum(count, 1)
    apart, weight = np.where(known, values - mean, 0), known.astype(float)
    length = values.shape[-1]
    correlations = np.full((*values.shape[:-1], lags), np.nan)
    variance = (apart**2).sum(-1) / np.maximum(count[..., 0], 1)
    floor = (1e-12 * np.abs(mean[..., 0])) ** 2  # the rounding error of a constant
    for lag in range(1, min(lags, length - 1) + 1):
        pairs = np.einsum("...t,...t->...", weight[..., lag:], weight[..., :-lag])
        product = np.einsum("...t,...t->...", apart[..., lag:], apart[..., :-lag])
        with np.errstate(divide="ignore", invalid="ignore"):
            share = product / pairs * (length - lag) / length / variance
        correlations[..., lag - 1] = np.where((pairs > 0) & (variance > floor), share, np.nan)
    return correlations


def residual_plot(rows: pl.DataFrame, name: str, unit: str, of: str = "") -> "Figure":
    """One model's residuals over time, as a histogram, and their autocorrelation one step ahead.

    `rows`: unique_id, ds, cutoff, step, residual (actual minus forecast, in `unit`; null if there is none).
    `of`: which series, for the title.
    """
    rows = rows.with_columns(pl.col("residual").cast(pl.Float64).fill_nan(None))
    figure, _ = new_figure(10, 6.4, rows=0)
    grid = figure.add_gridspec(2, 2, height_ratios=(1.15, 1))
    over_time, spread, memory = figure.add_subplot(grid[0, :]), figure.add_subplot(grid[1, 0]), figure.add_subplot(grid[1, 1])
    for ax in figure.axes:
        dress(ax)
    known = rows.drop_nulls("residual")
    _over_time(over_time, known)
    over_time.set_ylabel(f"residual ({label(unit, UNIT)})")
    over_time.set_title(f"{label(name)}: residuals (actual minus forecast){of}", loc="left", pad=24)
    _histogram(spread, known["residual"].to_numpy())
    _memory(memory, rows)
    return figure


def thinned(rows: pl.DataFrame, most: int = MOST_POINTS) -> pl.DataFrame:
    """ds, mean, low and high (5 and 95 %) of all series' residuals, averaged to at most `most` rows."""
    residual = pl.col("residual")
    spread = {"mean": residual.mean(), "low": residual.quantile(0.05, "linear"), "high": residual.quantile(0.95, "linear")}
    by_ds = rows.group_by("ds").agg(**spread).sort("ds")
    if by_ds.height <= most:
        return by_ds
    bucket = (pl.int_range(pl.len()) * most // pl.len()).alias("bucket")
    averaged = by_ds.group_by(bucket, maintain_order=True).agg(pl.col("ds").first(), pl.exclude("ds").mean())
    return averaged.drop("bucket")


def _over_time(ax: "Axes", known: pl.DataFrame) -> None:
    if known.is_empty():
        note(ax, "no residuals")
        return
    drawn = thinned(known)
    mark = "o" if drawn.height < 40 else None
    x = times(drawn)
    ax.axhline(0, color=ACTUAL, lw=0.9, zorder=1)
    ax.fill_between(x, drawn["low"].to_numpy(), drawn["high"].to_numpy(), color=CHOSEN, alpha=0.2, lw=0, label="5 to 95 %")
    ax.plot(x, drawn["mean"].to_numpy(), color=CHOSEN, lw=1, marker=mark, ms=3, label="mean of all series")
    time_axis(ax, drawn)
    legend_above(ax)


def _histogram(ax: "Axes", values: np.ndarray) -> None:
    ax.set_title("Spread", loc="left", pad=24)
    ax.set_ylabel("forecasts")
    if not len(values):
        note(ax, "no residuals")
        return
    low, high = np.quantile(values, TAIL, method="lower"), np.quantile(values, 1 - TAIL, method="higher")
    counts, edges = np.histogram(values, bins=int(np.clip(len(values) ** 0.5, 8, 60)), range=(low, high))
    ax.stairs(counts, edges, fill=True, color=OTHERS[3])
    ax.axvline(0, color=ACTUAL, lw=0.9, label="0")
    mean = values.mean()
    if edges[0] <= mean <= edges[-1]:
        ax.axvline(mean, color=CHOSEN, lw=1.8, label=f"mean {mean:.3g}")
    outside = np.mean((values < low) | (values > high))
    rest = f"{100 * outside:.2g} % lie outside, within {values.min():.3g} to {values.max():.3g}" if outside else "all of them"
    ax.set_xlabel(f"residual ({rest})")
    legend_above(ax)


def _by_origin(rows: pl.DataFrame) -> np.ndarray:
    """[series, origins] the residuals, oldest origin first, NaN if a series has none."""
    place = rows.select(pl.col("unique_id", "cutoff").rank("dense").cast(pl.Int64) - 1, "residual")
    series, origins = place["unique_id"].to_numpy(), place["cutoff"].to_numpy()
    values_SO = np.full((series.max(initial=-1) + 1, origins.max(initial=-1) + 1), np.nan)
    values_SO[series, origins] = place["residual"].to_numpy()
    return values_SO


def _memory(ax: "Axes", rows: pl.DataFrame) -> None:
    """Each series on the grid of all origins; the band is for one series: they are seldom independent."""
    ax.set_title("Memory, one step ahead", loc="left", pad=24)
    ax.set_xlabel("lag (origins)")
    ax.set_ylabel("autocorrelation")
    values_SO = _by_origin(rows.filter(pl.col("step") == 1))
    correlations_SL = autocorrelation(values_SO, min(MOST_LAGS, max(values_SO.shape[1] - 1, 0)))
    known = np.isfinite(correlations_SL).any(0)
    if not known.any():
        note(ax, "nothing to correlate")
        return
    lags = 1 + np.flatnonzero(known)
    mean = np.nanmean(correlations_SL[:, known], 0)
    counts = np.isfinite(values_SO).sum(1)
    band = 1.96 / np.sqrt(counts[counts > 0].mean())
    ax.axhspan(-band, band, color=GRID, lw=0, zorder=0, label="95 % of white noise")
    ax.axhline(0, color=ACTUAL, lw=0.9)
    ax.vlines(lags, 0, mean, color=CHOSEN, lw=2)
    ax.plot(lags, mean, ls="", marker="o", ms=3, color=CHOSEN)
    reach = 1.15 * max(band, np.abs(mean).max())
    ax.set_ylim(-reach if mean.min() < -band else -1.3 * band, reach)
    ax.set_xlim(0, lags[-1] + 1)
    whole_ticks(ax)
    legend_above(ax)
