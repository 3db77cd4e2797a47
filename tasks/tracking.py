"""MLflow as lagline uses it: runs found by identity, metrics in batches, files; never a decision about them.

Everything goes through the client by run id: MLflow's active run is shared between threads and is not used.
Within `patience` a server that is away for a while is waited for (`LAGLINE_PATIENCE` seconds, 900 by default), call by call.
"""

import contextlib
import getpass
import logging
import math
import os
import re
import sys
import threading
import time
import uuid
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import yaml

from params.errors import UserError
from tasks.locks import lock

if TYPE_CHECKING:
    import polars as pl
    from mlflow import MlflowClient
    from mlflow.entities import Run

LONGEST_VALUE = 500
IDENTITY, AGAIN_TAG, MARK = "identity", "again", "lagline.mark"
PATIENCE = 900  # seconds
AGAIN = 5.0  # seconds between two tries
log = logging.getLogger("lagline.tracking")
_patient = threading.Event()  # whether a server that is away is waited for


@cache
def client() -> "MlflowClient":
    """The client of MLFLOW_TRACKING_URI, which `flows/bootstrap.py` has set."""
    import mlflow

    uri = os.environ["MLFLOW_TRACKING_URI"]
    mlflow.set_tracking_uri(uri)
    mlflow.set_registry_uri(os.environ.get("MLFLOW_REGISTRY_URI", uri))
    direct = mlflow.MlflowClient(uri)
    return cast("MlflowClient", _Patient(direct)) if uri.startswith("http") else direct


class _Patient:
    """A client every call of which waits for a server that is away, within `patience`."""

    def __init__(self, direct: Any) -> None:
        self._direct = direct

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._direct, name)
        return partial(_patiently, found) if callable(found) else found


def _patiently(call: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    """The result of a call, tried again while the server is away.  Raises UserError after `LAGLINE_PATIENCE` seconds."""
    started, told = time.monotonic(), False
    while True:
        try:
            return call(*arguments, **named)
        except Exception as error:
            if not _patient.is_set() or not _away(error):
                raise
            waited = time.monotonic() - started
        where = os.environ["MLFLOW_TRACKING_URI"]
        if waited > _longest():
            raise UserError(
                f"MLFLOW_TRACKING_URI={where}: the tracking server has not answered for {waited:.0f} s.  No fit is lost: start "
                "the same command again once it is back (LAGLINE_PATIENCE sets how many seconds to wait)"
            )
        if not told:
            print(f"the tracking server at {where} does not answer; it is waited for, and nothing is lost", file=sys.stderr)
            told = True
        again = time.monotonic() + AGAIN
        while _patient.is_set() and time.monotonic() < again:
            time.sleep(0.1)


def _longest() -> float:
    """The seconds to wait.  Raises UserError for what is no number of them."""
    text = os.environ.get("LAGLINE_PATIENCE", "").strip() or str(PATIENCE)
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < math.inf:
        raise UserError(f"LAGLINE_PATIENCE={text}: write how many seconds to wait for a tracking server, such as 900")
    return seconds


@contextlib.contextmanager
def patience() -> Iterator[None]:
    """While there is something to lose a server that is away is waited for; `give_up` or the end of the block ends that."""
    _longest()
    _patient.set()
    try:
        yield
    finally:
        _patient.clear()


def give_up() -> None:
    """The run is ending: no call waits any more."""
    _patient.clear()


def _away(error: BaseException) -> bool:
    """Whether an error says that the server did not answer, rather than what it answered."""
    import requests
    from mlflow.exceptions import MlflowException

    if isinstance(error, requests.ConnectionError | requests.Timeout):
        return True
    if not isinstance(error, MlflowException):
        return False
    unreachable = "API request to" in str(error) and re.search(r"failed with( timeout)? exception", str(error)) is not None
    return unreachable or error.get_http_status_code() in (429, 502, 503, 504)


def connect(home: Path) -> None:
    """Makes the store where it is missing, under a lock: MLflow's migrations break when two processes run them at once."""
    from mlflow.exceptions import MlflowException

    with lock(home, "mlflow"):
        try:
            client().search_experiments(max_results=1)
        except MlflowException as error:
            raise UserError(
                f"MLFLOW_TRACKING_URI={os.environ['MLFLOW_TRACKING_URI']}: MLflow does not answer ({error})"
            ) from None


def experiment(name: str, home: Path) -> str:
    """The id of the experiment of a run file, made or restored where needed."""
    with lock(home, "mlflow"):
        found = client().get_experiment_by_name(name)
        if found is None:
            local = os.environ["MLFLOW_TRACKING_URI"].startswith("sqlite:")
            # the UI has a side for training and one for language models, and opens the one that this tag names
            kind = {"mlflow.experimentKind": "custom_model_development"}
            return str(client().create_experiment(name, (home / "artifacts" / name).as_uri() if local else None, kind))
        if found.lifecycle_stage == "deleted":
            client().restore_experiment(found.experiment_id)
        return str(found.experiment_id)


def find_run(experiment_id: str, tags: Mapping[str, str]) -> "Run | None":
    """The newest run that has all of these tags, or None."""
    clauses = " and ".join(f"tags.`{key}` = '{value}'" for key, value in tags.items())
    found = client().search_runs([experiment_id], clauses, order_by=["attributes.start_time DESC"], max_results=1)
    return found[0] if found else None


def _make_run(experiment_id: str, name: str, tags: Mapping[str, str]) -> str:
    """A new run.  Where its answer is lost on the way, the run that was made is found by its mark, and not made twice."""
    marked = {**tags, **_origin(), MARK: uuid.uuid4().hex}

    def found_or_made() -> str:
        direct = getattr(client(), "_direct", client())
        there = direct.search_runs([experiment_id], f"tags.`{MARK}` = '{marked[MARK]}'", max_results=1)
        run = there[0] if there else direct.create_run(experiment_id, run_name=name, tags=marked)
        return str(run.info.run_id)

    return str(_patiently(found_or_made))


def parent_run(experiment_id: str, name: str, identity: str, fresh: bool = False) -> tuple[str, bool]:
    """The run of a comparison and whether it had finished before: the same identity goes on in the same run.

    One that finished with a fit that may do better on another try (tag `again`) has not.
    """
    found = None if fresh else find_run(experiment_id, {"kind": "comparison", IDENTITY: identity})
    if found is not None:
        finished = found.info.status == "FINISHED" and AGAIN_TAG not in found.data.tags
        if not finished:
            client().update_run(found.info.run_id, status="RUNNING")
        return found.info.run_id, finished
    return _make_run(experiment_id, name, {"kind": "comparison", IDENTITY: identity}), False


def child_run(parent: str, name: str, identity: str, tags: Mapping[str, str]) -> str:
    """The run of one fit or baseline below its comparison; the same identity goes on in the same run."""
    experiment_id = client().get_run(parent).info.experiment_id
    found = find_run(experiment_id, {"mlflow.parentRunId": parent, IDENTITY: identity})
    if found is not None:
        client().update_run(found.info.run_id, status="RUNNING")
        return str(found.info.run_id)
    return _make_run(experiment_id, name, {"mlflow.parentRunId": parent, IDENTITY: identity, **tags})


def try_again(run_id: str, labels: Sequence[str]) -> None:
    """Marks a comparison some of whose fits failed for want of memory, so that the same command tries them again."""
    if labels:
        client().set_tag(run_id, AGAIN_TAG, ", ".join(labels)[:5000])
    elif AGAIN_TAG in client().get_run(run_id).data.tags:
        client().delete_tag(run_id, AGAIN_TAG)


def _origin() -> dict[str, str]:
    """What the UI shows as a run's user and source."""
    tags = {"mlflow.source.name": "python -m flows", "mlflow.source.type": "LOCAL"}
    with contextlib.suppress(OSError, KeyError):  # a container may have no name for its user
        tags["mlflow.user"] = getpass.getuser()
    return tags


def finish(run_id: str, status: str = "FINISHED") -> None:
    """Ends a run as FINISHED, FAILED or KILLED."""
    client().set_terminated(run_id, status)


def abandon(run_id: str, status: str) -> None:
    """Ends a run that did not end well, if the server is there: the error that is on its way out must not be replaced."""
    with contextlib.suppress(Exception):
        getattr(client(), "_direct", client()).set_terminated(run_id, status)


def tag(run_id: str, tags: Mapping[str, str]) -> None:
    """Sets tags, cut at what the store holds."""
    for key, value in tags.items():
        client().set_tag(run_id, key, value[:5000])


def flat(tree: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """A nested mapping as one level of dotted keys; lists as text."""
    result: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            result |= flat(value, f"{above}{key}.")
        else:
            result[f"{above}{key}"] = value
    return result


def log_params(run_id: str, values: Mapping[str, Any]) -> None:
    """Params of a run, once; long values are cut here (the whole stands in params.yaml)."""
    from mlflow.entities import Param

    here = client().get_run(run_id).data.params
    named = {re.sub(r"[^\w./ :-]", "_", key)[:250]: value for key, value in values.items()}  # all that MLflow takes for a name
    params = [Param(key, str(value)[:LONGEST_VALUE]) for key, value in named.items() if key not in here]
    for start in range(0, len(params), 100):
        client().log_batch(run_id, params=params[start : start + 100])


def log_metrics(run_id: str, values: Mapping[str, float | None], step: int = 0) -> None:
    """Metrics at one step in one call; what is not a finite number is left out (MLflow would draw it as 1e308).

    So is what the run has already: a comparison that goes on says most things once more.
    """
    from mlflow.entities import Metric

    now, there = int(time.time() * 1000), client().get_run(run_id).data.metrics
    finite = {k: float(v) for k, v in values.items() if v is not None and math.isfinite(v)}
    metrics = [Metric(k, v, now, step) for k, v in finite.items() if there.get(k) != v]
    for start in range(0, len(metrics), 1000):
        client().log_batch(run_id, metrics=metrics[start : start + 1000])


def log_curve(run_id: str, key: str, values: Sequence[float | None]) -> None:
    """One metric with 1, 2, 3 ... as step: the error by horizon.  A step that the run has already is not logged again."""
    log_history(run_id, [{"epoch": step, key: value} for step, value in enumerate(values) if value is not None])


def log_history(run_id: str, rows: Sequence[Mapping[str, float]]) -> None:
    """Rows of `epoch` (from 0) and metrics, each at step epoch + 1; a step that the run already has is not logged again."""
    log_rows(run_id, rows, steps_logged(run_id, rows))


def steps_logged(run_id: str, rows: Sequence[Mapping[str, float]]) -> set[tuple[str, int]]:
    """(metric, step) of every point that a run has of the metrics in some rows."""
    names = {name for row in rows for name in row if name != "epoch"}
    return {(name, metric.step) for name in names for metric in client().get_metric_history(run_id, name)}


def log_rows(run_id: str, rows: Sequence[Mapping[str, float]], there: set[tuple[str, int]]) -> None:
    """Rows as in `log_history`, less the points `there`, in one call; afterwards they are there too."""
    from mlflow.entities import Metric

    now, metrics = int(time.time() * 1000), []
    for row in rows:
        step = int(row["epoch"]) + 1
        new = {name: value for name, value in row.items() if name != "epoch" and (name, step) not in there}
        metrics += [Metric(name, float(value), now, step) for name, value in new.items() if math.isfinite(value)]
    for start in range(0, len(metrics), 1000):
        client().log_batch(run_id, metrics=metrics[start : start + 1000])
    there |= {(metric.key, metric.step) for metric in metrics}


def log_text(run_id: str, text: str, file: str) -> None:
    """A text as an artifact, `file` being its path in the run."""
    client().log_text(run_id, text, file)


def log_file(run_id: str, path: Path, folder: str | None = None) -> None:
    """A file as an artifact, below `folder` of the run."""
    client().log_artifact(run_id, str(path), folder)


def log_dataset(run_id: str, head: "pl.DataFrame", name: str, source: str, digest: str) -> None:
    """The data as a logged dataset: its first rows stand for the schema, our digest for the content."""
    import mlflow.data
    from mlflow.entities import DatasetInput, InputTag

    with warnings.catch_warnings():  # a local path could be two kinds of source, and either will do
        warnings.filterwarnings("ignore", message="The specified dataset source")
        dataset = mlflow.data.from_polars(  # type: ignore[attr-defined]  # made on access
            head, source=source, name=name, digest=digest[:36]
        )
    tags = [InputTag("mlflow.data.context", "training")]
    client().log_inputs(run_id, datasets=[DatasetInput(dataset=dataset._to_mlflow_entity(), tags=tags)])


def artifact(run_id: str, file: str) -> Path:
    """A local copy of an artifact of a run.  Raises UserError where the run has none of that name."""
    from mlflow.exceptions import MlflowException

    try:
        return Path(client().download_artifacts(run_id, file))
    except (MlflowException, OSError) as error:
        raise UserError(f"run {run_id} has no {file} ({error})") from None


def last_comparison(name: str) -> "Run":
    """The newest finished comparison of a run name.  Raises UserError where there is none."""
    found = client().get_experiment_by_name(name)
    runs: Any = []
    if found is not None:
        clauses = "tags.kind = 'comparison' and attributes.status = 'FINISHED'"
        runs = client().search_runs([found.experiment_id], clauses, order_by=["attributes.end_time DESC"], max_results=1)
    if not runs:
        known = [e.name for e in client().search_experiments() if e.name != "Default"]
        there = f"there are: {', '.join(known)}" if known else "nothing was compared yet"
        raise UserError(f"{name}: no finished comparison of that name; {there}")
    return runs[0]


def to_yaml(tree: Mapping[str, Any]) -> str:
    """A mapping as YAML, keys in their order."""
    return str(yaml.safe_dump(dict(tree), sort_keys=False, allow_unicode=True))
