"""tasks/evaluate/baselines.py: a baseline of one's own forecasts with a run's, and one that cannot is one error."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.baseline_fit import forecast_baseline, forecasts_hash, take_in_baselines
from models.baselines import BASELINES, OUTSIDE, arguments_of
from models.data.panel import Split
from models.fit.job import Job
from models.outside import OutsideError
from models.serving import OUTSIDE as SERVED
from params import evaluation, section
from params.errors import UserError
from params.load import Plan, load_plan
from tasks.evaluate.baseline_origins import member_seconds
from tasks.evaluate.baselines import baselines_at, only_fitted, only_naive
from tasks.registry.facts import _job, _stored
from tasks.train.check import check_plan
from tasks.train.identity import identity
from tasks.train.job import baseline_job
from tasks.train.outside import outside_of, take_in_all

CODE = """
import numpy as np

CALLS = []


def level(history, steps, season):
    return np.full(steps, history[-season:].mean())


def wrong(history, steps, season):
    return np.ones(steps) if history[-1] < 40 else np.ones(steps + 1)


def restless(history, steps, season):
    CALLS.append(1)
    return np.full(steps, float(len(CALLS)))
"""


def plan_of(folder: Path, function: str = "level", more: str = "", code: str = CODE, **settings: str) -> Plan:
    """The smoke run with a baseline `own`; the module is named by the folder, so that no two tests share one."""
    name = folder.name.replace("-", "_")
    (folder / f"base_{name}.py").write_text(code)
    text = Path("params/smoke.yaml").read_text().replace("seasonal_naive]", "own]")
    (folder / "run.yaml").write_text(f"{text}baselines: {{own: base_{name}:{function}}}\n{more}")
    return load_plan(folder / "run.yaml", [f"evaluation.{key}={value}" for key, value in settings.items()])


def job_of(plan: Plan, panel: Path) -> Job:
    windows, family = plan.run.windows.window_params(), plan.run.baseline_family("own")
    return baseline_job("own", 24, windows, Split("rows", 30, 30), 6, panel, family)


def test_the_names_are_the_same_in_every_folder() -> None:
    assert OUTSIDE == SERVED == section.OUTSIDE and BASELINES == evaluation.BASELINES
    assert arguments_of(f"{OUTSIDE}a:b", 7).to_dict() == {"season": 7}


def test_it_forecasts_with_the_others_and_is_fitted_at_some_origins(house: Any, tmp_path: Path) -> None:
    plan = plan_of(tmp_path, baseline_origins="2")
    take_in_all(plan)
    run, origins = plan.run, np.array([40, 50, 60, house.panel.offsets[1] + 60])
    assert only_naive(run).evaluation.baselines == ("last_value", "drift") and only_fitted(run).evaluation.baselines == ("own",)
    _, _, own = baselines_at(house.panel, origins, run)
    found, y = own.to_numpy().reshape(4, 6), house.panel.target
    assert np.isnan(found).all(axis=1).sum() == 1  # of three cutoffs, two
    np.testing.assert_allclose(found[3], y[house.panel.offsets[1] + 37 : house.panel.offsets[1] + 61].mean())
    job = job_of(plan, house.panel.folder)
    assert member_seconds(job, np.array([100]), 3) == 0  # it is no ensemble


@pytest.mark.parametrize(
    ("function", "told"),
    [
        (
            "wrong",
            r"baselines.own: base_\w+:wrong, given 61 values, must return 6 finite ones or None, not .* \(series 'LGA'\)",
        ),
        ("restless", r"baselines.own: base_\w+:restless returns other numbers when it is called again \(series 'JFK'\)"),
    ],
)
def test_what_is_no_forecast_is_an_error_that_names_the_series(house: Any, tmp_path: Path, function: str, told: str) -> None:
    plan = plan_of(tmp_path, function)
    take_in_all(plan)
    origins = np.array([40, 50, house.panel.offsets[1] + 60])
    with pytest.raises(UserError, match=told):
        list(baselines_at(house.panel, origins, plan.run))
    job = job_of(plan, house.panel.folder)
    with pytest.raises(OutsideError, match=told.removeprefix("baselines.own: ")):
        forecast_baseline(job.family, job.network, house.panel, origins, np.arange(1, 7))


def test_its_code_is_part_of_the_identity_and_a_version_does_not_say_where_it_lies(house: Any, tmp_path: Path) -> None:
    plan = plan_of(tmp_path)
    take_in_all(plan)
    job = job_of(plan, house.panel.folder)
    (code,) = outside_of(job)
    assert code.target == plan.run.baselines["own"] and list(code.libraries) == ["numpy"]
    kept = _job(_stored(job))
    assert kept.outside[0].root == "" and identity(kept, "d") == identity(job, "d")
    before = identity(job, "d"), forecasts_hash(job, house.panel)
    plan = plan_of(tmp_path, code=CODE.replace("mean()", "max()"))
    take_in_all(plan)
    changed = job_of(plan, house.panel.folder)
    assert identity(changed, "d") != before[0] and forecasts_hash(changed, house.panel) != before[1]
    with pytest.raises(OutsideError, match="has changed since this command began"):
        take_in_baselines(job.outside)


def test_an_ensemble_may_take_it_as_a_member(tmp_path: Path) -> None:
    define = "define: {mix: {ensemble: [ridge, own], about: both}, all: {ensemble: greedy, about: all}}\n"
    plan = plan_of(tmp_path, more=define).only(["ridge", "mix", "all"])
    families = {name: [member.family for member in variant.members] for name, variant in plan.variants.items()}
    own = plan.run.baseline_family("own")
    assert families == {"ridge": [], "mix": ["ridge", own], "all": ["ridge", "last_value", "drift", own]}


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("own]", "theat]", r"evaluation.baselines: 'theat' is not one of last_value, .*, own"),
        ("own", "theta", "baselines: theta is the name of something else"),
        ("own", "elman", "baselines: elman is the name of something else"),
        ("own", "step", "baselines: step is the name of something else"),
        ("own", "own-lo-90", r"baselines.own-lo-90.*: a baseline of your own is called by 1 to 64 of a-z 0-9 _"),
        (r"base_\w+:level", "base", "baselines.own: write the module and the name in it"),
    ],
)
def test_a_name_that_is_taken_or_unknown_is_refused(old: str, new: str, told: str, tmp_path: Path) -> None:
    plan_of(tmp_path)
    path = tmp_path / "run.yaml"
    path.write_text(re.sub(old, new, path.read_text()))
    with pytest.raises(UserError, match=told):
        load_plan(path)


def test_one_that_would_fail_later_and_what_is_no_function_are_refused_before_data_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match=r"baselines.own fails the check steps: it returns None .*check-baseline base_"):
        check_plan(plan_of(tmp_path, code="def level(history, steps, season):\n    return None\n"))
    with pytest.raises(UserError, match=r"baselines.own: base_\w+:CALLS is no function of history, steps and season"):
        take_in_all(plan_of(tmp_path, "CALLS"))
    monkeypatch.setenv("LAGLINE_ENGINE", "ray")
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.2:1")
    with pytest.raises(UserError, match=r"baselines.own: code from outside does not travel to a cluster"):
        take_in_all(plan_of(tmp_path))
