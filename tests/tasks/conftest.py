"""Small tables that the tests of several steps share."""

from collections.abc import Callable
from datetime import datetime, timedelta

import polars as pl
import pytest

START = datetime(2020, 1, 1)


@pytest.fixture(scope="session")
def frame_of() -> Callable[..., pl.LazyFrame]:
    """`frame_of({"a": [1.0, None]}, x=[...])`: hourly rows of each series from START; other columns are given for all rows."""

    def make(series: dict[str, list[float | None]], **columns: list[float | None] | pl.Series) -> pl.LazyFrame:
        rows = [(name, START + timedelta(hours=i), y) for name, values in series.items() for i, y in enumerate(values)]
        keys = pl.DataFrame(rows, schema={"unique_id": pl.String, "ds": pl.Datetime("us"), "y": pl.Float64}, orient="row")
        others = {k: v if isinstance(v, pl.Series) else pl.Series(v, dtype=pl.Float64) for k, v in columns.items()}
        return keys.with_columns(pl.col("ds").dt.replace_time_zone("UTC"), **others).lazy()

    return make
