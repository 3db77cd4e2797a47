"""Microseconds of a core that each variant takes for a window, in training and in forecasting: `params/rules/costs.yaml`.

    python -m benchmarks.costs            the variants that `init` writes
    python -m benchmarks.costs --full     every variant
    python -m benchmarks.costs --only gru,tcn

Windows of 24, 96 and 192 samples with 3 and with 9 channels, batches of 256, horizon 24, one thread, CPU time.  A variant's
cost of a window is fitted as `fixed` + `sample` x samples + `cell` x cells, a cell being a sample of a channel (+ `square` x
cells^2 for a closed form).  Prints the lines of the file; last line: JSON.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from benchmarks._steps import Way, make_panel
from models.data.panel import Split
from models.data.window import FeatureWindow, WindowParams
from models.fit.job import Job, is_closed_form, prepare
from models.fit.loop import fit
from models.worker import forecast, keep_memory
from params.load import load_plan, load_variant, variant_names
from tasks.explore.pace import WRITTEN
from tasks.train.job import make_job

LOOKBACKS, CHANNELS, BATCH, HORIZON = (24, 96, 192), (3, 9), 256, 24
SERIES, STEPS, ROUNDS = 20, 1_000, 7


def names_of(channels: int) -> tuple[str, ...]:
    """The features of so many channels."""
    return ("y", *(f"x{i}" for i in range(1, channels)))


def job_of(variant: str, panel: Path, lookback: int, channels: int) -> Job:
    """The job of a variant as `init` writes it, on windows of so many samples and channels."""
    run = load_plan("params/smoke.yaml", ["network.skip=linear", f'variants=["{variant}"]']).variants[variant]
    windows = WindowParams(HORIZON, dict.fromkeys(names_of(channels), FeatureWindow(lookback)))
    return make_job(run, 0, panel, windows, Split("time", STEPS * 8 // 10, STEPS * 9 // 10), "cpu")


def microseconds(variant: str, panel: Path, lookback: int, channels: int) -> tuple[float, float]:
    """Of a window in training (all penalties of a closed form), and in forecasting."""
    job = job_of(variant, panel, lookback, channels)
    forecaster, windows = prepare(job)
    some = windows["validation"].at(windows["validation"].origins[:256].numpy())
    if is_closed_form(job.family):
        began = time.process_time()
        fit(forecaster, windows["train"], some, job.training, panel, lambda _: None)
        trained = 1e6 * (time.process_time() - began) / len(windows["train"])
    else:
        way, spent = Way(job, BATCH, job.training.micro_batches), []
        for _ in range(ROUNDS):
            began = time.process_time()
            way()
            spent.append(time.process_time() - began)
        trained = 1e6 * float(np.median(spent[2:])) / BATCH
    forecaster.eval()
    forecast(forecaster, some)
    began = time.process_time()
    forecast(forecaster, windows["validation"])
    return trained, 1e6 * (time.process_time() - began) / len(windows["validation"])


def cost(variant: str, panel: Path) -> dict[str, float]:
    """The line of a variant: coefficients of at least 0 that are nearest to what was measured, in proportion."""
    rows, seen, shares = [], [], []
    closed = is_closed_form(load_variant(variant, "params/smoke.yaml").family)
    for lookback in LOOKBACKS:
        for channels in CHANNELS:
            trained, forecasts = microseconds(variant, panel / str(channels), lookback, channels)
            cells = lookback * channels
            rows.append(np.array([1.0, lookback, cells, cells**2 if closed else 0.0]) / trained)
            seen.append(1.0)
            shares.append(forecasts / trained)
    from scipy.optimize import nnls  # statsforecast brings it

    fitted, _ = nnls(np.array(rows), np.array(seen))
    names = ("fixed", "sample", "cell", "square")
    return {name: float(f"{value:.3g}") for name, value in zip(names, fitted, strict=True)} | {
        "forecast": float(f"{np.median(shares):.2g}")
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--only", default="")
    given = parser.parse_args()
    torch.set_num_threads(1)
    keep_memory()
    whole = {name for name in variant_names() if not load_variant(name, "params/smoke.yaml").members}
    names = given.only.split(",") if given.only else sorted(whole) if given.full else [n for n in WRITTEN if n in whole]
    costs = {}
    with tempfile.TemporaryDirectory() as folder:
        for channels in CHANNELS:
            (Path(folder) / str(channels)).mkdir()
            make_panel(Path(folder) / str(channels), SERIES, STEPS, names_of(channels))
        for name in names:
            costs[name] = cost(name, Path(folder))
            print(f"{name}: {{{', '.join(f'{key}: {value}' for key, value in costs[name].items())}}}", flush=True)
    print(json.dumps(costs))


if __name__ == "__main__":
    main()
