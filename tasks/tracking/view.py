"""The view of an experiment in MLflow's UI: columns, order, charts, addresses.

The UI keeps columns and charts in the browser, out of our reach.  But an experiment's tag may hold a named
view, listed under "Views" and opened by its address.  The format is not public: if a later MLflow does not
understand it, its pages look as they do without it, and tests/ui fails.
"""

import base64
import json
import os
import zlib
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlencode

VIEW = "lagline"  # the key of the view in the tag's name and in the address
TAG = f"mlflow.sharedViewState.{VIEW}"
NAME = "Newest comparison"
LONGEST_TAG = 5000  # limit of MLflow's table of experiment tags
TRAINING = ("workflowType", "machine_learning")  # else new browsers get the pages for language models

PARAMS = ("variant", "family", "seed")
# column -> pixels: every name is readable, and with the metrics the table fits a window of 1,600 pixels
WIDTHS = {
    "attributes.`Run Name`": 160,
    "runDateAndNestInfo": 130,  # creation time
    **dict(zip((f"params.`{name}`" for name in PARAMS), (145, 95, 50), strict=True)),
}
LINES = ("val_mae", "test_mae_by_step")
BARS = ("test_mae", "test_skill", "test_interval_score_90", "test_worst_fifth_coverage_90", "train_seconds")
AXES = ["num_parameters", "train_seconds", "best_val_mae", "test_mae"]  # the last sets the colour
OURS, REST = "Comparison", ("Model metrics", "System metrics")  # MLflow's own, folded


def view_tag(parent: str, metrics: Mapping[str, int]) -> tuple[str, str]:
    """The tag that defines the view of one comparison: its fits and baselines, best on validation first.

    `metrics`: the columns shown, and their widths in pixels.
    """
    return TAG, _envelope(view(parent, metrics))


def experiment_url(base: str, experiment_id: str, charts: bool = False) -> str:
    """The page of an experiment with our view: the table of runs, optionally with charts next to it."""
    query = [TRAINING, ("viewStateShareKey", VIEW)] + ([("compareRunsMode", "CHART")] if charts else [])
    return _url(base, f"experiments/{quote(experiment_id)}/runs", query)


def run_url(base: str, experiment_id: str, run_id: str, artifact: str = "") -> str:
    """The page of a run, or of one of its artifacts."""
    page = f"experiments/{quote(experiment_id)}/runs/{quote(run_id)}"
    return _url(base, f"{page}/artifacts/{quote(artifact)}" if artifact else page, [TRAINING])


def view(parent: str, metrics: Mapping[str, int]) -> dict[str, Any]:
    """The state of a view: which runs in which order, columns and their widths, charts in sections.

    Sorted by a metric, the runs form one flat list; by date, the default, they are hidden below their parent.
    """
    widths = WIDTHS | {f"metrics.`{name}`": pixels for name, pixels in metrics.items()}
    return {
        "searchFilter": f"tags.`mlflow.parentRunId` = '{parent}'",
        "orderByKey": "metrics.`best_val_mae`",
        "orderByAsc": True,
        "selectedColumns": [name for name in widths if name.startswith(("params", "metrics"))],
        "columnOrder": list(widths),
        "columnWidths": widths,
        "runsHiddenMode": "SHOW_ALL",
        "compareRunCharts": [
            *(_chart("LINE", name, metricKey=name, selectedMetricKeys=[name], **_LINE) for name in LINES),
            *(_chart("BAR", name, metricKey=name) for name in BARS),
            _chart("PARALLEL", "axes", selectedParams=["variant"], selectedMetrics=AXES, showAllRuns=True),
        ],
        "compareRunSections": [_section(OURS, shown=True), *(_section(name, shown=False) for name in REST)],
        "isAccordionReordered": True,
    }


def _url(base: str, page: str, query: Sequence[tuple[str, str]]) -> str:
    return f"{base.rstrip('/')}/#/{page}?{urlencode(query)}"


def _section(name: str, shown: bool) -> dict[str, str | bool | int]:
    flags = {"display": shown, "isReordered": True, "deleted": False, "isGenerated": False}
    return {"uuid": name, "name": name, "columns": 2, "cardHeight": 480, **flags}


_LINE = {"xAxisKey": "step", "lineSmoothness": 0, "scaleType": "linear", "xAxisScaleType": "linear", "range": {}}


def _chart(kind: str, name: str, **more: Any) -> dict[str, Any]:
    return {"uuid": f"{kind}-{name}", "type": kind, "metricSectionId": OURS, "runsCountToCompare": 100, **more}


def _envelope(state: object) -> str:
    """The state under a name, as the UI's "Save view" writes it; compressed to fit a tag."""
    packed = base64.b64encode(zlib.compress(json.dumps(state, separators=(",", ":")).encode(), 9)).decode()
    text = json.dumps({"name": NAME, "createdAt": 0, "updatedAt": 0, "state": f"deflate;{packed}"})
    assert len(text) <= LONGEST_TAG
    return text


def pages(store: str, artifacts: str) -> Any:
    """The ASGI application of an MLflow server on `store` with these artifacts, without `mlflow server`."""
    from mlflow.environment_variables import _MLFLOW_SGI_NAME
    from mlflow.server.constants import ARTIFACT_ROOT_ENV_VAR, BACKEND_STORE_URI_ENV_VAR, REGISTRY_STORE_URI_ENV_VAR

    os.environ |= {BACKEND_STORE_URI_ENV_VAR: store, REGISTRY_STORE_URI_ENV_VAR: store}
    os.environ |= {ARTIFACT_ROOT_ENV_VAR: artifacts, _MLFLOW_SGI_NAME.name: "uvicorn"}
    from mlflow.server.fastapi_app import app  # reads the variables on import

    return app
