"""Grids against datetime arithmetic and month ends worked out by hand."""

from datetime import UTC, date, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from params.errors import UserError
from tasks.grid.frequency import Frequency

STEPS = {"1s": 1, "15m": 900, "1h": 3600, "2d": 2 * 86400, "1w": 7 * 86400}


def moments(*texts: str) -> pl.Series:
    return pl.Series("ds", [datetime.fromisoformat(text).replace(tzinfo=UTC) for text in texts], dtype=pl.Datetime("us", "UTC"))


def walk(span: str, first: str, steps: int) -> list[str]:
    """The days of a grid from its first day on."""
    frame = pl.DataFrame({"position": range(steps)}, schema={"position": pl.Int64})
    times = frame.select(Frequency(span).at(pl.lit(moments(first)[0]).cast(pl.Datetime("us", "UTC")), pl.col("position")))
    return [str(t.date()) for t in times.to_series()]


@settings(max_examples=30)
@given(st.sampled_from(sorted(STEPS)), st.integers(-2000, 2000), st.integers(0, 10**6))
def test_a_fixed_grid_is_datetime_arithmetic(span: str, position: int, inside: int) -> None:
    frequency, step = Frequency(span), timedelta(seconds=STEPS[span])
    first = datetime(2020, 2, 28, 13, 30, tzinfo=UTC)
    late = timedelta(microseconds=inside) % step
    frame = pl.DataFrame({"ds": [first + position * step + late], "first": [first]}).cast(pl.Datetime("us", "UTC"))
    ds, start = pl.col("ds"), pl.col("first")
    found = frame.select(
        position=frequency.position(ds, start), on=frequency.on_grid(ds, start), at=frequency.at(start, position),
        back=frequency.shift(ds, -3),
    ).row(0)  # fmt: skip
    assert found == (position, not late, first + position * step, first + position * step + late - 3 * step)


@pytest.mark.parametrize(
    ("span", "first", "days"),
    [
        ("1mo", "2021-01-31", ["2021-01-31", "2021-02-28", "2021-03-31", "2021-04-30"]),
        ("1mo", "2020-01-31", ["2020-01-31", "2020-02-29", "2020-03-31", "2020-04-30"]),
        ("1mo", "2021-02-28", ["2021-02-28", "2021-03-31", "2021-04-30", "2021-05-31"]),
        ("1mo", "2021-04-30", ["2021-04-30", "2021-05-31", "2021-06-30"]),
        ("1mo", "2021-01-30", ["2021-01-30", "2021-02-28", "2021-03-30"]),
        ("1mo", "2021-11-15", ["2021-11-15", "2021-12-15", "2022-01-15"]),
        ("1q", "2021-06-30", ["2021-06-30", "2021-09-30", "2021-12-31", "2022-03-31"]),
        ("1y", "2020-02-29", ["2020-02-29", "2021-02-28", "2022-02-28", "2023-02-28", "2024-02-29"]),
    ],
)  # fmt: skip
def test_calendar_grids_keep_month_ends_and_days(span: str, first: str, days: list[str]) -> None:
    assert walk(span, first, len(days)) == days
    frame = pl.DataFrame([moments(*days), moments(first).new_from_index(0, len(days)).alias("first")])
    frequency = Frequency(span)
    found = frame.select(
        position=frequency.position(pl.col("ds"), pl.col("first")), on=frequency.on_grid(pl.col("ds"), pl.col("first"))
    )
    assert found["position"].to_list() == list(range(len(days)))
    assert found["on"].all()


def test_a_calendar_position_is_rounded_down_and_a_day_beside_the_grid_is_off_it() -> None:
    frame = pl.DataFrame([moments("2021-03-30", "2021-03-31T01:00", "2020-12-31", "2020-12-30")])
    first, frequency = pl.lit(moments("2021-01-31")[0]).cast(pl.Datetime("us", "UTC")), Frequency("1mo")
    assert frame.select(frequency.position(pl.col("ds"), first)).to_series().to_list() == [1, 2, -1, -2]
    assert frame.select(frequency.on_grid(pl.col("ds"), first)).to_series().to_list() == [False, False, True, False]


def test_a_shift_knows_the_first_row_of_a_grid_that_keeps_the_thirtieth() -> None:
    frame, first = pl.DataFrame([moments("2021-02-28")]), pl.lit(moments("2021-01-30")[0]).cast(pl.Datetime("us", "UTC"))
    found = frame.select(
        alone=Frequency("1mo").shift(pl.col("ds"), 1), known=Frequency("1mo").shift(pl.col("ds"), 1, first)
    ).row(0)
    assert [str(t.date()) for t in found] == ["2021-03-31", "2021-03-30"]


def test_integer_steps_count_in_their_own_unit() -> None:
    frame, frequency = pl.DataFrame({"ds": [10, 15, 17, 5]}), Frequency(5)
    assert frame.select(frequency.position(pl.col("ds"), pl.lit(10))).to_series().to_list() == [0, 1, 1, -1]
    assert frame.select(frequency.on_grid(pl.col("ds"), pl.lit(10))).to_series().to_list() == [True, True, False, True]
    assert frame.select(frequency.at(pl.col("ds"), 2)).to_series().to_list() == [20, 25, 27, 15]
    assert frequency.dtype == pl.Int64


def test_rows_in_a_duration() -> None:
    assert Frequency("1h").rows_in("28d") == 672
    assert Frequency("1mo").rows_in("1y") == 12
    assert Frequency("15m").rows_in(7) == 7
    for span, other in (("1h", "90m"), ("1d", "1mo"), ("1mo", "28d"), (5, "1h")):
        with pytest.raises(UserError, match=f"{other} is not a whole number of steps of {span}"):
            Frequency(span).rows_in(other)


@pytest.mark.parametrize(
    ("span", "days", "kept", "after"),
    [
        ("1mo", ["2010-04-30", "2010-05-30", "2010-06-30"], 30, "2010-07-30"),
        ("1mo", ["2010-02-28", "2010-03-28"], 28, "2010-04-28"),
        ("1mo", ["2012-02-29", "2012-03-29"], 29, "2012-04-29"),
        ("1mo", ["2011-02-28", "2011-03-30"], 30, "2011-04-30"),
        ("1mo", ["2011-02-28", "2011-03-31"], 31, "2011-04-30"),
        ("1mo", ["2011-11-30", "2012-01-30", "2012-02-29"], 30, "2012-03-30"),  # a step is missing
        ("1q", ["2011-06-30", "2011-09-30", "2011-12-31"], 31, "2012-03-31"),
        ("1q", ["2011-06-30", "2011-09-30", "2011-12-30"], 30, "2012-03-30"),
        ("1y", ["2011-02-28", "2012-02-29"], 31, "2013-02-28"),
        ("1y", ["2011-02-28", "2012-02-28"], 28, "2013-02-28"),
    ],
)  # fmt: skip
def test_the_latest_day_of_a_series_decides_not_its_first_row(span: str, days: list[str], kept: int, after: str) -> None:
    frequency, ds = Frequency(span), pl.col("ds")
    frame = pl.DataFrame([moments(*days)])
    day = frequency.day(ds)
    found = frame.select(
        day=day, on=frequency.on_grid(ds, ds.first(), day), next=frequency.shift(ds.last(), 1, ds.first(), day)
    )
    assert found["day"][0] == kept and found["on"].all() and str(found["next"][0].date()) == after
    two = np.concatenate([frame["ds"].to_physical().to_numpy()] * 2)
    assert frequency.days(two, np.array([0, len(days), 2 * len(days)])).tolist() == [kept, kept]


HOLIDAYS = ("2023-12-25", "2023-12-26", "2024-01-01", "2024-03-29", "2024-05-04")  # the last is a Saturday


@pytest.mark.parametrize("holidays", [(), HOLIDAYS])
@pytest.mark.parametrize("steps", [1, 2, 5])
def test_business_days_are_those_of_numpy(steps: int, holidays: tuple[str, ...]) -> None:
    frequency, first = Frequency(f"{steps}bd", None, tuple(map(date.fromisoformat, holidays))), "2023-12-01T17:30"
    position = np.arange(-40, 120)
    theirs = np.busday_offset(first[:10], position * steps, holidays=list(holidays))
    begin = pl.lit(moments(first)[0]).cast(pl.Datetime("us", "UTC"))
    ours = pl.DataFrame({"position": position}).select(ds=frequency.at(begin, pl.col("position")))
    assert [str(time.date()) for time in ours["ds"]] == theirs.astype(str).tolist()
    assert {str(time.time()) for time in ours["ds"]} == {"17:30:00"}
    ds = pl.col("ds")
    back = ours.select(
        at=frequency.position(ds, begin),
        on=frequency.on_grid(ds, begin),
        late=frequency.position(ds + pl.duration(hours=3), begin),
    )
    assert back["at"].to_list() == back["late"].to_list() == position.tolist() and back["on"].all()


def test_a_weekend_and_a_holiday_lie_off_a_grid_of_business_days() -> None:
    frequency, ds = Frequency("1bd", None, (date(2024, 5, 1),)), pl.col("ds")
    frame = pl.DataFrame([moments("2024-04-30", "2024-05-01", "2024-05-02", "2024-05-04", "2024-05-06")])
    found = frame.select(on=frequency.on_grid(ds, ds.first()), at=frequency.position(ds, ds.first()))
    assert found["on"].to_list() == [True, False, True, False, True] and found["at"].to_list() == [0, 0, 1, 2, 3]


def test_durations_on_a_grid_of_business_days() -> None:
    assert Frequency("1bd").rows_in("28d") == Frequency("1bd").rows_in("4w") == 20
    assert Frequency("2bd").rows_in("10bd") == 5
    for span, other in (("1bd", "3d"), ("2bd", "1w"), ("1d", "5bd"), ("1bd", "1mo")):
        with pytest.raises(UserError, match=f"{other} is not a whole number of steps of {span}"):
            Frequency(span).rows_in(other)
