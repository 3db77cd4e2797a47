"""Pictures of a search: scores by trial, the keys' importance, and the values of all trials side by side."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from params.search import Value
from tasks.report.plots.style import ACTUAL, BAR, CHOSEN, OTHERS, QUIET, UNIT, ceiling, label, legend_above, new_figure, note
from tasks.report.plots.style import whole_ticks as ticks_at_whole_numbers

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PANEL = 2.9  # panel height in inches
LONGEST = 20  # letters shown of a key
FEW = "too few trials have finished"


@dataclass(frozen=True)
class Curve:
    """A variant's trials as (number, score or None, state), and the score of the variant itself."""

    variant: str
    trials: Sequence[tuple[int, float | None, str]]
    own: float | None


@dataclass(frozen=True)
class Axis:
    """A key with each finished trial's value; `ends` of numbers, log scale or not; else its `choices`."""

    key: str
    values: Sequence[Value]
    ends: tuple[float, float] | None
    log: bool
    choices: Sequence[Value]

    def place(self, value: Value) -> float:
        """A value's position on the axis, from 0 to 1."""
        if self.ends is None:
            return self.choices.index(value) / max(len(self.choices) - 1, 1)
        low, high = (math.log(end) if self.log else end for end in self.ends)
        return ((math.log(float(value)) if self.log else float(value)) - low) / (high - low or 1.0)

    @property
    def ticks(self) -> list[tuple[float, str]]:
        """The ticks: positions and labels."""
        if self.ends is None:
            return [(self.place(choice), label(str(choice), LONGEST)) for choice in self.choices]
        return [(0.0, f"{self.ends[0]:.4g}"), (1.0, f"{self.ends[1]:.4g}")]


def history_plot(curves: Sequence[Curve], error: str) -> "Figure":
    """Each trial's score and the best so far, a panel per variant; pruned and failed ones at the bottom."""
    figure, axes = _panels(len(curves))
    for ax, curve in zip(axes, curves, strict=True):
        done = [(number, score) for number, score, _ in curve.trials if score is not None]
        ax.set_title(label(curve.variant), loc="left", pad=24)
        ax.set_ylabel(label(error, UNIT))
        ticks_at_whole_numbers(ax)
        if not done:
            note(ax, FEW)
            continue
        _history(ax, curve, done)
        legend_above(ax)
    axes[-1].set_xlabel("trial")
    return figure


def _history(ax: "Axes", curve: Curve, done: Sequence[tuple[int, float]]) -> None:
    scores = [score for _, score in done]
    low, high = min(scores), ceiling(scores)
    room = 0.15 * (high - low) or 0.1 * abs(high) or 1.0
    ax.set_ylim(low - 2 * room, high + room)
    ax.set_xlim(-0.5, max(number for number, *_ in curve.trials) + 0.5)
    ax.plot(*zip(*done, strict=True), ls="", marker="o", ms=4.5, color=OTHERS[3], label="finished")
    best = [min(scores[: place + 1]) for place in range(len(scores))]
    ax.step([number for number, _ in done], best, where="post", color=CHOSEN, lw=1.8, label="best so far")
    if curve.own is not None:
        ax.axhline(curve.own, color=BAR, lw=1.2, ls="--", label=f"as it is ({curve.own:.4g})")
    for state, mark, color in (("pruned", "|", QUIET), ("failed", "x", ACTUAL)):
        places = [number for number, _, ended in curve.trials if ended == state]
        if places:
            ax.plot(places, [low - 1.4 * room] * len(places), ls="", marker=mark, ms=8, color=color, label=state)


def importance_plot(shares: Mapping[str, Mapping[str, float]]) -> "Figure":
    """How much each key says about being in the best tenth, a panel per variant, largest first."""
    rows = max((len(keys) for keys in shares.values()), default=1)
    figure, axes = _panels(len(shares), max(1.6, 0.42 * rows + 1.0))
    for ax, (variant, by_key) in zip(axes, shares.items(), strict=True):
        ax.set_title(label(variant), loc="left")
        if not by_key:
            ax.set_yticks([])
            ax.set_xticks([])
            note(ax, FEW)
            continue
        names = [label(key.removeprefix("training."), LONGEST) for key in by_key]
        bars = ax.barh(names, [100 * share for share in by_key.values()], color=CHOSEN, height=0.62)
        ax.bar_label(bars, fmt="%.0f %%", padding=4, fontsize=9)
        ax.set_xlim(0, 112 * max(by_key.values()))
        ax.invert_yaxis()
    axes[-1].set_xlabel("importance (PED-ANOVA): share of what tells the best tenth of the trials from all, in %")
    return figure


def parallel_plot(axes: Mapping[str, Sequence[Axis]], scores: Mapping[str, Sequence[float]], error: str) -> "Figure":
    """Every finished trial's values as a line across the keys, better is darker, a panel per variant."""
    figure, panels = _panels(len(axes), 3.4)
    for ax, (variant, keys) in zip(panels, axes.items(), strict=True):
        ax.set_title(f"{label(variant)}: the darker, the better; the best in blue", loc="left", pad=14)
        ax.grid(visible=False)
        ax.spines[["left", "bottom"]].set_visible(False)
        ax.set_yticks([])
        if not scores[variant]:
            ax.set_xticks([])
            note(ax, FEW)
            continue
        score = Axis(label(error, LONGEST), scores[variant], (min(scores[variant]), max(scores[variant])), False, ())
        _lines(ax, [score, *keys], scores[variant])
    return figure


def _lines(ax: "Axes", keys: Sequence[Axis], scores: Sequence[float]) -> None:
    from matplotlib.colors import LinearSegmentedColormap

    shades = LinearSegmentedColormap.from_list("scores", ["#1a1a1a", "#d9d9d9"])
    order = sorted(range(len(scores)), key=lambda place: -scores[place])  # draw the best on top
    for rank, place in enumerate(order):
        behind = (len(order) - 1 - rank) / max(len(order) - 1, 1)
        best = rank == len(order) - 1
        heights = [axis.place(axis.values[place]) for axis in keys]
        color, width = (CHOSEN, 2.2) if best else (shades(behind), 1.0)
        ax.plot(range(len(keys)), heights, color=color, lw=width, marker="o", ms=3, zorder=3 if best else 2)
    ax.set_xticks(range(len(keys)), [label(axis.key, LONGEST) for axis in keys])
    ax.set_xlim(-0.4, max(len(keys) - 1, 1) + 0.4)
    ax.set_ylim(-0.08, 1.08)
    for place, axis in enumerate(keys):
        ax.axvline(place, color=QUIET, lw=0.8, zorder=1)
        for height, words in axis.ticks:
            halo = {"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 0.8}
            ax.annotate(
                words, (place, height), (6, 0), textcoords="offset points", va="center", fontsize=8, bbox=halo, zorder=4
            )


def _panels(count: int, height: float = PANEL) -> "tuple[Figure, list[Axes]]":
    figure, axes = new_figure(10, height * max(count, 1) + 0.4, rows=max(count, 1), squeeze=False)
    return figure, list(axes[:, 0])
