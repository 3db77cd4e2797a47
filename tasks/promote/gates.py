"""The gates between a challenger and the alias champion: functions that say whether each is passed, and why.

Frames are wide forecast frames of origins that no version has seen: unique_id, ds, cutoff, step, y, a column
per version with its interval, and the baselines they are compared with.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from statistics import NormalDist

import numpy as np
import polars as pl

from params.evaluation import Measure, PromotionParams
from tasks.compare import measures, scores, significance
from tasks.compare.board import LEVEL, Difference, Score
from tasks.compare.differences import compared
from tasks.compare.measures import Scale
from tasks.evaluate.frames import COVERAGE
from tasks.report.leaderboard import SCORES
from tasks.train.identity import Fingerprint
from tasks.train.revision import standing

BLOCKS = 4  # parts of the horizon that are judged separately
LEAST_ORIGINS = 30  # with fewer, unless far apart, a series or block is not judged on its own
INTERVAL_UNITS: Mapping[str, Measure] = {"mae": "mae", "mae_scaled": "mae_scaled", "mse_scaled": "mae_scaled"}
OURS, THEIRS = "challenger", "champion"  # the columns of the two versions


@dataclass(frozen=True)
class GateResult:
    """A gate's result and its reason; `way`: what to type if it is not passed and that helps at once.

    `option`: the option that waived it.
    """

    gate: str
    passed: bool
    words: str
    way: str = ""
    option: str = ""


@dataclass(frozen=True, kw_only=True)
class Yardstick:
    """What versions are measured by: the best baseline (`bar`) and best `naive` one (columns), and a measure.

    `fifths`: unique_id, fifth: the size group of each series (`distribution.fifths`).
    """

    bar: str
    naive: str
    scale: Scale
    fifths: pl.DataFrame

    @property
    def name(self) -> str:
        """The measure's name for people."""
        return SCORES[self.scale.by]

    def lead(self, frame: pl.DataFrame, model: str, other: str) -> Difference | None:
        """How much larger one model's score is than another's; None if there is nothing to compare."""
        return compared([frame], [model], [other], self.scale)


def enough_origins(frame: pl.DataFrame) -> GateResult:
    """Whether there are enough origins (or else series) to say anything."""
    rows = frame.drop_nulls("y")
    origins, series = rows["cutoff"].n_unique(), rows["unique_id"].n_unique()
    overlap = significance.overlap_in(rows)
    needed = max(significance.FEWEST, 2 * overlap)
    words = f"{origins} origins of {series} series that no version has seen"
    if significance.enough(np.empty(origins), overlap) or series >= significance.FEWEST:
        return GateResult("origins", True, words)
    return GateResult("origins", False, f"{words}: {needed - origins} more origins are needed ({needed} in all)")


def whole(frame: pl.DataFrame, versions: Mapping[str, bool]) -> GateResult:
    """Whether every forecast is a number: others must not drop out of the scores.

    `versions`: column -> whether it is a baseline, which may lack some forecasts (too short a history: a
    fallback is served then), but not all, and may have no infinite one.
    """
    wrong: list[str] = []
    lacking: list[str] = []
    for name, baseline in versions.items():
        values = frame[name].cast(pl.Float64).fill_nan(None)
        none, infinite = values.null_count(), int(values.is_infinite().sum())
        if none or infinite:
            may_lack = baseline and not infinite and none < frame.height
            (lacking if may_lack else wrong).append(f"{none + infinite:,} of {frame.height:,} of the {name}'s")
    if wrong:
        return GateResult("numbers", False, f"forecasts that are no numbers: {', '.join(wrong)}")
    caveat = f" but {', '.join(lacking)}, which are none" if lacking else ""
    return GateResult("numbers", True, f"every forecast is a number{caveat}")


def skill(frame: pl.DataFrame, yard: Yardstick, rules: PromotionParams) -> GateResult:
    """Skill against the best baseline, over all rows that both forecast."""
    every = measures.measured([frame], [OURS, yard.bar], yard.scale)
    value, lead = _skill(every.scores[OURS], every.scores[yard.bar]), yard.lead(frame, OURS, yard.bar)
    if value is None:
        return GateResult("skill", False, f"no row that challenger and {yard.bar} both forecast gives a {yard.name}")
    words = (
        f"skill {value:+.1%} against {yard.bar} in {yard.name}{_between(lead)}; at least {rules.min_skill:+.1%} is asked for"
    )
    return GateResult("skill", value >= rules.min_skill, words)


def skill_naive(frame: pl.DataFrame, yard: Yardstick, least: float) -> GateResult:
    """Skill by MAE against the best of last value, drift and seasonal naive, for those who ask for it."""
    value = scores.skill([frame], OURS, yard.naive)
    if value is None:
        return GateResult("skill_naive", False, f"no row that challenger and {yard.naive} both forecast gives a skill")
    words = f"skill {value:+.1%} against {yard.naive} in MAE; at least {least:+.1%} is asked for"
    return GateResult("skill_naive", value >= least, words)


def chance(frame: pl.DataFrame, yard: Yardstick, allowed: bool) -> GateResult:
    """Whether a first champion, with no predecessor to beat, beats the best baseline by more than chance."""
    lead = yard.lead(frame, OURS, yard.bar)
    if lead is not None and lead.skill_low is not None and lead.skill_low > 0:
        return GateResult("chance", True, f"better than {yard.bar} by more than chance{_between(lead)}")
    words = f"that it is better than {yard.bar} may be chance{_between(lead) or ': too few origins to tell'}"
    if allowed:
        return GateResult("chance", True, f"{words} (--allow-chance)", option="--allow-chance")
    way = "--allow-chance takes it as first champion all the same, and the ledger says so"
    return GateResult("chance", False, words, way, "--allow-chance")


def bar_itself(yard: Yardstick, rules: PromotionParams) -> list[GateResult]:
    """Skill and slices of a challenger that is itself the best baseline."""
    words = f"it is {yard.bar}, the best baseline itself: its skill{{}} is 0; at least {{:+.1%}} is asked for"
    return [
        GateResult("skill", rules.min_skill <= 0, words.format("", rules.min_skill)),
        GateResult("slices", rules.min_slice_skill <= 0, words.format(" in every slice", rules.min_slice_skill)),
    ]


def slice_skill(frame: pl.DataFrame, yard: Yardstick, rules: PromotionParams) -> GateResult:
    """Whether no slice with enough origins is below the required skill by more than chance.

    Slices are series and parts of the horizon. One of many always looks weak, so Holm's correction applies.
    """
    least = rules.min_slice_skill
    rows = frame.with_columns(pl.col("y", OURS, yard.bar).cast(pl.Float64).fill_nan(None)).drop_nulls(["y", OURS, yard.bar])
    apart = rows["cutoff"].n_unique() < frame.drop_nulls("y")["cutoff"].n_unique()
    needed = significance.FEWEST if apart else LEAST_ORIGINS
    judged: dict[str, float] = {}
    chances: dict[str, float] = {}
    for place, template in ((part_of_horizon(frame), "{}"), (pl.col("unique_id"), "series {!r}")):
        for key, value in _skills(rows.filter(pl.col("cutoff").n_unique().over(place) >= needed), yard, place).items():
            name = template.format(key)
            judged[name] = value
            chances[name] = 1.0 if value >= least else _chance_of(value, rows.filter(place == key), yard, least)
    if not judged:
        return GateResult("slices", True, f"no series and no part of the horizon has {needed} origins to be judged by itself")
    worst, below = min(judged, key=judged.__getitem__), [name for name, value in judged.items() if value < least]
    words = f"the weakest of {len(judged)} slices is {worst} with {judged[worst]:+.1%}, at least {least:+.1%} is asked for"
    weak = [name for name, p in significance.holm(chances).items() if p < LEVEL]
    if weak:
        return GateResult("slices", False, f"{words}; {len(weak)} below by more than chance: {', '.join(weak[:5])}")
    return GateResult("slices", True, words + (f"; {len(below)} below by no more than chance" if below else ""))


def _skills(rows: pl.DataFrame, yard: Yardstick, place: pl.Expr) -> dict[str, float]:
    """Skill against the bar of each slice that has a score."""
    table = measures.measured_by([rows], [OURS, yard.bar], yard.scale, place)
    skills = {name: _skill(ours, bar) for name, ours, bar in table.select("_slice", OURS, yard.bar).iter_rows()}
    return {name: value for name, value in skills.items() if value is not None}


def _chance_of(observed: float, rows: pl.DataFrame, yard: Yardstick, least: float) -> float:
    """The one-sided p of a slice with skill `least` looking as weak as this one; 1 if unknown."""
    if observed == -math.inf:  # the bar has no error
        return 0.0
    lead = yard.lead(rows, OURS, yard.bar)
    if lead is None or lead.skill_low is None or lead.skill_high is None:
        return 1.0
    spread = (lead.skill_high - lead.skill_low) / (2 * NormalDist().inv_cdf(0.95))
    return NormalDist(least, spread).cdf(observed) if spread else 0.0


def part_of_horizon(frame: pl.DataFrame) -> pl.Expr:
    """The part of the horizon a row belongs to, in words."""
    horizon = int(frame["step"].max() or 1)  # type: ignore[arg-type]
    edges = np.linspace(0, horizon, min(BLOCKS, horizon) + 1).round().astype(int)
    parts = (
        pl.when(pl.col("step").is_between(low + 1, high)).then(pl.lit(f"steps {low + 1} to {high}"))
        for low, high in pairwise(edges)
    )
    return pl.coalesce(*parts)


def _skill(ours: Score, bar: Score) -> Score:
    """The skill from two scores; 0 if neither errs, minus infinity if only the bar has no error."""
    if ours is None or bar is None:
        return None
    return 1 - ours / bar if bar else -math.inf if ours else 0.0


def _between(lead: Difference | None) -> str:
    """The interval of a skill, in words; empty if unknown."""
    if lead is None or lead.skill_low is None or lead.skill_high is None:
        return ""
    return f", 90 % of resampled {lead.over} between {lead.skill_low:+.1%} and {lead.skill_high:+.1%}"


def against_champion(frame: pl.DataFrame, yard: Yardstick, newer: bool, rules: PromotionParams) -> GateResult:
    """`better`: by the margin, interval clear of zero; `not_worse`: newer data, no loss beyond the margin."""
    lead = yard.lead(frame, OURS, THEIRS)
    if lead is None or lead.skill is None or lead.skill_low is None or lead.skill_high is None:
        return GateResult("champion", False, "the two cannot be told apart: too few origins with an actual")
    share, low, high = -lead.skill, -lead.skill_high, -lead.skill_low
    error = "error" if yard.name == "MAE" else f"error ({yard.name})"
    words = f"{error} {share:+.1%} of the champion's, 90 % of resampled {lead.over} between {low:+.1%} and {high:+.1%}"
    if rules.rule == "better":
        passed = share <= -rules.margin and high < 0
        return GateResult("champion", passed, f"{words}; asked for: at most {-rules.margin:+.1%}, and the interval below zero")
    passed = newer and high < rules.margin
    age = "newer data" if newer else "data that are not newer"
    return GateResult(
        "champion", passed, f"{words}, from {age}; asked for: newer data, and the interval below {rules.margin:+.1%}"
    )


def against_its_intervals(frame: pl.DataFrame, yard: Yardstick, rules: PromotionParams) -> GateResult:
    """Whether the interval score is worse than the champion's by more than the margin and more than chance.

    In units of the run's measure, on the rows where both have an interval.
    """
    lead, name = interval_lead(frame, yard), f"interval score of {COVERAGE} %"
    if lead is None or lead.skill is None:
        return GateResult("intervals", True, f"no row on which both have an interval gives an {name}")
    share = 0.0 - lead.skill  # no -0
    words = f"{name} {share:+.1%} of the champion's"
    if lead.skill_low is None or lead.skill_high is None:
        return GateResult("intervals", share <= rules.margin, f"{words}; at most {rules.margin:+.1%} is asked for")
    low, high = 0.0 - lead.skill_high, 0.0 - lead.skill_low
    words += f", 90 % of resampled {lead.over} between {low:+.1%} and {high:+.1%}"
    asked = f"asked for: at most {rules.margin:+.1%}, or an interval that reaches zero"
    return GateResult("intervals", share <= rules.margin or low <= 0, f"{words}; {asked}")


def interval_scores(frame: pl.DataFrame, models: Sequence[str]) -> pl.DataFrame:
    """The frame with y 0 and each row's interval score in the model's column, as if it were an error.

    Width plus 20 (2 / alpha) times what lies outside (Gneiting & Raftery 2007, JASA 102); null without an
    interval.
    """
    y, outside = pl.col("y"), 200 / (100 - COVERAGE)
    scores = []
    for name in models:
        low, high = pl.col(f"{name}-lo-{COVERAGE}"), pl.col(f"{name}-hi-{COVERAGE}")
        scores.append((high - low + outside * ((low - y).clip(0) + (y - high).clip(0))).alias(name))
    return frame.with_columns(scores).with_columns(y=pl.when(y.is_not_null()).then(0.0))


def interval_scale(scale: Scale) -> Scale:
    """The units of interval scores, given those of errors."""
    return replace(scale, by=INTERVAL_UNITS.get(scale.by, "mase"))


def interval_lead(frame: pl.DataFrame, yard: Yardstick) -> Difference | None:
    """How much larger the challenger's interval score is than the champion's."""
    return compared([interval_scores(frame, [OURS, THEIRS])], [OURS], [THEIRS], interval_scale(yard.scale))


def checks(passed: bool | None) -> GateResult:
    """Whether the data checks passed, as stored in the version; a leaking run is never registered."""
    if passed:
        return GateResult("checks", True, "the data checks and the leakage canary passed before it was registered")
    words = "nothing says that the data checks passed" if passed is None else "the data checks failed before it was registered"
    return GateResult("checks", False, words)


def code(fingerprint: Fingerprint, allowed: bool) -> GateResult:
    """Whether a revision holds the code that trained the version."""
    state = standing(fingerprint)
    if state.kept:
        return GateResult("code", True, state.words)
    if allowed:
        return GateResult("code", True, f"{state.words} (--allow-dirty)", option="--allow-dirty")
    return GateResult("code", False, state.words, state.way)


def summary(results: Sequence[GateResult]) -> str:
    """Why a challenger was refused, or that every gate was passed and which ones an option waived."""
    against = [f"{result.gate}: {result.words}" for result in results if not result.passed]
    allowed = [f"{result.gate}: {result.words}" for result in results if result.passed and result.option]
    return "; ".join(against or [f"all {len(results)} gates were passed", *allowed])
