"""The verb engine."""

import json
import platform
from dataclasses import dataclass, replace

import pytest
import torch

import flows.verbs.engine as verb
from params.errors import UserError
from tasks.engine.contract import Node, Pool
from tasks.engine.local import LOCAL, cores

Printed = pytest.CaptureFixture[str]
NODE = Node(
    name="6f0c",
    address="10.0.0.6",
    cpus=8,
    gpus=2,
    memory=32 * 10**9,
    kinds={"cpu": "cpu x86_64 AVX512", "cuda": "cuda NVIDIA H200"},
    python=platform.python_version(),
    torch=torch.__version__,
)
OTHER = replace(NODE, name="a1b2", address="10.0.0.7", python="3.9.1")


@dataclass(frozen=True)
class Cluster:
    """An engine that only answers; nothing runs on it."""

    nodes: tuple[Node, ...]
    name = "ray"

    def pool(self) -> Pool:
        return Pool(address="10.0.0.5:6379", nodes=self.nodes, version="2.60.0")

    def device(self) -> str:
        return "cuda"

    def jobs(self, threads: int, device: str, resources: object = None) -> int:
        return 4

    def round_trips(self) -> dict[str, float]:
        return {NODE.name: 0.0123}


def test_this_machine_says_what_fits_on_it(monkeypatch: pytest.MonkeyPatch, capsys: Printed) -> None:
    monkeypatch.setenv("LAGLINE_DEVICE", "cpu")
    for name in ("LAGLINE_ENGINE", "LAGLINE_JOBS"):
        monkeypatch.delenv(name, raising=False)
    verb.show_engine(as_json=True)
    told = json.loads(capsys.readouterr().out)
    (node,) = told["nodes"]
    assert (told["engine"], told["device"], told["slots"]) == ("local", "cpu", min(cores(), 16))
    assert node["kinds"]["cpu"] == LOCAL.pool().nodes[0].kinds["cpu"] and node["memory"] > 10**8
    assert node["same"] and node["round_trip_seconds"] is None
    monkeypatch.setenv("LAGLINE_JOBS", "3")
    verb.show_engine(as_json=False)
    text = capsys.readouterr().out
    assert "local at this machine" in text and "fits run on cpu, 3 of one thread at a time" in text and "1 MB" not in text


def test_an_engine_that_there_is_not_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAGLINE_ENGINE", "dask")
    with pytest.raises(UserError, match="LAGLINE_ENGINE=dask"):
        verb.show_engine(as_json=False)


def test_a_cluster_says_how_far_it_is_and_where_it_differs(monkeypatch: pytest.MonkeyPatch, capsys: Printed) -> None:
    monkeypatch.setattr(verb, "engine", lambda: Cluster((NODE, OTHER)))
    verb.show_engine(as_json=True)
    told = json.loads(capsys.readouterr().out)
    assert [node["same"] for node in told["nodes"]] == [True, False] and told["version"] == "2.60.0"
    assert [node["round_trip_seconds"] for node in told["nodes"]] == [0.0123, None]
    verb.show_engine(as_json=False)
    text = capsys.readouterr().out
    assert "ray 2.60.0 at 10.0.0.5:6379" in text and "fits run on cuda, 4 of one thread at a time" in text
    assert "3.9.1 *" in text and "* another version than here" in text
    assert "12.3 ms" in text and "32 GB" in text and "NVIDIA H200" in text


def test_what_a_node_calls_itself_moves_no_cursor(monkeypatch: pytest.MonkeyPatch, capsys: Printed) -> None:
    monkeypatch.setattr(verb, "engine", lambda: Cluster((replace(NODE, address="ten\x1b[31m"),)))
    verb.show_engine(as_json=False)
    text = capsys.readouterr().out
    assert "ten" in text and "\x1b" not in text
