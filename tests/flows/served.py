"""tests/flows/test_greedy.py, test_mixed.py, test_preset.py: a version from its comparison to a process without our code."""

import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import polars as pl

Warm = Callable[..., subprocess.CompletedProcess[str]]
SERVED = """
import mlflow, pandas as pd, sys
model = mlflow.pyfunc.load_model(sys.argv[1])
rows = pd.read_parquet(sys.argv[2]).rename(columns={"origin": "unique_id", "time_hour": "ds", "temp": "y"})
model.predict(rows[["unique_id", "ds", "y", "dewp"]]).to_parquet(sys.argv[3])
assert not [name for name in sys.modules if name.split(".")[0] in ("flows", "tasks", "models", "params", "optuna")]
"""


def settings_of(settings: Sequence[str]) -> list[str]:
    return [part for one in settings for part in ("--set", one)]


def compared(warm: Warm, home: Path, name: str, settings: Sequence[str]) -> Path:
    """The state folder after a comparison that registered a version."""
    done = warm("compare", "params/smoke.yaml", *settings_of(settings), home=home)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"Registered as {name} version 1" in done.stdout, done.stdout
    return home


def promoted(warm: Warm, home: Path, name: str) -> None:
    """Promotes version 1, whose two trainings the gate repeats in processes of their own."""
    done = warm("promote", name, "--allow-dirty", "--allow-chance", home=home)
    assert done.returncode == 0, done.stdout + done.stderr
    words = " ".join(done.stdout.split())
    assert f"Promoted: {name} version 1 is champion" in words
    assert "the judged weights: the same weights, bit for bit" in words and "the refitted weights: the same weights," in words


def served(home: Path, name: str, table: Path, folder: Path, more: Mapping[str, str] | None = None) -> pl.DataFrame:
    """What the champion forecasts for a table of the shipped weather in a process that has MLflow and none of our code."""
    out = folder / "served.parquet"
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    environment |= {"MLFLOW_TRACKING_URI": f"sqlite:///{home}/mlflow.db", "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false"}
    command = [sys.executable, "-P", "-c", SERVED, f"models:/{name}@champion", str(table), str(out)]
    done = subprocess.run(command, cwd=folder, env=environment | dict(more or {}), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return pl.read_parquet(out).sort("unique_id", "ds")
