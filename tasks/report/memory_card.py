"""Memory cards as pictures, a table and words (`models/memory_card.py` measures them)."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from models.memory_card import MemoryCard
from tasks.report.plots.style import ACTUAL, BAR, CHOSEN, GRID, QUIET
from tasks.train.fits import Fit

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLUMNS, WIDTH, HEIGHT = 4, 3.1, 2.1  # panels per row, and inches of one
TITLE = """Memory: how much a row moves the forecast,
as a share of the row that moves it most
(line: half-life; grey: less than 1 % in all)"""
FLOOR = 1e-5  # relative to the largest sensitivity: smaller ones are drawn here


def cards_of(fits: Sequence[Fit]) -> dict[str, MemoryCard]:
    """The memory cards of the fits that have one, by label."""
    return {fit.label: fit.evaluated.memory for fit in fits if fit.evaluated is not None and fit.evaluated.memory is not None}


def card_table(cards: Mapping[str, MemoryCard]) -> pl.DataFrame:
    """One row per variant: half-life and fields in rows, spectral radius, most saturated gate, warning."""
    rows = []
    for name, card in cards.items():
        rows.append(
            {
                "variant": name,
                "memory_half_life": card.half_life,
                "receptive_field": card.receptive_field,
                "theoretical_field": card.theoretical_field,
                "window_rows": card.rows,
                "spectral_radius": max(card.spectral_radius.values(), default=None),
                "saturated_share": max((gate["saturated"] for gate in card.gates.values()), default=None),
                "forget_mean": next((card.gates[name]["mean"] for name in ("forget", "update") if name in card.gates), None),
                "warning": card.warning,
            }
        )
    whole = dict.fromkeys(("memory_half_life", "receptive_field", "theoretical_field", "window_rows"), pl.Int64)
    shares = dict.fromkeys(("spectral_radius", "saturated_share", "forget_mean"), pl.Float64)
    return pl.DataFrame(rows, schema={"variant": pl.String, **whole, **shares, "warning": pl.String})


def card_figure(cards: Mapping[str, MemoryCard]) -> "Figure":
    """The sensitivity of each variant over the rows before the cutoff, side by side, with its half-life.

    Each curve is divided by its maximum, so that shapes compare; it is faint if the card warns.
    """
    from matplotlib.figure import Figure

    across = min(COLUMNS, len(cards))
    lines = math.ceil(len(cards) / across)
    figure = Figure(figsize=(max(across, 2) * WIDTH, 0.7 + lines * HEIGHT), layout="constrained", facecolor="white")
    grid = figure.subplots(lines, across, sharex=True, sharey=True, squeeze=False)
    figure.suptitle(TITLE, fontsize=10)
    for axes, (name, card) in zip(grid.ravel(), cards.items(), strict=False):
        rows, share = np.arange(1, card.rows + 1), np.array(card.sensitivity) / max(*card.sensitivity, 1e-300)
        axes.plot(rows, np.clip(share, FLOOR, None), color=CHOSEN, linewidth=1.4)
        if card.half_life:
            axes.axvline(card.half_life, color=BAR, linewidth=1)
        if card.unused_from is not None:
            axes.axvspan(card.unused_from, card.rows, color=GRID, zorder=0)
        axes.set_yscale("log")
        axes.set_ylim(FLOOR, 2)
        axes.minorticks_off()
        axes.spines[["top", "right"]].set_visible(False)
        half = f"half-life {card.half_life}" if card.half_life else "no row moves it"
        axes.set_title(f"{name}  ({half})", fontsize=9, loc="left", color=ACTUAL)
        axes.grid(color=GRID, linewidth=0.6)
        axes.set_axisbelow(True)
        axes.tick_params(labelsize=7, colors=QUIET)
    for axes in grid.ravel()[len(cards) :]:
        axes.set_axis_off()
    for axes in grid.ravel()[max(len(cards) - across, 0) : len(cards)]:  # each column's lowest panel
        axes.tick_params(labelbottom=True)
        axes.set_xlabel("rows before the cutoff", fontsize=8)
    return figure


def attention_figure(card: MemoryCard, name: str) -> "Figure":
    """Each horizon step's attention to each sample.  Raises ValueError without attention."""
    if card.attention is None:
        raise ValueError(f"{name} has no attention to draw")
    from matplotlib.figure import Figure

    weights_HL = np.array(card.attention)
    figure = Figure(figsize=(8, 4), layout="constrained")
    axes = figure.subplots()
    steps, samples = weights_HL.shape
    drawn = axes.imshow(
        weights_HL,
        aspect="auto",
        cmap="cividis",
        vmin=0,
        extent=(-samples + 0.5, 0.5, steps + 0.5, 0.5),
        interpolation="nearest",
    )
    axes.set_xlabel("sample of the window (0: the newest)")
    axes.set_ylabel("step of the horizon")
    axes.set_title(f"{name}: mean attention, each row adds up to 1", loc="left")
    figure.colorbar(drawn, ax=axes, label="weight")
    return figure
