"""Whether quantiles mean what they say: how many actuals lie below each, and where each actual lies."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from tasks.report.plots.style import ACTUAL, CHOSEN, OTHERS, QUIET, label, legend_above, new_figure, note, ramp

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PERCENT = (0, 20, 40, 60, 80, 100)


def reliability_plot(
    levels: Sequence[float], pool: np.ndarray, groups: Mapping[str, np.ndarray], model: str, narrow: bool = False
) -> "Figure":
    """The share of actuals below each quantile [Q] against its level, over all series and for some groups.

    `groups`: from the smallest series to the largest.  NaN: unknown.
    """
    figure, ax = new_figure(*((4.2, 5.3) if narrow else (9, 5.4)))
    at = 100 * np.asarray(levels, np.float64)
    ax.plot([0, 100], [0, 100], color=QUIET, ls="--", lw=1, zorder=1, label="as it should be")
    for (name, share), color in zip(groups.items(), ramp(len(groups)), strict=True):
        ax.plot(at, 100 * share, color=color, lw=1.3, marker="o", ms=3, label=label(name, 24), zorder=2)
    ax.plot(at, 100 * pool, color=CHOSEN, lw=2.4, marker="o", ms=5, label="all series", zorder=3)
    if not np.isfinite(pool).any():
        note(ax, "no quantiles to judge")
    ax.set(xlim=(0, 100), ylim=(0, 100), xticks=PERCENT, yticks=PERCENT, aspect="equal")
    ax.set_xlabel("level of the quantile (%)")
    ax.set_ylabel("actuals below it on test (%)")
    ax.set_title(f"{label(model, 24 if narrow else 60)}: reliability", loc="left")
    if narrow:
        figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=9)
    else:
        figure.legend(loc="outside right center", frameon=False, fontsize=9)
    return figure


def pit_plot(shares: np.ndarray, count: int, model: str, narrow: bool = False) -> "Figure":
    """The share of `count` actuals in each tenth of the forecast distributions: [10]."""
    figure, ax = new_figure(*((4.2, 3.6) if narrow else (9, 3.8)))
    parts = len(shares)
    if count:
        left = 100 * np.arange(parts) / parts
        ax.bar(left, 100 * shares, 100 / parts, align="edge", color=OTHERS[3], ec="white", zorder=2)
    else:
        note(ax, "no quantiles to judge")
    ax.axhline(100 / parts, color=ACTUAL, lw=1.1, ls="--", zorder=3, label="as it should be")
    ax.set(xlim=(-1, 101), xticks=range(0, 101, 20), ylim=(0, 115 * max(1.5 / parts, float(np.nanmax(shares, initial=0.0)))))
    ax.set_xlabel("place of the actual in its distribution (%)")
    ax.set_ylabel("actuals on test (%)")
    ax.set_title(f"{label(model, 18 if narrow else 40)}: PIT of {count:,} actuals", loc="left", pad=24)
    legend_above(ax)
    return figure
