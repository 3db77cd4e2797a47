"""Time zones: wall clocks and instants are held against pandas and the standard library."""

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import polars as pl
import pytest

from params.section import zone_name
from tasks.grid.zone import to_day, to_instant, to_wall

ZONES = (
    "Europe/Berlin", "America/New_York", "America/Sao_Paulo", "Asia/Tehran", "Australia/Lord_Howe", "Asia/Kathmandu",
    "America/Havana", "Europe/Dublin", "+05:30", "-03:30", None,
)  # fmt: skip


def every(step: str, days: int = 800) -> pl.DataFrame:
    begin = datetime(2017, 6, 1)
    return pl.datetime_range(begin, begin + timedelta(days), step, time_zone="UTC", time_unit="us", eager=True).to_frame("t")


@pytest.mark.parametrize("zone", ZONES)
def test_a_day_of_the_wall_clock_and_back(zone: str | None) -> None:
    there = every("1d").select("t", instant=to_instant(pl.col("t"), zone))
    back = there.select("t", wall=to_day(pl.col("instant"), zone))
    assert back["wall"].equals(back["t"], check_names=False)
    assert there["instant"].is_sorted() and there["instant"].n_unique() == there.height


@pytest.mark.parametrize("zone", [zone for zone in ZONES if zone])
def test_the_wall_clock_is_what_pandas_shows(zone: str) -> None:
    times = every("30m")
    ours = times.select(to_wall(pl.col("t"), zone))["t"].dt.replace_time_zone(None).to_numpy()
    theirs = pd.DatetimeIndex(times["t"].to_numpy()).tz_localize("UTC").tz_convert(zone).tz_localize(None)
    assert (ours == theirs.to_numpy()).all()


@pytest.mark.parametrize("zone", [zone for zone in ZONES if zone])
def test_the_instant_is_what_pandas_shows_and_a_skipped_time_is_as_much_later(zone: str) -> None:
    times = every("30m")
    ours = times.select(to_instant(pl.col("t"), zone))["t"].dt.replace_time_zone(None).to_numpy()
    wall = pd.DatetimeIndex(times["t"].to_numpy())
    local = wall.tz_localize(zone, ambiguous=np.ones(len(wall), bool), nonexistent="NaT")
    theirs = local.tz_convert("UTC").tz_localize(None).to_numpy()
    known = ~np.isnat(theirs)
    assert (ours[known] == theirs[known]).all()
    for at in np.flatnonzero(~known):  # fold=0 of the standard library: the offset of before
        naive = wall[at].to_pydatetime()
        later = naive.replace(tzinfo=ZoneInfo(zone)).astimezone(ZoneInfo("UTC"))
        assert ours[at] == np.datetime64(later.replace(tzinfo=None))


@pytest.mark.parametrize(
    "text", ["Nowhere/X", "Europe", "europe/berlin", "+5", "", "../etc/passwd", "posixrules", "localtime", "Factory", "+19:00"]
)
def test_what_is_no_zone_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no time zone: write one such as Europe/Berlin"):
        zone_name(text)


@pytest.mark.parametrize(
    ("text", "kept"), [("UTC", "UTC"), ("Z", "UTC"), ("+00:00", "UTC"), ("+0530", "+05:30"), ("EST", "EST")]
)
def test_a_zone_is_kept_in_one_way(text: str, kept: str) -> None:
    assert zone_name(text) == kept
