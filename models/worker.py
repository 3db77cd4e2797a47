"""A fit as a process: `python -m models.worker FOLDER` trains `job.json`, then forecasts with the result.

It leaves these files next to the fit's own (`fit/job.py`), which the parent reads without loading weights:

validation.npy, test.npy   point forecasts [windows, horizon] in original units, float64, of every window of
                           the split; an ensemble with baselines combines both kinds; a greedy ensemble's
                           validation forecasts are out of sample (`fit/greedy.py`)
validation-quantiles.npy, test-quantiles.npy   if there are quantiles: their distance from the point forecast,
                           [windows, horizon, quantiles], float32
evaluation.json            cost, whether all forecasts are finite, and the memory card; written last

SIGTERM or Ctrl-C stops it after the current step, with a checkpoint; the same command resumes from there.
"""

import argparse
import contextlib
import copy
import ctypes
import gc
import hashlib
import io
import json
import os
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import numpy as np
import torch

from models.data.panel import Panel
from models.data.windows import Inputs, Windows
from models.ensemble import Model
from models.fit import checkpoint
from models.fit.job import Job, assemble, is_baseline, load_model, read_result, run, windows_of
from models.fit.settings import Stopped
from models.memory_card import MemoryCard, memory_card
from models.mixed import Beside, OwnForecasts, baseline_forecasts, beside_of, combined, digest, ranges_of

STOPPED, FULL, USAGE = 130, 28, 2  # exit status: stopped with a checkpoint; disk full (ENOSPC); no job
TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # glibc's mallopt constants
PATIENCE = 20.0  # seconds that a step may still take after its parent died
BATCH = 64  # windows per forecast call: fits in the cache and reuses memory
CARD_WINDOWS = 64  # windows the memory card is measured on
LOOKED_AT = 256  # windows of a refit whose forecasts are checked to be finite
EVALUATED = ("validation", "test")
Say = Callable[[Mapping[str, Any]], None]  # receives an epoch's row, or {"warning": text}


@dataclass(frozen=True, kw_only=True)
class Evaluated:
    """What a worker found when it forecast with a fit, as stored in `evaluation.json`.

    `code`: digest of the evaluating code.  `files`: sha256 of each forecast file.  `not_finite`: the splits
    with a non-finite forecast (a refit: `train`).  `quantiles`: the levels forecast besides the point; empty
    if any of them is not finite.  A fit on all rows, or one with non-finite forecasts, has no memory card.
    """

    code: str
    not_finite: tuple[str, ...]
    quantiles: tuple[float, ...] = ()
    files: Mapping[str, str] = field(default_factory=dict)
    forecast_ms_per_series: float = 0.0
    weights_mb: float = 0.0
    memory: MemoryCard | None = None

    @classmethod
    def read(cls, folder: Path) -> "Evaluated | None":
        """The evaluation of a folder; None if it is unreadable or its forecast files differ."""
        try:
            raw = json.loads((folder / "evaluation.json").read_text())
            card = MemoryCard.from_dict(raw["memory"]) if raw["memory"] else None
            parsed = {"not_finite": tuple(raw["not_finite"]), "quantiles": tuple(raw.get("quantiles", ())), "memory": card}
            evaluated = cls(**{**raw, **parsed})
            same = all(_sha256(folder / name) == digest for name, digest in evaluated.files.items())
        except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
            return None
        return evaluated if same else None


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class Forecasts(NamedTuple):
    """`points` [windows, horizon], original units; `quantiles` [windows, horizon, Q] float32, minus these."""

    points: np.ndarray
    quantiles: np.ndarray


HeldOut = Callable[[Sequence[float]], Forecasts]  # at the given levels


def forecast(forecaster: Model, windows: Windows, job: Job | None = None, beside_BHK: np.ndarray | None = None) -> np.ndarray:
    """Point forecasts [windows, horizon] in original units, float64, from `forecast_all`."""
    return forecast_all(forecaster, windows, job, beside_BHK).points


@torch.inference_mode()
def forecast_all(
    forecaster: Model, windows: Windows, job: Job | None = None, beside_BHK: np.ndarray | None = None
) -> Forecasts:
    """Forecasts of every window, including a smaller last batch.

    `job`: needed if it may be an ensemble with baselines; `beside_BHK`: the baselines' forecasts, if already
    known.
    """
    mixed = job is not None and bool(job.baselines)
    if job and mixed and beside_BHK is None:
        beside_BHK = baseline_forecasts(job, windows.panel, windows.origins.cpu().numpy())
    shape, count = (len(windows), windows.params.horizon), len(forecaster.quantiles)
    points, quantiles = np.empty(shape), np.empty((*shape, count), np.float32)
    for start in range(0, len(windows), BATCH):
        some = slice(start, start + BATCH)
        outputs = forecaster(*windows.inputs(windows.origins[some])).cpu().numpy()
        members, own_quantiles = outputs[..., : outputs.shape[-1] - count], outputs[..., outputs.shape[-1] - count :]
        if job and mixed and beside_BHK is not None:
            points[some], quantiles[some] = combined(members, beside_BHK[some], job.combine, job.counts), own_quantiles
        else:
            points[some], quantiles[some] = members[..., 0], own_quantiles - members[..., :1]
    return Forecasts(points, quantiles)


def memory_of(forecaster: Model, windows: Windows) -> MemoryCard:
    """The memory card of a trained forecaster, measured on windows evenly spread over a split."""
    some = _spread(windows, CARD_WINDOWS)
    return memory_card(copy.deepcopy(forecaster).eval(), windows.params, Inputs(*windows.inputs(some)))


def _spread(windows: Windows, most: int) -> torch.Tensor:
    """The origins of at most `most` windows, evenly spread."""
    index = np.unique(np.linspace(0, len(windows) - 1, min(most, len(windows))).astype(np.int64))
    return windows.origins[torch.from_numpy(index)]


def evaluate(job: Job, folder: Path, code: str, beside: Beside, say: Say, held_out: HeldOut | None = None) -> Evaluated:
    """Forecasts validation and test with a finished fit; writes the forecasts and, last, `evaluation.json`.

    `held_out`: forecasts validation instead, if the weights were learnt on it.  For a fit on all rows, which
    cannot be scored, some forecasts are checked and none is kept.
    """
    torch.set_num_threads(job.threads)
    forecaster, panel = load_model(job, folder), Panel.open(job.panel)
    if job.on_all_rows:
        train = windows_of(job, panel, ("train",))["train"]
        some = forecast(forecaster, train.at(_spread(train, LOOKED_AT).numpy()), job)
        evaluated = Evaluated(code=code, not_finite=() if np.isfinite(some).all() else ("train",))
    else:
        windows = windows_of(job, panel, EVALUATED)
        bad, milliseconds, files, levels = list[str](), 0.0, dict[str, str](), forecaster.quantiles
        for split in EVALUATED:
            started = time.perf_counter()
            if split == "validation" and held_out:
                made = held_out(forecaster.quantiles)
            else:
                made = forecast_all(forecaster, windows[split], job, beside.forecasts.get(split))
            milliseconds = 1000 * (time.perf_counter() - started) / max(len(windows[split]), 1)
            bad += [] if np.isfinite(made.points).all() else [split]
            levels = levels if np.isfinite(made.quantiles).all() else ()
            files[f"{split}.npy"] = _write_array(folder / f"{split}.npy", made.points)
            if levels:
                files[quantiles_file(split)] = _write_array(folder / quantiles_file(split), made.quantiles)
        for name in () if levels else map(quantiles_file, EVALUATED):
            files.pop(name, None)
            (folder / name).unlink(missing_ok=True)
        if forecaster.quantiles and not levels and not bad:
            say({"warning": "a quantile is no number: its intervals come from the errors of its point forecasts"})
        size = sum(tensor.numel() * tensor.element_size() for tensor in forecaster.state_dict().values())
        card = None if bad else memory_of(forecaster, windows["validation"])
        evaluated = Evaluated(
            code=code,
            not_finite=tuple(bad),
            quantiles=levels,
            files=files,
            forecast_ms_per_series=milliseconds + beside.milliseconds,
            weights_mb=size / 1e6,
            memory=card,
        )
    checkpoint.write_bytes(folder / "evaluation.json", json.dumps(asdict(evaluated)).encode())
    return evaluated


def quantiles_file(split: str) -> str:
    """The name of the file with the quantiles of a split."""
    return f"{split}-quantiles.npy"


def _write_array(path: Path, values: np.ndarray) -> str:
    """Writes an array atomically; returns the file's sha256."""
    buffer = io.BytesIO()
    np.save(buffer, values)
    checkpoint.write_bytes(path, buffer.getbuffer())
    return hashlib.sha256(buffer.getbuffer()).hexdigest()


def _asked_to_stop(with_parent: bool) -> threading.Event:
    """An event set by SIGTERM, and by Ctrl-C or (`with_parent`) as soon as the parent's pipe closes.

    The pipe closes however the parent ends; a step that then takes longer than `PATIENCE` is aborted.
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
    """Makes glibc keep freed memory, for a process that does nothing else.

    By default it returns the pages to the system after each step, which costs a third of a step
    (docs/performance.md).
    """
    with contextlib.suppress(OSError, AttributeError):  # not glibc
        libc = ctypes.CDLL(None)
        for threshold in (TRIM_THRESHOLD, MMAP_THRESHOLD):
            libc.mallopt(threshold, 2**31 - 1)


def printed(line: Mapping[str, Any]) -> None:
    """Reports to the parent: one line of JSON on standard output."""
    with contextlib.suppress(BrokenPipeError):  # the parent is gone: the fit will soon be asked to stop
        print(json.dumps(line), flush=True)


def work(job: Job, folder: Path, members: Sequence[Path], code: str, asked: threading.Event, say: Say = printed) -> None:
    """Trains or assembles unless the folder has a finished result, then forecasts; a baseline has no weights.

    `say` receives each epoch's row, and warnings as `{"warning": text}`.
    """
    if is_baseline(job.family):
        from models.baseline_fit import fit_baseline

        fit_baseline(job, folder)
        return
    if job.greedy is not None:
        _work_greedily(job, folder, members, code, asked, say)
        return
    beside = beside_of(job, asked.is_set, lambda text: say({"warning": text}))
    if not is_done(folder):
        if job.members:
            known = partial(forecast, job=job, beside_BHK=beside.forecasts.get("validation"))
            result = assemble(job, members, folder, known, digest(beside.forecasts) if beside.forecasts else "")
        else:
            result = run(job, folder, say, asked.is_set)
        if not result.finished:
            return
    if asked.is_set():
        raise Stopped("stopped before it forecast; the weights are there")
    evaluate(job, folder, code, beside, say)


def _work_greedily(job: Job, folder: Path, fits: Sequence[Path], code: str, asked: threading.Event, say: Say) -> None:
    """The same for a greedy ensemble, whose validation forecasts come from weights learnt without it."""
    from models.fit import greedy  # imports pandas: only when needed

    torch.set_num_threads(job.threads)
    panel, beside = Panel.open(job.panel), beside_of(job, asked.is_set, lambda text: say({"warning": text}))
    ranges = greedy.validated(job, ranges_of(job, panel), beside, [_own_forecasts(fit) for fit in fits])
    if not is_done(folder):
        made = digest(beside.forecasts) if beside.forecasts else ""
        if not greedy.assemble(job, fits, folder, ranges, panel, made).finished:
            return
    if asked.is_set():
        raise Stopped("stopped before it forecast; the weights are there")
    learnt = read_result(folder).learnt
    assert learnt is not None  # a finished greedy ensemble has it
    places = [at for at, member in enumerate(job.members) if is_baseline(member.family)]
    kept = beside.only([places.index(at) for at in job.kept(learnt.mix) if at in places])

    def held_out(levels: Sequence[float]) -> Forecasts:
        return Forecasts(*greedy.held_out(job, learnt, ranges[0], panel, levels))

    evaluate(job.resolved(learnt), folder, code, kept, say, held_out)


def _own_forecasts(folder: Path) -> OwnForecasts | None:
    """A fit's forecasts on its validation range; None if it failed or they are not finite."""
    evaluated = Evaluated.read(folder) if is_done(folder) else None
    if evaluated is None or evaluated.not_finite:
        return None
    quantiles = np.load(folder / quantiles_file("validation"), mmap_mode="r") if evaluated.quantiles else None
    return OwnForecasts(np.load(folder / "validation.npy", mmap_mode="r"), quantiles, evaluated.quantiles)


def is_done(folder: Path) -> bool:
    """Whether the folder has the result and weights of a successful fit."""
    try:
        return read_result(folder).finished and (folder / "weights.pt").exists()
    except (OSError, ValueError, KeyError, TypeError):
        return False


def main(arguments: Sequence[str]) -> int:
    """Runs the `job.json` of a folder; prints one JSON line per epoch or warning; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m models.worker", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--with-parent", action="store_true", help="end as soon as standard input closes")
    parser.add_argument("--code", default="", help="recorded in evaluation.json")
    parser.add_argument("--members", type=Path, nargs="+", default=[], help="the fits that an ensemble is made of")
    parser.error = _usage  # type: ignore[method-assign]  # one line instead of argparse's several
    given = parser.parse_args(arguments)
    asked = _asked_to_stop(given.with_parent)
    keep_memory()
    warnings.showwarning = warned_by(printed)
    path = given.folder / "job.json"
    try:
        job = Job.from_dict(json.loads(path.read_text()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        print(f"{path} cannot be read ({error})", file=sys.stderr)
        return USAGE
    try:
        work(job, given.folder, given.members, given.code, asked)
    except Stopped as stopped:
        print(stopped, file=sys.stderr)
        return STOPPED
    except checkpoint.StorageFull as error:
        printed({"full": f"{error.filename}: {error.strerror}"})
        return FULL
    return 0


def _usage(message: str) -> NoReturn:
    command = "python -m models.worker FOLDER [--with-parent] [--code DIGEST] [--members FOLDER ...]"
    print(f"usage: {command} ({message})", file=sys.stderr)
    sys.exit(USAGE)


def warned_by(say: Say) -> Callable[..., None]:
    """A replacement for `warnings.showwarning`: passes our own warnings to `say`, drops those of torch."""

    def warned(message: Warning | str, _category: type[Warning], filename: str, *_: Any) -> None:
        if Path(__file__).parent in Path(filename).parents:
            say({"warning": str(message)})

    return warned


if __name__ == "__main__":
    status = main(sys.argv[1:])
    gc.freeze()  # else the interpreter spends half a second looking for garbage as it ends
    sys.exit(status)
