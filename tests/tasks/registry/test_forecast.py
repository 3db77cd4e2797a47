"""`forecast` and the forecasts of a night on tables that are not as they should be; the version has random weights."""

import json
from contextlib import nullcontext
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from params.errors import UserError
from params.load import load_run
from tasks import realised
from tasks.forecast import forecast
from tasks.registry.load import Version

RUN = ("data.id=series", "data.time=hour", "data.target=temp", "windows.features={y: {lookback: 12}, x: {lookback: 4}}")
pytestmark = pytest.mark.filterwarnings("ignore:Series.values returning an ndarray")  # polars, of a frame of pandas


@pytest.fixture(scope="module")
def version(house: Any, tmp_path_factory: pytest.TempPathFactory) -> Version:
    """A version without a registry, of a run that reads the columns of `table`."""
    folder = tmp_path_factory.mktemp("bundle") / "bundle"
    facts: dict[str, Any] = dict.fromkeys(("job", "weights", "fingerprint", "unseen_from", "newest"), 0)
    facts["run"] = load_run("params/nyc_weather.yaml", RUN).model_dump(mode="json")
    digest = house.write(folder, house.build(), facts=facts)
    return Version("own", "1", "", digest, folder, json.loads((folder / "model.json").read_text()))


@pytest.fixture
def table(house: Any) -> pl.DataFrame:
    return house.history.rename({"unique_id": "series", "ds": "hour", "y": "temp"})  # type: ignore[no-any-return]


def written(frame: pl.DataFrame, path: Path) -> Path:
    frame.write_csv(path) if path.suffix == ".csv" else frame.write_parquet(path)
    return path


def served(version: Version, data: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str | None, str | None]:
    """The forecasts of a night, with this version as the champion."""
    monkeypatch.setattr(realised, "find", lambda *_: version)
    monkeypatch.setattr(realised, "opened", nullcontext)
    run = load_run("params/nyc_weather.yaml", [*RUN, f"data.path={data}"])
    return realised.serve_forecasts.fn(run, home, None)


def text(name: str, value: str, last: int) -> pl.Expr:
    """A column as text, with a value in its last rows."""
    return pl.when(pl.int_range(pl.len()) >= pl.len() - last).then(pl.lit(value)).otherwise(pl.col(name).cast(pl.String))


UNREADABLE: dict[str, tuple[pl.Expr, str]] = {
    "text": (pl.lit("abc").alias("temp"), "series 'JFK', column 'temp': 'abc' is not a number"),
    "a feature": (text("x", "abc", 2).alias("x"), "series 'LGA', column 'x': 'abc' is not a number"),
    "a decimal comma": (text("temp", "12,5", 3).alias("temp"), "series 'LGA', column 'temp': '12,5' is not a number"),
    "a duration": (pl.lit(timedelta(hours=1)).alias("temp"), "series 'JFK', column 'temp': 'PT1H' is not a number"),
}


@pytest.mark.parametrize("case", UNREADABLE)
def test_what_is_no_number_is_refused_and_not_taken_as_missing(
    case: str, version: Version, table: pl.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    change, message = UNREADABLE[case]
    data = written(table.with_columns(change), tmp_path / "x.parquet")
    with pytest.raises(UserError, match=f"x.parquet: {message}"):
        forecast(version, data)
    with pytest.raises(UserError, match=f"x.parquet: {message}"):
        served(version, data, tmp_path, monkeypatch)


def test_numbers_as_text_are_read_and_empty_cells_stay_missing(version: Version, table: pl.DataFrame, tmp_path: Path) -> None:
    gone = pl.int_range(pl.len()) % 5 == 2
    expected = forecast(version, written(table.with_columns(pl.when(~gone).then("temp").alias("temp")), tmp_path / "x.parquet"))
    for word in ("", "NA", " null "):
        words = table.with_columns(pl.when(gone).then(pl.lit(word)).otherwise(pl.col("temp").cast(pl.String)).alias("temp"))
        assert forecast(version, written(words, tmp_path / "words.parquet")).equals(expected)
    assert forecast(version, written(words, tmp_path / "words.csv")).equals(expected)
