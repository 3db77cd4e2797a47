"""Folders that name columns, files without rows, and files whose columns differ in order and type are one table."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pytest

from params.data import DataParams
from params.errors import UserError
from tasks.load.keys import check_keys
from tasks.load.source import open_source, scan_series

START = datetime(2024, 3, 1, tzinfo=UTC).replace(tzinfo=None)


def rows(count: int = 4, level: float = 1.0) -> pl.DataFrame:
    return pl.DataFrame({"ts": [START + timedelta(hours=i) for i in range(count)], "v": [level + i for i in range(count)]})


def params(path: Path | str, **more: Any) -> DataParams:
    return DataParams(path=str(path), **{"id": "shop", "time": "ts", "target": "v", "frequency": "1h", **more})


def put(frame: pl.DataFrame, file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    frame.write_csv(file) if file.suffix == ".csv" else frame.write_parquet(file)


def sums(data: DataParams, *columns: str) -> list[tuple[Any, ...]]:
    """Of each series: its name, rows, and the sums of its columns."""
    source = open_source(data)
    check_keys(source)
    found = scan_series(source, columns).group_by("unique_id").agg(pl.len(), pl.col("y", *columns).cast(pl.Float64).sum())
    return found.sort("unique_id").collect().rows()


@pytest.mark.parametrize("ending", ["csv", "parquet"])
@pytest.mark.parametrize("how", ["", "*/*", "**/*.{}", "shop=*/year=*/*"])
def test_folders_named_column_equals_value_are_columns(tmp_path: Path, ending: str, how: str) -> None:
    put(rows(3), tmp_path / f"shop=Nord%2FS%C3%BCd%20=1/year=2023/a.{ending}")
    put(rows(2, 10), tmp_path / f"shop=Nord%2FS%C3%BCd%20=1/year=2024/b.{ending}")
    put(rows(4, 100), tmp_path / f"shop=007/year=2024/a.{ending}")
    (tmp_path / "shop=007" / "_SUCCESS").touch()
    path = tmp_path / how.format(ending) if how and how != "*/*" else tmp_path / ("*/*/*" if how else "")
    kept = sums(params(path, id="shop"), "year")
    assert kept == [("007", 4, 406.0, 8096.0), ("Nord/Süd =1", 5, 27.0, 3 * 2023.0 + 2 * 2024)]


def test_whole_numbers_and_empty_values_of_folders(tmp_path: Path) -> None:
    for name in ("10", "9", "__HIVE_DEFAULT_PARTITION__"):
        put(rows(2).with_columns(shop=pl.lit("a" + name)), tmp_path / f"size={name}/x.parquet")
    source = open_source(params(tmp_path))
    assert source.tables[0].columns["size"] == pl.Int64
    found = scan_series(source, ["size"]).collect()
    assert sorted(found["size"].drop_nulls().to_list()) == [9, 9, 10, 10]
    assert found["size"].null_count() == 2


def test_a_column_of_the_file_stays_what_it_is_there(tmp_path: Path) -> None:
    put(rows(2).with_columns(shop=pl.lit("x")), tmp_path / "shop=y/x.parquet")
    assert sums(params(tmp_path)) == [("x", 2, 3.0)]


def test_a_folder_leads_nowhere_else_and_says_how_deeper_ones_are_read(tmp_path: Path) -> None:
    put(rows(2), tmp_path / "away/x.parquet")
    put(rows(2), tmp_path / "in/shop=a/x.parquet")
    (tmp_path / "in" / "shop=b").symlink_to(tmp_path / "away")
    assert sums(params(tmp_path / "in")) == [("a", 2, 3.0)]
    with pytest.raises(
        UserError, match=r"the folder holds no table; .*; to read the tables of its folders write .*/\*\*/\*\.parquet"
    ):
        open_source(params(tmp_path))


def test_files_without_rows_do_no_harm_whatever_their_columns(tmp_path: Path) -> None:
    put(rows(3).with_columns(shop=pl.lit("a")), tmp_path / "p1.parquet")
    pd.DataFrame({"ts": [], "v": [], "shop": []}).astype(object).to_parquet(tmp_path / "p0.parquet")
    pd.DataFrame().to_parquet(tmp_path / "p2.parquet")
    pd.DataFrame({"ts": pd.Series([], dtype="float64"), "other": []}).to_parquet(tmp_path / "p3.parquet", index=True)
    assert sums(params(tmp_path)) == [("a", 3, 6.0)]
    (tmp_path / "p1.parquet").unlink()
    with pytest.raises(UserError, match=r"there is no column 'shop'|a header and no rows|holds Null"):
        check_keys(open_source(params(tmp_path)))


@pytest.mark.parametrize(
    "other",
    [
        rows(2).with_columns(pl.col("v").cast(pl.Float32), pl.col("ts").cast(pl.Datetime("ns"))),
        rows(2).with_columns(pl.col("v").cast(pl.Int16)),
        rows(2).with_columns(pl.col("v").cast(pl.UInt8), pl.col("ts").cast(pl.Datetime("ms"))),
        rows(2).with_columns(pl.col("v").cast(pl.Decimal(10, 2))),
        rows(2).with_columns(pl.col("v").cast(pl.String), pl.col("ts").dt.to_string("iso")),
        rows(2).select("v", "ts"),
    ],
)
def test_files_of_other_types_and_another_order(tmp_path: Path, other: pl.DataFrame) -> None:
    for shop in (pl.lit("a"), pl.lit("a", pl.Categorical()), pl.lit("a", pl.Enum(["b", "a"]))):
        put(rows(3).with_columns(shop=pl.lit("b", pl.Categorical())), tmp_path / "p0.parquet")
        put(other.with_columns(shop=shop, note=pl.lit(None)), tmp_path / "p1.parquet")
        put(rows(3).with_columns(shop=pl.lit("b", pl.Categorical()), note=pl.lit(1.5)), tmp_path / "p0.parquet")
        assert sums(params(tmp_path), "note") == [("a", 2, 3.0, 0.0), ("b", 3, 6.0, 4.5)]


def test_a_column_that_no_type_holds_is_named_with_both_files(tmp_path: Path) -> None:
    put(rows(2).with_columns(shop=pl.lit("a"), note=pl.lit(1)), tmp_path / "p0.parquet")
    put(rows(2).with_columns(shop=pl.lit("a"), note=pl.lit([1])), tmp_path / "p1.parquet")
    with pytest.raises(UserError, match=r"p1\.parquet: column 'note' holds List\(Int\d+\), and Int\d+ in .*p0\.parquet: write"):
        open_source(params(tmp_path))


def test_an_index_of_pandas_in_some_files_alone_is_left_out(tmp_path: Path) -> None:
    whole = rows(6).with_columns(shop=pl.lit("a")).to_pandas()
    whole.iloc[:3].to_parquet(tmp_path / "p0.parquet")
    whole.iloc[[3, 5, 4]].to_parquet(tmp_path / "p1.parquet")
    assert "__index_level_0__" in json.dumps(pl.read_parquet_schema(tmp_path / "p1.parquet"), default=str)
    assert sums(params(tmp_path)) == [("a", 6, 21.0)]
