"""Lines named at their right end instead of in a legend."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import polars as pl

from tasks.report.plots.style import ACTUAL, BAR, CHOSEN, OTHERS, QUIET, ceiling, label, note

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Style = str | tuple[int, tuple[float, ...]]
STYLES: tuple[Style, ...] = ("-", "--", "-.", ":", (0, (6, 1.5, 1, 1.5, 1, 1.5)))
LABEL_INCHES = 0.24  # height of a line's name, including margins


class Look(NamedTuple):
    """How a line is drawn."""

    color: str
    style: Style
    width: float


def looks_of(models: Sequence[str], chosen: str | None, bar: str) -> dict[str, Look]:
    """Each model's look; twenty differ before one repeats."""
    special = {bar: Look(BAR, "--", 1.8), chosen: Look(CHOSEN, "-", 2.6)}
    rest = [name for name in models if name not in special]
    looks = {name: Look(OTHERS[i % len(OTHERS)], STYLES[i // len(OTHERS) % len(STYLES)], 1.3) for i, name in enumerate(rest)}
    return looks | {name: special[name] for name in models if name in special}


def named_lines(
    ax: "Axes", table: pl.DataFrame, along: str, models: Sequence[str], looks: Mapping[str, Look], mark: bool
) -> None:
    """A line per model over the column `along`, broken at nulls, from 0 (or lower) to a readable maximum."""
    ends, peaks, lows = [], [], [0.0]
    for name in models:
        line = table.select(along, pl.col(name).cast(pl.Float64).fill_nan(None))
        known = line[name].drop_nulls()
        if known.is_empty():
            continue
        color, style, width = looks[name]
        alone = mark or len(known) < 2 or line[name].null_count() > 0  # a value between two gaps would have no line
        front = 3.0 if color == CHOSEN else 2.0
        x, y = line[along].to_numpy(), line[name].to_numpy()
        ax.plot(x, y, color=color, ls=style, lw=width, marker="o" if alone else None, ms=3.5, zorder=front)
        ends.append((float(known[-1]), name))
        peaks.append(float(known.max()))  # type: ignore[arg-type]
        lows.append(float(known.min()))  # type: ignore[arg-type]
    top = 1.05 * ceiling(peaks)
    ax.set_ylim(1.05 * min(lows), top if top > 0 else 1)
    if not ends:
        note(ax, "nothing to score")
    name_ends(ax, ends, looks)


def name_ends(ax: "Axes", ends: list[tuple[float, str]], looks: Mapping[str, Look]) -> None:
    """Names right of the lines, pushed apart where they would overlap, each with a line sample and a leader.

    A line that ends above the picture is named at the top, with its value.
    """
    from matplotlib.transforms import blended_transform_factory

    bottom, top = ax.get_ylim()
    beside = blended_transform_factory(ax.transAxes, ax.transData)
    ends = sorted(ends)
    gap = LABEL_INCHES / float(ax.get_figure(root=True).get_size_inches()[1]) * (top - bottom)  # type: ignore[union-attr]
    for (value, name), place in zip(ends, spread([min(value, top) for value, _ in ends], gap, bottom, top), strict=True):
        color, style, width = looks[name]
        ax.plot([1.0, 1.03], [min(value, top), place], transform=beside, color=QUIET, lw=0.5, clip_on=False)
        ax.plot([1.035, 1.075], [place, place], transform=beside, color=color, ls=style, lw=width, clip_on=False)
        text = label(name, 40) + (f"  ↑ {value:.3g}" if value > top else "")
        weight = "bold" if color == CHOSEN else "normal"
        ax.text(1.085, place, text, transform=beside, va="center", fontsize=9, color=ACTUAL, weight=weight)


def spread(values: Sequence[float], gap: float, bottom: float, top: float) -> list[float]:
    """Ascending `values`, moved as little as a simple pass can, so that they are `gap` apart and in bounds."""
    places: list[float] = []
    for value in values:
        places.append(max(value, places[-1] + gap if places else bottom))
    ceiling = max(top, bottom + gap * len(places))
    for i in reversed(range(len(places))):
        places[i] = min(places[i], ceiling)
        ceiling = places[i] - gap
    return [place if math.isfinite(place) else bottom for place in places]
