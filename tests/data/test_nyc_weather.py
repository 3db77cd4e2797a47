"""The shipped series is what data/README.md says, faults included, and can be built again; never touches the network."""

from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from data.build_nyc import WEATHER, weather

SCHEMA = {"origin": pl.String, "time_hour": pl.Datetime("us", "UTC")} | dict.fromkeys(
    ("temp", "dewp", "humid", "wind_dir", "wind_speed", "wind_gust", "precip", "pressure", "visib"), pl.Float64
)
NULLS = {  # EWR, JFK, LGA; no other column has any
    "temp": (1, 0, 0),
    "dewp": (1, 0, 0),
    "humid": (1, 0, 0),
    "wind_dir": (256, 51, 153),
    "wind_speed": (1, 3, 0),
    "wind_gust": (6901, 7199, 6678),
    "pressure": (935, 831, 963),
}
SOURCE = """origin,year,month,day,hour,temp,dewp,humid,wind_dir,wind_speed,wind_gust,precip,pressure,visib,time_hour
EWR,2013,1,1,1,39.02,26.06,59.37,270,10.357019999999999,NA,0,1012,10,2013-01-01T06:00:00Z
LGA,2013,6,1,23,NA,NA,NA,NA,0,24.16638,0.13,NA,2.5,2013-06-02T03:00:00Z
"""


@pytest.fixture(scope="module")
def table() -> pl.DataFrame:
    """The shipped file."""
    return pl.read_parquet(WEATHER)


def test_rows_and_columns(table: pl.DataFrame) -> None:
    assert dict(table.schema) == SCHEMA
    assert table.height == 26_115
    assert dict(table.group_by("origin").len().iter_rows()) == {"EWR": 8703, "JFK": 8706, "LGA": 8706}


def test_missing_hours_a_station(table: pl.DataFrame) -> None:
    first, last = datetime(2013, 1, 1, 6, tzinfo=UTC), datetime(2013, 12, 30, 23, tzinfo=UTC)
    hours = (last - first).total_seconds() / 3600 + 1
    missing, gaps = {}, {}
    for (origin,), station in table.group_by("origin"):
        times = station["time_hour"]
        assert (times.min(), times.max()) == (first, last)
        assert times.is_sorted() and times.n_unique() == station.height
        missing[origin] = hours - station.height
        gaps[origin] = int((times.diff().dt.total_hours() > 1).sum())
    assert missing == {"EWR": 27, "JFK": 24, "LGA": 24}
    assert gaps == {"EWR": 17, "JFK": 14, "LGA": 14}


def test_nulls_a_column_and_station(table: pl.DataFrame) -> None:
    counts = table.group_by("origin").agg(pl.all().null_count()).sort("origin")
    found = {name: tuple(counts[name]) for name in counts.columns if name not in ("origin", "time_hour")}
    assert {name: counts for name, counts in found.items() if any(counts)} == NULLS
    assert not table.select(pl.selectors.float().is_nan().any()).row(0).count(True)


def test_the_impossible_wind_is_still_there(table: pl.DataFrame) -> None:
    fast = table.filter(pl.col("wind_speed") > 43)
    assert fast.select("origin", "time_hour").rows() == [("EWR", datetime(2013, 2, 12, 8, tzinfo=UTC))]
    assert fast["wind_speed"].item() == pytest.approx(1048.36, abs=0.01)


def test_the_readme_gives_the_counted_faults() -> None:
    text = (WEATHER.parent / "README.md").read_text(encoding="utf-8")
    for name, (ewr, jfk, lga) in NULLS.items():
        (line,) = (line for line in text.splitlines() if line.startswith(f"| `{name}`"))
        assert f"| {ewr:,} | {jfk:,} | {lga:,} | {ewr + jfk + lga:,} |" in line


def test_building_again_gives_the_same_form(tmp_path: Path) -> None:
    source = tmp_path / "weather.csv"
    source.write_text(SOURCE)
    built = weather(source)
    assert dict(built.schema) == SCHEMA
    assert built.rows() == [
        ("EWR", datetime(2013, 1, 1, 6, tzinfo=UTC), 39.02, 26.06, 59.37, 270.0, 10.357019999999999, None, 0.0, 1012.0, 10.0),
        ("LGA", datetime(2013, 6, 2, 3, tzinfo=UTC), None, None, None, None, 0.0, 24.16638, 0.13, None, 2.5),
    ]
