"""The git revision of this checkout, and the running code files that it does not hold.

Only code that was loaded counts: run files, data and modules that nothing imported are not changed code.  If
git is missing, refuses or does not answer, there is no revision, rather than a changed one.
"""

import os
import re
import shlex
import signal
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

from tasks.files import ROOT
from tasks.train.code import CODE_RULE, code_digest

CODE = ("flows", "tasks", "models", "params")
SECONDS = 10.0  # for git: a repository on an unreachable disk must not hold a run up
# set by git in hooks, for the repository that the hook belongs to
OF_ANOTHER = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_COMMON_DIR", "GIT_OBJECT_DIRECTORY")
ID = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")
SHOWN = 5  # files named in a message


class NoRevision(Exception):
    """Why git names no revision of this checkout; `way`: a command that helps."""

    def __init__(self, why: str, way: str = "") -> None:
        super().__init__(why)
        self.way = way


@dataclass(frozen=True)
class Revision:
    """The `commit` of this checkout, and the loaded code files not in it: path -> git's id of the content.

    `why`: the reason if there is no commit.
    """

    commit: str | None
    changed: Mapping[str, str] = field(default_factory=dict)
    why: str = ""


def revision_of(files: Iterable[Path], root: Path = ROOT) -> Revision:
    """The revision of the checkout at `root`, compared with `files` and all loaded modules of it."""
    try:
        commit = _commit(root)
        held = _files_in(commit, root)
        ran = sorted(path.relative_to(root).as_posix() for path in {*files, *_loaded(root)})
        if not held.keys() & set(ran):  # a checkout without .git, inside somebody's repository
            raise NoRevision("git does not keep this checkout's code", _start(root))
        ids = _git(root, "hash-object", "--stdin-paths", given="\n".join(ran)).split()
        return Revision(commit, {path: blob_id for path, blob_id in zip(ran, ids, strict=True) if held.get(path) != blob_id})
    except NoRevision as error:
        return Revision(None, why=str(error))


def _loaded(root: Path) -> set[Path]:
    """Every code file below `root` that this process has imported."""
    some = [module for name, module in list(sys.modules.items()) if name.split(".")[0] in (*CODE, "__main__")]
    paths = {Path(file) for module in some if (file := vars(module).get("__file__"))}
    return {path for path in paths if any(path.is_relative_to(root / folder) for folder in CODE) and path.is_file()}


def _commit(root: Path) -> str:
    return _git(root, "rev-parse", "--verify", "HEAD").strip()


def _files_in(commit: str, root: Path) -> dict[str, str]:
    """The code files in a revision: path -> git's id of the content."""
    lines = _git(root, "ls-tree", "-r", "-z", commit, "--", *CODE).split("\0")
    return {path: about.split()[2] for about, _, path in (line.partition("\t") for line in lines if line)}


@dataclass(frozen=True)
class Standing:
    """Whether a revision holds the code that trained something: in `words`; if not, what to type (`way`)."""

    kept: bool
    words: str
    way: str = ""


def standing(recorded: Mapping[str, object], root: Path = ROOT) -> Standing:
    """Whether the code of a fingerprint is in a revision of this checkout: that of the time, or a later one.

    Compares contents of files, so that nothing needs retraining after a commit.
    """
    commit = recorded.get("revision")
    commit = commit if isinstance(commit, str) and ID.fullmatch(commit) else None
    origin = f"trained by revision {commit[:12]}" if commit else "trained by no revision"
    if commit and recorded.get("clean"):
        return Standing(True, origin)
    changed = recorded.get("changed")
    try:
        if commit and isinstance(changed, Mapping):
            return _committed(origin, {str(path): str(blob_id) for path, blob_id in changed.items()}, root)
        return _by_digest(origin, recorded, commit, root)
    except NoRevision as error:
        return Standing(False, f"{origin}: {error}", error.way)


def _committed(origin: str, changed: Mapping[str, str], root: Path) -> Standing:
    """Whether every file that was changed then has since been committed as it was."""
    missing = [path for path, blob_id in changed.items() if not _in_history(path, blob_id, root)]
    if not missing:
        return Standing(True, f"{origin} with {named(changed)}, committed since")
    words = f"{origin} with {named(missing)} changed, and no commit holds {'it' if len(missing) == 1 else 'them'}"
    other = [path for path in missing if _current_id(path, root) != changed[path]]
    if other:
        return Standing(False, f"{words} as then ({named(other)} is another now)", "commit what is there, and compare again")
    return Standing(False, words, commit_these(missing))


def _in_history(path: str, blob_id: str, root: Path) -> bool:
    commit = ID.fullmatch(blob_id) and _git(root, "log", "--all", "-1", "--format=%H", f"--find-object={blob_id}", "--", path)
    return bool(commit)


def _current_id(path: str, root: Path) -> str:
    """git's id of a file as it is now; empty if it is gone."""
    return _git(root, "hash-object", "--", path).strip() if (root / path).is_file() else ""


def _by_digest(origin: str, recorded: Mapping[str, object], commit: str | None, root: Path) -> Standing:
    """Without a list of changed files: whether a revision holds the code that the fit imports."""
    now = _commit(root)
    if recorded.get("code_rule", 1) == CODE_RULE:
        for revision in dict.fromkeys(filter(None, (commit, now))):
            with tempfile.TemporaryDirectory() as scratch:
                if _unpacked(revision, Path(scratch), root) and code_digest(Path(scratch)) == recorded.get("code"):
                    return Standing(True, f"{origin}, and revision {revision[:12]} has the code that trained it")
    words = f"{origin} as it stood then, and revision {now[:12]} has other code than trained it"
    return Standing(False, words, "commit the code that trained it, or compare again")


def _unpacked(commit: str, folder: Path, root: Path) -> bool:
    """Extracts models/ of a revision into a folder; returns whether the revision exists here."""
    try:
        content = _run_git(root, "archive", "--format=tar", commit, "models")
    except NoRevision:
        return False
    with tarfile.open(fileobj=BytesIO(content)) as archive:
        archive.extractall(folder, filter="data")
    return True


def named(paths: Collection[str]) -> str:
    """Some files in words, shortened if there are many."""
    some = list(paths)
    return ", ".join(some[:SHOWN]) + (f" and {len(some) - SHOWN} more" if len(some) > SHOWN else "")


def commit_these(paths: Collection[str]) -> str:
    """The command that commits some files."""
    files = shlex.join(paths) if len(paths) <= SHOWN else " ".join(CODE)
    return f"git add {files} && git commit -m 'The code that trained it'"


def _start(root: Path) -> str:
    return f"cd {shlex.quote(str(root))} && git init && git add {' '.join(CODE)} && git commit -m 'The code'"


def _git(root: Path, *arguments: str, given: str = "") -> str:
    return _run_git(root, *arguments, given=given).decode("utf-8", "replace")


def _run_git(root: Path, *arguments: str, given: str = "") -> bytes:
    """git's output in a checkout.  Raises NoRevision if it fails; its child processes end with it."""
    ours = {name: value for name, value in os.environ.items() if name not in OF_ANOTHER}
    quiet = {"GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
    pipe = subprocess.PIPE
    try:
        process = subprocess.Popen(
            ["git", *arguments], cwd=root, env=ours | quiet, stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True
        )
    except FileNotFoundError:
        raise NoRevision("git is not installed here", "install git") from None
    except OSError as error:
        raise NoRevision(f"git cannot be run here ({error.strerror})") from None
    with process:
        try:
            output, errors = process.communicate(given.encode(), SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            raise NoRevision(f"git does not answer within {SECONDS:g} s") from None
    if process.returncode:
        first = next(iter(errors.decode("utf-8", "replace").splitlines()), f"exit status {process.returncode}")
        raise NoRevision(f"git says: {first[:200].removeprefix('fatal: ')}", _advice(root))
    return output


def _advice(root: Path) -> str:
    """The command that helps if git names no revision of a checkout."""
    inside = root / ".git"
    if not inside.exists():
        return _start(root)
    if inside.lstat().st_uid != os.geteuid() or root.stat().st_uid != os.geteuid():
        return f"git config --global --add safe.directory {shlex.quote(str(root))}"
    return f"git -C {shlex.quote(str(root))} status   (it says why)"
