"""Versions are scored with the baselines on the same origins; those that answer different questions are not compared.

Bundles are written and opened again; what they forecast is computed once more here.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.data.panel import Split
from params.evaluation import PromotionParams
from params.load import load_run
from tasks.evaluate import baseline_origins
from tasks.grid.frequency import Frequency
from tasks.lags.panel import write_panel
from tasks.promote.gates import GateResult
from tasks.promote.scored import Figures, _forecast, score, unlike
from tasks.registry.bundle import write_bundle
from tasks.registry.facts import BundleFacts
from tasks.registry.load import Version
from tasks.registry.register import facts_of
from tasks.registry.unseen import border
from tasks.train.identity import fingerprint
from tasks.train.job import baseline_job

SPLIT = Split("rows", 30, 70)
WIDTHS = [1.0, 1.0, 1.0, 1.0]


@pytest.fixture(autouse=True)
def thirty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Theta on thirty of the origins, as in a comparison of many series; so few it would forecast at all of them."""
    monkeypatch.setattr(baseline_origins, "ALLOWED", 0.0)


def version(facts: BundleFacts, number: str) -> Version:
    return Version("story", number, "run", "digest", Path("nowhere"), facts)


@pytest.fixture(scope="module")
def home(house: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data that all were trained on, and a network of random weights, which forecasts the last value and a little."""
    home = tmp_path_factory.mktemp("home")
    write_panel(house.frame.lazy(), house.params, Frequency("1h"), 3, home / "panels")
    facts = house.facts(trained_on=house.made(), calibrated=house.calibrated(WIDTHS))
    (home / "digest").write_text(write_bundle(home / "network", facts, house.panel, house.build()))
    return home


def trained_on(house: Any, bar: str, by: str, *settings: str) -> dict[str, Any]:
    windows = [f"windows.horizon={house.params.horizon}", f"windows.gap={house.params.gap}"]
    measure = ["evaluation.stride=1", "evaluation.scaled=true", f"evaluation.choose_by={by}"]
    run = load_run("params/nyc_weather.yaml", [*windows, *measure, *settings])
    return {"run": run, "baseline": bar, "naive": "seasonal_naive", "unseen_from": border(house.panel, SPLIT)}


def network(house: Any, home: Path, bar: str, by: str = "mae") -> Version:
    made = house.made(**trained_on(house, bar, by))
    facts = house.facts(trained_on=replace(made, job=replace(made.job, split=SPLIT)), calibrated=house.calibrated(WIDTHS))
    return Version("story", "1", "run", (home / "digest").read_text(), home / "network", facts)


def a_baseline(house: Any, home: Path, name: str, bar: str, by: str = "mae", *settings: str) -> Version:
    job = baseline_job(name, 24, house.params, SPLIT, 1, house.panel.folder)
    made = house.made(job=job, fingerprint=fingerprint(job, house.panel.digest), **trained_on(house, bar, by, *settings))
    facts = facts_of(job, house.panel, made, (), house.calibrated(WIDTHS), ())
    return Version("story", "1", "run", write_bundle(home / name, facts, house.panel, None), home / name, facts)


def judged(one: Version, other: Version | None, home: Path, **changes: Any) -> tuple[dict[str, GateResult], Figures]:
    rules: PromotionParams = one.trained_on.run.promotion.model_copy(update=changes)
    results, figures = score(one, other, home, rules)
    return {found.gate: found for found in results}, figures


@pytest.mark.parametrize("by", ["mae", "owa"])
def test_the_best_baseline_is_its_own_bar_and_asks_nothing_of_chance(house: Any, home: Path, by: str) -> None:
    theta = a_baseline(house, home, "theta", "theta", by)
    gates, figures = judged(theta, None, home, min_skill_naive=-9.0)
    assert list(gates) == ["origins", "numbers", "skill", "slices", "skill_naive", "coverage"]
    assert gates["skill"].passed and "it is theta, the best baseline itself" in gates["skill"].words
    assert figures.skill == {"challenger": 0.0} and figures.score["challenger"] == figures.score["theta"]
    assert figures.measure == by and figures.bar == "theta" and figures.naive == "seasonal_naive"
    assert figures.skill_naive["challenger"] == pytest.approx(1 - figures.mae["theta"] / figures.mae["seasonal_naive"])
    assert figures.origins == 30 and not judged(theta, None, home, min_skill=0.01)[0]["skill"].passed


def test_a_first_network_is_held_against_the_bar_on_the_origins_that_it_is_fitted_on(house: Any, home: Path) -> None:
    """Random weights are worse than Theta, which is fitted on 30 of the origins, evenly spread."""
    gates, figures = judged(network(house, home, "theta"), None, home)
    assert not gates["skill"].passed and not gates["chance"].passed and gates["chance"].option == "--allow-chance"
    assert gates["origins"].words.startswith("67 origins of 2 series")  # 66 of each, and one series ends an hour later
    assert figures.origins == 30 and "skill_naive" not in gates
    assert figures.skill["challenger"] == pytest.approx(1 - figures.mae["challenger"] / figures.mae["theta"])
    assert score(network(house, home, "theta"), None, home, load_run("params/smoke.yaml").promotion, True)[0][3].passed
    metrics, kept = figures.metrics(), json.loads(json.dumps(figures.to_dict()))
    assert metrics["challenger_skill_low"] < metrics["challenger_skill"] < metrics["challenger_skill_high"] < 0
    assert kept["baseline"] == "theta" and kept["challenger_less_theta"]["skill"] == pytest.approx(metrics["challenger_skill"])
    assert figures.words.startswith("MAE on 30 unseen origins of 2 series: challenger ")
    assert figures.lead == f"skill {metrics['challenger_skill']:+.1%} against theta in MAE"


def test_a_baseline_as_champion_is_beaten_as_another_is(house: Any, home: Path) -> None:
    ours, champion = network(house, home, "seasonal_naive"), a_baseline(house, home, "theta", "theta")
    gates, figures = judged(ours, champion, home)
    assert "chance" not in gates and not gates["champion"].passed  # there is one to beat
    share = figures.mae["challenger"] / figures.mae["champion"] - 1
    assert gates["champion"].words.startswith(f"error {share:+.1%} of the champion's, 90 % of resampled origins between")
    assert figures.origins == 30 and "numbers" in gates and gates["numbers"].passed
    back, _ = judged(a_baseline(house, home, "theta", "theta"), ours, home)
    assert back["champion"].passed and "chance" not in back


def test_the_same_origins_are_judged_whatever_the_measure(house: Any, home: Path) -> None:
    found = {
        by: judged(network(house, home, "drift", by), None, home)[1] for by in ("mae", "mase", "rmsse", "owa", "mse_scaled")
    }
    assert {figures.rows for figures in found.values()} == {found["mae"].rows}
    assert len({round(figures.skill["challenger"] or 0, 6) for figures in found.values()}) == len(found)
    assert found["owa"].score.keys() == {"challenger", "drift", "seasonal_naive"}  # Naive2 is what divides
    assert all(np.isfinite(list(figures.metrics().values())).all() for figures in found.values())


def test_what_intervals_cover_is_kept_with_the_decision(house: Any, home: Path) -> None:
    """By numpy, from the frame that the gates read; the champion's interval is of the same widths around Theta."""
    ours, champion = network(house, home, "seasonal_naive"), a_baseline(house, home, "theta", "theta")
    gates, figures = judged(ours, champion, home)
    assert list(gates)[-3:] == ["coverage", "champion", "intervals"]
    kept, metrics = json.loads(json.dumps(figures.to_dict())), figures.metrics()
    assert [one["name"] for one in kept["challenger_coverage_90_by"]][:3] == ["all rows", "series 'JFK'", "series 'LGA'"]
    assert kept["challenger_coverage_90_by"][0]["share"] == metrics["challenger_coverage_90"] == figures.parts[0].share
    frame, _ = _forecast({"challenger": ours, "champion": champion}, home)
    for name in ("challenger", "champion"):
        rows = frame.drop_nulls(["y", f"{name}-lo-90", "champion"])
        y, low, high = (rows[column].to_numpy() for column in ("y", f"{name}-lo-90", f"{name}-hi-90"))
        score = high - low + 20 * (np.maximum(low - y, 0) + np.maximum(y - high, 0))
        assert metrics[f"{name}_coverage_90"] == pytest.approx(((low <= y) & (y <= high)).mean())
        assert metrics[f"{name}_interval_score_90"] == pytest.approx(score.mean())
    share = metrics["challenger_interval_score_90"] / metrics["champion_interval_score_90"] - 1
    assert gates["intervals"].words.startswith(f"interval score of 90 % {share:+.1%} of the champion's, 90 % of resampled")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({}, None),
        ({"columns": {"unique_id": "a", "ds": "b", "y": "sales"}}, "the champion sales: their errors are of different things"),
        ({"windows": {"horizon": 3}}, "the challenger has a horizon of 4, the champion of 3: they forecast different things"),
        ({"windows": {"gap": 0}}, "the challenger has a gap of 1, the champion of 0: they forecast different things"),
        ({"frequency": "1d"}, "the challenger and the champion have different frequencies"),
        ({"trained_on": None}, "story version 1 was registered by an older lagline and does not say what it has seen"),
    ],
)
def test_what_makes_two_versions_unlike_is_said(house: Any, change: dict[str, Any], told: str | None) -> None:
    ours = house.facts(trained_on=house.made())
    own = {name: replace(ours.windows, **value) if name == "windows" else value for name, value in change.items()}
    found = unlike(version(ours, "2"), version(replace(ours, **own), "1"))
    assert found is None if told is None else told in (found or "")
    assert unlike(version(ours, "2"), None) is None


def test_where_a_champion_has_seen_all_there_is_nothing_to_judge_by(house: Any, home: Path) -> None:
    champion = a_baseline(house, home, "drift", "drift")
    seen = replace(champion.trained_on, unseen_from=int(house.panel.times.max()) + 1)
    gates, figures = judged(
        network(house, home, "theta"), replace(champion, facts=replace(champion.facts, trained_on=seen)), home
    )
    assert list(gates) == ["origins", "numbers"] and "10 more origins are needed" in gates["origins"].words
    assert (figures.rows, figures.skill["challenger"], figures.lead) == (0, None, "skill unknown against theta in MAE")
    assert figures.metrics() == {} and json.dumps(figures.to_dict()) and figures.parts == ()
