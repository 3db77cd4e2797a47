"""Forecasts of many series, from the panel to the forecast frame, against a plain forward of the same network; never a test.

    python -m benchmarks.forecasting            10,000 series x 256 steps x 8 features, an LSTM of 128 hidden units
    python -m benchmarks.forecasting --cell gru

Lookback 168, horizon 24, one thread: one forecast per series, from its newest complete origin.  *Plain*: the network alone on
windows that are gathered, scaled and in place, in `inference_mode`, in batches of 64, 128 and 256; the best of them counts.
*Ours*: origins, windows, scaling, network, scaling back, quantiles and the frame.  All ways take turns within one process; a
ratio is the median over the rounds, of CPU time.  Last line: JSON with `forward_ratio` = plain's seconds
over ours.
"""

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from benchmarks._steps import HORIZON, LOOKBACK, job_of, make_panel
from benchmarks._turns import Way, in_turn
from models.data.panel import Panel
from models.data.windows import Windows
from models.fit.job import prepare
from models.worker import forecast
from tasks.evaluate.forecasts import forecast_frame

SERIES, STEPS, SIZE, ROUNDS, SIZES = 10_000, 256, 128, 5, (64, 128, 256)


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cell", choices=("lstm", "gru", "elman"), default="lstm")
    parser.add_argument("--series", type=int, default=SERIES)
    given = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        make_panel(Path(folder), given.series, STEPS)
        panel_facts = json.loads((Path(folder) / "panel.json").read_text())
        (Path(folder) / "panel.json").write_text(json.dumps(panel_facts | {"frequency": 1}))
        forecaster, windows = prepare(job_of(given.cell, Path(folder), SIZE, steps=STEPS))
        forecaster.eval()
        panel, params = Panel.open(folder), windows["train"].params
        newest = np.arange(given.series) * STEPS + STEPS - HORIZON - 1
        with torch.inference_mode():
            prepared = Windows(panel, params, newest)
            x_BLN = torch.cat([forecaster.inputs(*inputs).x_BLN for inputs, _ in prepared.batches(256)])

        @torch.inference_mode()
        def plain(size: int) -> None:
            for part in x_BLN.split(size):
                forecaster.network(part)

        def ours() -> None:
            there = Windows(panel, params, newest)
            frame = forecast_frame(panel, there, forecast(forecaster, there), "model")
            assert frame.height == given.series * HORIZON

        ways: dict[str, Way] = {f"plain {size}": lambda size=size: plain(size) for size in SIZES}
        by_way = in_turn({**ways, "ours": ours}, ROUNDS, time.process_time)
    seconds = {name: statistics.median(values) for name, values in by_way.items()}
    best = min((name for name in seconds if name != "ours"), key=seconds.__getitem__)
    print(f"{given.series:,} series, {given.cell} of {SIZE}, lookback {LOOKBACK}")
    for name, value in seconds.items():
        print(f"{name:10} {given.series / value:8,.0f} series a second")
    ratio = statistics.median(a / b for a, b in zip(by_way[best], by_way["ours"], strict=True))
    print(json.dumps({"forward_ratio": ratio, "best_plain": best, "series_per_second": given.series / seconds["ours"]}))


if __name__ == "__main__":
    main()
