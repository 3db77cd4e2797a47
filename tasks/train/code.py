"""Digests of the code that determines a fit or a comparison: a file below models/ and its imports."""

import ast
import hashlib
import threading
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from tasks.files import ROOT

CODE_RULE = 2  # version of `code`: 1 (up to lagline 0.1) hashed every file of models, tasks and params
# entry points of the code that trains, that forecasts, and of a baseline
FIT, WORKER, SERVING = "models/fit/job.py", "models/worker.py", "models/serving.py"
GREEDY = "models/fit/greedy.py"  # learns the weights of an ensemble; imports all that it combines with
_PARSING = threading.Lock()  # Python 3.11 counts parsing depth across threads: two at once fail
JUDGING = ("tasks/evaluate", "tasks/calibrate", "tasks/compare")  # turn forecasts into scores


@cache
def code_digest(root: Path = ROOT, start: str = FIT) -> str:
    """sha256 over names and contents of the file `start` below models/ and of all that it imports there."""
    return _digest(root, imported_by(root, start))


@cache
def judging_digest(root: Path = ROOT) -> str:
    """The same for judging: the code that forecasts with trained weights and that scores forecasts."""
    return _digest(root, {*imported_by(root, WORKER), *(path for folder in JUDGING for path in (root / folder).rglob("*.py"))})


def _digest(root: Path, paths: Collection[Path]) -> str:
    digest = hashlib.sha256()
    for path in sorted(paths):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(root).as_posix()}|{len(content)}|".encode() + content)
    return digest.hexdigest()


@cache
def imported_by(root: Path, start: str) -> frozenset[Path]:
    """The files below models/ that `start` imports, at any depth, itself and packages included."""
    return Sources(root, lambda top: top == "models").of(root / start)


@dataclass(frozen=True)
class Sources:
    """Which files below a root a file imports.  `ours`: whether those of a top-level module are followed;
    `others`: the other top-level modules that were met, in files followed so far."""

    root: Path
    ours: Callable[[str], bool]
    others: set[str] = field(default_factory=set)

    def of(self, *starts: Path) -> frozenset[Path]:
        """All of them, at any depth, `starts` and packages included.  Raises SyntaxError naming the file."""
        files: set[Path] = set()
        todo = [*starts]
        while todo:
            path = todo.pop()
            if path not in files:
                files.add(path)
                todo += [file for name in self._followed(path) for file in run_by(self.root, name)]
        return frozenset(files)

    def _followed(self, path: Path) -> Iterator[str]:
        """The modules of a file that are followed; the others are noted."""
        for name in _modules(path, self.root):
            top = name.split(".")[0]
            if self.ours(top):
                yield name
            else:
                self.others.add(top)


def _modules(path: Path, root: Path) -> Iterator[str]:
    """Every module that a file may import, also inside functions; a name imported from one may be a module."""
    with _PARSING:
        tree = ast.parse(path.read_bytes(), str(path))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = path.relative_to(root).parts[: -node.level] if node.level else ()
            module = ".".join([*above, *([node.module] if node.module else [])])
            yield from (f"{module}.{alias.name}" for alias in node.names if module)


def run_by(root: Path, module: str) -> Iterator[Path]:
    """The files run by importing a dotted name: the packages on the way, and the module if there is one."""
    parts = module.split(".")
    for count in range(1, len(parts) + 1):
        base = root.joinpath(*parts[:count])
        yield from (path for path in (base / "__init__.py", base.with_suffix(".py")) if path.is_file())
