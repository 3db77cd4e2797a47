"""Keeps the rules of the house by reading the sources (`ast`), never by importing them: who imports what, and what a file looks like.

The rules are the tables below; `violations` is tried on planted sources before it judges ours.
"""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MOST_LINES = 400
OURS = ("flows", "tasks", "models", "params", "data", "benchmarks", "tests")

# folder -> our folders that it may import from (params also takes FROM_WINDOWS)
DIRECTION = {
    "flows": {"flows", "tasks", "models", "params"},
    "tasks": {"tasks", "models", "params"},
    "models": {"models"},
    "params": {"params"},
    "data": {"data"},
}
FROM_WINDOWS = {"WindowParams", "FeatureWindow", "CALENDAR", "Split"}
# what models/ may import besides the standard library; its serving.py goes out alone and imports nothing of ours
LIBRARIES_OF_MODELS = {"torch", "numpy"}
SERVING = "models/serving.py"
LIBRARIES_OF_SERVING = {"torch", "numpy", "pandas"}
# library -> the files and folders that are its home; tests/ and benchmarks/ are guests everywhere
HOMES = {
    "mlflow": ("tasks/tracking.py", "tasks/registry/"),
    "great_expectations": ("tasks/validate.py",),
    "prefect": ("flows/", "tasks/"),
    "polars": ("tasks/", "data/"),
    "statsforecast": ("tasks/comparison/baselines.py",),
    "utilsforecast": ("tasks/comparison/",),
}


def sources(root: Path) -> Iterator[tuple[str, str]]:
    """Every Python file below `root` as (path with slashes, text); hidden folders and builds are left out."""
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root).parts
        if not any(part.startswith(".") or part in ("build", "__pycache__") for part in parts):
            yield "/".join(parts), path.read_text(encoding="utf-8")


def imports(tree: ast.Module, file: str) -> Iterator[tuple[int, str, str | None]]:
    """Every import at any depth as (line, module, name or None), relative ones made absolute, `import_module("x")` included."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name, None
        elif isinstance(node, ast.ImportFrom):
            base = file.split("/")[: -node.level] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            for alias in node.names:
                yield node.lineno, module, alias.name
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if called in ("import_module", "__import__") and isinstance(node.args[0].value, str):
                yield node.lineno, node.args[0].value, None


def import_faults(file: str, line: int, module: str, name: str | None) -> Iterator[str]:
    """What is wrong with one import."""
    here, top = file.split("/")[0], module.split(".")[0]
    where = f"{file}:{line}"
    if top in OURS and here in DIRECTION and (top not in DIRECTION[here] or file == SERVING):
        if not (here == "params" and module == "models.windows" and name in FROM_WINDOWS):
            yield f"{where}: {here} must not import {module}" + (f".{name}" if name else "")
    if here == "models" and top not in OURS and top not in sys.stdlib_module_names:
        if top not in (LIBRARIES_OF_SERVING if file == SERVING else LIBRARIES_OF_MODELS):
            yield f"{where}: models must not import {top}"
    if here in DIRECTION and top in HOMES and not any(file == home or file.startswith(home) for home in homes_ending(top)):
        yield f"{where}: {top} lives in {' and '.join(HOMES[top])} alone"


def homes_ending(library: str) -> tuple[str, ...]:
    """The homes of a library; only those written with a slash at the end take whole folders."""
    return HOMES[library]


def violations(root: Path) -> list[str]:
    """Every breach of the rules below `root`, as `file:line: what is wrong`."""
    found = []
    for file, text in sources(root):
        tree = ast.parse(text, file)
        if file.endswith("/utils.py") or file == "utils.py":
            found.append(f"{file}: no utils.py; name a file after what it does")
        if ast.get_docstring(tree) is None:
            found.append(f"{file}:1: begins without a docstring")
        lines = text.count("\n")
        if lines > MOST_LINES:
            found.append(f"{file}: {lines} lines, more than {MOST_LINES}")
        for line, module, name in imports(tree, file):
            found.extend(import_faults(file, line, module, name))
    return found
