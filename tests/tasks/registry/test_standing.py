"""tasks/registry/standing.py with a real store: what is gone of a version, and that it is then registered again."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tasks.registry.load import lost
from tasks.registry.standing import MADE, fallen
from tasks.registry.versions import Registered, find, register
from tasks.tracking import connection, runs
from tests.marks import OF_IMPORTS, STORE

pytestmark = [*STORE, OF_IMPORTS]
IDENTITY = "1" * 64


@pytest.fixture(scope="module")
def home(module_store: Path, house: Any) -> Path:
    """A store, and a bundle beside it."""
    house.write(module_store / "bundle", house.build())
    return module_store


def put(name: str, home: Path) -> tuple[str, str, Registered]:
    """The end of a comparison: its run, that of the fit, and what was registered."""
    parent, _ = runs.parent_run(runs.experiment(name, home), name, "0" * 64)
    fit = runs.child_run(parent, "lstm", IDENTITY, {})
    made = register(home / "bundle", name=name, run_id=fit, identity=IDENTITY, tags={}, home=home)
    connection.client().set_tag(fit, MADE, str(made.version))
    runs.finish(parent)
    return parent, fit, made


def files(name: str, home: Path) -> Path:
    version = find(name, "1")
    assert version is not None
    (found,) = (home / "artifacts" / name).rglob(f"{str(version.source).rsplit('/', 1)[-1]}/artifacts")
    return Path(found)


GONE: dict[str, tuple[Callable[[str, Path, str], Any], str]] = {
    "version": (lambda name, home, fit: connection.client().delete_model_version(name, "1"), "version 1 was deleted"),
    "model": (lambda name, home, fit: connection.client().delete_registered_model(name), "version 1 was deleted"),
    "run": (lambda name, home, fit: connection.client().delete_run(fit), "the run of version 1 was deleted"),
    "folder": (lambda name, home, fit: shutil.rmtree(files(name, home)), "version 1 has lost seal.json"),
    "graph": (lambda name, home, fit: (files(name, home) / "data/bundle/graph.pt2").unlink(), "lost data/bundle/graph.pt2"),
    "code": (lambda name, home, fit: shutil.rmtree(files(name, home) / "code"), "version 1 has lost code/lagline_serving_"),
    "MLmodel": (lambda name, home, fit: (files(name, home) / "MLmodel").unlink(), "version 1 has lost MLmodel"),
    "seal": (lambda name, home, fit: (files(name, home) / "seal.json").unlink(), "version 1 has lost seal.json"),
}


@pytest.mark.parametrize("what", GONE)
def test_what_is_gone_is_told_and_registered_again_once(home: Path, what: str) -> None:
    name, (spoil, words) = f"gone-{what.lower()}", GONE[what]
    parent, fit, made = put(name, home)
    assert made == Registered("1", new=True) and fallen(name, parent) is None
    assert put(name, home)[2] == Registered("1", new=False)
    spoil(name, home, fit)
    assert words in str(fallen(name, parent))
    again = put(name, home)[2]
    assert again.new and again.version == ("1" if what == "model" else "2")
    assert fallen(name, parent) is None and put(name, home)[2].new is False


def test_a_file_that_was_changed_is_not_gone(home: Path) -> None:
    put("changed", home)
    (files("changed", home) / "data/bundle/graph.pt2").write_bytes(b"other")
    version = find("changed", "1")
    assert version is not None and lost(version) is None


def test_a_comparison_that_registered_nothing_has_lost_nothing(home: Path) -> None:
    parent, _ = runs.parent_run(runs.experiment("nothing", home), "nothing", "0" * 64)
    runs.child_run(parent, "lstm", IDENTITY, {})
    assert fallen("nothing", parent) is None
