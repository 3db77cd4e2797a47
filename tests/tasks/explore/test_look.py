"""What is found in tables made with a known step, season and gaps, and that the run file for each passes the checks."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from params.errors import UserError
from params.load import load_run
from tasks.explore.asked import Asked
from tasks.explore.draft import name_of, scalar
from tasks.explore.look import Found, look_at
from tasks.explore.rhythm import correlation, span_text, strength
from tasks.explore.sizes import best_season
from tasks.load.source import open_source
from tasks.validate.suite import validate
from tests.marks import CHECKS

pytestmark = CHECKS

NOISE = np.random.default_rng(7).normal(size=4000)


def wave(rows: int, season: int, noise: float = 0.1) -> list[float]:
    return list(100 + 10 * np.sin(2 * np.pi * np.arange(rows) / season) + noise * NOISE[:rows])


def moments(rows: int, every: str, first: datetime = datetime(2020, 1, 1, tzinfo=UTC)) -> pl.Series:
    return pl.select(pl.datetime_range(first, first + timedelta(days=20_000), every)).to_series().head(rows)


def days(rows: int) -> list[str]:
    return [str(date(2021, 1, 1) + timedelta(days=i)) for i in range(rows)]


def look(
    folder: Path, frame: pl.DataFrame, name: str = "my table.csv", melting: bool = False, asked: Asked | None = None
) -> Found:
    """What is found, once the run file has passed the checks."""
    frame.write_csv(folder / name) if name.endswith(".csv") else frame.write_parquet(folder / name)
    found = look_at(str(folder / name), folder / "run.yaml", melting, asked or Asked())
    (folder / "run.yaml").write_text(found.text)
    run = load_run(folder / "run.yaml")
    verdict = validate(run, open_source(run.data))
    assert verdict.passed, [f for f in verdict.findings if not f.passed]
    return found


@pytest.mark.parametrize(
    ("every", "rows", "season", "span"),
    [
        ("15m", 1500, 96, "15m"),
        ("1h", 900, 24, "1h"),
        ("1d", 400, 7, "1d"),
        ("1w", 300, 52, "1w"),
        ("1mo", 120, 12, "1mo"),
        ("3mo", 60, 4, "1q"),
        ("2h", 400, 12, "2h"),
    ],
)
def test_the_step_and_the_season_of_one_series_are_found(tmp_path: Path, every: str, rows: int, season: int, span: str) -> None:
    found = look(tmp_path, pl.DataFrame({"when": moments(rows, every), "load": wave(rows, season)}), "x.parquet")
    assert (found.draft.grid.span, best_season(found.draft.seasons)) == (span, season)
    assert (found.draft.roles.times, found.draft.roles.ids, found.draft.roles.target) == (("when",), (), "load")
    assert found.draft.sizes.horizon == (13 if span == "1w" else season)
    assert found.draft.sizes.reach >= season and "# another target" not in found.text
    assert found.draft.sizes.season == season


def test_month_ends_are_months_and_years_are_whole_numbers(tmp_path: Path) -> None:
    ends = moments(120, "1mo").dt.month_end()
    assert look(tmp_path, pl.DataFrame({"month": ends, "v": wave(120, 12)}), "x.parquet").draft.grid.span == "1mo"
    assert look(tmp_path, pl.DataFrame({"year": range(1900, 1980), "v": wave(80, 7)})).draft.grid.span == 1
    assert look(tmp_path, pl.DataFrame({"step": range(0, 400, 2), "v": wave(200, 12)})).draft.grid.span == 2


def test_noise_and_a_random_walk_have_no_season(tmp_path: Path) -> None:
    for values in (NOISE[:600], np.cumsum(NOISE[:600])):
        assert look(tmp_path, pl.DataFrame({"day": days(600), "v": values})).draft.seasons == {}


def test_series_with_whole_numbers_for_names_and_a_gap(tmp_path: Path) -> None:
    rows = [
        (store, day, round(store * 10 + value), 9.5 if i % 30 else 8.0, store % 2, "note", day[:7])
        for store in (1, 2, 3)
        for i, (day, value) in enumerate(zip(days(300), wave(300, 7), strict=True))
        if not (store == 2 and 100 <= i < 115)
    ]
    columns = ["store", "date", "sales", "price", "region", "remark", "month_name"]
    found = look(tmp_path, pl.DataFrame(rows, schema=columns, orient="row"))
    assert (found.draft.roles.ids, found.draft.roles.target, found.draft.roles.features) == (("store",), "sales", ("price",))
    assert found.draft.roles.static == {"region": "numeric"}
    assert (found.draft.grid.missing, found.draft.grid.gappy, found.draft.grid.worst_gap_share) == (15, 1, pytest.approx(0.05))
    assert "max_gap_share: 0.06" in found.text
    assert f"  # another target: python -m flows init '{tmp_path}/my table.csv' --target NAME, such as price\n" in found.text
    assert "# not used: remark" in found.text
    assert ("gaps", "15 steps missing in 1 series, at most 5.0% of one") in found.facts()


def test_row_numbers_and_truths_of_other_programs(tmp_path: Path) -> None:
    frame = pl.DataFrame({"": range(200), "day": days(200), "promo": ["True", "False"] * 100, "sold": wave(200, 7)})
    found = look(tmp_path, frame)
    assert (found.draft.roles.target, found.draft.roles.features, found.draft.roles.left) == ("sold", ("promo",), ())


def test_a_constant_series_is_let_pass_and_said(tmp_path: Path) -> None:
    frame = pl.DataFrame({"id": ["a"] * 100 + ["b"] * 100, "day": days(100) * 2, "v": [1.0] * 100 + wave(100, 7)})
    assert "on_constant_target: warn" in look(tmp_path, frame).text


def test_series_that_end_apart_are_split_by_rows(tmp_path: Path) -> None:
    frame = pl.DataFrame({"id": ["a"] * 200 + ["b"] * 150, "day": days(200) + days(150), "v": wave(200, 7) + wave(150, 7)})
    assert "  validation: 22\n  test: 22\n" in look(tmp_path, frame).text  # 15 % of 150 rows
    together = frame.filter((pl.col("id") == "a") | (pl.col("day") > "2021-02-19"))
    assert "  validation: 30d\n  test: 30d\n" in look(tmp_path, together.head(200)).text


def test_a_column_a_series_is_said_and_melted(tmp_path: Path) -> None:
    frame = pl.DataFrame({"day": days(200)} | {f"shop_{i}": wave(200, 7) for i in range(1, 5)})
    frame = frame.with_columns(shop_4=pl.when(pl.col("day") > "2021-01-05").then("shop_4"))
    asked = look(tmp_path, frame)
    assert asked.wide is not None and asked.wide.sentence.startswith("wide: 4 columns (shop_1, shop_2, shop_3, ...)")
    found = look(tmp_path, frame, melting=True)
    long = pl.read_parquet(tmp_path / "run.long.parquet")
    assert found.melted == tmp_path / "run.long.parquet"
    assert long.group_by("unique_id").len().sort("unique_id")["len"].to_list() == [200, 200, 200, 195]
    assert long.filter(unique_id="shop_2")["y"].to_list() == frame["shop_2"].to_list()
    assert (found.draft.roles.ids, found.draft.roles.times, found.draft.roles.target) == (("unique_id",), ("ds",), "y")


def test_times_in_forms_of_their_own_are_found(tmp_path: Path) -> None:
    """Each in text and in numbers: dates without marks, months, columns that say a time together, seconds since 1970."""
    hours, v = moments(500, "1h"), wave(500, 24)
    day, month = moments(40, "1d"), pl.select(pl.datetime_range(datetime(2000, 1, 1), datetime(2006, 12, 1), "1mo")).to_series()
    whole = [int(text) for text in day.dt.to_string("%Y%m%d")]
    parts = {"year": hours.dt.year(), "month": hours.dt.month(), "day": hours.dt.day(), "hour": hours.dt.hour()}
    tables: list[tuple[dict[str, Any], tuple[str, ...], str]] = [
        ({"date": whole, "v": v[:40]}, ("date",), "1d"),
        ({"datum": whole, "v": v[:40]}, ("datum",), "1d"),
        ({"month": [int(text) for text in month.dt.to_string("%Y%m")], "v": v[:84]}, ("month",), "1mo"),
        ({"when": month.dt.to_string("%YM%m"), "v": v[:84]}, ("when",), "1mo"),
        ({"v": v, **parts}, ("year", "month", "day", "hour"), "1h"),
        (
            {"yr": hours.dt.year(), "mth": hours.dt.month(), "dy": hours.dt.day(), "hod": hours.dt.hour(), "v": v},
            ("yr", "mth", "dy", "hod"),
            "1h",
        ),
        ({"v": v, "dteday": hours.dt.date(), "hr": hours.dt.hour(), "mnth": hours.dt.month()}, ("dteday", "hr"), "1h"),
        ({"v": v, "day": hours.dt.to_string("%Y-%m-%d"), "at": hours.dt.to_string("%H:%M")}, ("day", "at"), "1h"),
        ({"v": v[:84], "Year": month.dt.year(), "Month": month.dt.to_string("%b")}, ("Year", "Month"), "1mo"),
    ]
    for name, some in (("t.csv", tables), ("t.parquet", tables[:4])):  # what is a text stays one in both
        for columns, times, span in some:
            found = look(tmp_path, pl.DataFrame(columns), name)
            assert (found.draft.roles.times, found.draft.grid.span, found.draft.roles.target, found.draft.grid.missing) == (
                times,
                span,
                "v",
                0,
            )


@pytest.mark.parametrize("zone", ["America/New_York", "Europe/Lisbon"])
def test_local_times_of_which_an_hour_comes_twice_are_read_by_the_name_of_their_zone(tmp_path: Path, zone: str) -> None:
    local = moments(1200, "1h", datetime(2021, 10, 10, tzinfo=UTC)).dt.convert_time_zone(zone).dt.to_string("%Y-%m-%d %H:%M")
    frame = pl.concat([pl.DataFrame({"meter": [name] * 1200, "at": local, "kwh": wave(1200, 24)}) for name in "xy"])
    with pytest.raises(UserError, match=r"stands twice: clocks went back then .* write --time-zone [A-Z]"):
        look(tmp_path, frame)
    found = look(tmp_path, frame, asked=Asked(time_zone=zone))
    assert f"  time_zone: {zone}\n" in found.text and (found.draft.grid.span, found.draft.grid.missing) == ("1h", 0)
    assert dict(found.facts())["rows"] == f"2,400, {local[0]} to {local[-1]}"
    with pytest.raises(UserError, match="--time-zone Mars/Base: 'Mars/Base' is no time zone"):
        look(tmp_path, frame, asked=Asked(time_zone="Mars/Base"))


@pytest.mark.parametrize(("unit", "per_second"), [("s", 1), ("ms", 1000), ("us", 10**6), ("ns", 10**9)])
def test_numbers_since_1970_are_found_by_size_and_name(tmp_path: Path, unit: str, per_second: int) -> None:
    seconds = [(1_577_836_800 + 3600 * i) * per_second for i in range(300)]
    found = look(tmp_path, pl.DataFrame({"unix_time": seconds, "v": wave(300, 24)}), "t.parquet")
    assert (found.draft.grid.span, f"time_unit: {unit}" in found.text) == ("1h", True)
    with pytest.raises(
        UserError, match=f"seen holds '{seconds[0]}'.* write data.time_unit: {unit} .it is then 2020-01-01 00:00"
    ):
        look(tmp_path, pl.DataFrame({"seen": seconds, "v": wave(300, 24)}), "t.parquet")


def test_what_only_looks_like_a_time_is_none(tmp_path: Path) -> None:
    """Ids and amounts that may be dates, a step that counts, parts of a date that has its own column."""
    day = days(60)
    shops, amounts = [202000 + i // 60 for i in range(60, 240)], [int(x * 2000) for x in wave(180, 7)]
    table = {"date": day * 3, "shop": shops, "hour": [5] * 180, "v": amounts}
    found = look(tmp_path, pl.DataFrame(table), "t.parquet")
    assert (found.draft.roles.times, found.draft.roles.ids, found.draft.roles.target) == (("date",), ("shop",), "v")
    found = look(tmp_path, pl.DataFrame({"step": range(20200101, 20200201), "v": wave(100, 7)}), "t.parquet")
    assert (found.draft.roles.times, found.draft.grid.span) == (("step",), 1)
    with pytest.raises(UserError, match=r"""no column holds times that .* data.time_format: "%d/%m/%Y" .03/04 could"""):
        look(tmp_path, pl.DataFrame({"when": [f"{i}/01/2020" for i in range(1, 32)], "v": wave(31, 7)}), "t.parquet")


@pytest.mark.parametrize(
    ("head", "first"), [(lambda i: f"V{i + 2}", 2), (lambda i: days(60)[i], datetime(2021, 1, 1, tzinfo=UTC))]
)
def test_a_row_a_series_is_said_and_melted(tmp_path: Path, head: "Sequence[str]", first: object) -> None:
    rows = [[f"D{k}", *(str(i % 7 + k) if i < 60 - 5 * k else "" for i in range(60))] for k in range(3)]
    frame = pl.DataFrame(rows, schema=["V1", *(head(i) for i in range(60))], orient="row")  # type: ignore[operator]
    with pytest.raises(UserError, match=r"each row looks like one series, and 60 columns .*; add --melt"):
        look(tmp_path, frame)
    look(tmp_path, frame, melting=True)
    long = pl.read_parquet(tmp_path / "run.long.parquet").sort("unique_id", "ds")
    assert long.group_by("unique_id", maintain_order=True).len()["len"].to_list() == [60, 55, 50]
    assert (long["ds"][0], long["y"].head(3).to_list()) == (first, [0.0, 1.0, 2.0])


def test_several_columns_that_name_a_series_stand_in_the_file(tmp_path: Path) -> None:
    keys = [(city, item, day) for city, item in ((1, "x"), (1, "y"), (2, "x")) for day in days(100)]
    frame = pl.DataFrame(keys, schema=["City", "Item", "day"], orient="row").with_columns(sold=pl.Series(wave(100, 7) * 3))
    found = look(tmp_path, frame)
    assert found.draft.roles.ids == ("City", "Item") and "\n  id: [City, Item]\n" in found.text
    assert found.facts()[0] == ("series", "3 (City and Item), 100 steps each")


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        ({"a": [1.5, 2.0], "b": ["x", "y"]}, r"no column holds times: write them year first .*columns found: 'a', 'b'"),
        ({"day": days(50), "name": ["k"] * 50}, "no column can be the target"),
        ({"day": days(50), "flat": [1] * 50}, "no column can be the target"),
        ({"day": days(50) * 2, "v": wave(100, 7)}, "column 'day' repeats a time in 50 rows and no column names the series"),
        (
            {"day": [*days(50), *days(49), days(49)[0]], "id": ["a"] * 50 + ["b"] * 50, "v": wave(100, 7)},
            r"1 rows repeat a time \('day'\) of the same series \('id'\)",
        ),
        ({"day": days(8), "v": wave(8, 7)}, "too short: .* 8 steps or more, and 12 is the least"),
        (
            {"t": [str(datetime(2020, 1, 1) + timedelta(seconds=i * i)) for i in range(60)], "v": wave(60, 7)},
            "98.3% of the steps of 1s are missing",  # 60 of 59 * 59 + 1
        ),
        (
            {"t": [str(datetime(2020, 1, 1) + timedelta(seconds=i * i + 900 * i)) for i in range(60)], "v": wave(60, 7)},
            "the times lie on no regular grid: the usual step is 901s, but 98.3% of the steps are no whole multiple",
        ),
        (
            {"id": ["a"] * 60 + ["b"] * 60, "day": days(60) * 2, "v": [*wave(60, 7), *[None] * 60]},
            "1 series have no value of 'v', such as 'b'",
        ),
    ],
)
def test_a_table_that_cannot_be_forecast_is_refused_with_the_reason(
    tmp_path: Path, frame: dict[str, list[object]], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        look(tmp_path, pl.DataFrame(frame, strict=False))


def test_a_long_table_is_not_melted(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="long already: leave --melt out"):
        look(tmp_path, pl.DataFrame({"day": days(100), "v": wave(100, 7)}), melting=True)


def test_the_shipped_table_is_named_from_anywhere(tmp_path: Path) -> None:
    found = look_at("data/nyc_weather.parquet", tmp_path / "run.yaml", False, Asked())
    assert "  path: data/nyc_weather.parquet" in found.text
    assert (found.draft.roles.ids, found.draft.roles.target, found.draft.grid.span, found.draft.sizes.season) == (
        ("origin",),
        "temp",
        "1h",
        24,
    )
    assert "wind_gust" not in found.draft.roles.features  # 80 % null


def test_correlation_is_that_of_numpy_and_a_season_stands_out() -> None:
    pairs = NOISE[:500] - NOISE[:500].mean()
    assert correlation(NOISE[:500], 3) == pytest.approx(np.mean(pairs[:-3] * pairs[3:]) / np.var(pairs))
    values = np.array(wave(400, 24))
    values[50:60] = np.nan
    assert strength(values, 24) > 0.95
    assert strength(np.array(wave(400, 24)), 7) <= 0.1
    assert np.isnan(strength(values[:60], 24))


def test_names_and_spans_as_text() -> None:
    assert [span_text(n * 10**6) for n in (604_800, 86_400, 900, 7, 1.5)] == ["1w", "1d", "15m", "7s", None]
    assert [name_of(n) for n in ("Daily Sales (2)", "___", "x" * 99)] == ["daily-sales-2", "series", "x" * 64]
    assert [scalar(t) for t in ("a/b.csv", "null", "my id", "1", 'a"b')] == ["a/b.csv", '"null"', '"my id"', '"1"', '"a\\"b"']
