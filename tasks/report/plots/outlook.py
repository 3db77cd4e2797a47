"""Forecasts in one picture per series: the newest known rows, and the forecasts with their intervals."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from tasks.report.plots.forecasts import newest_apart, with_gaps
from tasks.report.plots.style import ACTUAL, CHOSEN, QUIET, label, legend_above, new_figure, png, time_axis, times

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDE, NARROW = (10.0, 3.4, 120), (4.2, 3.4, 180)  # inches, dots per inch: for a desktop, and 390 CSS pixels wide for a phone
FEW = 2  # rows too few for a line
LOW, HIGH = "yhat-lo-", "yhat-hi-"


@dataclass(frozen=True)
class Outlook:
    """One series on its own clock: `known` (ds, y), `forecasts` (ds, cutoff, step, yhat, yhat-lo-90 ...)."""

    series: str
    known: pl.DataFrame
    forecasts: pl.DataFrame

    @property
    def levels(self) -> list[str]:
        """The forecasts' intervals in percent, as their columns write it, widest first."""
        levels = [name.removeprefix(LOW) for name in self.forecasts.columns if name.startswith(LOW)]
        return sorted(levels, key=float, reverse=True)


def outlook_of(series: str, known: pl.DataFrame, forecasts: pl.DataFrame, rows: int) -> Outlook:
    """The newest non-overlapping forecasts, and what is known over them and for `rows` rows before."""
    steps = pl.int_range(1, pl.len() + 1).over("cutoff").alias("step")
    forecasts = forecasts.sort("cutoff", "ds").with_columns(steps)
    forecasts = forecasts.filter(pl.col("cutoff").is_in(newest_apart(forecasts).implode()))
    known = known.filter(pl.col("y").is_not_null() & pl.col("y").is_not_nan()).sort("ds")
    before = known.filter(pl.col("ds") <= forecasts["cutoff"].min()).tail(rows)
    after = known.filter(pl.col("ds").is_between(forecasts["cutoff"].min(), forecasts["ds"].max(), closed="right"))
    return Outlook(series, pl.concat([before, after]), forecasts)


def outlook_picture(outlook: Outlook, unit: str, clock: str, narrow: bool = False) -> bytes:
    """A PNG of one series, titled by its page; `clock`: the times' zone, in words."""
    width, height, dots = NARROW if narrow else WIDE
    figure, ax = new_figure(width, height)
    _draw(ax, outlook, clock, 5 if narrow else 9)
    ax.set_ylabel(label(unit, 30))
    legend_above(ax, 2 if narrow else 5)
    return png(figure, dots)


def outlook_pictures(some: Sequence[Outlook], unit: str, clock: str) -> bytes:
    """A PNG of several series, one above another, each over its own time."""
    figure, _ = new_figure(WIDE[0], 0.8 + 2.6 * len(some), rows=len(some))
    for place, (ax, outlook) in enumerate(zip(figure.axes, some, strict=True)):
        _draw(ax, outlook, clock, 9)
        ax.set_title(label(outlook.series, 90), loc="left", pad=6 if place else 26)
        if place < len(some) - 1:
            ax.set_xlabel("")
    legend_above(figure.axes[0])
    figure.supylabel(label(unit), fontsize=10)
    return png(figure, WIDE[2])


def _draw(ax: "Axes", outlook: Outlook, clock: str, ticks: int) -> None:
    """Known rows in black, each forecast in blue with bands (narrower is darker), and where it begins."""
    known, drawn = outlook.known, with_gaps(outlook.forecasts)
    mark = "o" if known.height <= FEW else None
    ax.plot(times(known), known["y"].to_numpy(), color=ACTUAL, lw=1.3, marker=mark, ms=3, label="actual", zorder=3)
    x, short = times(drawn), bool((outlook.forecasts.group_by("cutoff").len()["len"] <= FEW).any())
    centre = drawn["yhat"].cast(pl.Float64).to_numpy()
    named = f"{', '.join(outlook.levels)} % interval{'s' if outlook.levels[1:] else ''}"  # one legend entry for all levels
    for at, level in enumerate(outlook.levels):
        low, high = (drawn[f"{end}{level}"].cast(pl.Float64).to_numpy() for end in (LOW, HIGH))
        ax.fill_between(x, low, high, color=CHOSEN, alpha=0.16, lw=0, label=f"_{level}" if at else named)
        if short:
            ends = [
                np.maximum(centre - low, 0),
                np.maximum(high - centre, 0),
            ]  # both ends of a narrow interval may lie on one side
            ax.errorbar(x, centre, ends, color=CHOSEN, alpha=0.4, lw=0, elinewidth=5 + 3 * at, zorder=2)
    mark = "o" if short else None
    ax.plot(x, centre, color=CHOSEN, lw=1.8, marker=mark, ms=4, label="forecast", zorder=4)
    begins = outlook.forecasts.select(ds="cutoff").unique().sort("ds")
    line = ax.vlines(times(begins), 0, 1, QUIET, ":", label="last row seen", transform=ax.get_xaxis_transform())
    line.set(linewidth=1.0, zorder=1)
    time_axis(ax, outlook.forecasts, clock, ticks)
