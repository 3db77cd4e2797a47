"""MLflow experiments and runs: found by identity, created once, always ended.

Everything goes through the client by run id: MLflow's active run is shared between threads and not used.
"""

import contextlib
import getpass
import importlib.util
import os
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from params.errors import UserError
from params.shown import masked
from tasks.locks import lock
from tasks.tracking.connection import client, direct, lost, patiently

if TYPE_CHECKING:
    from mlflow.entities import Run

PLACE = "LAGLINE_ARTIFACTS"
IDENTITY, AGAIN_TAG, MARK = "identity", "again", "lagline.mark"


def experiment(name: str, home: Path) -> str:
    """The id of a run file's experiment, created or restored if needed; safe with several homes at once."""
    from mlflow.exceptions import MlflowException

    place = artifacts(home)
    with lock(home, "mlflow"):
        stored = client().get_experiment_by_name(name)
        if stored is None:
            try:
                return str(client().create_experiment(name, place and f"{place}/{name}"))
            except MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
            stored = client().get_experiment_by_name(name)  # another home was faster
            assert stored is not None
        if stored.lifecycle_stage == "deleted":
            client().restore_experiment(stored.experiment_id)
        return str(stored.experiment_id)


def artifacts(home: Path) -> str | None:
    """The artifact address of new experiments: LAGLINE_ARTIFACTS, or in the home; None: the server's.

    Raises UserError unless it is a folder or s3://bucket/folder, without a password and with boto3 installed.
    """
    given = os.environ.get(PLACE, "").strip()
    if not given:
        return None if os.environ["MLFLOW_TRACKING_URI"].startswith("http") else (home / "artifacts").as_uri()
    if masked(given) != given:
        raise UserError(f"{PLACE}: there is a password or a key in this address: leave it out, and set AWS_ACCESS_KEY_ID ...")
    kind, separator, rest = given.partition("://")
    if separator and kind == "file" and rest.startswith("/"):
        return given.rstrip("/")
    if not separator:
        return Path(os.path.abspath(Path(given).expanduser())).as_uri()  # noqa: PTH100 (folds "..")
    if kind != "s3" or not rest.strip("/") or "?" in rest:
        raise UserError(
            f"{PLACE}={given}: write a folder, or s3://bucket/folder (another server than Amazon's: AWS_ENDPOINT_URL)"
        )
    if importlib.util.find_spec("boto3") is None:
        raise UserError(f"{PLACE}={given}: MLflow needs boto3 for it: python -m pip install -c constraints.txt -e '.[s3]'")
    return given.rstrip("/")


def experiment_of(run_id: str) -> str:
    """The id of a run's experiment."""
    return str(client().get_run(run_id).info.experiment_id)


def find_run(experiment_id: str, tags: Mapping[str, str]) -> "Run | None":
    """The newest run that has all of these tags, or None."""
    clauses = " and ".join(f"tags.`{key}` = '{value}'" for key, value in tags.items())
    runs = client().search_runs([experiment_id], clauses, order_by=["attributes.start_time DESC"], max_results=1)
    return runs[0] if runs else None


def _make_run(experiment_id: str, name: str, tags: Mapping[str, str], began: int | None = None) -> str:
    """Creates a run, begun now or at a time in milliseconds.

    If the answer is lost on the way, the created run is found by its mark instead of created again.
    """
    marked = {**tags, **_origin(), MARK: uuid.uuid4().hex}

    def found_or_made() -> str:
        store = direct()
        there = store.search_runs([experiment_id], f"tags.`{MARK}` = '{marked[MARK]}'", max_results=1)
        run = there[0] if there else store.create_run(experiment_id, began, marked, name)
        return str(run.info.run_id)

    try:
        return str(patiently(found_or_made))
    except KeyboardInterrupt:  # after the run was made, perhaps, and before its id was known here
        with contextlib.suppress(Exception):
            for run in direct().search_runs([experiment_id], f"tags.`{MARK}` = '{marked[MARK]}'"):
                abandon(run.info.run_id, "KILLED")
        raise


def made_run(experiment_id: str, name: str, identity: str, tags: Mapping[str, str]) -> str:
    """A new run that belongs to no comparison."""
    return _make_run(experiment_id, name, {IDENTITY: identity, **tags})


def parent_run(experiment_id: str, name: str, identity: str, fresh: bool = False, kind: str = "comparison") -> tuple[str, bool]:
    """The run of a comparison or search, and whether it had finished: equal identities share a run.

    A finished run tagged `again` (a fit may succeed on another try) counts as unfinished.
    """
    run = None if fresh else find_run(experiment_id, {"kind": kind, IDENTITY: identity})
    if run is not None:
        finished = run.info.status == "FINISHED" and AGAIN_TAG not in run.data.tags
        if not finished:
            client().update_run(run.info.run_id, status="RUNNING")
        return run.info.run_id, finished
    return _make_run(experiment_id, name, {"kind": kind, IDENTITY: identity}), False


def go_on(run_id: str) -> None:
    """Marks a finished run as running again."""
    client().update_run(run_id, status="RUNNING")


def child_run(parent: str, name: str, identity: str, tags: Mapping[str, str], began: int | None = None) -> str:
    """The run of a fit or baseline below its comparison; equal identities share a run.

    `began`: when the work began, in milliseconds, if not now.
    """
    experiment_id = experiment_of(parent)
    run = find_run(experiment_id, {"mlflow.parentRunId": parent, IDENTITY: identity})
    if run is not None:
        client().update_run(run.info.run_id, status="RUNNING")
        return str(run.info.run_id)
    return _make_run(experiment_id, name, {"mlflow.parentRunId": parent, IDENTITY: identity, **tags}, began)


def try_again(run_id: str, labels: Sequence[str]) -> None:
    """Tags a comparison in which fits ran out of memory, so that the same command tries them again."""
    if labels:
        client().set_tag(run_id, AGAIN_TAG, ", ".join(labels)[:5000])
    elif AGAIN_TAG in client().get_run(run_id).data.tags:
        client().delete_tag(run_id, AGAIN_TAG)


def _origin() -> dict[str, str]:
    """The user and source of a run in the UI."""
    tags = {"mlflow.source.name": "python -m flows", "mlflow.source.type": "LOCAL"}
    with contextlib.suppress(OSError, KeyError):  # a container may have no name for its user
        tags["mlflow.user"] = getpass.getuser()
    return tags


def finish(run_id: str, status: str = "FINISHED", ended: int | None = None) -> None:
    """Ends a run as FINISHED, FAILED or KILLED, now or at a time in milliseconds."""
    client().set_terminated(run_id, status, ended)


def ended(run_id: str) -> int | None:
    """When a resumed run had ended before, in milliseconds; None if it never had."""
    end_time: int | None = client().get_run(run_id).info.end_time
    return end_time or None


def abandon(run_id: str, status: str) -> None:
    """Ends a run that failed, if the server is reachable; never replaces the error that is being raised.

    Tries again if the store is busy or a second Ctrl-C comes meanwhile: a run must not seem to be running for ever.
    """
    for pause in (0.0, 0.5, 2.0, 4.0):
        try:
            time.sleep(pause)
            return direct().set_terminated(run_id, status)
        except KeyboardInterrupt:
            continue
        except Exception as error:
            if lost(error):
                return None


def newest_comparisons() -> list[tuple[str, str, str]]:
    """(name, experiment id, run id) of each run file's newest finished comparison, newest first."""
    comparisons = []
    for stored in client().search_experiments():
        clauses = "tags.kind = 'comparison' and attributes.status = 'FINISHED'"
        runs = client().search_runs([stored.experiment_id], clauses, order_by=["attributes.end_time DESC"], max_results=1)
        comparisons += [(run.info.end_time or 0, stored.name, stored.experiment_id, run.info.run_id) for run in runs]
    return [(name, experiment, run) for _, name, experiment, run in sorted(comparisons, reverse=True)]


def last_comparison(name: str) -> "Run":
    """The newest finished comparison of a run name.  Raises UserError if there is none."""
    stored = client().get_experiment_by_name(name)
    runs: list[Run] = []
    if stored is not None:
        clauses = "tags.kind = 'comparison' and attributes.status = 'FINISHED'"
        runs = client().search_runs([stored.experiment_id], clauses, order_by=["attributes.end_time DESC"], max_results=1)
    if not runs:
        known = [e.name for e in client().search_experiments() if e.name != "Default"]
        there = f"there are: {', '.join(known)}" if known else "nothing was compared yet"
        raise UserError(f"{name}: no finished comparison of that name; {there}")
    return runs[0]
