"""Pictures of a comparison as matplotlib Figures; never pyplot, whose state is shared by all threads, and never a score.

One palette (Okabe and Ito, safe for colour-blind eyes) throughout: actuals black, the chosen variant blue, the best naive
vermilion, other variants in the rest of it, further told apart by line style.
"""

import math
import os
import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from tasks.comparison.intervals import COVERAGE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ACTUAL, CHOSEN, NAIVE, QUIET, GRID = "#1a1a1a", "#0072B2", "#D55E00", "#9a9a9a", "#e4e4e4"
OTHERS = ("#009E73", "#CC79A7", "#E69F00", "#56B4E9")
STYLES = ("-", "--", "-.", ":")
MOST_SERIES = 20
SHOWN_ROWS = 120  # target rows in the window of a forecast picture
LABEL_INCHES = 0.24  # height of a name beside a line, with its share of the margins
SHORT = 4  # horizons below this are drawn as one joined line, not origin by origin


def plotted(by_series: pl.DataFrame, model: str, most: int = MOST_SERIES) -> list[str]:
    """The series to draw, worst MAE first: all of them, or worst, best and evenly between."""
    ranked = by_series.drop_nulls(model).sort(model, "unique_id", descending=[True, False])["unique_id"].to_list()
    if len(ranked) <= most:
        return ranked
    return [ranked[round(i * (len(ranked) - 1) / (most - 1))] for i in range(most)]


def file_name(number: int, series: str) -> str:
    """series-00-<slug>.png: safe on every file system, whatever the series is called."""
    plain = unicodedata.normalize("NFKD", series).encode("ascii", "ignore").decode().lower()
    slug = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:40].strip("-")
    return f"series-{number:02d}-{slug or 'unnamed'}.png"


def save(figure: "Figure", path: Path) -> Path:
    """Write a PNG beside `path` and rename it; the same figure gives the same bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    figure.savefig(beside, format="png", dpi=120, metadata={"Software": None})
    os.replace(beside, path)
    return path


def forecast_plot(test: pl.DataFrame, series: str, model: str, naive: str, unit: str) -> "Figure":
    """Actuals of one series over its last test origins that do not overlap, `model` with its band, the best naive thin.

    `test`: wide forecast frame, with the interval columns of `model` where it has them.  `unit`: what y is called.
    """
    rows = test.filter((pl.col("unique_id") == series) & pl.col(model).is_not_null()).sort("cutoff", "step")
    shown = rows.filter(pl.col("cutoff").is_in(_apart(rows).implode()))
    figure, ax = _figure(10, 4.2)
    ds = pl.col("ds").is_between(shown["ds"].min(), shown["ds"].max())
    actual = test.filter((pl.col("unique_id") == series) & ds).unique("ds").sort("ds")
    ax.plot(_x(actual), actual["y"].to_numpy(), color=ACTUAL, lw=1.4, label="actual", zorder=3)
    whole = shown["step"].max() is not None and int(shown["step"].max()) < SHORT  # type: ignore[arg-type]
    parts = [shown] if whole else shown.partition_by("cutoff", maintain_order=True)
    low, high = f"{model}-lo-{COVERAGE}", f"{model}-hi-{COVERAGE}"
    for i, part in enumerate(parts):
        x, told = _x(part), i == 0
        if low in part.columns:
            edges = (part[name].to_numpy() for name in (low, high))
            ax.fill_between(x, *edges, color=CHOSEN, alpha=0.16, lw=0, label=_told(f"{COVERAGE} % interval", told))
        mark = "o" if len(part) == 1 else None
        ax.plot(x, part[naive].to_numpy(), color=NAIVE, lw=0.9, ls="--", marker=mark, ms=3, label=_told(_label(naive), told))
        ax.plot(x, part[model].to_numpy(), color=CHOSEN, lw=1.8, marker=mark, ms=3, label=_told(_label(model), told), zorder=4)
        if not whole:
            ax.axvline(x[0], color=QUIET, lw=0.7, ls=":", zorder=1, label=_told("a new forecast begins", told))
    _time_axis(ax, shown)
    ax.set_ylabel(_label(unit))
    ax.set_title(f"{_label(series)}: forecasts and what came", loc="left", pad=28)
    ax.legend(loc="lower left", bbox_to_anchor=(-0.005, 1.0), ncols=5, frameon=False, fontsize=9, borderaxespad=0.2)
    return figure


def step_plot(by_step: pl.DataFrame, models: Sequence[str], chosen: str | None, naive: str, unit: str, span: str) -> "Figure":
    """MAE by horizon step, a line a model, each named at its right end.  `span`: the length of one step, such as 1h."""
    figure, ax = _figure(9, max(4.5, 0.26 * len(models) + 1.5))
    mark = "o" if by_step.height == 1 else None
    ends = []
    looks = _looks(models, chosen, naive)
    for name in models:
        line = by_step.select("step", name).drop_nulls()
        if line.is_empty():
            continue
        color, style, width = looks[name]
        ax.plot(line["step"].to_numpy(), line[name].to_numpy(), color=color, ls=style, lw=width, marker=mark, ms=4)
        ends.append((float(line[name][-1]), name))
    ax.set_ylim(bottom=0)
    _name_ends(ax, ends, looks)
    last = by_step.height
    ax.set_xlim(1 - max(0.02 * last, 0.2), last + max(0.02 * last, 0.2))
    ax.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
    ax.set_xlabel(f"horizon step (one step: {_label(span)})")
    ax.set_ylabel(f"MAE on test ({_label(unit)})")
    ax.set_title("Error by horizon step", loc="left")
    return figure


def loss_plot(losses: pl.DataFrame, name: str, best_epoch: int | None, unit: str) -> "Figure":
    """Training loss and validation MAE by epoch, one above the other.  `losses`: epoch, train_loss, val_mae."""
    figure, (upper, lower) = _figure(8, 5, rows=2)
    epochs = losses["epoch"].to_numpy()
    mark = "o" if len(epochs) < 40 else None
    for ax, column, color in ((upper, "train_loss", ACTUAL), (lower, "val_mae", CHOSEN)):
        ax.plot(epochs, losses[column].to_numpy(), color=color, lw=1.6, marker=mark, ms=3)
        if best_epoch is not None:
            ax.axvline(best_epoch, color=NAIVE, lw=1, ls="--")
    best = losses.filter(pl.col("epoch") == best_epoch)["val_mae"] if best_epoch is not None else pl.Series(dtype=pl.Float64)
    if best_epoch is not None and len(best) and best[0] is not None:
        lower.plot([best_epoch], [best[0]], marker="o", ms=7, mfc="none", mec=NAIVE, mew=1.6, ls="")
        upper.set_title(f"best epoch {best_epoch}: val_mae {best[0]:.4g}", loc="right", color=NAIVE, fontsize=10)
    upper.set_ylabel("train_loss (scaled)")
    lower.set_ylabel(f"val_mae ({_label(unit)})")
    lower.set_xlabel("epoch")
    lower.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
    upper.set_title(f"{_label(name)}: training", loc="left")
    figure.align_ylabels()
    return figure


def accuracy_plot(board: pl.DataFrame, chosen: str | None, naive: str, unit: str) -> "Figure":
    """Test MAE as bars and validation MAE as marks, in the order of the leaderboard; rows without a score are left out."""
    rows = board.filter(pl.col("test_mae").is_not_null())
    figure, ax = _figure(9, 0.34 * rows.height + 1.9)
    ax.grid(axis="y", visible=False)
    places = range(rows.height)
    plain = {"variant": OTHERS[3], "baseline": QUIET}
    colors = [{chosen: CHOSEN, naive: NAIVE}.get(name, plain[kind]) for name, kind in rows.select("name", "kind").iter_rows()]
    ax.barh(places, rows["test_mae"].to_numpy(), color=colors, height=0.66, zorder=2)
    ax.plot(rows["val_mae"].to_numpy(), places, ls="", marker="D", ms=5, mfc="white", mec=ACTUAL, label="validation", zorder=4)
    for place, value, color in zip(places, rows["test_mae"], colors, strict=True):
        ax.text(0, place, f"  {value:.3g}", va="center", fontsize=9, color="white" if color == CHOSEN else ACTUAL)
    ax.set_yticks(places, [_label(name) for name in rows["name"]])
    ax.invert_yaxis()
    best = rows.filter(pl.col("name") == naive)["test_mae"]
    if len(best):
        ax.axvline(best[0], color=NAIVE, lw=1, ls="--", zorder=3, label=f"best naive: {_label(naive)}")
    ax.set_xlabel(f"MAE on test ({_label(unit)})")
    ax.set_title("Accuracy, best on validation first", loc="left", pad=24)
    ax.legend(loc="lower left", bbox_to_anchor=(-0.005, 1.0), ncols=2, frameon=False, fontsize=9, borderaxespad=0.2)
    return figure


def _figure(width: float, height: float, rows: int = 1):  # type: ignore[no-untyped-def]  # matplotlib is imported late
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained", facecolor="white")
    axes = figure.subplots(rows, 1, sharex=True)
    for ax in [axes] if rows == 1 else axes:
        ax.spines[["top", "right"]].set_visible(False)
        ax.grid(color=GRID, lw=0.6)
        ax.set_axisbelow(True)
    return figure, axes


def _told(label: str, told: bool) -> str:
    """A legend names each look once; an underscore keeps the repeats out of it."""
    return label if told else f"_{label}"


def _label(text: str) -> str:
    """Any text as a label: no mathtext, no line breaks, no letters that the font lacks, no endless names."""
    from matplotlib import font_manager

    known = font_manager.get_font(font_manager.findfont("DejaVu Sans")).get_charmap()
    plain = "".join(c if c.isprintable() and ord(c) in known else "\N{WHITE SQUARE}" for c in text)
    short = plain if len(plain) <= 60 else plain[:59] + "…"
    return short.replace("$", r"\$")


def _apart(rows: pl.DataFrame) -> pl.Series:
    """The newest cutoffs whose targets do not overlap, about SHOWN_ROWS target rows in all."""
    spans = rows.group_by("cutoff").agg(pl.col("ds").min().alias("first"), pl.col("ds").max().alias("last"), pl.len())
    found: list[object] = []
    taken, before = 0, None
    for cutoff, first, last, count in spans.sort("cutoff", descending=True).iter_rows():
        if before is None or last < before:
            found.append(cutoff)
            taken, before = taken + count, first
        if taken >= SHOWN_ROWS:
            break
    return pl.Series(found, dtype=rows.schema["cutoff"])


def _x(rows: pl.DataFrame):  # type: ignore[no-untyped-def]
    """Timestamps as matplotlib takes them: UTC without saying so, or whole numbers."""
    ds = rows["ds"]
    return ds.to_numpy() if ds.dtype.is_integer() else ds.dt.replace_time_zone(None).to_numpy()


def _time_axis(ax: "Axes", rows: pl.DataFrame) -> None:
    if rows.schema["ds"].is_integer():
        ax.set_xlabel("time step")
        return
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    locator = AutoDateLocator(minticks=4, maxticks=9)
    ax.xaxis.set_major_locator(locator)
    ax.xaxis.set_major_formatter(ConciseDateFormatter(locator))
    ax.set_xlabel("time (UTC)")


def _looks(models: Sequence[str], chosen: str | None, naive: str) -> dict[str, tuple[str, str, float]]:
    """Colour, line style and width of each model."""
    special = {chosen: (CHOSEN, "-", 2.6), naive: (NAIVE, "--", 1.8)}
    rest = [name for name in models if name not in special]
    looks = {name: (OTHERS[i % len(OTHERS)], STYLES[i // len(OTHERS) % len(STYLES)], 1.3) for i, name in enumerate(rest)}
    return looks | {name: special[name] for name in models if name in special}


def _name_ends(ax: "Axes", ends: list[tuple[float, str]], looks: dict[str, tuple[str, str, float]]) -> None:
    """Names right of the lines, pushed apart where they would overlap, each with a sample of its line and a thin leader."""
    from matplotlib.transforms import blended_transform_factory

    bottom, top = ax.get_ylim()
    beside = blended_transform_factory(ax.transAxes, ax.transData)
    ends = sorted(ends)
    gap = LABEL_INCHES / float(ax.get_figure(root=True).get_size_inches()[1]) * (top - bottom)  # type: ignore[union-attr]
    for (value, name), place in zip(ends, spread([value for value, _ in ends], gap, bottom, top), strict=True):
        color, style, width = looks[name]
        ax.plot([1.0, 1.03], [value, place], transform=beside, color=QUIET, lw=0.5, clip_on=False)
        ax.plot([1.035, 1.075], [place, place], transform=beside, color=color, ls=style, lw=width, clip_on=False)
        weight = "bold" if color == CHOSEN else "normal"
        ax.text(1.085, place, _label(name), transform=beside, va="center", fontsize=9, color=ACTUAL, weight=weight)


def spread(values: Sequence[float], gap: float, bottom: float, top: float) -> list[float]:
    """Rising `values` moved as little as a simple pass can so that neighbours are `gap` apart, within bottom .. top."""
    places: list[float] = []
    for value in values:
        places.append(max(value, places[-1] + gap if places else bottom))
    ceiling = max(top, bottom + gap * len(places))
    for i in reversed(range(len(places))):
        places[i] = min(places[i], ceiling)
        ceiling = places[i] - gap
    return [place if math.isfinite(place) else bottom for place in places]
