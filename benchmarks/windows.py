"""Batches of windows from a panel on disk, against memcpy of the same bytes and a plain gather; never a test.

    python -m benchmarks.windows            100 series x 10,000 steps x 8 features, lookback 168
    python -m benchmarks.windows --full     also 1,000 x 10,000, and lookbacks 24, 168 and 720

Horizon 24, batches of 256 (x, y), shuffled, one thread.  memcpy copies as many bytes from places of the same map into one
buffer; the plain gather is `as_strided` with `index_select`, a fresh batch each time, and knows of no series.  `lookbacks`:
each feature has a lookback of its own; `ragged`: and half of them a rate or delay too.  All ways alternate in short slices
within one process; a ratio is the median over the rounds, by wall time and, which neighbours disturb less, by CPU time.
Memory is measured in a process of its own: the peak of an epoch above the resident memory once the panel is mapped and touched
(windows, their origins and their order all count).  Linux only.  Last line: JSON.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from models.data.origins import origin_rows
from models.data.panel import ARRAYS, Panel
from models.data.window import FeatureWindow, WindowParams
from models.data.windows import Windows

STEPS, FEATURES, HORIZON, BATCH, LOOKBACKS = 10_000, 8, 24, 256, (24, 168, 720)
NAMES = ("y", *(f"x{i}" for i in range(1, FEATURES)))
WAYS = ("memcpy", "plain", "ours", "lookbacks", "ragged")
SLICE, ROUNDS = 0.02, 60  # seconds of a slice; rounds of all ways
STATUS, RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def same(lookback: int) -> WindowParams:
    """One window for all features."""
    return WindowParams(HORIZON, dict.fromkeys(NAMES, FeatureWindow(lookback)))


def lookbacks(lookback: int) -> WindowParams:
    """A lookback of its own for each feature."""
    return WindowParams(HORIZON, {name: FeatureWindow(lookback * (8 - i) // 8) for i, name in enumerate(NAMES)})


def ragged(lookback: int) -> WindowParams:
    """A window of its own for each feature: half of them differ in their lookback alone, half also in rate or delay."""
    seventh = lookback // 7
    windows = [
        FeatureWindow(lookback),
        FeatureWindow(5 * seventh),
        FeatureWindow(4 * seventh, 1, 3),
        FeatureWindow(3 * seventh),
        FeatureWindow(2 * seventh),
        FeatureWindow(seventh, 7),
        FeatureWindow(lookback // 3, 3),
        FeatureWindow(seventh, 1, seventh),
    ]
    return WindowParams(HORIZON, dict(zip(NAMES, windows, strict=True)))


def make(series: int, folder: Path) -> Path:
    """A panel of random numbers, written as `compare` writes it."""
    import polars as pl

    from tasks.grid.frequency import Frequency
    from tasks.lags.panel import write_panel

    rng = np.random.default_rng(0)
    keys = {"unique_id": np.repeat(np.arange(series), STEPS), "ds": np.tile(np.arange(STEPS), series)}
    values = {name: rng.standard_normal(series * STEPS, dtype=np.float32) for name in NAMES}
    name = pl.format("s{}", pl.col("unique_id").cast(pl.String).str.zfill(5)).alias("unique_id")
    return write_panel(pl.DataFrame(keys | values).lazy().with_columns(name), same(1), Frequency(1), 0, folder)


def windows_of(panel: Panel, params: WindowParams) -> Windows:
    """All windows."""
    return Windows(panel, params, origin_rows(panel, params, None, "", 1))


def ours(panel: Panel, params: WindowParams) -> Iterator[int]:
    """Epoch after epoch; yields the windows of each batch."""
    windows, seed = windows_of(panel, params), 0
    while True:
        for (past, *_), y in windows.batches(BATCH, windows.shuffled(seed)):
            assert past.shape[1] == params.lookback
            yield len(y)
        seed += 1


def plain(panel: Panel, lookback: int) -> Iterator[int]:
    """The plain gather, epoch after epoch."""
    values, target = tensor(panel.values), tensor(panel.target)
    starts = torch.from_numpy(origin_rows(panel, same(lookback), None, "", 1)) - (lookback - 1)
    count, width = len(values) - lookback - HORIZON + 1, values.shape[1]
    x = values.as_strided((count, lookback * width), (width, 1))
    y = target.as_strided((count, HORIZON), (1, 1), lookback)
    while True:
        for at in starts[torch.randperm(len(starts))].split(BATCH):
            batch = x.index_select(0, at).view(-1, lookback, width), y.index_select(0, at)
            yield len(batch[1])


def memcpy(panel: Panel, lookback: int) -> Iterator[int]:
    """As many bytes as a batch has, from random places of the map into one buffer."""
    values = tensor(panel.values).view(-1)
    size = BATCH * (lookback * FEATURES + 2 * HORIZON)  # targets have 64 bits
    buffer, places = torch.empty(size), np.random.default_rng(1).integers(0, len(values) - size, 4096).tolist()
    while True:
        for place in places:
            buffer.copy_(values[place : place + size])
            yield BATCH


def tensor(array: np.ndarray) -> torch.Tensor:
    """Of a read-only map."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.from_numpy(array)


def cost(way: Iterator[int]) -> tuple[float, float]:
    """Microseconds a full batch, by wall and CPU time, over one slice."""
    done, wall, cpu = 0, time.perf_counter(), time.process_time()
    while time.perf_counter() - wall < SLICE:
        done += next(way)
    return tuple(1e6 * BATCH / done * spent for spent in (time.perf_counter() - wall, time.process_time() - cpu))  # type: ignore


def speed(folder: Path, lookback: int) -> dict[str, Any]:
    """The figures of one lookback."""
    torch.set_num_threads(1)
    panel = Panel.open(folder)
    ways = {
        "memcpy": memcpy(panel, lookback),
        "plain": plain(panel, lookback),
        "ours": ours(panel, same(lookback)),
        "lookbacks": ours(panel, lookbacks(lookback)),
        "ragged": ours(panel, ragged(lookback)),
    }
    for way in ways.values():
        next(way)
    costs = {name: [] for name in ways}
    for _ in range(ROUNDS):
        for name, way in ways.items():
            costs[name].append(cost(way))
    figures: dict[str, Any] = {}
    for kind, place in (("", 0), ("_cpu", 1)):
        per = {name: [pair[place] for pair in pairs] for name, pairs in costs.items()}
        figures[f"microseconds{kind}"] = {name: round(statistics.median(spent), 1) for name, spent in per.items()}
        for name, limit, of in (
            ("memcpy_ratio", "memcpy", "ours"),
            ("gather_ratio", "plain", "ours"),
            ("plain_memcpy_ratio", "memcpy", "plain"),
            ("lookbacks_memcpy_ratio", "memcpy", "lookbacks"),
            ("ragged_memcpy_ratio", "memcpy", "ragged"),
        ):
            figures[name + kind] = round(statistics.median(a / b for a, b in zip(per[limit], per[of], strict=True)), 3)
    return figures


def resident(name: str) -> int:
    """Bytes of this process: VmRSS now, VmHWM the peak since the last reset."""
    return next(int(line.split()[1]) * 1024 for line in STATUS.read_text().splitlines() if line.startswith(name))


def memory(folder: Path, lookback: int, params_of: Callable[[int], WindowParams] = same) -> dict[str, Any]:
    """The extra memory of one epoch, a share of the panel's bytes."""
    if not RESET.exists():
        return {}
    torch.set_num_threads(1)
    panel = Panel.open(folder)
    warm_up(lookback)
    size = sum((folder / f"{array}.npy").stat().st_size for array in ARRAYS)
    for array in (panel.values, panel.target, panel.times):
        array.sum()
    before = resident("VmRSS")
    RESET.write_text("5")
    windows = windows_of(panel, params_of(lookback))
    for batch in windows.batches(BATCH, windows.shuffled(0)):
        assert len(batch.y_BH)
    return {("ragged_" if params_of is ragged else "") + "extra_memory_ratio": round((resident("VmHWM") - before) / size, 3)}


def warm_up(lookback: int) -> None:
    """A few batches of a small panel, so that loading the library's code is not taken for data."""
    rows = 20 * (lookback + HORIZON)
    values, target = np.zeros((rows, FEATURES), np.float32), np.zeros(rows, np.float32)
    times, offsets = np.arange(rows), np.array([0, rows])
    for params in (same(lookback), ragged(lookback)):
        windows = windows_of(Panel(target, values, offsets, times, ("a",), NAMES, ""), params)
        for _ in windows.batches(8, windows.shuffled(0)):
            pass


def in_a_process(task: str, folder: Path, lookback: int) -> dict[str, Any]:
    """What a process of its own found."""
    command = [sys.executable, "-m", "benchmarks.windows", "--task", task, str(folder), str(lookback)]
    output: dict[str, Any] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
    return output


def measure(series: int, lookbacks: tuple[int, ...]) -> dict[int, dict[str, Any]]:
    """All figures by lookback; the memory of all lookbacks, the speed of those asked for."""
    by_lookback = {}
    with tempfile.TemporaryDirectory() as place:
        folder = make(series, Path(place))
        print(f"\n{series:,} series x {STEPS:,} steps x {FEATURES} features, horizon {HORIZON}, batches of {BATCH}, one thread")
        print("by wall and CPU time; memory: the epoch's peak over the panel, one window for all / ragged")
        of_memcpy = f"of memcpy: {'  '.join(WAYS[1:])}"
        print(f"{'lookback':>10} | microseconds a batch: {'  '.join(WAYS)} | {of_memcpy} | of plain: ours | memory")
        for lookback in LOOKBACKS:
            got = in_a_process("memory", folder, lookback) | in_a_process("ragged_memory", folder, lookback)
            got |= in_a_process("speed", folder, lookback) if lookback in lookbacks else {}
            print(line(lookback, got))
            by_lookback[lookback] = got
    return by_lookback


def line(lookback: int, got: dict[str, Any]) -> str:
    """One row of the table for people, and one by CPU time."""
    memory = [str(got.get(name, "not measured")) for name in ("extra_memory_ratio", "ragged_extra_memory_ratio")]
    if "microseconds" not in got:
        return f"{lookback:>10} | memory {' / '.join(memory)}"
    rows = []
    for kind, label in (("", str(lookback)), ("_cpu", "by CPU")):
        spent, ratios = got[f"microseconds{kind}"], ("plain", "ours", "lookbacks", "ragged")
        of_memcpy = [got[f"{name}_memcpy_ratio{kind}".removeprefix("ours_")] for name in ratios]
        cells = [f"{spent[name]:{len(name)}.0f}" for name in WAYS], [f"{ratio:.3f}" for ratio in of_memcpy]
        rows.append(
            f"{label:>10} | {' ' * 21} {'  '.join(cells[0])} | {'  '.join(cells[1])} | {got[f'gather_ratio{kind}']:.3f}"
        )
    return "\n".join([f"{rows[0]} | {' / '.join(memory)}", *rows[1:]])


def main() -> None:
    """Prints a table, then JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="also 1,000 series, and lookbacks 24, 168 and 720")
    parser.add_argument("--task", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.task:
        tasks: dict[str, Callable[[Path, int], dict[str, Any]]]
        tasks = {"speed": speed, "memory": memory, "ragged_memory": partial(memory, params_of=ragged)}
        print(json.dumps(tasks[given.task[0]](Path(given.task[1]), int(given.task[2]))))
        return
    by_series = {
        series: measure(series, LOOKBACKS if given.full else (168,)) for series in ((100, 1000) if given.full else (100,))
    }
    figures = {name: value for name, value in by_series[100][168].items() if not name.startswith("microseconds")}
    for name in ("extra_memory_ratio", "ragged_extra_memory_ratio"):
        figures[f"{name}_by_lookback"] = {lookback: got.get(name) for lookback, got in by_series[100].items()}
    print(json.dumps(figures | ({"all": by_series} if given.full else {})))


if __name__ == "__main__":
    main()
