"""Every variant as a bundle: it forecasts as the forecaster does, holds no pickle and no path, and says what it is."""

import hashlib
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from safetensors.torch import load_file

from models import serving
from models.data.windows import Windows
from models.exported import export
from params.load import load_variant, variant_names
from tasks.registry.bundle import check_parity
from tasks.registry.facts import BundleFacts

RUN = "params/smoke.yaml"
ROOT = Path(__file__).resolve().parents[3]


def last_forecasts(house: Any, forecaster: torch.nn.Module) -> np.ndarray:
    """The forecaster's own forecasts from the last complete window of every series, [S * H]."""
    origins = torch.from_numpy(house.panel.offsets[1:] - 1 - house.params.ahead)
    windows = Windows(house.panel, house.params, origins.numpy())
    with torch.no_grad():
        result: np.ndarray = forecaster.eval()(*windows.inputs(origins))[..., 0].numpy().ravel()
    return result


ALL = [own for own in (load_variant(name, RUN) for name in variant_names()) if not own.members]
FIRST = {own.family: own for own in reversed(ALL)}  # tests/models/test_families.py exports the others, too


@pytest.mark.slow
@pytest.mark.parametrize("variant", [own.variant for own in FIRST.values()])
def test_every_family_forecasts_from_its_bundle_as_it_does_itself(variant: str, house: Any, tmp_path: Path) -> None:
    own = load_variant(variant, RUN)
    forecaster = house.build(own.family, own.network)
    house.write(tmp_path / "bundle", forecaster, variant=variant, family=own.family, network=own.network)
    found = serving.load(tmp_path / "bundle").forecast(house.history)
    np.testing.assert_allclose(found["yhat"], last_forecasts(house, forecaster), atol=1e-4)
    assert found["unique_id"].tolist() == ["JFK"] * 4 + ["LGA"] * 4


@pytest.mark.parametrize("level", ["none", "mean"])
def test_every_level_can_be_exported(level: str, house: Any, tmp_path: Path) -> None:
    house.write(tmp_path / "bundle", house.build("ridge", {}, level=level), family="ridge", network={}, level=level)


def test_a_bundle_says_what_it_is_and_its_digest_is_that_of_the_manifest(house: Any, tmp_path: Path) -> None:
    forecaster = house.build()
    digest = house.write(tmp_path / "bundle", forecaster, trained_on=house.made(scores={"test_mase": float("nan")}))
    contents = serving.check(tmp_path / "bundle", digest)
    assert digest == hashlib.sha256((tmp_path / "bundle/manifest.json").read_bytes()).hexdigest()
    model = json.loads(contents["model.json"])
    assert (model["variant"], model["family"], model["network"]) == ("lstm", "recurrent", {"cell": "lstm", "hidden_size": 8})
    assert (model["ids"], model["frequency"], model["forward_fill"], model["level"]) == (["JFK", "LGA"], "1h", 3, "last")
    told = model["calibration"]
    assert told["offsets"] == [[[-w / 2, -w / 4, 0, w / 2, w] if w else [None] * 5 for w in (1.0, 2.0, None, 4.0)]]
    assert (told["levels"], told["units"], told["groups"]) == ([0.05, 0.1, 0.5, 0.9, 0.95], [1.0, 2.0, 2.0], [0, 0, 0])
    assert (told["method"], told["scores"]) == ("split", {"split": 2.5, "naive": 3.0})
    assert (told["own"], told["transform"]) == (False, "none") and "half_widths" not in model
    assert model["columns"] == {"unique_id": "origin", "ds": "time_hour", "y": "temp"}
    assert model["trained_on"]["scores"] == {"test_mase": None} and "panel" not in model["trained_on"]["job"]
    assert BundleFacts.from_dict(model).to_dict() == model
    weights = load_file(tmp_path / "bundle/weights.safetensors")
    assert weights.keys() == forecaster.state_dict().keys()
    assert all(torch.equal(weights[name], value) for name, value in forecaster.state_dict().items())
    (code,) = (name for name in contents if name.startswith("code/"))
    assert code == f"code/lagline_serving_{hashlib.sha256(contents[code]).hexdigest()[:12]}.py"
    assert contents[code] == (ROOT / "models/serving.py").read_bytes()


def test_a_bundle_holds_no_pickle_and_no_path_of_this_machine(house: Any, tmp_path: Path) -> None:
    house.write(tmp_path / "bundle", house.build())
    for name, content in serving.check(tmp_path / "bundle").items():
        assert str(ROOT).encode() not in content, name
        assert b".pkl" not in content, name  # what torch.save calls the pickle in its archives
    with zipfile.ZipFile(tmp_path / "bundle/graph.pt2") as archive:
        assert [m.file_size for m in archive.infolist() if m.filename.endswith(".pt")] == [0]  # the sample inputs


def test_the_same_forecaster_gives_the_same_bundle_and_another_another(house: Any, tmp_path: Path) -> None:
    forecaster = house.build("ridge", {})
    first = house.write(tmp_path / "a", forecaster)
    assert house.write(tmp_path / "b", forecaster) == first
    with torch.no_grad():
        forecaster.network.map.bias += 1
    assert house.write(tmp_path / "a", forecaster) != first
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "b"]  # what is half written is renamed or gone


def test_writing_a_bundle_leaves_the_forecaster_as_it_was(house: Any, tmp_path: Path) -> None:
    forecaster = house.build().train()
    before = {name: value.clone() for name, value in forecaster.state_dict().items()}
    house.write(tmp_path / "bundle", forecaster)
    assert forecaster.training
    assert all(torch.equal(before[name], value) for name, value in forecaster.state_dict().items())


def test_a_graph_that_forecasts_otherwise_is_not_registered(house: Any) -> None:
    forecaster = house.build("ridge", {}).eval()
    graph = serving.open_graph(export(forecaster, house.params))
    assert check_parity(graph, forecaster, house.params, house.panel) <= 1e-4
    with torch.no_grad():
        forecaster.network.map.weight[0, 0] += 0.01
    with pytest.raises(ValueError, match="the exported graph differs from the forecaster by"):
        check_parity(graph, forecaster, house.params, house.panel)


def test_each_step_and_each_series_needs_its_calibration(house: Any, tmp_path: Path) -> None:
    for calibrated, words in (
        (house.calibrated([1.0, 2.0, 3.0]), "calibration.offsets: one for each of 4 steps and 5 levels"),
        (house.calibrated([1.0] * 4, series=3), "calibration: one unit and one group for each series and one more"),
    ):
        with pytest.raises(ValueError, match=words):
            house.write(tmp_path / "bundle", house.build(), calibrated=calibrated)
    assert not (tmp_path / "bundle").exists()


def test_the_example_is_just_long_enough_to_forecast_from(house: Any, tmp_path: Path) -> None:
    house.write(tmp_path / "bundle", house.build("ridge", {}), family="ridge", network={})
    given = json.loads((tmp_path / "bundle/example.json").read_text())
    frame = pl.DataFrame(given["data"], schema=given["columns"], orient="row")
    model = serving.load(tmp_path / "bundle")
    assert len(model.forecast(frame)) == 4
    with pytest.raises(ValueError, match="too short"):
        model.forecast(frame[1:])
