"""What MLflow's pages show of an experiment by themselves: columns, order, charts, addresses; never talks to MLflow.

The pages keep columns and charts in the browser, where we cannot write.  But an experiment's tag may hold a named view, which the
pages list under "Views" and open at once where an address names it.  The form of that view is no public interface of MLflow: where
a later MLflow does not understand it, the pages show what they show without it, and tests/ui tells.
"""

import base64
import json
import zlib
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote, urlencode

VIEW = "lagline"  # the key of the view in the tag's name and in the address
TAG = f"mlflow.sharedViewState.{VIEW}"
NAME = "Newest comparison"
LONGEST_TAG = 5000  # what MLflow's table of experiment tags holds
TRAINING = ("workflowType", "machine_learning")  # without it a browser that is new here gets the pages for language models

PARAMS = ("variant", "family", "seed")
METRICS = (
    "best_val_mae",
    "test_mae",
    "test_skill",
    "test_mase",
    "test_coverage_90",
    "train_seconds",
    "num_parameters",
)
WIDTHS = {"params": 120, "metrics": 140}  # pixels: the longest of the names above is read whole
BARS = ("test_mae", "test_skill", "test_coverage_90", "train_seconds")
CURVES = {"val_mae": "Validation MAE by epoch", "test_mae_by_step": "Test MAE by step of the horizon"}
OURS, REST = "Comparison", "Model metrics"  # the second is MLflow's own, with a chart of every metric: there, but folded


def view_tag(parent: str) -> tuple[str, str]:
    """The tag of an experiment that makes the view of one comparison: its fits and baselines, the best on validation first."""
    return TAG, _envelope(view(parent))


def experiment_url(base: str, experiment_id: str, charts: bool = False) -> str:
    """The page of an experiment with our view: the table of runs, or the charts beside it."""
    query = [TRAINING, ("viewStateShareKey", VIEW)] + ([("compareRunsMode", "CHART")] if charts else [])
    return _url(base, f"experiments/{quote(experiment_id)}/runs", query)


def run_url(base: str, experiment_id: str, run_id: str, artifact: str = "") -> str:
    """The page of a run, or of one of its artifacts."""
    page = f"experiments/{quote(experiment_id)}/runs/{quote(run_id)}"
    return _url(base, f"{page}/artifacts/{quote(artifact)}" if artifact else page, [TRAINING])


def compare_url(base: str, experiment_id: str, run_ids: Sequence[str]) -> str:
    """The page that lays runs side by side."""
    query = [("runs", json.dumps(list(run_ids))), ("experiments", json.dumps([experiment_id])), TRAINING]
    return _url(base, "compare-runs", query)


def view(parent: str) -> dict[str, Any]:
    """What the pages keep of a view: which runs in which order, columns and their widths, charts in two sections.

    Sorted by a metric the runs stand in one flat list; sorted by date, which is MLflow's way, they hide below their parent.
    """
    columns = [_column("params", name) for name in PARAMS] + [_column("metrics", name) for name in METRICS]
    return {
        "searchFilter": f"tags.`mlflow.parentRunId` = '{parent}'",
        "orderByKey": _column("metrics", "best_val_mae"),
        "orderByAsc": True,
        "selectedColumns": columns,
        "columnOrder": [],
        "columnWidths": {},
        "runsHiddenMode": "SHOW_ALL",
        "compareRunCharts": _charts(),
        "compareRunSections": [_section(OURS, shown=True), _section(REST, shown=False)],
        "isAccordionReordered": True,
    }


def _url(base: str, page: str, query: Sequence[tuple[str, str]]) -> str:
    return f"{base.rstrip('/')}/#/{page}?{urlencode(query)}"


def _column(kind: str, name: str) -> str:
    return f"{kind}.`{name}`"


def _section(name: str, shown: bool) -> dict[str, Any]:
    return {"uuid": name, "name": name, "display": shown, "isReordered": True, "deleted": False, "isGenerated": False}


def _charts() -> list[dict[str, Any]]:
    return [
        *(_chart("LINE", name, displayName=title, **_LINE) for name, title in CURVES.items()),
        *(_chart("BAR", name) for name in BARS),
        _chart(
            "PARALLEL",
            "",
            selectedParams=["variant"],
            selectedMetrics=["best_val_mae", "test_mae", "train_seconds"],
            showAllRuns=True,
        ),
    ]


_LINE = {"xAxisKey": "step", "lineSmoothness": 0, "scaleType": "linear", "xAxisScaleType": "linear", "range": {}}


def _chart(kind: str, metric: str, **more: Any) -> dict[str, Any]:
    common = {
        "uuid": f"{kind}-{metric}",
        "type": kind,
        "metricSectionId": OURS,
        "runsCountToCompare": 100,
        "isGenerated": False,
    }
    return {**common, **({"metricKey": metric, "selectedMetricKeys": [metric]} if metric else {}), **more}


def _envelope(state: dict[str, Any]) -> str:
    """The state under a name, as the pages' own "Save view" writes it; packed, since a tag is short."""
    packed = base64.b64encode(zlib.compress(json.dumps(state, separators=(",", ":")).encode(), 9)).decode()
    text = json.dumps({"name": NAME, "createdAt": 0, "updatedAt": 0, "state": f"deflate;{packed}"})
    assert len(text) <= LONGEST_TAG
    return text
