"""A state folder of lagline 0.1 (revision 4b4fb31) under the code of today (flows/runtime/state.py): all that it holds.

`tests/data/home_0_1.tar.xz`: two comparisons of two made-up series, version 1 (ridge, with a refit) promoted, version 2 (gru)
refused.  Left out: pictures, reports and checkpoints.  `/HOME` stands for its place; `expected.json` is what 0.1 forecast.
"""

import json
import sqlite3
import tarfile
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from flows.runtime.state import prepare
from flows.verbs.champion import show_history
from flows.verbs.forecast import show_forecast
from flows.verbs.reproduce import show_reproduction
from flows.verbs.runs import show_leaderboard
from params.errors import ChecksFailed, UserError
from tasks.promote import gates, ledger
from tasks.promote.alias import repair
from tasks.promote.decision import promote
from tasks.promote.proof import reproduce
from tasks.promote.scored import score
from tasks.registry.load import opened
from tasks.registry.versions import CHALLENGER, CHAMPION, needed
from tasks.serve.forecast import Asked
from tasks.tracking import connection, logs

ARCHIVE = Path(__file__).resolve().parents[1] / "data" / "home_0_1.tar.xz"
REVISION = "4b4fb312a9bf"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # of mlflow's own imports
    pytest.mark.filterwarnings("ignore:Series.values returning an ndarray"),  # polars, of a frame of pandas
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy"),
]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder, unpacked; its store says where its artifacts lie now."""
    folder = tmp_path_factory.mktemp("old") / "home_0_1"
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(folder.parent, filter="data")
    with sqlite3.connect(folder / "mlflow.db") as store:
        for (table,) in store.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            for _, column, *_ in store.execute(f"PRAGMA table_info({table})").fetchall():
                text = f"typeof({column}) = 'text' AND instr({column}, '/HOME')"
                store.execute(f"UPDATE {table} SET {column} = replace({column}, '/HOME', ?) WHERE {text}", (str(folder),))
    store.close()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LAGLINE_HOME", str(folder))
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/mlflow.db")
        patch.setenv("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
        connection.client.cache_clear()
        yield folder
        connection.client.cache_clear()


def test_the_folder_and_the_ledger_open_as_they_are(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert prepare() == home
    show_history(home, "old", None, True)
    history = json.loads(capsys.readouterr().out)
    assert history["champion"] == "1"
    entries = [tuple(entry[key] for key in ("number", "decision", "version", "champion")) for entry in history["entries"]]
    assert entries == [(1, "promoted", "1", "1"), (2, "refused", "2", "1")]
    assert history["entries"][1]["why"].startswith("champion: error +0.0% of the champion's")
    show_history(home, "old", None, False)
    assert "Champion: version 1" in capsys.readouterr().out
    assert repair("old", home) is None  # the alias is what the ledger says


def test_the_leaderboard_of_its_last_comparison_is_printed(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    show_leaderboard(home, "old", True)
    found = json.loads(capsys.readouterr().out)
    assert found["chosen"] == "gru" and found["naive"] == "seasonal_naive"
    rows = {row["name"]: (row["kind"], row["val_score"]) for row in found["rows"]}
    assert rows["gru"] == ("variant", pytest.approx(0.775, abs=5e-4)) and rows["drift"][0] == "baseline"
    show_leaderboard(home, "old", False)
    assert "Use gru: its validation MAE (temp) of 0.775 is " in capsys.readouterr().out.replace("\n", " ")


@pytest.mark.parametrize("given", ["old@champion", "old@champion judged", "old@2"])
def test_its_versions_forecast_the_same_numbers(home: Path, given: str, tmp_path: Path) -> None:
    reference, _, judged = given.partition(" ")
    show_forecast(home, reference, home / "old.csv", tmp_path / "out.parquet", Asked(judged=bool(judged), nixtla=True))
    found = pl.read_parquet(tmp_path / "out.parquet")
    expected = json.loads((home / "expected.json").read_text())[given]
    assert found["unique_id"].to_list() == expected["unique_id"]
    for column in ("cutoff", "ds"):
        assert found[column].dt.strftime("%Y-%m-%dT%H:%MZ").to_list() == expected[column]
    for column in ("yhat", "yhat-lo-90", "yhat-hi-90"):
        assert found[column].to_list() == pytest.approx(expected[column], rel=1e-5)


def test_its_versions_have_no_seal_which_is_told_and_not_promoted_by_the_way(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = "was registered by a lagline that put no seal on what MLflow reads of it"
    show_forecast(home, "old@champion", home / "old.csv", tmp_path / "out.parquet", Asked())
    assert capsys.readouterr().err.count(f"old version 1 {told}") == 1
    with pytest.raises(UserError, match=f"old version 2 {told}: --unsealed takes it as it is"):
        promote("old", home, "cpu")
    assert [entry.version for entry in ledger.entries("old")] == ["1", "2"]
    with opened(needed("old", "2"), servable=True, unsealed=True) as version:
        assert not version.sealed  # what can be said of it without a seal is right


def test_its_versions_are_judged_by_the_checks_that_they_keep_and_on_the_same_origins(home: Path) -> None:
    with opened(needed("old", CHALLENGER)) as challenger, opened(needed("old", CHAMPION)) as champion:
        assert challenger.trained_on.checks == "passed" and gates.checks(challenger.checked).passed
        assert champion.trained_on.refit is not None and challenger.trained_on.refit is None
        results, figures = score(challenger, champion, home, challenger.trained_on.run.promotion)
    assert [one.gate for one in results if not one.passed] == ["champion"]
    then = json.loads(logs.artifact(ledger.entries("old")[1].run_id, "scores.json").read_text())
    now = json.loads(json.dumps(figures.to_dict()))
    assert set(then) <= set(now) and now["naive"] == now["baseline"] == then["naive"] == "seasonal_naive"
    assert now["measure"] == "mae" and now["challenger_score"] == now["challenger_mae"]
    for name in ("challenger_mae", "challenger_skill", "champion_mae", "champion_skill", "seasonal_naive_mae"):
        assert now[name] == pytest.approx(then[name], rel=1e-4)
    for name in ("challenger_less_seasonal_naive", "challenger_less_champion"):
        assert set(then[name]) <= set(now[name]) and now[name]["over"] == then[name]["over"] == "origins"
        assert now[name]["mean"] == pytest.approx(then[name]["mean"], rel=1e-3)
        for end in ("low", "high"):  # of another draw of 2,000 resamples
            assert now[name][end] == pytest.approx(then[name][end], rel=0.05)


def test_a_reproduction_says_that_the_rule_changed_and_which_revision_does_it(home: Path) -> None:
    with pytest.raises(ChecksFailed, match="was not reproduced: cannot be trained again as it was: ") as refused:
        show_reproduction(home, "old@2")
    words = str(refused.value)
    assert "changed with lagline 0.2.0, so that it cannot be compared: rule 1 then, 2 now" in words
    assert f"git worktree add ../lagline-{REVISION} {REVISION}" in words
    with opened(needed("old", CHAMPION)) as version:
        proof = reproduce(version, home, "cpu")
    assert proof.words.startswith("neither the judged nor the refitted weights: ")
    assert {change.field for change in proof.differing} & {"data", "numbers", "code"} == {"code"}
