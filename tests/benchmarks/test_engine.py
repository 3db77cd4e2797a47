"""The arithmetic of the benchmark of engines, and what it says where Ray is not installed."""

import sys

import pytest

from benchmarks import engine
from benchmarks.engine import Cost, pays_from


def test_from_how_many_seconds_two_nodes_pay() -> None:
    """By hand: of four fits of w seconds, 4 x (w + 3) here; there 20 at the start, then two turns of w + 1."""
    cost = Cost(work=2.0, local=5.0, ray=3.0)
    w = pays_from(4, cost, 20.0)
    assert w == 5.0 and 4 * (w + 3) == 20 + 2 * (w + 1)
    assert pays_from(3, cost, 20.0) == 13.0  # 3 x (w + 3) here, and two turns there
    assert pays_from(16, cost, 20.0) == 0.0


def test_without_the_extra_one_message_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.setitem(sys.modules, "ray.cluster_utils", None)
    monkeypatch.setattr(sys, "argv", ["engine"])
    with pytest.raises(SystemExit) as ended:
        engine.main()
    told = capsys.readouterr()
    assert ended.value.code == 2 and told.out == ""
    assert "Ray is not installed here; install" in told.err and "[ray]" in told.err and told.err.count("\n") == 1
