"""Pruning a real store: what a registered version came from stays, whatever its age; what nothing refers to goes."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks import tracking
from tasks.locks import Held, lock
from tasks.registry.prune import prune

pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy")  # MLflow's own


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    tracking.client.cache_clear()
    tracking.connect(tmp_path)
    yield tmp_path
    tracking.client.cache_clear()


def a_comparison(home: Path, number: int, name: str = "story", register: bool = False) -> str:
    """A finished comparison with one fit, its panel and its checkpoint folder; returns its run."""
    parent, _ = tracking.parent_run(tracking.experiment(name, home), name, f"{name}{number}")
    fit = tracking.child_run(parent, "gru", f"{name}-fit{number}", {"kind": "variant"})
    tracking.tag(parent, {"data": f"{name}-panel{number}"})
    tracking.log_text(fit, "x" * 1000, "notes.txt")
    for folder in (home / "panels" / f"{name}-panel{number}", home / "checkpoints" / f"{name}-fit{number}"):
        folder.mkdir(parents=True)
        (folder / "bytes").write_bytes(bytes(1000))
    for run in (fit, parent):
        tracking.finish(run)
    if register:
        client = tracking.client()
        client.create_registered_model(name)
        client.create_model_version(name, f"{home}/anywhere", fit, tags={"identity": f"{name}-fit{number}"})
    return parent


def left(home: Path) -> set[str]:
    return {path.name for folder in ("panels", "checkpoints") for path in (home / folder).iterdir()}


def test_the_newest_and_the_registered_stay(home: Path) -> None:
    runs = [a_comparison(home, number, register=number == 1) for number in range(5)]
    a_comparison(home, 0, "other")
    for name in (".compare-killed", ".compare-at-work"):
        (home / name).mkdir()
    os.utime(home / ".compare-killed", (0, 0))
    dry = prune(home, 2, dry_run=True)
    assert {path.name for path, _ in dry.folders} >= {"story-panel0", "story-fit2", ".compare-killed"} and dry.size >= 4000
    assert len(left(home)) == 12  # nothing went
    plan = prune(home, 2)
    assert plan == dry
    kept = {f"story-{what}{number}" for what in ("panel", "fit") for number in (1, 3, 4)}
    assert left(home) == kept | {"other-panel0", "other-fit0"}
    there = {run.info.run_id for run in tracking.client().search_runs([tracking.experiment("story", home)])}
    assert there & set(runs) == {runs[1], runs[3], runs[4]} and len(there) == 6
    assert [path.name for path in home.glob(".compare-*")] == [".compare-at-work"]
    assert prune(home, 2).folders == () == prune(home, 2).runs
    prune(home, 0)
    assert left(home) == {"story-panel1", "story-fit1"}


def test_the_fit_and_the_refit_of_a_version_stay_though_its_identity_is_that_of_both(home: Path) -> None:
    """Also where its comparison was deleted by hand."""
    parent = a_comparison(home, 0, register=True)
    (home / "checkpoints" / "story-refit0").mkdir()
    client = tracking.client()
    for tag, value in {"identity": "both", "fit": "story-fit0", "refit": "story-refit0"}.items():
        client.set_model_version_tag("story", "1", tag, value)
    client.delete_run(parent)
    prune(home, 0)
    assert left(home) >= {"story-fit0", "story-refit0"}


def test_nothing_goes_while_a_comparison_is_at_work(home: Path) -> None:
    a_comparison(home, 0)
    with lock(home, "compare"), pytest.raises(Held):
        prune(home, 0)
    assert left(home) == {"story-panel0", "story-fit0"}
