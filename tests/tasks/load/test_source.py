"""The long frame (source.py) and its cells (cells.py): times to UTC, names and values of every type."""

from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from params.errors import UserError
from params.load import load_run
from params.schema import RunParams
from tasks.load.keys import check_keys
from tasks.load.source import long_frame, open_source, scan_series
from tests.tasks.load.tables import MIDNIGHT, csv_of, parquet_of


def run_on(path: Path, *settings: str, features: str = "") -> RunParams:
    base = [f"data.path={path}", "data.id=id", "data.time=time", "data.target=temp", "windows.features={y: {lookback: 2}%s}"]
    base[-1] %= features and f", {features}"
    return load_run("params/smoke.yaml", [*base, *settings])


@pytest.mark.parametrize(
    "series",
    [
        pl.Series([MIDNIGHT.replace(tzinfo=None)] * 2).cast(pl.Datetime("ns")),
        pl.Series([MIDNIGHT.replace(tzinfo=None)] * 2).cast(pl.Datetime("ms")),
        pl.Series([MIDNIGHT] * 2).dt.convert_time_zone("America/New_York"),
        pl.Series([MIDNIGHT.date()] * 2),
        pl.Series(["2020-01-01T01:00+01:00"] * 2),
    ],
    ids=lambda series: str(series.dtype),
)
def test_times_of_every_type_become_microseconds_utc(tmp_path: Path, series: pl.Series) -> None:
    run = run_on(parquet_of(tmp_path, time=series))
    found = scan_series(open_source(run.data), []).collect()
    assert found.schema["ds"] == pl.Datetime("us", "UTC")
    assert found["ds"].to_list() == [MIDNIGHT] * 2
    assert check_keys(open_source(run.data)) == 2


def test_offsets_that_differ_are_the_same_instants_within_a_file_and_across_files(tmp_path: Path) -> None:
    times = ["2020-01-01 00:00Z", "2020-01-01 02:00+01:00", "2019-12-31 21:00-05:00"]
    whole = scan_series(open_source(run_on(csv_of(tmp_path, times)).data), []).collect()["ds"].to_list()
    assert [t.hour for t in whole] == [0, 1, 2]
    (tmp_path / "many").mkdir()
    for i, time in enumerate(times):
        csv_of(tmp_path / "many", [time], f"{i}.csv")
    run = run_on(tmp_path / "many")
    assert scan_series(open_source(run.data), []).collect()["ds"].to_list() == whole
    assert check_keys(open_source(run.data)) == 3


INTEGER = ("data.frequency=1", "windows.calendar=[]", "split={validation: 2, test: 2}")


def test_integer_time_steps_stay_integers(tmp_path: Path) -> None:
    run = run_on(csv_of(tmp_path, ["3", "-1", " 7 "]), *INTEGER)
    assert scan_series(open_source(run.data), []).collect()["ds"].to_list() == [3, -1, 7]
    assert check_keys(open_source(run.data)) == 3
    with pytest.raises(UserError, match=r"1 of 2 times cannot be read; the first '1\.5' is not a whole number"):
        check_keys(open_source(run_on(csv_of(tmp_path, ["1", "1.5"]), *INTEGER).data))


@pytest.mark.parametrize(
    ("times", "settings", "message"),
    [
        ([True, False], (), r"'time' \(data.time\) holds Boolean; it must hold times"),
        ([1.0, 2.0], INTEGER, "holds Float64, but data.frequency is a whole number: make the times whole numbers"),
        ([MIDNIGHT] * 2, INTEGER, "but data.frequency is a whole number: give a duration such as 1h"),
    ],
)
def test_a_time_column_of_a_wrong_type(tmp_path: Path, times: list[Any], settings: tuple[str, ...], message: str) -> None:
    with pytest.raises(UserError, match=message):
        scan_series(open_source(run_on(parquet_of(tmp_path, time=times), *settings).data), [])


@pytest.mark.parametrize(
    ("ids", "expected"),
    [
        (pl.Series(["NA", "none "]), ["NA", "none"]),
        (pl.Series([7, 8]), ["7", "8"]),
        (pl.Series(["x", "y"], dtype=pl.Categorical), ["x", "y"]),
        (pl.Series(["x", "y"], dtype=pl.Enum(["y", "x"])), ["x", "y"]),
    ],
    ids=lambda value: str(getattr(value, "dtype", "")),
)
def test_names_of_series_are_text(tmp_path: Path, ids: pl.Series, expected: list[str]) -> None:
    run = run_on(parquet_of(tmp_path, id=ids))
    assert scan_series(open_source(run.data), []).collect()["unique_id"].to_list() == expected
    assert check_keys(open_source(run.data)) == 2


def test_one_series_without_an_id_bears_the_name_of_the_target(tmp_path: Path) -> None:
    run = run_on(csv_of(tmp_path, ["2020-01-01", "2020-01-02"]), "data.id=null")
    assert scan_series(open_source(run.data), []).collect()["unique_id"].to_list() == ["temp", "temp"]
    assert check_keys(open_source(run.data)) == 2


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (pl.Series([Decimal("1.5"), None]), [1.5, None]),
        (pl.Series([True, False]), [1.0, 0.0]),
        (pl.Series([1, None], dtype=pl.UInt8), [1, None]),
        (pl.Series([" 1e3 ", "N/A"]), ["1e3", None]),
        (pl.Series(["2", "x"], dtype=pl.Categorical), ["2", "x"]),
        (pl.Series([MIDNIGHT.date(), None]), ["2020-01-01", None]),
    ],
    ids=lambda value: str(getattr(value, "dtype", "")),
)
def test_values_are_numbers_or_text_to_be_judged(tmp_path: Path, values: pl.Series, expected: list[Any]) -> None:
    assert scan_series(open_source(run_on(parquet_of(tmp_path, temp=values)).data), []).collect()["y"].to_list() == expected


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"temp": [[1], [2]]}, r"column 'temp' holds List\(Int64\); a target or feature holds numbers"),
        ({"id": [b"a", b"\xff"]}, r"column 'id' \(data.id\) holds Binary"),
        ({"id": [{"a": 1}, {"a": 2}]}, r"column 'id' \(data.id\) holds Struct"),
    ],
)
def test_a_column_that_cannot_be_numbers_or_names(tmp_path: Path, columns: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        scan_series(open_source(run_on(parquet_of(tmp_path, **columns)).data), [])


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (["true", "False", " TRUE ", "NA", ""], ["1", "0", "1", None, None]),
        (["NA", "false"], [None, "0"]),
        (["true", "1", "maybe"], ["true", "1", "maybe"]),
        (["1", "true"], ["1", "true"]),
        (["", "NA"], [None, None]),
        (["true"] * 1000 + ["3", "FALSE"], ["1"] * 1000 + ["3 among true and false", "0"]),
    ],
    ids=["any case", "nulls first", "a third word", "a number first", "nothing", "a number late"],
)
def test_text_columns_of_true_and_false_hold_numbers(tmp_path: Path, written: list[str], expected: list[str | None]) -> None:
    rows = [f"a,{MIDNIGHT + timedelta(hours=i):%Y-%m-%dT%H:%MZ},{i},{word}\n" for i, word in enumerate(written)]
    file = tmp_path / "x.csv"
    file.write_text("id,time,temp,open\n" + "".join(rows))
    run = run_on(file, "windows.static={open: categorical}")
    assert scan_series(open_source(run.data), ["open"]).collect()["open"].to_list() == expected
    kept = long_frame(run, open_source(run.data)).collect()["open"].to_list()  # a category keeps its words
    said = {"True": "true", "False": "false", "TRUE": "true", "FALSE": "false"}
    assert kept == [said.get(word.strip(), word.strip()) if word not in ("NA", "") else None for word in written]
    parquet_of(tmp_path, temp=written[:2], dewp=pl.Series(written[:2], dtype=pl.Categorical))
    found = scan_series(open_source(run_on(tmp_path / "x.parquet").data), ["dewp"]).collect()
    assert found["y"].to_list() == found["dewp"].to_list()


def test_a_name_of_ours_is_no_covariate(tmp_path: Path) -> None:
    run = run_on(parquet_of(tmp_path))
    with pytest.raises(UserError, match="is a key of every table"):
        scan_series(open_source(run.data), ["ds"])


@pytest.mark.parametrize("name", ["*", "^t.*$", "", " ", "a.b", 'say "x"', "[0]", "`q`", "$t", "\u2600", "literal", "__lost"])
def test_a_column_is_read_by_its_name_whatever_it_is(tmp_path: Path, name: str) -> None:
    frame = pl.DataFrame({"id": ["a"], "time": [MIDNIGHT], "temp": [1.0], "tt": [5.0], name: [7.0]})
    frame.write_parquet(tmp_path / "x.parquet")
    source = open_source(run_on(tmp_path / "x.parquet").data)
    assert check_keys(source) == 1
    assert scan_series(source, [name]).collect().to_dict(as_series=False)[name] == [7.0]
    for role in ("id", "time", "target"):
        was = {"target": "temp"}.get(role, role)
        frame.select("id", "time", "temp", "tt").rename({was: name}).write_parquet(tmp_path / "y.parquet")
        data = run_on(tmp_path / "y.parquet").data.model_copy(update={role: name})
        if name == "":
            continue  # an empty name is no value of a key
        assert check_keys(open_source(data)) == 1
        assert scan_series(open_source(data), ["tt"]).collect().row(0) == ("a", MIDNIGHT, 1.0, 5.0)


def test_a_header_in_quotes_says_what_it_says_and_its_words_are_read(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text('"a ""b""",time,temp,^t.*$\nx,2020-01-01,1,true\nx,2020-01-02,2,False\n')
    data = run_on(tmp_path / "x.csv").data.model_copy(update={"id": 'a "b"'})
    found = scan_series(open_source(data), ["^t.*$"]).collect()
    assert found["unique_id"].to_list() == ["x", "x"] and found["^t.*$"].to_list() == ["1", "0"]
    times = (tmp_path / "y.csv").write_text("^t.*$,id,temp\n2020-01-01,1.5,1\n2020-01-02,1.5,2\n")
    assert times and check_keys(open_source(run_on(tmp_path / "y.csv").data.model_copy(update={"time": "^t.*$"}))) == 2
