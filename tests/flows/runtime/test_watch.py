"""The watch over our Prefect server: a child that was killed, that hangs, or whose clock was set back is started again."""

import http.client
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import flows.runtime.watch
from flows.runtime.child import Child, answers
from flows.runtime.watch import Watch

pytestmark = [pytest.mark.fault, pytest.mark.slow]


@pytest.fixture
def child(tiny: Path) -> Iterator[Child]:
    """A small server that answers."""
    child = Child(tiny, ["tiny"], None, "/", tiny / "child.log", {})
    child.wait(60)
    yield child
    child.stop()


def until(found: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not found():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_child_that_is_gone_or_hangs_is_another_on_the_same_port(
    child: Child, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], number: signal.Signals
) -> None:
    monkeypatch.setattr(flows.runtime.watch, "ASK", 1.0)
    watch, port = Watch(child, lasting=False), child.port
    for _ in range(2):
        before = child.process.pid
        os.kill(before, number)
        until(lambda before=before: child.process.pid != before and answers(port, "/"))
    watch.over()
    told = capfd.readouterr().err
    assert told.count("it is started again, and what runs goes on") == 2 and len(told.splitlines()) == 2
    child.process.kill()
    time.sleep(2)
    assert child.process.poll() is not None  # nobody watches any more


def test_who_asks_while_there_is_no_server_waits_and_is_answered(child: Child) -> None:
    watch = Watch(child, lasting=False)
    child.process.kill()
    child.process.wait()
    connection = http.client.HTTPConnection("127.0.0.1", child.port, timeout=60)
    connection.request("GET", "/")
    assert connection.getresponse().status == 200
    connection.close()
    watch.over()


def test_one_that_cannot_be_started_again_is_given_up_and_asks_are_refused(
    child: Child, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(flows.runtime.watch, "PAUSES", (0.1, 0.1, 0.1))
    child.arguments[0] = "nowhere"
    watch = Watch(child, lasting=False)
    child.process.kill()
    until(lambda: child.listener.fileno() < 0)
    assert not answers(child.port, "/", 1.0)
    watch.over()
    told = capfd.readouterr().err
    assert "cannot be started again" in told and "What runs goes on without it" in told and "Traceback" not in told


@pytest.mark.parametrize("lasting", [True, False])
def test_a_clock_that_is_set_back_starts_the_server_of_a_schedule_again(
    child: Child, lasting: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    """The scheduler of a server whose clock was a year ahead waits for a year."""
    clock, anew = [3e7], list[int]()
    watch = Watch(child, lasting, lambda: clock[0])
    watch.set_back = lambda: anew.append(child.process.pid)
    time.sleep(1)
    before = child.process.pid
    clock[0] += 86_400.0  # a laptop that slept: nothing
    time.sleep(1.5)
    assert child.process.pid == before
    clock[0] = 0.0
    if lasting:
        until(lambda: bool(anew))
        assert anew == [child.process.pid] and child.process.pid != before
        assert "since the clock was set back by 30,086,400 s" in capfd.readouterr().err
    else:
        time.sleep(1.5)
        assert child.process.pid == before and not anew
    watch.over()
