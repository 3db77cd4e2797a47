"""Fan charts: the whole distribution of some forecasts of a series, the actuals, and the history."""

from collections.abc import Sequence
from dataclasses import dataclass
from textwrap import wrap
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from tasks.report.plots.forecasts import with_gaps
from tasks.report.plots.style import ACTUAL, BAR, CHOSEN, QUIET, label, new_figure, note, time_axis, times

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Color = tuple[float, float, float]
FEW = 40  # rows: with fewer, each is marked
SHORT = 3  # rows of a forecast, with the gap after it, too few for an area
SHADES = (0.14, 0.42)  # of the widest band, and how much darker all together become


@dataclass(frozen=True)
class Fan:
    """One series: its `actual` rows (ds, y), from some before the forecasts on, and separate `forecasts`.

    `forecasts`: ds, cutoff, step, y, point and the quantiles as q0, q1 ...; `words`: which series this is."""

    words: str
    actual: pl.DataFrame
    forecasts: pl.DataFrame


def fan_plot(fans: Sequence[Fan], levels: Sequence[float], unit: str, model: str, narrow: bool = False) -> "Figure":
    """One fan above another, each over its own time: bands between quantiles equally far from the middle."""
    height = 2.9 if narrow else 3.1
    figure, _ = new_figure(4.2 if narrow else 10, 0.9 + height * max(len(fans), 1), rows=max(len(fans), 1))
    for ax, fan in zip(figure.axes, fans, strict=False):
        _draw(ax, fan, levels, 5 if narrow else 9)
        title = "\n".join(label(line, 100) for line in wrap(fan.words, 46 if narrow else 110)[:3])
        ax.set_title(title, loc="left", fontsize=9 if narrow else 11)
    if not fans:
        note(figure.axes[0], "no forecasts with quantiles")
        return figure
    for ax in figure.axes[:-1]:
        ax.set_xlabel("")
    handles, words = figure.axes[0].get_legend_handles_labels()
    figure.supylabel(label(unit, 40), fontsize=10)
    figure.suptitle(f"{label(model, 24 if narrow else 60)}: forecast distributions", x=0.01, ha="left", fontsize=12)
    figure.legend(handles, words, loc="outside lower left", ncols=2 if narrow else 6, frameon=False, fontsize=9)
    return figure


def pairs_of(levels: Sequence[float]) -> list[tuple[int, int]]:
    """The pairs of quantiles around each band, widest first: those whose levels add up to one."""
    places = {round(level, 6): number for number, level in enumerate(levels)}
    pairs = [(number, places.get(round(1 - level, 6))) for level, number in sorted(places.items()) if level < 0.5]
    return [(low, high) for low, high in pairs if high is not None]


def _draw(ax: "Axes", fan: Fan, levels: Sequence[float], ticks: int) -> None:
    actual, drawn = fan.actual, with_gaps(fan.forecasts)
    x = times(drawn)
    ends = pairs_of(levels)
    for place, (low, high) in enumerate(ends):
        shade = SHADES[0] + SHADES[1] * place / max(len(ends), 1)
        words = "_" if place else f"{100 * (levels[high] - levels[low]):.3g} % and narrower"
        _band(ax, drawn, (f"q{low}", f"q{high}"), _lighter(CHOSEN, shade), 1 + 0.05 * place, words)
    mark = "o" if _short(drawn) else None
    ax.plot(x, _values(drawn, "point"), color=CHOSEN, lw=1.8, marker=mark, ms=4, label="forecast", zorder=4)
    mark = "o" if actual.height < FEW else None
    ax.plot(times(actual), _values(actual, "y"), color=ACTUAL, lw=1.2, marker=mark, ms=3, label="actual", zorder=5)
    if ends:
        least, most = (pl.col(f"q{end}") for end in ends[0])
        out = fan.forecasts.filter((pl.col("y") < least) | (pl.col("y") > most))
        ax.plot(times(out), _values(out, "y"), color=BAR, ls="", marker="o", ms=4, label="outside all", zorder=6)
    begins = fan.forecasts.select(ds="cutoff").unique().sort("ds")
    line = ax.vlines(times(begins), 0, 1, QUIET, ":", label="last row seen", transform=ax.get_xaxis_transform())
    line.set(linewidth=0.9, zorder=1)
    time_axis(ax, fan.forecasts, ticks=ticks)


def _band(ax: "Axes", drawn: pl.DataFrame, ends: tuple[str, str], color: Color, front: float, words: str) -> None:
    """One band; as a bar at each row if forecasts are too short for an area."""
    x, (low, high) = times(drawn), (_values(drawn, end) for end in ends)
    if _short(drawn):
        ax.vlines(x, low, high, colors=[color], lw=6, zorder=front, label=words)
    else:
        ax.fill_between(x, low, high, color=color, lw=0, zorder=front, label=words)


def _short(drawn: pl.DataFrame) -> bool:
    """Whether each forecast has few rows (`drawn`: including the row after each that breaks the line)."""
    return drawn.filter(pl.col("step") > SHORT).is_empty()


def _values(rows: pl.DataFrame, column: str) -> np.ndarray:
    return rows[column].cast(pl.Float64).to_numpy()


def _lighter(color: str, share: float) -> Color:
    """A colour lightened towards white, opaque: bands overlap."""
    red, green, blue = (1 - share * (1 - int(color[at : at + 2], 16) / 255) for at in (1, 3, 5))
    return red, green, blue
