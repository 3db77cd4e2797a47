"""Making room: panels, checkpoints and comparisons that nothing registered and nothing running refers to.

The newest comparisons of every name stay, and all that a registered version came from: its comparison, its panel, its fit.
"""

import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlparse

from tasks import tracking
from tasks.locks import lock

if TYPE_CHECKING:
    from mlflow.entities import Run

DAY = 86_400.0  # seconds: a working folder that is younger may be in use
HIDDEN = (".compare-", ".reproduce-", ".lags-")  # working folders of processes that were killed


@dataclass(frozen=True)
class Plan:
    """What would go: folders with their bytes, and the comparisons (each with its child runs)."""

    folders: tuple[tuple[Path, int], ...]
    runs: tuple[tuple[str, str], ...]  # (name, run id)

    @property
    def size(self) -> int:
        """Bytes that the folders hold."""
        return sum(size for _, size in self.folders)


def prune(home: Path, keep: int, dry_run: bool = False) -> Plan:
    """Removes (or, in a dry run, only names) what nothing refers to; `keep` comparisons of each name stay.

    Raises Held while a comparison is running: what it has made so far is not registered yet.
    """
    with lock(home, "compare", wait=False):
        plan = _plan(home, keep)
        if not dry_run:
            for _, run_id in plan.runs:
                tracking.client().delete_run(run_id)
            for folder, _ in plan.folders:
                shutil.rmtree(folder, ignore_errors=True)
    return plan


def _plan(home: Path, keep: int) -> Plan:
    search = tracking.client().search_model_versions
    versions = list(tracking.every(lambda token: search(max_results=1000, page_token=token)))
    gone: list[tuple[str, str]] = []
    panels, artifacts = set[str](), list[Path]()
    fits = {version.tags.get(tag, "") for version in versions for tag in ("identity", "fit", "refit")}
    served = {version.run_id for version in versions}
    for experiment in tracking.client().search_experiments():
        parents = list(_runs(experiment.experiment_id, "tags.kind = 'comparison'"))
        children: dict[str, list[Run]] = {}
        for child in _runs(experiment.experiment_id, "tags.kind != 'comparison'"):
            children.setdefault(child.data.tags.get("mlflow.parentRunId", ""), []).append(child)
        newest = [parent.info.run_id for parent in parents if parent.info.status == "FINISHED"][:keep]
        for parent in parents:
            below = children.get(parent.info.run_id, [])
            ours = Path(parent.data.tags.get("panel", home / "panels")).is_relative_to(home)  # not another machine's
            needed = parent.info.run_id in newest or bool(served & {run.info.run_id for run in below})
            if needed or parent.info.status == "RUNNING" or not ours:
                panels.add(parent.data.tags.get("data", ""))
                fits |= {run.data.tags.get("identity", "") for run in below}
                continue
            for run in (*below, parent):
                gone.append((experiment.name, run.info.run_id))
                artifacts += _artifacts(run, home)
            artifacts += [path for path in (home / "forecasts" / parent.info.run_id,) if path.is_dir()]
    folders = [path for path in _below(home / "panels") if path.name not in panels]
    folders += [path for path in _below(home / "checkpoints") if path.name not in fits]
    folders += [path for path in _below(home) if path.name.startswith(HIDDEN)]
    folders = [path for path in folders if not path.name.startswith(".") or time.time() - path.stat().st_mtime > DAY]
    return Plan(tuple((path, _size(path)) for path in (*folders, *artifacts)), tuple(gone))


def _runs(experiment: str, clause: str) -> "Iterator[Run]":
    """The runs of an experiment, the newest first."""
    order, search = ["attributes.start_time DESC"], tracking.client().search_runs
    return tracking.every(lambda token: search([experiment], clause, order_by=order, max_results=1000, page_token=token))


def _artifacts(run: "Run", home: Path) -> list[Path]:
    """The folder of a run's artifacts, where it lies below ours: a server looks after its own."""
    address = urlparse(run.info.artifact_uri or "")
    folder = Path(unquote(address.path)).parent
    inside = address.scheme in ("", "file") and folder.is_relative_to(home / "artifacts") and folder.name == run.info.run_id
    return [folder] if inside and folder.is_dir() else []


def _below(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.is_symlink()) if folder.is_dir() else []


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
