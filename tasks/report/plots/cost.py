"""Accuracy against cost, and the Pareto front."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import polars as pl

from tasks.report.plots.points import Point, Spot, name_points
from tasks.report.plots.style import ACTUAL, BAR, CHOSEN, OTHERS, QUIET, UNIT, ceiling, label, new_figure, note

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Segment = tuple[Spot, Spot]
COSTS = {"train_seconds": "training (seconds)", "forecast_ms_per_series": "forecasting (milliseconds a series)"}
PLAIN = {"variant": OTHERS[3], "ensemble": OTHERS[1], "baseline": QUIET}
LONGEST = 28  # letters of a dot's name


def pareto_front(cost: Sequence[float | None], error: Sequence[float | None]) -> list[int]:
    """Indices of points that no other beats in one value and equals in the other, cheapest first.

    Of equal points the first.  A point without cost or error (None, NaN) is on no front.
    """
    known = [(c, e, i) for i, (c, e) in enumerate(zip(cost, error, strict=True)) if c is not None and e is not None]
    front: list[int] = []
    least = math.inf
    for price, missed, i in sorted(point for point in known if not math.isnan(point[0] + point[1])):
        if price < math.inf and missed < least:
            front.append(i)
            least = missed
    return front


def pareto_plot(board: pl.DataFrame, chosen: str | None, bar: str, error: str) -> "Figure":
    """The test error against training seconds and against forecast milliseconds, each with its Pareto front.

    `error`: its name, with the unit.  `board`: name, kind (variant or baseline), test_score, train_seconds,
    forecast_ms_per_series, num_parameters, with nulls; a row without a cost above 0 is not in that panel.
    """
    rows = board.filter(pl.col("test_score").is_finite())
    figure, axes = new_figure(12, max(5.0, 0.12 * rows.height + 4.2), columns=2, sharey=True)
    rows = rows.filter(pl.any_horizontal(pl.col(column).is_finite() & (pl.col(column) > 0) for column in COSTS))
    errors = rows["test_score"].to_list()
    low, high = min(errors, default=0.0), ceiling(errors)
    room = 0.12 * (high - low) or 0.1 * high or 1.0
    axes[0].set_ylim(max(low - room, 0), high + room)
    drawn = [_panel(ax, rows, column, chosen, bar) for ax, column in zip(axes, COSTS, strict=True)]
    axes[0].set_ylabel(f"{label(error, UNIT)} on test")
    axes[0].set_title("Accuracy against cost (a larger dot has more weights)", loc="left")
    best = board.filter((pl.col("name") == bar) & pl.col("test_score").is_finite())["test_score"].to_list()
    _legend(figure, axes, chosen, bar, best[0] if best else None, rows["kind"].unique().to_list())
    figure.draw_without_rendering()  # only now are the points' positions final
    figure.set_layout_engine("none")
    for ax, (points, lines) in zip(axes, drawn, strict=True):
        name_points(ax, points, lines + [((ax.get_xlim()[0], y), (ax.get_xlim()[1], y)) for y in best])
    return figure


def _panel(ax: "Axes", rows: pl.DataFrame, column: str, chosen: str | None, bar: str) -> tuple[list[Point], list[Segment]]:
    """Dots and front for one cost; returns the points to name, and the lines that names avoid."""
    ax.set_xlabel(COSTS[column])
    shown = rows.filter(pl.col(column).is_finite() & (pl.col(column) > 0))
    if shown.is_empty():
        ax.set_xticks([])
        note(ax, "not measured")
        return [], []
    cost, error = shown[column].to_list(), shown["test_score"].to_list()
    _cost_axis(ax, min(cost), max(cost))
    front = pareto_front(cost, error)
    steps = [(cost[front[0]], error[front[0]])]
    for i in front[1:]:
        steps += [(cost[i], steps[-1][1]), (cost[i], error[i])]
    steps.append((ax.get_xlim()[1], steps[-1][1]))
    ax.plot(*zip(*steps, strict=True), color=ACTUAL, lw=1.1, zorder=2)
    looks = {bar: BAR, chosen: CHOSEN}
    dots = []
    for place, (name, kind, weights) in enumerate(shown.select("name", "kind", "num_parameters").iter_rows()):
        size = 5 + 1.4 * math.log10(1 + (weights or 0))
        spot = cost[place], error[place]
        dots.append(_dot(ax, name, spot, looks.get(name, PLAIN[kind]), size, place in front))
    return dots, list(pairwise(steps))


def _dot(ax: "Axes", name: str, spot: Spot, color: str, size: float, front: bool) -> Point:
    """One dot, or an arrow at the top if it lies above the picture."""
    (x, error), top, edge = spot, ax.get_ylim()[1], 1.2 if front else 0.4
    mark = "^" if error > top else "o"
    ax.plot([x], [min(error, top)], marker=mark, ms=size, mfc=color, mec=ACTUAL, mew=edge, zorder=3, clip_on=False)
    text = label(name, LONGEST) + (f" ({error:.3g})" if error > top else "")
    return Point(x, min(error, top), text, front, size / 2)


def _cost_axis(ax: "Axes", least: float, most: float) -> None:
    """Decades with plain numbers, and 2 and 5 between them if there is room."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    ax.set_xscale("log")
    ax.set_xlim(least / 2, most * 4)
    few = math.log10(most / least) < 2.5
    ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if few else (1,), numticks=12))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def _legend(
    figure: "Figure", axes: Sequence["Axes"], chosen: str | None, bar: str, best: float | None, kinds: Sequence[str]
) -> None:
    """The legend below both panels; also draws the best baseline's line."""
    ax = axes[0]
    lines, words_of = ax.plot([], [], color=ACTUAL, lw=1.1), ["Pareto front (names in bold)"]
    dots = {f"chosen: {label(chosen, 40)}": CHOSEN} if chosen is not None else {}
    for words, color in (dots | {kind: PLAIN[kind] for kind in PLAIN if kind in kinds}).items():
        lines += ax.plot([], [], ls="", marker="o", mfc=color, mec=ACTUAL, mew=0.4)
        words_of.append(words)
    if best is not None:
        lines += [panel.axhline(best, color=BAR, lw=1.2, ls="--", zorder=1) for panel in axes][:1]
        above = f" ({best:.3g}, above the picture)" if best > ax.get_ylim()[1] else ""
        words_of.append(f"best baseline: {label(bar, 40)}{above}")
    figure.legend(lines, words_of, loc="outside lower left", ncols=5, frameon=False, fontsize=9)
