"""The rules of the data checks, derived from the params: the allowed range of each column of the profile."""

import math
from dataclasses import KW_ONLY, dataclass
from typing import Literal

from models.data.panel import SPLITS
from models.data.refused import LOG1P, MOST, REFUSED
from params.schema import RunParams
from tasks.grid.frequency import Frequency
from tasks.load.clock import came_twice
from tasks.load.files import did_you_mean
from tasks.load.source import categories_of
from tasks.validate.advice import what_fits
from tasks.validate.profile import Profile, of_fold
from tasks.validate.verdict import Severity, Unit

Level = Literal["series", "table"]


@dataclass(frozen=True)
class Rule:
    """A column of the profile (per series, or of the table) must lie between `low` and `high`.

    `about`: what is wrong otherwise, and what to do.  `feature`: dropped if the rule's severity is drop.
    `examples`: the column of the profile with an example of what is wrong, for the message.
    """

    name: str
    column: str
    about: str
    _: KW_ONLY
    low: float | None = None
    high: float | None = None
    severity: Severity = Severity.FAIL
    level: Level = "series"
    feature: str | None = None
    examples: str | None = None
    unit: Unit = "count"


def rules_of(run: RunParams, profile: Profile, table_alone: bool = False) -> list[Rule]:
    """Every rule of a run, in reading order.

    `table_alone`: those on columns, times, numbers and duplicates; none on what training and scoring need.
    """
    features = [name for name in run.windows.features if name != "y" and name not in profile.missing]
    rules = [*_form(run, profile), *_grid(run, profile.went_back), *([] if table_alone else _target(run))]
    for name in ("y", *features):
        rules += _column(run, name)
    for name in dict.fromkeys([*run.windows.columns, *run.validation.ranges]):
        if name not in ("y", *features, *categories_of(run), *profile.missing):
            rules += _numbers(name, name)
    rules += _ranges(run, profile)
    if table_alone:
        return [rule for rule in rules if rule.name != "split"]
    return [*rules, *_history(run, profile), *_age(run, profile)]


def _form(run: RunParams, profile: Profile) -> list[Rule]:
    missing = ", ".join(f"{name!r}{did_you_mean(name, profile.found)}" for name in profile.missing)
    there = ", ".join(repr(name)[1:-1] for name in profile.found)
    about = f"the table has no column {missing}: correct windows or validation.ranges (columns found: {there})"
    rules = [
        Rule("columns", "missing_columns", about, high=0, level="table"),
        Rule("split", "split_problem", profile.split_problem or "", high=0, level="table", unit="answer"),
    ]
    if "y" in profile.found and "y" not in (*run.data.ids, *run.data.times, run.data.target):
        about = f"the table has a column y, and nothing reads it: y means the target ({run.data.target}); rename it to use it"
        rules.insert(1, Rule("one y", "columns_y", about, high=0, severity=Severity.WARN, level="table", unit="answer"))
    return rules


def _grid(run: RunParams, went_back: str | None) -> list[Rule]:
    allowed, step = run.validation.max_gap_share, run.data.frequency
    keeps = run.validation.on_duplicates == "keep_first"
    kept = "the first of them is kept" if keeps else "keep one row per series and time, or set validation.on_duplicates"
    severity = Severity.WARN if keeps else Severity.FAIL
    if went_back is not None:
        kept = came_twice(went_back)
    off = "correct data.frequency or resample"
    if Frequency(step).business_days is not None:
        off = "weekends and holidays (data.holidays) are none of its steps: remove those rows, or set data.frequency to 1d"
    gaps = "steps are missing: fill the gaps, or raise validation.max_gap_share"
    return [
        Rule("unique keys", "duplicates", f"rows repeat a (unique_id, ds): {kept}", high=0, severity=severity),
        Rule("frequency", "off_grid", f"rows lie off the grid of {step}: {off}", high=0),
        Rule("gaps", "gap_share", gaps, high=allowed, unit="share"),
    ]


def _target(run: RunParams) -> list[Rule]:
    varies, severity = "the target never changes: there is nothing to forecast", Severity(run.validation.on_constant_target)
    log1p = Rule("log1p", "min:y", REFUSED["log1p"], low=math.nextafter(LOG1P, 0), unit="value")
    defined = [log1p] if run.scaling.target == "log1p" else []
    return [
        *defined,
        *_bounds(run),
        Rule("target observed", "y_distinct", "no value of the target is observed: remove the series", low=1, unit="answer"),
        Rule("target varies", "y_varies", varies, low=1, severity=severity, unit="answer"),
    ]


def _bounds(run: RunParams) -> list[Rule]:
    """Rules that targets respect the run's bounds for forecasts."""
    data, rules = run.data, []
    if data.lowest is not None or data.highest is not None:
        ends = (
            f"data.{key} {end:,.15g}" for key, end in (("lowest", data.lowest), ("highest", data.highest)) if end is not None
        )
        about = (
            f"rows have a target outside {' and '.join(ends)}, where no forecast can go: widen the bounds, or correct the rows"
        )
        rules.append(Rule("bounds", "y_outside", about, high=0))
    if data.integer:
        about = "rows have a target that is no whole number, and data.integer rounds forecasts: take it out, or round the rows"
        rules.append(Rule("whole numbers", "y_between", about, high=0, severity=Severity.WARN))
    return rules


def _column(run: RunParams, name: str) -> list[Rule]:
    what = f"the target ({run.data.target})" if name == "y" else name
    severity = Severity.WARN if name == "y" else Severity(run.validation.on_null_feature)
    empty = f"{what} is empty in too many rows (validation.max_null_share)"
    most = run.validation.max_null_share
    share = f"null_share:{name}"
    nulls = Rule(f"nulls: {name}", share, empty, high=most, severity=severity, level="table", feature=name, unit="share")
    return [*_numbers(name, what), nulls]


def _numbers(name: str, what: str) -> list[Rule]:
    text, infinite, huge = (f"{what} holds {REFUSED[kind]}" for kind in ("text", "infinite", "huge"))
    return [
        Rule(f"numbers: {name}", f"text:{name}", text, high=0, feature=name, examples=f"example:{name}"),
        Rule(f"finite: {name}", f"infinite:{name}", infinite, high=0, feature=name),
        Rule(f"size: {name}", f"size:{name}", huge, high=MOST, feature=name, unit="value"),
    ]


def _ranges(run: RunParams, profile: Profile) -> list[Rule]:
    rules = []
    for name, (low, high) in run.validation.ranges.items():
        if name not in profile.missing:
            about = (
                f"{name} lies outside validation.ranges, {low:,.15g} to {high:,.15g}: correct or remove those rows, or widen it"
            )
            rules.append(Rule(f"range: {name}, lowest", f"min:{name}", about, low=low, feature=name, unit="value"))
            rules.append(Rule(f"range: {name}, highest", f"max:{name}", about, high=high, feature=name, unit="value"))
    return rules


def _history(run: RunParams, profile: Profile) -> list[Rule]:
    if not (profile.series["windows:train"] > 0).any():  # report the one cause once
        return [Rule("history", "windows:train", what_fits(run, profile), low=1)]
    window = run.windows.window_params()
    need = window.behind + 1 + window.ahead
    short = f"too short for one training window ({need} rows before validation begins)"
    rules = [Rule("history", "windows:train", short, low=1, severity=Severity(run.validation.on_short_series))]
    if profile.split_problem is None:
        if all(profile.table[f"windows:{split}"].item() for split in SPLITS):
            ended = "trained on without a whole window of validation, or of test, to be scored on: did the series end early?"
            rules.append(Rule("scored", "scored", ended, low=1, severity=Severity.WARN))
        more = "give longer history, or shorten lookback, horizon or split"
        for split in SPLITS:
            about = f"no series has a complete {split} window: {more}"
            rules.append(Rule(f"{split} windows", f"windows:{split}", about, low=1, level="table"))
            about = (
                f"no target is observed in the {split} range: is the table padded with empty rows? "
                "remove the rows without a target at its ends, or move the split"
            )
            rules.append(Rule(f"{split} observed", f"observed:{split}", about, low=1, level="table"))
        rules += _folds(run, profile)
    return rules


def _folds(run: RunParams, profile: Profile) -> list[Rule]:
    """Rules for earlier validation ranges (split.folds): each needs rows to train on, and rows to score."""
    folds, rules = run.split.folds, list[Rule]()
    able = [
        number for number in range(1, folds) if (profile.series[f"windows:{of_fold('train', number)}"] > 0).any()
    ]  # newer ranges have at least what older ones have
    if len(able) < folds - 1:
        about = (
            f"no series is long enough to be trained on before the first of {folds} validation ranges: lower split.folds to "
            f"{len(able) + 1}, shorten split.validation, lookback or horizon, or give longer history"
        )
        return [Rule("folds", f"windows:{of_fold('train', 1)}", about, low=1, level="table")]
    for number in able:
        which = f"validation range {number} of {folds}"
        columns = {kind: f"{kind}:{of_fold('validation', number)}" for kind in ("windows", "observed")}
        about = f"no series has a complete window in {which}: lower split.folds, shorten the horizon, or move the split"
        rules.append(Rule(f"{which}: windows", columns["windows"], about, low=1, level="table"))
        about = f"no target is observed in {which}: lower split.folds, or move the split"
        rules.append(Rule(f"{which}: observed", columns["observed"], about, low=1, level="table"))
        about = f"no target is observed before {which}: lower split.folds"
        rules.append(Rule(f"{which}: history", f"observed:{of_fold('train', number)}", about, low=1, level="table"))
        about = f"begins too late to be trained on before {which}, where it is forecast as a series that training did not see"
        short = f"windows:{of_fold('train', number)}"
        rules.append(Rule(f"{which}: series", short, about, low=1, severity=Severity.WARN))
    return rules


def _age(run: RunParams, profile: Profile) -> list[Rule]:
    if isinstance(run.data.frequency, int):
        return []
    limit, newest, rules = run.validation.fresh_within, profile.table["last"][0], []
    clock = profile.frequency.clock
    shown = f"the newest row is of {newest:%Y-%m-%d %H:%M} {'UTC' if clock is None else clock}"
    if limit is not None:
        steps = f"{limit} steps" if isinstance(limit, int) else limit
        about = f"{shown}, older than {steps} (validation.fresh_within): is the feed late?"
        rules.append(Rule("fresh", "late", about, high=0, level="table", unit="answer"))
    about = f"{shown}, in the future: are the times UTC?"
    rules.append(Rule("not from the future", "ahead", about, high=0, severity=Severity.WARN, level="table", unit="answer"))
    return rules
