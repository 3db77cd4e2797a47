"""Watching a version: how its forecasts turn out, whether its inputs drift, which series are missing or late.

A finding is what somebody should know; everything else is on the page.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import polars as pl

from params.errors import UserError
from params.schema import RunParams
from params.shown import visible
from tasks.grid.frequency import Frequency
from tasks.load.source import Source, open_source
from tasks.registry.admitted import admit
from tasks.registry.load import Version
from tasks.registry.unseen import panel_of
from tasks.serve.drift import Drift, above
from tasks.serve.forecast import Asked, forecast_frame, numbers, read, table_of
from tasks.serve.realised import RECENT, Realised, floor_of, on_grid, own_forecasts, realised, served
from tasks.serve.since import Series, Since, moment, since

NAMED = 5  # series named in a finding
SAID = 3  # findings in the verdict
GONE = 0.1  # this much more of a window's rows than of training's are missing: that is said


class About(StrEnum):
    """What a finding is about."""

    SKILL = "skill"
    INTERVALS = "intervals"
    DRIFT = "drift"
    SERIES = "series"


@dataclass(frozen=True)
class Finding:
    """Something that somebody should know; if known, the time `since` which it holds, and its `measure`."""

    about: About
    words: str
    since: str = ""
    measure: str = ""

    def __str__(self) -> str:
        words = f"{self.words} since {self.since}" if self.since else self.words
        return f"{words} ({self.measure})" if self.measure else words


@dataclass(frozen=True)
class Watched:
    """What was seen of a version: `since` its training, its `realised` forecasts (None: none has an actual).

    `served`: these are what a schedule stored; otherwise forecast now from the cutoffs since training.
    `clock`: the zone of shown days; `trained_to`: the newest row that the version was made from.
    """

    name: str
    version: str
    clock: str
    trained_to: str
    since: Since
    realised: Realised | None
    served: bool
    findings: tuple[Finding, ...]

    @property
    def verdict(self) -> str:
        """The outcome in a sentence."""
        if self.findings:
            more = f"; and {len(self.findings) - SAID} more" if len(self.findings) > SAID else ""
            return f"Not fine: {'; '.join(map(str, self.findings[:SAID]))}{more}."
        if not self.since.rows:
            return f"Nothing to judge yet: no row has come since {self.trained_to}, where training ended."
        judged = [one for one in self.since.drifts if one.judged]
        drift = f"none of {len(judged)} columns drifts" if judged else "training is too short to judge drift by"
        known = self.realised is not None and self.realised.skill is not None
        skill = f"realised skill {self.realised.skill:+.1%}, " if known else ""  # type: ignore[union-attr]
        return f"Fine: {skill}{drift}, no series is missing or late ({self.since.rows:,} rows since training)."


def watch(version: Version, run: RunParams, home: Path, data: str | None = None, past: Realised | None = None) -> Watched:
    """Looks at a version with its run's source as it is now, or with another table like it (`data`).

    `run`: the version's, with the data of now.  `past`: how its stored forecasts turned out, if known.
    Raises UserError for data that cannot be read, and if those that it was trained on are gone.
    """
    admit(version, home)
    panel, where = panel_of(version, home), run.data.where if data is None else data
    source = open_source(run.data) if data is None else table_of(version, data)
    try:
        table = (numbers(run, source, version) if data is None else read(version, source)).rows
        changes = since(version, panel, table, source.clock.zone, run.evaluation.season)
        if past is None and data is None:
            past = served(run, home, _history(table), version.version, source.frequency)
        stored = past is not None and past.skill is not None
        past = past if stored else _as_of_then(version, run, table, source, changes)
    except ValueError as error:
        raise UserError(f"{where}: {error}") from None
    findings = (*_of_forecasts(past, run), *_of_drift(changes), *_of_series(changes.series))
    clock = source.clock.zone or "UTC"
    return Watched(version.name, version.version, clock, version.trained_on.newest_time, changes, past, stored, tuple(findings))


def own_run(version: Version, run: RunParams | None = None) -> RunParams:
    """The run that a version came from, with the data and the promotion rules of today's run file, if given."""
    made = version.trained_on.run
    return made if run is None else made.model_copy(update={"data": run.data, "promotion": run.promotion})


def _history(table: pl.DataFrame) -> pl.DataFrame:
    return table.select("unique_id", "ds", pl.col("y").cast(pl.Float64).fill_nan(None)).sort("unique_id", "ds")


def _as_of_then(version: Version, run: RunParams, table: pl.DataFrame, source: Source, changes: Since) -> Realised | None:
    """How forecasts from (at most RECENT) cutoffs since training turn out, made now from the rows up to each."""
    made = version.trained_on
    if not changes.steps:
        return None
    asked = Asked(start=made.newest_time, stride=math.ceil(changes.steps / RECENT))
    forecasts, _ = forecast_frame(version, table, asked)
    own = forecasts.filter(pl.col("model") == version.facts.variant)
    if own.is_empty():
        return None
    rows = own.with_columns(version=pl.lit(version.version), newest=pl.lit(made.newest))
    history: Frequency = source.frequency
    return realised(own_forecasts(rows), on_grid(_history(table), history), run, version.version, history)


def _of_forecasts(past: Realised | None, run: RunParams) -> Iterator[Finding]:
    """Skill below the floor of promotion, intervals that do not hold."""
    if past is None or past.skill is None:
        return
    floor = floor_of(run)
    if past.skill < floor:
        words = f"realised skill {past.skill:+.1%} against the best naive, below the floor of {floor:+.1%}"
        yield Finding(About.SKILL, words, _below_since(past.by_cutoff, floor))
    if past.outside:
        yield Finding(About.INTERVALS, f"the 90 % intervals do not hold: {past.outside}")


def _below_since(by_cutoff: pl.DataFrame, floor: float) -> str:
    """The cutoff from which on every origin is below a floor; empty if the newest is not."""
    if by_cutoff.is_empty():
        return ""
    below = by_cutoff["skill"].fill_null(math.inf) < floor
    count = int(below.reverse().cast(pl.Int64).cum_prod().sum())
    return moment(by_cutoff["cutoff"][-count]) if count else ""


def _of_drift(changes: Since) -> Iterator[Finding]:
    """Features that drift, by most first."""
    for drift in ranked(changes.drifts):
        if drift.since is not None:
            yield Finding(About.DRIFT, f"{visible(drift.feature)} drifts", changes.began(drift), measured(drift, changes.unit))


def ranked(some: Sequence[Drift]) -> list[Drift]:
    """Features in order: those furthest above their bars first."""
    return sorted(some, key=lambda drift: (not drift.judged, -drift.excess, drift.feature))


def measured(drift: Drift, unit: str) -> str:
    """How far a feature is from training, in words; each number with the largest that is usual."""
    parts = []
    if drift.missing - drift.missing_before > GONE:
        parts.append(f"missing in {drift.missing:.0%} of rows, in training in {drift.missing_before:.0%}")
    if drift.psi > drift.psi_bar:
        parts.append(f"PSI {drift.psi:.2g}, usually up to {drift.psi_bar:.2g}")
    if above(drift.distance, drift.distance_bar) > 1:
        parts.append(f"KS distance {drift.distance:.2f}, usually up to {drift.distance_bar:.2f}")
    if above(drift.jump, drift.jump_bar) > 1 and not parts:
        parts.append(f"KS distance {drift.jump:.2f} from the {drift.stretch} {unit} before, usually up to {drift.jump_bar:.2f}")
    return "; ".join(parts)


def _of_series(series: Series) -> Iterator[Finding]:
    """Series of training that are absent or late; new ones are no reason to worry."""
    if series.absent:
        yield Finding(About.SERIES, f"{_counted(len(series.absent), ' of training')} absent ({named(series.absent)})")
    if series.late:
        some = [f"{visible(name)}, {steps:,} steps" for name, steps in series.late]
        yield Finding(About.SERIES, f"{_counted(len(series.late))} late ({_some(some)})")


def _counted(count: int, which: str = "") -> str:
    return f"{count:,} series{which} {'is' if count == 1 else 'are'}"


def named(names: Sequence[str]) -> str:
    """The first names of some series."""
    return _some([visible(name) for name in names])


def _some(texts: Sequence[str]) -> str:
    return ", ".join(texts[:NAMED]) + (f" and {len(texts) - NAMED:,} more" if len(texts) > NAMED else "")
