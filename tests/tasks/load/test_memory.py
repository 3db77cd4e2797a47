"""Frames in memory (tasks/load/memory.py): what is read of them, what is refused, and the file that one becomes."""

import datetime as dt
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest

from params.errors import UserError
from tasks.files import ROOT
from tasks.load.memory import called, frame_of, keep, opened, require_columns

DAYS = [dt.date(2024, 1, day) for day in range(1, 4)]
PLAIN = pl.DataFrame({"store": ["a", "a", "b"], "date": DAYS, "sales": [1.0, None, 3.0]})
PANDAS = pd.DataFrame({"store": ["a", "a", "b"], "date": pd.to_datetime(DAYS), "sales": [1.0, np.nan, 3.0]})


def same(found: pl.DataFrame) -> bool:
    return found.select("store", pl.col("date").cast(pl.Date), "sales").equals(PLAIN)


@pytest.mark.parametrize(
    "table",
    [
        PLAIN,
        PLAIN.lazy(),
        PLAIN.with_columns(pl.col("store").cast(pl.Categorical)),
        PLAIN.with_columns(pl.col("store").cast(pl.Enum(["b", "a"]))),
        PANDAS,
        PANDAS.astype({"store": "category"}),
        PANDAS.astype({"store": object}),
        PANDAS.set_index("date"),
        PANDAS.set_index(["store", "date"]),
        PANDAS.set_index("date").rename_axis(None),
        PANDAS.iloc[[0, 1, 2]].set_axis([7, 8, 9]),  # what a filter leaves of row numbers
        PANDAS.assign(date=DAYS),
    ],
)
def test_the_same_rows_come_out_of_every_kind_of_frame(table: Any) -> None:
    before = table.copy() if isinstance(table, pd.DataFrame) else None
    assert same(frame_of(table, "date"))
    if before is not None:
        pd.testing.assert_frame_equal(table, before)


def test_a_zone_stays() -> None:
    zoned = PANDAS.assign(date=PANDAS["date"].dt.tz_localize("Europe/Oslo"))
    found = frame_of(zoned)
    assert found.schema["date"].time_zone == "Europe/Oslo"  # type: ignore[attr-defined]
    assert found["date"].to_list() == zoned["date"].dt.to_pydatetime().tolist()
    fixed = PANDAS.assign(date=PANDAS["date"].dt.tz_localize("+02:00"))
    assert frame_of(fixed)["date"][0] == dt.datetime(2023, 12, 31, 22, tzinfo=dt.UTC)


class Thing:
    pass


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ({"store": ["a"]}, "the table: dict is no table: give a polars or pandas DataFrame, or the path of a file"),
        (PANDAS["sales"], "pandas.Series is no table"),
        (np.zeros(3), "numpy.ndarray is no table"),
        (PLAIN.clear(), "it has no rows"),
        (pl.DataFrame(), "it has no columns"),
        (PANDAS.iloc[:0], "it has no rows"),
        (PLAIN.with_columns(pl.Series("thing", [Thing()] * 3, pl.Object)), "column 'thing' holds Python objects"),
        (PANDAS.assign(thing=[1, "two", 3.0]), "column 'thing' mixes values of several kinds"),
        (PANDAS.assign(thing=[Thing()] * 3), "column 'thing' mixes values of several kinds"),
        (PANDAS.assign(month=PANDAS["date"].dt.to_period("M")), "column 'month' holds periods: write df['month'].dt.to_times"),
        (PANDAS.rename(columns={"sales": 3}), "column 3 has no text as its name"),
        (pd.concat([PANDAS, PANDAS[["sales"]]], axis=1), "2 columns are called 'sales'"),
        (PANDAS.set_index("store", drop=False), "'store' is both in its index and a column"),
        (PANDAS.set_index("date").rename_axis(None).assign(date=1), "its index of times has no name"),
        (PANDAS.set_index("store").rename_axis(None), "its index of str has no name: reset_index(names=...) makes it"),
        (PANDAS.set_index(["store", "date"]).rename_axis([None, "date"]), "a level of its index has no name"),
        (pl.scan_parquet("none.parquet"), "this LazyFrame cannot be collected"),
    ],
)
def test_what_is_no_table_is_refused_in_one_message(table: Any, told: str) -> None:
    with pytest.raises(UserError) as error:
        frame_of(table, "date")
    assert told in str(error.value) and "\n" not in str(error.value)


def test_a_column_that_is_not_there_is_named_with_the_nearest() -> None:
    require_columns(PLAIN, {"id": ("store",), "future": ()})
    with pytest.raises(UserError, match=r"target: the table has no column 'sale'; .*; did you mean 'sales'"):
        require_columns(PLAIN, {"id": ("store",), "target": ("sale",)})


def test_a_kept_frame_is_one_file_named_by_its_content(tmp_path: Path) -> None:
    kept = keep(PLAIN, tmp_path)
    assert pl.read_parquet(kept).equals(PLAIN)
    assert keep(PLAIN.clone(), tmp_path) == kept and keep(PLAIN.head(2), tmp_path) != kept
    assert len(list((tmp_path / "tables").iterdir())) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["tables"]


def test_a_file_for_a_block_is_gone_after_it_and_has_no_name_in_messages(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^the table: no$"), opened(PLAIN, tmp_path) as path:
        assert pl.read_parquet(path).equals(PLAIN)
        raise UserError(f"{path}: no")
    assert not list(tmp_path.iterdir())
    with opened(tmp_path / "own.csv", tmp_path) as path:
        assert path == str(tmp_path / "own.csv")
    with pytest.raises(UserError, match=r"^/a/b: no$"), called("/c"):
        raise UserError("/a/b: no")
    with pytest.raises(UserError, match=r"^the table: no$"), called(str(ROOT / ".lagline" / "a.parquet")):
        raise UserError(".lagline/a.parquet: no")  # a home in the checkout, whose paths a run file writes so
