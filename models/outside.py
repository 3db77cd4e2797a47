"""Code from outside this repository: imported only where it is named, and only as it was hashed.

A run file names it (`families: {mine: my_package.nets:MyNet}`), `tasks/train/outside.py` finds its files and
their hashes, and a job carries them.  Whatever names such code without saying where its files lie, such as a
version from a registry, cannot make anybody import it.
"""

import hashlib
import importlib.util
import inspect
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from importlib.metadata import packages_distributions
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from torch import nn

from models.networks.contract import ClosedForm, Network

SIZES = ("num_features", "lookback", "horizon")  # arguments that every network's constructor takes
_IMPORTING = threading.RLock()


class OutsideError(ValueError):
    """Code from outside that is not there, not as it was hashed, or not what it should be."""


@dataclass(frozen=True, kw_only=True)
class Outside:
    """An object of such code.  `target`: package.module:Name.  `files`: path below `root` -> sha256, of its
    module and of all that it imports there.  `libraries`: versions of the other libraries that these import.
    `root`: the folder they lie in, no part of an identity; empty where nobody has said it on this machine."""

    target: str
    files: Mapping[str, str]
    libraries: Mapping[str, str] = field(default_factory=dict)
    root: str = ""

    @property
    def module(self) -> str:
        """The module's dotted name."""
        return self.target.partition(":")[0]

    def facts(self) -> dict[str, Any]:
        """What determines results, JSON-ready: without the folder."""
        return {"files": dict(self.files), "libraries": dict(self.libraries)}

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready dict."""
        return asdict(self)


class _Verified(SourceFileLoader):
    """Runs a source file only if it still has its hash; never from compiled bytes that were kept."""

    def __init__(self, name: str, path: str, digest: str) -> None:
        super().__init__(name, path)
        self.digest = digest

    def get_code(self, fullname: str) -> CodeType:
        """The code of the file.  Raises OutsideError if it has changed."""
        content = Path(self.path).read_bytes()
        if hashlib.sha256(content).hexdigest() != self.digest:
            raise OutsideError(f"{self.path} has changed since this command began: start it again")
        code: CodeType = self.source_to_code(content, self.path)
        return code


class _Finder(MetaPathFinder):
    """Finds the modules of code from outside: those with a hash, and no others in their packages.

    While such code runs, it finds no others in its folder either, except those of installed libraries.
    """

    def __init__(self) -> None:
        self.roots: set[Path] = set()
        self.known: dict[str, tuple[Path, str]] = {}  # module -> its file or folder, and its hash (a folder: empty)

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        """The module's specification; None if it is none of these.  Raises ModuleNotFoundError without a hash."""
        if fullname in self.known:
            where, digest = self.known[fullname]
            if not digest:
                package = ModuleSpec(fullname, None, is_package=True)
                package.submodule_search_locations = [str(where)]
                return package
            folders = [str(where.parent)] if where.name == "__init__.py" else None
            loader = _Verified(fullname, str(where), digest)
            return importlib.util.spec_from_file_location(fullname, where, loader=loader, submodule_search_locations=folders)
        within = fullname.partition(".")[0] in self.known
        if not within and (path is not None or not self._runs()):
            return None
        spec = PathFinder.find_spec(fullname, path)
        if spec is not None and ((spec.origin or "").endswith(".py") if within else self._unhashed(spec)):
            raise ModuleNotFoundError(f"{fullname} is not hashed: import it by an import statement", name=fullname)
        return spec if within else None

    def _runs(self) -> bool:
        """Whether code from outside is running in this thread."""
        frame = inspect.currentframe()
        while frame is not None and frame.f_globals.get("__name__") not in self.known:
            frame = frame.f_back
        return frame is not None

    def _unhashed(self, spec: ModuleSpec) -> bool:
        """Whether a top-level module lies next to code from outside and belongs to no installed library."""
        place = place_of(spec)
        return place is not None and place in self.roots and not of_a_library(spec.name)

    def add(self, outside: Outside) -> None:
        """Makes its modules known; forgets what was imported of other content under the same names."""
        modules = _modules(outside)
        if any(self.known.get(name, one) != one for name, one in modules.items()):
            tops = {name.partition(".")[0] for name in modules}
            for name in [one for one in sys.modules if one.partition(".")[0] in tops]:
                del sys.modules[name]
            self.known = {name: one for name, one in self.known.items() if name.partition(".")[0] not in tops}
        self.known |= modules
        self.roots.add(Path(outside.root).resolve())
        if self not in sys.meta_path:
            sys.meta_path.insert(0, self)


def installed_at(top: str) -> Path | None:
    """The folder in which a top-level module lies on Python's path; None if it is not there, or has no folder."""
    for finder in sys.meta_path:
        if finder is _FINDER or not hasattr(finder, "find_spec"):
            continue
        spec = finder.find_spec(top, None)
        if spec is not None:
            return place_of(spec)
    return None


def place_of(spec: ModuleSpec) -> Path | None:
    """The folder in which a top-level module lies; None if it has none."""
    places = [*(spec.submodule_search_locations or ()), *([spec.origin] if spec.has_location and spec.origin else [])]
    return Path(places[0]).resolve().parent if places else None


def of_a_library(top: str) -> bool:
    """Whether a top-level module belongs to an installed distribution, whose version says what it is."""
    return top in owners()


@cache
def owners() -> Mapping[str, list[str]]:
    """Top-level module -> the installed distributions that it belongs to; all of them are read once, which takes a while."""
    return packages_distributions()


_FINDER = _Finder()
_FOUND: dict[str, tuple[Outside, Any]] = {}  # target -> as imported


def _modules(outside: Outside) -> dict[str, tuple[Path, str]]:
    """Every module of the code, with its file and hash; packages without an `__init__.py` by their folder."""
    root, modules = Path(outside.root), dict[str, tuple[Path, str]]()
    for file in outside.files:
        parts = Path(file).with_suffix("").parts
        for count in range(1, len(parts)):
            modules.setdefault(".".join(parts[:count]), (root.joinpath(*parts[:count]), ""))
    for file, digest in outside.files.items():
        parts = Path(file).with_suffix("").parts
        modules[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = (root / file, digest)
    return modules


def take_in(outside: Outside) -> Any:
    """Imports an object of code from outside.  Raises OutsideError with the reason if that cannot be done."""
    with _IMPORTING:
        known = _FOUND.get(outside.target)
        if known is not None and known[0] == outside:
            return known[1]
        if not outside.root:
            raise OutsideError(f"{outside.target} is code from outside this repository, and nobody here has named it")
        _FINDER.add(outside)
        try:
            module = importlib.import_module(outside.module)
        except OutsideError:
            raise
        except (Exception, SystemExit) as error:
            raise OutsideError(f"{outside.module} cannot be imported: {type(error).__name__}: {error}") from error
        name = outside.target.partition(":")[2]
        if not hasattr(module, name):
            raise OutsideError(f"{outside.module} ({module.__file__}) has no {name}")
        imported = getattr(module, name)
        _FOUND[outside.target] = outside, imported
        return imported


def taken(target: str) -> Any:
    """An object that this process has taken in.  Raises OutsideError if it has not."""
    if target not in _FOUND:
        raise OutsideError(f"{target} is code from outside this repository, and nobody here has named it")
    return _FOUND[target][1]


def known(target: str) -> Outside | None:
    """The code of a target that this process has taken in."""
    return _FOUND[target][0] if target in _FOUND else None


_NETWORKS: dict[Any, type[Network]] = {}  # a class from outside -> itself as a network


def network_of(target: str) -> type[Network] | None:
    """The network of a target that this process has taken in."""
    return as_network(_FOUND[target][1]) if target in _FOUND else None


def as_network(given: Any) -> type[Network]:
    """A class from outside as a network.  Raises OutsideError if it does not meet the contract's signature."""
    if given in _NETWORKS:
        return _NETWORKS[given]
    if not isinstance(given, type) or not issubclass(given, nn.Module):
        raise OutsideError(f"{getattr(given, '__name__', given)!r} is no class derived from torch.nn.Module")
    arguments = inspect.signature(given).parameters.values()
    by_name = {one.name for one in arguments if one.kind in (one.KEYWORD_ONLY, one.POSITIONAL_OR_KEYWORD)}
    if missing := [name for name in SIZES if name not in by_name]:
        raise OutsideError(f"the constructor of {given.__name__} must take {', '.join(SIZES)} by name; {missing[0]} is missing")
    if other := [one.name for one in arguments if one.name not in by_name]:
        raise OutsideError(f"the constructor of {given.__name__} must name all its arguments; {other[0]} does not")
    if getattr(given, "closed_form", False) and not (issubclass(given, ClosedForm) and hasattr(given, "penalties")):
        raise OutsideError(f"{given.__name__} is solved in closed form: derive it from ClosedForm, and name its penalties")
    kind = given if issubclass(given, Network) else type(given.__name__, (given, Network), {"__module__": given.__module__})
    _NETWORKS[given] = kind
    return kind
