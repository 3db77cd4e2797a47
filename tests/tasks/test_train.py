"""What a run plans before anything is trained: devices, jobs at a time, fits and their labels, network arguments for all."""

import pytest
import torch

from params.errors import UserError
from params.load import load_run, load_variant
from tasks.train import check_shared, check_variant, choose_device, concurrent_fits, own_network, planned_fits

RUN = "params/nyc_weather.yaml"


def test_a_device_that_is_not_here_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for bad in ("gpu", "cuda:99", "cpu:1", "cuda:-1", "cuda:²"):
        monkeypatch.setenv("LAGLINE_DEVICE", bad)
        with pytest.raises(UserError, match="LAGLINE_DEVICE"):
            choose_device()
    monkeypatch.setenv("LAGLINE_DEVICE", "cpu")
    assert choose_device() == "cpu"
    monkeypatch.delenv("LAGLINE_DEVICE")
    assert choose_device() == ("cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu")


def test_fits_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LAGLINE_JOBS", raising=False)
    assert concurrent_fits(10_000, "cpu") == 1
    assert 1 <= concurrent_fits(1, "cuda") <= 4
    monkeypatch.setenv("LAGLINE_JOBS", "3")
    assert concurrent_fits(1, "cpu") == 3
    for bad in ("0", "-1", "two", "²", "1.5"):
        monkeypatch.setenv("LAGLINE_JOBS", bad)
        with pytest.raises(UserError, match="LAGLINE_JOBS"):
            concurrent_fits(1, "cpu")


def plan(settings: list[str]) -> list[tuple[str, str, int]]:
    run = load_run(RUN, settings)
    return planned_fits(run, {name: load_variant(name, RUN, settings) for name in run.variants})


def test_every_seed_is_a_fit_and_a_closed_form_is_fitted_once() -> None:
    found = plan(["variants=[ridge, gru]", "training.seeds=3"])
    assert found == [("ridge", "ridge", 0), ("gru", "gru", 0), ("gru-s1", "gru", 1), ("gru-s2", "gru", 2)]


def test_a_network_argument_for_all_goes_to_those_that_take_it() -> None:
    settings = ["network.hidden_size=8"]
    ridge, gru = (load_variant(name, RUN, settings) for name in ("ridge", "gru"))
    assert own_network(ridge) == {}
    assert own_network(gru) == {"cell": "gru", "hidden_size": 8}
    windows = load_run(RUN).windows.window_params()
    assert check_variant(gru, windows) < check_variant(load_variant("gru", RUN), windows)
    check_shared([ridge, gru])
    with pytest.raises(UserError, match="no variant of this run takes it"):
        check_shared([ridge])


def test_what_a_variant_itself_says_must_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    gru = load_variant("gru", RUN)
    wrong = gru.model_copy(update={"network": {"cell": "gru", "hidden": 3}})
    with pytest.raises(UserError, match=r"params/variants/gru.yaml.*network.hidden: family recurrent has no such argument"):
        check_variant(wrong, load_run(RUN).windows.window_params())
