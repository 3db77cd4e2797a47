"""Text times: what is read, what is none, and the quick way of a batch against the reader of single texts."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tasks.grid.times import FORMS, parse_any, parse_format, parse_time

MIDNIGHT = datetime(2020, 1, 1, tzinfo=UTC)


def read(*texts: str | None) -> pl.Series:
    return pl.Series("t", texts, pl.String).to_frame().select(parse_time(pl.col("t"))).to_series()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2020-01-01", MIDNIGHT),
        ("2020/01/01 00:00", MIDNIGHT),
        (" 2020-01-01T00:00:00Z ", MIDNIGHT),
        ("2020-01-01 02:00:00+02:00", MIDNIGHT),
        ("2019-12-31T19:00-0500", MIDNIGHT),
        ("2020-01-01 05:30+05:30", MIDNIGHT),
        ("2019-12-31 14:00-10", MIDNIGHT),
        ("2020-01-01 00:00:00 UTC", MIDNIGHT),
        ("2020-01-01T00:00:00.123456789", MIDNIGHT.replace(microsecond=123456)),
        ("31.01.2020", None),
        ("01/02/2020", None),
        ("2020-02-30", None),
        ("2020-01-01 25:00", None),
        ("2020-01-01 00:00+99:00", None),
        ("1577836800", None),
        ("soon", None),
        ("", None),
        (None, None),
    ],
)
def test_text_becomes_utc_or_nothing(text: str | None, expected: datetime | None) -> None:
    assert read(text).item() == expected


FORMS_YEAR_FIRST = {
    **dict.fromkeys(["2020-01", "2020/01", "2020-1", "202001", "2020Q1", "2020-Q1", "2020 q1", "2020M01", "2020m1"], MIDNIGHT),
    **dict.fromkeys(["2020-1-1", "2020/1/01", "2020.01.01", "2020.1.1", "20200101", "2020-W01-3", "2020W013"], MIDNIGHT),
    **dict.fromkeys(["2020-01-01T00", "2020-1-1 0:00", "20200101T000000", "20200101 0000", "2020-01-01  00:00"], MIDNIGHT),
    **dict.fromkeys(["2020-1-1 12:00 AM", "2019-12-31 24:00", "20200101T053000+0530", "2020-01-01 01+01"], MIDNIGHT),
    "2021-W05": datetime(2021, 2, 1, tzinfo=UTC),
    "2020-W53-7": datetime(2021, 1, 3, tzinfo=UTC),
    "1999Q4": datetime(1999, 10, 1, tzinfo=UTC),
    "2020-01-31T18:00:00,5": datetime(2020, 1, 31, 18, 0, 0, 500_000, tzinfo=UTC),
    "2020-1-5 3:00 pm": datetime(2020, 1, 5, 15, tzinfo=UTC),
    **dict.fromkeys(["2020", "2021-W53", "2020-13", "20201301", "16000101", "23000101", "2020.01", "1871.1", "2020-01 05"]),
    **dict.fromkeys(["2020/1-5", "2020-1/5", "2020-02-30", "2020-01-01 24:01", "2020-01-01 13:00 PM", "20-01-05", "1.1.2020"]),
}


@pytest.mark.parametrize(("text", "expected"), FORMS_YEAR_FIRST.items())
def test_every_form_that_is_year_first_is_read(text: str, expected: datetime | None) -> None:
    assert read(text).item() == expected
    assert read("2020-01-01 00:00", text, None).to_list() == [MIDNIGHT, expected, None]


def test_a_year_alone_is_a_time_where_steps_are_years() -> None:
    years = pl.Series("t", ["2020", "1676", "20200"]).to_frame().select(parse_time(pl.col("t"), years=True))
    assert years.to_series().to_list() == [MIDNIGHT, None, None]


@pytest.mark.parametrize(
    ("form", "text", "expected"),
    [
        ("%d/%m/%Y", "3/4/2020", datetime(2020, 4, 3, tzinfo=UTC)),
        ("%m/%d/%Y %H:%M", "03/04/2020 5:06", datetime(2020, 3, 4, 5, 6, tzinfo=UTC)),
        ("%d.%m.%y", "31.12.69", datetime(2069, 12, 31, tzinfo=UTC)),
        ("%d.%m.%y", "31.12.70", datetime(1970, 12, 31, tzinfo=UTC)),
        ("%d%m%Y", "01022020", datetime(2020, 2, 1, tzinfo=UTC)),
        ("%d%m%Y", "1022020", None),
        ("%Y%m%d%H", "2020010223", datetime(2020, 1, 2, 23, tzinfo=UTC)),
        ("%m/%Y", "2/2020", datetime(2020, 2, 1, tzinfo=UTC)),
        ("%B %Y", "february 2020", datetime(2020, 2, 1, tzinfo=UTC)),
        ("%d-%b-%Y", "05-Sept-2020", datetime(2020, 9, 5, tzinfo=UTC)),
        ("%A, %d %b. %Y", "Monday, 3 Feb. 2020", datetime(2020, 2, 3, tzinfo=UTC)),
        ("%d/%m/%Y %I:%M %p", "01/02/2020 12:04AM", datetime(2020, 2, 1, 0, 4, tzinfo=UTC)),
        ("%d/%m/%Y %I %p", "01/02/2020 3 pm", datetime(2020, 2, 1, 15, tzinfo=UTC)),
        ("Q%q %Y", "Q3 2020", datetime(2020, 7, 1, tzinfo=UTC)),
        ("%V/%G", "5/2021", datetime(2021, 2, 1, tzinfo=UTC)),
        ("%j.%Y", "33.2020", datetime(2020, 2, 2, tzinfo=UTC)),
        ("%d/%m/%Y %T%.f", "01/02/2020 03:04:05.25", datetime(2020, 2, 1, 3, 4, 5, 250_000, tzinfo=UTC)),
        ("%d/%m/%Y %H:%M:%S.%f", "01/02/2020 03:04:05", datetime(2020, 2, 1, 3, 4, 5, tzinfo=UTC)),
        ("%d/%m/%Y %H:%M %z", "01/02/2020 03:04 +01:00", datetime(2020, 2, 1, 2, 4, tzinfo=UTC)),
        ("%d/%m/%Y", "31/02/2020", None),
        ("%d/%m/%Y", "01/02/2020 10:00", None),
        ("%-d.%-m.%Y (%%)", "1.2.2020 (%)", datetime(2020, 2, 1, tzinfo=UTC)),
    ],
)
def test_a_format_reads_what_it_says_and_nothing_else(form: str, text: str, expected: datetime | None) -> None:
    assert pl.Series("t", [text]).to_frame().select(parse_format(pl.col("t"), form)).item() == expected


def number(low: int, high: int, digits: int = 2) -> st.SearchStrategy[str]:
    good = st.integers(low, high).map(lambda i: f"{i:0{digits}d}")
    odd = st.sampled_from(["0", " 1", "1 ", "+1", "-1", "60", "99", "", "x", "\u0661\u0662"])
    return st.integers(0, 29).flatmap(lambda i: good if i else odd)


def joined(*parts: st.SearchStrategy[str] | str) -> st.SearchStrategy[str]:
    return st.tuples(*(st.just(part) if isinstance(part, str) else part for part in parts)).map("".join)


ZONES = ["", "", "Z", "Z", "+00:00", "-05:30", "+18:59", "+19:00", "-0500", "-10", "+1:00", "+00:60", "z", " Z", "UTC", " UTC"]
SECONDS = joined(number(0, 24), ":", number(0, 60), ":", number(0, 61))
CLOCKS = [joined(number(0, 24), ":", number(0, 60)), SECONDS, joined(SECONDS, ".", st.integers(0, 10**11).map(str))]


def shape(mark: str, between: str, clock: st.SearchStrategy[str], zone: str) -> st.SearchStrategy[str]:
    day = joined(number(0, 9999, 4), mark, number(1, 12), mark, number(1, 31))
    return joined(day, between, clock, zone) if between else day


shapes = st.builds(
    shape, st.sampled_from("--/"), st.sampled_from(["", "T", " ", "t", "  "]), st.sampled_from(CLOCKS), st.sampled_from(ZONES)
)
spaces = st.sampled_from([" ", "\n", "\u00a0"])
loose = shapes.flatmap(lambda one: one | joined(spaces, one) | joined(one, spaces)) | st.text(max_size=4)
batches = shapes.flatmap(lambda one: st.tuples(st.lists(one, min_size=1, max_size=3), st.lists(st.none() | loose, max_size=1)))


def physical(series: pl.Series) -> list[int | None]:
    return series.to_physical().to_list()  # the years 0 and 10000 are none of Python's


@pytest.mark.slow
@settings(max_examples=200)
@given(batches.map(lambda parts: [*parts[0], *parts[1]]))
@example(["2016-12-31T23:59:60Z"])
@example(["2020-01-01T 0:00:00Z"])
@example(["2020-01-01", "2020-01-01 01:00"])
@example(["2020-01-01T00:00:00+19:00"])
def test_the_quick_way_finds_what_the_reader_of_single_texts_finds(batch: list[str | None]) -> None:
    expected = pl.Series("t", batch, pl.String).to_frame().select(parse_any(pl.col("t"))).to_series()
    found = read(*batch)
    assert found.dtype == expected.dtype == pl.Datetime("us", "UTC")
    assert physical(found) == physical(expected)


@pytest.mark.parametrize("form", FORMS.values())
def test_every_usual_form_reads_what_python_writes(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(text: pl.Expr, years: bool) -> pl.Expr:
        raise AssertionError("the general reader was asked")

    moment = datetime(2021, 12, 31, 23, 58, 59, 123456, tzinfo=UTC)
    text = moment.strftime(form.replace("%.f", ".%f").replace("%z", "+05:30"))
    kept = datetime.strptime(text, form.replace("%.f", ".%f")).replace(tzinfo=None)
    expected = kept.replace(tzinfo=UTC) - (timedelta(hours=5, minutes=30) if "%z" in form else timedelta())
    monkeypatch.setattr("tasks.grid.times.parse_any", never)
    assert read(None, text, text).to_list() == [None, expected, expected]
    with pytest.raises(AssertionError, match="general reader was asked"):
        read(text, "soon")


def test_a_streamed_column_of_many_forms_and_a_single_text_are_read(tmp_path: Path) -> None:
    hours = pl.datetime_range(MIDNIGHT, MIDNIGHT.replace(year=2040), "1h", eager=True).alias("t")
    forms = ["%Y-%m-%dT%H:%M:%SZ", "%Y/%m/%d %H:%M", "%Y-%m-%d %H:%M:%S+00:00"]
    for name, written in {"one": forms[:1], "in turn": forms}.items():
        columns = [hours.dt.to_string(form) for form in written]
        turn = pl.int_range(pl.len()) % len(columns)
        table = pl.DataFrame({str(i): column for i, column in enumerate(columns)})
        table.select(t=pl.coalesce(pl.when(turn == i).then(str(i)) for i in range(len(columns)))).write_csv(tmp_path / name)
        found = pl.scan_csv(tmp_path / name, infer_schema=False).select(parse_time(pl.col("t")))
        assert found.collect(engine="streaming").to_series().equals(hours), name
    assert pl.select(parse_time(pl.lit("2020-01-01"))).item() == MIDNIGHT
    assert pl.DataFrame({"t": []}, {"t": pl.String}).select(parse_time(pl.col("t"))).schema == {"t": pl.Datetime("us", "UTC")}
