"""The bound on the gates of a promotion: nothing is decided after it, and the training that it cuts off is gone."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from models.data.panel import Split
from params.load import load_run, load_variant
from tasks.grid.frequency import Frequency
from tasks.lags.panel import write_panel
from tasks.promote import decision as promotion
from tasks.promote import ledger
from tasks.promote.alias import undecided
from tasks.promote.deadline import Overdue, deadline
from tasks.promote.options import PromoteOptions
from tasks.promote.proof import reproduce
from tasks.registry.load import opened
from tasks.registry.versions import CHALLENGER, CHAMPION, find, needed, register
from tasks.tracking import connection, runs
from tasks.train.identity import fingerprint
from tasks.train.job import make_job
from tests.marks import STORE
from tests.tasks.engine.running import running_fits

RUN = "params/smoke.yaml"
LONG = ("training.max_epochs=1000000", "training.patience_epochs=1000000")
pytestmark = STORE


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, house: Any) -> Iterator[Path]:
    """A store with one challenger, whose training again would last for days."""
    folder, patch = tmp_path_factory.mktemp("home"), pytest.MonkeyPatch()
    patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/mlflow.db")
    patch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
    connection.client.cache_clear()
    connection.connect(folder)
    panel = write_panel(house.frame.lazy(), house.params, Frequency("1h"), 3, folder / "panels")
    run = load_run(RUN, [f"windows.horizon={house.params.horizon}", f"windows.gap={house.params.gap}"])
    job = make_job(load_variant("gru", RUN, LONG), 0, panel, house.params, Split("rows", 30, 30), "cpu")
    printed = fingerprint(job, house.panel.digest) | {"clean": True}
    house.write(folder / "bundle", house.build(), trained_on=house.made(job=job, fingerprint=printed, run=run))
    parent, _ = runs.parent_run(runs.experiment("slow", folder), "slow", "0" * 64)
    child = runs.child_run(parent, "gru", "1" * 64, {})
    register(folder / "bundle", name="slow", run_id=child, identity="a" * 64, tags={}, home=folder)
    yield folder
    patch.undo()
    connection.client.cache_clear()


def test_a_promotion_that_takes_longer_than_its_params_allow_decides_nothing(home: Path) -> None:
    rules = load_run(RUN).promotion
    assert rules.timeout_minutes == 120
    with pytest.raises(
        Overdue, match=r"^the gate origins was not through after 1e-06 minutes \(promotion\.timeout_minutes, or --timeout\)"
    ):
        rules_of_now = rules.model_copy(update={"timeout_minutes": 1e-6})
        promotion.promote("slow", home, "cpu", PromoteOptions(rules=rules_of_now))
    with pytest.raises(Overdue, match="the gate origins"):
        promotion.promote("slow", home, "cpu", PromoteOptions(rules=rules, minutes=1e-6))
    assert find("slow", CHAMPION) is None and ledger.entries("slow") == [] and undecided("slow")


def test_the_training_that_a_deadline_cuts_off_ends(home: Path) -> None:
    said: list[str] = []
    with (
        opened(needed("slow", CHALLENGER)) as version,
        pytest.raises(Overdue, match="gate reproduction"),
        deadline(0.1) as until,
    ):
        until.at("reproduction")
        reproduce(version, home, "cpu", said.append, until.stop)
    assert not running_fits()
    assert not list(home.glob(".reproduce-*"))


def test_the_process_that_loads_a_bundle_is_cut_off_too(home: Path) -> None:
    with opened(needed("slow", CHALLENGER)) as version, pytest.raises(Overdue, match="gate bundle"), deadline(0.001) as until:
        until.at("bundle")
        promotion.reloads(version, until.left)


def test_without_a_bound_nothing_is_over() -> None:
    with deadline(None) as until:
        until.at("bundle")
        assert until.left is None and not until.stop.is_set()
