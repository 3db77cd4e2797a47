"""The canary stays silent on an honest pipeline and names a planted leak: in a feature, in the scaling, in a forecaster."""

from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from torch import Tensor, nn

import tasks.canary
from models import build_forecaster
from models.forecaster import Forecaster
from models.panel import Split
from models.scaling import Scaling, no_scaling
from models.windows import FeatureWindow, WindowParams
from tasks.canary import find_leak, spoil
from tasks.frequency import Frequency
from tasks.panel import write_panel

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


def test_an_honest_pipeline_keeps_every_bit() -> None:
    assert find_leak(frame(), honest, PARAMS, SPLIT, forecasters()) is None


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

    leak = find_leak(frame(), build, PARAMS, SPLIT, forecasters())
    assert leak is not None and f"feature {column!r}" in leak and "cutoff 2020-01-0" in leak


def test_scaling_that_sees_the_test_rows_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def leaky(panel, params, split, *rule) -> Scaling:  # type: ignore[no-untyped-def]
        mean = torch.tensor(np.nanmean(panel.target.astype(np.float64)), dtype=torch.float32)
        return no_scaling(params)._replace(y_loc=mean.reshape(1))

    monkeypatch.setattr(tasks.canary, "fit_scaling", leaky)
    leak = find_leak(frame(), honest, PARAMS, SPLIT, forecasters())
    assert leak is not None and "the scaling" in leak and "'y'" in leak


def test_a_forecaster_that_is_not_a_function_of_its_window_is_found() -> None:
    class Restless(nn.Module):
        calls = 0

        def forward(self, x_BLF: Tensor) -> Tensor:
            self.calls += 1
            return x_BLF[:, -1, :1].expand(-1, 3) + self.calls

    restless = Forecaster(Restless(), PARAMS, no_scaling(PARAMS), "none")
    leak = find_leak(frame(), honest, PARAMS, SPLIT, {"restless": restless})
    assert leak is not None and "restless" in leak


def test_spoiling_reaches_every_later_value_and_no_earlier_one() -> None:
    whole = frame().collect()
    cutoff = int((START + timedelta(hours=90) - datetime(1970, 1, 1)) / timedelta(microseconds=1))
    altered = spoil(whole, ["y"], cutoff)
    later = whole["ds"].to_physical() > cutoff
    assert (altered.filter(later)["y"] == tasks.canary.SPOILED).all()
    assert altered.filter(~later).equals(whole.filter(~later))
    assert altered["x"].equals(whole["x"])
