"""Scoring the forecasts of many series and variants against making them, what quantiles add to both, and the memory it takes;
never a test.

    python -m benchmarks.evaluation             10,000 series x 24 steps x 13 variants, two origins in validation and in test
    python -m benchmarks.evaluation --full      five origins in each

*Forecasting*: one LSTM of 128 hidden units (lookback 168, 8 features, one thread), from the panel to its forecast files, timed
once and counted for every variant.  *Evaluating*: `compare`, from those files to the forecast frame, calibrations, all scores,
slices and tests; the fitted baselines are left out.  Both with the 13 quantiles that a run has, and with the point alone
(`training.quantiles: []`, no interval is scored), each in a process of its own.  The files of the other variants are the first
one's with noise.

Last line: JSON with `evaluation_ratio` = evaluating over forecasting, and `memory_ratio` = peak memory of evaluating twice as
many variants over that of evaluating these, less what imports take, both with quantiles; `quantiles_time_ratio` and
`quantiles_memory_ratio` = what quantiles cost over what the point alone costs, forecasting and evaluating together, in seconds
of CPU and in peak memory without that of imports.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import torch

from benchmarks._steps import HORIZON, LOOKBACK, NAMES, job_of, make_panel
from models.data.origins import origin_rows
from models.data.panel import Data, Panel, Split
from models.data.window import FeatureWindow, WindowParams
from models.data.windows import Windows
from models.fit.job import prepare
from models.fit.settings import Result, Status
from models.worker import EVALUATED, forecast_all
from params.schema import QUANTILES
from tasks.evaluate.forecasts import forecast_frame, own_column
from tasks.files import write_parquet

SERIES, VARIANTS, SIZE = 10_000, 13, 128
WINDOWS = WindowParams(HORIZON, dict.fromkeys(NAMES, FeatureWindow(LOOKBACK)))


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--series", type=int, default=SERIES)
    parser.add_argument("--variants", type=int, default=VARIANTS)
    parser.add_argument("--full", action="store_true", help="five origins in validation and in test instead of two")
    parser.add_argument("--child", nargs=2, metavar=("STEP", "FOLDER"), help=argparse.SUPPRESS)
    parser.add_argument("--point", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    rows = HORIZON * (5 if given.full else 2)
    if given.child:
        CHILDREN[given.child[0]](Path(given.child[1]), given.variants, rows, () if given.point else QUANTILES)
        return
    costs = {}
    for kind in ("point", "quantiles"):
        with tempfile.TemporaryDirectory() as name:
            folder, more = Path(name), ["--point"] if kind == "point" else []
            make_panel(folder, given.series, LOOKBACK + HORIZON + 2 * rows + 40)
            panel_facts = json.loads((folder / "panel.json").read_text())
            panel_facts |= {"frequency": 1, "ids": [f"s{i:05}" for i in range(given.series)], "forward_fill": 0}
            (folder / "panel.json").write_text(json.dumps(panel_facts))
            nothing = child(folder, given, "evaluate", 0, more)
            made = child(folder, given, "forecast", 2 * given.variants, more)
            counts = (given.variants, 2 * given.variants) if kind == "quantiles" else (given.variants,)
            costs[kind] = (made, nothing, *(child(folder, given, "evaluate", count, more) for count in counts))
    show(given, costs, given.series * (rows // HORIZON) * 2)


def show(given: argparse.Namespace, costs: dict[str, tuple[dict[str, float], ...]], forecasts: int) -> None:
    """A table for people, and the ratios as JSON."""
    print(f"{given.series:,} series, {forecasts:,} forecasts of {HORIZON} steps a variant, {given.variants} variants")
    cost: dict[str, dict[str, float]] = {}
    for kind, (made, nothing, evaluated, *_) in costs.items():
        cost[kind] = {
            "forecasting": given.variants * made["seconds"],
            "evaluating": evaluated["seconds"],
            "cpu": given.variants * made["cpu"] + evaluated["cpu"],
            "peak": max(made["peak_mb"], evaluated["peak_mb"]) - nothing["peak_mb"],
        }
        print(
            f"{kind:10} forecasting {cost[kind]['forecasting']:8.1f} s, evaluating {evaluated['seconds']:8.1f} s, CPU "
            f"{cost[kind]['cpu']:8.1f} s, {evaluated['cpu']:.1f} s of it evaluating; at most {evaluated['peak_mb']:,.0f} MB "
            f"(forecasting {made['peak_mb']:,.0f}, imports {nothing['peak_mb']:,.0f})"
        )
    (point, whole), (_, nothing, evaluated, twice) = (cost["point"], cost["quantiles"]), costs["quantiles"]
    ratios = {
        "evaluation_ratio": whole["evaluating"] / whole["forecasting"],
        "memory_ratio": (twice["peak_mb"] - nothing["peak_mb"]) / (evaluated["peak_mb"] - nothing["peak_mb"]),
        "quantiles_time_ratio": whole["cpu"] / point["cpu"],
        "quantiles_memory_ratio": whole["peak"] / point["peak"],
    }
    print(json.dumps(ratios | {"peak_mb": evaluated["peak_mb"], "forecasts": forecasts, "variants": given.variants}))


def forecast_once(folder: Path, variants: int, rows: int, quantiles: tuple[float, ...]) -> None:
    """Forecasts of one variant in files, in this process, and prints what that took; then makes those of the others."""
    torch.set_num_threads(1)
    panel = Panel.open(folder)
    forecaster, _ = prepare(replace(job_of("lstm", folder, SIZE, steps=int(panel.offsets[1])), quantiles=quantiles))
    forecaster.eval()
    began = Clock()
    for name in EVALUATED:
        windows = Windows(panel, WINDOWS, origin_rows(panel, WINDOWS, split_of(rows), name, HORIZON))
        made = forecast_all(forecaster, windows)
        frame = forecast_frame(panel, windows, made.points, "m0")
        own_quantiles = made.quantiles.reshape(frame.height, len(quantiles))
        columns = (pl.Series(own_column("m0", level), own_quantiles[:, place]) for place, level in enumerate(quantiles))
        write_parquet(frame.with_columns(columns), folder / f"m0-{name}.parquet")
    began.tell()
    make_variants(folder, variants, quantiles)


def make_variants(folder: Path, count: int, quantiles: tuple[float, ...]) -> None:
    """Files of further variants: the first one's forecasts with noise."""
    rng = np.random.default_rng(0)
    for split in EVALUATED:
        frame = pl.read_parquet(folder / f"m0-{split}.parquet")
        for number in range(count):
            values = frame["m0"] + pl.Series(0.1 * rng.standard_normal(frame.height))
            names = {own_column("m0", level): own_column(f"m{number}", level) for level in quantiles}
            write_parquet(frame.with_columns(values.alias(f"m{number}")).rename(names), folder / f"m{number}-{split}.parquet")


class Clock:
    """What a process takes from now on."""

    def __init__(self) -> None:
        self.began, self.cpu = time.perf_counter(), time.process_time()

    def tell(self) -> None:
        """Prints seconds, those of CPU, and the peak memory of the process so far as JSON."""
        import resource

        seconds, cpu = time.perf_counter() - self.began, time.process_time() - self.cpu
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20 if sys.platform == "darwin" else 1 << 10)
        print(json.dumps({"seconds": seconds, "cpu": cpu, "peak_mb": peak}))


def split_of(rows: int) -> Split:
    """The last `rows` of each series for the test, as many before for validation."""
    return Split("rows", rows, rows, 0)


def evaluate(folder: Path, variants: int, rows: int, quantiles: tuple[float, ...]) -> None:
    """Compares, in this process, and prints what that took; with no variants it imports and no more."""
    from params.load import load_plan
    from tasks.compare.compare import compare
    from tasks.evaluate.baselines import write_baselines
    from tasks.train.fits import Fit
    from tasks.train.job import Planned

    settings = ["data.frequency=1", "windows.calendar=[]", f"evaluation.stride={HORIZON}", f"windows.horizon={HORIZON}",
                f"split={{validation: {rows}, test: {rows}}}", f"training.quantiles={list(quantiles)}"]  # fmt: skip
    plan = load_plan(Path("params/smoke.yaml"), settings + ([] if quantiles else ["evaluation.levels=[]"]))
    job = job_of("elman", folder, SIZE)
    some = next(iter(plan.variants.values()))
    fits = [
        Fit(
            planned=Planned(label=name, variant=some.model_copy(update={"variant": name}), job=job),
            run_id="",
            folder=folder,
            result=Result(status=Status.FINISHED),
            validation=folder / f"{name}-validation.parquet",
            test=folder / f"{name}-test.parquet",
        )
        for name in (f"m{number}" for number in range(variants))
    ]
    began = Clock()
    if variants:
        data = Data(Panel.open(folder), WINDOWS, split_of(rows))
        compare(plan.run, data, fits, write_baselines(plan.run, data, folder), folder)
    began.tell()


CHILDREN = {"forecast": forecast_once, "evaluate": evaluate}


def child(folder: Path, given: argparse.Namespace, step: str, variants: int, more: list[str]) -> dict[str, float]:
    """A step in a process of its own, so that its peak memory is its own."""
    command = [sys.executable, "-m", "benchmarks.evaluation", "--child", step, str(folder), "--variants", str(variants), *more]
    done = subprocess.run([*command, *(["--full"] if given.full else [])], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


if __name__ == "__main__":
    main()
