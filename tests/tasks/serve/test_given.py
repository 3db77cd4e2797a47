"""Forecasts come back in the columns of the caller's table: they join with its own next rows, in polars and in pandas."""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from params.data import DataParams
from tasks.load.source import open_source, scan_series
from tasks.serve.given import given_in, in_columns_of

KNOWN = 20  # rows of each series that are history; the others are its next rows
AHEAD = 4


def table(**columns: Any) -> pl.DataFrame:
    """Two series of hourly rows: `id` and `time`, changed as `columns` say, and the target."""
    times = [datetime(2024, 3, 30) + timedelta(hours=at) for at in range(KNOWN + AHEAD)]
    rows = pl.DataFrame({"id": [7] * len(times) + [10] * len(times), "time": times * 2})
    rows = rows.with_columns(pl.col("time").cast(pl.Datetime("us")), y=pl.int_range(pl.len()).cast(pl.Float64))
    return rows.with_columns(**columns)


def returned(rows: pl.DataFrame, path: Path, nixtla: bool = False, out: str = "out.parquet", **data: Any) -> pl.DataFrame:
    """The columns of forecasts of the AHEAD next rows of every series, `yhat` being their own target."""
    own = DataParams(**{"path": str(path), "id": "id", "time": "time", "target": "y", "frequency": "1h"} | data)
    put(rows, path)
    whole = scan_series(open_source(own), ()).collect().with_columns(pl.col("y").cast(pl.Float64))
    number = pl.int_range(pl.len()).over("unique_id")
    put(rows.filter((pl.int_range(pl.len()) % (KNOWN + AHEAD)) < KNOWN), path)
    cutoff = pl.col("ds").get(KNOWN - 1).over("unique_id")
    made = whole.select("unique_id", "ds", cutoff=cutoff, yhat="y", number=number).filter(pl.col("number") >= KNOWN)
    return in_columns_of(given_in(open_source(own)), made.drop("number"), Path(out), nixtla).rows


def put(rows: pl.DataFrame, path: Path) -> None:
    rows.write_csv(path) if path.suffix == ".csv" else rows.write_parquet(path)


TIME = pl.col("time")
TYPES = {
    "naive": TIME,
    "milliseconds": TIME.dt.cast_time_unit("ms"),
    "nanoseconds": TIME.dt.cast_time_unit("ns"),
    "UTC": TIME.dt.replace_time_zone("UTC"),
    "a zone": TIME.dt.replace_time_zone("UTC").dt.convert_time_zone("America/New_York").dt.cast_time_unit("ms"),
    "text": TIME.dt.strftime("%Y-%m-%dT%H:%M"),
}
IDS = {
    "int": pl.col("id"),
    "int16": pl.col("id").cast(pl.Int16),
    "uint8": pl.col("id").cast(pl.UInt8),
    "padded": pl.col("id").cast(pl.String).str.zfill(4),
    "text": pl.lit("shop ") + pl.col("id").cast(pl.String),
    "float": pl.col("id").cast(pl.Float32),
    "digits": pl.col("id").cast(pl.String),
    "categorical": pl.col("id").cast(pl.String).cast(pl.Categorical),
    "enum": pl.col("id").cast(pl.String).cast(pl.Enum(["10", "7"])),
}


@pytest.mark.parametrize(("time", "id"), [*((time, "int") for time in TYPES), *(("naive", id) for id in IDS)])
def test_forecasts_join_with_the_next_rows_of_a_typed_table(tmp_path: Path, time: str, id: str) -> None:
    rows = table(time=TYPES[time], id=IDS[id])
    found = returned(rows, tmp_path / "x.parquet")
    typed = rows.schema["time"] if time != "text" else pl.Datetime("us")
    assert found.schema["id"] == rows.schema["id"] and found.schema["time"] == found.schema["cutoff"] == typed
    if time != "text":
        joined = rows.join(found, on=["id", "time"])
        assert joined.height == 2 * AHEAD and joined["y"].to_list() == joined["yhat"].to_list()
        pandas = rows.to_pandas().merge(found.to_pandas(), on=["id", "time"])
        assert len(pandas) == 2 * AHEAD and (pandas["y"] == pandas["yhat"]).all()
    assert found.columns == ["id", "time", "cutoff", "yhat"] and found.equals(found.sort("id", "time"))


FORMATS = (
    "%Y-%m-%d %H:%M:%S",
    "%Y-%m-%dT%H",
    "%Y-%-m-%-d %-H:%M",
    "%Y/%m/%d %H:%M",
    "%Y-%m-%dT%H:%M:%SZ",
    "%Y-%m-%d %H:%M+00:00",
)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("id", ["int", "padded", "text", "float"])
def test_a_csv_comes_back_as_it_is_written(tmp_path: Path, format: str, id: str) -> None:
    rows = table(time=TIME.dt.strftime(format), id=IDS[id])
    put(returned(rows, tmp_path / "x.csv", out="f.csv"), tmp_path / "f.csv")
    put(rows, tmp_path / "all.csv")
    read = {"infer_schema": False}
    joined = pl.read_csv(tmp_path / "all.csv", **read).join(pl.read_csv(tmp_path / "f.csv", **read), on=["id", "time"])
    assert joined.height == 2 * AHEAD and joined["y"].to_list() == joined["yhat"].to_list()
    typed = returned(rows, tmp_path / "x.csv")
    assert typed.schema["id"] == {"int": pl.Int64, "float": pl.Float64}.get(id, pl.String)
    zoned = "Z" in format or "+" in format
    assert typed.schema["time"] == typed.schema["cutoff"] == pl.Datetime("us", "UTC" if zoned else None)


def test_dates_stay_dates_and_steps_stay_whole_numbers(tmp_path: Path) -> None:
    days = pl.date_range(datetime(2024, 2, 25), datetime(2024, 3, 19), "1d", eager=True)
    dates = pl.concat([days, days]).alias("time")
    found = returned(table(time=dates), tmp_path / "x.parquet", frequency="1d")
    assert found.schema["time"] == pl.Date and found["time"].max() == datetime(2024, 3, 19).date()
    assert returned(table(time=dates), tmp_path / "x.csv", frequency="1d").schema["time"] == pl.Date
    steps = pl.Series("time", [*range(24), *range(24)], pl.Int16)
    assert returned(table(time=steps), tmp_path / "x.parquet", frequency=1).schema["cutoff"] == pl.Int16


def test_nixtla_names_keep_the_types_of_the_table(tmp_path: Path) -> None:
    found = returned(table(id=IDS["int16"]), tmp_path / "x.parquet", nixtla=True)
    assert found.columns == ["unique_id", "ds", "cutoff", "yhat"]
    assert found.schema["unique_id"] == pl.Int16 and found.schema["ds"] == pl.Datetime("us")


def test_a_single_series_has_no_column_of_its_own_but_under_nixtla_names(tmp_path: Path) -> None:
    rows = table().filter(pl.col("id") == 7).drop("id")
    assert returned(rows, tmp_path / "x.parquet", id=None).columns == ["time", "cutoff", "yhat"]
    assert set(returned(rows, tmp_path / "x.parquet", nixtla=True, id=None)["unique_id"]) == {"y"}


def test_a_name_of_ours_comes_back_as_name_and_is_told(tmp_path: Path) -> None:
    rows = table().rename({"id": "cutoff", "time": "yhat"})
    own = DataParams(path=str(tmp_path / "x.parquet"), id="cutoff", time="yhat", target="y", frequency="1h")
    put(rows, tmp_path / "x.parquet")
    made = pl.DataFrame({"unique_id": ["7"], "yhat": [1.0]}).with_columns(
        ds=pl.lit(datetime(2024, 4, 1)).dt.replace_time_zone("UTC"),
        cutoff=pl.lit(datetime(2024, 3, 31)).dt.replace_time_zone("UTC"),
    )
    found = in_columns_of(given_in(open_source(own)), made)
    assert found.rows.columns == ["cutoff_", "yhat_", "cutoff", "yhat"]
    assert found.renamed == "in the forecasts your column 'cutoff' is 'cutoff_', 'yhat' is 'yhat_': those names are ours there"


@pytest.mark.parametrize("name", ["x.parquet", "x.csv"])
def test_several_columns_come_back_as_those_columns(tmp_path: Path, name: str) -> None:
    rows = table(id=pl.lit("a/b")).with_columns(Dept=pl.int_range(pl.len()) // (KNOWN + AHEAD))
    found = returned(rows, tmp_path / name, id=["Dept", "id"])
    assert found.columns == ["Dept", "id", "time", "cutoff", "yhat"] and found["Dept"].to_list() == [0] * 4 + [1] * 4
    assert found.join(rows, on=["Dept", "id", "time"]).height == 2 * AHEAD
    named = returned(rows, tmp_path / name, nixtla=True, id=["Dept", "id"])["unique_id"]
    assert set(named) == {"0/a\\/b", "1/a\\/b"}


@pytest.mark.parametrize("name", ["x.parquet", "x.csv"])
def test_a_time_in_several_columns_comes_back_in_those(tmp_path: Path, name: str) -> None:
    parts = {"year": TIME.dt.year(), "mon": TIME.dt.month(), "d": TIME.dt.day(), "hour": TIME.dt.strftime("%H")}
    split = [table().with_columns(**parts), table().with_columns(day=TIME.dt.date(), clock=TIME.dt.strftime("%H:%M"))]
    for rows, times in zip(split, (["year", "mon", "d", "hour"], ["day", "clock"]), strict=True):
        rows = rows.drop("time")
        found = returned(rows, tmp_path / name, time=times, out="f.csv")
        assert found.columns == ["id", *times, "cutoff", "yhat"]
        said = rows.with_columns(pl.col("day").cast(pl.String)) if name == "x.csv" and "day" in times else rows
        joined = said.join(found.with_columns(pl.col(t).cast(said.schema[t]) for t in times), on=["id", *times])
        assert joined.height == 2 * AHEAD and joined["y"].to_list() == joined["yhat"].to_list()
        assert returned(rows, tmp_path / name, nixtla=True, time=times).schema["ds"] == pl.Datetime("us")


def test_a_format_and_numbers_since_1970_come_back(tmp_path: Path) -> None:
    rows = table(time=TIME.dt.strftime("%d.%m.%y %H:%M"))
    for out, dtype in (("f.csv", pl.String), ("f.parquet", pl.Datetime("us"))):
        found = returned(rows, tmp_path / "x.csv", time_format="%d.%m.%y %H:%M", out=out)
        assert found.schema["time"] == found.schema["cutoff"] == dtype
    for unit, count in (("s", 1), ("ms", 1000)):
        numbers = table(time=TIME.dt.timestamp("us") // 10**6 * count)
        for name in ("x.csv", "x.parquet"):
            assert returned(numbers, tmp_path / name, time_unit=unit).join(numbers, on=["id", "time"]).height == 2 * AHEAD
