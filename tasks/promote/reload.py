"""Loads a version's verified copy through MLflow, in a process without this repository."""

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

RELOADED = """
import gc, sys
gc.disable()  # it takes a quarter of the time of the imports
own, sys.pycache_prefix = sys.pycache_prefix, None  # what is installed is read from its bytecode, else it takes half a minute
import json, mlflow.pyfunc, pandas as pd, torch.export
sys.pycache_prefix = own
model = mlflow.pyfunc.load_model(sys.argv[1])
with open(sys.argv[2]) as given, open(sys.argv[3], "w") as made:
    json.dump(model.predict(pd.DataFrame(**json.load(given)))["yhat"].tolist(), made)
gc.freeze()  # else the interpreter looks through all that was imported at its end
"""
CLOSE = 1e-5  # tolerance between two processes, relative to the forecast, at least to 1


def reloads(version: Version, seconds: float | None = None) -> GateResult:
    """Whether MLflow, in a process without this repository, forecasts with the version as we do here.

    Reads and writes no bytecode next to the version's code.  Raises TimeoutExpired after `seconds`.
    """
    given = version.folder / "example.json"
    here = version.model.forecast(example_frame(version.folder))["yhat"].to_numpy(float)
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "made.json"
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        done = subprocess.run(
            [sys.executable, "-B", "-P", "-c", RELOADED, str(version.root), str(given), str(made)],
            cwd=folder,
            capture_output=True,
            text=True,
            env=environment | {"PYTHONPYCACHEPREFIX": str(Path(folder) / "bytecode")},
            timeout=seconds,
        )
        if done.returncode:
            last = done.stderr.strip().splitlines()[-1:] or ["no word"]
            return GateResult("bundle", False, f"it does not load in a fresh process: {last[0]}")
        there = np.array(json.loads(made.read_text()), float)
    gap = float(np.abs(there - here).max())
    passed = bool(np.isclose(there, here, rtol=CLOSE, atol=CLOSE).all())
    return GateResult("bundle", passed, f"its forecasts in a fresh process differ by at most {gap:.2g} from those here")
