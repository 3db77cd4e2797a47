"""Tests of what MLflow's pages are told: the tag they read and the addresses they open; never starts MLflow (tests/ui does)."""

import base64
import json
import zlib

from tasks.report.columns import BY_NAME, IN_MLFLOW
from tasks.tracking import view as pages

PARENT = "7004166fcb2a47f9b56b540b30f80e25"
METRICS = {BY_NAME[name].metric: BY_NAME[name].pixels for name in IN_MLFLOW}


def read(tag: str) -> tuple[str, dict]:
    """A view's name and state, read as the pages read it: an envelope of numbers and text, the state behind `deflate;`."""
    envelope = json.loads(tag)
    assert isinstance(envelope["createdAt"], int)
    packed = envelope["state"].removeprefix("deflate;")
    assert packed != envelope["state"]
    return envelope["name"], json.loads(zlib.decompress(base64.b64decode(packed)))


def test_the_tag_holds_the_view_and_fits_its_column() -> None:
    key, value = pages.view_tag(PARENT, METRICS)
    assert key == "mlflow.sharedViewState.lagline"
    assert len(value) <= 5000
    assert read(value) == ("Newest comparison", pages.view(PARENT, METRICS))
    assert pages.view_tag(PARENT, METRICS) == (key, value)


def test_the_view_shows_the_runs_below_one_comparison_the_best_first() -> None:
    view = pages.view(PARENT, METRICS)
    assert view["searchFilter"] == f"tags.`mlflow.parentRunId` = '{PARENT}'"
    assert (view["orderByKey"], view["orderByAsc"]) == ("metrics.`best_val_mae`", True)
    assert view["selectedColumns"][:5] == [f"params.`{n}`" for n in ("variant", "family", "seed")] + [
        "metrics.`best_val_mae`",
        "metrics.`test_mae`",
    ]
    assert set(view["selectedColumns"]) <= set(view["columnOrder"]) == set(view["columnWidths"])


def test_every_chart_stands_in_a_section_that_is_open() -> None:
    view = pages.view(PARENT, METRICS)
    shown = {section["uuid"]: section["display"] for section in view["compareRunSections"]}
    charts = view["compareRunCharts"]
    assert shown == {"Comparison": True, "Model metrics": False, "System metrics": False}
    assert {chart["metricSectionId"] for chart in charts} == {"Comparison"}
    assert len({chart["uuid"] for chart in charts}) == len(charts)
    assert [chart["metricKey"] for chart in charts if chart["type"] == "LINE"] == ["val_mae", "test_mae_by_step"]


def test_an_address_opens_the_side_for_training_with_our_view() -> None:
    table = pages.experiment_url("http://127.0.0.1:5000/", "1")
    assert table == "http://127.0.0.1:5000/#/experiments/1/runs?workflowType=machine_learning&viewStateShareKey=lagline"
    assert pages.experiment_url("http://127.0.0.1:5000", "1", charts=True) == f"{table}&compareRunsMode=CHART"


def test_the_address_of_a_run_and_of_its_artifact() -> None:
    run = "http://h/#/experiments/1/runs/abc"
    assert pages.run_url("http://h", "1", "abc") == f"{run}?workflowType=machine_learning"
    assert pages.run_url("http://h", "1", "abc", "report.html") == f"{run}/artifacts/report.html?workflowType=machine_learning"
    assert "/artifacts/forecasts/a%20b%3F.png?" in pages.run_url("http://h", "1", "abc", "forecasts/a b?.png")
