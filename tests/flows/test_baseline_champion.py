"""No network wins (flows/compare.py): the best baseline is registered, promoted, served without this repository, reproduced."""

import json
import os
import subprocess
import sys
from datetime import date
from pathlib import Path

import mlflow
import numpy as np
import polars as pl
import pytest

from tests.marks import STORY

RUN = """
name: steady
data: {path: DATA, id: shop, time: day, target: sales, frequency: 1d}
windows: {horizon: 3, features: {y: {lookback: 30}}}
split: {validation: 20, test: 40}
variants: [elman]
training: {max_epochs: 1, batch_size: 64}
evaluation: {stride: 2, baselines: [last_value, drift, seasonal_naive, theta], season: 7}
"""
SERVED = """
import mlflow, pandas as pd, sys
model = mlflow.pyfunc.load_model("models:/steady@champion")
model.predict(pd.read_parquet(sys.argv[1])).to_parquet(sys.argv[2])
assert not [name for name in sys.modules if name.split(".")[0] in ("flows", "tasks", "models", "params")]
"""
pytestmark = STORY


def levels_under_noise(folder: Path) -> Path:
    """Four shops whose level wanders slowly under much noise, which Theta smooths, and one that opened five days ago."""
    rng, parts = np.random.default_rng(1), []
    days = pl.date_range(date(2023, 1, 1), date(2023, 6, 30), "1d", eager=True)
    for shop, level, rows in (("a", 100, 181), ("b", 140, 181), ("c", 200, 181), ("d", 260, 181), ("new", 180, 5)):
        sales = level + np.cumsum(rng.normal(0, 0.5, rows)) + rng.normal(0, 6, rows)
        parts.append(pl.DataFrame({"shop": shop, "day": days[-rows:], "sales": sales.round(2)}))
    pl.concat(parts).write_parquet(folder / "sales.parquet")
    return folder / "sales.parquet"


def test_theta_is_registered_promoted_served_elsewhere_and_reproduced(warm, home, tmp_path) -> None:
    data = levels_under_noise(tmp_path)
    params = tmp_path / "steady.yaml"
    params.write_text(RUN.replace("DATA", str(data)))

    def told(*arguments: str, status: int = 0) -> str:
        done = warm(*arguments, home=home)
        assert done.returncode == status, done.stdout + done.stderr
        return " ".join((done.stdout + done.stderr).split())

    # registered
    found = told("compare", str(params))
    assert "Registered as steady version 1, alias challenger. It is the baseline theta, which no variant beats" in found
    for words in (
        "Use theta, the best baseline: no variant beats its validation MAE",
        "Why, as far as it is proven: ",
        "- elman was still improving when training.max_epochs (1) was used up",
        f"To try: python -m flows compare {params} --set ",
    ):
        assert words in found, words
    assert told("compare", str(params)).count("Nothing has changed") == 1
    board = json.loads(warm("leaderboard", "steady", "--json", home=home).stdout)
    assert board["chosen"] == board["rows"][0]["name"] == "theta" and board["rows"][0]["kind"] == "baseline"
    client = mlflow.MlflowClient(f"sqlite:///{home}/mlflow.db", f"sqlite:///{home}/mlflow.db")
    version = client.get_model_version_by_alias("steady", "challenger")
    run = client.get_run(version.run_id)
    assert (run.data.tags["kind"], run.data.tags["variant"]) == ("baseline", "theta") and version.tags["variant"] == "theta"
    assert float(version.tags["val_mae"]) == pytest.approx(board["rows"][0]["val_mae"], rel=1e-5)
    assert "A theta baseline that forecasts sales 3 steps of 1d ahead" in version.description
    (root,) = (path.parent for path in (home / "artifacts" / "steady").rglob("seal.json"))
    assert "statsforecast==" in (root / "requirements.txt").read_text()
    files = {path.name for path in (root / "data" / "bundle").iterdir()}
    assert files == {"model.json", "manifest.json", "example.json", "card.md", "checks.json", "constraints.txt", "code"}
    facts = json.loads((root / "data" / "bundle" / "model.json").read_text())
    others = [row["name"] for row in board["rows"] if row["kind"] == "baseline" and row["name"] != "theta"]
    assert [one["name"] for one in facts["fallbacks"]] == others and facts["trained_on"]["baseline"] == "theta"

    # promoted: it is the bar itself
    promoted = told("promote", "steady", "--allow-dirty")
    assert "Promoted: steady version 1 is champion" in promoted and "the same forecasts, bit for bit" in promoted

    # served by our own command, and by mlflow in a process that has no part of this repository
    out = tmp_path / "ours.csv"
    told("forecast", "steady@champion", "--data", str(data), "--out", str(out))
    ours = pl.read_csv(out)
    assert ours.columns == ["shop", "day", "cutoff", "yhat", "yhat-lo-90", "yhat-hi-90", "model"] and ours.height == 5 * 3
    assert set(ours["model"]) == {"theta"}  # five days are enough for it
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    variables = {name: text for name, text in os.environ.items() if name != "PYTHONPATH"}
    variables |= {"MLFLOW_TRACKING_URI": f"sqlite:///{home}/mlflow.db", "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false"}
    command = [sys.executable, "-P", "-c", SERVED, str(data), str(elsewhere / "theirs.parquet")]
    done = subprocess.run(command, cwd=elsewhere, env=variables, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    theirs = pl.read_parquet(elsewhere / "theirs.parquet")
    assert theirs["model"].to_list() == ours["model"].to_list()
    np.testing.assert_allclose(theirs["yhat"].to_numpy(), ours["yhat"].to_numpy(), rtol=1e-9)

    # held against statsforecast by itself
    from statsforecast.models import Theta

    a = pl.read_parquet(data).filter(pl.col("shop") == "a")["sales"].to_numpy()
    mean = Theta(season_length=7).forecast(y=a, h=3)["mean"]
    np.testing.assert_allclose(ours.filter(pl.col("shop") == "a")["yhat"].to_numpy(), mean, rtol=1e-9)

    # again from its data, after everything that nothing refers to is gone; not from others
    told("prune", "--keep", "0")
    assert "was reproduced: the same forecasts, bit for bit" in told("reproduce", "steady@champion")
    assert "steady version 1 already" in told("compare", str(params), "--fresh")
    assert len(client.search_model_versions("name = 'steady'")) == 1
    (panel,) = (home / "panels").iterdir()
    content = bytearray((panel / "target.npy").read_bytes())
    content[-1] ^= 1
    (panel / "target.npy").write_bytes(bytes(content))
    refused = told("reproduce", "steady@champion", status=1)
    assert "was not reproduced: cannot forecast again as it was: data (" in refused
