"""What series are called (ids.py): by value, whatever type their cells have, and apart where they differ."""

from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models import serving
from params.errors import UserError
from params.load import load_run
from tasks.load.ids import joined, text_of
from tasks.load.keys import check_keys
from tasks.load.source import open_source, scan_series

BIG = 2**53 + 1


def texts(*values: Any, dtype: Any = None) -> list[str | None]:
    frame = pl.DataFrame({"a": pl.Series(values, dtype=dtype)})
    return frame.lazy().select(text_of(pl.col("a"), frame.schema["a"])).collect(engine="streaming")["a"].to_list()


@pytest.mark.parametrize(
    ("values", "dtype", "found"),
    [
        (["1", "1.0", " 1.000 ", "-1.0", "-0.0", "0"], None, ["1", "1", "1", "-1", "0", "0"]),
        (
            ["001", "001.0", "1e3", "1.50", "+1", "1.", "-0", ".0"],
            None,
            ["001", "001.0", "1e3", "1.50", "+1", "1.", "-0", ".0"],
        ),
        (["\u00a0a b ", "", " ", "NA", "none", "nan"], None, ["a b", None, None, "NA", "none", "nan"]),
        (["True", "FALSE", "true", "tRue"], None, ["true", "false", "true", "tRue"]),
        ([1.0, -1.0, 1e3, 0.5, -0.0, 1e16, float("nan"), None], None, ["1", "-1", "1000", "0.5", "0", str(10**16), None, None]),
        ([0.1, 3.0], pl.Float32, ["0.1", "3"]),
        ([BIG, -5, None], pl.Int64, [str(BIG), "-5", None]),
        ([2**64 - 1], pl.UInt64, [str(2**64 - 1)]),
        ([True, False, None], None, ["true", "false", None]),
        ([Decimal("1.00"), Decimal("1.50"), Decimal("100.00"), Decimal("-0.10")], None, ["1", "1.5", "100", "-0.1"]),
        ([Decimal("100")], pl.Decimal(10, 0), ["100"]),
        ([date(2020, 1, 31)], None, ["2020-01-31"]),
        ([datetime(2020, 1, 31), datetime(2020, 1, 31, 6)], None, ["2020-01-31", "2020-01-31 06:00:00"]),
        ([datetime(2020, 1, 31, tzinfo=UTC)], None, ["2020-01-31 00:00:00+00:00"]),
        (["a", "1.0", None], pl.Categorical, ["a", "1", None]),
    ],
    ids=str,
)
def test_a_series_is_called_by_what_its_cell_says(values: list[Any], dtype: Any, found: list[str | None]) -> None:
    assert texts(*values, dtype=dtype) == found


@given(st.lists(st.integers(-(2**52), 2**52), min_size=1, max_size=5))
def test_a_whole_number_has_one_name_in_every_type_that_holds_it(numbers: list[int]) -> None:
    names = [str(number) for number in numbers]
    assert texts(*numbers) == texts(*map(float, numbers)) == texts(*names) == texts(*(f"{n}.0" for n in names)) == names


KEYS = {
    "two numbers": ({"Store": [1, 1, 2], "Dept": [7, 8, 7]}, ["1/7", "1/8", "2/7"]),
    "floats": ({"Store": [1.0, 1.0, 2.0], "Dept": [7, 8, 7]}, ["1/7", "1/8", "2/7"]),
    "a number beside a text": ({"Store": [1, 1, 2], "Dept": ["toys", "007", "toys"]}, ["1/toys", "1/007", "2/toys"]),
    "a slash within": ({"Store": ["a/b", "a", "\\"], "Dept": ["c", "b/c", "/"]}, ["a\\/b/c", "a/b\\/c", "\\\\/\\/"]),
}


@pytest.mark.parametrize(("columns", "names"), KEYS.values(), ids=KEYS)
@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_several_columns_name_a_series(tmp_path: Path, columns: dict[str, list[Any]], names: list[str], ending: str) -> None:
    frame = pl.DataFrame(columns | {"time": [date(2020, 1, 1)] * 3, "temp": [1.0, 2.0, 3.0]})
    frame.write_csv(tmp_path / "x.csv") if ending == "csv" else frame.write_parquet(tmp_path / "x.parquet")
    source = open_source(run_of(tmp_path / f"x.{ending}"))
    assert check_keys(source) == 3
    assert scan_series(source, []).collect()["unique_id"].to_list() == names


def run_of(path: Path, ids: str = "[Store, Dept]", *settings: str) -> Any:
    given = [f"data.path={path}", f"data.id={ids}", "data.time=time", "data.target=temp", "windows.features={y: {lookback: 2}}"]
    return load_run("params/smoke.yaml", [*given, *settings]).data


@given(st.lists(st.tuples(st.text("/\\a", min_size=1), st.text("/\\a", min_size=1)), min_size=2, max_size=8, unique=True))
def test_no_two_series_of_two_columns_meet(pairs: list[tuple[str, str]]) -> None:
    frame = pl.DataFrame(pairs, schema=["one", "two"], orient="row")
    assert frame.select(joined([pl.col("one"), pl.col("two")]))["one"].n_unique() == len(pairs)


def test_a_row_without_one_of_its_keys_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("Store,Dept,time,temp\n1,2,2020-01-01,1\n1,,2020-01-01,2\n")
    with pytest.raises(UserError, match="column 'Store' or 'Dept' is empty in 1 rows"):
        check_keys(open_source(run_of(tmp_path / "x.csv")))
    with pytest.raises(UserError, match="there is no column 'Shop'"):
        check_keys(open_source(run_of(tmp_path / "x.csv", "[Shop, Dept]")))


def test_the_keys_of_a_run_file_are_judged_before_any_data_is_read() -> None:
    for ids, told in (
        ("[]", "the list is empty"),
        ("[a, a]", "data.id twice names the column 'a'"),
        ("[a, time]", "data.time both"),
    ):
        with pytest.raises(UserError, match=told):
            run_of(Path("x.csv"), ids)
    static = "windows.static={Store: categorical, unique_id: categorical}"
    run_of(Path("x.csv"), "[Store, Dept]", static)
    with pytest.raises(UserError, match="Store is the id or time column"):
        run_of(Path("x.csv"), "Store", static)


def both(series: pl.Series) -> tuple[list[str | None], list[str | None], list[str | None]]:
    """What training, serving cell by cell, and serving a whole column make of the same cells."""
    frame = series.alias("a").to_frame()
    trained = frame.select(text_of(pl.col("a"), series.dtype))["a"].to_list()
    cells = series.to_numpy() if series.dtype.is_float() else series.to_list()
    return trained, [serving.text_of(cell) for cell in cells], list(serving.series_names([frame.to_pandas()["a"]]))


WORDS = st.text("01.-+ eEtrufalsTRUN\u00a0\u2003\x1f\x85/\\\\", max_size=6) | st.text(max_size=4)
CELLS = {
    pl.String: WORDS | st.sampled_from(["1.0", "-0.00", "00.0", "True", "FALSE", "NA", "1_0.0", "\u0661.0"]),
    pl.Int64: st.integers(-(2**63), 2**63 - 1),
    pl.UInt64: st.integers(0, 2**64 - 1),
    pl.Float64: st.floats() | st.integers(-(2**60), 2**60).map(float),
    pl.Float32: st.floats(width=32),
    pl.Boolean: st.booleans(),
    pl.Date: st.dates(date(1900, 1, 1)),
    pl.Datetime("us"): st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1)) | st.just(datetime(2020, 1, 31)),
    pl.Datetime("us", "Europe/Berlin"): st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1)),
    pl.Decimal(20, 3): st.decimals(-(10**15), 10**15, places=3),
    pl.Categorical: st.text(max_size=3),
    pl.Time: st.times(),
}


@pytest.mark.parametrize("dtype", CELLS, ids=str)
@settings(deadline=None, max_examples=60)
@given(st.data())
def test_serving_calls_a_series_as_training_does(dtype: Any, data: st.DataObject) -> None:
    gaps = st.nothing() if dtype in (pl.Int64, pl.UInt64) else st.none()  # pandas makes floats of whole numbers beside nothing
    cells = data.draw(st.lists(gaps | CELLS[dtype], min_size=1, max_size=6))
    if isinstance(dtype, pl.Datetime) and dtype.time_zone:
        series = pl.Series(cells, dtype=pl.Datetime("us")).dt.replace_time_zone("UTC").dt.convert_time_zone(dtype.time_zone)
    else:
        series = pl.Series(cells, dtype=dtype)
    trained, one_by_one, together = both(series)
    assert trained == one_by_one == together
    again = pl.Series(trained, dtype=pl.String)
    assert both(again)[0] == trained  # a name is called by itself


@given(st.lists(st.tuples(st.none() | st.text("/\\1.0 ", max_size=4), st.none() | st.integers(0, 3)), min_size=1, max_size=6))
def test_serving_joins_several_columns_as_training_does(rows: list[tuple[str | None, int | None]]) -> None:
    frame = pl.DataFrame(rows, schema={"a": pl.String, "b": pl.Int64}, orient="row")
    trained = frame.select(joined([text_of(pl.col(name), frame.schema[name]) for name in "ab"]))["a"].to_list()
    given = frame.to_pandas()
    assert list(serving.series_names([given["a"], given["b"]])) == trained
