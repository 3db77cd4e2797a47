"""A forecaster as a folder that forecasts without this repository: weights, graph, serving code; no pickle.

A baseline has no weights and no graph: its serving code forecasts it.

model.json            what it is: variant, windows, channels, ids, calibration; with the weights the source of
truth
weights.safetensors   all parameters and buffers
graph.pt2             the same forecaster as an exported graph, on the CPU, for any batch size
refitted.safetensors, refitted.pt2   the same for the refit on all rows (`training.refit`), which is served
code/lagline_serving_<hash>.py   a verbatim copy of models/serving.py; two versions never share a module
outside.zip           the code of its baselines from outside this repository, if any
card.md, constraints.txt, checks.json   the model card, the lock file, the verdict of the data checks (if any)
example.json          a long frame of one series, just long enough to forecast from
manifest.json         sha256 and size of every other file, written last; its own sha256 is the bundle's digest
"""

import copy
import hashlib
import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
import torch
from torch import Tensor

from models import serving
from models.data.origins import origin_rows
from models.data.panel import Panel
from models.data.window import AHEAD, WindowParams
from models.data.windows import Inputs, Windows
from models.ensemble import Model
from models.exported import export
from models.fit.checkpoint import write_bytes
from models.fit.job import is_baseline
from tasks.files import placed
from tasks.registry.admitted import ARCHIVE, packed
from tasks.registry.facts import LAYOUT, BundleFacts
from tasks.registry.schema import check_told

BATCHES = (1, 2, 7, 256)  # batch sizes at which graph and forecaster are compared
TOLERANCE, RELATIVE = 1e-4, 1e-5
SEASONS, LEAST = 3, 10  # seasons in a baseline's example, and at least this many rows
MORE = 20  # times as many for one from outside, which may need more to forecast


def write_bundle(
    folder: Path,
    bundle: BundleFacts,
    panel: Panel,
    judged: Model | None,
    refitted: Model | None = None,
    papers: Mapping[str, bytes] | None = None,
) -> str:
    """Writes the bundle (replacing an older one) and returns its digest.

    `judged`: None for a baseline.  `refitted`: the forecaster trained on all rows, if any.  `papers`: files
    for people only.
    Raises ValueError if the exported graph and the forecaster disagree, or the facts could not be read again.
    """
    params = bundle.windows
    programs = _programs("weights.safetensors", "graph.pt2", judged, params, panel) if judged is not None else {}
    if refitted is not None:
        programs |= _programs("refitted.safetensors", "refitted.pt2", refitted, params, panel)
    files = {
        "model.json": json.dumps(bundle.to_dict(), indent=1, allow_nan=False).encode(),
        **programs,
        f"code/{serving_name()}.py": serving.SOURCE,
        "example.json": json.dumps(example(panel, bundle), allow_nan=False).encode(),
        **({ARCHIVE: packed(bundle.code)} if bundle.code else {}),
        **(papers or {}),
    }
    for name in ("model.json", "example.json"):  # never write what could not be opened again
        check_told(name, files[name])
    return _store(folder, files)


def _programs(weights: str, graph: str, forecaster: Model, params: WindowParams, panel: Panel) -> dict[str, bytes]:
    """The two files of a forecaster, with the graph checked against it."""
    cpu_model = copy.deepcopy(forecaster).cpu().eval()
    archive = export(cpu_model, params)
    check_parity(serving.open_graph(archive), cpu_model, params, panel)
    return {weights: _weights(cpu_model), graph: archive}


def serving_name() -> str:
    """The content-based name of the serving module in bundles."""
    return f"lagline_serving_{hashlib.sha256(serving.SOURCE).hexdigest()[:12]}"


@torch.no_grad()
def check_parity(graph: Callable[..., Tensor], forecaster: Model, params: WindowParams, panel: Panel) -> float:
    """The largest difference between graph and forecaster on a panel's windows, at several batch sizes.

    In raw units.  Raises ValueError if it is above 1e-4 and above 1e-5 of the forecast.
    """
    origins = origin_rows(panel, params, None, "all", 1)
    if not len(origins):
        raise ValueError("the panel has no complete window to compare graph and forecaster on")
    windows = Windows(panel, params, origins)
    worst = 0.0
    for size in BATCHES:
        at = windows.origins[torch.linspace(0, len(origins) - 1, size).long()]
        inputs = windows.inputs(at)
        inputs.series_B[-1] = len(panel.ids)  # a series that is not in training
        expected, actual = forecaster(*inputs), graph(*inputs)
        difference = (actual - expected).abs()
        if actual.shape != expected.shape or not (difference <= (RELATIVE * expected.abs()).clamp(min=TOLERANCE)).all():
            raise ValueError(f"the exported graph differs from the forecaster by {difference.max():g} in a batch of {size}")
        worst = max(worst, float(difference.max()))
    return worst


def inputs_of(params: WindowParams) -> dict[str, str]:
    """The inputs of a forecaster's graph in order, with their types."""
    return {name: str(part.dtype).removeprefix("torch.") for name, part in Inputs.zeros(params, 1)._asdict().items()}


class Example(TypedDict):
    """A long frame as columns and rows, JSON-ready."""

    columns: list[str]
    data: list[list[Any]]


def _rows_shown(bundle: BundleFacts) -> int:
    """The rows up to the cutoff in the example: a whole window, or enough seasons for any baseline."""
    if is_baseline(bundle.family):
        return max(LEAST, SEASONS * int(bundle.network["season"])) * (MORE if bundle.code else 1)
    return bundle.windows.reach + 1


def example(panel: Panel, bundle: BundleFacts) -> Example:
    """A long frame as columns and rows: the end of the longest series, just long enough to forecast.

    None where missing.  With covariates known ahead, the last rows have only these.
    """
    params, series = bundle.windows, int(np.argmax(np.diff(panel.offsets)))
    whole, ahead = panel.rows(series), params.ahead if params.future else 0
    rows = slice(max(whole.start, whole.stop - ahead - _rows_shown(bundle)), whole.stop)
    past = np.arange(rows.start, rows.stop) < whole.stop - ahead
    columns = {"unique_id": np.full(len(past), panel.ids[series], object), "ds": _times(panel, rows)}
    alone = is_baseline(bundle.family)  # it reads the target, which a panel always has
    if params.future or bundle.combined or alone:
        columns["y"] = np.where(past, panel.target[rows], np.nan)
    for name in () if alone else params.features:
        columns[name] = np.where(past, panel.channel(name)[rows], np.nan)
    for name in params.future:
        columns[name] = panel.channel(name + AHEAD)[rows]
    for number, name in enumerate(params.static):
        value = panel.static[series, number]
        texts = (None, *panel.categories.get(name, ()))
        columns.setdefault(name, np.full(len(past), texts[int(value)] if name in panel.categories else value, object))
    cells = zip(*(_cells(column) for column in columns.values()), strict=True)
    return {"columns": list(columns), "data": [list(row) for row in cells]}


def _times(panel: Panel, rows: slice) -> np.ndarray:
    times = panel.times[rows]
    if isinstance(panel.facts.frequency, int):
        return np.asarray(times)
    return np.array([f"{time}Z" for time in times.astype("datetime64[us]").astype(str)], object)


def _cells(column: np.ndarray) -> list[Any]:
    """Plain numbers and text, None for NaN."""
    return [None if value != value else value.item() if isinstance(value, np.generic) else value for value in column]


def _weights(forecaster: Model) -> bytes:
    from safetensors.torch import save

    return bytes(save({name: value.contiguous() for name, value in forecaster.state_dict().items()}))


def _store(folder: Path, files: Mapping[str, bytes]) -> str:
    """Writes the files and their manifest in place of `folder`, atomically; returns the manifest's sha256."""
    listed = {name: {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)} for name, content in files.items()}
    manifest = json.dumps({"layout": LAYOUT, "files": listed}, indent=1).encode()
    with placed(folder) as partial:
        (partial / "code").mkdir(parents=True)
        for name, content in {**files, "manifest.json": manifest}.items():
            write_bytes(partial / name, content)
        shutil.rmtree(folder, ignore_errors=True)
    return hashlib.sha256(manifest).hexdigest()
