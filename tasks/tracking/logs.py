"""What is logged to a run in MLflow: params, metrics in batches, files, data, descriptions."""

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
FIRST = "val_mae"  # MLflow's pages that compare runs open on the first metric that they all have, in the order of logging
MOST, LEAST = 6, 4  # significant digits of a metric, decimals being six: what a table of MLflow's shows.  The files have all


def tag(run_id: str, tags: Mapping[str, str]) -> None:
    """Sets tags, cut at what the store holds."""
    for key, value in tags.items():
        client().set_tag(run_id, key, value[:5000])


def flat(tree: Mapping[str, Any], above: str = "") -> dict[str, Value]:
    """A nested mapping as one level of dotted keys; lists as text, empty mappings left out."""
    result: dict[str, Value] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            result |= flat(value, f"{above}{key}.")
        else:
            result[f"{above}{key}"] = value
    return result


def log_params(run_id: str, values: Mapping[str, Value]) -> None:
    """Params of a run, once; long values are cut here (the whole stands in params.yaml)."""
    from mlflow.entities import Param

    here = client().get_run(run_id).data.params
    named = {re.sub(r"[^\w. :-]", "_", key)[:250]: value for key, value in values.items()}  # MLflow takes a/b, but not a//b
    params = [Param(key, str(value)[:LONGEST_VALUE]) for key, value in named.items() if key not in here]
    for start in range(0, len(params), 100):
        client().log_batch(run_id, params=params[start : start + 100])


def log_metrics(run_id: str, values: Mapping[str, float | None], step: int = 0) -> None:
    """Metrics at one step in one call; what is not a finite number is left out (MLflow would draw it as 1e308).

    So is what the run has already: a comparison that goes on says most things once more.
    """
    from mlflow.entities import Metric

    now, there = int(time.time() * 1000), client().get_run(run_id).data.metrics
    finite = {k: rounded(v) for k, v in values.items() if v is not None and math.isfinite(v)}
    metrics = [Metric(k, v, now, step) for k, v in finite.items() if there.get(k) != v]
    for start in range(0, len(metrics), 1000):
        client().log_batch(run_id, metrics=metrics[start : start + 1000])


def rounded(value: float) -> float:
    """A value as people read it; a whole number stays as it is."""
    if value == int(value):
        return float(value)
    digits = min(MOST, max(LEAST, MOST + 1 + math.floor(math.log10(abs(value)))))
    return float(f"{value:.{digits}g}")


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
        names = sorted(row, key=lambda name: name != FIRST)
        new = {name: row[name] for name in names if name != "epoch" and (name, step) not in there}
        metrics += [Metric(name, rounded(value), now, step) for name, value in new.items() if math.isfinite(value)]
    for start in range(0, len(metrics), 1000):
        client().log_batch(run_id, metrics=metrics[start : start + 1000])
    there |= {(metric.key, metric.step) for metric in metrics}


class Sample(NamedTuple):
    """What a machine did at a time, in milliseconds; `step` counts the samples of a run."""

    at: int
    step: int
    values: Mapping[str, float]


def machine() -> Callable[[], dict[str, float]]:
    """A function that says what the processor, the memory and (where nvidia-ml-py finds any) the GPUs are doing now."""
    from mlflow.system_metrics.metrics.cpu_monitor import CPUMonitor
    from mlflow.system_metrics.metrics.gpu_monitor import GPUMonitor

    monitors: list[Any] = [CPUMonitor()]
    with contextlib.suppress(Exception):  # no such library, no GPU, no driver
        monitors.append(GPUMonitor())

    def sample() -> dict[str, float]:
        found: dict[str, float] = {}
        for monitor in monitors:
            monitor.collect_metrics()
            found |= monitor.aggregate_metrics()
            monitor.clear_metrics()
        return found

    return sample


def log_system_metrics(run_id: str, samples: Sequence[Sample]) -> None:
    """Samples under the names that MLflow's tab of system metrics shows; a server that is away is not waited for."""
    from mlflow.entities import Metric

    metrics = [
        Metric(f"system/{name}", rounded(value), sample.at, sample.step)
        for sample in samples
        for name, value in sample.values.items()
    ]
    for start in range(0, len(metrics), 1000):
        direct().log_batch(run_id, metrics=metrics[start : start + 1000])


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


def share_datasets(parent: str, run_ids: Sequence[str]) -> None:
    """Gives the logged datasets of a run to others, where they have none yet."""

    def inputs_of(run_id: str) -> list[Any]:
        inputs = client().get_run(run_id).inputs
        return list(inputs.dataset_inputs) if inputs else []

    shared = inputs_of(parent)
    for run_id in run_ids if shared else ():
        if not inputs_of(run_id):
            client().log_inputs(run_id, datasets=shared)


def describe(run_id: str, text: str) -> None:
    """The description that a run's page shows (Markdown)."""
    client().set_tag(run_id, NOTE, text[:5000])


def describe_experiment(run_id: str, text: str, tags: Mapping[str, str]) -> None:
    """The description of the experiment of a run, and tags of it."""
    experiment_id = experiment_of(run_id)
    for key, value in {NOTE: text[:5000], **tags}.items():
        client().set_experiment_tag(experiment_id, key, value)


def artifact(run_id: str, file: str) -> Path:
    """A local copy of an artifact of a run.  Raises UserError where the run has none of that name."""
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
