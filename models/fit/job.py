"""A fit as a process of its own: `python -m models.fit.job FOLDER` reads job.json and a panel; torch is all it needs.

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
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from models.data.origins import origin_rows
from models.data.panel import SPLITS, Panel, Split
from models.data.scaling import Method, Transform, fit_scaling
from models.data.window import WindowParams
from models.data.windows import Windows
from models.ensemble import Combine, Ensemble, Model
from models.families import FAMILIES, build_forecaster
from models.fit import checkpoint
from models.fit.loop import SAVE_EVERY, OnEpoch, fit
from models.fit.losses import absolute_errors
from models.fit.settings import FitFailed, OutOfMemory, Stopped, Training, own_generators, stream
from models.fit.step import out_of_memory
from models.forecaster import Forecaster, Level
from models.networks.linear import Ridge

SHARED = ("panel", "threads", "device")  # what of a job is said once for an ensemble
STOPPED, FULL, USAGE = 130, 28, 2  # exit status: stopped on request, with a checkpoint; the disk is full (ENOSPC); no job
TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # glibc's numbers of them
BATCH = 64  # windows that an ensemble forecasts at a time
PATIENCE = 20.0  # seconds that a step may take once its parent is gone


@dataclass(frozen=True)
class Rule:
    """How values are scaled: statistics `per` series or of all, by a `method`, after a `target` transform; then by `window`."""

    per: Literal["series", "global"]
    window: Level
    method: Method = "standard"
    target: Transform = "none"


@dataclass(frozen=True, kw_only=True)
class Job:
    """Everything that a fit depends on; of an ensemble, `members` are the jobs of the fits that it combines.

    Without a `split` (a refit) every row is training's.  `panel`: the folder of the panel.  `save_every`: seconds between two
    checkpoints.
    """

    family: str
    network: Mapping[str, Any]
    windows: WindowParams
    split: Split | None
    scaling: Rule
    training: Training
    evaluation_stride: int
    threads: int
    device: str
    panel: Path
    quantiles: tuple[float, ...] = ()
    members: tuple["Job", ...] = ()
    combine: Combine | None = None
    save_every: float = SAVE_EVERY

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; `from_dict` gives it back.  What an ensemble has for all members is said once."""
        found: dict[str, Any] = {
            "family": self.family,
            "network": dict(self.network),
            "windows": self.windows.to_dict(),
            "split": asdict(self.split) if self.split else None,
            "scaling": asdict(self.scaling),
            "training": asdict(self.training),
            "evaluation_stride": self.evaluation_stride,
            "threads": self.threads,
            "device": self.device,
            "panel": str(self.panel),
            "quantiles": list(self.quantiles),
        }
        if self.members:
            shared = [{name: value for name, value in one.to_dict().items() if name not in SHARED} for one in self.members]
            found |= {"members": shared, "combine": self.combine}
        return found | ({} if self.save_every == SAVE_EVERY else {"save_every": self.save_every})

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> "Job":
        """The inverse of `to_dict`; a closed form in an ensemble is solved on the CPU."""
        own = {name: value for name, value in raw.items() if name not in ("windows", "split", "scaling", "training", "members")}
        shared = {name: raw[name] for name in SHARED}
        inner = [{**member, **shared} for member in raw.get("members", ())]
        inner = [one | {"device": "cpu"} if is_closed_form(one["family"]) else one for one in inner]
        return cls(
            **{
                **own,
                "windows": WindowParams.from_dict(raw["windows"]),
                "split": Split(**raw["split"]) if raw["split"] else None,
                "scaling": Rule(**raw["scaling"]),
                "training": Training(**raw["training"]),
                "panel": Path(raw["panel"]),
                "quantiles": tuple(raw["quantiles"]),
                "members": tuple(cls.from_dict(one) for one in inner),
            }
        )


def is_closed_form(family: str) -> bool:
    """Whether a family is solved and not trained: no epochs, no seeds, and on the CPU."""
    return FAMILIES[family] is Ridge


def members(job: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The jobs of the fits that an ensemble combines; empty for any other job.

    Within an ensemble's job they lack what it has for all: panel, threads and device (a closed form is solved on the CPU).
    """
    shared = {name: job[name] for name in SHARED}
    return [
        {**member, **shared, **({"device": "cpu"} if FAMILIES[member["family"]] is Ridge else {})}
        for member in job.get("members", ())
    ]


def prepare(job: Mapping[str, Any]) -> tuple[Model, dict[str, Windows], Training]:
    """The forecaster (fresh weights from the seed) and the windows of each split that a job describes.

    Without a split (a refit) every row is training's, and validation and test are empty.
    """
    if "members" in job:
        made = [prepare(member) for member in members(job)]
        return Ensemble([forecaster for forecaster, _, _ in made], job["combine"]), made[0][1], Training(**job["training"])
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
        assert isinstance(forecaster, Forecaster), "an ensemble is put together, not trained"
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


def assemble(job: Mapping[str, Any], fits: Sequence[Path], folder: Path) -> dict[str, Any]:
    """Makes an ensemble of its members' finished fits, in their order: writes `weights.pt` and `result.json` to `folder`.

    Nothing is trained: `train_seconds` is what its members took, `ended_by` says so, and the history is empty.
    """
    torch.set_num_threads(job["threads"])
    results = [json.loads((fit / "result.json").read_text()) for fit in fits]
    made = [load(member, fit) for member, fit in zip(members(job), fits, strict=True)]
    ensemble = Ensemble([forecaster for forecaster, _ in made], job["combine"]).eval()
    weights = dict(ensemble.state_dict())
    seconds = sum(result["train_seconds"] for result in results)
    windows = sum(found["windows_per_second"] * found["train_seconds"] for found in results)
    result = {
        "status": "finished",
        "num_parameters": sum(p.numel() for p in ensemble.parameters()),
        "best_epoch": 0,
        "val_mae": _validation_mae(ensemble, made[0][1]["validation"]),
        "history": [],
        "train_seconds": seconds,
        "windows_per_second": windows / max(seconds, 1e-9),
        "ended_by": "its members",
        "steps": sum(found["steps"] for found in results),
        "members": [_course(found) for found in results],
        "precision": "float32",
        "weights": weights_hash(weights),
    }
    buffer = io.BytesIO()
    torch.save(weights, buffer)
    checkpoint.write_bytes(folder / "weights.pt", buffer.getvalue())
    checkpoint.write_bytes(folder / "result.json", json.dumps(result, indent=1).encode())
    return result


def _course(result: Mapping[str, Any]) -> dict[str, Any]:
    """What a member's refit has to know of its fit."""
    kept = {name: result.get(name) for name in ("best_epoch", "steps", "epoch_steps", "ended_by")}
    return kept | {"history": [row for row in result["history"] if row["epoch"] == result["best_epoch"]]}


@torch.no_grad()
def _validation_mae(ensemble: Ensemble, windows: Windows) -> float | None:
    """In raw units; None without a target."""
    total = count = 0.0
    for inputs, y_BH in windows.batches(BATCH):
        errors, seen = absolute_errors(ensemble(*inputs)[..., 0], y_BH)
        total, count = total + float(errors), count + float(seen)
    return total / count if count else None


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


def load(job: Mapping[str, Any], folder: Path) -> tuple[Model, dict[str, Windows]]:
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
    try:
        job = json.loads((folder / "job.json").read_text())
    except (OSError, ValueError) as error:
        print(f"{folder / 'job.json'} cannot be read ({error})", file=sys.stderr)
        return USAGE
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
    if Path(__file__).parents[1] in Path(filename).parents:
        _tell({"warning": str(message)})


def _tell(line: Mapping[str, Any]) -> None:
    with contextlib.suppress(BrokenPipeError):  # a parent that is gone: the fit is about to be asked to stop
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    folders = [text for text in sys.argv[1:] if text != "--with-parent"]
    if len(folders) != 1:
        print("usage: python -m models.fit.job FOLDER [--with-parent]", file=sys.stderr)
        sys.exit(USAGE)
    sys.exit(main(Path(folders[0]), "--with-parent" in sys.argv[1:]))
