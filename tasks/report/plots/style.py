"""The look of all pictures: palette, empty figures, labels, times, files.

There is one palette (Okabe and Ito, safe for colour-blind eyes): actuals black, the chosen variant blue, the
best baseline vermilion, other variants in the remaining colours, also told apart by line style.
"""

import io
import re
import unicodedata
from collections.abc import Iterable
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import polars as pl

from tasks.files import placed

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ACTUAL, CHOSEN, BAR, QUIET, GRID = "#1a1a1a", "#0072B2", "#D55E00", "#9a9a9a", "#e4e4e4"
OTHERS = ("#009E73", "#CC79A7", "#E69F00", "#56B4E9")
DESK, HAND = 120, 180  # dots per inch: of a picture, and of a 4.2 inch wide one for a phone
UNIT = 40  # letters of an error and its unit on an axis
CLIP_AT_MEDIANS = 4  # values above this many medians would squash the rest of a picture


def file_name(number: int, series: str) -> str:
    """series-00-<slug>.png: safe on every file system, whatever the series' name."""
    plain = unicodedata.normalize("NFKD", series).encode("ascii", "ignore").decode().lower()
    slug = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:40].strip("-")
    return f"series-{number:02d}-{slug or 'unnamed'}.png"


def ramp(count: int) -> list[str]:
    """`count` greens from light to dark, for ordered groups."""
    from matplotlib.colors import LinearSegmentedColormap, to_hex

    scale = LinearSegmentedColormap.from_list("groups", ["#8fd6bd", OTHERS[0], "#003d2c"])
    return [to_hex(scale(place / max(count - 1, 1) if count > 1 else 0.5)) for place in range(count)]


def save(figure: "Figure", path: Path) -> Path:
    """Writes a PNG to `path`; the same figure gives the same bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with placed(path) as partial:
        partial.write_bytes(png(figure, DESK))
    return path


def png(figure: "Figure", dots: int) -> bytes:
    """A PNG at `dots` per inch; the same figure gives the same bytes."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    content = io.BytesIO()
    figure.set_dpi(dots)
    FigureCanvasAgg(figure).print_png(content, metadata={"Software": None})  # savefig would draw all twice
    return content.getvalue()


def new_figure(width: float, height: float, rows: int = 1, columns: int = 1, **shared: Any) -> tuple["Figure", Any]:
    """A white figure, `width` by `height` inches, and its axes: one, an array, or none if `rows` is 0."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained", facecolor="white")
    axes = figure.subplots(rows, columns, **shared) if rows else []
    for ax in figure.axes:
        dress(ax)
    return figure, axes


def dress(ax: "Axes") -> None:
    """Gives axes the common look."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(color=GRID, lw=0.6)
    ax.set_axisbelow(True)


def whole_ticks(ax: "Axes") -> None:
    """Puts ticks of the x axis at whole numbers only."""
    from matplotlib.ticker import MaxNLocator

    ax.xaxis.set_major_locator(MaxNLocator("auto", integer=True, min_n_ticks=1, steps=[1, 2, 5, 10]))


def note(ax: "Axes", words: str) -> None:
    """A text in place of an empty picture."""
    ax.text(0.5, 0.5, words, transform=ax.transAxes, ha="center", va="center", color=QUIET)


def legend_above(ax: "Axes", columns: int = 5) -> None:
    """The legend between title and data; the title needs a pad of 24 or more."""
    ax.legend(loc="lower left", bbox_to_anchor=(-0.005, 1.0), ncols=columns, frameon=False, fontsize=9, borderaxespad=0.2)


def ceiling(values: Iterable[float]) -> float:
    """The largest value up to CLIP_AT_MEDIANS medians, which a picture has to show; 0 if there is none."""
    known = sorted(values)
    return max((value for value in known if value <= CLIP_AT_MEDIANS * median(known)), default=0.0)


def label(text: str, most: int = 60) -> str:
    """Any text as a label: no mathtext, no line breaks, no letters missing in the font, limited length."""
    from matplotlib import font_manager

    known = font_manager.get_font(font_manager.findfont("DejaVu Sans")).get_charmap()
    plain = "".join(c if c.isprintable() and ord(c) in known else "\N{WHITE SQUARE}" for c in text)
    short = plain if len(plain) <= most else plain[: most - 1] + "…"
    return short.replace("$", r"\$")


def times(rows: pl.DataFrame):  # type: ignore[no-untyped-def]
    """Timestamps for matplotlib: UTC without a zone, or whole numbers."""
    ds = rows["ds"]
    return ds.to_numpy() if ds.dtype.is_integer() else ds.dt.replace_time_zone(None).to_numpy()


def time_axis(ax: "Axes", rows: pl.DataFrame, clock: str = "UTC", ticks: int = 9) -> None:
    """Labels the x axis with times of a clock, or with integer time steps."""
    if rows.schema["ds"].is_integer():
        ax.set_xlabel("time step")
        whole_ticks(ax)
        ax.ticklabel_format(axis="x", style="plain", useOffset=False)
        return
    from matplotlib.dates import HOURLY, MINUTELY, MONTHLY, AutoDateLocator, ConciseDateFormatter

    locator = AutoDateLocator(minticks=min(4, ticks - 2), maxticks=ticks)
    for unit, whole in ((MONTHLY, 12), (HOURLY, 24), (MINUTELY, 60)):  # three days with few ticks need one a day
        locator.intervald[unit] = [*locator.intervald[unit], whole]
    ax.xaxis.set_major_locator(locator)
    ax.xaxis.set_major_formatter(ConciseDateFormatter(locator))
    ax.set_xlabel(f"time ({clock})" if clock else "time")
