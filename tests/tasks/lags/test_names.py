"""No name of a user's meets one of ours, from the file to the lag table (tasks/lags/table.py, tasks/lags/panel.py)."""

from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.data.panel import Panel
from params.errors import UserError
from params.load import load_run
from params.schema import RunParams
from tasks.grid.frequency import Frequency
from tasks.lags.file import write_lag_table
from tasks.lags.panel import write_panel
from tasks.lags.table import check_names, lag_table
from tasks.load.keys import check_keys
from tasks.load.source import long_frame, open_source
from tasks.validate.suite import validate

OURS = (
    *("size", "offset", "number", "len", "index", "row", "level", "cutoff", "yhat", "yhat-lo-90", "value", "literal", "count"),
    *("variable", "level_0", "first", "last", "rows", "steps", "series", "start", "step", "model", "min:y", "nulls:y"),
    *("(row)", "(within)", "(last)", "0", "1", "value 0", "different 0", "static a", "past y", "target y", "y (observed)"),
    *("hour_sin", "y_lag1", "x (ahead)", "*", "^.*$", "^y$", " ", "a.b", 'say "x"', "[0]", "{}", "<b>", "☀", "null", "true"),
    *("__lost", "_border", "1.0"),
)
NAMES = st.sampled_from(OURS) | st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=6
)
RESERVED = ("unique_id", "ds", "y")
KEYS = st.sampled_from((*OURS, *RESERVED))
ROLES = ("id", "more", "time", "target", "f1", "f2", "ahead", "number", "word")
PLAIN = dict(zip(ROLES, ("store", "part", "day", "sales", "price", "promo", "event", "area", "kind"), strict=True))
ROWS = 6
BASE = load_run("params/smoke.yaml").model_dump()


@st.composite
def roles(draw: Any) -> dict[str, str]:
    """A name for every role, no two alike."""
    keys = draw(st.lists(KEYS, min_size=4, max_size=4, unique=True))
    free = NAMES.filter(lambda name: name not in (*keys, *RESERVED))
    return dict(zip(ROLES, (*keys, *draw(st.lists(free, min_size=5, max_size=5, unique=True))), strict=True))


def table_of(names: dict[str, str]) -> pl.DataFrame:
    """Three series of two keys; no two cells of a number column are alike, and none of two columns."""
    rows = []
    for series, (one, two) in enumerate(((1, "a"), (1, "b"), (2, "a"))):
        for step in range(ROWS):
            at = series * 100 + step + 1.0
            row = {"id": one, "more": two, "time": step, "target": at, "f1": at + 1000, "f2": at + 2000, "ahead": at + 3000}
            rows.append(row | {"number": series + 0.5, "word": f"w{series}"})
    return pl.DataFrame(rows).rename(names)


def run_of(path: Path, names: dict[str, str]) -> RunParams:
    base = deepcopy(BASE)
    base["data"] |= {"path": str(path), "id": (names["id"], names["more"]), "time": names["time"], "target": names["target"]}
    base["data"]["frequency"] = 1
    features = {"y": {"lookback": 2}, names["f1"]: {"lookback": 1}, names["f2"]: {"lookback": 2, "delay": 1}}
    static = {names["number"]: "numeric", names["word"]: "categorical"}
    if names["more"] not in RESERVED:  # there unique_id is the name of the series
        static[names["more"]] = "categorical"
    own = {"features": features, "future": (names["ahead"],), "static": static, "calendar": (), "horizon": 2}
    base["windows"] |= own
    base["split"] |= {"validation": 1, "test": 1}
    return RunParams.model_validate(base)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(roles())
def test_the_lag_table_is_what_the_file_says_whatever_its_columns_are_called(
    tmp_path_factory: pytest.TempPathFactory, names: dict[str, str]
) -> None:
    folder = tmp_path_factory.mktemp("names")
    file = table_of(names)
    file.write_parquet(folder / "x.parquet")
    run = run_of(folder / "x.parquet", names)
    windows, source = run.windows.window_params(), open_source(run.data)
    assert check_keys(source) == file.height
    try:
        check_names(windows, [2])
    except UserError:  # a static covariate called as a column of lags: told before anything is read
        assert {names["number"], names["word"], names["more"]} & {"y_lag1", "y_lag2"}
        return
    verdict = validate(run, source, look=True)
    assert (verdict.facts["rows"], verdict.facts["series"]) == (file.height, 3)
    panel = Panel.open(write_panel(long_frame(run, source), windows, Frequency(1), 0, folder))
    table = lag_table(panel, windows, "keep", [2])
    assert table["unique_id"].unique().sort().to_list() == ["1/a", "1/b", "2/a"]
    _check(table, file, names)
    write_lag_table(panel, windows, folder / "lags.parquet", "keep", [2])
    assert pl.read_parquet(folder / "lags.parquet").equals(table)


def _check(table: pl.DataFrame, file: pl.DataFrame, names: dict[str, str]) -> None:
    """Every column of the table against the cells of the file that it was made from."""
    for series, (one, two) in enumerate(((1, "a"), (1, "b"), (2, "a"))):
        own = table.filter(pl.col("unique_id") == f"{one}/{two}")
        rows = file.slice(series * ROWS, ROWS)
        assert own[names["number"]].to_list() == [series + 0.5] * (ROWS + 1)
        assert own[names["word"]].to_list() == [f"w{series}"] * (ROWS + 1)
        assert names["more"] in RESERVED or own[names["more"]].to_list() == [two] * (ROWS + 1)
        lags = {"target": (1, 2), "f1": (1,), "f2": (2, 3)}
        called = {"target": "y", "f1": names["f1"], "f2": names["f2"]}
        for role, backs in lags.items():
            values = rows[names[role]].to_list()
            for k in backs:
                assert own[f"{called[role]}_lag{k}"].to_list() == [None] * k + values[: ROWS + 1 - k]
        for h in (1, 2):
            for role, name in (("target", "y"), ("ahead", names["ahead"])):
                assert own[f"{name}_step{h}"].to_list() == [*rows[names[role]].to_list()[h - 1 :], *[None] * h]
        np.testing.assert_allclose(own[f"{names['f1']}_mean2"].to_list()[2:], np.arange(ROWS - 1) + series * 100 + 1001.5)


@pytest.mark.parametrize("name", ["size", "offset", "number", "(last)", "size (different)"])
@pytest.mark.parametrize("kind", ["numeric", "categorical"])
def test_a_static_covariate_keeps_its_own_values(tmp_path: Path, name: str, kind: str) -> None:
    names = PLAIN | {"number" if kind == "numeric" else "word": name}
    file = table_of(names)
    file.write_parquet(tmp_path / "x.parquet")
    run = run_of(tmp_path / "x.parquet", names)
    windows = run.windows.window_params()
    panel = Panel.open(write_panel(long_frame(run, open_source(run.data)), windows, Frequency(1), 0, tmp_path))
    _check(lag_table(panel, windows, "keep", [2]), file, names)


def test_a_static_covariate_called_as_a_lag_is_refused_before_anything_is_read() -> None:
    with pytest.raises(UserError, match="'promo_lag2' is also the name of a column of lags: rename it"):
        check_names(run_of(Path("x"), PLAIN | {"number": "promo_lag2"}).windows.window_params(), [])
