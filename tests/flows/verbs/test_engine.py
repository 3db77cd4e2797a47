"""The verb engine."""

import json
import platform
from collections.abc import Mapping
from dataclasses import replace

import pytest
import torch

import flows.verbs.engine as verb
from params.errors import UserError
from tasks.engine.contract import Node, Pool
from tasks.engine.local import LOCAL, cores

Printed = pytest.CaptureFixture[str]
SAME = Node(
    address="10.0.0.6",
    cpus=8,
    memory=32 * 10**9,
    kinds={"cpu": "cpu x86_64 AVX512"},
    python=platform.python_version(),
    torch=torch.__version__,
)


def found(*nodes: Node, seconds: Mapping[str, float] | None = None) -> verb.Found:
    return verb.Found("ray", Pool(address="10.0.0.5:6379", nodes=nodes, version="2.60.0"), "cpu", 16, seconds or {})


def test_this_machine_says_what_fits_on_it(monkeypatch: pytest.MonkeyPatch, capsys: Printed) -> None:
    monkeypatch.setenv("LAGLINE_DEVICE", "cpu")
    monkeypatch.delenv("LAGLINE_ENGINE", raising=False)
    monkeypatch.delenv("LAGLINE_JOBS", raising=False)
    assert verb.show_engine(as_json=True)
    told = json.loads(capsys.readouterr().out)
    (node,) = told["nodes"]
    assert (told["engine"], told["device"], told["slots"]) == ("local", "cpu", min(cores(), 16))
    assert node["kinds"]["cpu"] == LOCAL.pool().nodes[0].kinds["cpu"] and node["memory"] > 10**8
    assert node["same"] and node["round_trip_seconds"] is None and told["faults"] == []
    monkeypatch.setenv("LAGLINE_JOBS", "3")
    assert verb.show_engine(as_json=False)
    text = capsys.readouterr().out
    assert "local at this machine: fits run on cpu, 3 of one thread at a time" in text and "1 MB" not in text


def test_an_engine_that_there_is_not_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAGLINE_ENGINE", "dask")
    with pytest.raises(UserError, match="LAGLINE_ENGINE=dask"):
        verb.show_engine(as_json=False)


def test_a_node_of_other_versions_takes_no_fit() -> None:
    other = replace(SAME, address="10.0.0.7", torch="1.0", python="3.9.1")
    told = found(SAME, other, seconds={"10.0.0.6": 0.0123}).to_dict()
    assert [node["same"] for node in told["nodes"]] == [True, False]  # type: ignore[attr-defined]
    assert told["faults"] == [
        f"10.0.0.7: python 3.9.1, and {platform.python_version()} here; torch 1.0, and {torch.__version__} here"
    ]
    assert found(SAME, replace(SAME, address="10.0.0.8")).faults == []


def test_kinds_that_are_mixed_are_a_fault_where_fits_run_on_them() -> None:
    older = replace(SAME, address="10.0.0.7", kinds={"cpu": "cpu x86_64 AVX2"})
    (line,) = found(SAME, older).faults
    assert line == "cpu is of 2 kinds (cpu x86_64 AVX2, cpu x86_64 AVX512): a fit has one; training.resources.kind chooses"
    with_gpus = [replace(node, kinds={**node.kinds, "cuda": "cuda NVIDIA H200"}) for node in (SAME, older)]
    assert replace(found(*with_gpus), device="cuda").faults == []


def test_the_table_shows_the_round_trip_and_no_escape_code(monkeypatch: pytest.MonkeyPatch, capsys: Printed) -> None:
    nodes = (replace(SAME, address="ten\x1b[31m"), replace(SAME, gpus=2.0))

    class Cluster:
        name = "ray"

        def pool(self) -> Pool:
            return found(*nodes).pool

        def device(self) -> str:
            return "cpu"

        def jobs(self, threads: int, device: str) -> int:
            return 16

        def round_trips(self) -> dict[str, float]:
            return {SAME.address: 0.0123}

    monkeypatch.setattr(verb, "engine", Cluster)
    assert verb.show_engine(as_json=False)
    text = capsys.readouterr().out
    assert "ray 2.60.0 at 10.0.0.5:6379: fits run on cpu, 16 of one thread at a time" in text
    assert "12.3 ms" in text and "32 GB" in text and "\x1b" not in text
