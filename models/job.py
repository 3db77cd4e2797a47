"""A fit as a process of its own: `python -m models.job FOLDER` reads job.json and a panel; needs torch and this folder only.

The folder receives checkpoints while it runs, then `weights.pt`, and last `result.json`: where that stands, the fit is done.
SIGTERM or Ctrl-C ends it after the step it is at, with a checkpoint; the same command goes on from there.
"""

import contextlib
import ctypes
import hashlib
import io
import json
import os
import resource
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from models import checkpoint
from models.fit import SAVE_EVERY, OnEpoch, fit
from models.forecaster import Forecaster, build_forecaster
from models.origins import origin_rows
from models.panel import SPLITS, Panel, Split
from models.scaling import fit_scaling
from models.step import out_of_memory
from models.training import FitFailed, OutOfMemory, Stopped, Training, own_generators, stream
from models.windows import WindowParams, Windows

STOPPED, FULL = 130, 28  # exit status: stopped on request, with a checkpoint; the disk is full (ENOSPC)
TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # glibc's numbers of them
PATIENCE = 20.0  # seconds that a step may take once its parent is gone


def prepare(job: Mapping[str, Any]) -> tuple[Forecaster, dict[str, Windows], Training]:
    """The forecaster (fresh weights from the seed) and the windows of each split that a job describes.

    Without a split (a refit) every row is training's, and validation and test are empty.
    """
    panel = Panel.open(job["panel"])
    params = WindowParams.from_dict(job["windows"])
    split = Split(**job["split"]) if job["split"] else None
    training = Training(**job["training"])
    strides = {"train": params.stride, "validation": job["evaluation_stride"], "test": job["evaluation_stride"]}
    if split is None:
        every = origin_rows(panel, params, None, "all", params.stride)
        origins = {"train": every, "validation": every[:0], "test": every[:0]}
    else:
        origins = {name: origin_rows(panel, params, split, name, strides[name]) for name in SPLITS}
    whole = Windows(panel, params, origins["train"], job["device"])
    windows = {name: whole.at(origins[name]) for name in SPLITS}
    rule = job["scaling"]
    scaling = fit_scaling(panel, params, split, rule["per"], rule["method"], rule["target"])
    with own_generators():
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


def run(job: Mapping[str, Any], folder: Path, on_epoch: OnEpoch, stop: Callable[[], bool] = lambda: False) -> dict[str, Any]:
    """Carries a job out in this process: writes `weights.pt` and, last, `result.json` to `folder`; returns the result.

    A failed one has its `reason`, and `again` where another try may do: it was for want of memory.

    Raises Stopped where `stop` said so, StorageFull where the folder takes no more.
    """
    torch.set_num_threads(job["threads"])
    if str(job["device"]).startswith("cuda"):
        torch.use_deterministic_algorithms(True, warn_only=True)
    result: dict[str, Any] = {"status": "finished"}
    every = job.get("save_every", SAVE_EVERY)
    try:
        forecaster, windows, training = prepare(job)
        result["num_parameters"] = sum(p.numel() for p in forecaster.parameters())
        found = fit(forecaster, windows["train"], windows["validation"], training, folder, on_epoch, stop, every)
    except FitFailed as error:
        result |= {"status": "failed", "reason": str(error), "again": isinstance(error, OutOfMemory)}
        result |= {"step": error.step, "learning_rate": error.learning_rate, "history": error.history}
    except (RuntimeError, MemoryError) as error:  # in a place where smaller parts of a batch are no help
        if not out_of_memory(error):
            raise
        result |= {"status": "failed", "reason": f"out of memory: {str(error).splitlines()[0]}", "again": True, "history": []}
    else:
        weights = {name: value.cpu() for name, value in forecaster.state_dict().items()}
        result |= vars(found) | {"weights": weights_hash(weights)}
        buffer = io.BytesIO()
        torch.save(weights, buffer)
        checkpoint.write_bytes(folder / "weights.pt", buffer.getvalue())
    result |= usage(job["device"])
    checkpoint.write_bytes(folder / "result.json", json.dumps(result, indent=1).encode())
    if result["status"] == "finished":
        checkpoint.clear(folder)  # only now: until then a kill would lose all
    return result


def usage(device: str) -> dict[str, float]:
    """The most memory that this process has held, and on a GPU what torch held there, in megabytes."""
    unit = 1 if sys.platform == "darwin" else 1024
    found = {"peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6}
    if device.startswith("cuda"):
        found["peak_gpu_memory_mb"] = torch.cuda.max_memory_allocated(device) / 1e6
    return found


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


def _asked_to_stop(with_parent: bool) -> threading.Event:
    """Set by SIGTERM; by Ctrl-C too, or, with a parent (who is the one to hear it), as soon as the pipe from it closes.

    However the parent went, its pipe closes with it; a step that takes longer than `PATIENCE` is then not waited for.
    """
    asked = threading.Event()

    def watch() -> None:
        while os.read(0, 4096):
            pass
        asked.set()
        time.sleep(PATIENCE)
        os._exit(STOPPED)

    signal.signal(signal.SIGTERM, lambda *_: asked.set())
    signal.signal(signal.SIGINT, signal.SIG_IGN if with_parent else lambda *_: asked.set())
    if with_parent:
        threading.Thread(target=watch, daemon=True).start()
    return asked


def keep_memory() -> None:
    """What a step frees is kept for the next one, where the C library is glibc: it hands it back to the system otherwise, and
    the pages that come again and again are a third of a step (docs/performance.md).  For a process that does nothing else."""
    with contextlib.suppress(OSError, AttributeError):  # another C library
        libc = ctypes.CDLL(None)
        for threshold in (TRIM_THRESHOLD, MMAP_THRESHOLD):
            libc.mallopt(threshold, 2**31 - 1)


def main(folder: Path, with_parent: bool) -> int:
    """Carries out `job.json` in a folder; one JSON line an epoch or warning on standard output; returns the exit status."""
    asked = _asked_to_stop(with_parent)
    keep_memory()
    warnings.showwarning = _warned  # type: ignore[assignment]
    job = json.loads((folder / "job.json").read_text())
    try:
        run(job, folder, _tell, asked.is_set)
    except Stopped as stopped:
        print(stopped, file=sys.stderr)
        return STOPPED
    except checkpoint.StorageFull as error:
        _tell({"full": f"{error.filename}: {error.strerror}"})
        return FULL
    return 0


def _warned(message: Warning | str, category: type[Warning], filename: str, *_: Any) -> None:
    """A warning of ours goes to whoever listens; what torch warns of is not for them."""
    if Path(filename).parent == Path(__file__).parent:
        _tell({"warning": str(message)})


def _tell(line: Mapping[str, Any]) -> None:
    with contextlib.suppress(BrokenPipeError):  # a parent that is gone: the fit is about to be asked to stop
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), "--with-parent" in sys.argv[2:]))
