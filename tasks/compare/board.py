"""The leaderboard: the order of its rows, the chosen one, the bar, and which may be as good as the best."""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
from typing import Any

from models.baselines import NAIVES
from tasks.train.kind import Kind

LEVEL = 0.05  # family-wise error rate, over all comparisons with one model
Score = float | None


class Standing(StrEnum):
    """Whether a row has scores."""

    FINISHED = "finished"
    FAILED = "failed"
    LEFT_OUT = "left out"  # a baseline without a forecast


@dataclass(frozen=True, kw_only=True)
class ScoreRow:
    """A fit, a variant over its seeds, or a baseline.

    `numbers`: scores and costs by the names in `report/columns.py`; `row["test_mae"]` is None if unknown.
    `seed`: that of a single fit; `seeds`: how many a variant has, None if none can vary.  `copies`: it only
    repeats the last value.
    """

    name: str
    kind: Kind
    variant: str
    family: str | None = None
    status: Standing = Standing.FINISHED
    seed: int | None = None
    seeds: int | None = None
    seeded: bool = True
    note: str = ""
    copies: bool = False
    numbers: Mapping[str, Score] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Score:
        value = self.numbers.get(name)
        return None if value is None or math.isnan(value) else value

    @property
    def finished(self) -> bool:
        """Whether it has scores."""
        return self.status is Standing.FINISHED

    @property
    def score(self) -> Score:
        """The validation error that ranks it (by default the MAE); None if it shares no row with the bar."""
        return self["val_score" if "val_score" in self.numbers else "val_mae"]

    @property
    def scores(self) -> dict[str, Score]:
        """Its errors and other scores on validation and test, without costs."""
        return {name: value for name, value in self.numbers.items() if name.startswith(("val_", "test_"))}

    def with_numbers(self, **numbers: Score) -> "ScoreRow":
        """The same row with some numbers added or replaced."""
        return replace(self, numbers={**self.numbers, **numbers})

    @classmethod
    def read(cls, raw: Mapping[str, Any]) -> "ScoreRow":
        """A row of `leaderboard.json`, where its numbers stand among its other keys."""
        attributes = {attribute.name: raw[attribute.name] for attribute in fields(cls) if raw.get(attribute.name) is not None}
        attributes |= {
            "kind": Kind(attributes["kind"]),
            "status": Standing(attributes["status"]),
            "variant": attributes.get("variant", attributes["name"]),
        }
        numbers = {name: value for name, value in raw.items() if name not in attributes and isinstance(value, int | float)}
        if "val_score" in raw:
            numbers["val_score"] = raw["val_score"]
        return cls(**attributes, numbers=numbers)


@dataclass(frozen=True)
class Difference:
    """The score of one model minus that of another on the `rows` both forecast, in the run's measure.

    `low`, `high`: its 90 % interval; `statistic`, `p` (two-sided, for this difference alone) and `p_holm`
    (corrected for all `tested` against the same model): None if unknown.  `over`: origins or series, `count`
    of them.  `skill`: 1 - score / score of the other, with its 90 % interval; None if the other has no error.
    """

    mean: float
    low: float | None
    high: float | None
    statistic: float | None
    p: float | None
    over: str
    count: int
    p_holm: float | None = None
    tested: int | None = None
    rows: int | None = None
    skill: float | None = None
    skill_low: float | None = None
    skill_high: float | None = None


@dataclass(frozen=True, kw_only=True)
class Board:
    """`rows`: by rising validation error, those without one last.

    `bar`: the best baseline, which a variant has to beat; `naive`: the best of last value, drift and seasonal
    naive.  `best`: the best variant; `chosen`: the same if it beats the bar, else the bar.  `alike`: the
    variants that may be as good as the best, as their difference on test may be chance.

    Validation decides everything but `alike`, which chooses nothing.
    """

    rows: tuple[ScoreRow, ...]
    bar: ScoreRow | None
    naive: ScoreRow | None
    best: ScoreRow | None
    chosen: ScoreRow | None
    alike: frozenset[str]

    @property
    def won(self) -> bool:
        """Whether a variant beats the bar."""
        return self.chosen is not None and self.chosen.kind is not Kind.BASELINE

    @classmethod
    def of(cls, rows: Iterable[ScoreRow], bar: str | None = None, naive: str | None = None) -> "Board":
        """The board of one row per variant and baseline.

        `bar`, `naive`: the best baseline and best naive on the rows that all baselines forecast (None: the
        lowest score).  A row scored on other rows than the bar's is placed by its skill on common rows, so
        only what is better than the bar on the same rows stands above it.
        """
        rows = list(rows)
        baselines = {row.name: row for row in rows if row.kind is Kind.BASELINE}
        scored = [row for row in baselines.values() if row.finished and row.score is not None]
        highest = baselines.get(bar or "") or min(scored, key=_standing(None), default=None)
        naive = naive or lowest_naive({name: row.score for name, row in baselines.items()})
        standing = _standing(highest)
        ranked = sorted(rows, key=standing)
        best = next((row for row in ranked if row.kind is not Kind.BASELINE and row.finished and row.score is not None), None)
        won = best is not None and highest is not None and standing(best) < standing(highest)
        alike = {row.name for row in ranked if row.kind is not Kind.BASELINE and _less(LEVEL, row["test_p_best"])}
        return cls(
            rows=tuple(ranked),
            bar=highest,
            naive=baselines.get(naive or ""),
            best=best,
            chosen=best if won else highest,
            alike=frozenset(alike),
        )

    def row(self, name: str) -> ScoreRow:
        """The row of a variant or baseline.  Raises KeyError if there is none."""
        for row in self.rows:
            if row.name == name:
                return row
        raise KeyError(name)


def best_naive(errors: Mapping[str, Score]) -> str:
    """The one of last_value, drift and seasonal_naive with the lowest validation error (the first on a tie).

    `errors`: that error by name, for all baselines.  Raises ValueError if none of the three forecast
    anything.
    """
    lowest = lowest_naive(errors)
    if lowest is None:
        raise ValueError(f"no naive forecast to compare with: have one of {', '.join(NAIVES)} among the baselines")
    return lowest


def lowest_naive(errors: Mapping[str, Score]) -> str | None:
    """Like `best_naive`, but None if none of the three forecast anything."""
    known = {name: value for name, value in errors.items() if name in NAIVES and value is not None}
    return min(known, key=known.__getitem__, default=None)


def _standing(bar: ScoreRow | None) -> Callable[[ScoreRow], float]:
    """A row's validation error on the bar's rows: its own if these are the same, else the bar's by its skill.

    Infinite if there is none."""

    def standing(row: ScoreRow) -> float:
        score, skill = row.score, row["val_skill"]
        if score is None:
            return math.inf
        if bar is None or bar.score is None or skill is None or row["val_rows"] == bar["val_rows"]:
            return score
        return bar.score * (1 - skill)

    return standing


def _less(score: Score, other: Score) -> bool:
    return score is not None and other is not None and score < other
