"""The canary stays silent on an honest pipeline and names a planted leak: in a feature, in the scaling, in a forecaster."""

from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from torch import Tensor

import models.baseline_fit
import tasks.evaluate.canary
from models import build_forecaster
from models.data.panel import Split
from models.data.scaling import Scaling, no_scaling
from models.data.window import FeatureWindow, WindowParams
from models.forecaster import Forecaster
from models.networks.contract import Network
from params.schema import ScalingParams
from tasks.evaluate.canary import BuildPanel, Pipeline, find_leak, spoil
from tasks.grid.frequency import Frequency
from tasks.lags.panel import write_panel
from tasks.train.job import baseline_job

PARAMS = WindowParams(3, {"y": FeatureWindow(6), "x": FeatureWindow(3, 2)}, 1, 1, ("hour",))
START = datetime(2020, 1, 1)
SPLIT = Split("time", *(int((START + timedelta(hours=h) - datetime(1970, 1, 1)) / timedelta(microseconds=1)) for h in (60, 80)))


def frame() -> pl.LazyFrame:
    rng = np.random.default_rng(0)
    ds = [START + timedelta(hours=i) for i in range(120)]
    part = [
        pl.DataFrame({"unique_id": [name] * 120, "ds": ds, "y": rng.normal(size=120), "x": rng.normal(size=120)})
        for name in "ab"
    ]
    return pl.concat(part).with_columns(pl.col("ds").dt.cast_time_unit("us").dt.replace_time_zone("UTC")).lazy()


def honest(rows: pl.LazyFrame, folder: Path) -> Path:
    return write_panel(rows, PARAMS, Frequency("1h"), 2, folder)


def forecasters() -> dict[str, Forecaster]:
    torch.manual_seed(0)
    return {"gru": build_forecaster("recurrent", {"cell": "gru", "hidden_size": 4}, PARAMS, level="last").eval()}


RULE = ScalingParams(per="series", method="standard", window="last", target="none")


def leak_of(build: BuildPanel = honest, own: dict[str, Forecaster] | None = None, rule: ScalingParams = RULE) -> str | None:
    return find_leak(frame(), ("a", "b"), Pipeline(build, PARAMS, SPLIT, own or forecasters(), (rule,)))


def test_an_honest_pipeline_keeps_every_bit() -> None:
    assert leak_of() is None


@pytest.mark.parametrize(
    ("column", "leaky"),
    [
        ("x", pl.col("x").shift(-1).over("unique_id")),
        ("x", pl.col("x") - pl.col("x").mean()),
        ("x", pl.col("y").rolling_mean(5, center=True).over("unique_id")),
    ],
    ids=["shifted ahead", "centred on the whole", "a centred mean of y"],
)
def test_a_feature_that_sees_ahead_is_named(column: str, leaky: pl.Expr) -> None:
    def build(rows: pl.LazyFrame, folder: Path) -> Path:
        return honest(rows.with_columns(leaky.alias(column)), folder)

    leak = leak_of(build)
    assert leak is not None and f"feature {column!r}" in leak and "cutoff 2020-01-0" in leak


def test_scaling_that_sees_the_test_rows_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def leaky(panel, params, split, *rule) -> Scaling:  # type: ignore[no-untyped-def]
        mean = torch.tensor(np.nanmean(panel.target.astype(np.float64)), dtype=torch.float32)
        return no_scaling(params)._replace(y_loc=mean.reshape(1))

    monkeypatch.setattr(tasks.evaluate.canary, "fit_scaling", leaky)
    leak = leak_of()
    assert leak is not None and "the scaling" in leak and "'y'" in leak


@pytest.mark.parametrize("target", ["none", "asinh"])
@pytest.mark.parametrize("window", ["none", "last", "mean", "revin"])
@pytest.mark.parametrize("method", ["standard", "robust"])
@pytest.mark.parametrize("per", ["series", "global"])
def test_no_way_to_scale_sees_ahead(per: Any, method: Any, window: Any, target: Any) -> None:
    assert leak_of(rule=ScalingParams(per=per, method=method, window=window, target=target)) is None


def test_what_is_declared_known_ahead_is_left_alone_and_nothing_else() -> None:
    params = replace(PARAMS, future=("x",), static={"unique_id": "categorical"})

    def build(rows: pl.LazyFrame, folder: Path) -> Path:
        return write_panel(rows, params, Frequency("1h"), 2, folder)

    torch.manual_seed(0)
    gru = build_forecaster("recurrent", {"cell": "gru", "hidden_size": 4}, params, categories={"unique_id": 2}).eval()
    assert find_leak(frame(), ("a", "b"), Pipeline(build, params, SPLIT, {"gru": gru}, (RULE,))) is None

    def leaky(rows: pl.LazyFrame, folder: Path) -> Path:
        return build(rows.with_columns(x=pl.col("y").shift(-2).over("unique_id")), folder)

    leak = find_leak(frame(), ("a", "b"), Pipeline(leaky, params, SPLIT, {"gru": gru}, (RULE,)))
    assert leak is not None and "'y'" in leak


def test_a_forecaster_that_is_not_a_function_of_its_window_is_found() -> None:
    class Restless(Network):
        calls = 0

        def forward(self, x_BLF: Tensor) -> Tensor:
            self.calls += 1
            return x_BLF[:, -1, :1].expand(-1, 3) + self.calls

    restless = Forecaster(Restless(), PARAMS, no_scaling(PARAMS), "none")
    leak = leak_of(own={"restless": restless})
    assert leak is not None and "restless" in leak


def test_spoiling_reaches_every_later_value_and_no_earlier_one() -> None:
    whole = frame().collect()
    cutoff = int((START + timedelta(hours=90) - datetime(1970, 1, 1)) / timedelta(microseconds=1))
    borders = pl.DataFrame({"unique_id": ["a", "b"], "_border": [0, 0]})
    altered = spoil(whole, ["y"], cutoff, borders)
    later = whole["ds"].to_physical() > cutoff
    assert (altered.filter(later)["y"] == tasks.evaluate.canary.SPOILED).all()
    assert altered.filter(~later).equals(whole.filter(~later))
    assert altered["x"].equals(whole["x"])


def test_a_split_by_rows_lets_a_longer_series_train_while_a_shorter_one_is_tested() -> None:
    """That is no leak: windows keep to their series.  Its own test rows are spoiled all the same."""
    short = frame().filter((pl.col("unique_id") == "a") | (pl.col("ds").rank("ordinal").over("unique_id") <= 70))
    split = Split("rows", 20, 20)
    assert find_leak(short, ("a", "b"), Pipeline(honest, PARAMS, split, forecasters(), (RULE,))) is None

    def leaky(rows: pl.LazyFrame, folder: Path) -> Path:
        return honest(rows.with_columns(pl.col("x").shift(-1).over("unique_id")), folder)

    leak = find_leak(short, ("a", "b"), Pipeline(leaky, PARAMS, split, forecasters(), (RULE,)))
    assert leak is not None and "feature 'x'" in leak


def test_an_earlier_fold_whose_scaling_sees_its_validation_range_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """On the borders of the fold the test cutoffs, which come later, would show nothing of it."""
    real = tasks.evaluate.canary.fit_scaling

    def leaky(panel, params, split, *others):  # type: ignore[no-untyped-def]
        return real(panel, params, replace(split, validation=(split.validation + split.test) // 2), *others)

    monkeypatch.setattr(tasks.evaluate.canary, "fit_scaling", leaky)
    assert find_leak(frame(), ("a", "b"), Pipeline(honest, PARAMS, SPLIT, forecasters(), (RULE,))) is None
    leak = find_leak(frame(), ("a", "b"), Pipeline(honest, PARAMS, SPLIT, forecasters(), (RULE,), tried="validation"))
    assert leak is not None and "the scaling" in leak


def test_a_baseline_of_an_ensemble_that_sees_ahead_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    naive2 = baseline_job("naive2", 24, PARAMS, SPLIT, 1, tmp_path)
    job = replace(naive2, family="ensemble", network={}, windows=PARAMS, members=(naive2,))
    pipeline = Pipeline(honest, PARAMS, SPLIT, {}, (RULE,), {"both": job})
    assert find_leak(frame(), ("a", "b"), pipeline) is None
    real = models.baseline_fit.baseline

    def leaky(name, arguments, y, start, at, *others):  # type: ignore[no-untyped-def]
        return real(name, arguments, y, start, at + 1, *others)

    monkeypatch.setattr(models.baseline_fit, "baseline", leaky)
    leak = find_leak(frame(), ("a", "b"), pipeline)
    assert leak is not None and "the forecast of both, of its baselines," in leak and "'y'" in leak
