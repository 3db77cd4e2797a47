"""What was measured to be slow."""

import pytest

from params.load import load_variant
from tasks.train.device import cautions

RUN = "params/nyc_weather.yaml"


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
