"""LAGLINE_ENGINE."""

import socket
import sys
import time

import pytest

from params.errors import UserError
from params.load import load_plan
from tasks.engine.choice import engine
from tasks.train.check import check_plan


def test_fits_run_here_unless_another_engine_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for word in (None, "", " local "):
        monkeypatch.delenv("LAGLINE_ENGINE", raising=False)
        if word is not None:
            monkeypatch.setenv("LAGLINE_ENGINE", word)
        assert engine().name == "local" and engine().here
    monkeypatch.setenv("LAGLINE_ENGINE", "dask")
    with pytest.raises(UserError, match="LAGLINE_ENGINE=dask: there is no such engine; write one of: local, ray"):
        engine()


def test_a_cluster_that_cannot_be_had_is_told_before_anything_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAGLINE_ENGINE", "ray")
    plan = load_plan("params/smoke.yaml", [])
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "ray", None)
        with pytest.raises(UserError, match=r"Ray is not installed here; .* -e '\.\[ray\]'"):
            check_plan(plan)


@pytest.mark.engine
def test_an_address_where_nobody_listens_is_told_within_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAGLINE_ENGINE", "ray")
    plan, started = load_plan("params/smoke.yaml", []), time.monotonic()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        for address in (f"127.0.0.1:{free.getsockname()[1]}", "ray://127.0.0.1:10001", "head"):
            monkeypatch.setenv("RAY_ADDRESS", address)
            with pytest.raises(UserError, match=f"RAY_ADDRESS={address}: (nothing answers there|write host:port)"):
                check_plan(plan)
    assert time.monotonic() - started < 30
