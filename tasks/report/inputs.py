"""The inputs of a comparison, logged to its run before training: params, data, checks, windows."""

from pathlib import Path

from models.data.panel import Data
from params.schema import RunParams
from tasks.lags.sizes import Sizes
from tasks.lags.table import lag_head
from tasks.load.source import Source
from tasks.tracking import connection, logs, runs


def log_checks(run_id: str, folder: Path) -> None:
    """Logs the report of the data checks, every file below `folder`."""
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        below = path.parent.relative_to(folder).as_posix()
        logs.log_file(run_id, path, "checks" if below == "." else f"checks/{below}")


def log_failed_checks(experiment: str, run: RunParams, folder: Path) -> str:
    """Logs the report of failed checks in a run of its own; returns its id."""
    tags = {"kind": "checks"}
    failed: str = connection.client().create_run(experiment, run_name=f"{run.name} (checks failed)", tags=tags).info.run_id
    log_checks(failed, folder)
    runs.finish(failed, "FAILED")
    return failed


def log_inputs(
    parent: str,
    run: RunParams,
    data: Data,
    source: Source,
    sizes: Sizes,
    checks: Path,
) -> None:
    """Logs params, the head of the lag table, data digests, windows by series and split, memory, checks."""
    dump = run.model_dump(mode="json")
    logs.log_params(parent, logs.flat(dump))
    logs.log_text(parent, logs.to_yaml(dump), "params.yaml")
    head = lag_head(data.panel, data.windows)
    logs.log_text(parent, head.write_csv(), "lags_head.csv")
    logs.log_text(parent, sizes.counts.write_csv(), "windows.csv")
    logs.log_metrics(parent, sizes.budget.metrics())
    logs.log_dataset(parent, head, run.name, run.data.path or run.data.where, data.panel.digest)
    logs.tag(parent, {"data": data.panel.digest, "source": source.digest.sha256, "panel": str(data.panel.folder)})
    log_checks(parent, checks)
