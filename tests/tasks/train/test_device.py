"""The device, the fits at a time, and what was measured to be slow."""

import pytest
import torch

from params.errors import UserError
from params.load import load_variant
from tasks.train.device import cautions, choose_device, concurrent_fits

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
    monkeypatch.setattr("tasks.train.device.cores", lambda: 4)

    def said(jobs: int, device: str, *settings: str) -> list[str]:
        return cautions([load_variant(name, RUN, settings) for name in ("ridge", "gru", "elman")], jobs, device)

    assert said(2, "cpu", "training.threads=2") == said(8, "cpu") == said(1, "cuda", "network.hidden_size=128") == []
    (line,) = said(3, "cpu", "training.threads=2")
    assert "3 fits at a time with 2 threads each on 4 cores" in line
    (line,) = said(1, "cuda:0", "network.hidden_size=129")
    assert line.startswith("gru: network.hidden_size 129 is more than 128")
    assert said(1, "cpu", "network.hidden_size=129") == []
