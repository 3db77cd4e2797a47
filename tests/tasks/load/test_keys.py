"""The one message for keys that are none: a time that cannot be read, a row without a series, offsets on some rows alone."""

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from params.errors import UserError
from params.load import load_run
from params.schema import RunParams
from tasks.load.keys import check_keys
from tasks.load.source import open_source
from tests.tasks.load.tables import MIDNIGHT, csv_of, parquet_of


def run_on(path: Path, *settings: str) -> RunParams:
    return load_run("params/smoke.yaml", [f"data.path={path}", "data.id=id", "data.time=time", "data.target=temp", *settings])


def test_times_with_and_without_an_offset_are_refused_together(tmp_path: Path) -> None:
    run = run_on(csv_of(tmp_path, ["2020-01-01 00:00Z", "2020-01-01 01:00"]))
    with pytest.raises(
        UserError, match=r"'time' mixes times with an offset .*2020-01-01 01:00.*: give all of them an offset, or none"
    ):
        check_keys(open_source(run.data))
    (tmp_path / "text").mkdir()
    csv_of(tmp_path / "text", ["2020-01-01 00:00Z"], "a.csv")
    csv_of(tmp_path / "text", ["2020-01-01 01:00"], "b.csv")
    with pytest.raises(UserError, match=r"in .*a\.csv, and times without one, in .*b\.csv"):
        check_keys(open_source(run_on(tmp_path / "text").data))
    (tmp_path / "typed").mkdir()
    parquet_of(tmp_path / "typed", "a.parquet", time=[MIDNIGHT.replace(tzinfo=None)] * 2)
    parquet_of(tmp_path / "typed", "b.parquet")
    with pytest.raises(UserError, match=r"in .*b\.parquet, and times without one, in .*a\.parquet"):
        check_keys(open_source(run_on(tmp_path / "typed").data))


@pytest.mark.parametrize(
    ("times", "message"),
    [
        (
            ["2020-01-01", "01.02.2020"],
            r"x\.csv: column 'time': 1 of 2 times cannot be read; the first '01.02.2020' is not a time",
        ),
        (["2020-01-01", ""], "1 of 2 times cannot be read; the first is empty"),
        (["1.5", "2.5"], "2 of 2 times cannot be read; the first '1.5' is not a time: write it year first"),
    ],
)
def test_a_time_that_does_not_parse_is_shown(tmp_path: Path, times: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        check_keys(open_source(run_on(csv_of(tmp_path, times)).data))


@pytest.mark.parametrize("ids", [["a", None], ["a", " "], [1.0, float("nan")]])
def test_a_row_without_a_series_is_refused(tmp_path: Path, ids: list[Any]) -> None:
    with pytest.raises(UserError, match="'id' is empty in 1 rows: every row needs the name of its series"):
        check_keys(open_source(run_on(parquet_of(tmp_path, id=ids)).data))


def test_a_header_without_rows_is_refused(tmp_path: Path) -> None:
    for file in (csv_of(tmp_path, []), tmp_path / "x.parquet"):
        if file.suffix == ".parquet":
            pl.read_parquet(parquet_of(tmp_path)).clear().write_parquet(file)
        with pytest.raises(UserError, match=r"a header and no rows; give a table with rows"):
            check_keys(open_source(run_on(file).data))
