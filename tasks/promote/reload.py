"""A version in a process without this repository, loaded through MLflow as others load it."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from tasks.promote.gates import GateResult
from tasks.registry.load import Version
from tasks.registry.versions import example_frame
from tasks.tracking import connection

RELOADED = """
import json, sys, mlflow, pandas as pd
model = mlflow.pyfunc.load_model(sys.argv[1])
with open(sys.argv[2]) as given, open(sys.argv[3], "w") as made:
    json.dump(model.predict(pd.DataFrame(**json.load(given)))["yhat"].tolist(), made)
"""
CLOSE = 1e-5  # of a forecast, or of one unit where that is more: between two processes


def reloads(version: Version, seconds: float | None = None) -> GateResult:
    """Whether the version, loaded through MLflow in a process without this repository, forecasts what it does here.

    Raises TimeoutExpired after so many seconds, MlflowException where the tracking server did not answer that process, which
    says nothing of the version.
    """
    given = version.folder / "example.json"
    here = version.model.forecast(example_frame(version.folder))["yhat"].to_numpy(float)
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "made.json"
        done = subprocess.run(
            [sys.executable, "-P", "-c", RELOADED, f"models:/{version.name}/{version.version}", str(given), str(made)],
            cwd=folder,
            capture_output=True,
            text=True,
            env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
            timeout=seconds,
        )
        if done.returncode:
            connection.raise_if_away(done.stderr)
            last = done.stderr.strip().splitlines()[-1:] or ["no word"]
            return GateResult("bundle", False, f"it does not load in a fresh process: {last[0]}")
        there = np.array(json.loads(made.read_text()), float)
    gap = float(np.abs(there - here).max())
    passed = bool(np.isclose(there, here, rtol=CLOSE, atol=CLOSE).all())
    return GateResult("bundle", passed, f"its forecasts in a fresh process differ by at most {gap:.2g} from those here")
