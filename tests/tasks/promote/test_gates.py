"""Every gate against frames whose answer is known by hand."""

from typing import Any

import numpy as np
import polars as pl
import pytest

from params.load import load_run
from params.schema import PromotionParams
from tasks.promote import gates

HORIZON = 4


def rules(**changes: Any) -> PromotionParams:
    own = load_run("params/smoke.yaml").promotion
    return own.model_copy(update=changes)


def a_frame(origins: int = 40, ours: float = 1.0, theirs: float = 2.0, naive: float = 4.0, series: int = 2) -> pl.DataFrame:
    """Actuals 0; errors of constant size, and a little noise in ours."""
    noise = np.random.default_rng(0).normal(0, 0.05, (series, origins, HORIZON))
    keys = [(f"s{i}", c, k) for i in range(series) for c in range(origins) for k in range(1, HORIZON + 1)]
    frame = pl.DataFrame(keys, schema=["unique_id", "cutoff", "step"], orient="row")
    own = pl.Series("challenger", (ours + noise).ravel())
    frame = frame.with_columns(own, ds=pl.col("cutoff") + pl.col("step"), y=pl.lit(0.0))
    frame = frame.with_columns(champion=pl.lit(theirs), last_value=pl.lit(naive))
    return frame.with_columns(
        **{"challenger-lo-90": pl.col("challenger") - 1.0, "challenger-hi-90": pl.col("challenger") + 1.0}
    )


def test_origins_enough() -> None:
    assert gates.enough_origins(a_frame(10), 4).passed
    few = gates.enough_origins(a_frame(7), 4)
    assert not few.passed and "3 more origins are needed (10 in all)" in few.words
    assert not gates.enough_origins(a_frame(12), 8).passed  # sixteen, where eight in a row overlap
    assert gates.enough_origins(a_frame(1, series=10), 4).passed  # the series are counted
    gone = a_frame(10).with_columns(y=pl.when(pl.col("cutoff") < 5).then("y"))
    assert not gates.enough_origins(gone, 1).passed  # an origin without an actual says nothing


def test_skill_over_everything() -> None:
    found = gates.skill(a_frame(ours=1.0, naive=4.0), "last_value", rules(min_skill=0.7))
    assert found.passed and "skill +75" in found.words
    assert not gates.skill(a_frame(ours=1.0, naive=1.2), "last_value", rules(min_skill=0.7)).passed
    assert not gates.skill(a_frame().with_columns(y=pl.lit(None, pl.Float64)), "last_value", rules()).passed


def test_no_series_and_no_part_of_the_horizon_may_be_weak() -> None:
    assert gates.slice_skill(a_frame(), "last_value", rules()).passed
    late = a_frame().with_columns(challenger=pl.when(pl.col("step") == 4).then(5.0).otherwise("challenger"))
    found = gates.slice_skill(late, "last_value", rules())
    assert not found.passed and "steps 4 to 4 with -25" in found.words
    one = a_frame().with_columns(challenger=pl.when(pl.col("unique_id") == "s1").then(5.0).otherwise("challenger"))
    assert "series 's1' with -25" in gates.slice_skill(one, "last_value", rules()).words
    few = one.filter(pl.col("cutoff") < gates.LEAST_ORIGINS - 1)
    assert gates.slice_skill(few, "last_value", rules()).passed  # too few origins to judge a part by


@pytest.mark.parametrize(
    ("ours", "theirs", "rule", "newer", "passed"),
    [
        (1.0, 2.0, "better", False, True),
        (1.999, 2.0, "better", False, False),  # by less than the margin
        (2.0, 2.0, "better", True, False),
        (2.0, 2.0, "not_worse", True, True),
        (2.0, 2.0, "not_worse", False, False),  # for what, if the data are no newer
        (2.2, 2.0, "not_worse", True, False),
    ],
)
def test_against_the_champion(ours: float, theirs: float, rule: Any, newer: bool, passed: bool) -> None:
    found = gates.against_champion(a_frame(ours=ours, theirs=theirs), 1, newer, rules(rule=rule, margin=0.01))
    assert found.passed is passed, found.words


def test_a_gain_that_may_be_chance_is_none() -> None:
    """On average 10 % better, but one origin is better by all of it and the rest are level."""
    frame = a_frame(ours=2.0, theirs=2.0).with_columns(challenger=pl.when(pl.col("cutoff") == 7).then(-6.0).otherwise(2.0))
    lucky = frame.with_columns(champion=pl.when(pl.col("cutoff") == 7).then(14.0).otherwise(2.0))
    found = gates.against_champion(lucky, 1, True, rules(rule="better", margin=0.01))
    assert not found.passed and "-8" in found.words
    assert not gates.against_champion(frame.clear(), 1, True, rules()).passed


def test_a_slice_in_which_only_the_naive_forecast_is_perfect_fails() -> None:
    still = a_frame().with_columns(last_value=pl.when(pl.col("unique_id") == "s1").then(0.0).otherwise(4.0))
    found = gates.slice_skill(still, "last_value", rules())
    assert not found.passed and "series 's1' with -inf" in found.words
    exact = still.with_columns(challenger=pl.when(pl.col("unique_id") == "s1").then(0.0).otherwise("challenger"))
    assert gates.slice_skill(exact, "last_value", rules()).passed


def test_a_forecast_that_is_no_number_does_not_drop_out() -> None:
    assert gates.whole(a_frame(), ["challenger", "champion"]).passed
    for bad in (float("nan"), None, float("inf")):
        hurt = a_frame().with_columns(
            champion=pl.when(pl.col("cutoff") == 3).then(pl.lit(bad, pl.Float64)).otherwise("champion")
        )
        found = gates.whole(hurt, ["challenger", "champion"])
        assert not found.passed and "8 of 320 of the champion's" in found.words


def test_coverage_within_limits() -> None:
    inside = a_frame(ours=0.5)
    assert not gates.coverage(inside, rules(coverage=(0.8, 0.97))).passed  # all of it: too wide
    assert gates.coverage(inside, rules(coverage=(0.8, 1.0))).passed
    assert not gates.coverage(a_frame(ours=1.5), rules(coverage=(0.8, 1.0))).passed
    assert not gates.coverage(inside.with_columns(pl.lit(None, pl.Float64).alias("challenger-lo-90")), rules()).passed
    low = pl.when(pl.col("step") != 3).then("challenger-lo-90").alias("challenger-lo-90")
    assert "no interval of step 3" in gates.coverage(inside.with_columns(low), rules()).words


def test_checks_and_code() -> None:
    assert gates.checks(True).passed
    assert "failed" in gates.checks(False).words and not gates.checks(False).passed
    assert "nothing says" in gates.checks(None).words and not gates.checks(None).passed
    clean = {"clean": True, "revision": "a" * 40}
    dirty = clean | {"clean": False, "changed": {"models/x.py": "b" * 40}}
    assert gates.code(clean, False).passed and not gates.code(dirty, False).passed
    assert gates.code(dirty, True).passed and "--allow-dirty" in gates.code(dirty, True).words
    assert not gates.code({}, False).passed
    some = [gates.GateResult("a", True, "x"), gates.GateResult("b", False, "y"), gates.GateResult("c", False, "z")]
    assert gates.summary(some) == "b: y; c: z" and gates.summary(some[:1]) == "all 1 gates were passed"
