"""What the benchmarks of training share: a panel, a job for each family, a step to take; needs torch, numpy and models only."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from models.data.panel import ARRAYS, Split
from models.data.window import FeatureWindow, WindowParams
from models.data.windows import Batch
from models.fit.job import Job, Rule, prepare
from models.fit.settings import Training
from models.fit.step import Step
from models.networks.dilated import Tcn
from models.networks.fast_recurrence import Elman, Gru

SERIES, STEPS, LOOKBACK, HORIZON, BATCH = 100, 10_000, 168, 24, 256
NAMES = ("y", *(f"x{i}" for i in range(1, 8)))
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "lstm": ("recurrent", {"cell": "lstm"}),
    "gru": ("recurrent", {"cell": "gru"}),
    "elman": ("recurrent", {"cell": "elman"}),
    "tcn": ("tcn", {"kernel_size": 3}),
    "cnn": ("convolutional", {"kernel_size": 5, "num_layers": 3, "stride": 2}),
}
TRAINING = Training(10, 10, BATCH, 1e-3, 1e-4, 1.0, "mae", "benchmark", 0)


def make_panel(folder: Path, series: int = SERIES, steps: int = STEPS, names: tuple[str, ...] = NAMES) -> None:
    """Random numbers on a panel's disk format."""
    rng = np.random.default_rng(0)
    values = rng.standard_normal((series * steps, len(names)), dtype=np.float32)
    arrays = {
        "values": values,
        "target": values[:, 0].copy(),
        "offsets": np.arange(0, series * steps + 1, steps),
        "times": np.tile(np.arange(steps, dtype=np.int64), series),
    }
    for name in ARRAYS:
        np.save(folder / f"{name}.npy", arrays.get(name, np.empty((series, 0), np.float32)))
    panel_facts = {"ids": [f"s{i:03}" for i in range(series)], "channels": names, "digest": "benchmark"}
    panel_facts |= {"frequency": 1, "forward_fill": 0}
    (folder / "panel.json").write_text(json.dumps(panel_facts))


def job_of(
    name: str, panel: Path, size: int, stride: int = 1, lookback: int = LOOKBACK, device: str = "cpu", steps: int = STEPS
) -> Job:
    """The job of a family at a hidden size (channels: half of it); a tenth of the steps for validation, a tenth for test."""
    family, network = FAMILIES[name]
    arguments = {"hidden_size": size} if family == "recurrent" else {"channels": size // 2}
    windows = WindowParams(HORIZON, dict.fromkeys(NAMES, FeatureWindow(lookback)), stride=stride)
    return Job(
        family=family,
        network=network | arguments,
        windows=windows,
        split=Split("time", steps * 8 // 10, steps * 9 // 10),
        scaling=Rule("series", "last"),
        quantiles=(0.05, 0.5, 0.95),
        evaluation_stride=stride,
        panel=panel,
        training=TRAINING,
        threads=torch.get_num_threads(),
        device=device,
    )


class PlainTcn(Tcn):
    """A TCN as a textbook draws it and peers compute it: every step of every layer, by dilated kernels."""

    def forward(self, x_BLF: Tensor) -> Tensor:
        """As ours."""
        maps_BCL = x_BLF.transpose(1, 2)
        for number, block in enumerate(self.blocks):
            hidden = self._causal(block.first, maps_BCL, 2**number).relu()
            change = self._causal(block.second, hidden, 2**number).relu()
            maps_BCL = (block.residual(maps_BCL) + change).relu()
        output: Tensor = self.head(maps_BCL[..., -1]).unflatten(-1, self.shape)
        return output

    def _causal(self, layer: nn.Conv1d, maps_BCL: Tensor, dilation: int) -> Tensor:
        padded = nn.functional.pad(maps_BCL, ((self.kernel_size - 1) * dilation, 0))
        return nn.functional.conv1d(padded, layer.weight, layer.bias, dilation=dilation)


PLAIN: dict[type, type] = {Elman: nn.RNN, Gru: nn.GRU, Tcn: PlainTcn}


def plainly(network: nn.Module, x_BLN: Tensor) -> None:
    """Makes a network compute as torch's own layers, or a textbook, do.  Raises ValueError where it is another one then."""
    before = network(x_BLN)
    for module in network.modules():
        module.__class__ = PLAIN.get(type(module), type(module))
    if not torch.allclose(network(x_BLN), before, rtol=1e-3, atol=1e-4):
        raise ValueError("the plain network is not the same function")


class Way:
    """A step that can be taken again and again."""

    def __init__(self, job: Job, batch: int, parts: int = 1, static: bool = False, plain: bool = False) -> None:
        forecaster, windows = prepare(job)
        training = replace(job.training, batch_size=batch, micro_batches=parts)
        self.step = Step(forecaster.train(), training, windows["train"].origins.device)
        train = windows["train"].dense() if forecaster.dense else windows["train"]
        self.batches: Iterator[Batch] = iter(train.batches(batch, train.shuffled(0)))
        if static:
            first = next(self.batches)
            seen, targets = forecaster.inputs(*first.inputs), forecaster.scale_targets(first.y_BH, first.inputs.series_B)
            if plain:
                plainly(forecaster.network, seen.x_BLN)
            forecaster.inputs = lambda *_: seen  # type: ignore[method-assign]
            forecaster.scale_targets = lambda *_: targets  # type: ignore[method-assign]
            self.batches = iter(lambda: first, None)

    def __call__(self) -> None:
        self.step(next(self.batches), 1e-3)
