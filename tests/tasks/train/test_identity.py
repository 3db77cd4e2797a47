"""What retrains and what does not: the identity of a fit hangs on the code that trains it, that of a comparison on more."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from models.data.panel import Split
from params.load import load_run
from tasks.files import ROOT
from tasks.train import identity
from tasks.train.code import FIT, SERVING, WORKER, code_digest, imported_by, judging_digest
from tasks.train.job import baseline_job
from tests.tree import write_tree


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the code that may be changed."""
    folder = tmp_path_factory.mktemp("checkout")
    for name in ("models", "tasks"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def change(checkout: Path, file: str) -> tuple[bool, bool]:
    """Adds a comment to a file; whether fits are other fits then, and whether comparisons are other comparisons."""
    before = code_digest(checkout), judging_digest(checkout)
    path = checkout / file
    content = path.read_text()
    path.write_text(content + "# a comment\n")
    for digest in (code_digest, judging_digest):
        digest.cache_clear()
    after = code_digest(checkout), judging_digest(checkout)
    path.write_text(content)
    for digest in (code_digest, judging_digest):
        digest.cache_clear()
    return before[0] != after[0], before[1] != after[1]


@pytest.mark.parametrize(
    "file",
    [
        *("models/fit/loop.py", "models/fit/step.py", "models/fit/losses.py", "models/fit/job.py", "models/fit/settings.py"),
        *("models/networks/fast_recurrence.py", "models/networks/linear.py", "models/families.py", "models/forecaster.py"),
        *("models/data/panel.py", "models/data/gather.py", "models/data/scaling.py", "models/ensemble.py"),
    ],
)
def test_a_changed_line_of_what_trains_makes_another_fit(checkout: Path, file: str) -> None:
    assert change(checkout, file) == (True, True)


@pytest.mark.parametrize(
    "file",
    [
        *("models/memory_card.py", "models/worker.py", "models/mixed.py", "models/serving.py"),  # which forecasts baselines
        *("tasks/compare/scores.py", "tasks/calibrate/units.py", "tasks/evaluate/frames.py"),
    ],
)
def test_a_changed_line_of_what_judges_makes_another_comparison_of_the_same_fits(checkout: Path, file: str) -> None:
    assert change(checkout, file) == (False, True)


@pytest.mark.parametrize(
    "file",
    ["models/data/batches.py", "tasks/report/plots/style.py", "tasks/load/source.py", "tasks/prune.py"],
)
def test_a_comment_elsewhere_changes_nothing(checkout: Path, file: str) -> None:
    assert change(checkout, file) == (False, False)


def test_imports_are_followed_also_inside_functions_and_through_packages(tmp_path: Path) -> None:
    empty = ("models/__init__.py", "models/fit/__init__.py", "models/deep/__init__.py", "models/deep/inner.py")
    texts = dict.fromkeys(empty, "") | {
        "models/fit/job.py": "from models.fit import step\n\ndef f():\n    import models.deep.inner\n",
        "models/fit/step.py": "import torch\nfrom models import near\n",
        "models/near.py": "from models.fit.job import f\n",
        "models/other.py": "from models import near\n",
    }
    write_tree(tmp_path, texts)
    found = {path.relative_to(tmp_path).as_posix() for path in imported_by(tmp_path, FIT)}
    assert found == set(texts) - {"models/other.py"}


@pytest.mark.slow
@pytest.mark.slow
def test_what_python_imports_for_a_fit_is_what_is_hashed() -> None:
    """Held against Python itself, in a process that imports the job alone."""
    import subprocess
    import sys

    for module, start in (("models.fit.job", FIT), ("models.worker", WORKER)):
        code = f"import sys, {module}; print(*(m.__file__ for n, m in sys.modules.items() if n.split('.')[0] == 'models'))"
        done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
        assert {Path(name) for name in done.stdout.split()} <= imported_by(ROOT, start)


def test_a_baseline_is_the_same_by_its_data_numbers_code_and_library(
    house: Any, checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    split = Split("rows", 30, 30)

    def of(name: str = "theta", season: int = 24, panel: str = "a" * 64, **others: Any) -> str:
        return identity.identity(replace(baseline_job(name, season, house.params, split, 6, Path(panel)), **others), panel)

    found = of()
    assert len({found, of(season=12), of("auto_ets"), of(panel="b" * 64), of(evaluation_stride=7)}) == 5
    monkeypatch.setattr(torch, "__version__", "9.9")  # it has no part in it
    assert of() == found and of(threads=3) == found
    for name, version, same in (("theta", "0.0.1", False), ("drift", "0.0.1", True)):
        before = of(name)
        with monkeypatch.context() as patched:
            patched.setattr(identity, "installed", lambda package, version=version: version)
            assert (of(name) == before) is same
            job = baseline_job(name, 24, house.params, split, 6, Path("a" * 64))
            assert identity.fingerprint(job, "a" * 64).get("statsforecast") == (None if same else version)
    own = code_digest(start=SERVING)
    assert identity.fingerprint(baseline_job("drift", 24, house.params, split, 6, Path("x")), "a" * 64)["code"] == own
    assert code_digest(checkout, SERVING) == own  # of this file alone: the copy is another folder
    assert imported_by(ROOT, SERVING) == {ROOT / SERVING}


def test_an_ensemble_with_a_baseline_hangs_on_the_code_of_both(house: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    job = house.made().job
    theta = baseline_job("theta", 24, house.params, job.split, 6, job.panel)
    plain, both = (replace(job, family="ensemble", network={}, members=members) for members in ((job, job), (job, theta)))
    codes = {identity.fingerprint(one, "a" * 64)["code"] for one in (job, plain, both, theta)}
    assert len(codes) == 3 and identity.fingerprint(plain, "a" * 64)["code"] == code_digest()
    assert "statsforecast" in identity.fingerprint(both, "a" * 64) and "statsforecast" not in identity.fingerprint(plain, "a")
    before = identity.identity(job, "a"), identity.identity(both, "a")
    monkeypatch.setattr(identity, "installed", lambda package: "0.0.1")
    assert identity.identity(job, "a") == before[0] and identity.identity(both, "a") != before[1]


def test_a_comparison_with_theta_is_another_one_with_another_statsforecast(monkeypatch: pytest.MonkeyPatch) -> None:
    def of(*baselines: str) -> str:
        run = load_run("params/nyc_weather.yaml", [f"evaluation.baselines=[{', '.join(baselines)}]"])
        return identity.comparison_identity(run, [])

    before = of("drift"), of("drift", "theta")
    monkeypatch.setattr(identity, "installed", lambda package: "0.0.1")
    assert of("drift") == before[0] and of("drift", "theta") != before[1]
