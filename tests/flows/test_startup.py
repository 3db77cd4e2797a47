"""Which heavy libraries the verbs that only look import: what is not needed is not waited for (benchmarks/startup.py)."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HEAVY = {"torch", "mlflow", "prefect", "polars", "great_expectations", "matplotlib", "statsforecast", "utilsforecast"}
TOLD = """
import atexit, runpy, sys
atexit.register(lambda: print("MODULES", *sys.modules))
sys.argv[0] = "flows"
runpy.run_module("flows", run_name="__main__")
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "allowed"),
    [
        ("--help", set()),
        ("compare params/none.yaml", set()),
        ("compare params/smoke.yaml --set training.max_epoch=3", set()),
        ("validate params/smoke.yaml --set windows.horizon=0", set()),
        ("history nothing", {"mlflow", "polars"}),  # mlflow itself imports polars
        ("leaderboard nothing", {"mlflow", "polars", "utilsforecast"}),
        ("variants", {"torch"}),
        ("lags params/smoke.yaml --head", {"polars", "prefect"}),
    ],
)
def test_a_verb_imports_no_library_that_it_does_not_need(arguments: str, allowed: set[str], tmp_path: Path) -> None:
    environment = {**os.environ, "LAGLINE_HOME": str(tmp_path / "home")}
    command = [sys.executable, "-c", TOLD, *arguments.split()]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)
    modules = set(done.stdout.split("MODULES ")[1].split())
    assert "Traceback" not in done.stderr
    assert HEAVY & modules <= allowed, f"{arguments}: {done.stderr}"
