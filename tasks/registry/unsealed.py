"""Checks of a version without a seal: it consists of plain files, and MLflow would run its bundle's code."""

from pathlib import Path

import yaml

from tasks.registry.seal import MOST_FILES, SEAL, TAG, Broken, Listing

LONGEST_MLMODEL = 2**20


def check_plain(listing: Listing) -> None:
    """Raises Broken if a folder holds a link, a seal whose tag is gone, or too many files."""
    todo, count = [""], 0
    while todo:
        for entry in listing(todo.pop()):
            count += 1
            if entry.path == SEAL:
                raise Broken(f"{SEAL} is there, and the tag {TAG!r} of the version, which belongs to it, is gone")
            if count > MOST_FILES:
                raise Broken(f"it has more than {MOST_FILES} files, which no version has")
            if entry.folder:
                todo.append(entry.path)
            elif entry.bytes is None:
                raise Broken(f"{entry.path} is not a plain file")


def check_served(root: Path, bundle: Path, servable: bool) -> None:
    """The code next to the bundle must be the bundle's own; `servable`: it exists and is what MLflow runs.

    Whoever loads a version in place leaves bytecode there, which we never use.  Raises Broken.
    """
    bundled = {path.name: path.read_bytes() for path in (bundle / "code").iterdir()}
    beside = [path for path in sorted((root / "code").rglob("*")) if path.parent.relative_to(root) != Path("code/__pycache__")]
    for path in (path for path in beside if path.is_file()):
        name = path.relative_to(root).as_posix()
        if name != f"code/{path.name}" or bundled.get(path.name) != path.read_bytes():
            raise Broken(f"{name} is not the file that was registered")
    if servable:
        for name in ("MLmodel", *(f"code/{name}" for name in sorted(bundled))):
            if not (root / name).is_file():
                raise Broken(f"{name} is missing")
        _check_mlmodel(root, bundle, next(iter(bundled), ""))


def _check_mlmodel(root: Path, bundle: Path, code: str) -> None:
    """What MLflow is told to run must be the bundle's code, on the bundle."""
    path = root / "MLmodel"
    wanted = {"loader_module": Path(code).stem, "code": "code", "data": bundle.relative_to(root).as_posix()}
    try:
        flavors = yaml.safe_load(path.read_bytes() if path.stat().st_size <= LONGEST_MLMODEL else b"")["flavors"]
        configured = {name: flavors["python_function"].get(name) for name in wanted}
        right = configured == wanted and list(flavors) == ["python_function"]
    except (yaml.YAMLError, LookupError, TypeError, AttributeError, ValueError, RecursionError):
        right = False
    if not right:
        raise Broken("MLmodel does not say what was registered: that MLflow runs the code of the bundle")
