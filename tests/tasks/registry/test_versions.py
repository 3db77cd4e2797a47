"""The registry with a real store: one version an identity, and a version that forecasts where this repository is not."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

from models.data.windows import Windows
from tasks.registry.versions import Registered, register
from tasks.tracking import connection, runs
from tests.marks import STORE

NAME = "nyc-weather"
pytestmark = STORE

READER = """
import json, sys
import mlflow, pandas as pd
model = mlflow.pyfunc.load_model("models:/nyc-weather@challenger")
found = model.predict(pd.read_parquet(sys.argv[1]))
ours = [name for name in sys.modules if name.split(".")[0] in ("models", "tasks", "params", "flows")]
print(json.dumps([found["yhat"].tolist(), found["cutoff"].astype(str).tolist(), ours]))
"""


class Store(NamedTuple):
    """A store with one registered bundle."""

    home: Path
    run: str
    bundle: Path
    digest: str
    result: dict[str, Any]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, house: Any) -> Iterator[Store]:
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{home}/mlflow.db")
        patch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
        patch.chdir(home)  # what MLflow writes by mistake shows here
        connection.client.cache_clear()
        connection.connect(home)
        run = runs.child_run(runs.parent_run(runs.experiment(NAME, home), NAME, "0" * 64)[0], "lstm", "1" * 64, {})
        digest = house.write(home / "bundle", house.build())
        yield Store(home, run, home / "bundle", digest, put(home, run, home / "bundle", "a" * 64))
        connection.client.cache_clear()


def put(home: Path, run: str, bundle: Path, identity: str, name: str = NAME) -> Registered:
    tags = {"variant": "lstm", "val_mae": "1.25"}
    return register(bundle, name=name, run_id=run, identity=identity, tags=tags, home=home)


@pytest.fixture
def expected(house: Any) -> np.ndarray:
    """The forecaster's own forecasts from the last complete window of every series, [S * H]."""
    origins = torch.from_numpy(house.panel.offsets[1:] - 1 - house.params.ahead)
    inputs = Windows(house.panel, house.params, origins.numpy()).inputs(origins)
    with torch.no_grad():
        result: np.ndarray = house.build().eval()(*inputs)[..., 0].numpy().ravel()
    return result


def test_a_version_carries_identity_digest_scores_and_the_alias(store: Store) -> None:
    assert store.result == Registered("1", new=True)
    version = connection.client().get_model_version_by_alias(NAME, "challenger")
    assert (str(version.version), version.run_id) == ("1", store.run)
    (seal,) = (store.home / "artifacts").rglob("seal.json")
    sealed = hashlib.sha256(seal.read_bytes()).hexdigest()
    own = {"identity": "a" * 64, "manifest": store.digest, "seal": sealed, "variant": "lstm", "val_mae": "1.25"}
    assert version.tags == own


def test_the_model_belongs_to_its_run_and_the_run_goes_on(store: Store) -> None:
    run = connection.client().get_run(store.run)
    assert run.info.status == "RUNNING"
    (model,) = connection.client().search_logged_models([run.info.experiment_id])
    assert (model.source_run_id, str(model.status)) == (store.run, "READY")
    assert not (store.home / "mlruns").exists()


def test_the_same_identity_is_one_version_and_another_one_moves_the_alias(store: Store) -> None:
    assert put(store.home, store.run, store.bundle, "a" * 64) == Registered("1", new=False)
    name = "another-name"
    with ThreadPoolExecutor(3) as pool:
        results = list(pool.map(lambda _: put(store.home, store.run, store.bundle, "b" * 64, name), range(3)))
    assert {r.version for r in results} == {"1"}
    assert sorted(r.new for r in results) == [False, False, True]
    assert put(store.home, store.run, store.bundle, "c" * 64, name) == Registered("2", new=True)
    assert int(connection.client().get_model_version_by_alias(name, "challenger").version) == 2
    assert put(store.home, store.run, store.bundle, "b" * 64, name) == Registered("1", new=False)
    assert int(connection.client().get_model_version_by_alias(name, "challenger").version) == 1


def test_a_damaged_bundle_is_not_registered(store: Store, house: Any, tmp_path: Path) -> None:
    house.write(tmp_path / "bundle", house.build("ridge", {}), family="ridge", network={})
    (tmp_path / "bundle/weights.safetensors").write_bytes(b"")
    with pytest.raises(ValueError, match=r"weights.safetensors has changed"):
        put(store.home, store.run, tmp_path / "bundle", "d" * 64, "damaged")
    assert not connection.client().search_registered_models("name = 'damaged'")


def test_a_version_forecasts_in_a_process_without_this_repository(
    store: Store, house: Any, expected: np.ndarray, tmp_path: Path
) -> None:
    house.history.write_parquet(tmp_path / "frame.parquet")
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    command = [sys.executable, "-P", "-c", READER, str(tmp_path / "frame.parquet")]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    forecasts, cutoffs, ours = json.loads(done.stdout.splitlines()[-1])
    np.testing.assert_allclose(forecasts, expected, atol=1e-4)
    assert set(cutoffs) == {str(house.history["ds"].max())}
    assert ours == []


def test_mlflow_lets_ordinary_frames_through_and_refuses_a_missing_column(
    store: Store, house: Any, expected: np.ndarray
) -> None:
    import mlflow

    model = mlflow.pyfunc.load_model(f"models:/{NAME}@challenger")
    frame = house.history.to_pandas()
    naive = frame["ds"].dt.tz_localize(None)
    for ds in (frame["ds"], naive, frame["ds"].dt.tz_convert("America/New_York"), naive.astype(str)):
        given = frame.assign(ds=ds, x=frame["x"].astype("int64"), more="columns do not matter")
        np.testing.assert_allclose(model.predict(given)["yhat"], expected, atol=1e-4)
    with pytest.raises(mlflow.MlflowException, match=r"missing inputs \['x'\]"):
        model.predict(frame.drop(columns="x"))
    with pytest.raises(ValueError, match="series 'JFK', column 'x': 'low' is not a number"):
        model.predict(frame.assign(x="low"))
    found = model.predict(frame.assign(ds=naive).rename(columns={"unique_id": "origin", "ds": "time_hour", "y": "temp"}))
    np.testing.assert_allclose(found["yhat"], expected, atol=1e-4)
    assert list(found.columns)[:3] == ["origin", "time_hour", "cutoff"] and found["time_hour"].dt.tz is None
    with pytest.raises(ValueError, match="are named in two ways; give unique_id, ds, y, or origin, time_hour, temp"):
        model.predict(frame.rename(columns={"ds": "time_hour"}))


def test_the_stored_example_and_signature_fit_the_model(store: Store) -> None:
    import mlflow

    model = mlflow.pyfunc.load_model(f"models:/{NAME}@challenger")
    found = model.predict(model.input_example)
    inputs = model.metadata.signature.inputs
    assert inputs.input_names() == ["unique_id", "ds", "y", "x", "origin", "time_hour", "temp"]  # either way to name the keys
    assert inputs.required_input_names() == ["x"]
    assert model.metadata.signature.outputs.input_names() == list(found.columns)
    assert len(found) == 4


def test_a_bit_that_flips_in_the_store_is_refused_by_name(store: Store) -> None:
    import mlflow

    source = connection.client().get_model_version(NAME, "1").source
    (graph,) = (store.home / "artifacts").rglob(f"{str(source).split('/')[-1]}/artifacts/data/bundle/graph.pt2")
    content = graph.read_bytes()
    graph.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(ValueError, match=r"graph.pt2 has changed"):
        mlflow.pyfunc.load_model(f"models:/{NAME}@challenger")
    graph.write_bytes(content)
    mlflow.pyfunc.load_model(f"models:/{NAME}@challenger")
