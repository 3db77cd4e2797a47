"""The rules of the data checks, made from the params: what each column of the profile must be; never looks at a value."""

from dataclasses import dataclass

from models.windows import SPLITS
from params.schema import RunParams
from tasks.checks.profile import Profile


@dataclass(frozen=True)
class Rule:
    """A column of the profile (of its series, or of the whole table) must lie between `low` and `high`.

    `severity`: fail, warn or drop.  `about`: what is wrong where it does not hold, and what to do.
    """

    name: str
    column: str
    about: str
    low: float | None = None
    high: float | None = None
    severity: str = "fail"
    level: str = "series"
    feature: str | None = None


def rules_of(run: RunParams, profile: Profile) -> list[Rule]:
    """Every rule of a run, in the order in which people read them."""
    features = [name for name in run.windows.features if name != "y" and name not in profile.missing]
    rules = [*_form(run, profile), *_grid(run), *_target(run)]
    for name in ("y", *features):
        rules += _column(run, name)
    return [*rules, *_ranges(run, profile), *_history(run, profile), *_age(run)]


def _form(run: RunParams, profile: Profile) -> list[Rule]:
    missing = ", ".join(profile.missing)
    there = ", ".join(profile.columns)
    about = f"the table has no column {missing}: correct windows.features or validation.ranges (columns found: {there})"
    return [
        Rule("columns", "missing_columns", about, high=0, level="table"),
        Rule("split", "split_problem", profile.split_problem or "", high=0, level="table"),
    ]


def _grid(run: RunParams) -> list[Rule]:
    allowed, step = run.validation.max_gap_share, run.data.frequency
    return [
        Rule("unique keys", "duplicates", "rows repeat a (unique_id, ds): keep one row a series and time", high=0),
        Rule("frequency", "off_grid", f"rows lie off the grid of {step}: correct data.frequency or resample", high=0),
        Rule("gaps", "gap_share", "steps are missing: fill the gaps, or raise validation.max_gap_share", high=allowed),
    ]


def _target(run: RunParams) -> list[Rule]:
    varies, severity = "the target never changes: there is nothing to forecast", run.validation.on_constant_target
    return [
        Rule("target observed", "y_distinct", "no value of the target is observed: remove the series", low=1),
        Rule("target varies", "y_varies", varies, low=1, severity=severity),
    ]


def _column(run: RunParams, name: str) -> list[Rule]:
    what = f"the target ({run.data.target})" if name == "y" else name
    severity = "warn" if name == "y" else run.validation.on_null_feature
    empty = f"{what} is empty in too many rows (validation.max_null_share)"
    most = run.validation.max_null_share
    return [
        Rule(f"numbers: {name}", f"text:{name}", f"{what} holds text where numbers are needed", high=0, feature=name),
        Rule(f"finite: {name}", f"infinite:{name}", f"{what} holds infinite values: mend the source", high=0, feature=name),
        Rule(f"nulls: {name}", f"null_share:{name}", empty, high=most, severity=severity, level="table", feature=name),
    ]


def _ranges(run: RunParams, profile: Profile) -> list[Rule]:
    rules = []
    for name, (low, high) in run.validation.ranges.items():
        if name not in profile.missing:
            about = f"{name} lies outside validation.ranges, {low:g} to {high:g}"
            rules.append(Rule(f"range: {name}, lowest", f"min:{name}", about, low=low, feature=name))
            rules.append(Rule(f"range: {name}, highest", f"max:{name}", about, high=high, feature=name))
    return rules


def _history(run: RunParams, profile: Profile) -> list[Rule]:
    window = run.windows.window_params()
    need = window.reach + 1 + window.ahead
    short = f"too short for one training window ({need} rows before validation begins)"
    rules = [Rule("history", "windows:train", short, low=1, severity=run.validation.on_short_series)]
    if profile.split_problem is None:
        more = "give longer history, or shorten lookback, horizon or split"
        for split in SPLITS:
            about = f"no series has a complete {split} window: {more}"
            rules.append(Rule(f"{split} windows", f"windows:{split}", about, low=1, level="table"))
    return rules


def _age(run: RunParams) -> list[Rule]:
    limit, rules = run.validation.fresh_within, []
    if limit is not None:
        rules.append(Rule("fresh", "late", f"the newest row is older than {limit}: is the feed late?", high=0, level="table"))
    if not isinstance(run.data.frequency, int):
        about = "the newest row lies in the future: are the times UTC?"
        rules.append(Rule("not from the future", "ahead", about, high=0, severity="warn", level="table"))
    return rules
