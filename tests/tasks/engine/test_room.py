"""Which machines a fit may run on, and how many fits they have room for, worked out by hand."""

import pytest
import torch

from models.fit.settings import Resources
from models.remote import Facts, models_digest
from params.errors import UserError
from tasks.engine.contract import Node, Pool
from tasks.engine.room import Needs, fitting, needs_of, node_of, slots

OLD, NEW = "cpu x86_64 AVX2", "cpu x86_64 AVX512"


def node(kind: str = NEW, **given: object) -> Node:
    return Node(**{"address": "a", "cpus": 8.0, "memory": 16 * 10**9, "kinds": {"cpu": kind}} | given)  # type: ignore[arg-type]


def test_what_a_fit_takes_is_said_or_follows_from_its_threads_and_device() -> None:
    assert needs_of(2, "cpu", Resources()) == Needs(2.0, 0.0, 0)
    assert needs_of(1, "cuda", Resources()) == Needs(1.0, 1.0, 0)
    assert needs_of(1, "cpu", Resources(gpus=0.25)) == Needs(1.0, 0.0, 0)
    assert needs_of(4, "cuda", Resources(cpus=0.5, gpus=0.25, memory=10**9)) == Needs(0.5, 0.25, 10**9)


def test_slots_are_counted_node_by_node_by_what_is_scarcest() -> None:
    pair = [node(), node(cpus=3.0)]
    assert slots(pair, Needs(1.0, 0.0, 0)) == 11 and slots(pair, Needs(2.0, 0.0, 0)) == 5
    assert slots(pair, Needs(1.0, 0.0, 5 * 10**9)) == 6
    assert slots(pair, Needs(1.0, 0.25, 0)) == 0 and slots([node(gpus=2.0)], Needs(1.0, 0.25, 0)) == 8
    assert slots([node(cpus=1.0)], Needs(0.1, 0.0, 0)) == 10  # no slot is lost to rounding


def test_nodes_that_compute_in_different_ways_are_refused_unless_a_kind_chooses() -> None:
    mixed = Pool(address="head:1", nodes=(node(), node(OLD, name="old")))
    assert fitting(Pool(address="head:1", nodes=(node(), node())), "cpu", Resources()) == [node(), node()]
    with pytest.raises(UserError, match=f"different ways .{OLD}, {NEW}.*training.resources.kind=AVX2"):
        fitting(mixed, "cpu", Resources())
    assert [one.name for one in fitting(mixed, "cpu", Resources(kind="avx2"))] == ["old"]
    with pytest.raises(UserError, match=r"no node has cpu and is of kind H200 .training\.resources\.kind."):
        fitting(mixed, "cpu", Resources(kind="H200"))
    with pytest.raises(UserError, match="no node has cuda; there are: cpu"):
        fitting(mixed, "cuda", Resources())


def test_a_node_with_another_torch_or_other_code_is_refused() -> None:
    listed = {"NodeID": "n", "NodeManagerAddress": "10.0.0.6", "Resources": {"CPU": 4.0, "memory": 2e9}}
    same = {"kinds": {"cpu": NEW}, "torch": torch.__version__, "python": "3.12.1", "code": models_digest()}
    found = node_of(listed, Facts(**same), "head:1")
    assert (found.name, found.address, found.cpus, found.gpus, found.memory) == ("n", "10.0.0.6", 4.0, 0.0, 2 * 10**9)
    with pytest.raises(UserError, match=r"node 10\.0\.0\.6 has torch 0\.1, and this machine"):
        node_of(listed, Facts(**same | {"torch": "0.1"}), "head:1")
    with pytest.raises(UserError, match="finds other code"):
        node_of(listed, Facts(**same | {"code": "0" * 64}), "head:1")
