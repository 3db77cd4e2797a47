"""Pruning a real store: what a registered version needs stays, whatever its age; what nothing refers to goes."""

import os
import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest

from params.load import load_run
from tasks import prune as pruning
from tasks.load import memory
from tasks.locks import Held, lock
from tasks.prune import prune
from tasks.serve.realised import keep, score_realised
from tasks.tracking import connection, logs, runs

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy"),  # MLflow's own
]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    connection.client.cache_clear()
    connection.connect(tmp_path)
    yield tmp_path
    connection.client.cache_clear()


def a_comparison(
    home: Path, number: int, name: str = "story", register: bool = False, loser: bool = False, kind: str = "comparison"
) -> str:
    """A finished comparison with one fit, its panel and its checkpoint folder (and `loser`'s); returns its run."""
    parent, _ = runs.parent_run(runs.experiment(name, home), name, f"{name}{number}", kind=kind)
    fit = runs.child_run(parent, "gru", f"{name}-fit{number}", {"kind": "variant"})
    logs.tag(parent, {"data": f"{name}-panel{number}"})
    logs.log_text(fit, "x" * 1000, "notes.txt")
    folders = [home / "panels" / f"{name}-panel{number}", home / "checkpoints" / f"{name}-fit{number}"]
    if loser:
        beaten = runs.child_run(parent, "lstm", f"{name}-loser{number}", {"kind": "variant"})
        logs.log_text(beaten, "x" * 1000, "notes.txt")
        for file in ("forecasts.parquet", "report.html"):
            logs.log_text(parent, "x" * 1000, file)
        folders += [home / "checkpoints" / f"{name}-loser{number}", home / "forecasts" / parent]
    for folder in folders:
        folder.mkdir(parents=True)
        (folder / "bytes").write_bytes(bytes(1000))
    for run in (fit, parent):
        runs.finish(run)
    if register:
        client = connection.client()
        if not client.search_registered_models(f"name = '{name}'"):
            client.create_registered_model(name)
        client.create_model_version(name, f"{home}/anywhere", fit, tags={"identity": f"{name}-fit{number}"})
    return parent


def left(home: Path) -> set[str]:
    return {path.name for folder in ("panels", "checkpoints") for path in (home / folder).iterdir()}


def test_the_newest_and_the_registered_stay(home: Path) -> None:
    parents = [a_comparison(home, number, register=number == 1) for number in range(5)]
    a_comparison(home, 0, "other")
    for name in (".compare-killed", ".compare-at-work"):
        (home / name).mkdir()
    os.utime(home / ".compare-killed", (0, 0))
    dry = prune(home, 2, dry_run=True)
    assert {path.name for path, _ in dry.paths} >= {"story-panel0", "story-fit2", ".compare-killed"} and dry.size >= 4000
    assert len(left(home)) == 12  # nothing went
    plan = prune(home, 2)
    assert plan == dry
    kept = {f"story-{what}{number}" for what in ("panel", "fit") for number in (1, 3, 4)}
    assert left(home) == kept | {"other-panel0", "other-fit0"}
    there = {run.info.run_id for run in connection.client().search_runs([runs.experiment("story", home)])}
    assert there & set(parents) == {parents[1], parents[3], parents[4]} and len(there) == 6
    assert [path.name for path in home.glob(".compare-*")] == [".compare-at-work"]
    assert prune(home, 2).paths == () == prune(home, 2).runs
    prune(home, 0)
    assert left(home) == {"story-panel1", "story-fit1"}


def test_a_table_from_python_stays_as_long_as_a_comparison_that_read_it(home: Path) -> None:
    for number in range(3):
        kept = memory.keep(pl.DataFrame({"y": [number]}), home)
        (home / "tables" / f"story-{number}.yaml").write_text(f"data: {{path: {kept}}}\n")
        if number < 2:
            logs.log_params(a_comparison(home, number), {"data.path": str(kept)})
    assert not [path for path, _ in prune(home, 1, dry_run=True).paths if path.parent.name == "tables"]  # made today
    for path in (home / "tables").iterdir():
        os.utime(path, (0, 0))
    prune(home, 1)  # without the older comparison, and what was only looked at
    assert sorted(path.name for path in (home / "tables").iterdir()) == sorted(
        ["story-1.yaml", memory.keep(pl.DataFrame({"y": [1]}), home).name]
    )


def test_searches_are_counted_apart_from_comparisons_and_the_newest_stay(home: Path) -> None:
    for number in range(3):
        a_comparison(home, number, kind="tuning")
    for number in range(3, 6):
        a_comparison(home, number)
    plan = prune(home, 1)
    assert left(home) == {f"story-{what}{number}" for what in ("panel", "fit") for number in (2, 5)}
    assert len(plan.runs) == 8


def test_the_fit_and_the_refit_of_a_version_stay_though_its_identity_is_that_of_both(home: Path) -> None:
    """Also where its comparison was deleted by hand."""
    parent = a_comparison(home, 0, register=True)
    (home / "checkpoints" / "story-refit0").mkdir()
    client = connection.client()
    for tag, value in {"identity": "both", "fit": "story-fit0", "refit": "story-refit0"}.items():
        client.set_model_version_tag("story", "1", tag, value)
    client.delete_run(parent)
    prune(home, 0)
    assert left(home) >= {"story-fit0", "story-refit0"}


def test_the_fits_that_a_registered_ensemble_is_made_of_stay_and_those_of_another_go(home: Path) -> None:
    for number in (0, 1):
        parent = a_comparison(home, number, register=number == 0)
        (fit,) = connection.client().search_runs([runs.experiment("story", home)], f"tags.`mlflow.parentRunId` = '{parent}'")
        logs.tag(fit.info.run_id, {"members": f"story-a{number} story-b{number}"})
        for name in ("a", "b"):
            (home / "checkpoints" / f"story-{name}{number}").mkdir()
    prune(home, 0)
    assert left(home) == {"story-panel0", "story-fit0", "story-a0", "story-b0"}


def test_nothing_goes_while_a_comparison_is_at_work(home: Path) -> None:
    a_comparison(home, 0)
    with lock(home, "compare"), pytest.raises(Held):
        prune(home, 0)
    assert left(home) == {"story-panel0", "story-fit0"}


def test_of_an_old_version_without_an_alias_only_what_it_needs_stays(home: Path) -> None:
    """Version 1 was never champion or was it once, 2 is champion, 3 challenger; the newest comparison made no version."""
    parents = [a_comparison(home, number, register=number < 3, loser=True) for number in range(4)]
    for alias, version in (("champion", "2"), ("challenger", "3")):
        connection.client().set_registered_model_alias("story", alias, version)
    dry = prune(home, 1, dry_run=True)
    (beaten,) = (run for _, run in dry.runs)
    assert connection.client().get_run(beaten).data.tags["identity"] == "story-loser0"
    gone = {"story-loser0": 1000, "forecasts.parquet": 1000, beaten: 1000, parents[0]: 1000}
    assert {path.name: size for path, size in dry.paths} == gone and dry.size == 4000
    assert prune(home, 1) == dry and not prune(home, 1).paths
    assert left(home) == {f"story-{what}{number}" for what in ("panel", "fit", "loser") for number in range(4)} - {
        "story-loser0"
    }
    there = {run.info.run_id for run in connection.client().search_runs([runs.experiment("story", home)])}
    assert set(parents) < there and len(there) == 3 * 4 - 1 and beaten not in there
    assert {path.name for path in (home / "forecasts").iterdir()} == set(parents[1:])
    assert len(logs.artifact(parents[0], "report.html").read_text()) == 1000
    assert len(logs.artifact(str(connection.client().get_model_version("story", "1").run_id), "notes.txt").read_text()) == 1000
    prune(home, 0)  # the newest goes now, and what the aliases hold does not
    assert left(home) == {f"story-{what}{number}" for what in ("panel", "fit", "loser") for number in range(3)} - {
        "story-loser0"
    }


def test_served_forecasts_stay_until_they_are_scored_and_the_newest_longer(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Five nights of the shipped data, and two after it ends; the newest four are what a scoring reads."""
    monkeypatch.setattr(pruning, "MOST_FILES", 4)
    run, files = load_run("params/smoke.yaml"), list[Path]()
    last = pl.read_parquet("data/nyc_weather.parquet").filter(pl.col("origin") == "JFK")["time_hour"].max()
    for night in range(-4, 3):
        cutoff = last + timedelta(days=night) - timedelta(hours=6)
        rows = [cutoff + timedelta(hours=step) for step in range(1, 7)]
        made = pl.DataFrame({"unique_id": "JFK", "ds": rows, "yhat": 40.0}).with_columns(cutoff=pl.lit(cutoff))
        made = made.with_columns(pl.col("ds", "cutoff").cast(pl.Datetime("us", "UTC")))
        files.append(keep(made, "1", int(made["cutoff"][0].timestamp() * 1e6) - 86_400_000_000, run.name, home))
        os.utime(files[-1], (night + 10, night + 10))
    assert prune(home, 0).paths == ()  # nobody has scored them
    score_realised.fn(run, home)
    assert [path for path, _ in prune(home, 0).paths] == files[:3]
    assert [file for file in files if file.exists()] == files[3:]
    monkeypatch.setattr(pruning, "MOST_FILES", 1)
    prune(home, 0)
    assert [file for file in files if file.exists()] == files[
        5:
    ]  # of these two, one is no more among the newest, but not scored


def test_files_go_first_for_a_store_on_a_full_disk_takes_nothing_before(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a_comparison(home, 0)

    def full(run_id: str) -> None:
        assert not left(home)
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(connection.client(), "delete_run", full)
        with pytest.raises(OSError, match="No space"):
            prune(home, 0)
    again = prune(home, 0)
    assert again.paths == () and len(again.runs) == 2  # the second time it ends what the first began


def test_what_a_link_leads_to_stays(home: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A link among the panels, among the runs' artifacts and in place of a whole folder of ours."""
    parent, theirs = a_comparison(home, 0, loser=True), tmp_path_factory.mktemp("theirs")
    for name in ("panel", "run", "fits/story-fit9"):
        (theirs / name).mkdir(parents=True)
        (theirs / name / "kept").write_text("kept")
    (home / "panels" / "linked").symlink_to(theirs / "panel")
    (folder,) = (path for path in (home / "artifacts").rglob(parent) if path.is_dir())
    shutil.rmtree(folder)
    folder.symlink_to(theirs / "run")
    shutil.rmtree(home / "checkpoints")
    (home / "checkpoints").symlink_to(theirs / "fits")
    prune(home, 0)
    assert len(list(theirs.rglob("kept"))) == 3
    assert not folder.is_symlink()  # the link was ours, and went
