"""One fit of one variant and seed: the job, the process that carries it out, and its run in MLflow; never the loop itself.

The process is ours to kill, frees what it held when it ends, and ends with us.  Its folder is named by the identity of the fit,
so a fit that is done is taken as it is and a fit that was killed goes on from its last epoch.
"""

import contextlib
import inspect
import json
import os
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from prefect import task
from prefect.cache_policies import NO_CACHE

from models import FAMILIES
from models.fit import Epoch
from models.forecaster import build_forecaster
from models.linear import PENALTIES, Ridge
from models.memory import receptive_field
from models.panel import Split
from models.windows import Inputs, WindowParams
from params.errors import UserError
from params.schema import RunParams, VariantParams
from tasks import fingerprint, tracking
from tasks.locks import lock

ROOT = Path(__file__).resolve().parents[1]
OnEpoch = Callable[[str, Epoch], None]


def choose_device() -> str:
    """LAGLINE_DEVICE, or the best there is: cuda, mps, cpu.  Raises UserError for a device that is not here."""
    wanted = os.environ.get("LAGLINE_DEVICE", "").strip()
    here = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if not wanted:
        return next(name for name, available in here.items() if available)
    kind, _, number = wanted.partition(":")
    known = kind in here and (not number or (kind == "cuda" and number.isdecimal()))
    if not known or not here[kind] or (number and int(number) >= torch.cuda.device_count()):
        found = ", ".join(name for name, available in here.items() if available)
        raise UserError(f"LAGLINE_DEVICE={wanted}: there is no such device here; found: {found}")
    return wanted


def concurrent_fits(threads: int, device: str) -> int:
    """LAGLINE_JOBS, or as many fits as the cores (or one accelerator) carry at once.  Raises UserError for a bad number."""
    text = os.environ.get("LAGLINE_JOBS", "").strip()
    if text:
        if not text.isdecimal() or int(text) < 1:
            raise UserError(f"LAGLINE_JOBS={text}: write a whole number of at least 1")
        return int(text)
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(available // threads, 16 if device == "cpu" else 4))


def own_network(variant: VariantParams) -> dict[str, Any]:
    """The arguments of a variant's network, less those that the run gives to all and this family does not take."""
    takes = inspect.signature(FAMILIES[variant.family]).parameters if variant.family in FAMILIES else {}
    return {name: value for name, value in variant.network.items() if name in takes or name not in variant.shared}


def check_shared(variants: Sequence[VariantParams]) -> None:
    """Raises UserError for a network argument that the run gives to all of its variants and none of them takes."""
    for name in sorted(set().union(*(variant.shared for variant in variants))):
        if not any(name in own_network(variant) for variant in variants):
            known = sorted({argument for variant in variants for argument in own_network(variant)})
            raise UserError(f"network.{name}: no variant of this run takes it; theirs have: {', '.join(known) or 'none'}")


def check_variant(variant: VariantParams, windows: WindowParams) -> int:
    """Builds a variant without memory and sends a window through; returns its number of parameters.

    Raises UserError naming the variant where an argument is unknown, of the wrong type, or the shapes do not fit.
    """
    level = variant.run.scaling.window
    try:
        with torch.device("meta"):
            quantiles = variant.run.training.quantiles
            forecaster = build_forecaster(variant.family, own_network(variant), windows, level=level, quantiles=quantiles)
            shape = tuple(forecaster.eval()(*Inputs.zeros(windows, 2)).shape)
    except (ValueError, TypeError, RuntimeError) as error:
        raise UserError(f"variant {variant.variant} (params/variants/{variant.variant}.yaml): {error}") from error
    if shape[:2] != (2, windows.horizon):
        raise UserError(
            f"variant {variant.variant}: family {variant.family} gives {shape}, not [batch, {windows.horizon}, outputs]"
        )
    return sum(p.numel() for p in forecaster.parameters())


def measured_field(variant: VariantParams, windows: WindowParams) -> int:
    """The receptive field of a variant with fresh weights, in samples; what begins at zero is drawn, to hide no sample."""
    torch.manual_seed(0)
    forecaster = build_forecaster(variant.family, own_network(variant), windows, level=variant.run.scaling.window)
    for parameter in forecaster.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter)
    return receptive_field(forecaster, windows)


def make_job(
    variant: VariantParams, seed: int, panel: Path, windows: WindowParams, split: Split, device: str
) -> dict[str, Any]:
    """Everything that a fit depends on, as JSON."""
    training = variant.run.training
    names = ("max_epochs", "patience_epochs", "batch_size", "learning_rate", "weight_decay", "clip_norm", "loss")
    return {
        "family": variant.family,
        "network": own_network(variant),
        "windows": windows.to_dict(),
        "split": vars(split),
        "scaling": variant.run.scaling.model_dump(),
        "quantiles": list(training.quantiles),
        "evaluation_stride": variant.run.evaluation.stride,
        "training": {name: getattr(training, name) for name in names} | {"variant": variant.variant, "seed": seed},
        "threads": training.threads,
        "device": "cpu" if is_closed_form(variant) else device,
        "panel": str(panel),
    }


def is_closed_form(variant: VariantParams) -> bool:
    """Whether a variant is solved and not trained: no epochs, no seeds, and on the CPU."""
    return FAMILIES[variant.family] is Ridge


def most_epochs(variant: VariantParams) -> int:
    """The most rows that the history of a fit may have: its epochs, or the penalties of a closed form."""
    return len(PENALTIES) if is_closed_form(variant) else variant.run.training.max_epochs


def fit_folder(job: dict[str, Any], home: Path) -> Path:
    """Where the checkpoints and the result of a fit lie: a folder named by its identity."""
    digest = Path(job["panel"]).name
    return home / "checkpoints" / fingerprint.identity(job, digest)


def run_fit(
    job: dict[str, Any], home: Path, on_epoch: Callable[[Epoch], None], stop: threading.Event, fresh: bool
) -> dict[str, Any]:
    """Carries a job out in a process of its own, or hands back its finished result; one process at a time for one identity.

    The result has `status` finished or failed (with its `reason`).  Raises RuntimeError where the process broke otherwise.
    """
    folder = fit_folder(job, home)
    folder.mkdir(parents=True, exist_ok=True)
    with lock(home, f"fit-{folder.name[:16]}"):
        found = finished_result(folder)
        if found and not fresh:
            return found | {"reused": True}
        if fresh:
            for old in folder.iterdir():
                old.unlink()
        if stop.is_set():
            raise RuntimeError("stopped")
        (folder / "job.json").write_text(json.dumps(job))
        code, errors = _child(folder, job["threads"], on_epoch, stop)
        if stop.is_set():
            raise RuntimeError("stopped")
        if code in (-signal.SIGKILL, 128 + signal.SIGKILL):
            return {"status": "failed", "reason": "the system killed the fit (signal 9): most likely out of memory"}
        if code != 0:
            raise RuntimeError(f"the fit of {job['training']['variant']} broke (exit {code}):\n{errors}")
        result: dict[str, Any] = json.loads((folder / "result.json").read_text())
        return result | {"reused": False}


def finished_result(folder: Path) -> dict[str, Any] | None:
    """The result of a fit that ended well, else None."""
    path = folder / "result.json"
    if not path.exists() or not (folder / "weights.pt").exists():
        return None
    result: dict[str, Any] = json.loads(path.read_text())
    return result if result["status"] == "finished" else None


def _child(folder: Path, threads: int, on_epoch: Callable[[Epoch], None], stop: threading.Event) -> tuple[int, str]:
    environment = os.environ | {
        "OMP_NUM_THREADS": str(threads),
        "CUBLAS_WORKSPACE_CONFIG": ":4096:8",  # what makes cuBLAS repeat itself to the bit
        "PYTHONPATH": str(ROOT),
    }
    command = [sys.executable, "-m", "models.job", str(folder), "--with-parent"]
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None and child.stderr is not None
        tail: deque[str] = deque(maxlen=40)
        errors = child.stderr
        listener = threading.Thread(target=lambda: tail.extend(errors), daemon=True)
        watcher = threading.Thread(target=_kill_on, args=(child, stop), daemon=True)
        listener.start()
        watcher.start()
        try:
            for line in child.stdout:
                on_epoch(json.loads(line))
            code = child.wait()
        except BaseException:
            child.kill()
            raise
        listener.join(timeout=5)
    return code, "".join(tail)


def _kill_on(child: subprocess.Popen[str], stop: threading.Event) -> None:
    while child.poll() is None:
        if stop.wait(0.2):
            with contextlib.suppress(ProcessLookupError):
                child.kill()


def log_fit(run_id: str, variant: VariantParams, job: dict[str, Any], result: dict[str, Any]) -> None:
    """Params, fingerprint, curves and cost of a fit to its MLflow run."""
    digest = Path(job["panel"]).name
    dump = variant.run.model_dump(mode="json") | {"network": own_network(variant)}
    about = {"variant": variant.variant, "family": variant.family, "seed": job["training"]["seed"]}
    tracking.log_params(run_id, about | tracking.flat(dump))
    tracking.log_text(run_id, tracking.to_yaml(dump | about), "params.yaml")
    tracking.log_text(run_id, json.dumps(fingerprint.fingerprint(job, digest), indent=1), "fingerprint.json")
    if result["status"] != "finished":
        tracking.tag(run_id, {"failed": result["reason"]})
        return
    tracking.log_history(run_id, [{k: v for k, v in row.items() if k != "seconds"} for row in result["history"]])
    names = ("train_seconds", "windows_per_second", "num_parameters", "val_mae")
    tracking.log_metrics(run_id, {"best_" + k if k == "val_mae" else k: result[k] for k in names})
    tracking.log_metrics(run_id, {"best_epoch": result["best_epoch"] + 1})
    tracking.tag(run_id, {"weights": result["weights"]})


@task(cache_policy=NO_CACHE, task_run_name="train {label}")
def train_variant(
    label: str,
    variant: VariantParams,
    job: dict[str, Any],
    home: Path,
    parent: str,
    on_epoch: OnEpoch,
    stop: threading.Event,
    fresh: bool = False,
) -> dict[str, Any]:
    """Trains one variant and seed; returns its label, run id, folder, status and cost.  Curves are logged as they come."""
    identity = fit_folder(job, home).name
    run_id = tracking.child_run(
        parent, label, identity, {"kind": "variant", "variant": variant.variant, "family": variant.family}
    )

    def epoch_done(row: Epoch) -> None:
        on_epoch(label, row)
        tracking.log_history(run_id, [{k: v for k, v in row.items() if k != "seconds"}])

    try:
        result = run_fit(job, home, epoch_done, stop, fresh)
    except BaseException:
        tracking.finish(run_id, "KILLED" if stop.is_set() else "FAILED")
        raise
    log_fit(run_id, variant, job, result)
    if result["status"] != "finished":
        tracking.finish(run_id, "FAILED")
    keep = ("status", "reason", "reused", "num_parameters", "train_seconds", "windows_per_second", "val_mae", "best_epoch")
    small = {key: result[key] for key in keep if key in result}
    small |= {"family": variant.family, "seed": job["training"]["seed"]}
    return small | {"label": label, "run_id": run_id, "folder": str(fit_folder(job, home)), "identity": identity}


def planned_fits(run: RunParams, variants: Mapping[str, VariantParams]) -> list[tuple[str, str, int]]:
    """Every fit of a run: (label, variant, seed); the first seed carries the variant's own name.

    A closed form has no seed to vary and is fitted once.
    """
    found = []
    for name in run.variants:
        seeds = 1 if is_closed_form(variants[name]) else run.training.seeds
        found += [(name if seed == 0 else f"{name}-s{seed}", name, seed) for seed in range(seeds)]
    for label, _, _ in found:
        if sum(label == other for other, _, _ in found) > 1:
            raise UserError(
                f"variants: {label!r} is a variant and a further seed of another: rename params/variants/{label}.yaml"
            )
    return found
