"""The shipped departures are what data/README.md says, and can be counted again; never touches the network."""

from datetime import date
from pathlib import Path

import polars as pl
import pytest

from data.build_nyc import DEPARTURES, departures

SCHEMA = {"dest": pl.String, "day": pl.Date, "scheduled": pl.Int16, "late": pl.Int16}
SOURCE = """year,month,day,dep_time,sched_dep_time,dep_delay,carrier,origin,dest
2013,1,1,517,515,2,UA,EWR,IAH
2013,1,1,544,529,15,UA,LGA,IAH
2013,1,1,NA,630,NA,AA,JFK,IAH
2013,1,3,601,515,46,AA,JFK,IAH
2013,1,3,514,515,-1,AA,JFK,MIA
2013,1,4,529,515,14,AA,JFK,IAH
2013,1,4,615,515,60,AA,JFK,BOS
2013,1,4,555,515,40,AA,JFK,BOS
"""


@pytest.fixture(scope="module")
def table() -> pl.DataFrame:
    """The shipped file."""
    return pl.read_parquet(DEPARTURES)


def test_every_destination_has_every_day_of_the_year(table: pl.DataFrame) -> None:
    assert dict(table.schema) == SCHEMA
    assert table["dest"].n_unique() == 78
    days = pl.date_range(date(2013, 1, 1), date(2013, 12, 31), eager=True).to_list()
    assert all(one["day"].to_list() == days for one in table.partition_by("dest"))
    assert sum(table.null_count().row(0)) == 0


def test_no_more_are_late_than_were_scheduled(table: pl.DataFrame) -> None:
    assert (table["late"] <= table["scheduled"]).all()
    assert table["late"].min() == 0
    assert table.group_by("dest").agg(pl.col("scheduled").cast(pl.Int64).sum())["scheduled"].min() == 365


def test_the_readme_gives_the_counts(table: pl.DataFrame) -> None:
    text = (DEPARTURES.parent / "README.md").read_text(encoding="utf-8")
    for name in ("scheduled", "late"):
        (line,) = (line for line in text.splitlines() if line.startswith(f"| `{name}`"))
        values = table[name].cast(pl.Int64)
        assert line.endswith(f"| {values.sum():,} | {values.max()} | {(values == 0).sum():,} |")
    on = table.filter(pl.col("scheduled") > 0).group_by("dest").len()["len"]
    assert f"{(on == 365).sum()} destinations have a flight on every day, the others on {on.min()} days or more" in text


def test_counting_again_gives_the_same_form(tmp_path: Path) -> None:
    source = tmp_path / "flights.csv"
    source.write_text(SOURCE)
    built = departures(source, fewest=2)
    assert dict(built.schema) == SCHEMA
    assert built.rows() == [
        ("BOS", date(2013, 1, 1), 0, 0),
        ("BOS", date(2013, 1, 2), 0, 0),
        ("BOS", date(2013, 1, 3), 0, 0),
        ("BOS", date(2013, 1, 4), 2, 2),
        ("IAH", date(2013, 1, 1), 3, 1),  # 15 minutes are late, and a cancelled flight is not
        ("IAH", date(2013, 1, 2), 0, 0),
        ("IAH", date(2013, 1, 3), 1, 1),
        ("IAH", date(2013, 1, 4), 1, 0),
    ]
