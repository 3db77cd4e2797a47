"""models/serving.py takes and returns the names of the run's own table, as well as unique_id, ds and y; no server."""

import json
from datetime import date, timedelta
from typing import Any

import pandas as pd
import pytest
import torch

from models import serving

COLUMNS = {"unique_id": ["Store", "Dept"], "ds": "day", "y": "sales"}


def last(past: torch.Tensor, *_: torch.Tensor) -> torch.Tensor:
    """The last y, once for each of two steps."""
    return past[:, -1:, :1].expand(-1, 2, -1)


def model(columns: Any = None, span: str | int = "1d", **facts: Any) -> serving.Model:
    feature = {"lookback": 2, "sampling_rate": 1, "delay": 0}
    windows = {"horizon": 2, "gap": 0, "features": {"y": feature}, "future": {}, "static": {}, "calendar": []}
    own = {
        "channels": [{"name": "y", **feature}],
        "ids": ["sales"],
        "forward_fill": 0,
        "half_widths": [1.0, 2.0],
        "categories": {},
    }
    return serving.Model({"windows": windows, "frequency": span, "columns": columns or COLUMNS} | own | facts, last)


def rows(days: Any) -> pd.DataFrame:
    """Four rows of two stores, the second first."""
    ids = {"Store": pd.Series([10, 10, 2, 2], dtype="int16"), "Dept": ["a/b", "a/b", "01", "01"]}
    return pd.DataFrame({**ids, "day": [*days] * 2, "sales": [1.0, 2.0, 3.0, 4.0]})


DAYS = pd.Series(pd.to_datetime(["2024-03-30", "2024-03-31"]))
KINDS: dict[str, tuple[Any, Any]] = {
    "naive": (DAYS.astype("datetime64[ms]"), DAYS.astype("datetime64[ms]") + timedelta(days=2)),
    "UTC": (DAYS.dt.tz_localize("UTC"), DAYS.dt.tz_localize("UTC") + timedelta(days=2)),
    "text": (["2024-03-30", "2024-03-31"], pd.Series(["2024-04-01", "2024-04-02"], dtype=object)),
    "dates": ([date(2024, 3, 30), date(2024, 3, 31)], pd.Series([date(2024, 4, 1), date(2024, 4, 2)], dtype=object)),
    "text with a clock": (["2024-03-30 00:00", "2024-03-31 00:00"], DAYS + timedelta(days=2)),
    "text with an offset": (["2024-03-30T00:00Z", "2024-03-31T00:00Z"], DAYS.dt.tz_localize("UTC") + timedelta(days=2)),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_frame_of_the_runs_own_names_comes_back_under_them_in_its_types(kind: str) -> None:
    given, expected = KINDS[kind]
    frame = rows(given)
    found = model().predict(frame)
    assert list(found.columns) == ["Store", "Dept", "day", "cutoff", "yhat", "yhat-lo-90", "yhat-hi-90", "model"]
    assert found["Store"].tolist() == [10, 10, 2, 2] and found["Store"].dtype == "int16" and found["Dept"].tolist()[2] == "01"
    assert found["day"].head(2).tolist() == expected.tolist() and found["yhat"].tolist() == [2.0, 2.0, 4.0, 4.0]
    if kind != "text with a clock":  # which is text, and comes back as a time
        assert found["day"].dtype == frame["day"].dtype or kind in ("text with an offset", "text", "dates")
        joined = frame.assign(day=list(expected) * 2).merge(found, on=["Store", "Dept", "day"])
        assert len(joined) == 4 or kind == "text with an offset"


def test_house_names_are_answered_as_before() -> None:
    frame = pd.DataFrame({"unique_id": ["a", "a"], "ds": DAYS, "y": [1.0, 2.0], "Store": 1, "sales": "passed over"})
    found = model().predict(frame)
    assert list(found.columns)[:3] == ["unique_id", "cutoff", "ds"] and str(found["ds"].dt.tz) == "UTC"


def test_one_id_none_and_names_of_ours() -> None:
    one = model({"unique_id": "cutoff", "ds": "yhat", "y": "y"}, span=1)
    found = one.predict(pd.DataFrame({"cutoff": ["s", "s"], "yhat": [1, 2], "y": [1.0, 2.0]}))
    assert list(found.columns)[:4] == ["cutoff_", "yhat_", "cutoff", "yhat"]
    assert found["yhat_"].tolist() == [3, 4] and found["cutoff"].tolist() == [2, 2] and found["cutoff_"].tolist() == ["s", "s"]
    none = model({"unique_id": None, "ds": "day", "y": "sales"})
    assert list(none.predict(rows(DAYS)[["day", "sales"]].head(2)).columns)[:2] == ["day", "cutoff"]


@pytest.mark.parametrize(
    "names", [("unique_id", "day", "sales"), ("Store", "ds", "sales"), ("Store", "Dept", "day", "y"), ("Store", "ds", "y")]
)
def test_a_mixture_is_refused(names: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match=r"are named in two ways; give unique_id, ds, y, or Store, Dept, day, sales"):
        model().predict(pd.DataFrame({name: [1.0, 2.0] for name in names}))


def test_a_missing_column_is_named_with_both_ways() -> None:
    with pytest.raises(ValueError, match=r"'unique_id' is missing; needed are unique_id, ds, y, or Store, Dept, day, sales$"):
        model().predict(rows(DAYS).drop(columns="Dept"))


@pytest.mark.parametrize("form", ["text/csv", "dataframe_split", "dataframe_records"])
def test_requests_of_both_kinds_are_answered_in_their_own_names(form: str) -> None:
    frame = rows(["2024-03-30", "2024-03-31"])
    bodies = {
        "text/csv": frame.to_csv(index=False),
        "dataframe_split": json.dumps({form: {"columns": [*frame.columns], "data": frame.to_numpy().tolist()}}),
        "dataframe_records": json.dumps({form: frame.to_dict("records")}),
    }

    kind = form if form == "text/csv" else "application/json"
    status, text = serving._answer(model(), bodies[form].encode(), kind, 10_000, 100)
    found = json.loads(text)["predictions"]
    assert status == 200 and [row["day"] for row in found] == ["2024-04-01", "2024-04-02"] * 2
    assert [row["Dept"] for row in found] == ["a/b", "a/b", "01", "01"]  # as it stands: no number
    assert [row["Store"] for row in found] == (["10", "10", "2", "2"] if form == "text/csv" else [10, 10, 2, 2])


@pytest.mark.parametrize(("zone", "span"), [("Europe/Berlin", "1d"), ("Europe/Berlin", "1h"), (None, "1d"), ("+05:30", "1d")])
def test_times_without_a_zone_stay_on_the_clock_and_a_zone_stays(zone: str | None, span: str) -> None:
    step = timedelta(days=1) if span == "1d" else timedelta(hours=1)
    clock = pd.Series(pd.date_range("2024-03-30", periods=4, freq=step).as_unit("us"))  # clocks go forward on the 31st at 2
    named = clock.dt.tz_localize(zone or "America/New_York")
    for own in (clock, named):
        frame = pd.DataFrame({"day": own.head(2), "sales": [1.0, 2.0]})
        found = model({"unique_id": None, "ds": "day", "y": "sales"}, span=span, zone=zone).predict(frame)
        assert found["day"].dtype == own.dtype and found["day"].tolist() == own.tail(2).tolist()
        assert found["cutoff"].tolist() == [own[1]] * 2
