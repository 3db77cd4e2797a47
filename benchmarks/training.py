"""Seconds of an optimizer step against the same step on one batch already in place, and against torch's own layers; no test.

    python -m benchmarks.training            lstm gru elman tcn cnn: 128 hidden units, 64 channels
    python -m benchmarks.training --full     also at the sizes of the shipped variants (32, 24, 16), and batches of 64
    python -m benchmarks.training --split    how each family's step fares in 1, 2, 4 ... parts: params/rules/micro_batches.yaml
    python -m benchmarks.training --only lstm,gru --threads 2

100 series x 10,000 steps x 8 features, lookback 168, horizon 24, batches of 256, one thread.  Every way below is a step of its
own forecaster (the same weights at first) in a process of its own, and all ways of a family take turns; a ratio is the median
over the rounds, of CPU time (with more threads: of wall time).

    torch    torch's own layers on one batch, in place: gathered, scaled, with its masks (forward, backward, clip, AdamW)
    static   the same with our layers (they differ for gru and elman)
    ours     shuffled windows of the panel, our layers, micro-batches off
    micro    the same with the micro-batches of the rule

`limit_ratio` is ours / static: what gathering, scaling and the loop cost.  `micro_ratio` is torch / micro.  Then what a fit
costs beside its steps (panel, windows, scaling, validation, checkpoints) on the 1 M rows.  Last line: JSON.
"""

import argparse
import contextlib
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from models import job as jobs
from models.panel import ARRAYS
from models.recurrence import Elman, Gru
from models.step import Step
from models.training import Training
from models.windows import Batch, FeatureWindow, WindowParams
from params.load import parts_by_rule

SERIES, STEPS, LOOKBACK, HORIZON, BATCH = 100, 10_000, 168, 24, 256
NAMES = ("y", *(f"x{i}" for i in range(1, 8)))
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "lstm": ("recurrent", {"cell": "lstm"}),
    "gru": ("recurrent", {"cell": "gru"}),
    "elman": ("recurrent", {"cell": "elman"}),
    "tcn": ("tcn", {"kernel_size": 3}),
    "cnn": ("convolutional", {"kernel_size": 5, "num_layers": 3, "stride": 2}),
}
WIDE, SHIPPED = 128, {"lstm": 32, "gru": 32, "elman": 32, "tcn": 48, "cnn": 32}  # channels are half of these
ROUNDS, WARM = 12, 3  # and the first ones, which do not count
TRAINING = Training(10, 10, BATCH, 1e-3, 1e-4, 1.0, "mae", "benchmark", 0)


def make_panel(folder: Path) -> None:
    """Random walks on a panel's disk format."""
    rng = np.random.default_rng(0)
    values = rng.standard_normal((SERIES * STEPS, len(NAMES)), dtype=np.float32)
    arrays = {
        "values": values,
        "target": values[:, 0].copy(),
        "offsets": np.arange(0, SERIES * STEPS + 1, STEPS),
        "times": np.tile(np.arange(STEPS, dtype=np.int64), SERIES),
    }
    for name in ARRAYS:
        np.save(folder / f"{name}.npy", arrays.get(name, np.empty((SERIES, 0), np.float32)))
    facts = {"ids": [f"s{i:03}" for i in range(SERIES)], "channels": NAMES, "digest": "benchmark"}
    (folder / "panel.json").write_text(json.dumps(facts))


def job_of(name: str, panel: Path, size: int, stride: int = 1) -> dict[str, Any]:
    """The job of a family at a hidden size (channels: half of it)."""
    family, network = FAMILIES[name]
    own = {"hidden_size": size} if family == "recurrent" else {"channels": size // 2}
    windows = WindowParams(HORIZON, dict.fromkeys(NAMES, FeatureWindow(LOOKBACK)), stride=stride)
    return {
        "family": family,
        "network": network | own,
        "windows": windows.to_dict(),
        "split": {"by": "time", "validation": 8_000, "test": 9_000},
        "scaling": {"per": "series", "method": "standard", "window": "last", "target": "none"},
        "quantiles": [0.05, 0.5, 0.95],
        "evaluation_stride": stride,
        "panel": str(panel),
        "training": vars(TRAINING),
        "threads": torch.get_num_threads(),
        "device": "cpu",
    }


def torchs_own(network: nn.Module) -> nn.Module:
    """The same network, its recurrences as torch has them."""
    for ours, theirs in ((Elman, nn.RNN), (Gru, nn.GRU)):
        for module in network.modules():
            if type(module) is ours:
                module.__class__ = theirs
    return network


class Way:
    """A step that can be taken again and again."""

    def __init__(self, job: dict[str, Any], batch: int, parts: int = 1, static: bool = False, plain: bool = False) -> None:
        forecaster, windows, training = jobs.prepare(job)
        if plain:
            torchs_own(forecaster.network)
        training = replace(training, batch_size=batch, micro_batches=parts)
        self.step = Step(forecaster.train(), training, torch.device("cpu"))
        train = windows["train"].dense() if forecaster.dense else windows["train"]
        self.batches: Iterator[Batch] = iter(train.batches(batch, train.shuffled(0)))
        if static:
            one = next(self.batches)
            seen, targets = forecaster.inputs(*one.inputs), forecaster.scale_targets(one.y_BH, one.inputs.series_B)
            forecaster.inputs = lambda *_: seen  # type: ignore[method-assign]
            forecaster.scale_targets = lambda *_: targets  # type: ignore[method-assign]
            self.batches = iter(lambda: one, None)

    def __call__(self) -> None:
        self.step(next(self.batches), 1e-3)


def work(folder: str, way: str) -> None:
    """A process that takes one step a line of its input, and answers with its seconds."""
    name, size, batch, threads, parts, kind = way.split(",")
    torch.set_num_threads(int(threads))
    job = job_of(name, Path(folder), int(size))
    step = Way(job, int(batch), int(parts), static=kind != "ours", plain=kind == "torch")
    clock = time.process_time if threads == "1" else time.perf_counter
    for number, _ in enumerate(sys.stdin):
        began = clock()
        step()
        print(clock() - began if number else 0.0, flush=True)


def alternate(ways: dict[str, str], rounds: int) -> dict[str, list[float]]:
    """Seconds of every way in every round.  Each has a process of its own, as a fit has: what one way leaves in the memory
    that is reused is no matter of the others."""
    found: dict[str, list[float]] = {name: [] for name in ways}
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as ending:
        make_panel(Path(folder))
        command = [sys.executable, "-m", "benchmarks.training", "--work", folder]
        workers = {
            name: ending.enter_context(
                subprocess.Popen([*command, way], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
            )
            for name, way in ways.items()
        }
        for number in range(rounds + WARM):
            for name, worker in workers.items():
                assert worker.stdin is not None and worker.stdout is not None
                worker.stdin.write("go\n")
                seconds = float(worker.stdout.readline())
                if number >= WARM:
                    found[name].append(seconds)
        for worker in workers.values():
            assert worker.stdin is not None
            worker.stdin.close()
    return found


def ratio(over: list[float], under: list[float]) -> float:
    """The median over the rounds."""
    return statistics.median(a / b for a, b in zip(over, under, strict=True))


def family(name: str, size: int, batch: int, threads: int) -> dict[str, float]:
    """The figures of one family."""
    job = job_of(name, Path(), size)
    parts = parts_by_rule(job["family"], job["network"], LOOKBACK, batch)
    way = f"{name},{size},{batch},{threads}"
    kinds = {"torch": "1,torch", "static": "1,static", "ours": "1,ours", "micro": f"{parts},ours"}
    found = alternate({kind: f"{way},{rest}" for kind, rest in kinds.items()}, ROUNDS)
    return {
        "torch_ms": 1e3 * statistics.median(found["torch"]),
        "limit_ratio": ratio(found["ours"], found["static"]),
        "own_ratio": ratio(found["torch"], found["static"]),
        "micro_ratio": ratio(found["torch"], found["micro"]),
        "parts": parts,
    }


def split(name: str, size: int, batch: int, threads: int) -> dict[str, float]:
    """How a step fares in parts: torch's plain step over ours in each number of parts."""
    way = f"{name},{size},{batch},{threads}"
    ways = {"torch": f"{way},1,torch"} | {str(n): f"{way},{n},ours" for n in (1, 2, 4, 8, 16) if batch // n >= 8}
    found = alternate(ways, ROUNDS // 2)
    return {parts: ratio(found["torch"], seconds) for parts, seconds in found.items()}


def overhead() -> dict[str, float]:
    """Seconds of a fit beside its steps, and milliseconds more for each epoch, on the whole panel; the network is a small one.

    One window in 500 is used, so that an epoch is short; what looks at the rows looks at them all.
    """
    torch.set_num_threads(1)
    spent, plain = [0.0], Step.__call__

    def timed(self: Step, batch: Batch, rate: float) -> torch.Tensor:
        began = time.perf_counter()
        loss = plain(self, batch, rate)
        spent[0] += time.perf_counter() - began
        return loss

    Step.__call__ = timed  # type: ignore[method-assign]
    beside: dict[int, list[float]] = {1: [], 41: []}
    with tempfile.TemporaryDirectory() as folder:
        make_panel(Path(folder))
        for number in range(6):
            for epochs, seconds in beside.items():
                job = job_of("elman", Path(folder), 8, 500)
                job["training"] |= {"max_epochs": epochs, "patience_epochs": epochs}
                with tempfile.TemporaryDirectory() as fit:
                    spent[0], began = 0.0, time.perf_counter()
                    jobs.run(job, Path(fit), lambda _: None)
                    if number:
                        seconds.append(time.perf_counter() - began - spent[0])
    first = statistics.median(beside[1])
    return {"fit_overhead_s": first, "epoch_overhead_ms": 1e3 * (statistics.median(beside[41]) - first) / 40}


def imports() -> dict[str, bool]:
    """Whether the command line is there before torch is."""
    code = "import sys, flows.__main__; print('torch' in sys.modules)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    return {"command_line_imports_torch": said.strip() == "True"}


def main() -> None:
    """Runs every piece in turn and prints their table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--split", action="store_true")
    parser.add_argument("--only", default=",".join(FAMILIES))
    parser.add_argument("--threads", default="1")
    parser.add_argument("--work", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.work:
        return work(*given.work)
    threads = int(given.threads)
    names = [name for name in FAMILIES if name in given.only.split(",")]
    sizes = [(dict.fromkeys(FAMILIES, WIDE), BATCH)]
    if given.full or given.split:
        sizes += [(SHIPPED, BATCH), (dict.fromkeys(FAMILIES, WIDE), 64), (SHIPPED, 64)]
    if given.split:
        print("torch's plain step over ours in so many parts")
        for size, batch in sizes:
            for name in names:
                found = split(name, size[name], batch, threads)
                print(
                    f"{name:6} {size[name]:4} batch {batch:4}  " + "  ".join(f"{k}: {v:.2f}" for k, v in found.items()),
                    flush=True,
                )
        return None
    print(f"{'':6} size batch  torch ms  ours/static  torch/static  parts  torch/micro")
    figures: dict[str, Any] = {}
    for number, (size, batch) in enumerate(sizes):
        for name in names:
            one = family(name, size[name], batch, threads)
            print(
                f"{name:6} {size[name]:4} {batch:5} {one['torch_ms']:9.1f} {one['limit_ratio']:12.3f} {one['own_ratio']:13.2f} "
                f"{one['parts']:6} {one['micro_ratio']:12.2f}",
                flush=True,
            )
            end = "" if not number else f"_{size[name]}_batch_{batch}"
            figures |= {f"limit_ratio_{name}{end}": one["limit_ratio"], f"micro_ratio_{name}{end}": one["micro_ratio"]}
    worst = max(figures[f"limit_ratio_{name}"] for name in names)
    beside = overhead()
    print(f"a fit beside its steps: {beside['fit_overhead_s']:.3f} s, and {beside['epoch_overhead_ms']:.1f} ms an epoch")
    print(json.dumps({"worst_limit_ratio": worst, **figures, **beside, **imports()}))
    return None


if __name__ == "__main__":
    main()
