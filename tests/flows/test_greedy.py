"""models/fit/greedy.py by the command line: a greedy ensemble from the comparison to a process without our code."""

import json

import numpy as np
import pytest

from tests.flows.served import compared, judged_as_scored, promoted, served_as_forecast, unchanged
from tests.marks import STORY

BASELINES = ("last_value", "drift", "seasonal_naive")
SETTINGS = (
    "name=greedy",
    "variants=[ridge, nlinear, cnn, ensemble_greedy]",
    "training.refit=all",
)
pytestmark = STORY


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

    both = judged_as_scored(warm, home, "greedy", "ensemble_greedy", tmp_path, [*counts])
    assert any(counts[name] for name in BASELINES)  # which are no part of the graph
    mean = sum(count * both[name].to_numpy() for name, count in counts.items()) / sum(counts.values())
    np.testing.assert_allclose(both["scored"], mean, rtol=3e-6)

    promoted(warm, home, "greedy")
    served_as_forecast(warm, home, "greedy", "ensemble_greedy", tmp_path)

    report = next(home.rglob("report.html")).read_text()
    assert "Members of the greedy ensemble" in report and "held out" in report
    card = next(home.rglob("card.md")).read_text()
    assert "## Members" in card and "| ridge |" in card

    unchanged(warm, home, SETTINGS)


def test_one_without_another_variant_is_refused_before_any_data_is_read(home, warm, refused) -> None:
    done = warm("compare", "params/smoke.yaml", "--variants", "ensemble_greedy", home=home)
    refused(done, 2, "ensemble_greedy combines the run's other variants; name one beside it that is no ensemble")
