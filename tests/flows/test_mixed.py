"""models/mixed.py by the command line: an ensemble of networks and Theta from the comparison to a process without our code."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tests.flows.served import compared, promoted, served, settings_of

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / "data" / "nyc_weather.parquet"
KEYS = ["origin", "time_hour", "cutoff"]
SETTINGS = ("name=mixed", "variants=[ensemble_theta]", "training.refit=all")
pytestmark = [
    pytest.mark.story,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # of mlflow's own imports
    pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SAWarning"),
]


@pytest.fixture(scope="module")
def home(new_home, warm, tmp_path_factory):
    """A state folder with the comparison and its version."""
    return compared(warm, new_home(tmp_path_factory.mktemp("mixed") / "home"), "mixed", SETTINGS)


def test_its_version_forecasts_as_it_was_scored_and_is_promoted_served_and_reproduced(home, warm, tmp_path) -> None:
    (row,) = [one for one in json.loads(warm("leaderboard", "mixed", "--json", home=home).stdout)["rows"] if one["rank"] == 1]
    assert row["kind"] == "ensemble"
    assert (row["name"], row["family"], row["seeds"]) == ("ensemble_theta", "ensemble", None)
    (told,) = (json.loads(path.read_text()) for path in home.rglob("model.json"))
    theta = {"name": "theta", "arguments": {"season": 24, "rows": 500}}
    assert told["combined"] == {"how": "median", "baselines": [theta]} and "theta" not in told["family"]

    out = tmp_path / "judged.parquet"
    given = ("--data", str(DATA), "--out", str(out), "--from", "2013-12-16T23:00:00", "--stride", "12", "--judged")
    done = warm("forecast", "mixed@1", *given, home=home)
    assert done.returncode == 0, done.stderr
    judged = pl.read_parquet(out)
    assert set(judged["model"]) == {"ensemble_theta"}
    (scored,) = (pl.read_parquet(path) for path in home.rglob("forecasts.parquet"))
    scored = scored.select(origin="unique_id", time_hour="ds", cutoff="cutoff", scored="ensemble_theta")
    both = judged.join(scored, on=KEYS, nulls_equal=True)
    assert both.height == judged.height - 3 * 6  # the comparison needs an actual beside each
    np.testing.assert_array_equal(both["yhat"].cast(pl.Float32), both["scored"])  # which the file keeps in 32 bits

    promoted(warm, home, "mixed")

    done = warm("forecast", "mixed@champion", *given[:4], home=home)
    assert done.returncode == 0, done.stderr
    ours = pl.read_parquet(out).sort(KEYS)
    theirs = served(home, "mixed", DATA, tmp_path)
    assert ours.height == theirs.height == 3 * 6 and set(theirs["model"]) == {"ensemble_theta"}
    np.testing.assert_array_equal(ours["yhat"], theirs["yhat"])

    again = warm("compare", "params/smoke.yaml", *settings_of(SETTINGS), home=home)
    assert again.returncode == 0 and "Nothing has changed" in again.stdout
