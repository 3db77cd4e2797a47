"""Interval coverage: each series as a dot, the worst named; and per horizon step, with the width."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tasks.report.plots.style import (
    ACTUAL,
    BAR,
    CHOSEN,
    GRID,
    UNIT,
    label,
    legend_above,
    new_figure,
    note,
    ramp,
    whole_ticks,
)

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WORST = 10  # series to name
BINS = 100  # positions along a strip


@dataclass(frozen=True)
class Strip:
    """The coverage of the `level` (percent) interval per series, with its `rows` [S] and `group` number [S].

    `groups`: names, from the smallest series to the largest, with each one's coverage; `wanted`: the limits,
    if given.
    """

    level: float
    ids: Sequence[str]
    coverage: np.ndarray
    rows: np.ndarray
    group: np.ndarray
    groups: Mapping[str, float]
    wanted: tuple[float, float] | None

    def worst(self, most: int = WORST) -> list[int]:
        """The least covered series, ties by more rows first; only those below the level."""
        below = np.flatnonzero(self.coverage < self.level / 100).tolist()
        return sorted(below, key=lambda series: (self.coverage[series], -int(self.rows[series]), self.ids[series]))[:most]


def coverage_strip(strip: Strip, model: str, narrow: bool = False) -> "Figure":
    """A row per group with a dot per series and a bar at its coverage; below, the least covered series.

    If each group is one series, only the latter are drawn.
    """
    alone = len(strip.groups) == len(strip.ids)
    named = list(range(len(strip.ids))) if alone else strip.worst()
    heights = [] if alone else [0.42 * max(len(strip.groups), 1) + 0.5]
    heights.append(0.25 * max(len(named), 1) + 0.4)
    figure, axes = new_figure(
        4.2 if narrow else 9, sum(heights) + 1.6, rows=len(heights), sharex=True, squeeze=False,
        gridspec_kw={"height_ratios": heights},
    )  # fmt: skip
    for ax in axes[:, 0]:
        ax.grid(axis="y", visible=False)
        if strip.wanted is not None:
            ax.axvspan(100 * strip.wanted[0], 100 * strip.wanted[1], color=GRID, alpha=0.6, lw=0, zorder=0)
        ax.axvline(strip.level, color=ACTUAL, lw=1, ls="--", zorder=1)
    first, last = axes[0, 0], axes[-1, 0]
    if not alone:
        _dots(first, strip)
        last.set_title("Covered least" if named else "", loc="left", fontsize=10)
    _named(last, strip, named, 18 if narrow else 40)
    first.set_title(f"{label(model, 16 if narrow else 40)}: coverage by series", loc="left")
    figure.legend(*_legend(first, strip, alone), loc="outside lower left", ncols=2 if narrow else 4, frameon=False, fontsize=9)
    left = 100 * min(float(np.nanmin(strip.coverage, initial=1.0)), strip.wanted[0] if strip.wanted else strip.level / 100)
    last.set_xlim(max(left - 4, -1), 101)
    last.set_xlabel(f"actuals inside the {strip.level:g} % interval on test (%)")
    return figure


def _dots(ax: "Axes", strip: Strip) -> None:
    """A group's dots, stacked around its middle where several series have the same coverage."""
    for place, (whole, color) in enumerate(zip(strip.groups.values(), ramp(len(strip.groups)), strict=True)):
        shares = 100 * strip.coverage[(strip.group == place) & np.isfinite(strip.coverage)]
        x, up = stacked(shares)
        step = min(0.8 / max(float(np.ptp(up)), 1.0) if len(up) else 0.1, 0.12)
        rim = 0.4 if step > 0.05 else 0.0  # overlapping dots would be nothing but rims
        ax.plot(x, place - step * up, ls="", marker="o", ms=4.5, color=color, mec="white", mew=rim, zorder=2)
        if np.isfinite(whole):
            ax.plot([100 * whole] * 2, [place - 0.42, place + 0.42], color=BAR, lw=2.4, solid_capstyle="butt", zorder=3)
    ax.set_yticks(range(len(strip.groups)), [label(name, 18) for name in strip.groups])
    ax.set_ylim(max(len(strip.groups), 1) - 0.45, -0.55)
    if not strip.groups:
        note(ax, "no intervals to judge")


def stacked(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ascending `values` in percent, each with its offset from the middle: equal positions are stacked."""
    ordered = np.sort(values)
    places, first, counts = np.unique(np.floor(ordered * BINS / 100), return_index=True, return_counts=True)
    within = np.arange(len(ordered)) - np.repeat(first, counts)
    return ordered, within - (np.repeat(counts, counts) - 1) / 2 if len(places) else within.astype(np.float64)


def _named(ax: "Axes", strip: Strip, worst: Sequence[int], most: int) -> None:
    for place, series in enumerate(worst):
        share = 100 * strip.coverage[series]
        ax.plot([share, strip.level], [place, place], color=GRID, lw=1.6, zorder=1)
        ax.plot([share], [place], ls="", marker="o", ms=6, color=CHOSEN, zorder=3)
        words, box = f"{share:.0f} %, {strip.rows[series]:,} rows", {"fc": "white", "ec": "none", "pad": 0.8, "alpha": 0.8}
        at = {"textcoords": "offset points", "va": "center", "fontsize": 8, "zorder": 4}
        ax.annotate(words, (share, place), (7, 0), bbox=box, **at)  # type: ignore[arg-type]
    ax.set_yticks(range(len(worst)), [label(strip.ids[series], most) for series in worst])
    ax.set_ylim(max(len(worst), 1) - 0.4, -0.6)
    if not worst:
        note(ax, f"no series is covered less than {strip.level:g} %")


def _legend(ax: "Axes", strip: Strip, alone: bool) -> tuple[list["Artist"], list[str]]:
    from matplotlib.patches import Patch

    color = CHOSEN if alone else ramp(3)[1]
    marks: list[Artist] = [
        *ax.plot([], [], ls="", marker="o", ms=5, color=color),
        *ax.plot([], [], color=ACTUAL, lw=1, ls="--"),
    ]
    words = ["a series", f"{strip.level:g} %"]
    if strip.wanted is not None:
        marks.append(Patch(color=GRID, alpha=0.6, lw=0))
        words.append("promotion.coverage: {:.0f} to {:.0f} %".format(*(100 * end for end in strip.wanted)))
    return (marks, words) if alone else ([*marks, *ax.plot([], [], color=BAR, lw=2.4)], [*words, "its fifth"])


def step_intervals_plot(
    coverage: Mapping[float, np.ndarray],
    width: Mapping[float, np.ndarray],
    unit: str,
    model: str,
    span: str,
    narrow: bool = False,
) -> "Figure":
    """Coverage and mean width of each level's interval (percent) by step [H]; `span`: of a step."""
    figure, (upper, lower) = new_figure(4.2 if narrow else 9, 5.2, rows=2, sharex=True)
    colors = dict(zip(sorted(coverage), ramp(len(coverage)), strict=True))
    for level, color in colors.items():
        steps, alone = np.arange(1, len(coverage[level]) + 1), len(coverage[level]) < 25
        looks = {"color": color, "lw": 1.8, "marker": "o" if alone else None, "ms": 3.5}
        upper.plot(steps, 100 * coverage[level], label=f"{level:g} %", zorder=3, **looks)
        upper.axhline(level, color=color, lw=1, ls="--", zorder=1)
        lower.plot(steps, width[level], zorder=3, **looks)
    if not coverage:
        note(upper, "no intervals to judge")
    low = min([*coverage, *(100 * float(np.nanmin(shares, initial=1.0)) for shares in coverage.values())], default=0.0)
    upper.set_ylim(max(low - 5, 0), 101)
    lower.set_ylim(bottom=0)
    whole_ticks(lower)
    upper.set_ylabel("coverage (%)")
    lower.set_ylabel(f"width ({label(unit, 22 if narrow else UNIT)})")
    lower.set_xlabel(f"horizon step (one step: {label(span)})")
    upper.set_title(f"{label(model, 16 if narrow else 40)}: intervals by step", loc="left", pad=24)
    if coverage:
        legend_above(upper)
    return figure
