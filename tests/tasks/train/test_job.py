"""What a run plans before anything is trained: its fits, their labels and their jobs."""

from pathlib import Path

import pytest

from models.data.panel import Split
from models.fit.job import Job
from models.fit.settings import Resources
from params.errors import UserError
from params.load import load_plan, load_run, load_variant
from tasks.train.check import member_labels
from tasks.train.identity import comparison_identity, identity
from tasks.train.job import Planned, labels_of, make_job, plan_fits
from tasks.train.kind import Kind

RUN = "params/nyc_weather.yaml"


def job_of(variant: str, device: str, *settings: str) -> Job:
    windows = load_run(RUN).windows.window_params()
    return make_job(load_variant(variant, RUN, settings), 0, Path("panel"), windows, Split("rows", 9, 9), device)


def test_a_job_says_in_how_many_parts_a_batch_is_trained() -> None:
    """By the rule on a CPU, by the run where it says so, whole on a device: the same always, whatever the machine is doing."""
    wide = ("network.hidden_size=128", "training.batch_size=256")
    assert job_of("lstm", "cpu", *wide).training.micro_batches == 7
    assert job_of("lstm", "cuda", *wide).training.micro_batches == 1
    assert job_of("elman", "cpu", *wide).training.micro_batches == 1
    for device in ("cpu", "cuda"):
        assert job_of("elman", device, "training.micro_batches=4").training.micro_batches == 4
    assert job_of("elman", "cpu", "training.micro_batches=500", "training.batch_size=8").training.micro_batches == 8


def test_what_a_fit_needs_of_a_machine_is_no_part_of_what_it_is() -> None:
    """Its job says it; the identity is the same whether the run file does."""
    asked = job_of("gru", "cpu", "training.resources={cpus: 0.5, gpus: 0.25, memory: 4GB, kind: H100}")
    assert asked.resources == Resources(cpus=0.5, gpus=0.25, memory=4 * 10**9, kind="H100")
    assert job_of("gru", "cpu").resources == Resources()
    assert identity(asked, "data") == identity(job_of("gru", "cpu"), "data")


def test_a_member_of_an_ensemble_needs_what_its_variant_says() -> None:
    asked = job_of("ensemble_networks", "cpu", "training.resources.memory=2GiB")
    assert {one.resources for one in asked.members} == {Resources(memory=2**31)} and len(asked.members) > 1


def plan(settings: list[str]) -> list[tuple[str, str, int]]:
    run = load_run(RUN, settings)
    return labels_of(run, {name: load_variant(name, RUN, settings) for name in run.variants})


def test_every_seed_is_a_fit_and_a_closed_form_is_fitted_once() -> None:
    found = plan(["variants=[ridge, gru]", "training.seeds=3"])
    assert found == [("ridge", "ridge", 0), ("gru", "gru", 0), ("gru-s1", "gru", 1), ("gru-s2", "gru", 2)]


def test_a_fold_is_a_fit_of_its_own_and_that_of_any_run_with_the_same_borders() -> None:
    """Its number is of the oldest range first; refits are of the last fold alone."""
    run, windows = load_run(RUN, ["training.seeds=2"]), load_run(RUN).windows.window_params()
    variants = {name: load_variant(name, RUN, ["training.seeds=2"]) for name in ("ridge", "gru")}
    run = run.model_copy(update={"variants": tuple(variants)})
    last, refit, earlier = Split("rows", 9, 9), Split("rows", 9, 3), (Split("rows", 9, 27), Split("rows", 9, 18))
    found = plan_fits(run, variants, Path("panel"), windows, (last, refit), "cpu", earlier)
    told = {fit.label: (fit.kind, fit.first, fit.fold, fit.job.split) for fit in found}
    assert list(told)[:3] == ["ridge", "gru", "gru-s1"] and len(told) == 4 * 3
    assert told["gru-s1"] == (Kind.VARIANT, "", 3, last) and told["gru-s1@2"] == (Kind.REFIT, "gru-s1", 3, refit)
    assert told["gru-s1~1"] == (Kind.FOLD, "gru-s1", 1, earlier[0])
    assert told["ridge~2"] == (Kind.FOLD, "ridge", 2, earlier[1])
    alone = plan_fits(run, variants, Path("panel"), windows, (earlier[1],), "cpu")
    jobs = {fit.label: fit.job for fit in found}
    assert [identity(jobs[f"{fit.label}~2"], "") for fit in alone] == [identity(fit.job, "") for fit in alone]


def test_a_variant_that_draws_as_another_is_the_same_fit_and_both_are_not_compared() -> None:
    """What `tune` writes is the fit of its trial, whatever the file is called."""
    plan = load_plan(RUN, ["variants=[gru]"])
    same, other = plan.tuned("gru", "mine", {})[0], plan.tuned("gru", "mine", {"hidden_size": 5})[0]
    assert same.variant == "mine" and same.draws_as == "gru"
    windows, split = plan.run.windows.window_params(), Split("rows", 9, 9)
    jobs = [make_job(one, 0, Path("panel"), windows, split, "cpu") for one in (plan.variants["gru"], same, other)]
    assert identity(jobs[0], "data") == identity(jobs[1], "data") != identity(jobs[2], "data")
    fits = [Planned(label=name, variant=same, job=job) for name, job in zip(("gru", "mine", "other"), jobs, strict=True)]
    assert comparison_identity(plan.run, [fits[0], fits[2]])
    with pytest.raises(UserError, match="gru and mine are one and the same fit"):
        comparison_identity(plan.run, fits)


def test_a_greedy_ensemble_comes_last_and_learns_from_every_other_validation_range() -> None:
    settings = ["variants=[ensemble_greedy, ridge]", "evaluation.baselines=[last_value, theta]"]
    plan = load_plan(RUN, settings)
    windows = plan.run.windows.window_params()
    last, refit, earlier = Split("rows", 9, 9), Split("rows", 9, 3), (Split("rows", 9, 27), Split("rows", 9, 18))
    found = plan_fits(plan.run, plan.variants, Path("panel"), windows, (last, refit), "cpu", earlier)
    assert [fit.label for fit in found] == [
        f"{name}{mark}" for name in ("ridge", "ensemble_greedy") for mark in ("", "@2", "~1", "~2")
    ]
    jobs = {fit.label: fit.job for fit in found}
    for mark, own, others in (("", last, earlier), ("@2", refit, earlier), ("~1", earlier[0], (last, earlier[1]))):
        job = jobs[f"ensemble_greedy{mark}"]
        assert job.split == own and job.greedy is not None and job.greedy.others == others
    ridges = {identity(jobs[f"ridge{mark}"], "") for mark in ("", "~1", "~2")}
    assert {identity(one, "") for one in jobs["ensemble_greedy"].trained} == ridges  # they are fits that the run has anyway
    assert member_labels(plan.variants["ensemble_greedy"]) == ("ridge", "last_value", "theta")
    several = load_plan(RUN, [*settings, "variants=[gru, ensemble_greedy]", "training.seeds=2"])
    assert member_labels(several.variants["ensemble_greedy"]) == ("gru", "gru-s1", "last_value", "theta")
