"""Every gate against frames whose answer is known by hand."""

import re
from typing import Any

import numpy as np
import polars as pl
import pytest

from params.evaluation import PromotionParams
from params.load import load_run
from tasks.compare.measures import Scale
from tasks.promote import gates
from tasks.promote.gates import Yardstick
from tasks.report.leaderboard import SCORES

HORIZON = 4
SERIES = pl.DataFrame(
    {"unique_id": [f"s{i}" for i in range(10)], "mae": [1.0, 10.0] * 5, "mse": [1.0, 100.0] * 5, "deviation": [1.0, 10.0] * 5}
)

FIFTHS = SERIES.select("unique_id", fifth=pl.int_range(10) // 2 + 1)


def rules(**changes: Any) -> PromotionParams:
    own = load_run("params/smoke.yaml").promotion
    return own.model_copy(update=changes)


def yard(by: Any = "mae", bar: str = "theta") -> Yardstick:
    """The errors of s0, s2, ... are divided by 1, those of s1, s3, ... by 10."""
    return Yardstick(bar=bar, naive="last_value", scale=Scale(by, 1, SERIES), fifths=FIFTHS)


def a_frame(
    origins: int = 40, ours: float = 1.0, theirs: float = 2.0, theta: float = 4.0, series: int = 2, spread: float = 0.05
) -> pl.DataFrame:
    """Actuals 0; errors of constant size, and a little noise in ours.  No two origins have targets in common."""
    noise = np.random.default_rng(0).normal(0, spread, (series, origins, HORIZON))
    keys = [(f"s{i}", c * HORIZON, k) for i in range(series) for c in range(origins) for k in range(1, HORIZON + 1)]
    frame = pl.DataFrame(keys, schema=["unique_id", "cutoff", "step"], orient="row")
    own = pl.Series("challenger", (ours + noise).ravel())
    frame = frame.with_columns(own, ds=pl.col("cutoff") + pl.col("step"), y=pl.lit(0.0))
    frame = frame.with_columns(champion=pl.lit(theirs), theta=pl.lit(theta), last_value=pl.lit(2 * theta), naive2=pl.lit(theta))
    return frame.with_columns(
        **{"challenger-lo-90": pl.col("challenger") - 1.0, "challenger-hi-90": pl.col("challenger") + 1.0}
    )


def at(column: str, where: pl.Expr, value: float) -> pl.Expr:
    """The column with another value in some rows."""
    return pl.when(where).then(value).otherwise(column).alias(column)


def test_origins_enough() -> None:
    assert gates.enough_origins(a_frame(10)).passed
    few = gates.enough_origins(a_frame(7))
    assert not few.passed and "3 more origins are needed (10 in all)" in few.words
    near = a_frame(12).with_columns(ds=pl.col("cutoff") + pl.col("step") * 8)  # eight in a row overlap
    assert not gates.enough_origins(near).passed and gates.enough_origins(a_frame(12)).passed
    assert gates.enough_origins(a_frame(1, series=10)).passed  # the series are counted
    gone = a_frame(10).with_columns(y=pl.when(pl.col("cutoff") < 20).then("y"))
    assert not gates.enough_origins(gone).passed  # an origin without an actual says nothing


def test_skill_over_everything_is_against_the_bar_with_its_interval() -> None:
    found = gates.skill(a_frame(ours=1.0, theta=4.0), yard(), rules(min_skill=0.7))
    assert found.passed and re.fullmatch(
        r"skill \+7[45]\.\d% against theta in MAE, 90 % of resampled origins between \+7[45]\.\d% and \+75\.\d%; "
        r"at least \+70\.0% is asked for",
        found.words,
    )
    assert not gates.skill(a_frame(ours=1.0, theta=1.2), yard(), rules(min_skill=0.7)).passed
    assert gates.skill(a_frame(ours=1.0, theta=1.2), yard(bar="last_value"), rules(min_skill=0.5)).passed
    assert not gates.skill(a_frame().with_columns(y=pl.lit(None, pl.Float64)), yard(), rules()).passed


def test_only_rows_that_the_bar_forecasts_too_count() -> None:
    """Theta is fitted on every second origin: in the others, where the challenger is bad, nothing is held against it."""
    off = pl.col("cutoff") % (2 * HORIZON) == HORIZON
    half = a_frame(60).with_columns(at("challenger", off, 100.0), theta=pl.when(~off).then("theta"))
    assert gates.skill(half, yard(), rules(min_skill=0.7)).passed
    assert gates.slice_skill(half, yard(), rules()).passed and gates.chance(half, yard(), False).passed


@pytest.mark.parametrize(
    ("by", "skill"),
    [
        ("mae", 1 - 3 / 8),  # errors of s0: 1 against 8; of s1: 5 against 8; all rows alike
        ("mase", 1 - 1.5 / 8.8),  # 1 and 0.5 against 8 and 0.8
        ("rmsse", 1 - 1.5 / 8.8),
        ("mae_scaled", 1 - 1.5 / 8.8),
        ("mse_scaled", 1 - 1.25 / 64.64),
        ("owa", 1 - (1 + 1.5 / 8.8) / 2),  # the actuals are 0: sMAPE is 200 whatever is forecast; the bar is Naive2
    ],
)
def test_skill_is_in_the_measure_of_the_run(by: Any, skill: float) -> None:
    frame = a_frame(ours=1.0, theta=8.0, spread=0.0).with_columns(at("challenger", pl.col("unique_id") == "s1", 5.0))
    for least, passed in ((skill - 1e-6, True), (skill + 1e-6, False)):
        found = gates.skill(frame, yard(by), rules(min_skill=least))
        assert found.passed is passed and f"in {SCORES[by]}" in found.words, found.words


def test_who_asks_for_it_has_the_best_naive_as_a_bar_besides() -> None:
    frame = a_frame(ours=1.0, theta=4.0, spread=0.0)
    found = gates.skill_naive(frame, yard("owa"), 0.87)
    assert found.passed and found.words == "skill +87.5% against last_value in MAE; at least +87.0% is asked for"
    assert not gates.skill_naive(frame, yard(), 0.88).passed
    assert not gates.skill_naive(frame.with_columns(last_value=pl.lit(None, pl.Float64)), yard(), 0.0).passed


def test_a_first_champion_must_be_better_by_more_than_chance_or_is_allowed() -> None:
    sure = gates.chance(a_frame(ours=1.0, theta=4.0), yard(), False)
    assert sure.passed and not sure.option and "better than theta by more than chance, 90 % of" in sure.words
    level = a_frame(ours=4.0, theta=4.01, spread=2.0)
    refused, allowed = gates.chance(level, yard(), False), gates.chance(level, yard(), True)
    assert not refused.passed and refused.way and refused.option == allowed.option == "--allow-chance"
    assert allowed.passed and allowed.words == f"{refused.words} (--allow-chance)"
    assert re.fullmatch(
        r"that it is better than theta may be chance, 90 % of resampled origins between -\d\.\d% and \+\d\.\d%", refused.words
    )
    few = gates.chance(a_frame(4), yard(), False)
    assert not few.passed and few.words.endswith("may be chance: too few origins to tell")
    passed = gates.GateResult("skill", True, "x")
    assert gates.summary([passed, sure]) == "all 2 gates were passed"
    assert gates.summary([passed, allowed]) == f"all 2 gates were passed; chance: {allowed.words}"  # what the ledger keeps
    assert gates.summary([passed, refused]) == f"chance: {refused.words}"


def test_the_best_baseline_itself_is_held_against_the_thresholds_alone() -> None:
    skill, slices = gates.bar_itself(yard(), rules(min_skill=0.0, min_slice_skill=0.01))
    assert skill.passed and skill.words == (
        "it is theta, the best baseline itself: its skill is 0; at least +0.0% is asked for"
    )
    assert not slices.passed and "its skill in every slice is 0; at least +1.0%" in slices.words
    assert not gates.bar_itself(yard(), rules(min_skill=0.05))[0].passed


def test_no_series_and_no_part_of_the_horizon_may_be_weak() -> None:
    assert gates.slice_skill(a_frame(), yard(), rules()).passed
    late = a_frame().with_columns(at("challenger", pl.col("step") == 4, 5.0))
    found = gates.slice_skill(late, yard(), rules())
    assert not found.passed and "steps 4 to 4 with -25" in found.words
    one = a_frame().with_columns(at("challenger", pl.col("unique_id") == "s1", 5.0))
    assert "series 's1' with -25" in gates.slice_skill(one, yard(), rules()).words
    few = one.filter(pl.col("cutoff") < HORIZON * (gates.LEAST_ORIGINS - 1))
    assert gates.slice_skill(few, yard(), rules()).passed  # too few origins to judge a part by


def test_a_slice_that_may_look_weak_by_chance_is_not_held_against_it_and_is_told() -> None:
    """Errors of ours are 4 or so, as those of the bar, but vary: of fourteen slices some look weak, and none is."""
    frame = a_frame(ours=4.0, theta=4.0, series=10, spread=1.5)
    found = gates.slice_skill(frame, yard(), rules(min_slice_skill=-0.001))
    assert found.passed, found.words
    told = re.fullmatch(
        r"the weakest of 14 slices is .* with -\d\.\d%, at least -0\.1% is asked for; (\d+) below by no more than chance",
        found.words,
    )
    assert told and int(told[1]) >= 3
    one = gates.slice_skill(frame.with_columns(at("theta", pl.col("unique_id") == "s3", 3.0)), yard(), rules())
    assert not one.passed and one.words.endswith("; 1 below by more than chance: series 's3'")


def test_few_origins_that_are_far_apart_say_enough_of_a_slice() -> None:
    """A bar that is fitted on 12 of 60 origins: they hardly overlap, and a slice is judged by them."""
    weak = a_frame(60).with_columns(at("challenger", pl.col("step") == 4, 5.0))
    sparse = weak.with_columns(theta=pl.when(pl.col("cutoff") % (5 * HORIZON) == 0).then("theta"))
    assert "steps 4 to 4 with -25" in gates.slice_skill(sparse, yard(), rules()).words
    same = sparse.drop_nulls("theta")  # all the origins that there are
    assert "no part of the horizon has 30 origins" in gates.slice_skill(same, yard(), rules()).words


def test_slices_are_in_the_measure_too() -> None:
    """Three of four errors are half of the bar's, one is thrice it: level on the mean, far behind in squares."""
    frame = a_frame(ours=2.0, theta=4.0, spread=0.0).with_columns(at("challenger", pl.col("cutoff") % 16 == 12, 12.0))
    for by, worst in (("mae", "-12.5%"), ("mse_scaled", "-143.8%"), ("rmsse", "-56.1%")):
        found = gates.slice_skill(frame, yard(by), rules())
        assert "the weakest of 6 slices is " in found.words and f" with {worst}, at least" in found.words


def test_a_slice_without_a_score_is_not_judged() -> None:
    """Naive2 is without error in s1, by which an OWA cannot be divided; a MASE, of which s1 has a scale, there is."""
    first = pl.col("unique_id") == "s0"
    still = a_frame(ours=5.0, spread=0.0).with_columns(at("naive2", ~first, 0.0), at("challenger", first, 1.0))
    assert "of 5 slices" in gates.slice_skill(still, yard("owa"), rules()).words
    assert "series 's1' with -25" in gates.slice_skill(still, yard("mase"), rules()).words


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
@pytest.mark.parametrize("by", ["mae", "mase", "rmsse"])
def test_against_the_champion(ours: float, theirs: float, rule: Any, newer: bool, passed: bool, by: Any) -> None:
    frame = a_frame(ours=ours, theirs=theirs, spread=0.01)
    found = gates.against_champion(frame, yard(by), newer, rules(rule=rule, margin=0.01))
    assert found.passed is passed, found.words
    assert found.words.startswith("error " if by == "mae" else f"error ({SCORES[by]}) ")


def test_the_champion_s_gate_goes_by_the_measure() -> None:
    """Half the error in a series of tens, twice the error in one of ones: better in MAE, worse in MASE."""
    ones = pl.col("unique_id") == "s0"
    frame = a_frame(ours=10.0, theirs=20.0, spread=0.0).with_columns(at("challenger", ones, 2.0), at("champion", ones, 1.0))
    assert "error -42.9% of" in gates.against_champion(frame, yard("mae"), True, rules()).words  # 12 of 21
    found = gates.against_champion(frame, yard("mase"), True, rules())  # 2 + 1 of 1 + 2
    assert not found.passed and "error (MASE) +0.0% of the champion's" in found.words.replace("-0.0%", "+0.0%")
    assert gates.against_champion(frame, yard("mae"), True, rules()).passed


def test_a_gain_that_may_be_chance_is_none() -> None:
    """On average 10 % better, but one origin is better by all of it and the rest are level."""
    seventh = pl.col("cutoff") == 7 * HORIZON
    frame = a_frame(ours=2.0, theirs=2.0).with_columns(challenger=pl.when(seventh).then(-6.0).otherwise(2.0))
    lucky = frame.with_columns(champion=pl.when(seventh).then(14.0).otherwise(2.0))
    found = gates.against_champion(lucky, yard(), True, rules(rule="better", margin=0.01))
    assert not found.passed and "-8" in found.words
    assert not gates.against_champion(frame.clear(), yard(), True, rules()).passed


def test_a_slice_in_which_only_the_bar_is_perfect_fails() -> None:
    still = a_frame().with_columns(at("theta", pl.col("unique_id") == "s1", 0.0))
    found = gates.slice_skill(still, yard(), rules())
    assert not found.passed and "series 's1' with -inf" in found.words
    exact = still.with_columns(at("challenger", pl.col("unique_id") == "s1", 0.0))
    assert gates.slice_skill(exact, yard(), rules()).passed


def test_a_forecast_that_is_no_number_does_not_drop_out() -> None:
    networks = {"challenger": False, "champion": False}
    assert gates.whole(a_frame(), networks).passed
    for bad in (float("nan"), None, float("inf")):
        hurt = a_frame().with_columns(
            champion=pl.when(pl.col("cutoff") == 3 * HORIZON).then(pl.lit(bad, pl.Float64)).otherwise("champion")
        )
        found = gates.whole(hurt, networks)
        assert not found.passed and "8 of 320 of the champion's" in found.words
        found = gates.whole(hurt, networks | {"champion": True})  # a baseline forecasts nothing where its history is too short
        assert found.passed is (bad != float("inf")) and "8 of 320 of the champion's" in found.words
    nothing = a_frame().with_columns(champion=pl.lit(None, pl.Float64))
    assert not gates.whole(nothing, networks | {"champion": True}).passed


@pytest.mark.parametrize(
    ("factor", "margin", "passed"),
    [(1.0, 0.01, True), (0.5, 0.01, True), (1.3, 0.01, False), (1.3, 0.4, True), (3.0, 0.4, False)],
)
@pytest.mark.parametrize("by", ["mae", "mase", "owa", "mse_scaled"])
def test_wider_intervals_for_the_same_errors_are_refused(factor: float, margin: float, passed: bool, by: Any) -> None:
    """All actuals lie inside: the interval score is the width, in s1 a tenth of it in units of the series."""
    frame = a_frame(ours=0.1).with_columns(pl.lit(-1.0).alias("champion-lo-90"), pl.lit(1.0).alias("champion-hi-90"))
    wide = frame.with_columns(pl.lit(-factor).alias("challenger-lo-90"), pl.lit(factor).alias("challenger-hi-90"))
    found = gates.against_its_intervals(wide, yard(by), rules(margin=margin))
    assert found.passed is passed, found.words
    assert found.words.startswith(f"interval score of 90 % {factor - 1:+.1%} of the champion's, 90 % of resampled origins")


def test_an_interval_score_by_hand() -> None:
    """Width 2; 0.5 below the lower end costs 20 times as much more, 1 above the upper end too; without an interval none."""
    frame = pl.DataFrame({"y": [0.0, -1.5, 2.0, None, 0.0], "champion": 0.0}).with_columns(
        pl.Series("champion-lo-90", [-1.0] * 4 + [None]), pl.Series("champion-hi-90", [1.0] * 5)
    )
    made = gates.interval_scores(frame, ["champion"])
    assert made["champion"].to_list() == [2.0, 12.0, 22.0, None, None] and made["y"].to_list() == [0.0, 0.0, 0.0, None, 0.0]


def test_a_worse_interval_that_may_be_chance_is_not_held_against_it() -> None:
    """In one origin of forty it misses by 10, at 200 and not 20; on average that is almost a quarter more."""
    frame = a_frame(ours=0.0, spread=0.0).with_columns(pl.lit(-10.0).alias("champion-lo-90"), champion=pl.lit(0.0))
    frame = frame.with_columns(pl.lit(10.0).alias("champion-hi-90"), pl.lit(-10.0).alias("challenger-lo-90"))
    once = frame.with_columns(pl.when(pl.col("cutoff") == 7 * HORIZON).then(-10.0).otherwise(10.0).alias("challenger-hi-90"))
    found = gates.against_its_intervals(once, yard(), rules())
    assert found.passed and "+22.5% of the champion's" in found.words and "or an interval that reaches zero" in found.words
    often = frame.with_columns(pl.when(pl.col("cutoff") % 8 == 0).then(-10.0).otherwise(10.0).alias("challenger-hi-90"))
    assert not gates.against_its_intervals(often, yard(), rules()).passed
    few = often.filter(pl.col("cutoff") < 5 * HORIZON)  # too few to tell: the number alone
    assert gates.against_its_intervals(few, yard(), rules()).words.endswith("at most +1.0% is asked for")
    assert not gates.against_its_intervals(few, yard(), rules()).passed


def test_a_champion_without_an_interval_has_no_score_to_beat() -> None:
    frame = a_frame().with_columns(pl.lit(None, pl.Float64).alias(f"champion-{end}-90") for end in ("lo", "hi"))
    found = gates.against_its_intervals(frame, yard(), rules())
    assert found.passed and found.words == "no row on which both have an interval gives an interval score of 90 %"


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
