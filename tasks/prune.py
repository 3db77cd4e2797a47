"""Pruning: removes what no registered version, no newest comparison and nothing running refers to.

Comparisons and searches stay whole if among the newest of their name, or if they made a version with an
alias.  For others that made a version, keep what rollback and retraining need: its run and that of the
comparison, its panel, its fit.  The runs and fits of the losers go, as do all their forecasts.
"""

import json
import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlparse

import polars as pl

from params.strict_yaml import read_yaml
from tasks.load.memory import FOLDER as TABLES
from tasks.locks import lock
from tasks.registry.parcel import KIND as IMPORT
from tasks.serve.realised import MOST_FILES, SCORED
from tasks.tracking import connection

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.entities.model_registry import ModelVersion

WHOLE = ("comparison", "tuning", "first look")  # kinds of runs with runs below them
DAY = 86_400.0  # seconds: a younger working folder may be in use
HIDDEN = (".compare-", ".reproduce-", ".lags-")  # working folders that killed processes left behind


@dataclass(frozen=True)
class Plan:
    """What would be removed: folders and files with their bytes, and MLflow runs."""

    paths: tuple[tuple[Path, int], ...]
    runs: tuple[tuple[str, str], ...]  # (name, run id)

    @property
    def size(self) -> int:
        """Total bytes of the folders and files."""
        return sum(size for _, size in self.paths)


@dataclass
class _Kept:
    """What is still referred to: panels by digest, fits by identity, tables from Python by file name."""

    panels: set[str] = field(default_factory=set)
    tables: set[str] = field(default_factory=set)
    fits: set[str] = field(default_factory=set)

    def add(self, parent: "Run", runs: "list[Run]") -> None:
        self.panels.add(parent.data.tags.get("data", ""))
        self.tables.add(Path(parent.data.params.get("data.path", "")).name)
        self.fits |= {run.data.tags.get("identity", "") for run in runs}
        # members of ensembles
        self.fits |= {member for run in runs for member in run.data.tags.get("members", "").split()}


def prune(home: Path, keep: int, dry_run: bool = False) -> Plan:
    """Removes (in a dry run, only lists) what nothing refers to; `keep` comparisons of each name stay.

    Raises Held while a comparison is running: what it has produced is not registered yet.
    """
    with lock(home, "compare", wait=False):
        plan = _plan(home, keep)
        if not dry_run:
            for path, _ in plan.paths:  # first: on a full disk no store accepts writes
                _remove(path)
            for _, run_id in plan.runs:
                connection.client().delete_run(run_id)
    return plan


def _plan(home: Path, keep: int) -> Plan:
    search = connection.client().search_model_versions
    versions = list(connection.every(lambda token: search(max_results=1000, page_token=token)))
    registered, aliased = {str(version.run_id) for version in versions}, _aliased(versions)
    fits = {version.tags.get(tag, "") for version in versions for tag in ("identity", "fit", "refit")}
    kept, gone, paths = _Kept(fits=fits), list[tuple[str, str]](), list[Path]()
    for experiment in connection.client().search_experiments():
        kept.panels |= _imported(experiment.experiment_id, registered)
        left = dict.fromkeys(WHOLE, keep)
        for kind, parent, below in _whole(experiment.experiment_id):
            newest = parent.info.status == "FINISHED" and left[kind] > 0
            left[kind] -= newest
            # a panel of another machine is not ours to judge
            ours = Path(parent.data.tags.get("panel", home / "panels")).is_relative_to(home)
            if newest or parent.info.status == "RUNNING" or not ours or any(run.info.run_id in aliased for run in below):
                kept.add(parent, below)
                continue
            needed = [run for run in below if run.info.run_id in registered or run.data.tags.get("identity") in fits]
            if needed:
                kept.add(parent, needed)
                paths += _forecasts(parent, home)
            unneeded = [run for run in below if run not in needed] if needed else [*below, parent]
            gone += [(experiment.name, run.info.run_id) for run in unneeded]
            paths += [folder for run in unneeded for folder in _artifacts(run, home)]
            paths += [folder for folder in (home / "forecasts" / parent.info.run_id,) if folder.is_dir()]
    paths = [path for path in (*_unreferenced(home, kept), *_tables(home, kept), *paths, *_served(home)) if _ours(path, home)]
    return Plan(tuple((path, _size(path)) for path in paths), tuple(gone))


def _imported(experiment: str, registered: set[str]) -> set[str]:
    """The panels of imported versions, which have no comparison here."""
    some = [run for run in _runs(experiment, f"tags.kind = '{IMPORT}'") if run.info.run_id in registered]
    return {run.data.tags.get("data", "") for run in some}


def _aliased(versions: "list[ModelVersion]") -> set[str]:
    """The runs of versions with an alias; searches do not return aliases."""
    names = {version.name for version in versions}
    holders = {
        (name, str(number)) for name in names for number in connection.client().get_registered_model(name).aliases.values()
    }
    return {str(version.run_id) for version in versions if (version.name, str(version.version)) in holders}


def _whole(experiment: str) -> "Iterator[tuple[str, Run, list[Run]]]":
    """The comparisons and searches of an experiment, newest first, each with the runs below it."""
    children: dict[str, list[Run]] = {}
    for child in _runs(experiment, " and ".join(f"tags.kind != '{kind}'" for kind in WHOLE)):
        children.setdefault(child.data.tags.get("mlflow.parentRunId", ""), []).append(child)
    for kind in WHOLE:
        for parent in _runs(experiment, f"tags.kind = '{kind}'"):
            yield kind, parent, children.get(parent.info.run_id, [])


def _unreferenced(home: Path, kept: _Kept) -> list[Path]:
    """Our panels, fits and working folders without reference; partial ones only after a day."""
    folders = [path for path in _below(home / "panels") if path.name not in kept.panels]
    folders += [path for path in _below(home / "checkpoints") if path.name not in kept.fits]
    folders += [path for path in _below(home) if path.name.startswith(HIDDEN)]
    return [path for path in folders if not path.name.startswith(".") or time.time() - path.stat().st_mtime > DAY]


def _tables(home: Path, kept: _Kept) -> list[Path]:
    """Tables of Python callers that no kept comparison read, and their run files; after a day."""
    files = sorted(path for path in (home / TABLES).glob("*") if time.time() - path.stat().st_mtime > DAY)
    gone = [path for path in files if path.suffix == ".parquet" and path.name not in kept.tables]
    names = {path.name for path in gone}
    return gone + [path for path in files if path.suffix == ".yaml" and _table_of(path) in names]


def _table_of(run_file: Path) -> str:
    """The name of the table that a drafted run file reads."""
    return Path(read_yaml(run_file)[0]["data"]["path"]).name


def _forecasts(parent: "Run", home: Path) -> list[Path]:
    """The forecast frame among a comparison's artifacts, if they are in our state folder."""
    files = [folder / "artifacts" / "forecasts.parquet" for folder in _artifacts(parent, home)]
    return [file for file in files if file.is_file()]


def _served(home: Path) -> list[Path]:
    """Served forecasts that are scored and not read by scoring any more: all but each name's newest."""
    gone: list[Path] = []
    for marker in sorted((home / "served").glob(f"*/{SCORED}")):
        until = int(json.loads(marker.read_text())["until"])
        files = sorted(marker.parent.glob("*.parquet"), key=lambda path: path.stat().st_mtime)
        gone += [file for file in files[:-MOST_FILES] if _last(file) <= until]
    return gone


def _last(file: Path) -> int:
    """The newest timestamp in a file of served forecasts: microseconds since 1970, or an integer step."""
    return int(pl.scan_parquet(file).select(pl.col("ds").to_physical().max()).collect().item())


def _runs(experiment: str, clause: str) -> "Iterator[Run]":
    """The runs of an experiment, newest first."""
    order, search = ["attributes.start_time DESC"], connection.client().search_runs
    return connection.every(lambda token: search([experiment], clause, order_by=order, max_results=1000, page_token=token))


def _artifacts(run: "Run", home: Path) -> list[Path]:
    """The artifact folder of a run if it is in our state folder: a server manages its own."""
    address = urlparse(run.info.artifact_uri or "")
    folder = Path(os.path.normpath(unquote(address.path))).parent
    inside = address.scheme in ("", "file") and folder.is_relative_to(home / "artifacts") and folder.name == run.info.run_id
    return [folder] if inside and folder.is_dir() else []


def _ours(path: Path, home: Path) -> bool:
    """Whether a path is really inside the state folder: the targets of links are not ours."""
    return path.parent.resolve() == home.resolve() / path.parent.relative_to(home)


def _remove(path: Path) -> None:
    """Removes a folder or a file; of a link, only the link itself."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _below(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.is_symlink()) if folder.is_dir() else []


def _size(path: Path) -> int:
    if path.is_symlink() or not path.is_dir():
        return path.lstat().st_size
    return sum(entry.stat().st_size for entry in path.rglob("*") if entry.is_file() and not entry.is_symlink())
