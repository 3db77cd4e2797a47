"""All kinds of covariates and of scaling, from a table to a registered version that forecasts with them (flows/compare.py).

The columns are called as names of ours are, and as patterns of polars.
"""

import math
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import polars as pl
import pytest
from mlflow import MlflowClient

from models import serving
from tasks.names import column
from tests.marks import STORY

pytestmark = STORY

RUN = """
name: shops
data: {{path: {path}, id: shop, time: day, target: cutoff, frequency: 1d}}
windows:
  horizon: 5
  gap: 1
  max_missing_share: 0.6
  forward_fill: 0
  features:
    y: {{lookback: 14}}
    ^a.*$: {{lookback: 4, sampling_rate: 2, delay: 1}}
    promo: {{lookback: 7}}
  future: [promo]
  calendar: [weekday, yearday]
  static: {{unique_id: categorical, 'number [0]': categorical, size: numeric}}
scaling: {{per: series, method: robust, window: revin, target: log1p}}
split: {{validation: 40d, test: 40d}}
variants: [ridge, gru, cnn]
training: {{max_epochs: 6, batch_size: 64, learning_rate: 5.0e-3}}
evaluation: {{stride: 3, baselines: [last_value, drift, seasonal_naive], season: 7}}
"""


def table() -> pl.DataFrame:
    """Four shops; what is sold follows the weekday and, above all, a promotion that is known ahead."""
    rng, rows = np.random.default_rng(4), []
    for shop, kind, area in (("a", "small", 40.0), ("b", "small", 55.0), ("c", "large", 400.0), ("d", "large", None)):
        for i in range(300):
            promo = float(rng.random() < 0.25)
            sales = (
                (area or 300.0) * (1 + 0.3 * math.sin(2 * math.pi * i / 7)) * (2.5 if promo else 1.0) * rng.lognormal(0, 0.05)
            )
            visits = sales * rng.lognormal(0, 0.2) if rng.random() > 0.1 else None
            rows.append((shop, datetime(2024, 1, 1, tzinfo=UTC) + timedelta(days=i), sales, visits, promo, kind, area))
    names = ("shop", "day", "cutoff", "^a.*$", "promo", "number [0]", "size")
    return pl.DataFrame(rows, schema=names, orient="row")


@pytest.fixture(scope="module")
def compared(warm: Any, new_home: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """One comparison: (home, what it printed)."""
    folder = tmp_path_factory.mktemp("shops")
    table().write_parquet(folder / "shops.parquet")
    (folder / "shops.yaml").write_text(RUN.format(path=folder / "shops.parquet"))
    done = warm("compare", str(folder / "shops.yaml"), home=new_home(folder / "home"))
    assert done.returncode == 0, done.stdout + done.stderr
    return folder, done


def test_what_it_will_take_is_told_and_logged(compared: tuple[Path, Any]) -> None:
    folder, done = compared
    assert "panel: 1,200 rows x 8 channels" in done.stderr and "windows: train " in done.stderr
    assert "  estimate: " in done.stderr and " of memory (by rates measured elsewhere" in done.stderr
    client = MlflowClient(f"sqlite:///{folder / 'home'}/mlflow.db", f"sqlite:///{folder / 'home'}/mlflow.db")
    (parent,) = client.search_runs(["1", "2"], "tags.kind = 'comparison'")
    assert parent.data.metrics["panel_rows"] == 1200
    uri = client.tracking_uri
    table_of = mlflow.artifacts.download_artifacts(run_id=parent.info.run_id, artifact_path="windows.csv", tracking_uri=uri)
    counts = pl.read_csv(table_of)
    assert counts["unique_id"].to_list() == ["a", "b", "c", "d"] and counts["rows"].to_list() == [300] * 4
    assert parent.data.metrics["windows_train"] == counts["train"].sum()


def test_a_promotion_known_ahead_is_used_by_what_is_registered(compared: tuple[Path, Any]) -> None:
    folder, _ = compared
    (bundle,) = {
        path.parent for path in (folder / "home").rglob("model.json") if "bundle" in str(path) or "artifacts" in str(path)
    }
    model = serving.load(bundle)
    history = table().rename({"shop": "unique_id", "day": "ds", "cutoff": "y"})
    cut = pl.col("ds") < datetime(2024, 10, 10, tzinfo=UTC)
    hidden = history.with_columns(pl.when(cut).then(column(name)).alias(name) for name in ("y", "^a.*$"))
    forecasts = {}
    for promo in (0.0, 1.0):
        given = hidden.with_columns(promo=pl.when(cut).then("promo").otherwise(pl.lit(promo)))
        forecasts[promo] = model.forecast(given)["yhat"].to_numpy()
    assert len(forecasts[0.0]) == 4 * 5
    assert (forecasts[1.0] / forecasts[0.0]).mean() > 1.5  # the truth is 2.5
    bare = history.drop("promo")
    with pytest.raises(ValueError, match="column 'promo' is missing"):
        model.forecast(bare)


def test_what_if_runs_take_what_is_known_ahead_from_a_table_of_its_own(
    compared: tuple[Path, Any], warm: Any, refused: Any
) -> None:
    folder, _ = compared
    history, rest = (table().filter(later == (pl.col("day") >= datetime(2024, 10, 10, tzinfo=UTC))) for later in (False, True))
    history.write_parquet(folder / "history.parquet")
    forecasts = {}
    for promo in (0.0, 1.0):
        rest.select("shop", "day", promo=pl.lit(promo)).write_csv(folder / f"{promo:.0f}.csv")
        files = ("--data", str(folder / "history.parquet"), "--future", str(folder / f"{promo:.0f}.csv"))
        done = warm("forecast", "shops@1", *files, "--out", str(folder / "out.parquet"), home=folder / "home")
        assert done.returncode == 0, done.stderr
        forecasts[promo] = pl.read_parquet(folder / "out.parquet")
    assert (forecasts[1.0]["yhat"] / forecasts[0.0]["yhat"]).mean() > 1.5  # the truth is 2.5
    assert forecasts[1.0].join(rest, on=["shop", "day"]).height == 4 * 5  # UTC, as the table has it
    rest.select("shop", "day").write_csv(folder / "none.csv")
    files = ("--data", str(folder / "history.parquet"), "--future", str(folder / "none.csv"))
    done = warm("forecast", "shops@1", *files, "--out", str(folder / "out.parquet"), home=folder / "home")
    refused(done, 2, "--future", "none.csv: there is no column promo")


def test_a_static_covariate_that_changes_is_refused(warm: Any, refused: Any, tmp_path: Path) -> None:
    table().with_columns(size=pl.col("cutoff")).write_parquet(tmp_path / "shops.parquet")
    (tmp_path / "shops.yaml").write_text(RUN.format(path=tmp_path / "shops.parquet"))
    done = warm("lags", str(tmp_path / "shops.yaml"), "--head", home=tmp_path / "home")
    refused(done, 2, "windows.static: 'size' takes 300 values in series 'a'")
