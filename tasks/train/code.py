"""The code that decides what a fit or a comparison is: the files below models/ that are imported, as one hash."""

import ast
import hashlib
import threading
from collections.abc import Collection, Iterator
from functools import cache
from pathlib import Path

from tasks.files import ROOT

CODE_RULE = 2  # how `code` is taken: 1 (up to lagline 0.1) hashed every file of models, tasks and params
# where the code that trains, the code that forecasts, and the code of a baseline begins
FIT, WORKER, SERVING = "models/fit/job.py", "models/worker.py", "models/serving.py"
GREEDY = "models/fit/greedy.py"  # the code that learns the weights of an ensemble, with all that it combines by
_PARSING = threading.Lock()  # Python 3.11 counts the depth of all threads' trees as one, and breaks where two parse at once
JUDGING = ("tasks/evaluate", "tasks/calibrate", "tasks/compare")  # what makes scores of forecasts


@cache
def code_digest(root: Path = ROOT, start: str = FIT) -> str:
    """sha256 over the names and contents of the file `start` below models/ and of every file there that it imports."""
    return _digest(root, imported_by(root, start))


@cache
def judging_digest(root: Path = ROOT) -> str:
    """The same of what judges trained weights: the code that forecasts with them and the code that scores the forecasts."""
    return _digest(root, {*imported_by(root, WORKER), *(path for folder in JUDGING for path in (root / folder).rglob("*.py"))})


def _digest(root: Path, paths: Collection[Path]) -> str:
    digest = hashlib.sha256()
    for path in sorted(paths):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(root).as_posix()}|{len(content)}|".encode() + content)
    return digest.hexdigest()


@cache
def imported_by(root: Path, start: str) -> frozenset[Path]:
    """The files below models/ that a file there imports, itself and the packages on the way included, at any depth."""
    found: set[Path] = set()
    todo = [root / start]
    while todo:
        path = todo.pop()
        if path not in found:
            found.add(path)
            todo += [file for name in _modules(path) for file in _files(root, name)]
    return frozenset(found)


def _modules(path: Path) -> Iterator[str]:
    """Every module of models/ that a file may import, imports inside functions included."""
    with _PARSING:
        tree = ast.parse(path.read_bytes())
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] == "models")
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "models":
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _files(root: Path, module: str) -> Iterator[Path]:
    """The files that importing a dotted name runs: the packages on the way, and the module where there is one."""
    parts = module.split(".")
    for count in range(1, len(parts) + 1):
        base = root.joinpath(*parts[:count])
        yield from (path for path in (base / "__init__.py", base.with_suffix(".py")) if path.is_file())
