"""What was measured to be slow, and what a machine does not have."""

from dataclasses import replace

import pytest

from params.load import load_variant
from tasks.engine.contract import Pool
from tasks.engine.local import LOCAL, Local
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


def test_what_this_machine_does_not_have_is_said_and_not_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    node = replace(LOCAL.pool().nodes[0], memory=16 * 10**9, kinds={"cpu": "cpu x86_64 AVX2", "cuda": "cuda NVIDIA H200"})
    monkeypatch.setattr(Local, "pool", lambda self: Pool(address="here", nodes=(node,)))

    def said(device: str, resources: str) -> list[str]:
        settings = [f"training.resources={resources}"]
        return cautions([load_variant(name, RUN, settings) for name in ("gru", "elman")], 1, device)

    for device in ("cpu", "cuda"):
        assert said(device, "{cpus: 2, memory: 4GB}") == said(device, "{}") == []
    assert said("cuda", "{gpus: 0.5, kind: h200}") == []
    assert said("cpu", "{gpus: 0, kind: avx2}") == said("cpu", "{kind: H200}") == []
    (line,) = said("cpu", "{gpus: 1}")
    assert line == (
        "training.resources asks for a GPU (gru, elman), and fits run on cpu x86_64 AVX2 with 16 GB here: it is not looked at; "
        "LAGLINE_ENGINE=ray finds it on a cluster"
    )
    (line,) = said("cuda:0", "{kind: A100}")
    assert line.startswith(
        "training.resources asks for the kind A100 (gru, elman), and fits run on cuda NVIDIA H200 with 16 GB"
    )
    (line,) = said("cpu", "{memory: 64GB}")
    assert line.startswith("training.resources asks for 64 GB of memory (gru, elman)")
