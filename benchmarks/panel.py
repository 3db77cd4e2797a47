"""From a Parquet file to a panel, against what polars needs to read and sort the same file; never a test.

    python -m benchmarks.panel            2 million rows x 8 features
    python -m benchmarks.panel --full     10 million

Both ways alternate, each time in a process of its own.  Memory is what the process holds for itself (RssAnon on Linux: its heap
and not the mapped files) above what it had before.  Last line: JSON.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import polars as pl

SERIES, FEATURES = 1000, 8


def make(path: Path, rows: int) -> None:
    """An hourly table, sorted by series and time, without a gap."""
    steps, rng = rows // SERIES, np.random.default_rng(0)
    hours = np.datetime64("2020-01-01", "us") + np.arange(steps) * np.timedelta64(1, "h")
    keys = {"unique_id": np.repeat([f"s{i:04d}" for i in range(SERIES)], steps), "ds": np.tile(hours, SERIES)}
    values = {name: rng.standard_normal(rows) for name in names()}
    pl.DataFrame(keys | values).with_columns(pl.col("ds").dt.replace_time_zone("UTC")).write_parquet(path)


def names() -> list[str]:
    """The target and the other features."""
    return ["y", *(f"x{i}" for i in range(1, FEATURES))]


def to_panel(table: Path, folder: Path) -> None:
    """What `compare` does."""
    from models.data.window import FeatureWindow, WindowParams
    from tasks.grid.frequency import Frequency
    from tasks.lags.panel import write_panel

    params = WindowParams(24, {name: FeatureWindow(168) for name in names()})
    write_panel(pl.scan_parquet(table), params, Frequency("1h"), 6, folder)


def to_sorted(table: Path, folder: Path) -> None:
    """The limit that is asked for: read and sort."""
    pl.scan_parquet(table).sort("unique_id", "ds").collect()


def heap() -> int:
    """Bytes of this process's own, or 0 where the system does not say."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon")), 0)


def child(way: str, table: Path) -> None:
    """One way, once; prints its seconds and the most memory that it took."""
    import models.data.origins  # noqa: F401 - imports are not the contest
    import tasks.lags.panel  # noqa: F401

    pl.scan_parquet(table).head(1).collect()
    before, most, done = heap(), [0], threading.Event()

    def watch() -> None:
        while not done.wait(0.01):
            most[0] = max(most[0], heap() - before)

    watcher = threading.Thread(target=watch)
    watcher.start()
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        {"panel": to_panel, "sort": to_sorted}[way](table, Path(folder))
        seconds = time.perf_counter() - started
    done.set()
    watcher.join()
    print(json.dumps({"seconds": seconds, "heap": most[0]}))


def main() -> None:
    """Runs both ways in turn and prints a table, then JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="10 million rows")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--way", choices=("panel", "sort"), help=argparse.SUPPRESS)
    parser.add_argument("--table", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.way:
        return child(given.way, given.table)
    rows = 10_000_000 if given.full else 2_000_000
    by_way: dict[str, list[dict[str, float]]] = {"panel": [], "sort": []}
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "table.parquet"
        make(table, rows)
        for _ in range(given.rounds):
            for way in by_way:
                command = [sys.executable, "-m", "benchmarks.panel", "--way", way, "--table", str(table)]
                by_way[way].append(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
    seconds = {way: statistics.median(run["seconds"] for run in runs) for way, runs in by_way.items()}
    heaps = {way: statistics.median(run["heap"] for run in runs) for way, runs in by_way.items()}
    ratios = [a["seconds"] / b["seconds"] for a, b in zip(by_way["sort"], by_way["panel"], strict=True)]
    written = rows * (4 * FEATURES + 8 + 8)
    print(f"{rows:,} rows x {FEATURES} features, {SERIES:,} series, {os.cpu_count()} cores, {given.rounds} rounds (medians)")
    for way, label in (("panel", "Parquet -> panel"), ("sort", "polars: read and sort")):
        print(f"{label:22s} {seconds[way]:7.2f} s {rows / seconds[way]:13,.0f} rows/s   heap {heaps[way] / 1e6:7.0f} MB")
    figures = {
        "rows": rows,
        "panel_sort_ratio": round(statistics.median(ratios), 3),
        "panel_heap_ratio": round(heaps["panel"] / written, 3),
        "sort_heap_ratio": round(heaps["sort"] / written, 3),
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
