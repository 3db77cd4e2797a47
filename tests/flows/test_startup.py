"""Which heavy libraries the verbs that only look import: what is not needed is not waited for (benchmarks/startup.py)."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HEAVY = {
    "torch",
    "mlflow",
    "prefect",
    "polars",
    "great_expectations",
    "matplotlib",
    "statsforecast",
    "utilsforecast",
    "optuna",
    "captum",
}
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
        ("tune params/none.yaml", set()),
        ("validate params/smoke.yaml --set windows.horizon=0", set()),
        ("history nothing", {"mlflow", "polars"}),  # mlflow itself imports polars
        ("leaderboard nothing", {"mlflow", "polars"}),
        ("watch nothing", {"mlflow", "polars"}),
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


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["compare", "params/none.yaml"], "params/none.yaml: there is no such file"),
        (["compare", "/dev/zero"], "/dev/zero: this is a pipe, a socket or a device"),
        (["compare", "params/smoke.yaml", "--set", "data.frequency=99999999999999d"], "longer than 1,000 years"),
        (["compare", "params/smoke.yaml", "--set", "data.path=none.csv"], "data.path none.csv: there is no such file"),
        (["retrain", "params/smoke.yaml", "--set", "data.path=none.csv"], "data.path none.csv: there is no such file"),
        (["validate", "params/smoke.yaml", "--set", "data.path=none.csv"], "data.path none.csv: there is no such file"),
        (["forecast", "a@1", "--data", "none.csv", "--out", "x.parquet"], "none.csv: there is no such file"),
        (["forecast", "a@1", "--data", "data/nyc_weather.parquet", "--out", "none/x.parquet"], "there is no folder"),
        (["lags", "params/smoke.yaml", "--head", "--rolling", "9" * 20], "--rolling 9"),
        (["promote", "../x"], "the name '../x'"),
        (["watch", "x", "--data", "none.csv"], "none.csv: there is no such file"),
        (["watch", "x", "--out", "none/x.html"], "there is no folder"),
        (["promote", "x", "--timeout", "1e300"], "--timeout 1e+300"),
        (["reproduce", "x@y@z"], "x@y@z: write NAME@champion"),
        (["export", "x@y@z", "x.lagline"], "x@y@z: write NAME@champion"),
        (["export", "x@1", "none/x.lagline"], "FILE none/x.lagline: there is no folder"),
        (["import", "none.lagline"], "none.lagline: there is no such file"),
        (["import", "data"], "data: that is no file"),
    ],
)
def test_what_can_be_known_early_is_told_before_anything_slow_is_imported(words: list[str], told: str, tmp_path: Path) -> None:
    script = f"""
import sys
sys.argv = ["flows", *{words!r}]
from flows.__main__ import run
status = run()
print(status, sorted({{"torch", "mlflow", "prefect", "great_expectations"}} & set(sys.modules)))
"""
    environment = os.environ | {"LAGLINE_HOME": str(tmp_path / "home")}
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.stdout == "2 []\n" and told in done.stderr, done.stdout + done.stderr
    assert done.stderr.count("\n") == 1 and not (tmp_path / "home").exists()
