"""Forecasts of registered versions on origins that none has seen in training or selection."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import polars.selectors as cs
import torch

from models.baseline_fit import history_of
from models.baselines import NAIVES
from models.data.origins import origin_rows
from models.data.panel import DamagedPanel, Panel, Split
from models.data.window import WindowParams
from models.data.windows import Windows
from models.fit.job import is_baseline
from models.serving import suffices, text_of
from models.worker import BATCH
from params.errors import UserError
from params.schema import RunParams
from tasks.evaluate.baselines import baselines_at, with_baselines
from tasks.evaluate.bounds import bounds_of
from tasks.evaluate.forecasts import origin_frame, own_column
from tasks.evaluate.frames import COVERAGE, OWN, with_intervals
from tasks.registry.load import Version
from tasks.shelf import VARIABLE, get, shelf


def border(panel: Panel, split: Split) -> int | dict[str, int]:
    """The first row a fit on this split has not seen: one time, or (for a split by rows) one per series."""
    if split.by == "time":
        return split.test
    first, _ = split.target_ranges(panel.times, panel.offsets, "test")
    starts = np.minimum(panel.offsets[:-1] + first, panel.offsets[1:] - 1)
    return dict(zip(panel.ids, panel.times[starts].tolist(), strict=True))


def common_origins(panel: Panel, split: Split, stride: int, versions: Sequence[Version]) -> np.ndarray:
    """The test origins of a split with every version's whole window, and targets that none has seen."""
    common: np.ndarray | None = None
    for version in versions:
        params = _within(version.facts.windows, panel)
        usable = _origins(version, panel, params, split, stride)
        common = usable if common is None else np.intersect1d(common, usable)
    origins = np.asarray(common)
    first_target = panel.times[origins + versions[0].facts.windows.gap + 1]
    for version in versions:
        origins_seen = _borders(version, panel)[np.searchsorted(panel.offsets, origins, side="right") - 1]
        keep = first_target >= origins_seen
        origins, first_target = origins[keep], first_target[keep]
    return origins


def _within(params: WindowParams, panel: Panel) -> WindowParams:
    """Windows that do not reach into padding that their own version would not have had."""
    more = panel.facts.start_padding - params.start_padding
    return replace(params, start_index=max(params.start_index, more, 0))


def _borders(version: Version, panel: Panel) -> np.ndarray:
    """[S] per series, the first timestamp the version has not trained on (int64 min if unknown)."""
    seen = version.trained_on.unseen_from
    if isinstance(seen, int):
        return np.full(len(panel.ids), seen)
    borders = {text_of(name): time for name, time in seen.items()}
    return np.array([borders.get(name, np.iinfo(np.int64).min) for name in panel.ids])


def _origins(version: Version, panel: Panel, params: WindowParams, split: Split, stride: int) -> np.ndarray:
    """The test origins of one version.

    A baseline reads the target, which every panel has, and needs enough of it: a naive one is simply tried,
    which costs nothing."""
    bundle = version.facts
    if not is_baseline(bundle.family):
        return origin_rows(restricted(panel, params, version), params, split, "test", stride)
    origins = origin_rows(panel, params, split, "test", stride)
    if bundle.family in NAIVES:
        return np.asarray(origins[np.isfinite(forecasts(version, panel, origins)).all(axis=1)])
    return np.asarray(origins[suffices(bundle.family, {**bundle.network}, history_of(panel, origins))])


def restricted(panel: Panel, params: WindowParams, version: Version) -> Panel:
    """The panel with only a version's channels, in its order.  Raises UserError if one is missing."""
    missing = [name for name in params.panel_channels if name not in panel.channels]
    known = list(panel.facts.static)
    missing += [name for name in params.static if name not in known]
    if missing:
        raise UserError(
            f"{version} needs {', '.join(missing)}, which the challenger's data do not have: they cannot be compared"
        )
    columns = [panel.column(name) for name in params.panel_channels]
    static = panel.static[:, [known.index(name) for name in params.static]] if params.static else panel.static[:, :0]
    same = list(params.panel_channels) == list(panel.channels)
    values = panel.values if same else np.ascontiguousarray(panel.values[:, columns])
    return replace(panel, values=values, channels=params.panel_channels, static=static)


def forecasts(version: Version, panel: Panel, origins: np.ndarray, refitted: bool = False) -> np.ndarray:
    """[origins, horizon] of a version's exported graph, NaN where a baseline has no forecast.

    The judged graph has seen no row of the test range; `refitted`: the one trained again on all rows, if
    there is one."""
    return _points(
        version, panel, origins, None if is_baseline(version.facts.family) else _raw(version, panel, origins, refitted)
    )


def _points(version: Version, panel: Panel, origins: np.ndarray, raw: np.ndarray | None) -> np.ndarray:
    return (
        version.model.points(raw, history_of(panel, origins)) if len(origins) else np.empty((0, version.facts.windows.horizon))
    )


@torch.inference_mode()
def _raw(version: Version, panel: Panel, origins: np.ndarray, refitted: bool = False) -> np.ndarray:
    """[origins, horizon, outputs] of a version's graph."""
    params = version.facts.windows
    windows = Windows(restricted(panel, params, version), params, origins)
    graph = version.model.refitted if refitted else version.model.graph
    assert graph is not None
    known, other = version.model.known, len(version.facts.ids)
    numbers = torch.tensor([known.get(name, other) for name in panel.ids])
    codes = _codes(version, panel, params)
    parts = []
    for start in range(0, len(origins), BATCH):
        inputs = windows.inputs(windows.origins[start : start + BATCH])
        static = codes[inputs.series_B] if params.static else inputs.static_BC
        recoded = inputs._replace(static_BC=static, series_B=numbers[inputs.series_B])
        parts.append(version.model.run(graph, recoded._asdict()))
    return torch.cat(parts).numpy() if parts else np.empty((0, params.horizon, 1))


def _codes(version: Version, panel: Panel, params: WindowParams) -> torch.Tensor:
    """[S, C] the static covariates, categories by the version's own codes; 0 for an unknown one."""
    static = np.array(restricted(panel, params, version).static)
    for column, (name, kind) in enumerate(params.static.items()):
        if kind == "categorical":
            code_of = {text_of(text): code for code, text in enumerate(version.facts.categories.get(name, ()), start=1)}
            texts = (None, *panel.categories.get(name, ()))
            static[:, column] = [code_of.get(texts[int(code)], 0) for code in static[:, column]]
    return torch.from_numpy(static)


def forecast_frames(
    panel: Panel, origins: np.ndarray, versions: Mapping[str, Version], run: RunParams, baselines: Sequence[str]
) -> pl.DataFrame:
    """The wide forecast frame of versions (by column name, with their intervals) and some baselines."""
    frame = origin_frame(panel, next(iter(versions.values())).facts.windows, origins)
    for name, version in versions.items():
        frame = frame.with_columns(_distribution(version, name, panel, origins))
    frame = frame.with_columns(baselines_at(panel, origins, with_baselines(run, tuple(baselines))))
    for name, version in versions.items():
        calibration, bounds = version.facts.calibrated.calibration, bounds_of(version.trained_on.run.data)
        ids = [text_of(series) or "" for series in version.facts.ids]
        frame = with_intervals(frame, name, calibration, (COVERAGE,), ids, bounds, _units(version, panel, origins))
    return frame.drop(cs.starts_with(OWN))


def _distribution(version: Version, name: str, panel: Panel, origins: np.ndarray) -> Iterator[pl.Series]:
    """The columns of a version's points, and of the model quantiles that its intervals are made from."""
    raw = None if is_baseline(version.facts.family) else _raw(version, panel, origins)
    points, calibration = _points(version, panel, origins, raw), version.facts.calibrated.calibration
    yield pl.Series(name, bounds_of(version.trained_on.run.data).of(points).ravel(), pl.Float64)
    quantiles = None if raw is None else version.model.own_quantiles(raw)
    if quantiles is not None:
        for at, level in enumerate(calibration.levels):
            yield pl.Series(OWN + own_column(name, level), quantiles[..., at].ravel())


def _units(version: Version, panel: Panel, origins: np.ndarray) -> np.ndarray:
    """[origins x horizon] the unit of each row's series.

    For a series that was not in training, from its rows up to the cutoff, as in serving."""
    calibration, other = version.facts.calibrated.calibration, len(version.facts.ids)
    owner = np.searchsorted(panel.offsets, origins, side="right") - 1
    numbers = np.array([version.model.known.get(name, other) for name in panel.ids])
    units = calibration.units[numbers[owner]]
    for series in np.unique(owner[numbers[owner] == other]):
        some, y = owner == series, np.asarray(panel.target[panel.rows(series)], np.float64)
        units[some] = calibration.own_units(np.arange(len(y)), y, origins[some] - panel.offsets[series])
    return np.repeat(units, version.facts.windows.horizon)


def panel_of(version: Version, home: Path) -> Panel:
    """The stored panel that a version was trained on, from the shelf if the state folder lacks it.

    Raises UserError if it is gone or damaged, Unavailable if the shelf does not answer.
    """
    digest, panels = version.trained_on.fingerprint["data"], home / "panels"
    try:
        return Panel.open(panels / digest)
    except (FileNotFoundError, NotADirectoryError):
        wrong = f"its data (panel {digest[:12]}) are not in {panels}"
    except DamagedPanel as error:
        wrong = str(error)
    if get(digest, panels):
        return Panel.open(panels / digest)
    remote = shelf()
    nor, otherwise = (f", nor on {remote}", "") if remote else ("", f", or set {VARIABLE} to the shelf that has it")
    raise UserError(
        f"{version}: {wrong}{nor}: run python -m flows compare with the same params and data, which builds it again"
        f"{otherwise}; the version itself still forecasts"
    )
