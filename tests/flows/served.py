"""tests/flows/test_greedy.py, test_mixed.py, test_preset.py: a version from its comparison to a process without our code."""

import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import polars as pl

DATA = Path(__file__).resolve().parents[2] / "data" / "nyc_weather.parquet"
KEYS = ["origin", "time_hour", "cutoff"]
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


def forecast_file(warm: Warm, home: Path, reference: str, out: Path, *more: str) -> pl.DataFrame:
    """What a version forecasts for the shipped weather by the command line."""
    done = warm("forecast", reference, "--data", str(DATA), "--out", str(out), *more, home=home)
    assert done.returncode == 0, done.stderr
    return pl.read_parquet(out)


def judged_as_scored(warm: Warm, home: Path, name: str, model: str, folder: Path, members: Sequence[str] = ()) -> pl.DataFrame:
    """Forecasts of version 1 next to those that the comparison scored, which must be the same, and its members'."""
    at = ("--from", "2013-12-16T23:00:00", "--stride", "12", "--judged")
    judged = forecast_file(warm, home, f"{name}@1", folder / "judged.parquet", *at)
    assert set(judged["model"]) == {model}
    (scored,) = (pl.read_parquet(path) for path in home.rglob("forecasts.parquet"))
    scored = scored.select(*members, origin="unique_id", time_hour="ds", cutoff="cutoff", scored=model)
    both = judged.join(scored, on=KEYS, nulls_equal=True)
    assert both.height == judged.height - 3 * 6  # the comparison needs an actual next to each
    np.testing.assert_array_equal(both["yhat"].cast(pl.Float32), both["scored"])  # which the file keeps in 32 bits
    return both


def served_as_forecast(warm: Warm, home: Path, name: str, model: str, folder: Path) -> None:
    """The champion forecasts the same by the command line and without our code."""
    ours = forecast_file(warm, home, f"{name}@champion", folder / "ours.parquet").sort(KEYS)
    theirs = served(home, name, DATA, folder)
    assert ours.height == theirs.height == 3 * 6 and set(theirs["model"]) == {model}
    np.testing.assert_array_equal(ours["yhat"], theirs["yhat"])


def unchanged(warm: Warm, home: Path, settings: Sequence[str]) -> None:
    """The same comparison again does nothing."""
    done = warm("compare", "params/smoke.yaml", *settings_of(settings), home=home)
    assert done.returncode == 0 and "Nothing has changed" in done.stdout


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
