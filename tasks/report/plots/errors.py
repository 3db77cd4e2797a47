"""Errors of all models in one picture: on the leaderboard, by horizon step, by calendar slice."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import polars as pl

from tasks.report.plots.names import looks_of, named_lines
from tasks.report.plots.style import (
    ACTUAL,
    BAR,
    CHOSEN,
    GRID,
    OTHERS,
    QUIET,
    UNIT,
    label,
    legend_above,
    new_figure,
    whole_ticks,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
SATURDAY = 6


def step_plot(by_step: pl.DataFrame, models: Sequence[str], chosen: str | None, bar: str, error: str, span: str) -> "Figure":
    """The error by horizon step, a line per model, named at its end.  `span`: a step's length, such as 1h."""
    figure, ax = new_figure(9, max(4.5, 0.26 * len(models) + 1.5))
    named_lines(ax, by_step, "step", models, looks_of(models, chosen, bar), mark=False)
    last = by_step.height
    ax.set_xlim(1 - max(0.02 * last, 0.2), last + max(0.02 * last, 0.2))
    whole_ticks(ax)
    ax.set_xlabel(f"horizon step (one step: {label(span)})")
    ax.set_ylabel(f"{label(error, UNIT)} on test")
    ax.set_title("Error by horizon step", loc="left")
    return figure


def slice_plot(table: pl.DataFrame, by: str, models: Sequence[str], chosen: str | None, bar: str, error: str) -> "Figure":
    """Test MAE by hour or weekday, corrected for the step, a line per model, named at its right end.

    `table`: _value (hour 0 .. 23, or ISO weekday 1 .. 7) and each model's `mae_corrected`, null if there is
    none.  `by`: hour or weekday.
    """
    figure, ax = new_figure(9, max(3.6, 0.26 * len(models) + 1.2))
    table = table.sort("_value")
    named_lines(ax, table, "_value", models, looks_of(models, chosen, bar), mark=by == "weekday" or table.height < 24)
    if by == "weekday":
        ax.axvspan(SATURDAY - 0.5, SATURDAY + 1.5, color=GRID, alpha=0.5, lw=0, zorder=0)
        ax.set_xticks(range(1, 8), DAYS)
        ax.set_xlim(0.5, 7.5)
    else:
        ax.set_xticks(range(0, 24, 3))
        ax.set_xlim(-0.5, 23.5)
    words = {"hour": "hour of the day", "weekday": "day of the week"}[by]
    ax.set_xlabel(f"{words} (UTC)")
    ax.set_ylabel(f"{label(error, UNIT)}, corrected")
    ax.set_title(f"Error by {words}, corrected for the step", loc="left")
    return figure


def accuracy_plot(board: pl.DataFrame, chosen: str | None, bar: str, error: str) -> "Figure":
    """Test errors as bars and validation errors as marks, in leaderboard order; rows without are left out."""
    rows = board.filter(pl.col("test_score").is_not_null())
    figure, ax = new_figure(9, 0.34 * rows.height + 1.9)
    ax.grid(axis="y", visible=False)
    places = range(rows.height)
    plain = {"variant": OTHERS[3], "ensemble": OTHERS[1], "baseline": QUIET}
    colors = [{bar: BAR, chosen: CHOSEN}.get(name, plain[kind]) for name, kind in rows.select("name", "kind").iter_rows()]
    ax.barh(places, rows["test_score"].to_numpy(), color=colors, height=0.66, zorder=2)
    largest = max([abs(value) for value in rows["test_score"]], default=0.0) or 1.0
    digits = min(max(3 - math.floor(math.log10(largest)), 0), 9)  # four significant digits of the largest, points aligned
    ax.plot(
        rows["val_score"].to_numpy(), places, ls="", marker="D", ms=5, mfc="white", mec=ACTUAL, label="validation", zorder=4
    )
    for place, value, color in zip(places, rows["test_score"], colors, strict=True):
        ax.text(0, place, f"  {value:.{digits}f}", va="center", fontsize=9, color="white" if color == CHOSEN else ACTUAL)
    ax.set_yticks(places, [label(name) for name in rows["name"]])
    ax.invert_yaxis()
    best = rows.filter(pl.col("name") == bar)["test_score"]
    if len(best):
        ax.axvline(best[0], color=BAR, lw=1, ls="--", zorder=3, label=f"best baseline: {label(bar)}")
    ax.set_xlabel(f"{label(error, UNIT)} on test")
    ax.set_title("Accuracy, best on validation first", loc="left", pad=24)
    legend_above(ax, columns=2)
    return figure
