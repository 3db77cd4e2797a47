"""Grids against datetime arithmetic and month ends worked out by hand."""

from datetime import UTC, datetime, timedelta

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
