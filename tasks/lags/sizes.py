"""The rows, windows and bytes that a run will need, computed before training.

Bytes are exact for the panel; weights and activations of the network are not included.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import polars as pl

from models.data.origins import origin_rows
from models.data.panel import SPLITS, Data
from models.data.window import WindowParams
from params.errors import UserError
from params.shown import visible

FLOAT, INDEX = 4, 4  # bytes of a value, and of an origin row if a panel has fewer than 2^31 rows
WIDE = 8  # bytes of a time, a target, and a value kept in 64 bits
UNITS = ("kB", "MB", "GB", "TB")


class Budget(NamedTuple):
    """Rows and channels of the panel, windows by split, and bytes: on disk, on a device, and of a batch."""

    rows: int
    channels: int
    windows: dict[str, int]
    disk_bytes: int
    device_bytes: int
    batch_bytes: int

    def line(self) -> str:
        """The line that is printed before training."""
        windows = ", ".join(f"{name} {count:,}" for name, count in self.windows.items())
        disk, device, batch = (size_text(count) for count in (self.disk_bytes, self.device_bytes, self.batch_bytes))
        return (
            f"panel: {self.rows:,} rows x {self.channels} channels, {disk} on disk; "
            f"each fit holds {device} of it on its device, and {batch} a batch; windows: {windows}"
        )

    def metrics(self) -> dict[str, float]:
        """The same as metrics of an MLflow run."""
        windows = {f"windows_{name}": float(count) for name, count in self.windows.items()}
        sizes = {"panel_disk_bytes": self.disk_bytes, "panel_device_bytes": self.device_bytes, "batch_bytes": self.batch_bytes}
        return {"panel_rows": float(self.rows), **windows, **{name: float(size) for name, size in sizes.items()}}


@dataclass(frozen=True)
class Sizes:
    """What a run will need, known before it trains.

    `counts`: as of `window_counts`.  `earlier`: windows by split of each earlier validation range, oldest first.
    """

    counts: pl.DataFrame
    budget: Budget
    earlier: tuple[dict[str, int], ...] = ()

    def lines(self) -> list[str]:
        """The lines that are printed before training."""
        ranges = len(self.earlier) + 1
        folds = [
            f"validation range {number} of {ranges}: train {counts['train']:,}, validation {counts['validation']:,}"
            for number, counts in enumerate(self.earlier, start=1)
        ]
        return [self.budget.line(), *counts_lines(self.counts), *folds]


def sizes_of(data: Data, evaluation_stride: int, batch_size: int) -> Sizes:
    """The windows of a run and their sizes.  Raises UserError for a split or validation range without a window."""
    counts = window_counts(data, evaluation_stride)
    newest = budget(counts, data.windows, batch_size)
    earlier = [window_counts(fold, evaluation_stride) for fold in data.folds[:-1]]
    windows = [
        _windows(fold_counts, data.windows, f" of validation range {number} of {len(data.folds)}")
        for number, fold_counts in enumerate(earlier, start=1)
    ]
    return Sizes(counts, newest, tuple(windows))


def panel_bytes(rows: int, params: WindowParams) -> int:
    """Bytes of a panel's target, values, times and 64-bit channels on disk, without 128 for each file's header."""
    return rows * (FLOAT * len(params.panel_channels) + WIDE * (2 + len(params.wide_channels)))


def window_counts(data: Data, evaluation_stride: int) -> pl.DataFrame:
    """One row per series: unique_id, rows, and the windows of each split as trained and evaluated."""
    panel = data.panel
    columns = [pl.Series("unique_id", panel.ids, pl.String), pl.Series("rows", np.diff(panel.offsets))]
    for name in SPLITS:
        stride = data.windows.stride if name == "train" else evaluation_stride
        origins = origin_rows(panel, data.windows, data.split, name, stride)
        columns.append(pl.Series(name, np.diff(np.searchsorted(origins, panel.offsets))))
    return pl.DataFrame(columns)


def budget(counts: pl.DataFrame, params: WindowParams, batch_size: int) -> Budget:
    """What the windows of `window_counts` need; a batch is its raw inputs and targets.

    Raises UserError for a split without a window, which the data checks cannot know of: they see no windows.
    """
    rows, windows = int(counts["rows"].sum()), _windows(counts, params)
    values = params.lookback * len(params.channels) + params.ahead * len(params.known)
    wide = params.lookback * len(params.wide_features) + params.ahead * len(params.wide_future)
    wide += len(params.static) + params.horizon
    disk, origins = panel_bytes(rows, params), sum(windows.values()) + windows["train"]
    device = disk - WIDE * rows + INDEX * origins  # times stay on the host
    return Budget(rows, len(params.panel_channels), windows, disk, device, batch_size * (FLOAT * values + WIDE * wide))


def _windows(counts: pl.DataFrame, params: WindowParams, where: str = "") -> dict[str, int]:
    """The windows of each split.  Raises UserError for a split without any."""
    windows = {name: int(counts[name].sum()) for name in SPLITS}
    for name, count in windows.items():
        if not count:
            raise UserError(
                f"the {name} split{where} has no window with an observed target and at most {params.max_missing_share:.0%} of "
                "its samples missing: raise windows.max_missing_share or windows.forward_fill, or move the split"
            )
    return windows


def counts_lines(counts: pl.DataFrame, most: int = 8) -> list[str]:
    """The table of windows as text: the first series and the total; windows.csv has all."""
    total = counts.select(pl.lit(f"all {counts.height:,} series").alias("unique_id"), pl.exclude("unique_id").sum())
    shown = pl.concat([counts.head(most), total], how="vertical_relaxed") if counts.height > 1 else counts
    cells = [["windows of", *shown.columns[1:]]]
    cells += [[visible(str(row[0])), *(f"{value:,}" for value in row[1:])] for row in shown.iter_rows()]
    first, *others = [max(len(row[i]) for row in cells) for i in range(len(cells[0]))]
    lines = [row[0].ljust(first) + "".join(f"  {c.rjust(w)}" for c, w in zip(row[1:], others, strict=True)) for row in cells]
    if counts.height > most:
        lines.insert(-1, f"... and {counts.height - most:,} more (windows.csv of the run)")
    return lines


def size_text(count: int) -> str:
    """A number of bytes for people: 12.3 MB."""
    if count < 1000:
        return f"{count} bytes"
    power = min((len(str(count)) - 1) // 3, len(UNITS))
    return f"{count / 1000**power:.3g} {UNITS[power - 1]}"
