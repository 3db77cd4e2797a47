"""A fit as a process of its own: `python -m models.job FOLDER` reads job.json and a panel; needs torch and this folder only.

The folder receives checkpoints while it runs, then `weights.pt`, and last `result.json`: where that stands, the fit is done.
"""

import hashlib
import io
import json
import os
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from models import checkpoint
from models.fit import FitFailed, OnEpoch, Training, fit, stream
from models.forecaster import Forecaster, build_forecaster
from models.origins import origin_rows
from models.panel import SPLITS, Panel, Split
from models.scaling import fit_scaling
from models.windows import WindowParams, Windows


def prepare(job: Mapping[str, Any]) -> tuple[Forecaster, dict[str, Windows], Training]:
    """The forecaster (fresh weights from the seed) and the windows of each split that a job describes."""
    panel = Panel.open(job["panel"])
    params = WindowParams.from_dict(job["windows"])
    split = Split(**job["split"])
    training = Training(**job["training"])
    strides = {"train": params.stride, "validation": job["evaluation_stride"], "test": job["evaluation_stride"]}
    origins = {name: origin_rows(panel, params, split, name, strides[name]) for name in SPLITS}
    whole = Windows(panel, params, origins["train"], job["device"])
    windows = {name: whole.at(origins[name]) for name in SPLITS}
    rule = job["scaling"]
    scaling = fit_scaling(panel, params, split, rule["per"], rule["method"], rule["target"])
    torch.manual_seed(stream(training, "weights"))
    forecaster = build_forecaster(
        job["family"],
        job["network"],
        params,
        level=rule["window"],
        transform=rule["target"],
        categories={name: len(found) for name, found in panel.categories.items()},
        scaling=scaling,
        quantiles=job["quantiles"],
    )
    return forecaster.to(job["device"]), windows, training


def run(job: Mapping[str, Any], folder: Path, on_epoch: OnEpoch) -> dict[str, Any]:
    """Carries a job out in this process: writes `weights.pt` and, last, `result.json` to `folder`; returns the result."""
    torch.set_num_threads(job["threads"])
    if str(job["device"]).startswith("cuda"):
        torch.use_deterministic_algorithms(True, warn_only=True)
    forecaster, windows, training = prepare(job)
    parameters = sum(p.numel() for p in forecaster.parameters())
    result: dict[str, Any] = {"status": "finished", "num_parameters": parameters}
    try:
        found = fit(forecaster, windows["train"], windows["validation"], training, folder, on_epoch)
    except FitFailed as error:
        result |= {"status": "failed", "reason": str(error)}
    else:
        weights = {name: value.cpu() for name, value in forecaster.state_dict().items()}
        result |= vars(found) | {"weights": weights_hash(weights)}
        buffer = io.BytesIO()
        torch.save(weights, buffer)
        checkpoint.write_bytes(folder / "weights.pt", buffer.getvalue())
    checkpoint.write_bytes(folder / "result.json", json.dumps(result, indent=1).encode())
    return result


def weights_hash(weights: Mapping[str, Tensor]) -> str:
    """sha256 over names, shapes and bits of all weights and buffers."""
    digest = hashlib.sha256()
    for name, value in sorted(weights.items()):
        digest.update(f"{name}|{value.dtype}|{tuple(value.shape)}|".encode())
        digest.update(value.contiguous().numpy().tobytes())
    return digest.hexdigest()


def load(job: Mapping[str, Any], folder: Path) -> tuple[Forecaster, dict[str, Windows]]:
    """The trained forecaster of a job, on the CPU, and its windows.  Raises ValueError where the weights are not its own."""
    result = json.loads((folder / "result.json").read_text())
    weights = torch.load(folder / "weights.pt", map_location="cpu", weights_only=True)
    if weights_hash(weights) != result["weights"]:
        raise ValueError(f"{folder}: the weights are not those that the fit wrote; remove the folder to train again")
    forecaster, windows, _ = prepare({**job, "device": "cpu"})
    forecaster.load_state_dict(weights)
    return forecaster.eval(), windows


def _end_with_parent() -> None:
    """Ends this process as soon as the pipe on its standard input closes, however the parent went."""

    def watch() -> None:
        while os.read(0, 4096):
            pass
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def main(folder: Path) -> None:
    """Carries out `job.json` in a folder; one JSON line an epoch on standard output."""
    job = json.loads((folder / "job.json").read_text())
    run(job, folder, lambda epoch: print(json.dumps(epoch), flush=True))


if __name__ == "__main__":
    if "--with-parent" in sys.argv[2:]:
        _end_with_parent()
    main(Path(sys.argv[1]))
