"""Times come back as their table says them: the form is learnt from its rows and tried on the rows that follow."""

import re
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import polars as pl
import pytest

from tasks.grid.frequency import Frequency
from tasks.grid.written import Form, How, Moments, enough, form_of, moments

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
BERLIN = ZoneInfo("Europe/Berlin")


def steps(first: str, count: int, step: timedelta) -> pl.Series:
    start = datetime.fromisoformat(first).replace(tzinfo=UTC)
    return pl.Series("ds", [start + step * at for at in range(count)], pl.Datetime("us", "UTC"))


def months(count: int, step: int) -> pl.Series:
    days = [datetime(1990 + step * at // 12, step * at % 12 + 1, 1, tzinfo=UTC) for at in range(count)]
    return pl.Series("ds", days, pl.Datetime("us", "UTC"))


DAYS, HOURS = steps("2019-12-20", 40, DAY), steps("2020-01-30", 60, HOUR)
WEEKS, SPRING = steps("2019-12-02", 30, 7 * DAY), steps("2020-03-28T12", 40, HOUR)  # clocks go forward in its middle
GRIDS = {"1d": DAYS, "1h": HOURS, "1w": WEEKS, "1mo": months(30, 1), "1q": months(30, 3), "1y": months(30, 12)}


def written_after(
    ds: pl.Series, column: pl.Series, span: str | int, zone: str | None = None, given: str | None = None
) -> pl.Series:
    """The second half of a column, in the form that its first half has."""
    half = len(ds) // 2
    first, then = moments(ds.head(half), Frequency(span), zone), moments(ds.slice(half), Frequency(span), zone)
    return form_of(column.head(half), first, zone, given).write(then)


@pytest.mark.parametrize(
    ("span", "format"),
    [
        *(("1d", form) for form in ("%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d", "%Y-%-m-%-d", "%Y-%m-%d 00:00:00")),
        *(("1h", form) for form in ("%Y-%m-%dT%H", "%Y-%-m-%-d %-H:%M", "%Y-%m-%d %H:%M:%S.000", "%Y%m%dT%H", "%Y%m%d %H%M")),
        *(("1h", form) for form in ("%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%d %H:%M:%S+00:00", "%Y-%m-%d %H:%M UTC")),
        *(("1h", form) for form in ("%Y-%m-%d %I:%M %p", "%Y-%m-%dT%H:%MZ", "%Y-%m-%d %H:%M-00:00")),
        *(("1h", form) for form in ("%Y-%m-%dT%H:%M:%S.%f", "%Y-%m-%d %H:%M:%S,000", "%Y-%-m-%-d %-I:%M:%S%p")),
        *(("1w", form) for form in ("%G-W%V", "%GW%V", "%G-W%V-%u", "%Y-%m-%d")),
        *(("1mo", form) for form in ("%Y-%m", "%Y/%-m", "%YM%m", "%Y-m%-m", "%Y %b %d")),
        *(("1h", form) for form in ("%d/%m/%y %H:%M:%S.%f", "%-d.%-m.%Y %-H:%M", "%B %d, %Y %I%p", "%F %T")),
    ],
)  # fmt: skip
def test_text_comes_back_in_its_own_form(span: str, format: str) -> None:
    ds = GRIDS[span]
    texts = pl.Series("time", [time.strftime(format) for time in ds])
    given = format.replace("-", "") if re.search("%[bBFy]|^%-", format) else None
    assert written_after(ds, texts, span, given=given).to_list() == texts.slice(len(ds) // 2).to_list()


@pytest.mark.parametrize(
    ("span", "format"),
    [("1d", "%Y%m%d"), ("1mo", "%Y%m"), ("1y", "%Y"), ("1h", "%Y%m%d%H"), ("1h", "%s"), ("1h", "%s000"), ("1h", "%s000000000")],
)  # fmt: skip
@pytest.mark.parametrize("dtype", [pl.Int64, pl.String])
def test_digits_come_back_as_numbers(span: str, format: str, dtype: type[pl.DataType]) -> None:
    ds = GRIDS[span]
    numbers = pl.Series("time", [int(time.strftime(format)) for time in ds])
    assert written_after(ds, numbers.cast(dtype), span).equals(numbers.slice(len(ds) // 2), null_equal=False)


@pytest.mark.parametrize(("mark", "size"), [("Q", 30), ("-q", 30), (" Q", 25)])
def test_quarters(mark: str, size: int) -> None:
    ds = months(size, 3)
    texts = pl.Series("time", [f"{time.year}{mark}{(time.month + 2) // 3}" for time in ds])
    assert written_after(ds, texts, "1q").to_list() == texts.slice(size // 2).to_list()


@pytest.mark.parametrize(
    ("name", "format"),
    [
        ("Year", "%Y"), ("month", "%-m"), ("DAY", "%-d"), ("hr", "%-H"), ("HOUR", "%H"), ("minute", "%M"), ("month", "%m"),
        ("date", "%Y-%m-%d"), ("time", "%H:%M"), ("clock", "%H:%M:%S"),
        ("hhmm", "%H%M"), ("dy", "%j"),
        ("when", "%b"), ("when", "%B"), ("dow", "%u"),
    ],
)  # fmt: skip
def test_a_part_of_a_time_comes_back_as_that_part(name: str, format: str) -> None:
    ds = steps("2020-01-28", 24 * 9, HOUR)
    texts = pl.Series(name, [time.strftime(format) for time in ds])
    found = written_after(ds, texts, "1h")
    assert found.cast(pl.String).to_list() == texts.slice(len(ds) // 2).to_list()
    assert (found.dtype == pl.Int64) == ("-" in format[:2] or format in ("%Y", "%u"))


def test_offsets_are_those_of_the_moment() -> None:
    later = SPRING.slice(20)
    local = pl.Series("time", [time.astimezone(BERLIN).isoformat() for time in SPRING])
    assert written_after(SPRING, local, "1h", "Europe/Berlin").to_list() == local.slice(20).to_list()
    assert {"+01:00", "+02:00"} == {text[-6:] for text in local}
    constant = pl.Series("time", [time.astimezone(BERLIN).strftime("%d.%m.%Y %H:%M %z") for time in later])
    assert written_after(later, constant, "1h", "+02:00", "%d.%m.%Y %H:%M %z").to_list() == constant.slice(10).to_list()
    clock = pl.Series("time", [time.astimezone(BERLIN).strftime("%Y-%m-%d %H:%M") for time in SPRING])
    assert written_after(SPRING, clock, "1h", "Europe/Berlin").to_list() == clock.slice(20).to_list()
    walls = steps("2020-03-20", 20, DAY)
    midnights = pl.Series("time", [wall.replace(tzinfo=BERLIN).isoformat() for wall in walls])
    assert written_after(walls, midnights, "1d", "Europe/Berlin").to_list() == midnights.slice(10).to_list()
    india = pl.Series("time", [f"{wall:%Y-%m-%d}T00:00+0530" for wall in walls])
    assert written_after(walls, india, "1d", "+05:30").to_list() == india.slice(10).to_list()


@pytest.mark.parametrize(
    "dtype",
    [
        pl.Datetime("ms"), pl.Datetime("ns"), pl.Datetime("us", "Europe/Berlin"), pl.Datetime("ms", "Asia/Kolkata"),
        pl.Datetime("ns", "UTC"),
    ],
)  # fmt: skip
def test_types_keep_unit_and_zone(dtype: pl.Datetime) -> None:
    own = SPRING.dt.replace_time_zone(None) if dtype.time_zone is None else SPRING.dt.convert_time_zone(dtype.time_zone)
    found = written_after(SPRING, own.dt.cast_time_unit(dtype.time_unit), "1h")
    assert found.dtype == dtype and found.equals(own.dt.cast_time_unit(dtype.time_unit).slice(20))


def test_dates_and_steps_keep_their_type_where_it_holds_them() -> None:
    assert written_after(DAYS, DAYS.dt.date(), "1d").equals(DAYS.dt.date().slice(20))
    small = pl.Series("ds", range(200, 256))
    assert written_after(small, small.cast(pl.UInt8), 1).dtype == pl.UInt8
    after = Moments(step=pl.Series([255, 256]))
    assert form_of(small.cast(pl.UInt8), Moments(step=small), None).write(after).to_list() == [255, 256]


def test_a_form_that_cannot_tell_the_times_apart_gives_way_to_a_plain_one() -> None:
    at = moments(HOURS.head(3), Frequency("1h"), None)
    form = form_of(pl.Series(["2020-01-30", "2020-01-30", "2020-01-30"]), at, None)
    assert enough(form, at).write(at).to_list() == [f"2020-01-30 0{hour}:00:00" for hour in range(3)]
    assert form.typed().write(at).dtype == pl.Date and enough(form, at).typed().dtype == pl.Datetime("us")


@pytest.mark.parametrize(
    ("format", "dtype"),
    [
        ("%Y-%m-%d", pl.Date), ("%d.%m.%y", pl.Date), ("%F", pl.Date), ("%-d %B %Y", pl.Date), ("%Y-%m", pl.String),
        ("%YQ%q", pl.String), ("%H:%M", pl.String), ("%F %T", pl.Datetime),
        ("%d/%m/%Y %H", pl.Datetime), ("%b %e %Y %I%p", pl.Datetime),
    ],
)  # fmt: skip
def test_text_that_names_a_day_has_a_type(format: str, dtype: type[pl.DataType]) -> None:
    assert Form(How.TEXT, pl.String(), format).typed().dtype == dtype
