"""What retrains and what does not: the identity of a fit hangs on the code that trains it, that of a comparison on more."""

import shutil
from pathlib import Path

import pytest

from tasks.files import ROOT
from tasks.train.code import FIT, WORKER, code_digest, imported_by, judging_digest


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
    "file", ["models/memory_card.py", "models/worker.py", "tasks/compare/scores.py", "tasks/evaluate/intervals.py"]
)
def test_a_changed_line_of_what_judges_makes_another_comparison_of_the_same_fits(checkout: Path, file: str) -> None:
    assert change(checkout, file) == (False, True)


@pytest.mark.parametrize(
    "file",
    ["models/serving.py", "models/data/batches.py", "tasks/report/plots/style.py", "tasks/load/source.py", "tasks/prune.py"],
)
def test_a_comment_elsewhere_changes_nothing(checkout: Path, file: str) -> None:
    assert change(checkout, file) == (False, False)


def test_imports_are_followed_also_inside_functions_and_through_packages(tmp_path: Path) -> None:
    texts = {
        "models/__init__.py": "",
        "models/fit/__init__.py": "",
        "models/fit/job.py": "from models.fit import step\n\ndef f():\n    import models.deep.inner\n",
        "models/fit/step.py": "import torch\nfrom models import near\n",
        "models/near.py": "from models.fit.job import f\n",
        "models/deep/__init__.py": "",
        "models/deep/inner.py": "",
        "models/other.py": "from models import near\n",
    }
    for name, text in texts.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
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
