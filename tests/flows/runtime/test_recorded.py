"""A flow goes on, and gives what it gives, when the Prefect server that keeps its record is killed or gone for good."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
HURT = """
import os, signal, sys
from flows.runtime.state import ready
from flows.runtime.begin import leave
from flows.runtime.server import start_prefect
how = sys.argv[1]
server = start_prefect(ready())
child = server.child
try:
    server.wait()
    from prefect import flow, task
    from prefect.artifacts import create_markdown_artifact
    from flows.runtime.recorded import displayed, recorded
    from params.errors import UserError
    def hurt(moment):
        if moment in how.split(", "):
            if "for ever" in how:
                child.arguments[0] = "flows.runtime.nowhere"
            os.kill(child.process.pid, signal.SIGSTOP if "stopped" in how else signal.SIGKILL)
    @task
    def increment(x):
        return x + 1
    @flow
    def inner(x):
        hurt("in a flow of a flow")
        return increment(x)
    @flow
    def count(n):
        x = 0
        for turn in range(n):
            hurt(f"turn {turn}")
            x = recorded(inner, x)
            displayed(create_markdown_artifact, str(x), key="count")
        hurt("end")
        if "fails" in how:
            raise UserError("counted in vain")
        return x
    hurt("before")
    try:
        print("counted", recorded(count, 3), flush=True)
    except UserError as error:
        print(error, flush=True)
finally:
    server.stop()
leave(0)
"""
AGAIN = "our Prefect server has ended (signal 9); it is started again, and what runs goes on"
pytestmark = [pytest.mark.fault, pytest.mark.slow]


def hurt(home: Path, how: str) -> "subprocess.CompletedProcess[str]":
    """A flow whose server is hurt in some moments: "before", "turn N", "in a flow of a flow", "end"; "for ever": it does not
    come back; "stopped": it hangs; "fails": the flow does, in the end."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "MLFLOW_"))}
    settings = ours | {"LAGLINE_HOME": str(home), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", HURT, how]
    done = subprocess.run(command, cwd=ROOT, env=settings, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0 and "Traceback" not in done.stderr, done.stdout + done.stderr
    assert not list((home / "locks").glob("server-*"))
    return done


@pytest.mark.parametrize("how", ["before", "turn 0, turn 2", "in a flow of a flow", "end", "end, fails"])
def test_a_flow_goes_on_and_is_recorded_when_our_server_is_killed(prefect_rows, home: Path, how: str) -> None:
    done = hurt(home, how)
    assert ("counted in vain" if "fails" in how else "counted 3") in done.stdout, done.stdout + done.stderr
    assert AGAIN in done.stderr and set(done.stderr.splitlines()) == {f"lagline: {AGAIN}"}, done.stderr
    states = prefect_rows(home, "select f.name, r.state_type from flow_run r join flow f on f.id = r.flow_id")
    expected = {("inner", "COMPLETED"), ("count", "FAILED" if "fails" in how else "COMPLETED")}
    assert set(states) == expected and len(states) == 4, states


def test_a_server_that_hangs_is_started_again(home: Path) -> None:
    done = hurt(home, "turn 1, stopped")
    assert "counted 3" in done.stdout and "our Prefect server does not answer any more; it is started again" in done.stderr


@pytest.mark.parametrize("how", ["turn 1, for ever", "end, for ever", "end, fails, for ever"])
def test_a_flow_ends_without_a_server_that_cannot_be_started_again(home: Path, how: str) -> None:
    done = hurt(home, how)
    assert ("counted in vain" if "fails" in how else "counted 3") in done.stdout, done.stdout + done.stderr
    assert "cannot be started again" in done.stderr and "What runs goes on without it" in done.stderr, done.stderr
