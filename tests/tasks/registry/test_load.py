"""A version keeps what the data checks said, and what it lacks is said when it is needed."""

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from params.errors import UserError
from tasks.promote import gates
from tasks.registry import seal
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


@pytest.mark.slow
def test_what_a_version_says_of_itself_is_data_and_never_a_command(home: Path, house: Any) -> None:
    """One that somebody registered with their own hands, whole and sealed: one message that names the key."""
    run = runs.child_run(runs.parent_run(runs.experiment("x", home), "x", "0" * 64)[0], "ridge", "1" * 64, {})
    bundle = home / "bundle"
    house.write(bundle, house.build("ridge", {}), family="ridge", network={})
    raw = json.loads((bundle / "model.json").read_text())
    for number, (name, value) in enumerate((("revision", "x; touch y"), ("data", 5), ("device", "\x1b[2J"))):
        changed = json.loads(json.dumps(raw))
        changed["trained_on"]["fingerprint"][name] = value
        (bundle / "model.json").write_text(json.dumps(changed))
        content = (bundle / "model.json").read_bytes()
        manifest = json.loads((bundle / "manifest.json").read_text())
        manifest["files"]["model.json"] = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
        (bundle / "manifest.json").write_text(json.dumps(manifest))
        with pytest.MonkeyPatch.context() as patch:  # ours would refuse it
            patch.setattr("tasks.registry.facts.check_told", lambda *_: None)
            made = register(bundle, name="x", run_id=run, identity=str(number + 5) * 64, tags={}, home=home)
        told = f"x version {made.version} is not used, for it says of itself what no version says: model.json: "
        shown = re.escape(f"{told}trained_on.fingerprint.{name} is {value!r}: ")
        with pytest.raises(UserError, match=f"^{shown}"), opened(needed("x", str(made.version))):
            pass


@pytest.mark.slow
def test_a_tag_that_is_no_digest_is_refused_and_not_shown(home: Path, house: Any) -> None:
    run = runs.child_run(runs.parent_run(runs.experiment("x", home), "x", "0" * 64)[0], "ridge", "1" * 64, {})
    house.write(home / "bundle", house.build("ridge", {}), family="ridge", network={})
    made = register(home / "bundle", name="x", run_id=run, identity="7" * 64, tags={}, home=home)
    assert made.version is not None
    own = dict(needed("x", made.version).tags)
    for tag in ("seal", "manifest"):
        for value in ("\x1b[2J", "x" * 64, "", "0" * 64):
            connection.client().set_model_version_tag("x", made.version, tag, value)
            with pytest.raises(UserError) as refused, opened(needed("x", made.version)):
                pass
            words = str(refused.value)
            told = (f"its tag {tag} is no sha256", "is not the one that was registered", "it has no manifest")
            assert words.isprintable() and any(one in words for one in told)
        connection.client().set_model_version_tag("x", made.version, tag, own[tag])
    with opened(needed("x", made.version)) as version:
        assert version.sealed


@pytest.mark.slow
def test_a_registration_that_was_cut_off_leaves_no_version_and_the_next_one_makes_it(
    home: Path, house: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = runs.child_run(runs.parent_run(runs.experiment("x", home), "x", "0" * 64)[0], "ridge", "1" * 64, {})
    house.write(home / "bundle", house.build("ridge", {}), family="ridge", network={})
    given: dict[str, Any] = {"name": "x", "run_id": run, "identity": "9" * 64, "tags": {}, "home": home}

    def cut_off(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    client = type(connection.client())
    for owner, step in ((seal, "write"), (client, "log_model_artifacts"), (client, "create_model_version")):
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(owner, step, cut_off)
            register(home / "bundle", **given)
        assert not connection.client().search_model_versions("name = 'x'")
    made = register(home / "bundle", **given)
    assert made.new and made.version == "1"
    with opened(needed("x", "challenger")) as version:
        assert version.sealed and version.model.facts


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
