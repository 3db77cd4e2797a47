"""The whole story of a champion by the command line (flows/promote.py, flows/retrain.py), on the shipped data cut by date."""

import json
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = ("name=story", "windows.horizon=12", "windows.stride=6", "evaluation.stride=6", "variants=[gru]")
pytestmark = pytest.mark.story


def test_compare_promote_again_refuse_roll_back_and_forecast(warm, refused, home, tmp_path) -> None:
    rows = pl.read_parquet(ROOT / "data" / "nyc_weather.parquet")
    for name, month in (("early", 10), ("late", 12)):
        rows.filter(pl.col("time_hour") < datetime(2013, month, 1, tzinfo=UTC)).write_parquet(tmp_path / f"{name}.parquet")

    def compare(data: str, epochs: int) -> str:
        settings = (*SETTINGS, f"data.path={tmp_path / data}.parquet", f"training.max_epochs={epochs}")
        done = warm("compare", "params/smoke.yaml", *(part for one in settings for part in ("--set", one)), home=home)
        assert done.returncode == 0, done.stdout + done.stderr
        return str(done.stdout)

    def promote(*more: str) -> str:
        done = warm("promote", "story", "--allow-dirty", *more, home=home)
        assert done.returncode == 0, done.stdout + done.stderr
        return " ".join((done.stdout + done.stderr).split())

    assert "Next: python -m flows promote story --dry-run" in compare("early", 1)
    first = promote()
    assert "Promoted: story version 1 is champion (entry 1 of the ledger)." in first and "failed" not in first
    assert "bit for bit" in first and "55 origins of 3 series that no version has seen" in first
    compare("late", 8)
    dry = promote("--dry-run")
    assert "It would be promoted" in dry and "passed champion error -" in dry
    assert "Promoted: story version 2 is champion (entry 2 of the ledger)." in promote()

    # a worse one, as a schedule would bring it
    served, script = tmp_path / "served.parquet", tmp_path / "tell.sh"
    script.write_text(f'#!/bin/sh\necho "$1" >> {tmp_path}/told.jsonl\n')
    script.chmod(0o700)
    settings = (*SETTINGS, f"data.path={tmp_path}/late.parquet", "training.max_epochs=1")
    again = ("retrain", "params/smoke.yaml", *(part for one in settings for part in ("--set", one)), "--allow-dirty")
    worse = warm(*again, "--forecast", str(served), home=home, LAGLINE_NOTIFY_COMMAND=str(script))
    assert worse.returncode == 0, worse.stderr
    assert worse.stdout.startswith("refused: champion: error +")
    (told,) = (json.loads(line) for line in (tmp_path / "told.jsonl").read_text().splitlines())
    assert (told["event"], told["version"], told["champion"]) == ("refusal", "3", "2")
    assert pl.read_parquet(served).height == 3 * 12 and len(list((home / "served" / "story").iterdir())) == 1
    assert warm(*again, home=home).stdout.strip() == "unchanged"
    assert "version 1 is champion again; version 2 is not" in warm("rollback", "story", home=home).stdout
    history = json.loads(warm("history", "story", "--json", home=home).stdout)
    told = [(entry["number"], entry["decision"], entry["champion"]) for entry in history["entries"]]
    assert told == [(1, "promoted", "1"), (2, "promoted", "2"), (3, "refused", "2"), (4, "rollback", "1")]
    assert history["champion"] == "1"
    second = history["entries"][1]["time"]
    assert json.loads(warm("history", "story", "--json", "--at", second, home=home).stdout)["champion"] == "2"
    refused(warm("history", "story", "--at", "2001-01-01", home=home), 2, "nothing was decided on it up to 2001-01-01")

    pruned = warm("prune", "--keep", "0", "--dry-run", home=home).stdout
    assert "MLflow runs of story" in pruned and "MB) and" in pruned and "would be removed." in pruned
    assert warm("prune", "--keep", "0", home=home).stdout == pruned.replace("would be removed.", "removed.")
    # what was champion once, and is not any more, can still be trained again, without what it beat
    assert "the same weights, bit for bit" in warm("reproduce", "story@2", home=home).stdout

    out = tmp_path / "forecasts.parquet"
    data = ("--data", str(tmp_path / "late.parquet"), "--out", str(out))
    done = warm("forecast", "story@champion", *data, home=home)
    assert done.returncode == 0, done.stderr
    found = pl.read_parquet(out)
    assert found.columns == ["origin", "time_hour", "cutoff", "yhat", "yhat-lo-90", "yhat-hi-90", "model"]
    last = rows.filter(pl.col("time_hour") < datetime(2013, 12, 1, tzinfo=UTC))["time_hour"].max()
    assert found.height == 3 * 12 and set(found["cutoff"]) == {last}
    done = warm("forecast", "story@1", *data, "--from", "2013-11-29", "--stride", "12", home=home)
    assert done.returncode == 0, done.stderr
    many = pl.read_parquet(out)
    cutoffs = pl.datetime_range(datetime(2013, 11, 29), last.replace(tzinfo=None), "12h", eager=True)
    assert many.height == 3 * 12 * len(cutoffs)
    shared = many.filter(pl.col("cutoff") == many["cutoff"].min())
    assert shared["yhat"].is_finite().all() and (shared["yhat-lo-90"] < shared["yhat-hi-90"]).all()
    refused(warm("forecast", "story@9", *data, home=home), 2, "there are versions 1, 2, 3")
    refused(
        warm("forecast", "story@champion", "--data", str(tmp_path / "none.csv"), "--out", str(out), home=home), 2, "none.csv"
    )
    assert pl.read_parquet(out).equals(many)  # what was there stays where nothing new could be made

    (panel,) = (path for path in (home / "panels").iterdir() if path.name in json.dumps(prints(home)))
    spoil(panel)
    refused(warm("reproduce", "story@champion", home=home), 1, "was not reproduced: cannot be trained again as it was: data (")


def prints(home: Path) -> list[str]:
    """The data of the first version, from its run's fingerprint."""
    found = [json.loads(path.read_text()) for path in (home / "artifacts" / "story").rglob("fingerprint.json")]
    oldest = min((home / "artifacts" / "story").rglob("fingerprint.json"), key=lambda path: path.stat().st_mtime)
    assert len(found) == 3
    return [json.loads(oldest.read_text())["data"]]


def spoil(panel: Path) -> None:
    """One cell of the kept data changes."""
    path = panel / "target.npy"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))
