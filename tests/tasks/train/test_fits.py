"""What a run plans before anything is trained: devices, jobs at a time, fits and their labels, network arguments for all."""

from pathlib import Path
from typing import Any

import pytest
import torch

from models.data.panel import Split
from params.errors import UserError
from params.load import load_run, load_variant
from tasks.train.fits import (
    cautions,
    check_shared,
    check_variant,
    choose_device,
    concurrent_fits,
    make_job,
    own_network,
    planned_fits,
)

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
    assert concurrent_fits(1, "cuda") == 1
    monkeypatch.setenv("LAGLINE_JOBS", "3")
    assert concurrent_fits(1, "cpu") == 3
    for bad in ("0", "-1", "two", "²", "1.5"):
        monkeypatch.setenv("LAGLINE_JOBS", bad)
        with pytest.raises(UserError, match="LAGLINE_JOBS"):
            concurrent_fits(1, "cpu")


def test_what_was_measured_to_be_slow_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.train.fits.cores", lambda: 4)

    def said(jobs: int, device: str, *settings: str) -> list[str]:
        return cautions([load_variant(name, RUN, settings) for name in ("ridge", "gru", "elman")], jobs, device)

    assert said(2, "cpu", "training.threads=2") == said(8, "cpu") == said(1, "cuda", "network.hidden_size=128") == []
    (line,) = said(3, "cpu", "training.threads=2")
    assert "3 fits at a time with 2 threads each on 4 cores" in line
    (line,) = said(1, "cuda:0", "network.hidden_size=129")
    assert line.startswith("gru: network.hidden_size 129 is more than 128")
    assert said(1, "cpu", "network.hidden_size=129") == []


def job_of(variant: str, device: str, *settings: str) -> dict[str, Any]:
    windows = load_run(RUN).windows.window_params()
    return make_job(load_variant(variant, RUN, settings), 0, Path("panel"), windows, Split("rows", 9, 9), device)


def test_a_job_says_in_how_many_parts_a_batch_is_trained() -> None:
    """By the rule on a CPU, by the run where it says so, whole on a device: the same always, whatever the machine is doing."""
    wide = ("network.hidden_size=128", "training.batch_size=256")
    assert job_of("lstm", "cpu", *wide)["training"]["micro_batches"] == 7
    assert job_of("lstm", "cuda", *wide)["training"]["micro_batches"] == 1
    assert job_of("elman", "cpu", *wide)["training"]["micro_batches"] == 1
    for device in ("cpu", "cuda"):
        assert job_of("elman", device, "training.micro_batches=4")["training"]["micro_batches"] == 4
    assert job_of("elman", "cpu", "training.micro_batches=500", "training.batch_size=8")["training"]["micro_batches"] == 8


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
