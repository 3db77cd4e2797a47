"""The time of each row by any column or columns that say it, and what is said where it cannot be read."""

from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from params.data import DataParams
from params.errors import UserError
from tasks.load.cells import time_of
from tasks.load.keys import check_keys
from tasks.load.source import open_source

HOUR = datetime(2020, 3, 1, 5, tzinfo=UTC)


def times(folder: Path, columns: dict[str, list[Any]], name: str = "x.parquet", **data: Any) -> list[datetime | int | None]:
    """The times that a table gives in the form of its file."""
    frame, file = pl.DataFrame({**columns, "load": 1.0}), folder / name
    (frame.write_parquet if file.suffix == ".parquet" else frame.write_csv)(file)
    source = open_source(DataParams(path=str(file), **{"time": "t", "target": "load", "frequency": "1h"} | data))
    check_keys(source)
    (table,) = source.tables
    return table.rows.select(time_of(table, source.data)).collect().to_series().to_list()


@pytest.mark.parametrize("name", ["x.csv", "x.parquet"])
def test_whole_numbers_are_dates_under_a_duration_and_steps_under_a_number(tmp_path: Path, name: str) -> None:
    days = [datetime(2020, 1, 31, tzinfo=UTC), datetime(2020, 2, 1, tzinfo=UTC)]
    assert times(tmp_path, {"t": [20200131, 20200201]}, name, frequency="1d") == days
    assert times(tmp_path, {"t": [20200131, 20200201]}, name, frequency=1) == [20200131, 20200201]
    assert times(tmp_path, {"t": [202002, 202003]}, name, frequency="1mo")[0] == datetime(2020, 2, 1, tzinfo=UTC)
    assert times(tmp_path, {"t": [2020, 2021]}, name, frequency="1y")[1] == datetime(2021, 1, 1, tzinfo=UTC)
    assert times(tmp_path, {"t": [20200131.0]}, "x.parquet", frequency="1d") == days[:1]
    for wrong, frequency in (([20200131, 20200132], "1d"), ([2020, 2021], "1d"), ([1, 2], "1h")):
        with pytest.raises(UserError, match=r"for integer time steps write data.frequency as a whole number"):
            times(tmp_path, {"t": wrong}, name, frequency=frequency)


@pytest.mark.parametrize("name", ["x.csv", "x.parquet"])
def test_numbers_since_1970_are_times_in_the_unit_that_is_given(tmp_path: Path, name: str) -> None:
    seconds = int(HOUR.timestamp())
    for unit, times_a_second in {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}.items():
        assert times(tmp_path, {"t": [seconds * times_a_second]}, name, time_unit=unit) == [HOUR]
    assert times(tmp_path, {"t": [seconds + 0.25]}, name, time_unit="s") == [HOUR.replace(microsecond=250_000)]
    assert times(tmp_path, {"t": [-3600]}, name, time_unit="s") == [datetime(1969, 12, 31, 23, tzinfo=UTC)]
    with pytest.raises(UserError, match=r"write data.time_unit: s \(it is then 2020-03-01 05:00\)"):
        times(tmp_path, {"t": [seconds]}, name)
    with pytest.raises(UserError, match="time_unit: ms"):
        times(tmp_path, {"t": [seconds * 1000]}, name)


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"year": 2020, "month": 3, "day": 1, "hour": 5}, HOUR),
        ({"Stunde": 5, "Tag": 1, "Monat": 3, "Jahr": 2020}, HOUR),
        ({"año": 2020, "mes": 3, "día": 1, "hora": "05:00"}, HOUR),
        ({"a": 2020, "b": 3, "c": 1, "d": 5}, HOUR),
        ({"arrival_date_year": 2020, "arrival_date_month": "March", "arrival_date_day_of_month": 1, "Hour": 5}, HOUR),
        ({"date": "2020-03-01", "hour": 5}, HOUR),
        ({"date": "2020/3/1", "time": "5:00:00"}, HOUR),
        ({"dteday": date(2020, 3, 1), "hr": 5}, HOUR),
        ({"DAY": date(2020, 3, 1), "clock": time(5)}, HOUR),
        ({"when": "20200301", "at": "05:00"}, HOUR),
        ({"d": "20200301", "h": 5}, HOUR),
        ({"date": "2020-02-29", "hour_ending": 24}, datetime(2020, 3, 1, tzinfo=UTC)),
        ({"date": "2020-03-01", "hour": 4, "minute": 60 - 1, "second": 60}, HOUR),
        ({"date": "2020-03-01", "time": "5 AM"}, HOUR),
        ({"year": 2020, "week": 9}, datetime(2020, 2, 24, tzinfo=UTC)),
        ({"year": 2020, "Quarter": 3}, datetime(2020, 7, 1, tzinfo=UTC)),
        ({"year": 2020, "month": 3}, datetime(2020, 3, 1, tzinfo=UTC)),
        ({"Year": 2020, "Mo": "Mar", "Date": 1}, datetime(2020, 3, 1, tzinfo=UTC)),
        ({"one": 2020, "two": 3}, datetime(2020, 3, 1, tzinfo=UTC)),
    ],
)
@pytest.mark.parametrize("name", ["x.csv", "x.parquet"])
def test_several_columns_say_a_time_together(tmp_path: Path, name: str, columns: dict[str, Any], expected: datetime) -> None:
    table = {column: [value] for column, value in columns.items()}
    assert times(tmp_path, table, name, time=list(columns)) == [expected]


def test_a_date_in_a_format_stands_beside_a_clock(tmp_path: Path) -> None:
    columns = {"day": ["01/03/2020"], "clock": ["05:00"]}
    assert times(tmp_path, columns, time=["day", "clock"], time_format="%d/%m/%Y") == [HOUR]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"year": 2020, "month": 13}, r"the first 'year 2020, month 13' is not a time: together year, month must say a date"),
        ({"date": "2020-03-01", "hour": 25}, r"'date 2020-03-01, hour 25' is not a time"),
        ({"hour": 1, "minute": 2}, r"several columns make a time where each says another part .* 'hour' for hour"),
        ({"date": "2020-03-01", "year": 2020}, r"'date' for date"),
    ],
)
def test_columns_that_make_no_time_are_shown(tmp_path: Path, columns: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        times(tmp_path, {name: [value] for name, value in columns.items()}, time=list(columns))


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["31/01/2020", "01/02/2020"], r"""'31/01/2020' is not a time: .* data.time_format: "%d/%m/%Y" \(03/04 could be"""),
        (["1-31-20 5:00", "2-1-20 6:00"], r"""data.time_format: "%m-%d-%y %H:%M" \(03-04"""),
        (["1.2.2020", "2.2.2020"], r"""data.time_format: "%d.%m.%Y" or "%m.%d.%Y" """),
        (["1/31/2020 5:00 PM"], r"""data.time_format: "%m/%d/%Y %I:%M %p" """),
        (["2020-01-01", "Jan 5"], r"the first 'Jan 5' .* it stands in row 2"),
        (["2020-01", "2020-01-15"], r"mixes times of two kinds, such as '2020-01' and '2020-01-15'"),
        (["202001", "20200131"], r"mixes times of two kinds"),
    ],
)
def test_what_reads_a_time_that_is_not_year_first_is_said(tmp_path: Path, texts: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        times(tmp_path, {"t": texts}, "x.csv", frequency="1d")
