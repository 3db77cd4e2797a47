"""From what was found to a run file: sizes that give windows in every split, and the text."""

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from params.errors import UserError
from params.shown import visible
from params.strict_yaml import parse_yaml
from tasks.explore.columns import Roles
from tasks.explore.rhythm import Grid
from tasks.grid.frequency import MICROSECONDS, Frequency

LONGEST_HORIZON, LONGEST_LOOKBACK = 192, 672
MOST_FEATURES = 12
MOST_WINDOWS = 200_000  # to train on; more than that are thinned by windows.stride
USUAL_HORIZON = {"s": 60, "m": 60, "h": 24, "d": 14, "w": 8, "mo": 12, "q": 4, "y": 4}
FEWEST_ROWS = 12
MAX_GAP_SHARE = 0.01  # params/base.yaml


@dataclass(frozen=True)
class Sizes:
    """Rows: horizon, lookback of the target and of the features, validation and test each, strides, season."""

    horizon: int
    lookback: int
    features: int
    split: int
    stride: int
    evaluation_stride: int
    season: int


def sizes_of(grid: Grid, seasons: dict[int, float], source: str) -> Sizes:
    """Sizes with which at least three of four series give windows to every split.

    Raises UserError where the series are too short for any.
    """
    length = grid.lengths[len(grid.lengths) // 4]
    if length < FEWEST_ROWS:
        raise UserError(
            f"{source}: too short: three of four series have {length} steps or more, and {FEWEST_ROWS} is the least from which "
            "something can be learned and tested; give longer history"
        )
    unit = "" if isinstance(grid.span, int) else re.sub(r"\d", "", grid.span)
    cycle = next((season for season in seasons if season <= LONGEST_HORIZON), None)
    horizon = max(1, min(cycle or USUAL_HORIZON.get(unit, 12), LONGEST_HORIZON, length // 8))
    split = max(2 * horizon, min(length * 3 // 20, 60 * max(horizon, 7)))
    training = length - 2 * split
    lookback = max(1, min(3 * max(horizon, cycle or 1), LONGEST_LOOKBACK, (training - horizon) // 2))
    windows = sum(max(0, n - 2 * split - lookback - horizon + 1) for n in grid.lengths)
    strongest = best_season(seasons)
    return Sizes(
        horizon, lookback, max(1, min(lookback, max(horizon, 3)) if lookback < 12 else lookback // 3), split,
        max(1, math.ceil(windows / MOST_WINDOWS)), max(1, horizon // 4), strongest,
    )  # fmt: skip


def best_season(seasons: dict[int, float]) -> int:
    """The shortest of the clear seasons, unless a longer one is clearer by a tenth; 1 where there is none."""
    best = 1
    for season, strength in seasons.items():
        if best == 1 or strength > seasons[best] + 0.1:
            best = season
    return best


def split_text(rows: int, grid: Grid) -> str | int:
    """A split as a duration in whole days where all series end together, else as rows of each series."""
    step = None if isinstance(grid.span, int) else Frequency(grid.span).microseconds
    if step is None or not grid.together:
        return rows
    day = MICROSECONDS["d"]
    if rows * step >= 2 * day and day % step == 0:
        return f"{-(-rows * step // day)}d"
    unit = next(unit for unit in ("w", "d", "h", "m", "s") if rows * step % MICROSECONDS[unit] == 0)
    return f"{rows * step // MICROSECONDS[unit]}{unit}"


def name_of(stem: str) -> str:
    """A file's name as the name of an experiment and a model."""
    text = re.sub(r"[^a-z0-9._-]+", "-", stem.lower()).strip("-._")
    return text[:64] or "series"


def run_text(name: str, path: str, roles: Roles, grid: Grid, seasons: dict[int, float], sizes: Sizes, constant: bool) -> str:
    """The run file as commented YAML; what it does not name comes from params/base.yaml."""
    others = [target for target in roles.targets[1:] if target not in roles.static]
    season = ", ".join(f"{s} ({v:.2f})" for s, v in seasons.items()) or "none is clear"
    border, kept = split_text(sizes.split, grid), roles.features[:MOST_FEATURES]
    lines = [
        f'# Written by `python -m flows init` from "{visible(path)}": a first guess to change.',
        "# What is not named here stands in params/base.yaml.",
        f"name: {scalar(name)}",
        "data:",
        f"  path: {scalar(path)}",
        f"  id: {scalar(roles.ids[0]) if roles.ids else 'null'}" + ("" if roles.ids else "  # a single series"),
        f"  time: {scalar(roles.time)}",
        f"  target: {scalar(roles.target)}" + (f"  # or {_some(others)}" if others else ""),
        f"  frequency: {grid.span}",
        "windows:",
        f"  horizon: {sizes.horizon}  # steps to forecast",
        f"  stride: {sizes.stride}  # rows between two windows to train on",
        "  features:  # each with its own window, in samples",
        f"    y: {{lookback: {sizes.lookback}}}",
        *(f"    {scalar(feature)}: {{lookback: {sizes.features}}}" for feature in kept),
        *_left_out(roles, kept),
        *_calendar(grid),
        f"split: {{validation: {border}, test: {border}}}  # counted back from the end"
        + (" of each series" if isinstance(border, int) else ""),
        *_checks(grid, constant),
        f"evaluation: {{stride: {sizes.evaluation_stride}, season: {sizes.season}}}  # autocorrelation by season: {season}",
    ]
    text = "\n".join(lines) + "\n"
    parse_yaml(text, "the run file that init wrote")
    return text


def _left_out(roles: Roles, kept: Sequence[str]) -> list[str]:
    more = [*roles.features[len(kept) :], *roles.left]
    lines = [f"    # not used: {_some(more)}"] if more else []
    return lines + ([f"    # constant for a series: {_some(roles.static)}"] if roles.static else [])


def _calendar(grid: Grid) -> list[str]:
    if isinstance(grid.span, int):
        return []
    unit = re.sub(r"\d", "", grid.span)
    names = {
        "s": "hour, weekday",
        "m": "hour, weekday",
        "h": "hour, weekday",
        "d": "weekday, month",
        "w": "month",
        "mo": "month",
    }
    return [f"  calendar: [{names.get(unit, 'month')}]  # known ahead"] if unit != "y" else []


def _checks(grid: Grid, constant: bool) -> list[str]:
    """The limits of params/base.yaml that this table would break, as wide as it needs them."""
    limits = []
    if grid.worst_gap_share > MAX_GAP_SHARE:
        limits.append(f"max_gap_share: {min(1.0, math.ceil(grid.worst_gap_share * 110) / 100)}")
    if constant:
        limits.append("on_constant_target: warn")
    return [f"validation: {{{', '.join(limits)}}}  # what this table needs"] if limits else []


def _some(names: Sequence[str], most: int = 10) -> str:
    """Names in a comment: nothing in them ends its line."""
    shown = ", ".join(visible(name) for name in names[:most])
    return shown + (f" and {len(names) - most} more" if len(names) > most else "")


def scalar(text: str) -> str:
    """A text as YAML that is read as that text again."""
    plain = re.fullmatch(r"[A-Za-z_][\w./-]*", text, re.ASCII) and text.lower() not in ("null", "true", "false")
    return text if plain else json.dumps(text)
