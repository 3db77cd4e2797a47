"""What a schedule decides: due or not, tried again or not; who is told; what came of earlier forecasts; by hand."""

import json
import stat
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import polars as pl
import psutil
import pytest

import tasks.serve.notify
import tasks.serve.realised
from params.errors import ChecksFailed, Unavailable, UserError
from params.load import load_run
from tasks.grid.frequency import Frequency
from tasks.serve.notify import notify
from tasks.serve.realised import keep, on_grid, own_forecasts, realised, score_realised
from tasks.serve.schedule import Memory, may_pass, missed, recall, remember, superseded
from tasks.tracking import connection

NOW = datetime(2026, 11, 24, 6, 0, tzinfo=UTC)


def test_of_three_due_times_that_a_machine_slept_over_one_run_is_enough(tmp_path: Path) -> None:
    dues = [NOW - timedelta(days=days) for days in (2, 1, 0)]
    assert not superseded(tmp_path, "story", dues[0])  # nothing ever ran
    remember(tmp_path, "story", Memory(began=NOW + timedelta(minutes=1)))  # the first of them begins, late
    later = NOW + timedelta(hours=1)
    assert [superseded(tmp_path, "story", due, later) for due in dues] == [True, True, True]
    assert not superseded(tmp_path, "story", NOW + timedelta(days=1), later)
    assert not superseded(tmp_path, "other", dues[0], later) and not superseded(tmp_path, "story", None, later)


def test_a_clock_that_was_ahead_once_skips_no_run(tmp_path: Path) -> None:
    wrong = Memory(began=NOW + timedelta(days=365), accounted=NOW + timedelta(days=400), cron="0 6 * * *", zone="UTC")
    remember(tmp_path, "story", wrong)
    assert not superseded(tmp_path, "story", NOW, NOW)
    assert recall(tmp_path, "story") == wrong and wrong.ahead(NOW) == NOW + timedelta(days=400)
    assert wrong.without(NOW) == Memory(cron="0 6 * * *", zone="UTC") and wrong.without(NOW).ahead(NOW) is None


@pytest.mark.parametrize("text", ["", "{", "[]", "7", '{"began": 3}', '{"began": "soon"}', "\udcff", "[" * 100_000])
def test_a_memory_that_is_damaged_skips_no_run(tmp_path: Path, text: str) -> None:
    (tmp_path / "schedule").mkdir()
    (tmp_path / "schedule" / "story.json").write_text(text, errors="surrogateescape")
    assert recall(tmp_path, "story") == Memory() and not superseded(tmp_path, "story", NOW, NOW)


def test_a_memory_of_an_earlier_lagline_is_read(tmp_path: Path) -> None:
    (tmp_path / "schedule").mkdir()
    (tmp_path / "schedule" / "story.json").write_text('{"began": "2026-11-24T06:00:00+00:00"}')
    assert recall(tmp_path, "story") == Memory(began=NOW) and superseded(tmp_path, "story", NOW, NOW)


def test_runs_that_did_not_happen_are_counted_less_the_one_that_begins(tmp_path: Path) -> None:
    dues = [NOW - timedelta(days=days) for days in (2, 1, 0)]
    assert missed([], None, None) is None and missed(dues[:1], dues[0], None) is None
    found = missed(dues, dues[1], None)
    assert found is not None and (found.runs, found.since) == (2, dues[0])
    assert "2 runs did not happen, due from 2026-11-22 06:00 UTC to 2026-11-24 06:00 UTC" in found.words
    cut = missed(dues[2:], None, dues[0])
    assert cut is not None and (cut.runs, cut.since) == (2, dues[0])
    assert "a run did not happen, due at 2026-11-24 06:00 UTC" in cut.words
    assert "the run that began at 2026-11-22 06:00 UTC was cut off" in cut.words


class ConnectError(Exception):
    __module__ = "httpx"


@pytest.mark.parametrize(
    ("error", "passes"),
    [
        (ConnectError("refused"), True),
        (OSError(28, "No space left on device"), True),
        (OSError(5, "Input/output error"), True),
        (ConnectionResetError("a server went away"), True),
        (TimeoutError("it took too long"), True),
        (FileNotFoundError(2, "No such file or directory"), False),
        (PermissionError(13, "Permission denied"), False),
        (NotADirectoryError(20, "Not a directory"), False),
        (IsADirectoryError(21, "Is a directory"), False),
        (FileExistsError(17, "File exists"), False),
        (OSError(30, "Read-only file system"), False),
        (OSError(36, "File name too long"), False),
        (OSError(40, "Too many levels of symbolic links"), False),
        (Unavailable("a server or a disk"), True),
        (UserError("a column is named 'does not answer'"), False),
        (UserError("data.path: there is no such file"), False),
        (ChecksFailed("the data checks failed"), False),
        (ValueError("a fault of ours"), False),
    ],
)
def test_what_may_pass_is_told_from_what_cannot(error: Exception, passes: bool) -> None:
    assert may_pass(error) is passes


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


@pytest.mark.parametrize(("characters", "cut"), [(20_000, False), (140_000, True), (3_000_000, True)])
def test_a_long_text_comes_whole_on_the_standard_input_and_cut_as_the_argument(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, characters: int, cut: bool
) -> None:
    """Linux takes no argument of more than 128 kB."""
    script = tmp_path / "tell.sh"
    script.write_text(f'#!/bin/sh\nprintf "%s" "$1" > "{tmp_path}/argument"\ncat > "{tmp_path}/input"\n')
    script.chmod(0o700)
    monkeypatch.setenv("LAGLINE_NOTIFY_COMMAND", str(script))
    why = "\u00e4" + "x" * characters
    assert notify("failure", "story", why=why, kind="ValueError", scores={str(n): n for n in range(characters // 10)})
    argument, whole = (json.loads((tmp_path / name).read_bytes()) for name in ("argument", "input"))
    assert whole["why"] == why and len(whole["scores"]) == characters // 10 and "cut" not in whole
    assert (argument == whole) is not cut and (argument["event"], argument["name"]) == ("failure", "story")
    assert not cut or (argument["cut"] is True and argument["why"].startswith("\u00e4xxx") and argument["kind"] == "ValueError")


@pytest.mark.parametrize(
    "body", ["printf '\\377\\376'; yes | head -c 3000000; yes | head -c 3000000 >&2", "sleep 600 & exit 0", "exec 0<&-"]
)
def test_a_command_that_prints_garbage_or_leaves_a_child_has_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str
) -> None:
    (tmp_path / "tell.sh").write_text(f"#!/bin/sh\n{body}\n")
    (tmp_path / "tell.sh").chmod(0o700)
    monkeypatch.setenv("LAGLINE_NOTIFY_COMMAND", str(tmp_path / "tell.sh"))
    monkeypatch.setattr(tasks.serve.notify, "LIMIT", 20.0)
    assert notify("failure", "story", why="x" * 200_000)


def test_a_command_that_hangs_is_ended_with_all_that_it_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "tell.sh").write_text(f"#!/bin/sh\nsleep 600 &\necho $! > {tmp_path}/child\nwait\n")
    (tmp_path / "tell.sh").chmod(0o700)
    monkeypatch.setenv("LAGLINE_NOTIFY_COMMAND", f"{tmp_path}/tell.sh secret")
    monkeypatch.setattr(tasks.serve.notify, "LIMIT", 3.0)
    assert not notify("failure", "story", why="x")
    child = int((tmp_path / "child").read_text())
    end = time.monotonic() + 20
    while psutil.pid_exists(child) and psutil.Process(child).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < end
        time.sleep(0.05)
    assert "did not end within 3 s" in caplog.text and "secret" not in caplog.text


def a_day() -> pl.DataFrame:
    """One series of 25 hours, y = row."""
    times = pl.datetime_range(datetime(2024, 1, 1), datetime(2024, 1, 2), "1h", time_unit="us", time_zone="UTC", eager=True)
    return pl.DataFrame({"unique_id": "a", "ds": times, "y": np.arange(25.0)})


def keep_errors(history: pl.DataFrame, version: str, cutoff: int, newest: int, error: float, home: Path) -> Path:
    """Keeps a version's forecast of the two rows after a cutoff, each wrong by `error`; its newest row is `newest`."""
    rows, times = [cutoff + 1, cutoff + 2], history["ds"]
    made = pl.DataFrame(
        {"unique_id": "a", "ds": [times[0] + timedelta(hours=row) for row in rows], "yhat": [row + error for row in rows]}
    )
    made = made.with_columns(pl.col("ds").cast(times.dtype), cutoff=pl.lit(times[cutoff]).cast(times.dtype))
    return keep(made, version, int(times.to_physical()[newest]), "story", home)


def test_earlier_forecasts_are_scored_on_what_came_by_the_age_of_their_model(tmp_path: Path) -> None:
    """One series, y = row; last value errs by the step, forecasts by 0.5 from the young model and by 4 from the old one."""
    run = load_run("params/smoke.yaml", ["windows.horizon=2", "evaluation.baselines=[last_value]"])
    history = a_day()
    times = history["ds"]
    # of the last nothing has come yet
    some = (("1", 10, 4, 0.5), ("1", 20, 4, 4.0), ("1", 24, 4, 9.0))
    files = [keep_errors(history, version, cutoff, newest, error, tmp_path) for version, cutoff, newest, error in some]
    assert len(set(files)) == 3
    kept = pl.concat([own_forecasts(pl.read_parquet(file)) for file in files])
    found = realised(kept, history, run, "1")
    assert found.by_age["age"].to_list() == [6, 16] and found.by_age["n"].to_list() == [2, 2]
    assert found.by_age["mae"].to_list() == [0.5, 4.0] and found.by_age["naive_mae"].to_list() == [1.5, 1.5]
    assert found.by_age["skill"].to_list() == pytest.approx([1 - 0.5 / 1.5, 1 - 4 / 1.5])
    assert found.skill == pytest.approx(1 - 2.25 / 1.5)
    assert realised(kept.filter(pl.col("cutoff") == times[24]), history, run, "1").skill is None
    holes = history.filter(pl.int_range(pl.len()) % 5 != 3)
    grid = on_grid(holes, Frequency(run.data.frequency))
    assert grid["ds"].equals(history["ds"]) and grid["y"].null_count() == 5


def test_the_skill_that_warns_is_that_of_the_version_that_is_champion_now(tmp_path: Path) -> None:
    """Version 1 errs by 0.5, version 2 by 4 and is newer, version 3 by 9 and has the same newest row as 2."""
    run = load_run("params/smoke.yaml", ["windows.horizon=2", "evaluation.baselines=[last_value]"])
    history = a_day()
    some = (("1", 10, 4, 0.5), ("2", 16, 14, 4.0), ("3", 18, 14, 9.0), ("4", 24, 20, 9.0))  # of 4 nothing has come true
    files = [keep_errors(history, version, cutoff, newest, error, tmp_path) for version, cutoff, newest, error in some]
    kept = pl.concat([own_forecasts(pl.read_parquet(file)) for file in files])
    for champion, error in (("1", 0.5), ("2", 4.0), ("3", 9.0)):  # of the two rows last value errs by 1 and 2
        assert realised(kept, history, run, champion).skill == pytest.approx(1 - error / 1.5)
    for champion in ("4", "5", None):
        found = realised(kept, history, run, champion)
        assert found.skill is None and found.by_age["age"].to_list() == [2, 4, 6]


def test_intervals_that_did_not_hold_are_warned_of_by_name(tmp_path: Path) -> None:
    """Forty nights of two series: of a nine actuals of ten lie inside, of b every second."""
    run = load_run("params/smoke.yaml", ["windows.horizon=2", "evaluation.baselines=[last_value]"])
    nights, times = 40, [datetime(2024, 1, 1, tzinfo=UTC) + timedelta(hours=hour) for hour in range(81)]
    history = pl.concat(pl.DataFrame({"unique_id": name, "ds": times, "y": [0.0] * 81}) for name in ("a", "b"))
    history = history.with_columns(pl.col("ds").cast(pl.Datetime("us", "UTC")))

    def served(share: float) -> pl.DataFrame:
        files = []
        for night in range(nights):
            rows = history.filter(pl.col("ds").is_in(times[2 * night + 1 : 2 * night + 3]))
            made = rows.select("unique_id", "ds", cutoff=pl.lit(times[2 * night]).cast(rows.schema["ds"]), yhat=pl.lit(0.0))
            out = 7 * (pl.int_range(pl.len()).over("unique_id") + 2 * night) % 20
            low = pl.when(out >= pl.when(pl.col("unique_id") == "b").then(20 * share).otherwise(18)).then(1.0).otherwise(-1.0)
            files.append(
                keep(made.with_columns(low.alias("yhat-lo-90"), pl.lit(2.0).alias("yhat-hi-90")), "1", 0, "story", tmp_path)
            )
        return pl.concat([own_forecasts(pl.read_parquet(file)) for file in files])

    found = realised(served(0.5), history, run, "1")
    assert found.coverage == pytest.approx(0.7, abs=0.05) and found.by_age["coverage"].null_count() == 0
    assert "outside by more than chance: " in found.outside and "series 'b' with" in found.outside
    assert "series 'a' with" not in found.outside.split("outside by")[1]
    fine = realised(served(0.9), history, run, "1")
    assert fine.coverage == pytest.approx(0.9, abs=0.05) and fine.outside == ""


def test_a_champion_that_was_put_back_is_not_warned_of_for_the_version_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    history, champions = a_day(), iter(("2", "1", "3", None))
    rows = history.rename({"unique_id": "shop", "ds": "time", "y": "sold"})
    rows.write_parquet(tmp_path / "day.parquet")
    columns = ("id=shop", "time=time", "target=sold", "frequency=1h", f"path={tmp_path / 'day.parquet'}")
    settings = (
        *(f"data.{column}" for column in columns),
        "windows.horizon=2",
        "evaluation.baselines=[last_value]",
        "name=story",
    )
    run = load_run("params/smoke.yaml", [*settings, "windows.features={y: {lookback: 3}}", "split={validation: 3, test: 3}"])
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    connection.client.cache_clear()
    connection.connect(tmp_path)
    for version, cutoff, newest, error in (("1", 10, 4, 0.5), ("2", 16, 14, 4.0)):
        keep_errors(history, version, cutoff, newest, error, tmp_path)

    def champion(*_: str) -> SimpleNamespace | None:
        number = next(champions)
        return None if number is None else SimpleNamespace(version=number)

    monkeypatch.setattr(tasks.serve.realised, "find", champion)
    told = [score_realised.fn(run, tmp_path).warning for _ in range(4)]
    connection.client.cache_clear()
    assert told[0] is not None and "version 2 has served have a realised skill of -166.7% against the best naive" in told[0]
    assert told[1:] == [None, None, None]  # nothing of version 3 was kept, and then there is no champion
    assert json.loads((tmp_path / "served" / "story" / "scored.json").read_text())["until"] == history["ds"].to_physical()[-1]
