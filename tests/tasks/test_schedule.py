"""What a schedule decides: due or not, tried again or not; who is told; what came of earlier forecasts; by hand."""

import json
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from params.errors import ChecksFailed, UserError
from params.load import load_run
from tasks.notify import notify
from tasks.realised import keep, on_grid, realised
from tasks.schedule import again, may_pass, remember, superseded

NOW = datetime(2026, 11, 24, 6, 0, tzinfo=UTC)


def test_of_three_due_times_that_a_machine_slept_over_one_run_is_enough(tmp_path: Path) -> None:
    dues = [NOW - timedelta(days=days) for days in (2, 1, 0)]
    assert not superseded(tmp_path, "story", dues[0])  # nothing ever ran
    remember(tmp_path, "story", NOW + timedelta(minutes=1))  # the first of them begins, late
    assert [superseded(tmp_path, "story", due) for due in dues] == [True, True, True]
    assert not superseded(tmp_path, "story", NOW + timedelta(days=1))
    assert not superseded(tmp_path, "other", dues[0]) and not superseded(tmp_path, "story", None)


class ConnectError(Exception):
    __module__ = "httpx"


@pytest.mark.parametrize(
    ("error", "passes"),
    [
        (ConnectError("refused"), True),
        (OSError(28, "No space left on device"), True),
        (UserError("MLFLOW_TRACKING_URI=x: MLflow does not answer (y)"), True),
        (UserError("data.path: there is no such file"), False),
        (ChecksFailed("the data checks failed"), False),
        (ValueError("a fault of ours"), False),
    ],
)
def test_what_may_pass_is_tried_again_and_what_cannot_is_not(error: Exception, passes: bool) -> None:
    assert may_pass(error) is passes
    tried: list[int] = []

    def call() -> dict[str, Any]:
        tried.append(1)
        if len(tried) < 3:
            raise error
        return {"outcome": "promoted"}

    if passes:
        assert again(call, (0.0, 0.0)) == {"outcome": "promoted"} and len(tried) == 3
        tried.clear()
        with pytest.raises(type(error)):
            again(call, (0.0,))  # patience ends
        assert len(tried) == 2
    else:
        with pytest.raises(type(error)):
            again(call, (0.0, 0.0))
        assert len(tried) == 1


def test_the_command_gets_the_json_both_ways_and_its_failure_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script, out = tmp_path / "tell me.sh", tmp_path / "said.txt"
    script.write_text(f'#!/bin/sh\nprintf "%s\\n" "$1" "$2" > "{out}"\ncat >> "{out}"\n')
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    assert not notify("failure", "story")  # nobody is to be told
    monkeypatch.setenv("LAGLINE_NOTIFY_COMMAND", f"'{script}' --to=me")
    assert notify("refusal", "story", why='it said "no"; $(rm -rf /)', at=NOW)
    first, text, again_text = out.read_text().splitlines()
    assert first == "--to=me" and text == again_text
    assert json.loads(text) == {"event": "refusal", "name": "story", "why": 'it said "no"; $(rm -rf /)', "at": str(NOW)}
    for broken in ("/nowhere/at/all", "false", "'unclosed"):
        monkeypatch.setenv("LAGLINE_NOTIFY_COMMAND", broken)
        assert not notify("failure", "story", why="x")


def test_earlier_forecasts_are_scored_on_what_came_by_the_age_of_their_model(tmp_path: Path) -> None:
    """One series, y = row; last value errs by the step, forecasts by 0.5 from the young model and by 4 from the old one."""
    run = load_run("params/smoke.yaml", ["windows.horizon=2", "evaluation.baselines=[last_value]"])
    times = pl.datetime_range(datetime(2024, 1, 1), datetime(2024, 1, 2), "1h", time_unit="us", time_zone="UTC", eager=True)
    history = pl.DataFrame({"unique_id": "a", "ds": times, "y": np.arange(25.0)})
    micro = times.to_physical()
    files = []
    for cutoff, newest, error in ((10, 4, 0.5), (20, 4, 4.0), (24, 4, 9.0)):  # of the last nothing has come yet
        rows = [cutoff + 1, cutoff + 2]
        made = pl.DataFrame(
            {"unique_id": "a", "ds": [times[0] + timedelta(hours=row) for row in rows], "yhat": [row + error for row in rows]}
        )
        made = made.with_columns(
            pl.col("ds").cast(history.schema["ds"]), cutoff=pl.lit(times[cutoff]).cast(history.schema["ds"])
        )
        files.append(keep(made, "1", int(micro[newest]), "story", tmp_path))
    assert len(set(files)) == 3
    kept = pl.concat([pl.read_parquet(file) for file in files])
    found = realised(kept, history, run)
    assert found.by_age["age"].to_list() == [6, 16] and found.by_age["n"].to_list() == [2, 2]
    assert found.by_age["mae"].to_list() == [0.5, 4.0] and found.by_age["naive_mae"].to_list() == [1.5, 1.5]
    assert found.by_age["skill"].to_list() == pytest.approx([1 - 0.5 / 1.5, 1 - 4 / 1.5])
    assert found.skill == pytest.approx(1 - 2.25 / 1.5)
    assert realised(kept.filter(pl.col("cutoff") == times[24]), history, run).skill is None
    holes = history.filter(pl.int_range(pl.len()) % 5 != 3)
    grid = on_grid(holes, run)
    assert grid["ds"].equals(history["ds"]) and grid["y"].null_count() == 5
