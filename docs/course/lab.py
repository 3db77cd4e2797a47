"""What the lessons share: a panel from arrays, training in memory, pictures."""

import io
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import polars as pl
import torch
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from models import build_forecaster
from models.data.origins import origin_rows
from models.data.panel import Panel, PanelFacts, Split
from models.data.scaling import fit_scaling
from models.data.window import WindowParams
from models.data.windows import Windows
from models.fit.loop import fit
from models.fit.settings import Epoch, Training, own_generators, stream
from models.forecaster import Forecaster
from tasks.report.plots.style import dress

ROOT = Path(__file__).resolve().parents[2]
matplotlib.rcParams.update({"axes.titlesize": 11, "figure.titlesize": 11})  # pictures are read on phones, too
Columns = Mapping[str, ArrayLike]  # of one series: y and its features


class Picture(Figure):
    """A figure that also a notebook shows when it is the last line of a cell."""

    def _repr_png_(self) -> bytes:
        content = io.BytesIO()
        self.savefig(content, format="png", dpi=150, metadata={"Software": None})
        return content.getvalue()


def picture(width: float, height: float, rows: int = 1, columns: int = 1, **shared: Any) -> tuple[Picture, Any]:
    """An empty figure in the look of lagline's reports, and its axes: one, or an array of them."""
    figure = Picture(figsize=(width, height), layout="constrained", facecolor="white")
    axes = figure.subplots(rows, columns, **shared)
    for ax in figure.axes:
        dress(ax)
    return figure, axes


def blank(ax: Any) -> None:
    """Axes without frame, ticks and grid, for a drawing."""
    ax.set_axis_off()
    ax.grid(visible=False)


def box(ax: Any, x: float, y: float, text: str, colour: str = "#0072B2", width: float = 0.5, height: float = 0.4) -> None:
    """A box with a text around the point x, y of a drawing."""
    from matplotlib.patches import FancyBboxPatch

    corner = (x - width / 2, y - height / 2)
    ax.add_patch(FancyBboxPatch(corner, width, height, boxstyle="round,pad=0.03", facecolor="white", edgecolor=colour, lw=1.6))
    ax.text(x, y, text, ha="center", va="center", fontsize=10, color=colour)


def arrow(ax: Any, start: tuple[float, float], end: tuple[float, float], text: str = "", colour: str = "#1a1a1a") -> None:
    """An arrow of a drawing, with a text at its middle."""
    ax.annotate("", end, start, arrowprops={"arrowstyle": "-|>", "color": colour, "lw": 1.2})
    if text:
        ax.text(
            (start[0] + end[0]) / 2, (start[1] + end[1]) / 2 + 0.06, text, ha="center", va="bottom", fontsize=9, color=colour
        )


def weather(airport: str = "JFK") -> pl.DataFrame:
    """The shipped hourly weather of one airport of New York in 2013, in order of time."""
    table = pl.read_parquet(ROOT / "data/nyc_weather.parquet")
    return table.filter(pl.col("origin") == airport).sort("time_hour")


def panel_of(series: Mapping[str, Columns], features: Sequence[str] = ()) -> Panel:
    """A panel in memory from series by name, each with the same columns; y is the target.

    `features`: the columns that windows read, by default all, so also y.  Rows are counted 0, 1, 2 ...
    """
    channels = tuple(features or next(iter(series.values())))
    blocks = [np.column_stack([np.asarray(columns[name], np.float64) for name in channels]) for columns in series.values()]
    sizes = [len(block) for block in blocks]
    values = np.concatenate(blocks)
    times = np.concatenate([np.arange(size, dtype=np.int64) for size in sizes])
    offsets = np.concatenate(([0], np.cumsum(sizes))).astype(np.int64)
    target = np.concatenate([np.asarray(columns["y"], np.float64) for columns in series.values()])
    return Panel(target, values.astype(np.float32), offsets, times, tuple(series), channels, "", PanelFacts(frequency=1))


def windows_of(panel: Panel, params: WindowParams, split: Split | None = None, name: str = "train", stride: int = 1) -> Windows:
    """The windows of a panel, or those of one split of it: train, validation or test."""
    return Windows(panel, params, origin_rows(panel, params, split, name, stride))


@dataclass(frozen=True)
class Trained:
    """A trained forecaster, its errors by epoch, and the best of them: the MAE on validation in units of y."""

    forecaster: Forecaster
    history: list[Epoch]
    val_mae: float

    @property
    def size(self) -> int:
        """How many weights it has."""
        return sum(weight.numel() for weight in self.forecaster.network.parameters())

    @torch.no_grad()
    def forecasts(self, windows: Windows) -> np.ndarray:
        """[windows, horizon] in units of y."""
        batches = windows.batches(512)
        return torch.cat([self.forecaster.float().eval()(*batch.inputs)[..., 0] for batch in batches]).numpy()


def train(
    family: str,
    network: Mapping[str, Any],
    windows: Windows,
    validation: Windows,
    split: Split | None = None,
    *,
    level: Any = "none",
    seed: int = 0,
    epochs: int = 10,
    learning_rate: float = 3e-3,
    batch_size: int = 64,
    prepare: Any = None,
) -> Trained:
    """Trains a network of `models/networks/` with lagline's own loop; the best epoch on validation is kept.

    `level`: what y is measured against in each window (`scaling.window` of a run file).  `prepare`: a
    function that changes the network before training.
    """
    training = Training(epochs, epochs, batch_size, learning_rate, 0.0, 1.0, "mae", family, seed)
    scaling = fit_scaling(windows.panel, windows.params, split, "global")
    with own_generators():
        torch.manual_seed(stream(training, "weights"))
        forecaster = build_forecaster(family, network, windows.params, level=level, scaling=scaling)
        if prepare is not None:
            prepare(forecaster.network)
    with tempfile.TemporaryDirectory() as folder:
        fitted = fit(forecaster, windows, validation, training, Path(folder))
    return Trained(forecaster.eval(), fitted.history, float(fitted.val_mae or 0.0))


def mae(forecasts: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """[horizon] the mean absolute error of each step, over the windows."""
    return np.asarray(np.nanmean(np.abs(forecasts - truth), axis=0))


def targets(windows: Windows) -> np.ndarray:
    """[windows, horizon] what came true."""
    return torch.cat([batch.y_BH for batch in windows.batches(512)]).numpy()


def rows_of(table: pl.DataFrame, names: Sequence[str]) -> list[tuple[float | None, ...]]:
    """Some columns of a table, row by row, rounded to the digits that were put in."""
    return [tuple(None if value is None else round(value, 3) for value in row) for row in table.select(names).rows()]
