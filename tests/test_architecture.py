"""Keeps the rules of the house by reading the sources (`ast`): who imports what, what a file looks like; never imports them.

The rules are the tables below; `violations` is tried on planted sources before it judges ours.
"""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tree import write_tree

ROOT = Path(__file__).resolve().parent.parent
MOST_LINES = 400
LONGER = {"models/serving.py": 1650}  # it travels alone in every bundle, and so holds all that it needs
OURS = ("flows", "tasks", "models", "params", "data", "benchmarks", "tests")

# folder -> our folders that it may import from (params also takes models.data.window, which needs no torch)
DIRECTION = {
    "flows": {"flows", "tasks", "models", "params"},
    "tasks": {"tasks", "models", "params"},
    "models": {"models"},
    "params": {"params"},
    "data": {"data"},
}
# what models/ may import besides the standard library; its serving.py goes out alone and imports nothing of ours
LIBRARIES_OF_MODELS = {"torch", "numpy"}
SERVING = "models/serving.py"
# starlette: of the server of MLflow, where that has loaded it; statsforecast: for versions that need Theta or AutoETS
LIBRARIES_OF_SERVING = {"torch", "numpy", "pandas", "starlette", "statsforecast"}
# library -> the files and folders that are its home; tests/ and benchmarks/ are guests everywhere
HOMES = {
    "mlflow": ("tasks/tracking/", "tasks/registry/", "tasks/promote/", "tasks/prune.py"),
    "great_expectations": ("tasks/validate/",),
    "prefect": ("flows/", "tasks/"),
    "polars": ("tasks/", "data/"),
    "ray": ("tasks/engine/ray.py",),
    "optuna": ("tasks/tune/",),
    "captum": ("tasks/evaluate/gradients.py",),
    "jinja2": ("tasks/pages.py",),
    "markupsafe": ("tasks/pages.py",),
    "sqlalchemy": ("tasks/load/database.py", "tasks/tune/store.py"),
    "scipy": ("tasks/compare/significance.py", "tasks/serve/drift.py"),
    "statsforecast": ("models/serving.py",),
    "utilsforecast": (),
}


# rooms of tasks/ in the order of the flow: each imports only what stands before it
ROOMS = (
    *("names", "files", "locks", "interrupt", "pages", "tracking", "grid", "load", "explore", "validate", "lags", "shelf"),
    *("engine", "train", "evaluate", "calibrate", "compare", "tune", "report", "registry", "promote", "serve", "prune"),
)
# the files that may hold a @task: the step that a flow calls
MARKED = {
    *("tasks/load/source.py", "tasks/validate/suite.py", "tasks/lags/panel.py", "tasks/train/fits.py"),
    *("tasks/evaluate/forecasts.py", "tasks/evaluate/canary.py", "tasks/tune/study.py", "tasks/report/publish.py"),
    *("tasks/registry/register.py", "tasks/promote/decision.py", "tasks/serve/realised.py"),
    "tasks/serve/watched.py",
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
    foreign = top in OURS and here in DIRECTION and (top not in DIRECTION[here] or file == SERVING)
    if foreign and not (here == "params" and module == "models.data.window"):
        yield f"{where}: {here} must not import {module}" + (f".{name}" if name else "")
    allowed = LIBRARIES_OF_SERVING if file == SERVING else LIBRARIES_OF_MODELS
    if here == "models" and top not in OURS and top not in sys.stdlib_module_names and top not in allowed:
        yield f"{where}: models must not import {top}"
    if here in DIRECTION and top in HOMES and not any(file == home or file.startswith(home) for home in HOMES[top]):
        yield f"{where}: {top} lives in {' and '.join(HOMES[top])} alone"


def room_faults(file: str, line: int, module: str, name: str | None) -> Iterator[str]:
    """An import of a room of tasks/ that comes later in the flow."""
    parts = f"{module}.{name}".split(".") if module == "tasks" and name else module.split(".")
    if not file.startswith("tasks/") or parts[0] != "tasks" or len(parts) < 2:
        return
    here, there = file.removesuffix(".py").split("/")[1], parts[1]
    if here not in ROOMS and here != "__init__":
        yield f"{file}: tasks/{here} is no room of the flow"
    elif here != there and there in ROOMS and ROOMS.index(there) > ROOMS.index(here):
        yield f"{file}:{line}: {here} must not import {there}, which comes after it"


def is_task(decorator: ast.expr) -> bool:
    """Whether a decorator is Prefect's `task` or `prefect.task`, called or not."""
    called = decorator.func if isinstance(decorator, ast.Call) else decorator
    return (called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")) == "task"


def task_faults(file: str, tree: ast.Module) -> Iterator[str]:
    """A @task in a file that is not marked as the step of its room."""
    for node in ast.walk(tree):
        marked = file in MARKED or file.startswith(("flows/", "tests/", "benchmarks/"))
        if not marked and isinstance(node, ast.FunctionDef) and any(map(is_task, node.decorator_list)):
            yield f"{file}:{node.lineno}: {node.name} is a @task, which stands in the marked file of its room"


def discretion_faults(file: str, tree: ast.Module) -> Iterator[str]:
    """A flow or a task whose errors, which Prefect keeps, are not cleaned of secrets."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and file.startswith(("flows/", "tasks/")):
            names = [ast.unparse(one.func if isinstance(one, ast.Call) else one).split(".")[-1] for one in node.decorator_list]
            if {"flow", "task"} & set(names) and names[-1:] != ["discreet"]:
                yield f"{file}:{node.lineno}: {node.name} is a flow or a task and not @discreet"


def mirror_faults(root: Path, file: str, tree: ast.Module) -> Iterator[str]:
    """A test file that has no source file at its place and names none in the first line of its docstring."""
    parts = file.split("/")
    if parts[0] != "tests" or not parts[-1].startswith("test_") or len(parts) == 2:
        return
    mirrored = "/".join([*parts[1:-1], parts[-1].removeprefix("test_")])
    first = (ast.get_docstring(tree) or "").split("\n")[0]
    if not any((root / path).is_file() for path in (mirrored, *re.findall(r"[\w/]+\.\w+", first))):
        yield f"{file}:1: there is no {mirrored}; the first line says which file is tested, such as tasks/load/files.py"


def imported_files(file: str, tree: ast.Module, known: set[str]) -> set[str]:
    """The files of ours that a file imports, at any depth; a package stands for its own __init__.py."""
    found = set()
    for _, module, name in imports(tree, file):
        for dotted in (module, f"{module}.{name}"):
            path = dotted.replace(".", "/")
            found |= {one for one in (f"{path}.py", f"{path}/__init__.py") if one in known}
    return found - {file}


def circles(root: Path) -> list[str]:
    """Every group of files that import each other, hidden imports inside functions included."""
    texts = {file: text for file, text in sources(root) if file.split("/")[0] in DIRECTION}
    edges = {file: imported_files(file, ast.parse(text), set(texts)) for file, text in texts.items()}

    def reached(start: str) -> set[str]:
        seen: set[str] = set()
        todo = [start]
        while todo:
            for other in edges[todo.pop()] - seen:
                seen.add(other)
                todo.append(other)
        return seen

    reach = {file: reached(file) for file in texts}
    groups = {tuple(sorted(other for other in reach[file] if file in reach[other])) for file in texts if file in reach[file]}
    return [f"a circle of imports: {', '.join(group)}" for group in sorted(groups)]


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
        most = LONGER.get(file, MOST_LINES)
        if lines > most:
            found.append(f"{file}: {lines} lines, more than {most}")
        for line, module, name in imports(tree, file):
            found.extend(import_faults(file, line, module, name))
            found.extend(room_faults(file, line, module, name))
        found.extend(task_faults(file, tree))
        found.extend(discretion_faults(file, tree))
        found.extend(mirror_faults(root, file, tree))
    return found + circles(root)


def test_the_house_keeps_its_rules() -> None:
    assert violations(ROOT) == []
    assert len(list(sources(ROOT))) > 50


PLANTED = [
    ("models/a.py", "from tasks import lags", "must not import tasks"),
    ("models/a.py", "import pandas", "models must not import pandas"),
    ("models/serving.py", "from models.data.windows import Panel", "must not import models.data.windows"),
    ("tasks/load/a.py", "from flows.compare import compare", "must not import flows"),
    ("tasks/load/a.py", "import mlflow.pyfunc", "mlflow lives in"),
    ("tasks/load/a.py", "def f():\n    import great_expectations as gx", "great_expectations lives in"),
    ("tasks/compare/a.py", "from statsforecast.models import Theta", "statsforecast lives in"),
    ("flows/a.py", "import polars as pl", "polars lives in"),
    ("tasks/engine/a.py", "def f():\n    import ray", "ray lives in"),
    ("params/a.py", "from models.data.windows import Windows", "must not import models.data.windows.Windows"),
    ("params/a.py", "from models import FAMILIES", "must not import models"),
    ("params/a.py", "import importlib\nimportlib.import_module('tasks.load')", "must not import tasks.load"),
    ("tasks/utils.py", "", "no utils.py"),
    ("tasks/load/a.py", "\n" * 401, "402 lines"),
    ("tasks/load/a.py", "from tasks.train.fits import train_variant", "load must not import train"),
    ("tasks/load/a.py", "def f():\n    from tasks import registry", "load must not import registry"),
    ("tasks/attic/a.py", "from tasks import files", "no room of the flow"),
    ("tasks/compare/a.py", "from prefect import task\n@task(name='x')\n@discreet\ndef f():\n    pass", "f is a @task"),
    ("flows/a.py", "from prefect import flow\n@flow\ndef f():\n    pass", "f is a flow or a task and not @discreet"),
]


@pytest.mark.parametrize(("file", "text", "told"), PLANTED)
def test_a_planted_breach_is_found(tmp_path: Path, file: str, text: str, told: str) -> None:
    write_tree(tmp_path, {file: f'"""A file."""\n{text}'})
    (found,) = violations(tmp_path)
    assert told in found
    assert found.startswith(file)


def test_a_circle_is_found_also_where_a_function_hides_it(tmp_path: Path) -> None:
    texts = {"a": "from models import b", "b": "def f():\n    import models.c", "c": "from models.a import x"}
    write_tree(tmp_path, {f"models/{name}.py": f'"""A file."""\n{text}' for name, text in texts.items()})
    assert circles(tmp_path) == ["a circle of imports: models/a.py, models/b.py, models/c.py"]


def test_a_test_file_mirrors_a_source_file_or_names_one(tmp_path: Path) -> None:
    first_lines = {
        "tasks/load/a.py": "A file.",
        "tests/tasks/load/test_a.py": "At its place.",
        "tests/tasks/load/test_b.py": "Names it (tasks/load/a.py).",
        "tests/tasks/load/test_c.py": "Names another (tasks/load/c.py).",
        "tests/test_all.py": "Of no file alone.",
    }
    write_tree(tmp_path, {file: f'"""{line}"""\n' for file, line in first_lines.items()})
    (found,) = violations(tmp_path)
    assert found.startswith("tests/tasks/load/test_c.py:1: there is no tasks/load/c.py")


ALLOWED = [
    ("params/a.py", "from models.data.window import WindowParams, FeatureWindow"),
    ("tasks/tracking/a.py", "import mlflow\nimport polars"),
    ("tasks/registry/a.py", "import mlflow"),
    ("models/serving.py", "import pandas, torch, json"),
    ("flows/a.py", "import prefect\nfrom tasks import lags"),
    ("tests/a.py", "import mlflow, polars, statsforecast"),
]


@pytest.mark.parametrize(("file", "text"), ALLOWED)
def test_what_is_allowed_is_no_breach(tmp_path: Path, file: str, text: str) -> None:
    write_tree(tmp_path, {file: f'"""A file."""\n{text}'})
    assert violations(tmp_path) == []


def test_a_file_without_a_docstring_is_found(tmp_path: Path) -> None:
    write_tree(tmp_path, {"tasks/files.py": "import json\n"})
    assert violations(tmp_path) == ["tasks/files.py:1: begins without a docstring"]


def test_help_imports_nothing_heavy() -> None:
    code = "import sys; sys.argv[1:] = ['--help']; import runpy; runpy.run_module('flows', run_name='__main__')"
    code = f"import atexit, sys; atexit.register(lambda: print('MODULES', *sys.modules)); {code}"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    modules = done.stdout.split("MODULES ")[1].split()
    assert done.returncode == 0
    assert "typer" in modules
    assert {"torch", "mlflow", "prefect", "polars", "numpy"} & set(modules) == set()


def test_no_file_names_a_private_path_or_an_index_or_holds_half_a_merge() -> None:
    index = r"--(extra-)?index-url (?!https://download\.pytorch\.org/whl/cpu)|files\.pythonhosted|pypi\.org/simple"
    private = re.compile(rf"(?<![\w.])/(work|root|opt|home/\w+)/|{index}|^(<<<<<<<|>>>>>>>) ", re.MULTILINE)
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True).stdout.split("\n")
    texts = [ROOT / name for name in tracked if name and not name.endswith((".parquet", ".png", ".xz"))]
    assert len(texts) > 50
    own = Path(__file__).resolve()
    found = [str(path) for path in texts if path.is_file() and path != own and private.search(path.read_text(encoding="utf-8"))]
    assert found == []
