"""The main job as a person runs it: end to end, again, killed, with data that fails and variants that do; what MLflow holds."""

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from datetime import timedelta
from pathlib import Path

import mlflow
import numpy as np
import polars as pl
import psutil
import pytest
from mlflow import MlflowClient

from models.fit.job import Job
from tasks.engine.contract import Listener
from tasks.train.process import run_fit

ROOT = Path(__file__).resolve().parents[2]
FIGURES = 5e-6  # MLflow has six significant digits
SMOKE = "params/smoke.yaml"
WITH_THETA = ("--set", "evaluation.baselines=[last_value, drift, seasonal_naive, theta]")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # of mlflow's own imports
    pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SAWarning"),
]


def store(home: Path) -> MlflowClient:
    """A client of the runs below a state folder."""
    uri = f"sqlite:///{home}/mlflow.db"
    mlflow.set_tracking_uri(uri)
    mlflow.set_registry_uri(uri)
    return MlflowClient(uri, uri)


def runs(client: MlflowClient, **tags: str) -> list[mlflow.entities.Run]:
    experiments = [e.experiment_id for e in client.search_experiments()]
    clauses = " and ".join(f"tags.`{key}` = '{value}'" for key, value in tags.items())
    return list(client.search_runs(experiments, clauses))


def ours(home: Path) -> list[psutil.Process]:
    """Every living process that knows this state folder: by its environment, never by its name."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("LAGLINE_HOME") == str(home) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found


def wait_for_epochs(home: Path, wanted: int) -> None:
    """Until the one fit of a run under way has logged so many epochs."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        time.sleep(0.1)
        with contextlib.suppress(sqlite3.Error), sqlite3.connect(f"file:{home}/mlflow.db?mode=ro", uri=True) as store:
            if store.execute("SELECT count(*) FROM metrics WHERE key = 'val_mae'").fetchone()[0] >= wanted:
                return
    raise TimeoutError(f"no {wanted} epochs in two minutes")


@pytest.fixture(scope="module")
def both(start, tmp_path_factory):
    """The smoke params compared twice at once in a home that is not there yet: (home, what each printed)."""
    folder = tmp_path_factory.mktemp("run")
    home, files = folder / "home", [[folder / f"{name}.{stream}" for stream in ("out", "err")] for name in "ab"]
    started = [start("compare", SMOKE, *WITH_THETA, home=home, output=out, errors=errors) for out, errors in files]
    ended = [child.wait(timeout=300) for child in started]
    printed = [[file.read_text() for file in written] for written in files]
    assert ended == [0, 0], printed
    return home, [subprocess.CompletedProcess("compare", 0, *texts) for texts in printed]


@pytest.fixture(scope="module")
def finished(both):
    """The comparison of the smoke params: (home, what the one printed that trained)."""
    home, printed = both
    return home, next(done for done in printed if "Nothing has changed" not in done.stdout)


def test_two_at_once_in_a_new_home_share_one_comparison(both) -> None:
    home, printed = both
    assert sorted("Nothing has changed" in done.stdout for done in printed) == [False, True]
    client = store(home)
    assert len(runs(client, kind="comparison")) == 1 and len(runs(client, kind="variant")) == 3
    assert len(client.search_model_versions("name = 'smoke'")) == 1


def test_it_tells_what_it_does_and_ends_with_the_leaderboard(finished) -> None:
    _, done = finished
    for word in (
        "check the data",
        "wind_gust",
        "elman: val_mae",
        "ended by max_epochs",
        "train: done in",
        "leakage canary: done in",
    ):
        assert word in done.stderr
    for word in ("Leaderboard", "ridge", "best baseline: theta", "Registered as smoke version 1, alias challenger", "flows ui"):
        assert word in done.stdout
    for word in (
        "Use theta, the best baseline: no variant beats its",
        "Why, as far as it is proven:",
        "(2) was used up",
        "--set training.max_epochs=8",
    ):
        assert word in done.stdout  # two epochs are few, and the run says so
    assert "Traceback" not in done.stdout + done.stderr


def test_no_process_is_left(finished) -> None:
    assert ours(finished[0]) == []


def test_runs_carry_the_fields_names(finished) -> None:
    client = store(finished[0])
    (parent,) = runs(client, kind="comparison")
    assert parent.info.status == "FINISHED"
    files = {file.path for file in client.list_artifacts(parent.info.run_id)}
    tables = {"forecasts.parquet", "leaderboard.json", "scores.csv", "differences.csv", "memory.csv", "params.yaml", "checks"}
    pictures = {"accuracy.png", "skill.png", "differences.png", "error_by_step.png", "error_by_hour.png", "pareto.png"}
    pictures |= {"memory.png", "importance.png", "importance_by_lag.png", "gradients.png"}
    assert {"report.html", "importance.csv", *tables, *pictures} <= files
    assert "ridge" in parent.data.tags["mlflow.note.content"]
    experiment = client.get_experiment(parent.info.experiment_id)
    first, *rest = experiment.tags["mlflow.note.content"].splitlines()  # one line is seen of it
    assert first.startswith("Use theta, the best baseline: ") and "[report](#/" in first
    assert "\n".join(rest).strip() == parent.data.tags["mlflow.note.content"].strip()
    assert parent.inputs.dataset_inputs[0].dataset.digest == parent.data.tags["data"][:36]
    variants = runs(client, kind="variant")
    assert {run.data.params["variant"] for run in variants} == {"ridge", "elman", "cnn"}
    for run in variants:
        assert run.info.status == "FINISHED"
        assert run.data.tags["mlflow.parentRunId"] == parent.info.run_id
        assert {"variant", "family", "seed"} <= set(run.data.params)
        scores = ["mae", "rmse", "mase", "rmsse", "smape", "bias", "skill", "width_90", "interval_score_90", "msis_95", "wql"]
        scores += ["crps", "coverage_80", "coverage_90", "coverage_95", "worst_fifth_coverage_90"]
        wanted = {f"test_{name}" for name in scores} | {"train_loss", "val_loss", "val_mae", "train_seconds", "num_parameters"}
        assert wanted | {"windows_per_second", "forecast_ms_per_series", "receptive_field"} <= set(run.data.metrics)
        assert all(np.isfinite(value) for value in run.data.metrics.values())
        assert run.inputs.dataset_inputs[0].dataset.digest == parent.data.tags["data"][:36]
        drawn = {file.path for file in client.list_artifacts(run.info.run_id)}
        assert {"forecasts.png", "residuals.png", "memory_card.png", "losses.png"} <= drawn
        curve = client.get_metric_history(run.info.run_id, "test_mae_by_step")
        assert sorted(point.step for point in curve) == [1, 2, 3, 4, 5, 6]
    assert [run.data.params["variant"] for run in variants if "importance_temp" in run.data.metrics] == ["ridge"]  # the best
    elman = next(run for run in variants if run.data.params["variant"] == "elman")
    assert [point.step for point in client.get_metric_history(elman.info.run_id, "val_mae")] == [1, 2]
    baselines = {"last_value", "drift", "seasonal_naive", "theta"}
    assert {run.data.tags["variant"] for run in runs(client, kind="baseline")} == baselines


def test_runs_end_with_their_fits_and_pages_that_compare_them_open_on_val_mae_in_short_figures(finished) -> None:
    client = store(finished[0])
    (parent,) = runs(client, kind="comparison")
    scored_from = parent.info.end_time - 1000 * (parent.data.metrics["seconds_score"] + parent.data.metrics["seconds_register"])
    for run in runs(client, kind="variant") + runs(client, kind="baseline"):
        assert parent.info.start_time <= run.info.start_time <= run.info.end_time < scored_from, run.info.run_name
        keys = list(run.data.metrics)
        assert keys[0] == "val_mae", run.info.run_name
        for name, value in run.data.metrics.items():
            assert value == int(value) or value == float(f"{value:.6g}"), name
    closed = next(run for run in runs(client, kind="variant") if run.data.params["variant"] == "ridge")
    assert "best_epoch" not in closed.data.metrics and "penalty" in closed.data.metrics


def test_a_fit_that_is_taken_over_when_a_run_goes_on_ends_when_it_ended(home, warm) -> None:
    options = ("compare", SMOKE, "--variants", "ridge,elman")
    assert warm(*options, home=home).returncode == 0
    client = store(home)
    (parent,) = runs(client, kind="comparison")
    before = {run.info.run_name: (run.info.start_time, run.info.end_time) for run in runs(client, kind="variant")}
    client.update_run(parent.info.run_id, status="RUNNING")  # as one that was killed while it scored
    done = warm(*options, home=home)
    assert done.returncode == 0 and "taken as it was trained before" in done.stderr, done.stderr
    after = {run.info.run_name: (run.info.start_time, run.info.end_time) for run in runs(client, kind="variant")}
    assert after == before and {run.info.status for run in runs(client)} == {"FINISHED"}


def test_scores_equal_those_recomputed_from_the_forecast_frame(finished) -> None:
    client = store(finished[0])
    (parent,) = runs(client, kind="comparison")
    frame = pl.read_parquet(client.download_artifacts(parent.info.run_id, "forecasts.parquet"))
    assert frame.columns[:4] == ["unique_id", "ds", "cutoff", "y"]
    rows = pl.read_parquet(ROOT / "data" / "nyc_weather.parquet")
    actual = {(o, t): y for o, t, y in rows.select("origin", "time_hour", "temp").iter_rows()}
    assert frame["cutoff"].min() == rows["time_hour"].max() - timedelta(days=14)
    for o, t, y in frame.select("unique_id", "ds", "y").sample(500, seed=0).iter_rows():
        assert y == (None if actual.get((o, t)) is None else pytest.approx(actual[o, t], abs=1e-4))
    scored = {
        run.data.params["variant"]: run.data.metrics for run in runs(client, kind="variant") + runs(client, kind="baseline")
    }
    y = frame["y"].to_numpy()
    naive, bar = (np.abs(y - frame[name].to_numpy()) for name in ("last_value", "theta"))
    for name, metrics in scored.items():
        forecast = frame[name].to_numpy()
        both = ~np.isnan(y) & ~np.isnan(forecast)
        error = forecast[both] - y[both]
        assert metrics["test_mae"] == pytest.approx(np.abs(error).mean(), rel=FIGURES)
        assert metrics["test_rmse"] == pytest.approx(np.sqrt((error**2).mean()), rel=FIGURES)
        assert metrics["test_bias"] == pytest.approx(error.mean(), rel=1e-5, abs=1e-5)
        smape = (200 * np.abs(error) / (np.abs(y[both]) + np.abs(forecast[both]))).mean()
        assert metrics["test_smape"] == pytest.approx(smape, rel=FIGURES)
        inside = (y >= frame[f"{name}-lo-90"].to_numpy()) & (y <= frame[f"{name}-hi-90"].to_numpy())
        assert metrics["test_coverage_90"] == pytest.approx(inside[both].mean(), rel=FIGURES)
        ours = np.abs(y - forecast)
        for skill, theirs in (("test_skill", bar), ("test_skill_naive", naive)):
            rows = ~np.isnan(ours) & ~np.isnan(theirs)
            assert metrics[skill] == pytest.approx(1 - ours[rows].mean() / theirs[rows].mean(), rel=FIGURES, abs=1e-6)
        assert metrics["test_rows"] == (both & ~np.isnan(bar)).sum()


def test_the_registered_version_forecasts_in_a_process_without_this_repository(finished, tmp_path) -> None:
    home, _ = finished
    code = """
import mlflow, pandas as pd, sys
model = mlflow.pyfunc.load_model("models:/smoke@challenger")
rows = pd.read_parquet(sys.argv[1]).rename(columns={"origin": "unique_id", "time_hour": "ds", "temp": "y"})
model.predict(rows[["unique_id", "ds", "y", "dewp"]]).to_parquet(sys.argv[2])
assert not [name for name in sys.modules if name.split(".")[0] in ("flows", "tasks", "models", "params")]
"""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    environment |= {"MLFLOW_TRACKING_URI": f"sqlite:///{home}/mlflow.db", "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false"}
    out = tmp_path / "forecasts.parquet"
    command = [sys.executable, "-P", "-c", code, str(ROOT / "data" / "nyc_weather.parquet"), str(out)]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    frame = pl.read_parquet(out)
    assert frame.height == 3 * 6
    assert {"unique_id", "cutoff", "ds", "yhat", "yhat-lo-90", "yhat-hi-90"} <= set(frame.columns)
    assert frame["yhat"].is_finite().all()


def test_again_nothing_is_trained_and_no_version_is_added(finished, warm) -> None:
    home, _ = finished
    again = warm("compare", SMOKE, *WITH_THETA, home=home)
    assert again.returncode == 0
    assert "Nothing has changed" in again.stdout
    assert "epoch" not in again.stderr
    client = store(home)
    assert len(runs(client, kind="comparison")) == 1
    fresh = warm("compare", SMOKE, *WITH_THETA, "--fresh", home=home)
    assert fresh.returncode == 0
    assert "ended by max_epochs" in fresh.stderr
    assert "smoke version 1 already" in fresh.stdout
    assert len(client.search_model_versions("name = 'smoke'")) == 1
    weights = {run.data.tags["weights"] for run in runs(client, kind="variant", variant="elman")}
    assert len(runs(client, kind="variant", variant="elman")) == 2
    assert len(weights) == 1  # the same bits
    board = warm("leaderboard", "smoke", "--json", home=home)
    facts = json.loads(board.stdout)
    assert facts["chosen"] == facts["baseline"] == "theta" and facts["reasons"]
    assert facts["rows"][0]["val_mae"] <= facts["rows"][1]["val_mae"]
    printed = warm("leaderboard", "smoke", home=home).stdout
    assert "ridge" in printed and "Why, as far as it is proven:" in printed


def test_the_scores_by_slice_and_the_report_are_those_of_the_forecast_frame(finished) -> None:
    client = store(finished[0])
    (parent,) = runs(client, kind="comparison")[-1:]
    frame = pl.read_parquet(client.download_artifacts(parent.info.run_id, "forecasts.parquet"))
    rows = frame.select("ds", error=(pl.col("y") - pl.col("elman")).abs()).drop_nulls()
    hours = rows.group_by(pl.col("ds").dt.hour().alias("hour")).agg(pl.col("error").mean())
    table = pl.read_csv(client.download_artifacts(parent.info.run_id, "scores.csv"), schema_overrides={"value": pl.String})
    told = table.filter((pl.col("model") == "elman") & (pl.col("by") == "hour"))
    assert dict(zip(told["value"].cast(pl.Int64), told["mae"], strict=True)) == pytest.approx(dict(hours.iter_rows()))
    page = Path(client.download_artifacts(parent.info.run_id, "report.html")).read_text()
    assert f'<td class="n">{rows["error"].mean():.3f}</td>' in page
    for word in ("Is the difference real?", "Data checks", "wind_gust", f"python -m flows compare {SMOKE}", "data:image/png"):
        assert word in page


def test_several_seeds_are_one_row_trained_again_in_the_test_and_the_frame_may_stay_at_home(finished, warm) -> None:
    home, _ = finished
    settings = ["name=seeds", "variants=[elman]", "training.seeds=2", "evaluation.save_forecasts=false", "evaluation.refit=20"]
    done = warm("compare", SMOKE, *(part for text in settings for part in ("--set", text)), home=home)
    assert done.returncode == 0, done.stdout + done.stderr
    facts = json.loads(warm("leaderboard", "seeds", "--json", home=home).stdout)
    (elman,) = (row for row in facts["rows"] if row["name"] == "elman")
    fits = [row for row in facts["fits"] if row["family"] == "recurrent"]
    assert [row["name"] for row in sorted(fits, key=lambda row: row["seed"])] == ["elman", "elman-s1"]
    errors = [row["test_mae"] for row in fits]
    assert elman["seeds"] == 2 and elman["test_mae"] == pytest.approx(np.mean(errors))
    assert elman["test_mae_spread"] == pytest.approx(np.std(errors, ddof=1))
    client = store(home)
    parent = client.get_run(facts["run"])
    assert "forecasts.parquet" not in {file.path for file in client.list_artifacts(parent.info.run_id)}
    frame = pl.read_parquet(parent.data.tags["forecasts"])
    again = [run for run in runs(client, kind="refit") if run.data.tags["mlflow.parentRunId"] == facts["run"]]
    assert sorted(run.info.run_name for run in again) == ["elman-s1@2", "elman@2"]
    assert {run.info.status for run in again} == {"FINISHED"}
    first = pl.read_parquet(max(home.glob("checkpoints/*/test-refitted.parquet"))).height
    assert first == frame.height == 3 * 28 * 6
    assert {"elman", "elman-s1", "elman-s1-lo-90", "drift"} <= set(frame.columns)
    for row in fits:
        error = (frame["y"] - frame[row["name"]]).abs()
        assert row["test_mae"] == pytest.approx(error.mean())


@pytest.mark.fault
def test_a_killed_run_goes_on_to_the_same_weights_and_leaves_no_process(home, warm, start, tmp_path) -> None:
    settings = [
        "--set",
        "variants=[elman]",
        "--set",
        "training={max_epochs: 10, patience_epochs: 10, batch_size: 8, learning_rate: 1e-3,",
    ]
    settings[-1] += " seeds: 1, micro_batches: 1, weight_decay: 0.0, clip_norm: 1.0, loss: mae, threads: 1}"
    output = tmp_path / "output.txt"
    child = start("compare", SMOKE, *settings, home=home, output=output)
    wait_for_epochs(home, 2)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    assert "elman: val_mae" not in output.read_text()  # it was not done
    deadline = time.monotonic() + 20
    while ours(home) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert ours(home) == []
    (saved,) = (home / "checkpoints").glob("*/step-*.pt")  # where its fit stopped when its parent was gone
    again = warm("compare", SMOKE, *settings, home=home)
    assert again.returncode == 0 and not saved.exists()
    client = store(home)
    (job,) = (Job.from_dict(json.loads(path.read_text())) for path in home.glob("checkpoints/*/job.json"))
    whole = run_fit(job, tmp_path / "whole", Listener(), threading.Event())
    assert runs(client, kind="variant")[0].data.tags["weights"] == whole.result.weights and not whole.reused
    assert len(runs(client, kind="comparison")) == len(runs(client, kind="variant")) == 1
    history = client.get_metric_history(runs(client, kind="variant")[0].info.run_id, "val_mae")
    assert sorted(point.step for point in history) == list(range(1, 11))


def test_data_that_fails_the_checks_stops_the_run(finished, warm, refused, tmp_path) -> None:
    home, _ = finished
    rows = pl.read_parquet(ROOT / "data" / "nyc_weather.parquet")
    broken = rows.with_columns(dewp=pl.when(pl.int_range(pl.len()) == 700).then(float("inf")).otherwise("dewp"))
    broken.filter(~((pl.col("origin") == "JFK") & (pl.col("time_hour").dt.month() == 5))).write_parquet(
        tmp_path / "broken.parquet"
    )
    done = warm("compare", SMOKE, "--set", f"data.path={tmp_path / 'broken.parquet'}", "--set", "name=broken", home=home)
    refused(done, 1, "finite: dewp", "EWR", "gaps", "JFK")
    client = store(home)
    (checks,) = runs(client, kind="checks")
    assert checks.info.status == "FAILED"
    assert {f.path for f in client.list_artifacts(checks.info.run_id, "checks")} >= {"checks/checks.json", "checks/checks.html"}
    assert client.search_model_versions("name = 'broken'") == []


def test_a_variant_that_diverges_is_a_row_with_its_reason_and_the_best_baseline_is_registered(finished, warm) -> None:
    home, _ = finished
    # without the window's level the network has to learn where it is: in one epoch of a hopeless rate it cannot
    settings = [
        "name=hopeless",
        "variants=[elman, gru]",
        "training.learning_rate=1e30",
        "training.clip_norm=1e30",
        "training.loss=mse",
    ]
    done = warm("compare", SMOKE, *(part for text in settings for part in ("--set", text)), home=home)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "failed" in done.stdout and "not finite" in done.stdout + done.stderr
    told = " ".join(done.stdout.split())
    assert "Registered as hopeless version 1, alias challenger. It is the baseline " in told
    client = store(home)
    (version,) = client.search_model_versions("name = 'hopeless'")
    assert client.get_run(version.run_id).data.tags["kind"] == "baseline"
    failed = [run for run in runs(client, kind="variant") if run.info.status == "FAILED"]
    assert failed and all("test_mae" not in run.data.metrics for run in failed)


@pytest.mark.fault
@pytest.mark.parametrize("whole_group", [True, False], ids=["Ctrl-C in a terminal", "a signal to the process alone"])
def test_an_interrupted_run_ends_with_130_and_no_process(start, home, tmp_path, whole_group) -> None:
    output = tmp_path / "output.txt"
    settings = ["variants=[elman]", "training.max_epochs=100000", "training.patience_epochs=100000"]
    child = start("compare", SMOKE, *(part for text in settings for part in ("--set", text)), home=home, output=output)
    wait_for_epochs(home, 3)
    os.killpg(child.pid, signal.SIGINT) if whole_group else os.kill(child.pid, signal.SIGINT)
    assert child.wait(timeout=60) == 130
    assert "interrupted" in output.read_text()
    assert "Traceback" not in output.read_text()
    assert "goes on from the step" in output.read_text()
    assert ours(home) == []
    assert len(list((home / "checkpoints").glob("*/step-*.pt"))) == 1
    (parent,) = runs(store(home), kind="comparison")
    assert parent.info.status == "KILLED"
