"""A version keeps what the data checks said, and what it lacks is said when it is needed."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from params.errors import UserError
from tasks.promote import gates
from tasks.registry.bundle import write_bundle
from tasks.registry.facts import BundleFacts
from tasks.registry.load import Version, opened
from tasks.registry.versions import needed, register
from tasks.tracking import connection, runs

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of mlflow's own imports


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    monkeypatch.setenv("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    connection.client.cache_clear()
    connection.connect(tmp_path)
    yield tmp_path
    connection.client.cache_clear()


@pytest.mark.slow
def test_a_version_whose_data_checks_failed_does_not_pass_their_gate(home: Path, house: Any) -> None:
    """Whatever the word in model.json says: the gate reads the verdict that the version keeps."""
    run = runs.child_run(runs.parent_run(runs.experiment("x", home), "x", "0" * 64)[0], "ridge", "1" * 64, {})
    facts = house.facts(family="ridge", network={}, trained_on=house.made(checks="passed"))
    forecaster = house.build("ridge", {})
    for number, (passed, words) in enumerate(((True, "passed before"), (False, "failed before"), (None, "nothing says"))):
        papers = {} if passed is None else {"checks.json": json.dumps({"passed": passed}).encode()}
        write_bundle(home / "bundle", facts, house.panel, forecaster, None, papers)
        made = register(home / "bundle", name="x", run_id=run, identity=str(number) * 64, tags={}, home=home)
        assert made.version is not None
        with opened(needed("x", made.version)) as version:
            result = gates.checks(version.checked)
            assert version.checked is passed and result.passed is bool(passed) and words in result.words


def test_a_version_that_lacks_what_is_younger_opens_and_says_so_when_it_is_needed(house: Any) -> None:
    raw = json.loads(json.dumps(house.facts(trained_on=house.made()).to_dict()))
    del raw["trained_on"]["job"], raw["trained_on"]["unseen_from"]
    facts = BundleFacts.from_dict(raw)
    assert facts.trained_on is None and facts.lacks == ("job", "unseen_from")
    for younger in ("stop_steps", "label", "checks"):
        raw = json.loads(json.dumps(house.facts(trained_on=house.made()).to_dict()))
        del raw["trained_on"][younger]
        assert BundleFacts.from_dict(raw).trained_on is not None
    with pytest.raises(UserError, match="registered by an older lagline and lacks job, unseen_from: compare again"):
        _ = Version("x", "1", "", "", Path(), facts).trained_on
