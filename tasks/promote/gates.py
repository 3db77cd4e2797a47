"""The gates between a challenger and the alias champion, each a function that says whether it is passed, and why.

Frames are wide forecast frames of origins that no version has seen: unique_id, ds, cutoff, step, y, a column a version with its
interval, and the naive forecasts.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import polars as pl

from params.schema import PromotionParams
from tasks.compare import scores, significance
from tasks.evaluate.intervals import COVERAGE
from tasks.train.identity import Fingerprint
from tasks.train.revision import standing

BLOCKS = 4  # parts of the horizon that are judged by themselves
LEAST_ORIGINS = 30  # with fewer a series or a block is not judged by itself
OURS, THEIRS = "challenger", "champion"  # the columns of the two versions


@dataclass(frozen=True)
class GateResult:
    """What a gate says, and why; `way`: what to type where it is not passed and something may be done at once."""

    gate: str
    passed: bool
    words: str
    way: str = ""


def enough_origins(frame: pl.DataFrame, overlap: int) -> GateResult:
    """Whether there are origins (or else series) enough to say anything."""
    rows = frame.drop_nulls("y")
    origins, series = rows["cutoff"].n_unique(), rows["unique_id"].n_unique()
    needed = max(significance.FEWEST, 2 * overlap)
    told = f"{origins} origins of {series} series that no version has seen"
    if significance.enough(np.empty(origins), overlap) or series >= significance.FEWEST:
        return GateResult("origins", True, told)
    return GateResult("origins", False, f"{told}: {needed - origins} more origins are needed ({needed} in all)")


def whole(frame: pl.DataFrame, versions: Sequence[str]) -> GateResult:
    """Whether every forecast is a number: one that is none must not drop out of the scores."""
    bad = {name: int((~frame[name].cast(pl.Float64).fill_null(math.nan).is_finite()).sum()) for name in versions}
    told = ", ".join(f"{count:,} of {frame.height:,} of the {name}'s" for name, count in bad.items() if count)
    return GateResult("numbers", not told, f"forecasts that are no numbers: {told}" if told else "every forecast is a number")


def skill(frame: pl.DataFrame, naive: str, rules: PromotionParams) -> GateResult:
    """Skill against the best naive, over everything."""
    found = scores.skill(frame, OURS, naive)
    if found is None:
        return GateResult("skill", False, f"no row that challenger and {naive} both forecast has an actual")
    words = f"skill {found:+.1%} against {naive}, at least {rules.min_skill:+.1%} is asked for"
    return GateResult("skill", found >= rules.min_skill, words)


def slice_skill(frame: pl.DataFrame, naive: str, rules: PromotionParams) -> GateResult:
    """The same for every series and every part of the horizon with origins enough."""
    horizon = int(frame["step"].max() or 1)  # type: ignore[arg-type]
    edges = np.linspace(0, horizon, min(BLOCKS, horizon) + 1).round().astype(int)
    parts = [(f"steps {low + 1} to {high}", pl.col("step").is_between(low + 1, high)) for low, high in pairwise(edges)]
    known = frame.drop_nulls("y")
    counts = known.group_by("unique_id").agg(pl.col("cutoff").n_unique()).filter(pl.col("cutoff") >= LEAST_ORIGINS)
    parts = parts if known["cutoff"].n_unique() >= LEAST_ORIGINS else []
    found = {name: _skill(frame.filter(rule), naive) for name, rule in parts}
    inside = frame.filter(pl.col("unique_id").is_in(counts["unique_id"].implode()))
    found |= {f"series {name!r}": value for name, value in _by_series(inside, naive).items()}
    judged = {name: -math.inf if value is None else value for name, value in found.items()}  # naive without error, and we with
    if not judged:
        return GateResult(
            "slices", True, f"no series and no part of the horizon has {LEAST_ORIGINS} origins to be judged by itself"
        )
    worst = min(judged, key=lambda name: judged[name])
    low = [name for name, value in judged.items() if value < rules.min_slice_skill]
    asked = f"at least {rules.min_slice_skill:+.1%} is asked for"
    words = f"the weakest of {len(judged)} slices is {worst} with {judged[worst]:+.1%}, {asked}"
    more = f"; {len(low)} lie below: {', '.join(low[:5])}" if len(low) > 1 else ""
    return GateResult("slices", not low, words + more)


def _by_series(frame: pl.DataFrame, naive: str) -> dict[str, float | None]:
    parts = frame.partition_by("unique_id", as_dict=True)
    return {str(name): _skill(part, naive) for (name,), part in parts.items()}


def _skill(frame: pl.DataFrame, naive: str) -> float | None:
    """Skill; 0 where neither errs, None where only the naive forecast does not."""
    found = scores.skill(frame, OURS, naive)
    return 0.0 if found is None and scores.mae(frame, OURS) == 0 else found


def against_champion(frame: pl.DataFrame, overlap: int, newer: bool, rules: PromotionParams) -> GateResult:
    """`better`: by the margin, and the interval clear of zero; `not_worse`: newer data, and no loss beyond the margin."""
    found = significance.judge(significance.differences(frame, [OURS], [THEIRS]), overlap)
    theirs = scores.mae(frame, THEIRS)
    if found is None or found.low is None or found.high is None or not theirs:
        return GateResult("champion", False, "the two cannot be told apart: too few origins with an actual")
    share, low, high = (value / theirs for value in (found.mean, found.low, found.high))
    told = f"error {share:+.1%} of the champion's, 90 % of resampled {found.over} between {low:+.1%} and {high:+.1%}"
    if rules.rule == "better":
        passed = share <= -rules.margin and high < 0
        return GateResult("champion", passed, f"{told}; asked for: at most {-rules.margin:+.1%}, and the interval below zero")
    passed = newer and high < rules.margin
    age = "newer data" if newer else "data that are not newer"
    return GateResult(
        "champion", passed, f"{told}, from {age}; asked for: newer data, and the interval below {rules.margin:+.1%}"
    )


def coverage(frame: pl.DataFrame, rules: PromotionParams) -> GateResult:
    """Whether the 90 % interval covers as much as it may."""
    low, high = (f"{OURS}-{side}-{COVERAGE}" for side in ("lo", "hi"))
    rows = frame.select("step", "y", low, high).drop_nulls("y")
    bare = rows.filter(pl.col(low).is_null())["step"].unique().sort().to_list()
    if rows.is_empty() or bare:
        which = f"of step {', '.join(map(str, bare[:5]))}" if bare else "to judge"
        return GateResult("coverage", False, f"there is no interval {which}: too few validation residuals")
    share = float(rows.select(pl.col("y").is_between(low, high).mean()).item())
    least, most = rules.coverage
    words = f"the 90 % interval covers {share:.1%}, between {least:.0%} and {most:.0%} is asked for"
    return GateResult("coverage", least <= share <= most, words)


def checks(passed: bool | None) -> GateResult:
    """Whether the data checks passed, as the version keeps their verdict; what the leakage canary stops is never registered."""
    if passed:
        return GateResult("checks", True, "the data checks and the leakage canary passed before it was registered")
    words = "nothing says that the data checks passed" if passed is None else "the data checks failed before it was registered"
    return GateResult("checks", False, words)


def code(fingerprint: Fingerprint, allowed: bool) -> GateResult:
    """Whether a revision holds the code that trained it, then or by now."""
    found = standing(fingerprint)
    if found.kept:
        return GateResult("code", True, found.words)
    return GateResult("code", allowed, found.words + (" (--allow-dirty)" if allowed else ""), "" if allowed else found.way)


def summary(results: Sequence[GateResult]) -> str:
    """Why a challenger was refused, or that every gate was passed."""
    against = [f"{one.gate}: {one.words}" for one in results if not one.passed]
    return "; ".join(against) if against else f"all {len(results)} gates were passed"
