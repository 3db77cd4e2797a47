"""A planted leak (`flows/compare.py`): the comparison fails, and nothing of it is published."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

ROOT = Path(__file__).resolve().parents[2]
PLANTED = """
import functools, sys
import polars as pl
import tasks.lags.panel as panels

real = panels.write_panel

def leaking(frame, *rest):
    names = [name for name in frame.collect_schema().names() if name not in ("unique_id", "ds", "y")]
    return real(frame.with_columns(pl.col(names).shift(-3).over("unique_id")), *rest)

panels.write_panel = leaking  # before whoever takes it from there
from flows.__main__ import run

sys.argv = ["flows", "compare", "params/smoke.yaml", "--variants", "ridge"]
sys.exit(run())
"""


@pytest.mark.story
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::sqlalchemy.exc.SAWarning")
def test_a_planted_leak_leaves_no_leaderboard(tmp_path: Path, prefect_rows: Callable[..., list[tuple[Any, ...]]]) -> None:
    environment = os.environ | {"LAGLINE_HOME": str(tmp_path), "PYTHONPATH": str(ROOT), "COLUMNS": "120"}
    done = subprocess.run(
        [sys.executable, "-c", PLANTED], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert "nothing was registered" in done.stderr and "Leaderboard" not in done.stdout
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    client = MlflowClient(uri, uri)  # else the registry is that of the test before
    (experiment,) = (one for one in client.search_experiments() if one.name == "smoke")
    found = client.search_runs([experiment.experiment_id])
    status = {run.data.tags["kind"]: run.info.status for run in found}
    assert status == {"comparison": "FAILED", "variant": "FINISHED"}  # it was trained, and is not scored
    for run in found:
        assert not [name for name in run.data.metrics if name.startswith("test_")]
        files = {artifact.path for artifact in client.list_artifacts(run.info.run_id)}
        assert not files & {"leaderboard.json", "leaderboard.md", "report.html", "forecasts.parquet", "scores.csv"}
        assert "mlflow.note.content" not in run.data.tags
    assert "mlflow.note.content" not in experiment.tags
    assert client.search_registered_models() == []
    assert prefect_rows(tmp_path, "select key from artifact where key like '%leaderboard%'") == []
