"""A tracking server that goes away and comes back: a real one, killed and started again on the same store."""

import threading
import time
from pathlib import Path
from typing import Any

import pytest

from params.errors import UserError
from tasks.tracking import connection, logs, runs
from tasks.train.curves import Curves
from tests.marks import OF_IMPORTS, OF_QUERIES

pytestmark = [pytest.mark.slow, OF_IMPORTS, OF_QUERIES]


def test_patience_is_a_number_of_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    for bad in ("soon", "-1", "inf", "nan"):
        monkeypatch.setenv("LAGLINE_PATIENCE", bad)
        with pytest.raises(UserError, match=f"LAGLINE_PATIENCE={bad}: write how many seconds"), connection.patience():
            pass


def test_every_way_of_not_answering_is_being_away() -> None:
    """The words of MLflow's client for a refused connection and a connection that timed out."""
    from mlflow.exceptions import MlflowException

    for words in ("failed with exception", "failed with timeout exception"):
        assert connection._away(MlflowException(f"API request to http://x/api {words} HTTPConnectionPool(...)"))
    assert not connection._away(MlflowException("Run 'x' not found"))
    assert not connection._away(ValueError("API request to x failed with exception"))


@pytest.mark.parametrize(
    ("value", "told"),
    [(4.5971867647905365, 4.59719), (0.10456318897612737, 0.104563), (0.0739312345, 0.073931), (-0.000970712, -0.0009707),
     (1.23456789e-9, 1.235e-9), (62148641.5, 62148600.0), (1152360.0, 1152360.0), (0.0, 0.0), (-3.0, -3.0)],
)  # fmt: skip
def test_a_metric_has_the_digits_that_a_table_shows_and_a_whole_number_all(value: float, told: float) -> None:
    assert logs.rounded(value) == told


@pytest.mark.fault
def test_no_row_is_lost_while_the_server_is_away_and_no_call_waits_for_it_for_ever(
    server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    connection.connect(tmp_path)
    run = connection.client().create_run(runs.experiment("demo", tmp_path)).info.run_id

    def row(epoch: int) -> dict[str, float]:
        return {"epoch": epoch, "val_mae": 10.0 - epoch, "seconds": 1.0}

    def logged() -> list[tuple[int, float]]:
        return sorted((point.step, point.value) for point in connection.client().get_metric_history(run, "val_mae"))

    with connection.patience(), Curves(run) as curves:
        curves.add(row(0))
        while not logged():
            time.sleep(0.05)
        server.kill()
        for epoch in (1, 2, 3):  # each returns, though nobody answers
            curves.add(row(epoch))
        back = threading.Timer(1.0, server.start)
        back.start()
    back.join()
    assert logged() == [(1, 10.0), (2, 9.0), (3, 8.0), (4, 7.0)]
    assert f"the tracking server at {server.uri} does not answer" in capfd.readouterr().err
    logs.log_history(run, [row(epoch) for epoch in range(5)])  # what is there is not logged twice
    assert logged() == [(1, 10.0), (2, 9.0), (3, 8.0), (4, 7.0), (5, 6.0)]

    with connection.patience(), pytest.raises(Exception, match="not found"):  # an answer is no reason to wait
        connection.client().get_run("0" * 32)

    server.kill()
    monkeypatch.setenv("LAGLINE_PATIENCE", "0.3")
    with pytest.raises(Exception, match="API request to"):  # nothing to lose: no waiting
        logs.tag(run, {"a": "b"})
    with connection.patience():
        with pytest.raises(UserError, match=r"has not answered for \d+ s\.  No fit is lost: start the same command again"):
            logs.tag(run, {"a": "b"})
        runs.abandon(run, "FAILED")  # another error is on its way out: no word of this one
        monkeypatch.setenv("LAGLINE_PATIENCE", "600")
        ending = threading.Timer(1.0, connection.give_up)  # as a comparison does that ends: a call that waits gives up at once
        ending.start()
        with pytest.raises(Exception, match="API request to"):
            logs.tag(run, {"a": "b"})
        ending.join()
