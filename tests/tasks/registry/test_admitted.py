"""tasks/registry/admitted.py: a version's own baseline forecasts only where a local run file names the recorded code."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models import serving
from models.baseline_fit import forecasts_hash
from models.outside import Outside
from params.errors import UserError
from params.load import load_plan
from tasks.registry.admitted import ARCHIVE, admit
from tasks.registry.bundle import write_bundle
from tasks.registry.facts import BundleFacts
from tasks.registry.load import Version
from tasks.registry.register import facts_of, tags_of
from tasks.registry.unseen import forecasts
from tasks.train.identity import fingerprint
from tasks.train.job import baseline_job
from tasks.train.outside import take_in_all

CODE = "import numpy as np\n\n\ndef level(history, steps, season):\n    return np.full(steps, history[-season:].mean())\n"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home in which a run file with a baseline of one's own was compared; the module is named by the folder."""
    name, home = tmp_path.name.replace("-", "_"), tmp_path / "home"
    (tmp_path / f"own_{name}.py").write_text(CODE)
    text = Path("params/smoke.yaml").read_text().replace("seasonal_naive]", "seasonal_naive, level]")
    (tmp_path / "run.yaml").write_text(f"{text}baselines: {{level: own_{name}:level}}\n")
    home.mkdir()
    take_in_all(load_plan(tmp_path / "run.yaml"), home)
    return home


@pytest.fixture
def version(house: Any, home: Path, monkeypatch: pytest.MonkeyPatch) -> Version:
    """A version of it, in a process that has not named it."""
    run, folder = load_plan(home.parent / "run.yaml").run, home.parent / "bundle"
    job = baseline_job("level", 24, house.params, house.made().job.split, 6, house.panel.folder, run.baseline_family("level"))
    printed = fingerprint(job, house.panel.digest)
    made = house.made(job=job, run=run, weights=forecasts_hash(job, house.panel), fingerprint=printed, baseline="level")
    digest = write_bundle(
        folder, facts_of(job, house.panel, made, (), house.calibrated([1.0, 2.0, 3.0, 4.0])), house.panel, None
    )
    monkeypatch.setattr(serving, "TAKEN_IN", {})
    monkeypatch.setattr("models.baseline_fit.TAKEN_IN", serving.TAKEN_IN)
    return Version("smoke", "1", "", digest, folder, BundleFacts.read((folder / "model.json").read_bytes()))


def test_it_forecasts_once_it_is_admitted(house: Any, version: Version, home: Path) -> None:
    origins = np.array([40, house.panel.offsets[1] + 60])
    assert version.facts.is_bar and [one.root for one in version.facts.code] == [""]
    with pytest.raises(ValueError, match="is code from outside lagline, and nobody here has named it"):
        forecasts(version, house.panel, origins)
    admit(version, home)
    found = forecasts(version, house.panel, origins)
    np.testing.assert_allclose(found[1], house.panel.target[house.panel.offsets[1] :][37:61].mean())


def test_no_run_file_another_file_or_another_archive_admits_nothing(version: Version, home: Path) -> None:
    code = next(home.parent.glob("own_*.py"))
    code.write_text("raise SystemExit('it ran')\n")
    with pytest.raises(UserError, match=rf"smoke version 1 forecasts with own_\w+:level, .* {code.name} is not as recorded"):
        admit(version, home)
    code.write_text(CODE)
    archive = version.folder / ARCHIVE
    archive.write_bytes(archive.read_bytes().replace(b"mean()", b"sum() "))
    with pytest.raises(UserError, match=f"smoke version 1 is damaged and is not used: {ARCHIVE}"):
        admit(version, home)
    (home / "outside" / "smoke.json").write_text(json.dumps({"run_file": str(home / "none.yaml")}))
    with pytest.raises(UserError, match=r"no run file of smoke was compared in .*home: it is imported only where a local"):
        admit(version, home)
    assert serving.TAKEN_IN == {}


def test_what_a_network_is_measured_against_is_needed_to_judge_it_alone(house: Any, version: Version, home: Path) -> None:
    (code,) = version.facts.code
    made = replace(house.made(), bar_code=(code,))
    network = replace(version, facts=BundleFacts.read(json.dumps(house.facts(trained_on=made).to_dict()).encode()))
    network = replace(network, facts=replace(network.facts, name="smoke"))
    assert network.trained_on.bar_code == (code,) and network.facts.code == ()
    admit(network, home)
    assert serving.TAKEN_IN == {}
    admit(network, home, judging=True)
    assert [*serving.TAKEN_IN] == [f"{serving.OUTSIDE}{code.target}"]
    (fit, _), (identity, tags) = (tags_of("gru", replace(made, scores={"val_mae": 1.0}, bar_code=bar)) for bar in ((), (code,)))
    assert identity != fit == tags["fit"]  # measured by other code it is another version
    other = replace(made, bar_code=(Outside(target=code.target, files={next(iter(code.files)): "0" * 64}),))
    with pytest.raises(UserError, match="is not as recorded"):
        admit(replace(network, facts=replace(network.facts, trained_on=other)), home, judging=True)
