"""models/mixed.py by the command line: an ensemble of networks and Theta from the comparison to a process without our code."""

import json

import pytest

from tests.flows.served import compared, judged_as_scored, promoted, served_as_forecast, unchanged
from tests.marks import STORY

SETTINGS = ("name=mixed", "variants=[ensemble_theta]", "training.refit=all")
pytestmark = STORY


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

    judged_as_scored(warm, home, "mixed", "ensemble_theta", tmp_path)
    promoted(warm, home, "mixed")
    served_as_forecast(warm, home, "mixed", "ensemble_theta", tmp_path)
    unchanged(warm, home, SETTINGS)
