"""models/outside.py: code from outside runs only as it was hashed, and only where somebody said where it lies."""

import hashlib
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from models.families import build_forecaster, family_of
from models.networks.contract import Network
from models.outside import Outside, OutsideError, as_network, take_in

NET = """
from torch import nn
from .cells import WIDTH

class Net(nn.Module):
    def __init__(self, *, num_features: int, lookback: int, horizon: int, hidden: int = 2) -> None:
        super().__init__()
        self.hidden = hidden
        self.line = nn.Linear(lookback * num_features, horizon)

    def forward(self, x):
        return self.line(x.flatten(1)) * WIDTH
"""


@pytest.fixture
def package(tmp_path: Path) -> Iterator[Path]:
    """A folder with a package `own_package` without an `__init__.py`, which no other test knows."""
    folder = tmp_path / "own_package"
    folder.mkdir()
    (folder / "nets.py").write_text(NET)
    (folder / "cells.py").write_text("WIDTH = 1.0\n")
    yield tmp_path
    for name in [name for name in sys.modules if name.split(".")[0] == "own_package"]:
        del sys.modules[name]


def code(root: Path, *files: str, target: str = "own_package.nets:Net") -> Outside:
    digests = {file: hashlib.sha256((root / file).read_bytes()).hexdigest() for file in files}
    return Outside(target=target, files=digests, root=str(root))


BOTH = "own_package/nets.py", "own_package/cells.py"


def test_a_plain_module_is_a_family_by_its_target(package: Path, params) -> None:
    kind = as_network(take_in(code(package, *BOTH)))
    assert issubclass(kind, Network) and family_of("own_package.nets:Net") is kind
    forecaster = build_forecaster("own_package.nets:Net", {"hidden": 3}, params)
    assert forecaster.network.hidden == 3
    assert str(package) not in sys.path


def test_what_changed_since_it_was_hashed_is_not_run(package: Path) -> None:
    found = code(package, *BOTH)
    (package / "own_package/cells.py").write_text("raise SystemExit('it ran')\n")
    with pytest.raises(OutsideError, match=r"cells.py has changed since this command began"):
        take_in(found)


def test_what_was_not_hashed_is_not_run(package: Path) -> None:
    with pytest.raises(OutsideError, match=r"own_package.cells is not hashed"):
        take_in(code(package, "own_package/nets.py"))


ASKING = """
from importlib import import_module

def f(name):
    return import_module(name)

AT_ONCE = f({name!r})
"""


def test_what_lies_next_to_it_is_not_run_unhashed_whatever_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where Python's path has the folder; libraries and what this process imports by itself are not its business."""
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "beside_it.py").write_text("WIDTH = 1.0\n")
    (tmp_path / "a_folder").mkdir()
    (tmp_path / "asking_now.py").write_text(ASKING.format(name="beside" + "_it"))
    with pytest.raises(OutsideError, match="beside_it is not hashed: import it by an import statement"):
        take_in(code(tmp_path, "asking_now.py", target="asking_now:f"))
    (tmp_path / "asking_later.py").write_text(ASKING.format(name="yaml"))
    ask = take_in(code(tmp_path, "asking_later.py", target="asking_later:f"))
    for name in ("beside_it", "a_folder"):
        with pytest.raises(ModuleNotFoundError, match=f"{name} is not hashed"):
            ask(name)
    assert ask("colorsys").__name__ == "colorsys"
    import beside_it

    assert beside_it.WIDTH == 1.0 and ask("beside_it") is beside_it  # it is there already, and nothing is run


def test_other_content_under_the_same_name_is_imported_again(package: Path) -> None:
    before = take_in(code(package, *BOTH))
    (package / "own_package/nets.py").write_text(NET.replace("hidden: int = 2", "hidden: int = 9"))
    after = take_in(code(package, *BOTH))
    sizes = {"num_features": 1, "lookback": 1, "horizon": 1}
    assert before(**sizes).hidden == 2 and after(**sizes).hidden == 9


@pytest.mark.parametrize("target", ["os:system", "own_package.nets:Net"])
def test_code_without_a_folder_is_never_imported(target: str, package: Path) -> None:
    """As a version from a registry names it: no version says where code lies."""
    with pytest.raises(OutsideError, match="nobody here has named it"):
        take_in(replace(code(package, *BOTH), target=target, root=""))
    assert family_of("os:system") is None and "own_package.nets" not in sys.modules


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("raise KeyError('x')", "cannot be imported: KeyError: 'x'"),
        ("import none_such", "cannot be imported: ModuleNotFoundError: No module named 'none_such'"),
        ("x = 1", r"has no Net"),
    ],
)
def test_what_cannot_be_imported_is_one_error(text: str, told: str, package: Path) -> None:
    (package / "own_package/nets.py").write_text(text + "\n")
    with pytest.raises(OutsideError, match=told):
        take_in(code(package, "own_package/nets.py"))


class _Positional(nn.Module):
    def __init__(self, num_features: int, lookback: int, horizon: int, *rest: int) -> None:
        super().__init__()


class _NoHorizon(nn.Module):
    def __init__(self, *, num_features: int, lookback: int) -> None:
        super().__init__()


@pytest.mark.parametrize(
    ("found", "told"),
    [
        (torch.tanh, "'tanh' is no class derived from torch.nn.Module"),
        (_NoHorizon, "by name; horizon is missing"),
        (_Positional, "must name all its arguments; rest does not"),
    ],
)
def test_what_is_no_network_is_refused(found: object, told: str) -> None:
    with pytest.raises(OutsideError, match=told):
        as_network(found)
