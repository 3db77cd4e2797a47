"""models/fit/greedy.py by the command line: a greedy ensemble from the comparison to a process without our code."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tests.flows.served import compared, promoted, served, settings_of

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / "data" / "nyc_weather.parquet"
BASELINES = ("last_value", "drift", "seasonal_naive")
KEYS = ["origin", "time_hour", "cutoff"]
SETTINGS = (
    "name=greedy",
    "variants=[ridge, nlinear, cnn, ensemble_greedy]",
    "training.refit=all",
)
pytestmark = [
    pytest.mark.story,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # of mlflow's own imports
    pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SAWarning"),
]


@pytest.fixture(scope="module")
def home(new_home, warm, tmp_path_factory):
    """A state folder with the comparison and its version."""
    return compared(warm, new_home(tmp_path_factory.mktemp("greedy") / "home"), "greedy", SETTINGS)


def test_its_version_forecasts_as_it_was_scored_and_is_promoted_served_and_reproduced(home, warm, tmp_path) -> None:
    rows = json.loads(warm("leaderboard", "greedy", "--json", home=home).stdout)["rows"]
    (row,) = [one for one in rows if one["rank"] == 1]
    assert (row["kind"], row["name"], row["family"], row["seeds"]) == ("ensemble", "ensemble_greedy", "ensemble", None)
    (told,) = (json.loads(path.read_text()) for path in home.rglob("model.json"))
    counts = told["trained_on"]["counts"]
    assert [*counts] == ["ridge", "nlinear", "cnn", *BASELINES] and sum(count > 0 for count in counts.values()) > 1
    (learnt,) = [json.loads(path.read_text()) for path in home.rglob("members.json")]
    assert learnt["mix"]["counts"] == [*counts.values()] and learnt["by"] == "origins" and len(learnt["held_out"]) == 4
    assert row["val_score"] > learnt["score"]  # what the board has is of weights that were learnt elsewhere
    assert row["val_mae"] == pytest.approx(row["val_score"], rel=1e-12)

    out = tmp_path / "judged.parquet"
    given = ("--data", str(DATA), "--out", str(out), "--from", "2013-12-16T23:00:00", "--stride", "12", "--judged")
    done = warm("forecast", "greedy@1", *given, home=home)
    assert done.returncode == 0, done.stderr
    judged = pl.read_parquet(out)
    assert set(judged["model"]) == {"ensemble_greedy"}
    (scored,) = (pl.read_parquet(path) for path in home.rglob("forecasts.parquet"))
    scored = scored.select(*counts, origin="unique_id", time_hour="ds", cutoff="cutoff", scored="ensemble_greedy")
    both = judged.join(scored, on=KEYS, nulls_equal=True)
    assert both.height == judged.height - 3 * 6  # the comparison needs an actual beside each
    np.testing.assert_array_equal(both["yhat"].cast(pl.Float32), both["scored"])  # which the file keeps in 32 bits
    assert any(counts[name] for name in BASELINES)  # which are no part of the graph
    mean = sum(count * both[name].to_numpy() for name, count in counts.items()) / sum(counts.values())
    np.testing.assert_allclose(both["scored"], mean, rtol=3e-6)

    promoted(warm, home, "greedy")

    done = warm("forecast", "greedy@champion", *given[:4], home=home)
    assert done.returncode == 0, done.stderr
    ours = pl.read_parquet(out).sort(KEYS)
    theirs = served(home, "greedy", DATA, tmp_path)
    assert ours.height == theirs.height == 3 * 6 and set(theirs["model"]) == {"ensemble_greedy"}
    np.testing.assert_array_equal(ours["yhat"], theirs["yhat"])

    report = next(home.rglob("report.html")).read_text()
    assert "Members of the greedy ensemble" in report and "held out" in report
    card = next(home.rglob("card.md")).read_text()
    assert "## Members" in card and "| ridge |" in card

    again = warm("compare", "params/smoke.yaml", *settings_of(SETTINGS), home=home)
    assert again.returncode == 0 and "Nothing has changed" in again.stdout


def test_one_without_another_variant_is_refused_before_any_data_is_read(home, warm, refused) -> None:
    done = warm("compare", "params/smoke.yaml", "--variants", "ensemble_greedy", home=home)
    refused(done, 2, "ensemble_greedy combines the run's other variants; name one beside it that is no ensemble")
