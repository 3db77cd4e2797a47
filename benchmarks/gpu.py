"""Windows a second of the training step on a device: static batch, ours, a per-item DataLoader; never a test.

    python -m benchmarks.gpu                       on a GPU where there is one (lookback 168, hidden 128, batches of 256)
    python -m benchmarks.gpu --device cpu          the same code on a CPU, at small sizes
    python -m benchmarks.gpu --precision bfloat16  products in bfloat16, where the probe allows it

Needs torch, numpy and models/ alone.  For each family, in alternation within one process:

    static    one batch in place on the device, gathered, scaled, with its masks (forward, backward, clip, AdamW)
    ours      the panel on the device, windows gathered and scaled there, no synchronisation between steps
    loader    the usual user code: a Dataset that slices one window, a DataLoader that collates them, a copy to the device

The clock stops after a synchronisation at the end of each slice of steps.  Last line: JSON, with `static_ratio` (ours over
static, 1 is the limit) and `loader_ratio` (ours over loader) of each family.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from benchmarks._steps import BATCH, FAMILIES, HORIZON, LOOKBACK, Way, job_of, make_panel
from models.data.panel import Panel
from models.data.windows import Batch, Inputs
from models.fit.precision import no_bfloat16

ROUNDS = 5
SMALL = {"lookback": 48, "hidden": 32, "batch": 64, "series": 20, "steps": 2_000, "slice": 10}
LARGE = {"lookback": LOOKBACK, "hidden": 128, "batch": BATCH, "series": 100, "steps": 10_000, "slice": 100}


class OneWindow(Dataset[tuple[Tensor, Tensor]]):
    """A window a call, as user code has it."""

    def __init__(self, panel: Panel, lookback: int) -> None:
        self.values, self.target, self.lookback = torch.tensor(panel.values), torch.tensor(panel.target), lookback

    def __len__(self) -> int:
        return len(self.target) - self.lookback - HORIZON

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        end = index + self.lookback
        return self.values[index:end], self.target[end : end + HORIZON]


def items(panel: Panel, lookback: int, batch: int, device: str) -> Iterator[Batch]:
    """Batches of the per-item loader, copied to the device, for ever."""
    loader = DataLoader(OneWindow(panel, lookback), batch, shuffle=True, drop_last=True, pin_memory=device.startswith("cuda"))
    series = torch.zeros(batch, dtype=torch.int64, device=device)
    empty = torch.empty(batch, HORIZON, 0, device=device), torch.empty(batch, 0, device=device)
    while True:
        for x, y in loader:
            past = x.to(device, non_blocking=True)
            yield Batch(Inputs(past, *empty, series), y.to(device, non_blocking=True))


def per_second(way: Callable[[], None], steps: int, batch: int, device: str) -> float:
    """Windows a second over a slice of steps."""
    wait = torch.cuda.synchronize if device.startswith("cuda") else torch.mps.synchronize if device == "mps" else lambda: None
    wait()
    began = time.perf_counter()
    for _ in range(steps):
        way()
    wait()
    return steps * batch / (time.perf_counter() - began)


def family(name: str, panel: Path, sizes: dict[str, int], device: str, precision: str) -> dict[str, Any]:
    """The figures of one family."""
    job = job_of(name, panel, sizes["hidden"], lookback=sizes["lookback"], device=device, steps=sizes["steps"])
    ways = {
        "static": Way(job, sizes["batch"], static=True),
        "ours": Way(job, sizes["batch"]),
        "loader": Way(job, sizes["batch"]),
    }
    why = ""
    if precision == "bfloat16":
        why = no_bfloat16(ways["ours"].step.forecaster, next(ways["ours"].batches), "mae")
        for way in ways.values():
            way.step.half = not why
            way.step.forecaster.train()
    ways["loader"].batches = items(Panel.open(panel), sizes["lookback"], sizes["batch"], device)
    by_way: dict[str, list[float]] = {way: [] for way in ways}
    for number in range(ROUNDS + 1):
        for way, step in ways.items():
            speed = per_second(step, sizes["slice"] if number else 3, sizes["batch"], device)
            if number:
                by_way[way].append(speed)
    middle = {way: statistics.median(speeds) for way, speeds in by_way.items()}
    ratios = {
        f"{way}_ratio": statistics.median(a / b for a, b in zip(by_way["ours"], by_way[way], strict=True))
        for way in ("static", "loader")
    }
    return middle | ratios | {"precision": "float32" if precision == "float32" or why else "bfloat16", "why": why}


def main() -> None:
    """Every family in turn, and the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--only", default=",".join(FAMILIES))
    given = parser.parse_args()
    torch.set_num_threads(1)
    sizes = LARGE if given.device.startswith("cuda") else SMALL
    figures: dict[str, Any] = {"device": given.device}
    print(f"windows a second on {given.device}: " + ", ".join(f"{name} {value}" for name, value in sizes.items()))
    print(f"{'':6} {'static':>10} {'ours':>10} {'loader':>10}  ours/static  ours/loader")
    with tempfile.TemporaryDirectory() as folder:
        make_panel(Path(folder), sizes["series"], sizes["steps"])
        for name in (name for name in FAMILIES if name in given.only.split(",")):
            row = family(name, Path(folder), sizes, given.device, given.precision)
            speeds = " ".join(f"{row[way]:10,.0f}" for way in ("static", "ours", "loader"))
            note = f"  float32: {row['why']}" if row["why"] else ""
            print(f"{name:6} {speeds} {row['static_ratio']:12.2f} {row['loader_ratio']:12.2f}{note}", flush=True)
            figures |= {f"{key}_{name}": row[key] for key in ("static_ratio", "loader_ratio")}
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
