"""What the picture of the report can show: which series and origins, and the numbers of each."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from models.data.panel import Data, Panel, Split
from models.data.window import FeatureWindow, WindowParams
from params.load import load_run
from tasks.compare.compare import Comparison
from tasks.grid.frequency import Frequency
from tasks.lags.panel import write_panel
from tasks.report.chooser import ENDS, MOST_SERIES, chooser_of, some_places

Made = Callable[[bool], Comparison]
HOURS = 24 * 7


@pytest.fixture
def data(frame: pl.DataFrame, tmp_path: Path) -> Data:
    """The series of the comparison from half a day before its first origin on: 1000 + the hour, but no value at hour 20."""
    start = datetime(2024, 1, 1, tzinfo=UTC) - timedelta(hours=12)
    hours = np.arange(HOURS)
    parts = [
        pl.DataFrame({"unique_id": name, "ds": [start + timedelta(hours=int(hour)) for hour in hours],
                      "y": np.where(hours == 20, np.nan, 1000.0 + hours)}) for name in ("large", "small")
    ]  # fmt: skip
    windows = WindowParams(4, {"y": FeatureWindow(3)})
    path = write_panel(pl.concat(parts).lazy(), windows, Frequency("1h"), 0, tmp_path / "panel")
    return Data(Panel.open(path), windows, Split("time", 0, 1))


@pytest.fixture
def found(made: Made) -> Comparison:
    """`gru` won; its error is larger on `large`."""
    rows = {"model": ["gru", "gru"], "by": ["series"] * 2, "value": ["small", "large"], "mae": [1.0, 9.0]}
    return replace(made(True), slices=pl.DataFrame(rows))


def test_a_forecast_has_its_history_its_gap_and_what_came(found: Comparison, data: Data, frame: pl.DataFrame) -> None:
    shown = chooser_of(found, load_run("params/smoke.yaml"), data)
    assert shown is not None and [(one.name, one.place) for one in shown.series] == [("large", 1), ("small", 2)]
    assert (shown.model, shown.other, shown.unit, shown.history, shown.start) == ("gru", "theta", "temp", 28, 1)
    assert shown.level is None and "all 2 series" in shown.words()  # it has no intervals
    first, *_, last = shown.series[0].origins
    assert (first.cutoff, first.first, first.last) == ("2024-01-01 00:00", "2023-12-31 12:00", "2024-01-01 04:00")
    # 13 hours up to the cutoff, and 15 before the series begins; its hour 20 is unknown
    assert first.actual == [*[None] * 15, *range(1000, 1017)] and len(last.actual) == 28 + 4
    third = shown.series[0].origins[3]
    assert third.cutoff == "2024-01-01 09:00" and third.actual.count(None) == 7 and third.actual[26] is None
    own = frame.filter(pl.col("unique_id") == "large").head(4)
    assert first.model == pytest.approx(own["gru"].to_list(), rel=1e-4)
    assert shown.series[0].origins[1].other == [None] * 4  # theta forecast every third origin
    assert json.loads(json.dumps(shown.to_dict(), allow_nan=False))["series"][1]["name"] == "small"


def test_a_model_without_a_forecast_has_no_picture(found: Comparison, data: Data) -> None:
    nothing = found.slices.with_columns(mae=pl.lit(None, pl.Float64))
    assert chooser_of(replace(found, slices=nothing), load_run("params/smoke.yaml"), data) is None


def test_of_many_series_the_worst_the_best_and_a_sample_are_there() -> None:
    assert some_places(MOST_SERIES, MOST_SERIES, 7) == list(range(MOST_SERIES))
    some = some_places(5000, MOST_SERIES, 2500)
    assert len(some) == MOST_SERIES and some == sorted({*some}) == some_places(5000, MOST_SERIES, 2500)
    assert some[:ENDS] == list(range(ENDS)) and some[-ENDS:] == list(range(5000 - ENDS, 5000)) and 2500 in some
    between = np.array(some[ENDS:-ENDS])
    assert ((between < 2500).sum() > 50) and ((between > 2500).sum() > 50)  # of all places, not of the first
    assert some_places(10, 1, 4) == [4] and some_places(10, 4, 5)[0] == 0 and 9 in some_places(10, 4, 5)
