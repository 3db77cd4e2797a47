"""Forecasts and actuals in one picture."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from tasks.report.plots.style import ACTUAL, BAR, CHOSEN, QUIET, label, legend_above, new_figure, note, time_axis, times

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_SERIES = 20
STACKED = 4  # series in a variant's picture
SHOWN_ROWS = 120  # target rows shown in a forecast picture
SHORT = 4  # shorter horizons are drawn as one joined line, not origin by origin


def interval_columns(model: str, levels: Sequence[int]) -> list[str]:
    """The columns of a model's intervals in the forecast frame."""
    return [f"{model}-{end}-{level}" for level in levels for end in ("lo", "hi")]


def plotted(by_series: pl.DataFrame, model: str, most: int = MOST_SERIES) -> list[str]:
    """The series to draw, worst MAE first: all of them, or worst, best and evenly spread between."""
    ranked = by_series.drop_nulls(model).sort(model, "unique_id", descending=[True, False])["unique_id"].to_list()
    return [ranked[place] for place in evenly(len(ranked), most)]


def evenly(count: int, most: int) -> list[int]:
    """At most `most` of `count` places, evenly spread, the last among them."""
    if count <= most:
        return list(range(count))
    return [count - 1] if most == 1 else [round(place * (count - 1) / (most - 1)) for place in range(most)]


def forecast_plot(test: pl.DataFrame, series: str, model: str, other: str, unit: str, narrow: bool = False) -> "Figure":
    """One series' actuals over its last non-overlapping test origins, `model` with its band, `other` thin.

    `test`: wide forecast frame, with `model`'s interval columns if it has any.  `unit`: the name of y.
    """
    figure, ax = new_figure(*((4.2, 4.0) if narrow else (10, 4.2)))
    _draw(ax, test, series, model, other, 5 if narrow else 9)
    ax.set_ylabel(label(unit, 30 if narrow else 60))
    ax.set_title(f"{label(series, 20 if narrow else 60)}: forecasts and what came", loc="left", pad=6 if narrow else 28)
    if narrow:
        figure.legend(loc="outside lower left", ncols=2, frameon=False, fontsize=9)
    else:
        legend_above(ax)
    return figure


def variant_forecast_plot(test: pl.DataFrame, series_list: Sequence[str], model: str, other: str, unit: str) -> "Figure":
    """The same for the first STACKED series, one above another, each over its own time; with one legend."""
    shown = series_list[:STACKED]
    figure, _ = new_figure(10, 1.0 + 2.5 * max(len(shown), 1), rows=max(len(shown), 1))
    if not shown:
        note(figure.axes[0], "no forecasts")
    for place, (ax, series) in enumerate(zip(figure.axes, shown, strict=False)):
        _draw(ax, test, series, model, other)
        ax.set_title(label(series), loc="left", pad=6 if place else 28)
        if place < len(shown) - 1:
            ax.set_xlabel("")
    if shown:
        legend_above(figure.axes[0])
        figure.supylabel(label(unit), fontsize=10)
    return figure


def _draw(ax: "Axes", test: pl.DataFrame, series: str, model: str, other: str, ticks: int = 9) -> None:
    """One series: actuals, and a model's forecasts as one line with a gap before each origin."""
    series_rows = test.filter(pl.col("unique_id") == series)
    rows = series_rows.filter(pl.col(model).is_not_null()).sort("cutoff", "step")
    both = rows.filter(pl.col(other).is_not_null())  # theta and auto_ets forecast some origins only
    shown = rows.filter(pl.col("cutoff").is_in(newest_apart(both if both.height else rows).implode()))
    actual = series_rows.filter(pl.col("ds").is_between(shown["ds"].min(), shown["ds"].max())).unique("ds").sort("ds")
    ax.plot(times(actual), actual["y"].to_numpy(), color=ACTUAL, lw=1.4, label="actual", zorder=3)
    by_origin = shown.group_by("cutoff", maintain_order=True).agg(pl.col("ds").min(), pl.len())
    whole = shown.height > 0 and int(shown["step"].max()) < SHORT  # type: ignore[arg-type]
    drawn = shown if whole else with_gaps(shown)
    mark = "o" if shown.height == 1 or (not whole and (by_origin["len"] == 1).any()) else None
    x, levels = times(drawn), _levels_in(drawn, model)
    words = f"{', '.join(f'{level}' for level in levels)} % interval"
    for place, level in enumerate(reversed(levels)):
        low, high = (_numbers(drawn, f"{model}-{end}-{level}") for end in ("lo", "hi"))
        ax.fill_between(x, low, high, color=CHOSEN, alpha=0.12, lw=0, label=None if place else words)
    if other != model:
        ax.plot(x, _numbers(drawn, other), color=BAR, lw=0.9, ls="--", marker=mark, ms=3, label=label(other))
    ax.plot(x, _numbers(drawn, model), color=CHOSEN, lw=1.8, marker=mark, ms=3, label=label(model), zorder=4)
    if not whole and by_origin.height:
        begin = ax.vlines(times(by_origin), 0, 1, QUIET, ":", label="a new forecast begins", transform=ax.get_xaxis_transform())
        begin.set(linewidth=0.9, zorder=1)
    time_axis(ax, shown, ticks=ticks)


def _levels_in(rows: pl.DataFrame, model: str) -> list[int]:
    """The levels in percent of a model's intervals in a frame, ascending."""
    start = f"{model}-lo-"
    return sorted(int(name.removeprefix(start)) for name in rows.columns if name.startswith(start))


def with_gaps(shown: pl.DataFrame) -> pl.DataFrame:
    """Adds an empty row after each cutoff's last step to break the line: faster than a line per origin."""
    gap = shown.group_by("cutoff").agg(pl.col("ds").max(), (pl.col("step").max() + 1).cast(shown.schema["step"]))
    return pl.concat([shown, gap], how="diagonal").sort("cutoff", "step")


def _numbers(rows: pl.DataFrame, column: str) -> np.ndarray:
    return rows[column].cast(pl.Float64).to_numpy()


def newest_apart(rows: pl.DataFrame) -> pl.Series:
    """The newest cutoffs whose targets do not overlap, about SHOWN_ROWS target rows in total."""
    spans = rows.group_by("cutoff").agg(pl.col("ds").min().alias("first"), pl.col("ds").max().alias("last"), pl.len())
    cutoffs: list[object] = []
    taken, before = 0, None
    for cutoff, first, last, count in spans.sort("cutoff", descending=True).iter_rows():
        if before is None or last < before:
            cutoffs.append(cutoff)
            taken, before = taken + count, first
        if taken >= SHOWN_ROWS:
            break
    return pl.Series(cutoffs, dtype=rows.schema["cutoff"])
