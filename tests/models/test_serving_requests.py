"""What models/serving.py makes of the body of a request: cells of every kind, worked out by hand; no server."""

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from mlflow.utils.proto_json_utils import NumpyEncoder

from models import serving

CSV, JSON = "text/csv", "application/json"
ENDS = ("yhat-lo-90", "yhat-hi-90")


def last(past: torch.Tensor, ahead: torch.Tensor, static: torch.Tensor, series: torch.Tensor) -> torch.Tensor:
    """The last y, once for the one step."""
    return past[:, -1:, :1]


def ask(body: Any, kind: str = CSV, span: str | int = 1, rows: int = 100) -> tuple[int, Any]:
    """The status, and the forecasts as (series, time, value), or why there are none."""
    status, answer = ask_whole(body, kind, span, rows)
    return status, answer if status != 200 else [(row["unique_id"], row["ds"], row["yhat"]) for row in answer]


def ask_whole(body: Any, kind: str = JSON, span: str | int = 1, rows: int = 100) -> tuple[int, Any]:
    """The status, and the rows of the answer, or why there are none."""
    feature = {"lookback": 2, "sampling_rate": 1, "delay": 0}
    facts: dict[str, Any] = {
        "windows": {"horizon": 1, "gap": 0, "features": {"y": feature}, "future": {}, "static": {}, "calendar": []},
        "channels": [{"name": "y", **feature}],
        "ids": ["007"],
        "frequency": span,
        "forward_fill": 0,
        "half_widths": [None],
        "categories": {},
    }
    text = body if isinstance(body, str) else json.dumps(body)
    status, found = serving._answer(serving.Model(facts, last), text.encode(), kind, 10_000, rows)
    answer = json.loads(found, parse_constant=pytest.fail)
    return status, answer["message"] if status != 200 else answer["predictions"]


def test_names_in_a_csv_stay_as_they_stand() -> None:
    found = ask("unique_id,ds,y\n007,0,1\n007,1,5\n 7 ,0,1\n 7 ,1,6\nNA,0,1\nNA,1,7\n")
    assert found == (200, [("007", 2, 5.0), ("7", 2, 6.0), ("NA", 2, 7.0)])


@pytest.mark.parametrize("ids", [[1, 1], [1.0, 1], ["1", 1.0], [" 1.00", "1"], [True, "TRUE"], [2**53 + 1] * 2, [0.5, 0.5]])
def test_a_series_is_called_by_what_its_cells_say(ids: list[Any]) -> None:
    name = "true" if ids[0] is True else str(ids[0]).strip().split(".0")[0]
    rows = [{"unique_id": one, "ds": at, "y": at} for at, one in enumerate(ids)]
    for body in ({"dataframe_records": rows}, {"inputs": {key: [row[key] for row in rows] for key in rows[0]}}):
        assert ask(body, JSON) == (200, [(name, 2, 1.0)])
    assert ask("unique_id,ds,y\n" + "".join(f"{one},{at},{at}\n" for at, one in enumerate(ids))) == (200, [(name, 2, 1.0)])


def test_a_request_with_series_that_training_did_not_see_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    ask("unique_id,ds,y\n007,0,1\n007,1,5\n")
    assert not caplog.messages
    ask("unique_id,ds,y\n007,0,1\n007,1,5\n7,0,1\n7,1,5\n")
    assert caplog.messages == ["1 of 2 series is not among those of training ('7'): scaled as all of those together are"]


@pytest.mark.parametrize("cell", ["", "NA", "nan", "null", "None", " "])
def test_a_cell_with_a_word_for_nothing_is_missing(cell: str) -> None:
    """It is the row to forecast; the answer is JSON to the letter."""
    assert ask(f"unique_id,ds,y\na,0,1\na,1,2\na,2,{cell}\n") == (200, [("a", 2, 2.0)])


@pytest.mark.parametrize(("cell", "value"), [("4", 4.0), ("-4.5e0", -4.5), (" 4 ", 4.0), ('"4"', 4.0), ("TRUE", 1.0)])
def test_a_cell_of_a_csv_is_a_number(cell: str, value: float) -> None:
    assert ask(f"\ufeffunique_id,other,ds,y\r\na,x,0,1\r\n\r\na,x,1,{cell}\r\n") == (200, [("a", 2, value)])


@pytest.mark.parametrize(
    ("cell", "words"),
    [("1_0", "'1_0' is not a number; the column holds text"), ("0x1F", "'0x1F' is not a number"),
     ("yes", "'yes' is not a number"), ("inf", "inf is infinite; the column holds infinite values")],
)  # fmt: skip
def test_a_cell_that_is_no_number_is_refused_by_series_and_column(cell: str, words: str) -> None:
    status, answer = ask(f"unique_id,ds,y\na,0,1\na,1,{cell}\n")
    assert status == 400 and answer.startswith(f"series 'a', column 'y': {words}")


@pytest.mark.parametrize("ds", ["1.5", "", "2024-01-01", "9" * 19, "1" + "0" * 400])
def test_a_time_that_is_no_whole_number_is_refused_where_steps_are(ds: str) -> None:
    status, words = ask(f"unique_id,ds,y\na,0,1\na,{ds},2\n")
    assert status == 400 and words.startswith("series 'a', column 'ds': ")


@pytest.mark.parametrize("ds", ["now", "today", 5, True, None, 1e300, "31.12.2024"])
def test_a_time_that_is_none_is_refused(ds: Any) -> None:
    rows = [{"unique_id": "a", "ds": time, "y": 1} for time in ("2024-01-01T00:00:00Z", ds)]
    status, words = ask({"dataframe_records": rows}, JSON, "1h")
    assert status == 400 and words.startswith("series 'a', column 'ds': ") and "is not a time; write 2013-01-31" in words


def test_times_with_and_without_zones_are_utc() -> None:
    rows = "a,2024-01-01T01:00:00+01:00,1\na,2024-01-01 01:00,2\na,2024-01-01T02:00:00Z,3\n"
    assert ask(f"unique_id,ds,y\n{rows}", CSV, "1h") == (200, [("a", "2024-01-01T03:00:00+00:00", 3.0)])


def inputs(**changes: Any) -> dict[str, Any]:
    return {"inputs": {"unique_id": ["a", "a"], "ds": [0, 1], "y": [1, 2]} | changes}


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (inputs(y=[1, [2]]), "column 'y', row 2: a cell is one number or text, not a list"),
        (inputs(ds=[0, {}]), "column 'ds', row 2: a cell is one number or text, not a dict"),
        (inputs(y=[1, 10**400]), "column 'y', row 2: the number is too large"),
        (inputs(y=[1, 10**60]), f"series 'a', column 'y': {10**60} is too large; the column holds values beyond 1e30"),
        (inputs(y=[1]), "inputs: give every column as a list, all of one length"),
        (inputs(y=1), "inputs: give every column as a list, all of one length"),
        (inputs(ds=[2**63 - 2, 2**63 - 1]), f"series 'a', column 'ds': {2**63 - 2} is too large for a time"),
        ({"inputs": 5}, "inputs: give a list of rows, each an object with a value for each column"),
        ({"dataframe_records": [1]}, "dataframe_records: give a list of rows, each an object with a value for each column"),
        ({"dataframe_records": []}, "the frame has no rows: nothing to forecast from"),
        ({"dataframe_records": [{f"c{n}": 1} for n in range(99)]}, "column 'unique_id' is missing"),
        ({"dataframe_split": {"data": [[1]]}}, 'dataframe_split: give an object with "columns", a list of names, and "data"'),
        ({"dataframe_split": {"columns": ["y", "y"], "data": [[1, 2]]}}, "column 'y' stands 2 times; name each column once"),
        ({"dataframe_split": {"columns": ["y"], "data": [[1], []]}}, "dataframe_split: row 2 is no list of 1 values"),
    ],
)  # fmt: skip
def test_a_table_in_json_that_is_none_is_refused(body: Any, words: str) -> None:
    status, found = ask(body, JSON)
    assert status == 400 and found.startswith(words), found


def test_a_request_in_json_asks_for_levels_and_quantiles_beside_its_table() -> None:
    status, answer = ask_whole(inputs() | {"params": {"levels": [90, 90.0], "quantiles": [0.05]}})
    assert status == 200 and list(answer[0]) == ["unique_id", "cutoff", "ds", "yhat", *ENDS, "yhat-q-0.05", "model"]
    for params in (None, {}, {"quantiles": []}):
        assert list(ask_whole(inputs() | {"params": params})[1][0]) == ["unique_id", "cutoff", "ds", "yhat", *ENDS, "model"]


@pytest.mark.parametrize(
    ("params", "words"),
    [
        (5, 'params: an object with "levels", "quantiles" or both'),
        ([90], 'params: an object with "levels", "quantiles" or both'),
        ({"level": [90]}, 'params: an object with "levels", "quantiles" or both'),
        ({"levels": 90}, "params: levels is a list of at most 99 numbers"),
        ({"levels": ["90"]}, "params: levels is a list of at most 99 numbers"),
        ({"levels": [True]}, "params: levels is a list of at most 99 numbers"),
        ({"quantiles": [0.5] * 100}, "params: quantiles is a list of at most 99 numbers"),
        ({"quantiles": [10**400]}, "params: quantiles is a list of at most 99 numbers"),
        ({"quantiles": [0.5]}, "yhat-q-0.5: this version has the 90 % interval alone"),
        ({"levels": [100]}, "levels: 100 is no percentage between 0 and 100"),
    ],
)
def test_what_else_a_request_asks_is_refused(params: Any, words: str) -> None:
    status, found = ask(inputs() | {"params": params}, JSON)
    assert status == 400 and found.startswith(words), found


def test_the_rows_and_the_bytes_of_a_request_are_bounded_and_a_refusal_is_short() -> None:
    rows = "unique_id,ds,y\n" + "".join(f"a,{n},1\n" for n in range(5))
    assert ask(rows, rows=5)[0] == 200
    assert ask(rows, rows=4)[0] == 413
    assert ask(" " * 10_001)[0] == 413
    status, words = ask(inputs(y=[1, "x" * 9_000]), JSON)
    assert status == 400 and len(words) < 600


@pytest.mark.parametrize("text", ["0", "-1", "many", "1e6", "9" * 30])
def test_a_limit_that_is_no_number_is_refused(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAGLINE_SERVE_MAX_ROWS", text)
    with pytest.raises(ValueError, match=r"LAGLINE_SERVE_MAX_ROWS=.*: write a whole number above 0, such as 100000"):
        serving._limit("LAGLINE_SERVE_MAX_ROWS")


def test_an_answer_is_written_as_mlflow_writes_a_frame() -> None:
    times = pd.Series(
        pd.to_datetime(["2024-01-01", "2024-01-02T03:04:05.000006", None], utc=True, format="ISO8601")
    ).dt.as_unit("us")
    numbers = {"n": [1, 2, 3], "y": [0.1, np.inf, np.nan], "z": [-np.inf, 1e300, -0.0]}
    frame = pd.DataFrame({"name": ["a", "ä", None], "at": times, **numbers})
    without = frame.astype(object).where(frame.notna() & ~frame.isin((np.inf, -np.inf)), None)
    expected = json.dumps({"predictions": without.to_dict(orient="records")}, cls=NumpyEncoder)
    found = {"predictions": serving._records(frame)}
    assert json.dumps(found, allow_nan=False, default=pd.Timestamp.isoformat) == expected
