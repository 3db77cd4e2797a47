"""The estimate before a comparison: from counts and tables of costs alone, and what it says."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models.data.panel import Split
from models.data.window import FeatureWindow, WindowParams
from params.load import load_plan, load_variant, variant_names
from tasks.evaluate.baseline_origins import fitted_seconds, member_seconds
from tasks.evaluate.estimate import Estimate, _every_fit
from tasks.explore.costs import Work, cost_of, costs, fit_seconds, run_seconds
from tasks.explore.pace import WRITTEN
from tasks.train.job import Planned, baseline_job

WORK = Work(samples=48, channels=4, train=10_000, validation=500, test=500)


def test_every_variant_that_init_writes_was_measured() -> None:
    plan = load_plan("params/smoke.yaml").only(WRITTEN)
    for variant in plan.variants.values():
        assert all(one.variant in costs() for one in variant.members or (variant,))
    assert set(costs()) <= set(variant_names())
    assert cost_of("never_measured") in costs().values()


def test_more_work_takes_longer_and_a_closed_form_has_no_epochs() -> None:
    gru, ridge = cost_of("gru"), cost_of("ridge")
    base = fit_seconds(gru, WORK, 10)
    assert fit_seconds(gru, WORK, 20) > base < fit_seconds(gru, replace(WORK, samples=96), 10)
    assert fit_seconds(gru, WORK, 10, batch=16) > base
    assert fit_seconds(ridge, WORK, 10) == fit_seconds(ridge, WORK, 20)
    assert fit_seconds(ridge, replace(WORK, channels=40), 10) > fit_seconds(ridge, WORK, 10)


def test_a_member_of_an_ensemble_is_trained_once() -> None:
    alone = run_seconds({"gru": (), "lstm": ()}, WORK, 5, 256)
    both = run_seconds({"gru": (), "lstm": (), "both": ("gru", "lstm")}, WORK, 5, 256)
    assert alone < both < 1.5 * alone


def test_fitted_baselines_cost_by_series_and_nothing_where_they_are_left_out() -> None:
    run = load_plan("params/nyc_weather.yaml").run
    few, many = (sum(fitted_seconds(run, np.full(n, 400), 20)) for n in (2, 20))
    assert 0 < few < many
    assert fitted_seconds(run, np.full(100_000, 400), 20) == []


def test_baselines_of_an_ensemble_cost_by_all_of_its_origins(tmp_path: Path) -> None:
    windows, split = WindowParams(20, {"y": FeatureWindow(24)}, gap=4), Split("rows", 60, 60)
    theta, drift = (baseline_job(name, 24, windows, split, 1, tmp_path) for name in ("theta", "drift"))
    network = replace(drift, family="recurrent").with_training(variant="gru")
    plain = replace(theta, family="ensemble", network={}, windows=windows, members=(drift, network))
    both, rows = replace(plain, members=(*plain.members, theta)), np.array([300, 700])
    # theta gets 300 and 500 of them, at 0.01 ms each
    assert member_seconds(both, rows, 1000) == pytest.approx(0.01e-3 * (400 + 24) * 1000)
    assert member_seconds(plain, rows, 1000) == 0
    gru = load_variant("gru", "params/smoke.yaml")
    costs = [sum(_every_fit([Planned(label="both", variant=gru, job=job)], WORK, False, rows)) for job in (plain, both)]
    assert costs[1] - costs[0] == pytest.approx(member_seconds(both, rows, WORK.validation + WORK.test))


def test_the_line_says_a_range_and_that_it_is_rough() -> None:
    line = Estimate(90.0, 400.0, 2.5e9, 2).line()
    assert line.startswith("estimate: 2 min to 7 min, 2 fits at a time, and 2.5 GB of memory")
    assert Estimate(10.0, 40.0, 2.5e9, 1).line().startswith("estimate: about 1 min, one fit at a time")
    assert "about 3.0 h" in Estimate(10_800.0, 10_810.0, 1e9, 1).line()
