"""Columns whose changes 32 bits do not hold at their level: found, kept in 64 bits, right in windows, lags and forecasts."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from models import serving
from models.data.origins import origin_rows
from models.data.panel import DamagedPanel, Panel, Split, content_digest
from models.data.scaling import fit_scaling
from models.data.window import FeatureWindow, WindowParams
from models.data.windows import Windows
from models.exported import export
from models.families import build_forecaster
from tasks.grid.frequency import Frequency
from tasks.lags.panel import write_panel
from tasks.lags.past import target_frame
from tasks.lags.sizes import panel_bytes
from tasks.lags.table import lag_table
from tasks.registry.bundle import inputs_of

ROWS = 200
NOISE = np.random.default_rng(0).normal(size=ROWS)
PARAMS = WindowParams(3, {"y": FeatureWindow(6), "x": FeatureWindow(4, 2)}, future=("z",), static={"area": "numeric"})
SPLIT = Split("rows", 40, 40)


def frame_of(series: Mapping[str, Any], **columns: Any) -> pl.DataFrame:
    """y of each series, on steps 0, 1, 2 ...; the other columns in each of them."""
    parts = []
    for name, y in series.items():
        own = {"y": y, "x": NOISE[: len(y)], "z": NOISE[: len(y)] ** 2, "area": 3.0} | columns
        parts.append(pl.DataFrame({"unique_id": name, "ds": np.arange(len(y)), **own}))
    return pl.concat(parts)


def written(frame: pl.DataFrame, folder: Path, params: WindowParams = PARAMS, fill: int = 0) -> tuple[Panel, WindowParams]:
    panel = Panel.open(write_panel(frame.lazy(), params, Frequency(1), fill, folder))
    return panel, panel.widened(params)


ORDINARY: dict[str, Any] = {
    "weather": 70 + 5 * NOISE,
    "pressure": np.round(1013 + 0.5 * NOISE, 1),
    "a price that seldom changes": np.where(np.arange(ROWS) % 50 < 40, 9.99, 8.49),
    "0 and 1": (NOISE > 0) * 1.0,
    "large and as changeable": 1e9 * (1 + 0.1 * NOISE),
    "about 0": 1e-12 * NOISE,
    "constant": np.full(ROWS, 48_213_907.3),
    "missing": np.full(ROWS, np.nan),
}
SMALL_CHANGES: dict[str, Any] = {
    "a meter": 48_213_907 + 0.3 * np.arange(ROWS),
    "with an outlier first": np.append(0.0, 48_213_907 + 0.3 * np.arange(ROWS - 1)),
    "noise of a hundredth": 1e9 + 0.01 * NOISE,
    "negative": -3e8 + 0.5 * NOISE,
    "a low level": 1 + 1e-7 * NOISE,
    "whole numbers": 10_000_000 + np.round(3 * NOISE),
    "far too small for 32 bits": 1e-50 * (2 + NOISE),
    "most of it missing": np.where(np.arange(ROWS) % 3 == 0, 1e8 + NOISE, np.nan),
    "another level later": np.where(np.arange(ROWS) < 100, 1e8, 4e9) + NOISE,
}


@pytest.mark.parametrize("kind", ORDINARY)
def test_what_32_bits_hold_is_kept_in_32(kind: str, tmp_path: Path) -> None:
    values = ORDINARY[kind]
    panel, params = written(frame_of({"a": NOISE, "b": values}, x=values, z=values), tmp_path)
    assert panel.facts.wide == params.wide == () and not (panel.folder / "wide.npy").exists()
    assert panel.target[ROWS:].tolist() == pytest.approx(list(values), rel=0, abs=0, nan_ok=True)


@pytest.mark.parametrize("kind", SMALL_CHANGES)
def test_small_changes_are_found_wherever_they_are_and_kept_as_they_came(kind: str, tmp_path: Path) -> None:
    """In one series of two, in the target, a feature and what is known ahead, whatever the order of the rows."""
    values = SMALL_CHANGES[kind]
    frame = frame_of({"a": NOISE, "b": values}, x=values, z=values)
    panel, params = written(frame, tmp_path)
    assert params.wide == ("y", "x", "z") and panel.facts.wide == ("y", "x", "z (ahead)") == params.wide_channels
    np.testing.assert_array_equal(panel.target[ROWS:], values)
    for name in panel.facts.wide:
        np.testing.assert_array_equal(panel.channel(name)[ROWS:], values)
    assert target_frame(panel, panel.ids)["y"][ROWS:].fill_null(np.nan).to_numpy().tolist() == pytest.approx(
        list(values), abs=0, nan_ok=True
    )
    assert written(frame.sample(fraction=1, shuffle=True, seed=1), tmp_path)[0].folder == panel.folder
    one, of_one = written(frame_of({"a": NOISE, "b": NOISE}, x=values), tmp_path)
    assert of_one.wide == one.facts.wide == ("x",)


def test_what_is_to_be_read_in_64_bits_is_there_whatever_it_holds(tmp_path: Path) -> None:
    """So that a panel of other rows suits a version that reads it so."""
    panel, params = written(frame_of({"a": NOISE}), tmp_path, WindowParams(1, {"y": FeatureWindow(2)}, wide=("y",)))
    assert panel.facts.wide == params.wide == ("y",)
    np.testing.assert_array_equal(panel.wide[:, 0], NOISE)


def test_missing_values_are_carried_forward_in_64_bits_too(tmp_path: Path) -> None:
    meter = SMALL_CHANGES["a meter"].copy()
    meter[[5, 6, 7, 8]] = np.nan
    panel, _ = written(frame_of({"a": meter}, x=meter, z=meter), tmp_path, fill=2)
    carried = np.append(meter[:5], [meter[4]] * 2)
    for name in ("y", "x"):
        np.testing.assert_array_equal(panel.channel(name)[:9], np.append(carried, [np.nan] * 2))
    np.testing.assert_array_equal(panel.channel("z (ahead)"), meter)  # what is known ahead stays as it came
    np.testing.assert_array_equal(panel.target, meter)


def test_a_wide_panel_says_its_size_and_sees_damage(tmp_path: Path) -> None:
    meter = SMALL_CHANGES["a meter"]
    panel, params = written(frame_of({"a": meter}, z=meter), tmp_path)
    facts = json.loads((panel.folder / "panel.json").read_text())
    assert params.wide == ("y", "z") and facts["wide"] == ["y", "z (ahead)"]
    headers, offsets, static = 6 * 128, 2 * 8, 8
    assert facts["bytes"] == panel_bytes(ROWS, params) + headers + offsets + static
    assert content_digest(panel.folder) == panel.digest
    (panel.folder / "wide.npy").write_bytes(b"")
    with pytest.raises(DamagedPanel, match=r"wide\.npy"):
        Panel.open(panel.folder)
    assert written(frame_of({"a": meter}, z=meter), tmp_path)[0].digest == panel.digest  # and is built again


def test_lags_are_the_values_of_the_file(tmp_path: Path) -> None:
    meter = SMALL_CHANGES["a meter"]
    panel, params = written(frame_of({"a": meter}, x=1e9 + 0.01 * NOISE, z=meter), tmp_path)
    table = lag_table(panel, params, "drop", rolling=(2,))
    at = table["ds"].to_numpy()
    np.testing.assert_array_equal(table["y_lag1"].to_numpy(), meter[at - 1])
    np.testing.assert_array_equal(table["y_step3"].to_numpy(), meter[at + 2])
    np.testing.assert_array_equal(table["x_lag3"].to_numpy(), (1e9 + 0.01 * NOISE)[at - 3])
    np.testing.assert_array_equal(table["z_step1"].to_numpy(), meter[at])
    np.testing.assert_allclose(table["y_mean2"].to_numpy(), meter[at - 1] - 0.15, rtol=1e-14)


def last_value(panel: Panel, params: WindowParams, transform: Any = "none", level: Any = "last", per: Any = "series") -> Any:
    """A forecaster whose network adds nothing to the level of the window."""
    scaling = fit_scaling(panel, params, SPLIT, per, "standard", transform)
    own = build_forecaster("linear", {}, params, level=level, transform=transform, scaling=scaling)
    for weight in own.network.parameters():
        torch.nn.init.zeros_(weight)
    return own.eval()


@pytest.mark.parametrize("transform", ["none", "log1p", "asinh"])
@pytest.mark.parametrize("per", ["series", "global"])
@pytest.mark.parametrize("seen", [True, False])
def test_a_forecast_says_the_last_value_at_any_level(transform: str, per: str, seen: bool, tmp_path: Path) -> None:
    series = {"a": 1 + 0.1 * np.abs(NOISE), "b": 1e9 + 0.01 * NOISE, "c": SMALL_CHANGES["a meter"]}
    panel, params = written(frame_of(series), tmp_path)
    windows = Windows(panel, params, origin_rows(panel, params, None, "all", 1))
    inputs = windows.inputs(windows.origins)
    inputs = inputs if seen else inputs._replace(series_B=torch.full_like(inputs.series_B, 9))
    found = last_value(panel, params, transform, per=per)(*inputs)[..., 0].detach().numpy()
    wanted = panel.target[windows.origins.numpy()]
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, np.repeat(wanted[:, None], 3, 1), rtol=3e-14, atol=3e-7)  # 0.01 of 1e9 is 1e-11 of it


@pytest.mark.parametrize("level", ["none", "last", "mean", "revin"])
def test_the_network_sees_small_changes_as_it_sees_large_ones(level: str, tmp_path: Path) -> None:
    """A series far from 0 is to it what the same is near 0."""
    near, far = (
        {"a": offset + 0.25 * np.round(4 * NOISE)} for offset in (0.0, 2.0**33)
    )  # quarters, which both levels hold to the letter
    seen = []
    for series in (near, far):
        (values,) = series.values()
        panel, params = written(frame_of(series, x=values, z=values, area=values[0]), tmp_path)
        assert params.wide == (() if series is near else ("y", "x", "z"))
        windows = Windows(panel, params, origin_rows(panel, params, None, "all", 1))
        seen.append(last_value(panel, params, level=level).inputs(*windows.inputs(windows.origins)).x_BLN)
    np.testing.assert_allclose(seen[0].numpy(), seen[1].numpy(), atol=2e-6)
    assert seen[0].std() > 0.1


@pytest.mark.parametrize("kind", ["a meter", "noise of a hundredth", "another level later"])
def test_a_served_version_forecasts_as_the_panel_does(kind: str, tmp_path: Path) -> None:
    values, promised = SMALL_CHANGES[kind], 1e8 + NOISE
    frame = frame_of({"a": values, "b": NOISE}, x=promised, z=promised)
    panel, params = written(frame, tmp_path)
    torch.manual_seed(0)
    scaling = fit_scaling(panel, params, SPLIT, "series")
    own = build_forecaster("recurrent", {"cell": "gru", "hidden_size": 4}, params, level="last", scaling=scaling).eval()
    facts = {
        "windows": params.to_dict(),
        "channels": [{"name": name, **vars(window)} for name, window in params.channels.items()],
        "ids": panel.ids,
        "frequency": 1,
        "forward_fill": 0,
        "half_widths": [0.5] * 3,
        "categories": {},
        "inputs": inputs_of(params),
    }
    model = serving.Model(json.loads(json.dumps(facts)), serving.open_graph(export(own, params)))
    cut = ROWS - params.ahead
    given = frame.with_columns(y=pl.when(pl.col("ds") < cut).then("y"))
    served = model.forecast(given)["yhat"].to_numpy()
    windows = Windows(panel, params, np.array([cut - 1, ROWS + cut - 1]))
    np.testing.assert_allclose(served, own(*windows.inputs(windows.origins))[..., 0].detach().numpy().ravel(), rtol=1e-15)
    short = given.filter(pl.col("ds") >= cut - params.reach - 1)  # the history that a forecast needs, and no more
    np.testing.assert_allclose(model.forecast(short)["yhat"].to_numpy(), served, rtol=1e-15)


def test_what_comes_after_a_cutoff_changes_no_bit(tmp_path: Path) -> None:
    build: Callable[[pl.DataFrame], tuple[Panel, WindowParams]] = lambda frame: written(frame, tmp_path, wide)  # noqa: E731
    meter = SMALL_CHANGES["a meter"]
    frame = frame_of({"a": meter}, x=meter)
    wide = written(frame, tmp_path)[1]
    spoiled = frame.with_columns(pl.when(pl.col("ds") > 150).then(12345.678).otherwise(name).alias(name) for name in ("y", "x"))
    at = torch.tensor([150])
    pair = [Windows(panel, params, at.numpy()).inputs(at) for panel, params in (build(frame), build(spoiled))]
    for before, after in zip(*pair, strict=True):
        assert torch.equal(before.nan_to_num(), after.nan_to_num())
