"""A registered version that somebody has changed in the store: nothing of it runs, and one that nobody has changed loads."""

import json
import os
import py_compile
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from params.errors import UserError
from tasks.promote import alias, ledger
from tasks.promote import decision as promotion
from tasks.promote.gates import GateResult
from tasks.promote.options import PromoteOptions
from tasks.promote.reload import reloads
from tasks.registry.load import opened
from tasks.registry.versions import CHALLENGER, log_bundle, needed, register
from tasks.tracking import connection, runs
from tests.marks import OF_IMPORTS, STORE

NAME = "planted"
pytestmark = [*STORE, OF_IMPORTS]


@pytest.fixture(scope="module")
def store(module_store: Path, house: Any) -> Path:
    """The folder of a registered version in a store on this machine."""
    home = module_store
    run = runs.child_run(runs.parent_run(runs.experiment(NAME, home), NAME, "0" * 64)[0], "lstm", "1" * 64, {})
    house.write(home / "bundle", house.build())
    register(home / "bundle", name=NAME, run_id=run, identity="a" * 64, tags={}, home=home)
    return next((home / "artifacts").rglob("MLmodel")).parent


def code(marker: Path) -> str:
    """What leaves a mark where it runs."""
    return f"open({str(marker)!r}, 'w').close()\ndef _load_pyfunc(path): raise SystemExit\n"


def bytecode(root: Path, marker: Path) -> Path:
    """Plants bytecode beside the code of a version that Python would take for it without looking (PEP 552, unchecked)."""
    (source,) = (root / "code").glob("lagline_serving_*.py")
    evil = marker.with_suffix(".py")
    evil.write_text(code(marker))
    made = root / "code" / "__pycache__" / f"{source.stem}.{sys.implementation.cache_tag}.pyc"
    py_compile.compile(str(evil), str(made), doraise=True, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
    return made


def another_loader(root: Path, marker: Path) -> Path:
    (root / "code/evil.py").write_text(code(marker))
    return changed(root, "loader_module: lagline", "loader_module: evil\n    was: lagline")


def another_folder(root: Path, marker: Path) -> Path:
    (root / "other").mkdir()
    (source,) = (root / "code").glob("lagline_serving_*.py")
    (root / "other" / source.name).write_text(code(marker))
    return changed(root, "code: code", "code: other")


def changed(root: Path, old: str, new: str) -> Path:
    text = (root / "MLmodel").read_text()
    assert old in text
    (root / "MLmodel").write_text(text.replace(old, new))
    return root / "MLmodel"


def a_module(root: Path, marker: Path) -> Path:
    (root / "code/mlflow.py").write_text(code(marker))
    return root / "code/mlflow.py"


PLANTED: dict[str, Callable[[Path, Path], Path]] = {
    "bytecode": bytecode,
    "another loader": another_loader,
    "another folder of code": another_folder,
    "a module": a_module,
    "half an MLmodel": lambda root, _: os.truncate(root / "MLmodel", 200) or root / "MLmodel",
    "a requirement": lambda root, _: (root / "requirements.txt").write_text("evil==1") and root / "requirements.txt",
}


@pytest.mark.parametrize("planted", PLANTED)
def test_what_was_planted_in_the_store_is_refused_by_name_before_it_runs(store: Path, planted: str, tmp_path: Path) -> None:
    before = {path: path.read_bytes() for path in store.rglob("*") if path.is_file()}
    try:
        file = PLANTED[planted](store, tmp_path / "mark")
        told = r"planted version 1 is damaged and is not used: "
        with pytest.raises(UserError, match=told) as refused, opened(needed(NAME, CHALLENGER)) as version:
            reloads(version)
        named = {path.relative_to(store).as_posix() for path in {file, *store.rglob("*")} - set(before)}
        assert any(f"used: {name} " in str(refused.value) for name in {*named, file.relative_to(store).as_posix()})
        assert not (tmp_path / "mark").exists()
    finally:
        for path in set(store.rglob("*")) - set(before):
            path.unlink() if path.is_file() else None
        for path in sorted(set(store.rglob("*")) - set(before), reverse=True):
            path.rmdir() if not any(path.iterdir()) else None
        for path, content in before.items():
            path.write_bytes(content)


def test_the_fresh_process_has_no_ear_for_bytecode_and_asks_no_server(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also not for that which comes into the copy after it was checked."""
    with opened(needed(NAME, CHALLENGER)) as version:
        bytecode(version.root, tmp_path / "mark")
        there = set(version.root.rglob("*"))
        monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
        result = reloads(version)
        assert result.passed, result.words
        assert set(version.root.rglob("*")) == there and not (tmp_path / "mark").exists()


def test_a_version_that_others_load_in_place_stays_whole(store: Path, house: Any) -> None:
    """MLflow loads it where it lies, if it lies on this machine: Python's bytecode would be a file that nobody registered."""
    before = set(store.rglob("*"))
    script = "import json, sys, mlflow; print(mlflow.pyfunc.load_model(sys.argv[1]).metadata.model_uuid)"
    clean = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONDONTWRITEBYTECODE")}
    subprocess.run([sys.executable, "-P", "-c", script, f"models:/{NAME}/1"], env=clean, check=True, capture_output=True)
    assert set(store.rglob("*")) - before <= {store / "registered_model_meta"}
    with opened(needed(NAME, CHALLENGER)) as version:
        assert json.loads((version.folder / "model.json").read_text())["layout"] == 1
        assert not (version.root / "registered_model_meta").exists()


def test_the_way_to_check_a_version_by_hand_finds_what_was_planted(store: Path, tmp_path: Path) -> None:
    """The Python text of docs/promotion.md, as somebody without this repository runs it."""
    text = (Path(__file__).resolve().parents[3] / "docs/promotion.md").read_text()
    (block,) = re.findall(r"```python\n(.*?)```", text.partition("## The seal")[2], re.DOTALL)
    script = block.replace('"nyc-weather", "champion"', f'"{NAME}", "{CHALLENGER}"')
    assert script != block
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}

    def run(cwd: Path, code: str) -> subprocess.CompletedProcess[str]:
        cwd.mkdir()
        return subprocess.run([sys.executable, "-P", "-c", code], cwd=cwd, env=clean, capture_output=True, text=True)

    done = run(tmp_path / "good", f"{script}\nprint(model.metadata.flavors['python_function']['code'])")
    assert done.returncode == 0 and done.stdout.strip().endswith("code"), done.stderr
    planted = bytecode(store, tmp_path / "mark")
    try:
        done = run(tmp_path / "bad", script)
    finally:
        planted.unlink()
        planted.parent.rmdir()
    assert done.returncode == 1 and f"code/__pycache__/{planted.name}" in done.stderr
    assert not (tmp_path / "mark").exists()


def test_a_version_without_a_seal_forecasts_and_is_champion_only_where_one_says_so(
    store: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As an earlier lagline registered it.  What can be said of it is looked at all the same."""
    home = next(above for above in store.parents if (above / "bundle").exists())
    first = needed(NAME, CHALLENGER)
    model, _ = log_bundle(home / "bundle", str(first.run_id))
    tags = {"manifest": first.tags["manifest"]}
    connection.client().create_model_version(NAME, f"models:/{model}", first.run_id, tags=tags, model_id=model)
    (root,) = (home / "artifacts").rglob(f"{model}/artifacts")
    monkeypatch.setattr(promotion, "judge", lambda *_: ((GateResult("skill", True, "fixed"),), None))
    with pytest.raises(UserError, match=r"seal\.json is there, and the tag 'seal' .* is gone"), opened(needed(NAME, "2")):
        pass
    (root / "seal.json").unlink()
    capsys.readouterr()
    with opened(needed(NAME, "2")) as version:
        assert version.model.facts and not version.sealed
    told = f"{NAME} version 2 was registered by a lagline that put no seal on what MLflow reads of it"
    assert capsys.readouterr().err.count(told) == 1
    with pytest.raises(UserError, match=f"^{told}: --unsealed takes it as it is"):
        promotion.promote(NAME, home, "cpu", PromoteOptions(version="2"))
    assert alias.holder(NAME) is None and ledger.entries(NAME) == []
    promotion.promote(NAME, home, "cpu", PromoteOptions(version="2", unsealed=True))
    promotion.promote(NAME, home, "cpu", PromoteOptions(version="1"))  # a champion without a seal is judged against
    with pytest.raises(UserError, match=told):
        alias.roll_back(NAME, home)
    mlmodel = (root / "MLmodel").read_text()
    (root / "code/more").mkdir()
    harms = {
        "MLmodel": (mlmodel.replace("loader_module: lagline", "loader_module: evil"), mlmodel[:40], "", "a: [", "- 1"),
        "code/evil.py": ("raise SystemExit",),
        "code/more/__init__.py": ("raise SystemExit",),
    }
    for file, texts in harms.items():
        for text in texts:
            (root / file).write_text(text)
            with pytest.raises(UserError, match=f"is damaged and is not used: {file} (does not say|is not the file)"):
                alias.roll_back(NAME, home, unsealed=True)
        (root / file).unlink()
    (root / "MLmodel").write_text(mlmodel)
    (root / "data/up").symlink_to("..")
    with pytest.raises(UserError, match="data/up is not a plain file"):
        alias.roll_back(NAME, home, unsealed=True)
    (root / "data/up").unlink()
    assert alias.holder(NAME) == "1"
    assert alias.roll_back(NAME, home, unsealed=True) == ("1", "2") and alias.holder(NAME) == "2"
    assert ledger.entries(NAME)[-1].why == "version 2 is champion again, after 1, without a seal (--unsealed)"
