"""Text times: what is read, what is none, and the quick way of a batch against the reader of single texts."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tasks.grid.times import FORMS, parse_any, parse_time

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
        ("2020-01", None),
        ("1577836800", None),
        ("soon", None),
        ("", None),
        (None, None),
    ],
)
def test_text_becomes_utc_or_nothing(text: str | None, expected: datetime | None) -> None:
    assert read(text).item() == expected


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
@settings(max_examples=500)
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
    def never(text: pl.Expr) -> pl.Expr:
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
