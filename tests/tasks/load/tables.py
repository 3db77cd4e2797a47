"""Small tables of the columns `id`, `time` and `temp`, as the tests of loading need them."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl

MIDNIGHT = datetime(2020, 1, 1, tzinfo=UTC)


def csv_of(folder: Path, times: Sequence[str], name: str = "x.csv") -> Path:
    file = folder / name
    file.write_text("id,time,temp\n" + "".join(f"a,{time},{i}\n" for i, time in enumerate(times)))
    return file


def parquet_of(folder: Path, name: str = "x.parquet", **columns: Any) -> Path:
    base = {"id": ["a", "b"], "time": [MIDNIGHT, MIDNIGHT], "temp": [1.0, 2.0]}
    pl.DataFrame(base | columns).write_parquet(folder / name)
    return folder / name
