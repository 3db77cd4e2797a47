"""Pictures of what drives a forecast: effects of covariates, of their lags, and integrated gradients."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tasks.evaluate.gradients import Gradients
from tasks.evaluate.importance import Driver
from tasks.report.plots.style import ACTUAL, CHOSEN, QUIET, label, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ROW = 0.32  # inches of a covariate
AXIS = "increase of the test error, in %"
LAGS, KNOWN = "rows before the first step forecast", "; below 1: known ahead"
FAINT = 0.1  # of the largest effect: lags whose effects are all smaller have no dark shade
SHADES = ["#eeeeee", CHOSEN, "#00263d"]


def effect_plot(drivers: Sequence[Driver], names: Mapping[str, str], model: str, narrow: bool = False) -> "Figure":
    """A bar per covariate with its spread, names before bars; at a desk also its effect by step of the horizon."""
    height, steps = ROW * len(drivers) + 1.6, len(drivers[0].effect.by_step)
    both = not narrow and steps > 1
    figure, axes = new_figure(4.2 if narrow else 10, height, columns=2 if both else 1, width_ratios=[3, 2] if both else None)
    bars, *heat = list(axes) if both else [axes]
    _bars(bars, drivers, names)
    if heat:
        _steps(figure, heat[0], drivers)
    figure.suptitle(_title(f"What drives {label(model, 24)}", narrow), x=0.01, ha="left", fontsize=11)
    return figure


def _title(words: str, narrow: bool) -> str:
    return words if narrow else f"{words}: how much its error grows without the information"


def _bars(ax: "Axes", drivers: Sequence[Driver], names: Mapping[str, str]) -> None:
    ax.grid(axis="y", visible=False)
    for place, driver in enumerate(drivers):
        share, spread = 100 * driver.effect.share, 100 * (driver.effect.spread or 0.0)
        color = CHOSEN if driver.effect.clear else QUIET
        ax.barh(place, share, height=0.62, color=color, zorder=2)
        ax.plot([share - spread, share + spread], [place, place], color=ACTUAL, lw=1.4, zorder=3)
    ax.axvline(0, color=ACTUAL, lw=0.8, zorder=1)
    ax.set_yticks(range(len(drivers)), [label(names[driver.name], 24) for driver in drivers])
    ax.tick_params(axis="y", length=0)
    ax.set_ylim(len(drivers) - 0.4, -0.6)
    ax.set_xlabel(AXIS, fontsize=9)


def _steps(figure: "Figure", ax: "Axes", drivers: Sequence[Driver]) -> None:
    values = 100 * np.array([driver.effect.by_step for driver in drivers])
    steps = values.shape[1]
    _heat(figure, ax, values, (0.5, steps + 0.5), "in %")
    ax.set_yticks([])
    ax.set_ylim(len(drivers) - 0.4, -0.6)
    ax.set_xlabel("step of the horizon", fontsize=9)
    _whole(ax, steps)


def _whole(ax: "Axes", count: int) -> None:
    from matplotlib.ticker import MaxNLocator

    ax.xaxis.set_major_locator(MaxNLocator(min(count, 8), integer=True, min_n_ticks=1))


def _heat(figure: "Figure", ax: "Axes", values: np.ndarray, across: tuple[float, float], words: str) -> None:
    """A heat map of rows and columns; cells without a value are white."""
    from matplotlib.colors import LinearSegmentedColormap

    ax.grid(visible=False)
    ax.spines[["left", "bottom"]].set_visible(False)
    shades = LinearSegmentedColormap.from_list("effects", SHADES)
    top = max(float(np.nanmax(values, initial=0.0)), 1e-9)
    extent = (*across, len(values) - 0.5, -0.5)
    drawn = ax.imshow(
        np.clip(values, 0, None), aspect="auto", cmap=shades, vmin=0, vmax=top, extent=extent, interpolation="nearest"
    )
    bar = figure.colorbar(drawn, ax=ax, pad=0.02)
    bar.ax.set_title(words, fontsize=8)
    bar.ax.tick_params(labelsize=8)


def lag_plot(drivers: Sequence[Driver], names: Mapping[str, str], narrow: bool = False) -> "Figure":
    """The effect of each block of lags by itself: a row per feature, narrow blocks near the first step."""
    from matplotlib.colors import LinearSegmentedColormap

    some = [driver for driver in drivers if driver.lags]
    figure, ax = new_figure(4.2 if narrow else 10, ROW * len(some) + 1.6)
    shades = LinearSegmentedColormap.from_list("effects", SHADES)
    most = max(driver.effect.share for driver in drivers)
    top = max(FAINT * most, max(lag.effect.share for driver in some for lag in driver.lags))
    for place, driver in enumerate(some):
        for lag in driver.lags:
            share = max(lag.effect.share, 0.0) / top if top > 0 and lag.effect.clear else 0.0
            ax.barh(place, lag.last + 1 - lag.first, left=lag.first, height=0.7, color=shades(share), ec="white", lw=0.8)
            if share > 0.2:
                _number(ax, lag.first, lag.last, place, lag.effect.share, share)
    _lag_axis(ax, [lag.last for driver in some for lag in driver.lags], [lag.first for driver in some for lag in driver.lags])
    ax.grid(visible=False)
    ax.set_yticks(range(len(some)), [label(names[driver.name], 24) for driver in some])
    ax.tick_params(axis="y", length=0)
    ax.set_ylim(len(some) - 0.4, -0.6)
    ax.set_title(
        "Which lags hold it" + ("" if narrow else f": each block exchanged by itself; {AXIS}"), loc="left", fontsize=11
    )
    return figure


def _number(ax: "Axes", first: int, last: int, place: int, value: float, share: float) -> None:
    middle = math.sqrt(first * (last + 1))
    color = "white" if share > 0.35 else ACTUAL
    ax.text(middle, place, f"{100 * value:.{0 if value >= 0.1 else 1}f}", ha="center", va="center", fontsize=8, color=color)


def _lag_axis(ax: "Axes", lasts: Sequence[int], firsts: Sequence[int]) -> None:
    from matplotlib.ticker import NullFormatter, NullLocator

    low, high = min(firsts), max(lasts) + 1
    ax.set_xscale("log")
    ax.set_xlim(high, low)  # time runs to the right
    ticks = [one for one in (1, 2, 3, 4, 5, 6, 8, 12, 24, 48, 96, 168, 336, 672, 1344) if low <= one < high]
    ticks = ticks if len(ticks) <= 9 else ticks[:4:2] + ticks[4:]
    ax.set_xticks([tick * math.sqrt((tick + 1) / tick) for tick in ticks], [str(tick) for tick in ticks])
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.set_xlabel(LAGS, fontsize=9)


def gradient_plot(gradients: Gradients, names: Mapping[str, str], model: str, narrow: bool = False) -> "Figure":
    """The integrated gradients of the features that move the forecast most, over their lags."""
    values = 100 * np.array(gradients.shares, float)  # None becomes NaN
    figure, ax = new_figure(4.2 if narrow else 10, ROW * len(values) + 1.7)
    lags = values.shape[1]
    _heat(figure, ax, values[:, ::-1], (gradients.first + lags - 0.5, gradients.first - 0.5), "in %")
    ax.set_yticks(range(len(values)), [label(names[name], 24) for name in gradients.names])
    ax.tick_params(axis="y", length=0)
    ax.set_xlabel(LAGS + (KNOWN if gradients.first < 1 else ""), fontsize=8 if narrow else 9)
    _whole(ax, lags)
    words = f"Integrated gradients of {label(model, 24)}"
    ax.set_title(words + ("" if narrow else ": the share of each feature and lag in its forecasts"), loc="left", fontsize=11)
    return figure


def strongest_first(gradients: Gradients, most: int) -> Gradients:
    """At most so many of the features, the one with the largest share first."""
    sums: list[Any] = [sum(share or 0.0 for share in row) for row in gradients.shares]
    order = sorted(range(len(sums)), key=lambda place: -sums[place])[:most]
    return Gradients(tuple(gradients.names[at] for at in order), gradients.first, tuple(gradients.shares[at] for at in order))
