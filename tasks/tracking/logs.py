"""What is logged to an MLflow run: params, metrics in batches, files, data, descriptions."""

import contextlib
import math
import re
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import yaml

from params.errors import UserError
from tasks.tracking.connection import client, direct, lost
from tasks.tracking.runs import experiment_of

if TYPE_CHECKING:
    import polars as pl

Value = str | float | Sequence[str | float] | None
LONGEST_VALUE = 500
NOTE = "mlflow.note.content"
FIRST = "val_mae"  # logged first: MLflow's comparison pages open on the first common metric
MOST, LEAST = 6, 4  # significant digits of a metric in MLflow's tables; the files have them all


def tag(run_id: str, tags: Mapping[str, str]) -> None:
    """Sets tags, cut to the longest that the store accepts."""
    for key, value in tags.items():
        client().set_tag(run_id, key, value[:5000])


def flat(tree: Mapping[str, Any], above: str = "") -> dict[str, Value]:
    """Flattens a nested mapping to dotted keys; lists stay values, empty mappings are dropped."""
    result: dict[str, Value] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            result |= flat(value, f"{above}{key}.")
        else:
            result[f"{above}{key}"] = value
    return result


def legal(name: str) -> str:
    """A name as MLflow allows it for a param or metric."""
    return re.sub(r"[^\w. :-]", "_", name)[:250]


def log_params(run_id: str, values: Mapping[str, Value]) -> None:
    """Logs the params of a run once; cuts long values (params.yaml has them whole)."""
    from mlflow.entities import Param

    here = client().get_run(run_id).data.params
    named = {legal(key): value for key, value in values.items()}
    params = [Param(key, str(value)[:LONGEST_VALUE]) for key, value in named.items() if key not in here]
    for start in range(0, len(params), 100):
        client().log_batch(run_id, params=params[start : start + 100])


def log_metrics(run_id: str, values: Mapping[str, float | None], step: int = 0) -> None:
    """Logs metrics at one step in one call, without non-finite values (MLflow would draw them as 1e308).

    Skips values that the run already has: a resumed comparison repeats most of them.
    """
    from mlflow.entities import Metric

    now, there = int(time.time() * 1000), client().get_run(run_id).data.metrics
    finite = {k: rounded(v) for k, v in values.items() if v is not None and math.isfinite(v)}
    metrics = [Metric(k, v, now, step) for k, v in finite.items() if there.get(k) != v]
    for start in range(0, len(metrics), 1000):
        client().log_batch(run_id, metrics=metrics[start : start + 1000])


def rounded(value: float) -> float:
    """A value rounded for reading; an integer stays as it is."""
    if value == int(value):
        return float(value)
    digits = min(MOST, max(LEAST, MOST + 1 + math.floor(math.log10(abs(value)))))
    return float(f"{value:.{digits}g}")


def log_history(run_id: str, rows: Sequence[Mapping[str, float]]) -> None:
    """Logs rows of `epoch` (from 0) and metrics at step epoch + 1; skips points that the run already has."""
    log_rows(run_id, rows, steps_logged(run_id, rows))


def steps_logged(run_id: str, rows: Sequence[Mapping[str, float]]) -> set[tuple[str, int]]:
    """(metric, step) of every logged point of a run, for the metrics in some rows."""
    names = {name for row in rows for name in row if name != "epoch"}
    return {(name, metric.step) for name in names for metric in client().get_metric_history(run_id, name)}


def log_rows(run_id: str, rows: Sequence[Mapping[str, float]], there: set[tuple[str, int]]) -> None:
    """Logs rows as `log_history` does, except the points in `there`, to which it adds the new ones."""
    from mlflow.entities import Metric

    now, metrics = int(time.time() * 1000), []
    for row in rows:
        step = int(row["epoch"]) + 1
        names = sorted(row, key=lambda name: name != FIRST)
        new = {name: row[name] for name in names if name != "epoch" and (name, step) not in there}
        metrics += [Metric(name, rounded(value), now, step) for name, value in new.items() if math.isfinite(value)]
    for start in range(0, len(metrics), 1000):
        client().log_batch(run_id, metrics=metrics[start : start + 1000])
    there |= {(metric.key, metric.step) for metric in metrics}


class Sample(NamedTuple):
    """The load of a machine `at` a time, in milliseconds; `step` counts the samples of a run."""

    at: int
    step: int
    values: Mapping[str, float]


def machine() -> Callable[[], dict[str, float]]:
    """A function that returns the current load of processor, memory and GPUs (if nvidia-ml-py finds any)."""
    from mlflow.system_metrics.metrics.cpu_monitor import CPUMonitor
    from mlflow.system_metrics.metrics.gpu_monitor import GPUMonitor

    monitors: list[Any] = [CPUMonitor()]
    with contextlib.suppress(Exception):  # no such library, no GPU, no driver
        monitors.append(GPUMonitor())

    def sample() -> dict[str, float]:
        metrics: dict[str, float] = {}
        for monitor in monitors:
            monitor.collect_metrics()
            metrics |= monitor.aggregate_metrics()
            monitor.clear_metrics()
        return metrics

    return sample


def log_system_metrics(run_id: str, samples: Sequence[Sample]) -> None:
    """Logs samples under the names that MLflow's system metrics tab shows; does not wait for the server."""
    from mlflow.entities import Metric

    metrics = [
        Metric(f"system/{name}", rounded(value), sample.at, sample.step)
        for sample in samples
        for name, value in sample.values.items()
    ]
    for start in range(0, len(metrics), 1000):
        direct().log_batch(run_id, metrics=metrics[start : start + 1000])


def log_text(run_id: str, text: str, file: str) -> None:
    """Logs a text as an artifact; `file` is its path in the run."""
    client().log_text(run_id, text, file)


def log_file(run_id: str, path: Path, folder: str | None = None) -> None:
    """Logs a file as an artifact, below `folder` of the run."""
    client().log_artifact(run_id, str(path), folder)


def log_dataset(run_id: str, head: "pl.DataFrame", name: str, source: str, digest: str) -> None:
    """Logs the data as a dataset: the first rows give the schema, our digest identifies the content."""
    import mlflow.data
    from mlflow.entities import DatasetInput, InputTag

    with warnings.catch_warnings():  # the source type of a local path is ambiguous, but either will do
        warnings.filterwarnings("ignore", message="The specified dataset source")
        dataset = mlflow.data.from_polars(  # type: ignore[attr-defined]  # made on access
            head, source=source, name=name, digest=digest[:36]
        )
    tags = [InputTag("mlflow.data.context", "training")]
    client().log_inputs(run_id, datasets=[DatasetInput(dataset=dataset._to_mlflow_entity(), tags=tags)])


def share_datasets(parent: str, run_ids: Sequence[str]) -> None:
    """Copies the logged datasets of a run to others that have none yet."""

    def inputs_of(run_id: str) -> list[Any]:
        inputs = client().get_run(run_id).inputs
        return list(inputs.dataset_inputs) if inputs else []

    shared = inputs_of(parent)
    for run_id in run_ids if shared else ():
        if not inputs_of(run_id):
            client().log_inputs(run_id, datasets=shared)


def describe(run_id: str, text: str) -> None:
    """Sets the description on a run's page (Markdown)."""
    client().set_tag(run_id, NOTE, text[:5000])


def describe_experiment(run_id: str, text: str, tags: Mapping[str, str]) -> None:
    """Sets the description and tags of a run's experiment."""
    experiment_id = experiment_of(run_id)
    for key, value in {NOTE: text[:5000], **tags}.items():
        client().set_experiment_tag(experiment_id, key, value)


def artifact(run_id: str, file: str) -> Path:
    """A local copy of a run's artifact.  Raises UserError if the run has no such file."""
    from mlflow.exceptions import MlflowException

    try:
        return Path(client().download_artifacts(run_id, file))
    except (MlflowException, OSError) as error:
        if lost(error):
            raise
        raise UserError(f"run {run_id} has no {file} ({error})") from None


def to_yaml(tree: Mapping[str, Any]) -> str:
    """A mapping as YAML, keys in their order."""
    return str(yaml.safe_dump(dict(tree), sort_keys=False, allow_unicode=True))
