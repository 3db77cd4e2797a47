"""The lag table in memory and in a file, against memcpy of its bytes and polars' `.over`; never a test.

    python -m benchmarks.lags            2 million rows x 8 features x 24 lags, different ones for each feature: 192 columns
    python -m benchmarks.lags --full     also 10 million rows (and 8 GB of disk for the file)

1,000 series, edges kept, horizon 1.  Each measure is taken in a process of its own, in which the ways alternate; memcpy copies
as many bytes as the table has into fresh memory.  Memory is the peak of the first table above the resident memory with the
panel mapped and touched (a streamed table: not touched, so that it counts), as a share of the table's bytes.  Linux only.
Last line: JSON.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from models.data.panel import ARRAYS, Panel
from models.data.window import FeatureWindow, WindowParams
from tasks.lags.file import write_lag_table
from tasks.lags.table import lag_table

SERIES, FEATURES, LAGS, ROUNDS = 1000, 8, 24, 7
SLAB = 1 << 30  # bytes that memcpy takes at a time
PEER_ROWS = 200_000  # .over needs seconds and twice the table's memory
NAMES = ("y", *(f"x{i}" for i in range(1, FEATURES)))
WINDOWS = {name: FeatureWindow(LAGS, 1 + i % 4, i) for i, name in enumerate(NAMES)}
PARAMS = WindowParams(1, WINDOWS)
Figures = dict[str, float]


def make(folder: Path, rows: int, series: int, missing: float = 0.0) -> None:
    """A panel of random numbers in a folder, a share of its values missing."""
    rng, steps = np.random.default_rng(0), rows // series
    arrays = {
        "target": rng.standard_normal(rows, dtype=np.float32),
        "values": rng.standard_normal((rows, FEATURES), dtype=np.float32),
        "offsets": np.arange(series + 1, dtype=np.int64) * steps,
        "times": np.tile(np.arange(steps, dtype=np.int64) * 3600 * 10**6, series),
        "static": np.empty((series, 0), np.float32),
    }
    if missing:
        arrays["values"][rng.random((rows, FEATURES), dtype=np.float32) < missing] = np.nan
    for name in ARRAYS:
        np.save(folder / f"{name}.npy", arrays[name])
    panel_facts = {
        "ids": [f"s{i:04d}" for i in range(series)],
        "channels": NAMES,
        "digest": "",
        "frequency": "1h",
        "forward_fill": 0,
    }
    (folder / "panel.json").write_text(json.dumps(panel_facts))


def resident(key: str) -> int:
    """VmRSS or VmHWM of this process in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(key))


def extra_memory(call: Callable[[], Any]) -> int:
    """The most memory that a call takes, in bytes."""
    before = resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak is counted from here
    call()
    return resident("VmHWM") - before


def seconds(call: Callable[[], Any]) -> float:
    """Of one call; what it returns is freed after the clock has stopped."""
    started = time.perf_counter()
    kept = call()
    taken = time.perf_counter() - started
    del kept
    return taken


def table_bytes(rows: int, columns: int) -> int:
    """Of a lag table: a name of 16 bytes, a time of 8, numbers of 4."""
    return rows * (24 + 4 * (columns - 2))


def memcpy(size: int) -> float:
    """Seconds to copy `size` bytes into fresh memory."""
    source = np.ones(min(size, SLAB) // 8, np.int64)
    return statistics.mean(seconds(source.copy) for _ in range(max(1, size // SLAB))) * size / source.nbytes


def few(panel: Panel) -> Panel:
    """Its first rows, as one series."""
    return replace(panel, offsets=np.array([0, 500]), ids=panel.ids[:1])


def in_memory(panel: Panel) -> Figures:
    """Rows a second, seconds of memcpy and of the table by turns, and the table's memory."""
    for array in (panel.values, panel.target, panel.times):
        array.max()  # touched
    memcpy(SLAB)  # memory that this machine has never given out is slow for whoever comes first
    rows, columns = len(panel.times) + len(panel.ids), lag_table(few(panel), PARAMS).width
    extra = extra_memory(lambda: lag_table(panel, PARAMS))
    pairs = [(seconds(lambda: lag_table(panel, PARAMS)), memcpy(table_bytes(rows, columns))) for _ in range(ROUNDS)]
    return {
        "rows_per_second": len(panel.times) / statistics.median(ours for ours, _ in pairs),
        "memcpy_ratio": statistics.median(limit / ours for ours, limit in pairs),
        "extra_memory_ratio": extra / table_bytes(rows, columns),
    }


def streamed(panel: Panel) -> Figures:
    """Rows a second to a Parquet file, and the memory it takes."""
    with tempfile.TemporaryDirectory() as folder:
        write_lag_table(few(panel), PARAMS, Path(folder) / "few.parquet")  # imports and first calls
        written: list[Any] = []
        started = time.perf_counter()
        extra = extra_memory(lambda: written.append(write_lag_table(panel, PARAMS, Path(folder) / "lags.parquet")))
        taken = time.perf_counter() - started
    return {"rows_per_second": len(panel.times) / taken, "extra_memory_ratio": extra / table_bytes(*written[0])}


def over(panel: Panel) -> Figures:
    """How many times as fast as polars' shift of each column `.over` the series, which has no row past the end."""
    ids = np.repeat(np.arange(len(panel.ids)), np.diff(panel.offsets))
    frame = pl.DataFrame({"id": ids} | {name: panel.values[:, i].copy() for i, name in enumerate(NAMES)})
    lags = [
        pl.col(name).shift(1 + w.delay + w.sampling_rate * i).over("id").alias(f"{name}_lag{1 + w.delay + w.sampling_rate * i}")
        for name, w in WINDOWS.items()
        for i in range(w.lookback)
    ]
    ratios = [seconds(lambda: frame.select(lags)) / seconds(lambda: lag_table(panel, PARAMS)) for _ in range(ROUNDS)]
    same = lag_table(panel, PARAMS).filter(pl.col("y_step1").is_not_null())["x7_lag8"].equals(frame.select(lags)["x7_lag8"])
    assert same, "the two ways differ"
    return {"over_ratio": statistics.median(ratios)}


MEASURES: dict[str, Callable[[Panel], Figures]] = {"in memory": in_memory, "streamed": streamed, "over": over}


def measured(measure: str, rows: int, series: int = SERIES, missing: float = 0.0) -> Figures:
    """One measure in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        make(Path(folder), rows, series, missing)
        command = [sys.executable, "-m", "benchmarks.lags", "--measure", measure, "--panel", folder]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    figures: Figures = json.loads(done.stdout)
    return figures


def compared(rows: int) -> Figures:
    """All measures of a size, printed as a table."""
    output = table_bytes(rows + SERIES, 2 + FEATURES * LAGS + 1)
    print(f"{rows:,} rows, {SERIES:,} series, {FEATURES} features x {LAGS} lags: {output / 1e9:.1f} GB as a table")
    print(f"{'':34s} {'rows/s':>12s} {'x memcpy':>9s} {'extra memory / table':>21s}")
    whole, gaps = measured("in memory", rows), measured("in memory", rows, missing=0.1)
    file, single = measured("streamed", rows), measured("streamed", rows, series=1)
    labels = ("in memory", "in memory, a tenth missing", "to Parquet", "to Parquet, one single series")
    for label, figures in zip(labels, (whole, gaps, file, single), strict=True):
        copied = f"{figures['memcpy_ratio']:9.2f}" if "memcpy_ratio" in figures else " " * 9
        print(f"{label:34s} {figures['rows_per_second']:12,.0f} {copied} {figures['extra_memory_ratio']:21.3f}")
    return {
        **whole,
        "missing_rows_per_second": gaps["rows_per_second"],
        "missing_extra_memory_ratio": gaps["extra_memory_ratio"],
        "streamed_rows_per_second": file["rows_per_second"],
        "streamed_extra_memory_ratio": file["extra_memory_ratio"],
        "streamed_one_series_extra_memory_ratio": single["extra_memory_ratio"],
    }


def main() -> None:
    """Prints the tables, then JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="also 10 million rows")
    parser.add_argument("--measure", choices=list(MEASURES), help=argparse.SUPPRESS)
    parser.add_argument("--panel", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure:
        return print(json.dumps(MEASURES[given.measure](Panel.open(given.panel))))
    print(f"{os.cpu_count()} cores; medians of {ROUNDS} rounds")
    figures = compared(2_000_000)
    peer = measured("over", PEER_ROWS)
    print(f"{peer['over_ratio']:.0f} times as fast as polars' .over ({PEER_ROWS:,} rows)")
    figures |= peer
    if given.full:
        figures |= {f"full_{name}": value for name, value in compared(10_000_000).items()}
    print(json.dumps({name: round(value) if value > 1000 else round(value, 3) for name, value in figures.items()}))


if __name__ == "__main__":
    main()
