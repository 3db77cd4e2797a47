"""Holidays: dates as they are given, countries by the package, and the channel that says which day is one."""

from datetime import date, datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from models.data.panel import Panel
from models.data.window import FeatureWindow, WindowParams
from params.errors import UserError
from params.load import load_run
from tasks.grid.frequency import Frequency
from tasks.grid.holidays import holidays_of
from tasks.lags.panel import write_panel
from tasks.lags.table import lag_table


def test_dates_countries_and_parts_of_them() -> None:
    assert holidays_of(None) == ()
    assert holidays_of(("2024-12-24", "2024-02-12")) == (date(2024, 2, 12), date(2024, 12, 24))
    germany, bavaria = holidays_of("DE"), holidays_of("DE-BY")
    assert date(2024, 10, 3) in germany and date(2024, 1, 6) not in germany and date(2024, 1, 6) in bavaria
    assert set(germany) < set(holidays_of(("DE", "2024-12-24"))) and list(germany) == sorted(germany)
    assert date(2024, 11, 28) in holidays_of("XNYS")  # Thanksgiving, by the exchange


@pytest.mark.parametrize("code", ["XX", "DE-QQ"])
def test_an_unknown_country_is_refused(code: str) -> None:
    with pytest.raises(UserError, match=f"data.holidays: '{code}' is neither a date nor a country"):
        holidays_of(code)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["data.holidays=Germany of old"], "neither a date nor a code: write dates such as 2024-12-25, a country such as DE"),
        (["data.holidays=[2024-02-30]"], "2024-02-30 is no date of the calendar"),
        (["windows.calendar=[holiday]"], "holiday needs data.holidays: a list of dates, or a country such as DE"),
        (["data.holidays=DE", "windows.calendar=[holiday]", "windows.future=[holiday]"], "holiday is what the calendar makes"),
        (["data.time_zone=Mars/Olympus"], "'Mars/Olympus' is no time zone: write one such as Europe/Berlin"),
    ],
)  # fmt: skip
def test_what_no_run_can_have_is_refused(settings: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        load_run("params/nyc_weather.yaml", settings)


@pytest.mark.parametrize(
    ("span", "zone", "first", "ones"),
    [
        ("1d", None, datetime(2024, 4, 29), [2]),
        ("1bd", None, datetime(2024, 4, 29), []),  # no step of business days is a holiday
        ("6h", None, datetime(2024, 4, 30, 12), [2, 3, 4, 5]),
        ("6h", "America/New_York", datetime(2024, 4, 30, 22), [1, 2, 3, 4]),  # of the day of its own zone: from 4:00 UTC
    ],
)  # fmt: skip
def test_a_holiday_is_one_on_its_day_and_zero_elsewhere(
    span: str, zone: str | None, first: datetime, ones: list[int], tmp_path: Path
) -> None:
    frequency = Frequency(span, zone, (date(2024, 5, 1),))
    begin = pl.lit(first).cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
    frame = pl.select(at=pl.int_range(8)).select(
        pl.lit("a").alias("unique_id"), frequency.at(begin, pl.col("at")).alias("ds"), pl.col("at").cast(pl.Float64).alias("y")
    )
    params = WindowParams(2, {"y": FeatureWindow(2)}, calendar=("weekday", "holiday"))
    panel = Panel.open(write_panel(frame.lazy(), params, frequency, 0, tmp_path))
    assert panel.channels == ("y", "weekday_sin", "weekday_cos", "holiday")
    assert np.flatnonzero(panel.values[:, 3]).tolist() == ones and set(panel.values[:, 3]) <= {0.0, 1.0}
    assert (panel.facts.zone, panel.facts.holidays) == (zone, ("2024-05-01",))
    assert lag_table(panel, params)["holiday"].head(8).to_list() == panel.values[:, 3].tolist()
