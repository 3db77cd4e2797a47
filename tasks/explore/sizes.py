"""Windows, strides and split for a table: a season per window, and windows of most series in every split."""

import math
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from params.errors import UserError
from tasks.explore.rhythm import Grid
from tasks.grid.frequency import MICROSECONDS, Frequency

LONGEST_HORIZON = 192
MOST_SAMPLES = 192  # per feature of a window: a recurrence takes a step for each
USUAL_HORIZON = {"s": 60, "m": 60, "h": 24, "d": 14, "bd": 10, "w": 13, "mo": 12, "q": 4, "y": 4}
FEWEST_ROWS = 12
SHORT_SEASON = 48  # a window holds four seasons up to this length, else two


@dataclass(frozen=True)
class Sizes:
    """In rows: horizon, padding, split (validation = test), strides, season; lookbacks in samples.

    `rate`: rows between two samples of the target.
    """

    horizon: int
    lookback: int
    rate: int
    features: int
    padding: int
    split: int
    stride: int
    evaluation_stride: int
    season: int

    @property
    def reach(self) -> int:
        """Rows that a window spans before its forecast."""
        return self.rate * (self.lookback - 1) + 1

    def windows(self, lengths: Sequence[int]) -> int:
        """The number of training windows at their stride."""
        behind = self.reach - self.padding + self.horizon - 1
        each = (np.asarray(lengths) - 2 * self.split - behind).clip(0)
        return int(-(-each // self.stride).sum())

    def origins(self, lengths: Sequence[int]) -> int:
        """The number of origins of validation, and of test."""
        each = (self.split - self.horizon) // self.evaluation_stride + 1
        return sum(each for length in lengths if length > 2 * self.split)


def sizes_of(grid: Grid, seasons: dict[int, float], asked: int | None, source: str) -> Sizes:
    """Sizes with which at least three of four series have windows in every split; strides are 1.

    `asked`: the horizon.  Raises UserError if the series are too short.
    """
    lengths, season = grid.lengths, best_season(seasons)
    length, short = lengths[len(lengths) // 4], lengths[len(lengths) // 20]
    if length < FEWEST_ROWS:
        raise UserError(
            f"{source}: too short: three of four series have {length} steps or more, and {FEWEST_ROWS} is the least from which "
            "something can be learned and tested; give longer history"
        )
    horizon = asked or max(1, min(_usual_horizon(grid.span, seasons), length // 4))
    split = _split_rows(horizon, length, short)
    training = length - 2 * split
    if training < horizon + 2:
        raise UserError(
            f"{source}: too short for --horizon {horizon}: three of four series have {length} steps or more, and validation "
            f"and test take {split} of them each; ask for {max(1, (length - 4) // 4)} steps at most"
        )
    reach, rate = _reach(season, seasons, horizon, length - split, training)
    lookback = -(-reach // rate)
    padding = _padding(rate * (lookback - 1), horizon, short - 2 * split)
    features = max(1, min(lookback, max(horizon, 3)) if lookback < 12 else lookback // 3)
    return Sizes(horizon, lookback, rate, features, padding, split, 1, 1, season)


def _usual_horizon(span: str | int, seasons: Collection[int]) -> int:
    """The shortest clear season, unless it exceeds three times the usual horizon at this step."""
    usual = 12 if isinstance(span, int) else USUAL_HORIZON.get(re.sub(r"\d", "", span), 12)
    cycle = next(iter(sorted(seasons)), usual)
    return min(cycle if cycle <= 3 * usual else usual, LONGEST_HORIZON)


def _split_rows(horizon: int, length: int, short: int) -> int:
    """The rows of validation and of test: several origins, at most a quarter of a series."""
    wanted = max(2 * horizon, min(length * 3 // 20, 60 * max(horizon, 7)))
    return max(horizon, min(wanted, length // 4, max(horizon, (short - horizon - 4) // 2)))


def _reach(season: int, seasons: Mapping[int, float], horizon: int, longest: int, training: int) -> tuple[int, int]:
    """How many rows a window spans, and how many lie between its samples.

    Two or four whole seasons, plus one of an equally clear longer season, as far as rows suffice before
    validation ends; if these are too many samples, every few rows, with whole numbers of samples per season.
    """
    if season == 1:
        return min(3 * horizon, MOST_SAMPLES, max(1, (training - horizon) // 2)), 1
    most = 4 if season <= SHORT_SEASON else 2
    wanted = season * max(1, min(most, -(-longest // season) - 1))
    clear = [other for other, strength in seasons.items() if other > season and strength > 0.8 * seasons[season]]
    longer = [other + horizon for other in clear if other + horizon <= min(MOST_SAMPLES, longest)]
    wanted = max(wanted, *longer, 0)
    if wanted <= MOST_SAMPLES:
        return wanted, 1
    if season + horizon <= MOST_SAMPLES:
        return max(season + horizon, MOST_SAMPLES), 1
    common = math.gcd(*seasons)
    least = -(-wanted // MOST_SAMPLES)
    rate = next((r for r in range(least, common + 1) if common % r == 0), None)
    rate = rate or next((r for r in range(least, season + 1) if season % r == 0), least)
    return (wanted, rate) if wanted // rate >= 8 else (wanted, least)


def _padding(span: int, horizon: int, training: int) -> int:
    """Rows of padding that give a series of `training` rows some windows, a quarter of each observed; or one
    window, if it has too few rows."""
    some, single = (span + horizon + count - training for count in (max(3, horizon // 2), 1))
    return max(0, min(some, max(span * 3 // 4, min(single, span - 3))))


def best_season(seasons: dict[int, float]) -> int:
    """The shortest clear season, unless a longer one is clearer by a tenth; 1 if there is none."""
    best = 1
    for season, strength in seasons.items():
        if best == 1 or strength > seasons[best] + 0.1:
            best = season
    return best


def coprime(stride: int, seasons: Collection[int]) -> int:
    """The first stride from this one on that shares no factor with a season, so that all phases occur."""
    while any(math.gcd(stride, season) > 1 for season in seasons):
        stride += 1
    return stride


def split_text(rows: int, grid: Grid) -> str | int:
    """A split as a duration in whole days if all series end together, else in rows per series."""
    step = None if isinstance(grid.span, int) else Frequency(grid.span).microseconds
    if step is None or not grid.together:
        return rows
    day = MICROSECONDS["d"]
    if rows * step >= 2 * day and day % step == 0:
        return f"{-(-rows * step // day)}d"
    unit = next(unit for unit in ("w", "d", "h", "m", "s") if rows * step % MICROSECONDS[unit] == 0)
    return f"{rows * step // MICROSECONDS[unit]}{unit}"
