"""flows/api.py and docs/python.md: the page's blocks run in order, in a running event loop, and share one comparison."""

import asyncio
import inspect
import logging
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from flows import api
from tasks.tracking import connection
from tasks.tracking.connection import borrowed

ROOT = Path(__file__).resolve().parents[2]
FUNCTIONS = (api.compare, api.forecast, api.validate, api.lag_table, api.leaderboard, api.promote, api.champion)
QUICK: dict[str, Any] = {"training": {"max_epochs": 2}, "evaluation": {"baselines": ["last_value", "seasonal_naive"]}}
ROLES: dict[str, Any] = {"id": "store", "time": "date", "target": "sales"}
pytestmark = [pytest.mark.story, pytest.mark.filterwarnings("default")]  # of libraries that the user may have loaded, too


def blocks() -> list[str]:
    """The code of docs/python.md."""
    return re.findall(r"^```python\n(.*?)^```$", (ROOT / "docs" / "python.md").read_text(), re.MULTILINE | re.DOTALL)


def state() -> list[object]:
    """What a call must leave as it was."""
    root = logging.getLogger()
    streams = (sys.stdout, sys.stderr, logging.getLogRecordFactory(), signal.getsignal(signal.SIGINT))
    return [dict(os.environ), *map(id, streams), root.handlers[:], root.level, logging.getLogger("httpx").level]


@pytest.fixture(scope="module")
def page(
    new_home: Callable[[Path], Path], prefect_api: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Any]]:
    """The names that the page's blocks leave behind, each run where an event loop runs, as in a notebook.

    The first comparison starts a Prefect server of its own; all else shares that of the tests, which saves seconds a call.
    """
    home, names = new_home(tmp_path_factory.mktemp("api") / "home"), dict[str, Any]()

    async def notebook(patch: pytest.MonkeyPatch) -> None:
        before = state()[1:]
        for block in blocks():
            exec(block, names)
            for name, value in prefect_api.items() if "board" in names else ():
                patch.setenv(name, value)
            assert state()[1:] == before

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LAGLINE_HOME", str(home))
        environment = dict(os.environ)
        asyncio.run(notebook(patch))
        assert dict(os.environ) == environment | prefect_api
        yield names | {"home": home}


def test_a_board_says_what_was_chosen(page: dict[str, Any]) -> None:
    board = page["board"]
    assert board.version == "1" and not board.unchanged and board.chosen in ("ridge", "gru")
    assert set(board.rows["name"]) == {"ridge", "gru", "last_value", "seasonal_naive"}
    assert board.verdict.model == board.chosen and len(board.verdict.marks) == 4
    assert board.sentence in " ".join(repr(board).split())
    assert "<table" in board._repr_html_() and board.chosen in board._repr_html_()
    assert max(map(len, repr(board).split("Why")[0].splitlines())) <= 110


def test_forecasts_are_in_the_columns_of_the_table(page: dict[str, Any]) -> None:
    df, ahead = page["df"], page["ahead"]
    assert ahead.schema["date"] == pl.Date and ahead.schema["store"] == pl.String
    assert ahead["cutoff"].unique().to_list() == [df["date"].max()] and ahead["date"].min() > df["date"].max()
    pandas = df.to_pandas().set_index(["store", "date"])
    assert api.forecast("sales@1", pandas).drop("date", "cutoff").equals(ahead.drop("date", "cutoff"))
    later = api.forecast("sales@1", df.lazy(), start="2024-06-01", stride=7, levels=(80,), nixtla=True)
    assert later.columns[:3] == ["unique_id", "ds", "cutoff"] and later["cutoff"].n_unique() > 3
    assert "yhat-lo-80" in later.columns


def test_what_is_kept_of_a_frame_is_found_by_its_content(page: dict[str, Any]) -> None:
    tables = sorted((page["home"] / "tables").iterdir())
    assert [path.suffix for path in tables].count(".parquet") == 1  # compared twice
    assert pl.read_parquet(next(path for path in tables if path.suffix == ".parquet")).equals(page["df"])
    assert not list(page["home"].glob(".table-*"))


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda one: one.__name__)
def test_the_example_of_a_docstring_runs(function: Callable[..., Any], page: dict[str, Any]) -> None:
    text = inspect.getdoc(function) or ""
    example = "\n".join(line[4:] for line in text.splitlines() if line.startswith("    "))
    assert function.__name__ in example
    names = vars(api) | {"df": page["df"], "compare": lambda *given, **named: api.compare(*given, **named, **QUICK)}
    names["promote"] = lambda name, dry_run: api.promote(name, allow_dirty=dry_run, allow_chance=True, reason="a test")
    exec(example, names)
    if function is api.compare:
        assert names["board"].unchanged
    if function is api.promote:  # the example's dry run, but for real
        gates = {gate.gate: gate.passed for gate in names["decision"].gates}
        assert gates["reproduction"] and gates["bundle"] and names["decision"].promoted == all(gates.values())


def test_a_champion_has_facts(page: dict[str, Any]) -> None:
    os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{page['home']}/mlflow.db"
    with borrowed():
        connection.client().set_registered_model_alias("sales", "champion", "1")
    found = api.champion("sales")
    assert found is not None and found.version == "1" and found.horizon == 7 and found.features == ()
    assert found.columns == {"unique_id": "store", "ds": "date", "y": "sales"}
    assert found.variant == page["board"].chosen and found.scores["val_mae"] == page["board"].rows["val_mae"][0]


def test_checks_that_fail_are_an_answer(page: dict[str, Any]) -> None:
    gappy = page["df"].filter(pl.col("date").dt.day() != 3)
    strict: dict[str, Any] = {"validation": {"max_gap_share": 0.01}}
    verdict = api.validate(gappy, **ROLES, **strict)
    assert not verdict.passed and verdict.failed
    with pytest.raises(api.ChecksFailed, match="the data checks failed"):
        api.lag_table(gappy, **ROLES, horizon=2, **strict)


def test_a_user_s_file_is_typed(tmp_path: Path) -> None:
    lines = [
        "import polars as pl",
        "from flows.api import champion, compare, forecast, lag_table, leaderboard, promote, validate",
        "df = pl.DataFrame()",
        'reveal_type(compare(df, id="a", time="b", target="c", horizon=7, variants=["gru"], name="n"))',
        'reveal_type(forecast("n@champion", df))',
        'reveal_type(validate(df, training={"max_epochs": 2}))',
        "reveal_type(lag_table(df))",
        'reveal_type(leaderboard("n"))',
        'reveal_type(promote("n"))',
        'reveal_type(champion("n"))',
        "compare(df, horizn=7)",
    ]
    (tmp_path / "mine.py").write_text("\n".join(lines) + "\n")
    command = [sys.executable, "-m", "mypy", "--no-error-summary", str(tmp_path / "mine.py")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    told = re.findall(r'Revealed type is "(.*)"', done.stdout)
    frame = "polars.dataframe.frame.DataFrame"
    assert told == [
        *("flows.results.Board", frame, "tasks.validate.verdict.Verdict", frame, frame),
        *("tasks.promote.decision.Decision", "flows.results.Champion | None"),
    ], done.stdout
    assert 'Unexpected keyword argument "horizn"' in done.stdout and done.stdout.count("error:") == 1, done.stdout
