"""Code from outside this repository: where a run file's names lie, what they hash to, and what may be imported.

A module is looked for next to the run file, then on Python's path.  Its file and all that it imports there
are hashed; a module of another library counts by its version.  LAGLINE_HOME/outside/NAME.json says which run
file the name was last compared with here: without it, nothing is imported to train a version again.
"""

import hashlib
import json
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from models.baseline_checks import AT_ONCE as AT_ONCE_BASELINE
from models.checks import Subject, failures, tried
from models.families import FAMILIES, family_of
from models.fit.job import Job
from models.fit.losses import check_loss
from models.networks.contract import Network, takes
from models.outside import Outside, OutsideError, as_network, installed_at, known, of_a_library, owners, take_in, taken
from params.errors import UserError
from params.load import Plan
from params.schema import RunParams, VariantParams
from params.section import TARGET
from params.strict_yaml import read_yaml
from tasks.engine.choice import engine
from tasks.files import ROOT, placed
from tasks.train.code import Sources, run_by

SECTIONS = ("families", "losses", "metrics", "baselines")
AT_ONCE = ("finite", "gradients", "batch", "export")  # what a run asks of a family before it is trained
OURS = tuple(path.name for path in ROOT.iterdir() if path.is_dir() and not path.name.startswith("."))
COUNTED = ("torch",)  # other libraries whose version is part of every identity


@dataclass(frozen=True)
class Named:
    """Code from outside as a run file names it: the key there, the name, and the code."""

    key: str
    name: str
    code: Outside


def named(run: RunParams, folder: Path) -> list[Named]:
    """All that a run file in a folder names, found and hashed but not imported.  Raises UserError."""
    return [Named(f"{section}.{name}", name, find(target, folder, f"{section}.{name}")) for section, name, target in _keys(run)]


def _keys(run: RunParams) -> Iterable[tuple[str, str, str]]:
    for section in SECTIONS:
        for name, target in getattr(run, section).items():
            yield section, name, target


def take_in_all(plan: Plan, home: Path | None = None) -> None:
    """Imports what a plan's run file names, and records the file in `home`.  Raises UserError, naming the key."""
    folder = plan.path.resolve().parent
    entries = named(plan.run, folder)
    if entries and not engine().here:
        raise UserError(f"{entries[0].key}: code from outside does not travel to a cluster: unset LAGLINE_ENGINE")
    for entry in entries:
        if entry.key.startswith("families.") and entry.name in FAMILIES:
            raise UserError(f"{entry.key}: {entry.name} is a family of lagline itself: use another name")
        try:
            imported = take_in(entry.code)
            if entry.key.startswith("losses."):
                check_loss(entry.code.target)
            elif entry.key.startswith("metrics."):
                check_metric(entry)
            elif entry.key.startswith("baselines."):
                _take_in_baseline(entry)
            else:
                as_network(imported)
        except OutsideError as error:
            raise UserError(f"{entry.key}: {error}") from error
    if entries and home is not None:
        (home / "outside").mkdir(exist_ok=True)
        with placed(home / "outside" / f"{plan.run.name}.json") as path:
            path.write_text(json.dumps({"run_file": str(plan.path.resolve())}))


def _take_in_baseline(named: Named) -> None:
    from models.baseline_fit import take_in_baselines  # imports pandas: only when needed

    take_in_baselines([named.code])


def check_baselines(run: RunParams) -> None:
    """Raises UserError if one of a run's baselines from outside would fail only after fits were trained."""
    for name, target in run.baselines.items():
        for check, wrong in tried(AT_ONCE_BASELINE, taken(target)):
            if wrong:
                raise UserError(
                    f"baselines.{name} fails the check {check.name}: {wrong}; {check.remedy} "
                    f"(all checks: python -m flows check-baseline {target})"
                )


def key_of(variant: VariantParams) -> str:
    """The run file's key of a variant's family, if that is from outside; else empty."""
    return next((f"families.{name}" for name, target in variant.run.families.items() if target == variant.family), "")


def check_outside(variant: VariantParams) -> None:
    """Raises UserError if a variant's family is from outside, and would fail only after it was trained."""
    for member in variant.members or (variant,):
        if not (key := key_of(member)):
            continue
        own = {name: value for name, value in member.network.items() if takes(family_of(member.family) or Network, name)}
        for check, wrong in failures(Subject(member.family, own), AT_ONCE):
            if wrong:
                raise UserError(
                    f"variant {member.variant}: {key} fails the check {check.name}: {wrong}; {check.remedy} "
                    f"(all checks: python -m flows check-family {member.family})"
                )


def find(target: str, folder: Path, key: str) -> Outside:
    """A target with its root and hashes; nothing is imported.  Raises UserError, naming the key."""
    if not re.fullmatch(TARGET, target):
        raise UserError(f"{key}: write the module and the name in it, such as my_package.nets:MyNet")
    module = target.partition(":")[0]
    top = module.partition(".")[0]
    if top in OURS or top in sys.stdlib_module_names:
        whose = "lagline" if top in OURS else "Python itself"
        raise UserError(f"{key}: a module of your own cannot be called {top}, as one of {whose} is: rename it")
    roots = _roots(top, folder)
    if not roots:
        raise UserError(f"{key}: there is no module {top} in {folder}, nor on Python's path")
    if len(roots) > 1:
        raise UserError(f"{key}: {top} lies in {roots[0]} and in {roots[1]}: rename one")
    root = roots[0]
    base = root.joinpath(*module.split("."))
    if not any(one.is_file() for one in (base / "__init__.py", base.with_suffix(".py"))):
        raise UserError(f"{key}: there is no module {module} in {root}")
    sources = Sources(root, lambda name: name == top or (_roots(name, folder) == [root] and not of_a_library(name)))
    try:
        files = sorted(sources.of(*run_by(root, module)))
    except SyntaxError as error:
        raise UserError(f"{key}: {error.filename}:{error.lineno}: {error.msg}") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{key}: {error}") from None
    digests = {one.relative_to(root).as_posix(): hashlib.sha256(one.read_bytes()).hexdigest() for one in files}
    return Outside(target=target, files=digests, libraries=_libraries(sources.others), root=str(root))


def _roots(top: str, folder: Path) -> list[Path]:
    """The folders in which a top-level module lies: next to the run file, or on Python's path."""
    if top in OURS or top in sys.stdlib_module_names:
        return []
    roots = [folder] if any(one.exists() for one in (folder / top, folder / f"{top}.py")) else []
    elsewhere = installed_at(top)
    return [*roots, elsewhere] if elsewhere is not None and elsewhere not in roots else roots


def _libraries(modules: Iterable[str]) -> dict[str, str]:
    """The versions of the libraries that some top-level modules belong to."""
    others = sorted({*modules} - {*OURS, *COUNTED} - sys.stdlib_module_names)
    return {name: version(name) for name in sorted({name for one in others for name in owners().get(one, ())})}


def check_metric(named: Named) -> None:
    """Raises OutsideError unless a measure gives a finite number for each row."""
    y, forecast = np.array([1.0, -2.0, 0.0]), np.array([0.5, 1.0, 0.0])
    measured(taken(named.code.target), named.code.target, y, forecast)


def measured(measure: Callable[..., Any], name: str, y: np.ndarray, forecast: np.ndarray) -> np.ndarray:
    """[rows] a measure from outside.  Raises OutsideError unless it is a finite number for each row."""
    try:
        values = np.asarray(measure(y, forecast), np.float64)
    except Exception as error:
        raise OutsideError(f"{name} raised {type(error).__name__}: {error}") from error
    if values.shape != y.shape:
        raise OutsideError(f"{name} must give one number for each row, an array of {list(y.shape)}, not {list(values.shape)}")
    if not np.isfinite(values).all():
        raise OutsideError(f"{name} gives a number that is not finite")
    return values


def code_of(*names: str) -> tuple[Outside, ...]:
    """The code of a family and a loss, as a job holds it: without those of lagline itself."""
    return tuple(code for code in map(known, names) if code)


def outside_of(job: Job) -> tuple[Outside, ...]:
    """The code from outside of a job and its members, each once, in the order of their targets."""
    by_target = {one.target: one for each in (job, *job.members) for one in each.outside}
    return tuple(by_target[target] for target in sorted(by_target))


def outside_facts(job: Job) -> dict[str, object]:
    """What of it determines results, as part of an identity, by target; empty for most."""
    return {one.target: one.facts() for one in outside_of(job)}


def located(job: Job, name: str, home: Path) -> Job:
    """The job of a registered version, with its code from outside as the local run file of its name has it.

    Nothing is imported.  Raises UserError if no run file here names it.
    """
    wanted = outside_of(job)
    return _with_code(job, {one.target: one for one in code_here(wanted, name, home)}) if wanted else job


def code_here(wanted: Iterable[Outside], name: str, home: Path) -> tuple[Outside, ...]:
    """Some code of a version as the local run file of its name has it, found and hashed but not imported.

    Raises UserError if no run file here names it."""
    run_file = _run_file(name, home)
    targets = _targets(run_file) if run_file is not None else {}
    here = dict[str, Outside]()
    for code in wanted:
        if run_file is None or code.target not in targets:
            where = f"{run_file} does not name it" if run_file else f"no run file of {name} was compared in {home}"
            raise UserError(
                f"{code.target} is code from outside this repository, and {where}: it is imported only where a local run file "
                "names it; compare with that file first"
            )
        here[code.target] = find(code.target, run_file.parent, targets[code.target])
    return tuple(here.values())


def _with_code(job: Job, here: Mapping[str, Outside]) -> Job:
    members = tuple(_with_code(one, here) for one in job.members)
    return replace(job, outside=tuple(here[one.target] for one in job.outside), members=members)


def _run_file(name: str, home: Path) -> Path | None:
    """The run file that a name was last compared with in this home, if it is still there."""
    try:
        path = Path(json.loads((home / "outside" / f"{name}.json").read_text())["run_file"])
    except (OSError, ValueError, LookupError, TypeError):
        return None
    return path if path.is_file() else None


def _targets(run_file: Path) -> dict[str, str]:
    """Every target that a run file names -> its key.  Raises UserError for an unreadable file."""
    tree, _ = read_yaml(run_file)
    sections = {section: tree.get(section) for section in SECTIONS}
    return {
        target: f"{section}.{name}"
        for section, entries in sections.items()
        if isinstance(entries, Mapping)
        for name, target in entries.items()
        if isinstance(target, str) and re.fullmatch(TARGET, target)
    }
