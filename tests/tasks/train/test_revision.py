"""What git says of the code that ran: which files count, what committing is enough for, and a git that does not answer."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tasks.files import ROOT
from tasks.train import revision as room
from tasks.train.code import CODE_RULE, FIT, code_digest, imported_by
from tasks.train.revision import Revision, revision_of, standing

Git = Callable[..., str]
LOOP = "models/fit/loop.py"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout of models/ with a commit."""
    folder = tmp_path / "a checkout"
    shutil.copytree(ROOT / "models", folder / "models", ignore=shutil.ignore_patterns("__pycache__"))
    git(folder, "init", "-q")
    commit(folder)
    return folder


def git(folder: Path, *arguments: str) -> str:
    who = ("-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false")
    return subprocess.run(["git", *who, *arguments], cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


def commit(folder: Path) -> str:
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "x")
    return git(folder, "rev-parse", "HEAD")


def found(folder: Path) -> Revision:
    return revision_of(imported_by(folder, FIT), folder)


def recorded(folder: Path) -> dict[str, object]:
    """As a fingerprint says it."""
    stands = found(folder)
    code_digest.cache_clear()
    code = code_digest(folder)
    code_digest.cache_clear()
    clean = stands.commit is not None and not stands.changed
    return {"revision": stands.commit, "clean": clean, "changed": stands.changed, "code": code, "code_rule": CODE_RULE}


def change(folder: Path, name: str, text: str = "# a comment\n") -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text((path.read_text() if path.exists() else "") + text)


@pytest.mark.parametrize(
    "name", ["sales.yaml", "sales.csv", "params/own.yaml", "params/variants/own.yaml", "docs/x.md", "models/networks/unused.py"]
)
def test_params_data_and_what_nothing_imports_is_no_changed_code(checkout: Path, name: str) -> None:
    change(checkout, name)
    assert found(checkout) == Revision(git(checkout, "rev-parse", "HEAD"))


def test_what_differs_is_named_and_a_commit_is_enough_also_when_it_is_not_the_last(checkout: Path) -> None:
    first = git(checkout, "rev-parse", "HEAD")
    change(checkout, LOOP)
    git(checkout, "update-index", "--assume-unchanged", LOOP)  # hides it from `git status`
    before = recorded(checkout)
    assert (before["revision"], before["clean"], list(before["changed"])) == (first, False, [LOOP])  # type: ignore[call-overload]
    refused = standing(before, checkout)
    assert not refused.kept and f"with {LOOP} changed, and no commit holds it" in refused.words
    assert refused.way == f"git add {LOOP} && git commit -m 'The code that trained it'"
    git(checkout, "update-index", "--no-assume-unchanged", LOOP)
    commit(checkout)
    assert standing(before, checkout).words == f"trained by revision {first[:12]} with {LOOP}, committed since"
    change(checkout, LOOP, "# another\n")
    commit(checkout)
    assert standing(before, checkout).kept


def test_code_that_was_changed_again_says_that_it_is_not_there_any_more(checkout: Path) -> None:
    change(checkout, LOOP)
    before = recorded(checkout)
    change(checkout, LOOP, "# another\n")
    told = standing(before, checkout)
    assert not told.kept and f"({LOOP} is another now)" in told.words and "compare again" in told.way


def test_an_earlier_laglines_record_and_one_without_a_revision_are_judged_by_the_code_that_trained(checkout: Path) -> None:
    now = recorded(checkout)
    head = str(now["revision"])[:12]
    old = {name: value for name, value in now.items() if name != "changed"} | {"clean": False}
    assert standing(old, checkout).words.endswith(f"revision {head} has the code that trained it")
    none = old | {"revision": None}
    assert standing(none, checkout).kept
    other = none | {"code": "0" * 64}
    assert not standing(other, checkout).kept and "has other code" in standing(other, checkout).words
    assert not standing(none | {"code_rule": 1}, checkout).kept
    assert standing(old | {"revision": "--output=x"}, checkout).kept and not (checkout / "x").exists()  # data, never an option


def test_no_revision_is_never_changed_files(checkout: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    before = recorded(checkout)

    def none(*words: str, way: str) -> None:
        stands, told = found(checkout), standing(before | {"revision": None, "clean": False}, checkout)
        assert (stands.commit, stands.changed) == (None, {})
        assert told.words.startswith("trained by no revision") and "changed" not in told.words and way in told.way
        for word in words:
            assert word in stands.why and word in told.words

    with monkeypatch.context() as patch:
        patch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
        patch.setattr(os, "geteuid", lambda: os.getuid() + 1)
        none("dubious ownership", way="git config --global --add safe.directory")
    with monkeypatch.context() as patch:
        patch.setenv("PATH", str(tmp_path / "empty"))
        none("git is not installed here", way="install git")
    with monkeypatch.context() as patch:
        (tmp_path / "bin").mkdir()
        (tmp_path / "bin" / "git").write_text("#!/bin/sh\nsleep 60\n")
        (tmp_path / "bin" / "git").chmod(0o700)
        patch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
        patch.setattr(room, "SECONDS", 0.5)
        none("git does not answer", way="")
    (checkout / ".git" / "HEAD").write_bytes(b"\0\xff")
    none("git says: ", way="status")
    shutil.rmtree(checkout / ".git")
    none("not a git repository", way="git init && git add flows tasks models params && git commit")


def test_a_checkout_inside_somebodys_repository_has_no_revision(checkout: Path) -> None:
    shutil.rmtree(checkout / ".git")
    outer = checkout.parent
    git(outer, "init", "-q")
    (outer / ".gitignore").write_text(f"{checkout.name}/\n")
    commit(outer)
    assert found(checkout) == Revision(None, why="git does not keep this checkout's code")


def test_another_repositorys_hook_is_not_believed(checkout: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    git(other, "init", "-q")
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(other / ".git" / "index"))
    assert found(checkout).commit
