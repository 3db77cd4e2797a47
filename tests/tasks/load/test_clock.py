"""The zone of a table, its days as its own clocks show them, and local times that come twice."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from params.data import DataParams
from params.errors import UserError
from tasks.grid.zone import to_instant
from tasks.load.clock import went_back
from tasks.load.source import Source, open_source, scan_series

FORM = "%Y-%m-%dT%H:%M:%S%:z"


def local_days(zone: str, step: str = "1d") -> pl.DataFrame:
    """`ds`, the first instant of every day, week or month in two years, as a time of the zone."""
    wall = pl.datetime_range(datetime(2017, 1, 1), datetime(2019, 1, 1), step, time_unit="us", eager=True).alias("wall")
    instant = to_instant(pl.col("wall").dt.replace_time_zone("UTC"), zone)
    return wall.to_frame().select("wall", ds=instant.dt.convert_time_zone(zone), y=pl.int_range(pl.len()) * 1.0)


def opened(file: Path, frequency: str, **keys: str) -> Source:
    return open_source(DataParams(path=str(file), time="ds", target="y", frequency=frequency, **keys))  # type: ignore[arg-type]


def times(source: Source) -> list[str]:
    found = scan_series(source, []).select("ds").collect()["ds"]
    return [f"{time:%Y-%m-%d %H:%M}" for time in found]


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/Sao_Paulo", "Asia/Tehran", "Australia/Lord_Howe", "America/Havana"])
@pytest.mark.parametrize("step", ["1d", "1w", "1mo"])
def test_steps_of_a_day_or_more_are_those_of_the_own_clock(zone: str, step: str, tmp_path: Path) -> None:
    rows = local_days(zone, step)
    days = [f"{time:%Y-%m-%d %H:%M}" for time in rows["wall"]]
    rows.drop("wall").write_parquet(tmp_path / "x.parquet")
    rows.select(pl.col("ds").dt.strftime(FORM), "y").write_csv(tmp_path / "x.csv")
    typed, text = opened(tmp_path / "x.parquet", step), opened(tmp_path / "x.csv", step)
    assert typed.clock.zone == zone and times(typed) == times(text) == days
    if zone == "Europe/Berlin":
        assert text.clock.zone == zone
        assert text.clock.told == f"ds: the offsets +01:00, +02:00 are taken for those of {zone}; data.time_zone names another"


def test_one_offset_is_a_zone_and_utc_is_known_from_no_zone(tmp_path: Path) -> None:
    for name, ending, zone in (("k", "+05:45", "+05:45"), ("z", "Z", "UTC"), ("u", "+00:00", "UTC"), ("n", "", None)):
        file = tmp_path / f"{name}.csv"
        file.write_text("ds,y\n" + "".join(f"2024-03-{day:02}T00:00:00{ending},1\n" for day in range(1, 9)))
        source = opened(file, "1d")
        assert source.clock.zone == zone and times(source)[0] == "2024-03-01 00:00"
    assert opened(tmp_path / "k.csv", "1h").clock.zone == "+05:45"
    assert times(opened(tmp_path / "k.csv", "1h"))[0] == "2024-02-29 18:15"  # steps below a day are instants


def test_a_parquet_column_of_a_fixed_offset(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    day = 86_400_000_000
    ds = pa.array([day * n - 19_800_000_000 for n in range(1, 6)], pa.timestamp("us", tz="+05:30"))
    pq.write_table(pa.table({"ds": ds, "y": [1.0] * 5}), tmp_path / "x.parquet")
    source = opened(tmp_path / "x.parquet", "1d")
    assert source.clock.zone == "+05:30" and times(source)[:2] == ["1970-01-02 00:00", "1970-01-03 00:00"]


def test_offsets_of_no_zone_ask_for_its_name_and_a_named_zone_reads_them(tmp_path: Path) -> None:
    offsets = ["+01:00", "+07:00", "-03:00"] * 4
    (tmp_path / "x.csv").write_text(
        "ds,y\n" + "".join(f"2024-03-{day:02}T12:00:00{offset},1\n" for day, offset in enumerate(offsets, 1))
    )
    with pytest.raises(UserError, match=r"the offsets -03:00, \+01:00, \+07:00, which no time zone had.*data.time_zone: "):
        times(opened(tmp_path / "x.csv", "1d"))
    assert times(opened(tmp_path / "x.csv", "1d", time_zone="Asia/Tokyo"))[:2] == ["2024-03-01 20:00", "2024-03-02 14:00"]


def test_a_zone_that_is_named_wins_over_what_the_column_says(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("ds,y\n2024-07-01T22:00:00Z,1\n2024-07-02T22:00:00Z,2\n")
    assert times(opened(tmp_path / "x.csv", "1d", time_zone="Europe/Berlin")) == ["2024-07-02 00:00", "2024-07-03 00:00"]


def autumn(step: str, zone: str = "Europe/Berlin", day: datetime = datetime(2021, 10, 31)) -> pl.DataFrame:
    """Local times without an offset around a change of clocks, with the instants that they were."""
    begin, end = day - timedelta(days=1), day + timedelta(days=1)
    instants = pl.datetime_range(begin, end, step, time_unit="us", time_zone="UTC", eager=True).alias("instant")
    return instants.to_frame().with_columns(ds=pl.col("instant").dt.convert_time_zone(zone).dt.replace_time_zone(None))


@pytest.mark.parametrize("step", ["15m", "30m", "1h"])
@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize(
    ("zone", "day"), [("Europe/Berlin", datetime(2021, 10, 31)), ("America/New_York", datetime(2021, 11, 7))]
)  # fmt: skip
def test_an_hour_that_comes_twice_is_told_apart_by_its_order(
    step: str, backwards: bool, zone: str, day: datetime, tmp_path: Path
) -> None:
    one = autumn(step, zone, day)
    one = one.reverse() if backwards else one
    rows = pl.concat([one.with_columns(id=pl.lit(name), y=1.0) for name in "ba"])
    rows.select("id", pl.col("ds").dt.strftime("%Y-%m-%d %H:%M"), "y").write_csv(tmp_path / "x.csv")
    source = opened(tmp_path / "x.csv", step, id="id", time_zone=zone)
    found = scan_series(source, []).collect()
    assert found["ds"].equals(rows["instant"], check_names=False) and source.clock.zone == zone


def written(folder: Path, ds: Sequence[str]) -> Path:
    (folder / "x.csv").write_text("ds,y\n" + "".join(f"{time},1\n" for time in ds))
    return folder / "x.csv"


def test_a_table_that_begins_or_ends_in_that_hour_tells_which_one_it_is(tmp_path: Path) -> None:
    ends = written(tmp_path, ["2021-10-31 00:00", "2021-10-31 01:00", "2021-10-31 02:00"])
    assert times(opened(ends, "1h", time_zone="Europe/Berlin"))[-1] == "2021-10-31 00:00"
    begins = written(tmp_path, ["2021-10-31 02:00", "2021-10-31 03:00", "2021-10-31 04:00"])
    assert times(opened(begins, "1h", time_zone="Europe/Berlin"))[0] == "2021-10-31 01:00"


@pytest.mark.parametrize(
    ("ds", "message"),
    [
        (["2021-10-31 01:00", "2021-10-31 02:00", "2021-10-31 03:00"], "2021-10-31 02:00 of series 'y' stands there once, and"),
        (["2021-10-31 02:00"] * 3 + ["2021-10-31 03:00"], "in an order that does not tell them apart"),
        (["2021-03-28 01:00", "2021-03-28 02:00"], "2021-03-28 02:00 of series 'y' was never shown: clocks went forward then"),
    ],
)  # fmt: skip
def test_what_may_be_either_or_was_never_shown_is_refused(ds: list[str], message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"{message}.* in Europe/Berlin"):
        times(opened(written(tmp_path, ds), "1h", time_zone="Europe/Berlin"))


def test_a_time_that_came_twice_has_a_zone_in_which_clocks_went_back() -> None:
    assert went_back([datetime(2021, 10, 31, 2), datetime(2020, 10, 25, 2, 30)]) == "Europe/Berlin"
    assert went_back([datetime(2021, 11, 7, 1)]) == "America/New_York"
    assert went_back([datetime(2021, 10, 31, 2), datetime(2021, 6, 1, 2)]) is None and went_back([]) is None
