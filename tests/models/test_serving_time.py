"""The time axis of models/serving.py, written once more for bundles, is that of tasks/grid on the same cases."""

from datetime import date, datetime

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models import serving
from tasks.grid.frequency import Frequency
from tasks.grid.zone import to_day, to_instant

ZONES = ("Europe/Berlin", "America/Sao_Paulo", "Asia/Tehran", "America/Havana", "+05:30", "UTC", None)
HOLIDAYS = ("2022-12-26", "2023-01-02", "2023-05-01")


def micro(*days: str) -> np.ndarray:
    return np.array(days, "datetime64[us]").astype(np.int64)


@settings(max_examples=60, deadline=None)
@given(
    span=st.sampled_from(["1mo", "2mo", "1q", "1y", "1bd", "3bd", "1d", "1w"]),
    first=st.dates(date(2010, 1, 1), date(2012, 12, 31)),
    kept=st.sampled_from([0, 27, 28, 29, 30]),
    missing=st.sets(st.integers(1, 20), max_size=8),
)
def test_grids_are_those_of_training(span: str, first: date, kept: int, missing: set[int]) -> None:
    frequency = Frequency(span, None, tuple(map(date.fromisoformat, HOLIDAYS)))
    grid = serving._Grid(span, None, np.array(HOLIDAYS, "datetime64[D]"))
    begin, day = micro(str(first)), np.array([kept])
    begin = serving.time_at(begin, day, np.zeros(1, np.int64), grid)
    position = np.array([n for n in range(22) if n not in missing])
    ours = serving.time_at(np.repeat(begin, len(position)), np.repeat(day, len(position)), position, grid)
    starts = np.array([0])
    own = serving._days(ours, starts, grid)
    frame, ds = pl.DataFrame({"ds": ours}).cast(frequency.dtype), pl.col("ds")
    theirs = frame.select(day=frequency.day(ds), at=frequency.position(ds, ds.first(), frequency.day(ds)))
    if frequency.months is not None:
        assert theirs["day"][0] == own[0] + 1
    at, on_grid = serving.positions(ours, np.repeat(ours[:1], len(ours)), np.repeat(own, len(ours)), grid)
    assert at.tolist() == theirs["at"].to_list() and on_grid.all()
    back = frame.select(frequency.at(ds.first(), theirs["at"], frequency.day(ds)).to_physical()).to_series()
    assert (
        back.to_list()
        == ours.tolist()
        == serving.time_at(np.repeat(ours[:1], len(at)), np.repeat(own, len(at)), at, grid).tolist()
    )


@pytest.mark.parametrize("zone", ZONES)
def test_wall_clocks_and_instants_are_those_of_training(zone: str | None) -> None:
    wall = np.arange(micro("2017-06-01")[0], micro("2019-06-01")[0], serving.MICROSECONDS["h"] * 3)
    frame = pl.DataFrame({"t": wall}).cast(pl.Datetime("us", "UTC"))
    theirs = frame.select(instant=to_instant(pl.col("t"), zone).to_physical(), shown=to_day(pl.col("t"), zone).to_physical())
    assert serving._instants(wall, zone).tolist() == theirs["instant"].to_list()
    assert serving._shown(wall, zone).tolist() == theirs["shown"].to_list()


def test_what_names_a_zone_goes_to_that_of_the_model_and_what_names_none_is_of_it() -> None:
    day = serving._Grid("1d", "Europe/Berlin")
    ids = np.array(["a"] * 2, object)
    text = pd.Series(["2021-03-28T00:00:00+01:00", "2021-03-29T00:00:00+02:00"])
    typed = pd.Series(pd.DatetimeIndex(["2021-03-27T23:00Z", "2021-03-28T22:00Z"]))
    naive = pd.Series(["2021-03-28", "2021-03-29"])
    for column in (text, typed, typed.dt.tz_convert("Asia/Tokyo"), naive, pd.to_datetime(naive)):
        assert serving._times(column, ids, day).tolist() == micro("2021-03-28", "2021-03-29").tolist()
    for column in (text, naive):  # where no zone is known a day is what is written
        assert serving._times(column, ids, day._replace(zone=None)).tolist() == micro("2021-03-28", "2021-03-29").tolist()
    old = serving._Grid("1d")  # lagline 0.1 took all for UTC
    assert serving._times(text, ids, old).tolist() == micro("2021-03-27T23:00", "2021-03-28T22:00").tolist()


def test_local_hours_are_told_apart_by_their_order() -> None:
    hour, ids = serving._Grid("1h", "Europe/Berlin"), np.array(["a"] * 5, object)
    local = pd.Series(["2021-10-31 01:00", "2021-10-31 02:00", "2021-10-31 02:00", "2021-10-31 03:00", "2021-10-31 04:00"])
    right = micro("2021-10-30T23:00", "2021-10-31T00:00", "2021-10-31T01:00", "2021-10-31T02:00", "2021-10-31T03:00")
    assert serving._times(local, ids, hour).tolist() == right.tolist()
    assert serving._times(local[::-1], ids, hour).tolist() == right[::-1].tolist()
    with pytest.raises(ValueError, match="series 'a', column 'ds': 2021-10-31 02:00:00 came twice: clocks went back then"):
        serving._times(local.drop(2), ids[:4], hour)
    with pytest.raises(ValueError, match="2021-03-28 02:30:00 was never shown: clocks went forward then in Europe/Berlin"):
        serving._times(pd.Series(["2021-03-28 01:30", "2021-03-28 02:30"]), ids[:2], hour)


@pytest.mark.parametrize(
    ("start", "zone", "moment"),
    [
        ("2021-07-01", "Europe/Berlin", "2021-07-01"),
        ("2021-06-30T22:00Z", "Europe/Berlin", "2021-07-01"),
        (datetime(2021, 7, 1), None, "2021-07-01"),
        ("2021-07-01T00:00+02:00", None, "2021-07-01"),
        ("2021-07-01T00:00+02:00", "UTC", "2021-06-30T22:00"),
    ],
)  # fmt: skip
def test_a_start_counts_on_the_clock_of_the_model(start: str | datetime, zone: str | None, moment: str) -> None:
    assert serving.moment_of(start, serving._Grid("1d", zone)) == micro(moment)[0]


def test_a_holiday_is_one_of_the_zone_of_the_model() -> None:
    times = micro("2024-05-01T03:00", "2024-05-01T04:00", "2024-05-02T03:00", "2024-05-02T04:00")
    for zone, ones in (("America/New_York", [0, 1, 1, 0]), (None, [1, 1, 0, 0])):
        (found,) = serving._calendar(times, "holiday", serving._Grid("1h", zone, np.array(["2024-05-01"], "datetime64[D]")))
        assert found.tolist() == ones
