"""Scoring the forecasts of many series and variants against making them, and the memory it takes; never a test.

    python -m benchmarks.evaluation             10,000 series x 24 steps x 13 variants, two origins in validation and in test
    python -m benchmarks.evaluation --full      five origins in each

*Forecasting*: one LSTM of 128 hidden units (lookback 168, 8 features, one thread), from the panel to its forecast files, timed
once and counted for every variant.  *Evaluating*: `compare`, from those files to the forecast frame, all scores, slices and
tests, in a process of its own; the fitted baselines are left out.  The files of the other
variants are the first one's with noise.  Last line: JSON with `evaluation_ratio` = evaluating over forecasting, and
`memory_ratio` = peak memory of evaluating twice as many variants over that of evaluating these, both less what imports take.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
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
from models.worker import EVALUATED, forecast
from tasks.evaluate.forecasts import forecast_frame
from tasks.files import write_parquet

SERIES, VARIANTS, SIZE = 10_000, 13, 128
WINDOWS = WindowParams(HORIZON, dict.fromkeys(NAMES, FeatureWindow(LOOKBACK)))


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--series", type=int, default=SERIES)
    parser.add_argument("--variants", type=int, default=VARIANTS)
    parser.add_argument("--full", action="store_true", help="five origins in validation and in test instead of two")
    parser.add_argument("--evaluate", help=argparse.SUPPRESS)
    given = parser.parse_args()
    rows = HORIZON * (5 if given.full else 2)
    if given.evaluate:
        evaluate(Path(given.evaluate), given.variants, rows)
        return
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_panel(folder, given.series, LOOKBACK + HORIZON + 2 * rows + 40)
        facts = json.loads((folder / "panel.json").read_text())
        facts |= {"frequency": 1, "ids": [f"s{i:05}" for i in range(given.series)], "forward_fill": 0}
        (folder / "panel.json").write_text(json.dumps(facts))
        forecasting = given.variants * forecast_once(folder, rows)
        make_variants(folder, 2 * given.variants)
        found = [child(folder, given, count) for count in (given.variants, 2 * given.variants, 0)]
    (seconds, memory), (_, twice), (_, imports) = ((one["seconds"], one["peak_mb"]) for one in found)
    forecasts = given.series * (rows // HORIZON) * 2
    print(f"{given.series:,} series, {forecasts:,} forecasts of {HORIZON} steps a variant, {given.variants} variants")
    print(
        f"forecasting {forecasting:8.1f} s\nevaluating  {seconds:8.1f} s, at most {memory:,.0f} MB (imports: {imports:,.0f} MB)"
    )
    ratios = {"evaluation_ratio": seconds / forecasting, "memory_ratio": (twice - imports) / (memory - imports)}
    print(json.dumps(ratios | {"peak_mb": memory, "forecasts": forecasts, "variants": given.variants}))


def forecast_once(folder: Path, rows: int) -> float:
    """Forecasts of one variant in files; its seconds."""
    panel = Panel.open(folder)
    steps = int(panel.offsets[1])
    forecaster, _ = prepare(job_of("lstm", folder, SIZE, steps=steps))
    forecaster.eval()
    began = time.perf_counter()
    for name in EVALUATED:
        windows = Windows(panel, WINDOWS, origin_rows(panel, WINDOWS, split_of(rows), name, HORIZON))
        frame = forecast_frame(panel, windows, forecast(forecaster, windows), "m0")
        write_parquet(frame, folder / f"m0-{name}.parquet")
    return time.perf_counter() - began


def make_variants(folder: Path, count: int) -> None:
    """Files of further variants: the first one's forecasts with noise."""
    rng = np.random.default_rng(0)
    for split in EVALUATED:
        frame = pl.read_parquet(folder / f"m0-{split}.parquet")
        for number in range(count):
            values = frame["m0"] + pl.Series(0.1 * rng.standard_normal(frame.height))
            write_parquet(frame.with_columns(values.alias(f"m{number}")), folder / f"m{number}-{split}.parquet")


def split_of(rows: int) -> Split:
    """The last `rows` of each series for the test, as many before for validation."""
    return Split("rows", rows, rows, 0)


def evaluate(folder: Path, variants: int, rows: int) -> None:
    """Compares, in this process, and prints seconds and peak memory as JSON; with no variants it imports and no more."""
    import resource

    from params.load import load_plan
    from tasks.compare.compare import compare
    from tasks.evaluate.baselines import write_baselines
    from tasks.train.fits import Fit
    from tasks.train.job import Planned

    plan = load_plan(Path("params/smoke.yaml"), ["data.frequency=1", "windows.calendar=[]", f"evaluation.stride={HORIZON}",
                                                 "split={validation: 48, test: 48}", f"windows.horizon={HORIZON}"])  # fmt: skip
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
    began = time.perf_counter()
    if variants:
        data = Data(Panel.open(folder), WINDOWS, split_of(rows))
        compare(plan.run, data, fits, write_baselines(plan.run, data, folder), folder)
    seconds = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20 if sys.platform == "darwin" else 1 << 10)
    print(json.dumps({"seconds": seconds, "peak_mb": peak}))


def child(folder: Path, given: argparse.Namespace, variants: int) -> dict[str, float]:
    """`evaluate` in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.evaluation", "--evaluate", str(folder), "--variants", str(variants)]
    done = subprocess.run([*command, *(["--full"] if given.full else [])], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


if __name__ == "__main__":
    main()
