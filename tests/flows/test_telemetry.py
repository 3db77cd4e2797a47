"""flows/runtime/state.py keeps the libraries quiet: a comparison talks to this machine alone, in all its processes."""

import os
from pathlib import Path

import pytest

from flows.runtime.state import SILENT

RECORDER = """
import os, sys

def heard(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto"):
        with open(os.environ["HEARD"], "a") as file:
            print(arguments[1] if event in ("socket.connect", "socket.sendto") else arguments[0], event, file=file)

sys.addaudithook(heard)
"""
WITHIN = ("127.0.0.1", "localhost", "b'127.0.0.1'", "('127.0.0.1'", "/")  # the last: a socket in a folder
# with one of these the libraries are quiet by themselves
CALM = ("CI", "PYTEST_CURRENT_TEST", *SILENT)


@pytest.fixture
def asked(flows, new_home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """`asked(NAME=value)`: what a comparison looks up or connects to beyond this machine."""
    (tmp_path / "sitecustomize.py").write_text(RECORDER)

    def compare(**variables: str) -> list[str]:
        log = tmp_path / f"heard-{len(variables)}"
        path = os.pathsep.join((str(Path(__file__).resolve().parents[2]), str(tmp_path)))
        home = new_home(tmp_path / f"home-{len(variables)}")
        arguments = ("compare", "params/smoke.yaml", "--variants", "ridge")
        with monkeypatch.context() as patch:
            for name in CALM:
                patch.delenv(name, raising=False)
            done = flows(*arguments, home=home, HEARD=str(log), PYTHONPATH=path, **variables)
        assert done.returncode == 0, done.stderr
        lines = log.read_text().splitlines()
        assert any("socket.connect" in line for line in lines)  # our own server
        return [line for line in lines if not line.startswith(WITHIN)]

    return compare


@pytest.mark.story
def test_a_comparison_talks_to_this_machine_alone(asked) -> None:
    assert asked() == []


@pytest.mark.story
def test_who_wants_to_tell_the_makers_may(asked) -> None:
    """And so the recorder does hear them."""
    spoken = asked(MLFLOW_DISABLE_TELEMETRY="false", DO_NOT_TRACK="false", PREFECT_SERVER_ANALYTICS_ENABLED="true")
    assert any("mlflow-telemetry" in line for line in spoken) and any("prefect.io" in line for line in spoken)
