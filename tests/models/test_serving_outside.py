"""models/serving.py: a baseline from outside, taken in from a local file or from the archive in a bundle."""

import hashlib
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import numpy as np
import pytest

from models import serving
from models.outside import Outside
from models.serving import Model, baseline
from tasks.registry.admitted import ARCHIVE, packed
from tests.tree import write_tree

Y = np.array([5.0, 1.0, np.nan, 3.0, np.nan, np.nan, 8.0])
START, AT = np.array([0, 0, 6]), np.array([3, 5, 6])


@pytest.fixture(autouse=True)
def _as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(serving, "TAKEN_IN", {})
    monkeypatch.setattr(sys, "path", [*sys.path])
    before = {*sys.modules}
    yield
    for name in {*sys.modules} - before:
        if name.startswith("carried_"):
            del sys.modules[name]


def test_it_gets_its_series_up_to_the_cutoff_with_gaps_filled() -> None:
    seen = []

    def told(history: np.ndarray, steps: int, season: int) -> np.ndarray | None:
        seen.append((history.tolist(), steps, season))
        history[:] = 0  # of a copy: the next forecast is not touched
        return None if len(history) < 4 else np.arange(steps, dtype=float)

    serving.TAKEN_IN["baseline:own:told"] = told
    found = baseline("baseline:own:told", {"season": 7}, Y, START, AT, np.array([2, 3]))
    assert seen == [([5, 1, 1, 3], 3, 7), ([5, 1, 1, 3, 3, 3], 3, 7), ([8], 3, 7)]
    np.testing.assert_array_equal(found, [[1, 2], [1, 2], [np.nan, np.nan]])


@pytest.mark.parametrize(
    ("returned", "told"),
    [
        ("np.ones(2)", r"own:f, given 4 values, must return 3 finite ones or None, not array\(\[1., 1.\]\)"),
        ("np.array([1, np.nan, 3])", "must return 3 finite ones"),
        ("'three'", "own:f, given 4 values, raised ValueError: could not convert string to float"),
        ("1 / 0", "own:f, given 4 values, raised ZeroDivisionError: division by zero"),
    ],
)
def test_what_is_no_forecast_is_refused(returned: str, told: str) -> None:
    serving.TAKEN_IN["baseline:own:f"] = eval(f"lambda history, steps, season: {returned}", {"np": np})
    with pytest.raises(ValueError, match=told):
        baseline("baseline:own:f", {"season": 1}, Y, START, AT, np.arange(1, 4))


def test_one_that_nobody_named_here_does_not_run() -> None:
    with pytest.raises(ValueError, match="own:f is code from outside lagline, and nobody here has named it"):
        baseline("baseline:own:f", {"season": 1}, Y, START, AT, np.arange(1, 4))


NETS = """
import carried_b

from .level import level


def f(history, steps, season):
    import carried_c

    return level(history) + carried_b.ZERO + carried_c.zero(steps)
"""


class _Carrying:
    """As much of a model as names its baselines."""

    def __init__(self, name: str) -> None:
        self.alone, self.combined = serving._Baseline(f"baseline:{name}", {"season": 1}), ()


def archived(folder: Path, files: dict[str, str]) -> tuple[Path, dict[str, bytes]]:
    """An archive of some code as a bundle has it, and the bundle's contents."""
    write_tree(folder / "code", files)
    digests = {name: hashlib.sha256(text.encode()).hexdigest() for name, text in files.items()}
    content = packed((Outside(target="carried_a.nets:f", files=digests, root=str(folder / "code")),))
    shutil.rmtree(folder / "code")
    (folder / ARCHIVE).write_bytes(content)
    return folder / ARCHIVE, {ARCHIVE: content}


def test_a_bundle_s_own_code_is_imported_from_its_archive_and_leaves_nothing_there(tmp_path: Path) -> None:
    files = {
        "carried_a/nets.py": NETS,
        "carried_a/level.py": "def level(history):\n    return history[-1]\n",
        "carried_b.py": "ZERO = 0.0\n",
        "carried_c.py": "import numpy\r\n\r\n\r\ndef zero(steps):\r\n    return numpy.zeros(steps)\r\n",
    }
    for folder in ("one", "two"):  # a second version of the same code in one process
        serving._take_in(cast(Model, _Carrying("carried_a.nets:f")), *archived(tmp_path / folder, files))
        found = baseline("baseline:carried_a.nets:f", {"season": 1}, Y, START, AT, np.arange(1, 3))
        np.testing.assert_array_equal(found, [[3, 3], [3, 3], [8, 8]])
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["one", "outside.zip", "outside.zip", "two"]
    other = archived(tmp_path / "three", {**files, "carried_b.py": "ZERO = 1.0\n"})
    with pytest.raises(ValueError, match="another module carried_b is loaded already: load this version in another process"):
        serving._take_in(cast(Model, _Carrying("carried_a.nets:f")), *other)
