"""flows/api.py: what a caller may say, by keyword or run file, what is refused in one message, and what an import loads."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
import polars as pl
import pytest

from flows import api
from flows.drafted import Wanted

ROOT = Path(__file__).resolve().parents[2]
ROLES: dict[str, Any] = {"id": "store", "time": "date", "target": "sales"}
Call = Callable[[pl.DataFrame], Any]


@pytest.fixture
def df(home: Path, monkeypatch: pytest.MonkeyPatch) -> pl.DataFrame:
    monkeypatch.setenv("LAGLINE_HOME", str(home))
    days = pl.date_range(pl.date(2024, 1, 1), pl.date(2024, 4, 30), eager=True)
    return pl.concat(
        pl.DataFrame({"store": store, "date": days, "sales": [float((day * 37 + 11 * len(store)) % 23) for day in range(121)]})
        for store in ("a", "bb")
    )


REFUSED: dict[str, tuple[Call, str]] = {
    "no name": (lambda df: api.compare(df, **ROLES), "name=: say what a table in memory is called, such as name='sales'"),
    "a bad name": (lambda df: api.compare(df, **ROLES, name="My Sales"), "the name 'My Sales': use 1 to 64 of a-z 0-9"),
    "no table": (lambda df: api.compare(name="sales"), "give a table (a polars or pandas DataFrame, or a path), or the run"),
    "an unknown argument": (
        lambda df: api.compare(df, **ROLES, name="sales", horizn=7),  # type: ignore[call-arg]
        "horizn=: there is no such argument; did you mean horizon=?",
    ),
    "an unknown key": (
        lambda df: api.compare(df, **ROLES, name="sales", training={"max_epoch": 2}),
        "unknown key 'training.max_epoch'; did you mean 'max_epochs'?",
    ),
    "no section": (lambda df: api.validate(df, training=3), "training=: write its keys and values as a dict"),  # type: ignore[arg-type]
    "no value": (lambda df: api.validate(df, settings={"split.test": object()}), "a object is no number, text, list or dict"),
    "an unknown variant": (
        lambda df: api.compare(df, **ROLES, name="sales", variants=["gruu"]),
        "unknown variant 'gruu'; did you mean 'gru'?",
    ),
    "an unknown column": (
        lambda df: api.validate(df, id="store", time="date", target="sale"),
        "target: the table has no column 'sale'; its columns: store, date, sales; did you mean 'sales'?",
    ),
    "repeated keys": (
        lambda df: api.compare(pl.concat([df, df.head(1)]), **ROLES, name="sales"),
        "the table: 1 rows repeat a time ('date') of the same series ('store')",
    ),
    "no rows": (lambda df: api.lag_table(df.clear(), **ROLES), "the table: it has no rows"),
    "no frame": (lambda df: api.validate([1, 2]), "the table: list is no table"),  # type: ignore[arg-type]
    "no file": (lambda df: api.validate("none.csv"), "none.csv: there is no such file"),
    "an index of times": (
        lambda df: api.validate(df.to_pandas().set_index("date").rename_axis(None)),
        "the table: its index of times has no name: df.reset_index(names='date')",
    ),
    "texts to forecast": (lambda df: api.validate(df, id="store", time="date", target="store"), "can be one thing alone"),
    "static with a run file": (lambda df: api.validate(df, params="params/smoke.yaml", static="a"), "static=: with a run file"),
    "no reference": (lambda df: api.forecast("sales@@1", df), "write NAME@champion"),
    "no version": (lambda df: api.forecast("sales@3", df), "sales@3: there is no such version"),
    "a stride alone": (lambda df: api.forecast("sales@3", df, stride=2), "stride= needs start="),
    "nothing compared": (lambda df: api.leaderboard("sales"), "sales: no finished comparison of that name"),
    "a path to promote": (lambda df: api.promote("../sales"), "the name '../sales'"),
    "no time for gates": (lambda df: api.promote("sales", minutes=0), "minutes=0: write how many minutes"),
}  # fmt: skip


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_is_refused_in_one_message(what: str, df: pl.DataFrame) -> None:
    call, told = REFUSED[what]
    before, streams = dict(os.environ), (sys.stdout, sys.stderr)
    with pytest.raises(api.UserError) as error:
        call(df)
    assert told in str(error.value) and str(error.value).count("\n") == 0
    assert dict(os.environ) == before and (sys.stdout, sys.stderr) == streams


def test_nobody_is_champion_of_a_name_without_versions_and_mlflow_is_as_it_was(df: pl.DataFrame, tmp_path: Path) -> None:
    mlflow.set_tracking_uri(None)  # type: ignore[arg-type]
    assert api.champion("sales") is None
    assert not mlflow.is_tracking_uri_set() and mlflow.get_registry_uri() == mlflow.get_tracking_uri()
    own = f"sqlite:///{tmp_path}/own.db"
    mlflow.set_tracking_uri(own)
    assert api.champion("sales") is None  # in the store that the caller named, as by the environment variable
    assert mlflow.get_tracking_uri() == own and (tmp_path / "own.db").is_file()
    mlflow.set_tracking_uri(None)  # type: ignore[arg-type]


def test_sections_dotted_keys_and_texts_say_the_same() -> None:
    said: list[dict[str, Any]] = [
        {"training": {"max_epochs": 3}, "split": {"test": "28d"}},
        {"settings": {"split.test": "28d", "training.max_epochs": 3}},
        {"settings": ["training.max_epochs=3", 'split.test="28d"']},
    ]
    texts = [sorted(Wanted(table="sales.csv", sections=sections).settings()) for sections in said]
    assert texts == [['split.test="28d"', "training.max_epochs=3"]] * 3


def test_a_frame_takes_the_place_of_the_table_of_a_run_file(df: pl.DataFrame) -> None:
    weather = pl.read_parquet(ROOT / "data" / "nyc_weather.parquet").with_columns(pl.col("origin").cast(pl.Categorical))
    own = api.lag_table(params="params/smoke.yaml", edges="drop")
    assert api.lag_table(weather, params="params/smoke.yaml", edges="drop").equals(own)
    renamed = weather.rename({"origin": "airport", "temp": "degrees"}).lazy()
    roles: dict[str, Any] = {"id": "airport", "target": "degrees"}
    assert api.lag_table(renamed, params="params/smoke.yaml", edges="drop", **roles).equals(own)


def test_another_thread_may_call_and_pandas_gives_what_polars_gives(df: pl.DataFrame) -> None:
    found: list[pl.DataFrame] = []
    windows = {"features": {"y": {"lookback": 2}}}
    frames = (df, df.to_pandas(), df.to_pandas().set_index(["store", "date"]))
    threads = [
        threading.Thread(target=lambda one=one: found.append(api.lag_table(one, **ROLES, horizon=2, windows=windows)))  # type: ignore[misc]
        for one in frames
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 3 and all(one.equals(found[0]) for one in found)
    assert found[0].height == 2 * 122 and found[0].columns[:4] == ["unique_id", "ds", "y_lag2", "y_lag1"]


def test_an_import_loads_nothing_heavy() -> None:
    code = "import sys; from flows.api import compare; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert not {"torch", "mlflow", "prefect", "polars", "pandas", "numpy"} & set(done.stdout.split())
