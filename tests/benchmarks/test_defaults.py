"""benchmarks/defaults.py: the command as one gives it, on a panel of seconds."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from benchmarks import defaults

SMALL = ("training.max_epochs=1", "variants=[ridge, gru]", "evaluation.baselines=[last_value, drift]")
Run = Callable[..., tuple[int, str]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """`run("--seeds", "2")` gives the exit status and what was printed, with its state in a folder of the test's."""

    def call(*arguments: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["defaults", "--work", str(tmp_path / "work"), *arguments])
        return defaults.main(), capsys.readouterr().out

    return call


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder with a panel so short that it holds one validation range and not two."""
    folder = tmp_path / "data"
    folder.mkdir()
    y = np.random.default_rng(0).normal(10, 1, (2, 40))
    frame = pl.DataFrame({"unique_id": np.repeat(["a", "b"], 40), "ds": [*range(40)] * 2, "y": y.ravel()})
    frame.write_parquet(folder / "etth1.parquet")
    return folder


@pytest.mark.story
def test_a_panel_is_compared_as_init_wrote_it_and_read_when_it_is_finished(run: Run, data: Path, tmp_path: Path) -> None:
    asked = ("--data", str(data), "--only", "etth1,bike", "--seeds", "2", *(part for one in SMALL for part in ("--set", one)))
    status, told = run(*asked)
    folder = tmp_path / "work" / "etth1"
    row = json.loads(told.splitlines()[-1])[0]
    assert status == 0 and json.loads((tmp_path / "work" / "rows.json").read_text()) == [row]
    assert (row["panel"], row["series"], row["rows"], row["ranges"]) == ("etth1", 2, 80, 1)
    assert "Too short for 2 validation ranges, and so judged on one: etth1." in told
    assert "no file: bike (bike_sharing_hourly.parquet). --data" in told
    assert row["minutes"] > 0 and row["core_minutes"] > 0 and "test" not in row["network"]
    kept = json.loads((folder / "found.json").read_text())
    by_name = {one["name"]: one for one in kept["leaderboard"]["rows"]}
    assert set(by_name) == {"ridge", "gru", "last_value", "drift"} and by_name["gru"]["seeds"] == 2
    for key, name in (("network", "gru"), ("ridge", "ridge"), ("baseline", kept["leaderboard"]["baseline"])):
        assert row[key] == {"name": name, "error": pytest.approx(by_name[name]["val_score"])}
    log, first = folder / "compare.log", (folder / "compare.log").stat().st_mtime_ns
    assert log.read_text().splitlines()[0].endswith(" ".join(f"--set {one}" for one in SMALL))

    status, again = run(*asked, "--test")
    assert status == 0 and log.stat().st_mtime_ns == first  # read, not computed again
    assert json.loads(again.splitlines()[-1])[0]["network"]["test"] == pytest.approx(by_name["gru"]["test_score"])

    frame = pl.read_parquet(data / "etth1.parquet")
    frame.with_columns(pl.col("y") + 1).write_parquet(data / "etth1.parquet")
    status, failed = run(*asked[:4], "--seeds", "2", "--set", "training.max_epoch=1")
    assert status == 1 and "etth1 failed: compare ended with 2" in failed and "max_epoch" in failed
    left = json.loads((folder / "found.json").read_text())
    assert "leaderboard" not in left and left["seconds"] > 0  # what was found is of other rows; what was tried has its minutes


def test_what_does_not_exist_is_said_at_once(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, words in ((("--only", "etth9"), "etth9"), (("--data", str(tmp_path / "none")), "no such folder")):
        with pytest.raises(SystemExit) as ended:
            run(*arguments)
        assert ended.value.code == 2 and words in capsys.readouterr().err
