"""The distance of each model to one of them, with intervals (a forest plot)."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

from tasks.report.plots.style import ACTUAL, CHOSEN, QUIET, ceiling, label, new_figure
from tasks.train.kind import Kind

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WORDS = {CHOSEN: "not told apart", ACTUAL: "variant", QUIET: "baseline"}


@dataclass(frozen=True)
class Distance:
    """The distance of a model to another, with `low` and `high` (None without an interval).

    `alike`: it may be as good.
    """

    name: str
    kind: Kind
    alike: bool
    mean: float
    low: float | None
    high: float | None


def difference_plot(rows: Sequence[Distance], other: str, title: str, axis: str) -> "Figure":
    """Each model's distance to `other` with its 90 % interval, in the given order, alike ones grouped."""
    figure, ax = new_figure(9, 0.32 * len(rows) + 2.1)
    ax.grid(axis="y", visible=False)
    edge = ceiling(abs(end) for row in rows for end in (row.mean, row.low, row.high) if end) or 1.0
    for place, row in enumerate(rows):
        _difference(ax, place, row, edge)
    _groups(ax, rows)
    ax.axvline(0, color=CHOSEN, lw=1.4, zorder=1)
    above = ax.get_xaxis_transform()
    ax.text(0, 1.01, label(other, 40), transform=above, ha="center", va="bottom", fontsize=9, color=CHOSEN, weight="bold")
    ax.set_yticks(range(len(rows)), [label(row.name, 40) for row in rows])
    ax.set_ylim(max(len(rows), 1) - 0.4, -0.6)
    ends = [end for row in rows for end in (row.mean, row.low, row.high) if end is not None]
    left, right = min(ends, default=0.0), max(ends, default=0.0)
    ax.set_xlim(1.08 * max(min(left, -0.12 * edge), -edge), 1.08 * min(max(right, 0.12 * edge), edge))
    ax.set_xlabel(label(axis, 110))
    ax.set_title(title, loc="left", pad=24)
    shown = [color for color in WORDS if color in {_color(row) for row in rows}]
    marks = [ax.plot([], [], color=color, marker="o", ms=6, lw=1.8)[0] for color in shown]
    if marks:
        figure.legend(marks, [WORDS[color] for color in shown], loc="outside lower left", ncols=3, frameon=False, fontsize=9)
    return figure


def _color(row: Distance) -> str:
    return CHOSEN if row.alike else QUIET if row.kind is Kind.BASELINE else ACTUAL


def _difference(ax: "Axes", place: int, row: Distance, edge: float) -> None:
    """A dot and its interval; beyond the edge an arrow with the number."""
    color, mean = _color(row), row.mean
    if row.low is not None and row.high is not None:
        ax.plot([row.low, row.high], [place, place], color=color, lw=1.8, solid_capstyle="butt", zorder=3)
    if abs(mean) <= edge:
        ax.plot([mean], [place], marker="o", ms=6.5, color=color, ls="", zorder=4)
        return
    side = 1 if mean > 0 else -1
    ax.plot([side * edge], [place], marker=">" if side > 0 else "<", ms=7, color=color, ls="", zorder=4)
    ha = "right" if side > 0 else "left"
    ax.annotate(
        f"{mean:+.3g}", (side * edge, place), (-8 * side, 0), textcoords="offset points", ha=ha, va="center", fontsize=9
    )


def _groups(ax: "Axes", rows: Sequence[Distance]) -> None:
    """A band and a bracket around each run of rows that may be as good as the other."""
    beside = ax.get_yaxis_transform()
    for alike, run in groupby(range(len(rows)), key=lambda place: bool(rows[place].alike)):
        places = list(run)
        if not alike:
            continue
        first, last = places[0] - 0.4, places[-1] + 0.4
        ax.axhspan(first, last, color=CHOSEN, alpha=0.08, lw=0, zorder=0)
        ax.plot([1.01, 1.02, 1.02, 1.01], [first, first, last, last], transform=beside, color=CHOSEN, lw=1.2, clip_on=False)
        ax.text(1.03, (first + last) / 2, WORDS[CHOSEN], transform=beside, va="center", fontsize=9, color=CHOSEN)
