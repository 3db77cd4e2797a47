"""Seconds of an optimizer step against the same step on one batch already in place, and against torch's own layers; no test.

    python -m benchmarks.training            lstm gru elman tcn cnn: 128 hidden units, 64 channels
    python -m benchmarks.training --full     also at the sizes of the shipped variants (32, 24, 16), and batches of 64
    python -m benchmarks.training --split    how each family's step fares in 1, 2, 4 ... parts: params/rules/micro_batches.yaml
    python -m benchmarks.training --only lstm,gru --threads 2

100 series x 10,000 steps x 8 features, lookback 168, horizon 24, batches of 256, one thread.  Every way below is a step of its
own forecaster (the same weights at first) in a process of its own, and all ways of a family take turns; a ratio is the median
over the rounds, of CPU time (with more threads: of wall time).

    plain    torch's own layers, the textbook's TCN (every step of every layer), on one batch, in place: gathered, scaled, with
             its masks (forward, backward, clip, AdamW)
    static   the same with our layers (they differ for gru, elman and tcn), in a process that keeps its memory, as a fit's does
    ours     shuffled windows of the panel, our layers, micro-batches off
    micro    the same with the micro-batches of the rule

`limit_ratio` is ours / static: what gathering, scaling and the loop cost.  `micro_ratio` is plain / micro.  Then what a fit
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
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from benchmarks._steps import BATCH, FAMILIES, LOOKBACK, Way, job_of, make_panel
from models.data.windows import Batch
from models.fit.job import run
from models.fit.step import Step
from models.worker import keep_memory
from tasks.train.micro_batches import parts_by_rule

WIDE, SHIPPED = 128, {"lstm": 32, "gru": 32, "elman": 32, "tcn": 48, "cnn": 32}  # channels are half of these
ROUNDS, WARM, AGAIN = 6, 2, 3  # rounds, those before them that do not count, and how often with new processes


def work(folder: str, way: str) -> None:
    """A process that takes one step a line of its input, and answers with its seconds."""
    name, size, batch, threads, parts, kind = way.split(",")
    torch.set_num_threads(int(threads))
    job = job_of(name, Path(folder), int(size))
    if kind != "plain":
        keep_memory()  # as the process of a fit does
    step = Way(job, int(batch), int(parts), static=kind != "ours", plain=kind == "plain")
    clock = time.process_time if threads == "1" else time.perf_counter
    for number, _ in enumerate(sys.stdin):
        began = clock()
        step()
        print(clock() - began if number else 0.0, flush=True)


def alternate(ways: dict[str, str], again: int = AGAIN) -> dict[str, list[float]]:
    """Seconds of every way in every round, each way in a process of its own, as a fit has one.

    What one way leaves in the memory that is reused is no matter of the others; where a process happens to lie in memory makes
    it faster or slower by some percent, hence `again`.
    """
    by_way: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(again):
        for name, seconds in _one_generation(ways).items():
            by_way[name] += seconds
    return by_way


def _one_generation(ways: dict[str, str]) -> dict[str, list[float]]:
    by_way: dict[str, list[float]] = {name: [] for name in ways}
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as ending:
        make_panel(Path(folder))
        command = [sys.executable, "-m", "benchmarks.training", "--work", folder]
        workers = {
            name: ending.enter_context(
                subprocess.Popen([*command, way], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
            )
            for name, way in ways.items()
        }
        for number in range(ROUNDS + WARM):
            for name, worker in workers.items():
                assert worker.stdin is not None and worker.stdout is not None
                worker.stdin.write("go\n")
                seconds = float(worker.stdout.readline())
                if number >= WARM:
                    by_way[name].append(seconds)
        for worker in workers.values():
            assert worker.stdin is not None
            worker.stdin.close()
    return by_way


def ratio(over: list[float], under: list[float]) -> float:
    """The median over the rounds."""
    return statistics.median(a / b for a, b in zip(over, under, strict=True))


def family(name: str, size: int, batch: int, threads: int) -> dict[str, float]:
    """The figures of one family."""
    job = job_of(name, Path(), size)
    parts = parts_by_rule(job.family, job.network, LOOKBACK, batch)
    way = f"{name},{size},{batch},{threads}"
    kinds = {"plain": "1,plain", "static": "1,static", "ours": "1,ours", "micro": f"{parts},ours"}
    by_way = alternate({kind: f"{way},{rest}" for kind, rest in kinds.items()})
    return {
        "plain_ms": 1e3 * statistics.median(by_way["plain"]),
        "limit_ratio": ratio(by_way["ours"], by_way["static"]),
        "own_ratio": ratio(by_way["plain"], by_way["static"]),
        "micro_ratio": ratio(by_way["plain"], by_way["micro"]),
        "parts": parts,
    }


def split(name: str, size: int, batch: int, threads: int) -> dict[str, float]:
    """How a step fares in parts: torch's plain step over ours in each number of parts."""
    way = f"{name},{size},{batch},{threads}"
    ways = {"plain": f"{way},1,plain"} | {str(n): f"{way},{n},ours" for n in (1, 2, 4, 8, 16) if batch // n >= 8}
    by_parts = alternate(ways, 1)
    return {parts: ratio(by_parts["plain"], seconds) for parts, seconds in by_parts.items()}


def overhead() -> dict[str, float]:
    """Seconds of a fit beside its steps, and milliseconds more for each epoch, on the whole panel; the network is a linear one.

    One window in 500 is used, so that an epoch is short (and validates 100); what looks at the rows looks at them all.
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
                job = replace(job_of("elman", Path(folder), 8, 500), family="linear", network={}, evaluation_stride=1000)
                job = job.with_training(max_epochs=epochs, patience_epochs=epochs)
                with tempfile.TemporaryDirectory() as fit:
                    spent[0], began = 0.0, time.perf_counter()
                    run(job, Path(fit), lambda _: None)
                    if number:
                        seconds.append(time.perf_counter() - began - spent[0])
    first = statistics.median(beside[1])
    return {"fit_overhead_s": first, "epoch_overhead_ms": 1e3 * (statistics.median(beside[41]) - first) / 40}


def imports() -> dict[str, bool]:
    """Whether the command line is there before torch is."""
    code = "import sys, flows.__main__; print('torch' in sys.modules)"
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    return {"command_line_imports_torch": output.strip() == "True"}


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
        print("the plain step over ours in so many parts")
        for size, batch in sizes:
            for name in names:
                by_parts = split(name, size[name], batch, threads)
                print(
                    f"{name:6} {size[name]:4} batch {batch:4}  " + "  ".join(f"{k}: {v:.2f}" for k, v in by_parts.items()),
                    flush=True,
                )
        return None
    print(f"{'':6} size batch  plain ms  ours/static  plain/static  parts  plain/micro")
    figures: dict[str, Any] = {}
    for number, (size, batch) in enumerate(sizes):
        for name in names:
            row = family(name, size[name], batch, threads)
            print(
                f"{name:6} {size[name]:4} {batch:5} {row['plain_ms']:9.1f} {row['limit_ratio']:12.3f} {row['own_ratio']:13.2f} "
                f"{row['parts']:6} {row['micro_ratio']:12.2f}",
                flush=True,
            )
            end = "" if not number else f"_{size[name]}_batch_{batch}"
            figures |= {f"limit_ratio_{name}{end}": row["limit_ratio"], f"micro_ratio_{name}{end}": row["micro_ratio"]}
    worst = max(figures[f"limit_ratio_{name}"] for name in names)
    beside = overhead()
    print(f"a fit beside its steps: {beside['fit_overhead_s']:.3f} s, and {beside['epoch_overhead_ms']:.1f} ms an epoch")
    print(json.dumps({"worst_limit_ratio": worst, **figures, **beside, **imports()}))
    return None


if __name__ == "__main__":
    main()
