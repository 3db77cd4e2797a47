"""Challenger, champion and baselines scored on the same unseen origins, and the gates these scores answer."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import polars as pl

from models.fit.job import is_baseline
from params.evaluation import PromotionParams
from tasks.compare.board import Difference
from tasks.compare.distribution import fifths
from tasks.compare.measures import measured, scale_of
from tasks.compare.scores import skill
from tasks.evaluate.baseline_origins import spread_origins
from tasks.evaluate.frames import COVERAGE
from tasks.lags.past import pasts
from tasks.promote import gates
from tasks.promote.coverage import Part, coverage, covered
from tasks.promote.gates import OURS, THEIRS, GateResult, Yardstick, interval_scale, interval_scores
from tasks.registry.load import Version
from tasks.registry.unseen import common_origins, forecast_frames, panel_of
from tasks.report.leaderboard import SCORES


@dataclass(frozen=True, kw_only=True)
class Figures:
    """Scores on the `rows` that the versions and the best baseline all forecast, over `origins` and `series`.

    `mae` and `score` (in the `measure` that chooses) of the versions, the best baseline (`bar`) and the best
    `naive` one; `skill` of each version against the bar in the measure, `skill_naive` against the naive one
    by MAE.  `less`: by (one, other), how much larger the error of one is, with its interval; None if too few
    origins say so.

    `coverage`, `interval_score`: of each version's 90 % interval, the latter in units of the measure;
    `parts`: the challenger's coverage in every part of the panel.
    """

    origins: int
    series: int
    rows: int
    naive: str
    bar: str
    measure: str
    mae: Mapping[str, float | None]
    score: Mapping[str, float | None]
    skill: Mapping[str, float | None]
    skill_naive: Mapping[str, float | None]
    less: Mapping[tuple[str, str], Difference | None]
    coverage: Mapping[str, float | None]
    interval_score: Mapping[str, float | None]
    parts: tuple[Part, ...] = ()

    @property
    def words(self) -> str:
        """The scores of all models in the measure."""
        listed = ", ".join(f"{name} {value:.4g}" for name, value in self.score.items() if value is not None)
        return f"{SCORES[self.measure]} on {self.origins} unseen origins of {self.series} series: {listed}"

    @property
    def lead(self) -> str:
        """The challenger's skill against the bar."""
        value = self.skill[OURS]
        return f"skill {'unknown' if value is None else f'{value:+.1%}'} against {self.bar} in {SCORES[self.measure]}"

    def metrics(self) -> dict[str, float]:
        """Every score that is a number, by its MLflow name."""
        intervals: dict[str, float | None] = {}
        for name in self.skill:
            lead = self.less.get((name, self.bar))
            if lead is not None:
                intervals |= {f"{name}_skill_low": lead.skill_low, f"{name}_skill_high": lead.skill_high}
        return {name: value for name, value in (self._flat() | intervals).items() if value is not None}

    def to_dict(self) -> dict[str, object]:
        """The content of scores.json of a ledger entry."""
        gaps = {f"{one}_less_{other}": asdict(gap) if gap else None for (one, other), gap in self.less.items()}
        fields = {name: getattr(self, name) for name in ("origins", "series", "rows", "naive", "measure")}
        parts = [asdict(part) for part in self.parts]
        return {**fields, "baseline": self.bar, **self._flat(), **gaps, f"{OURS}_coverage_{COVERAGE}_by": parts}

    def _flat(self) -> dict[str, float | None]:
        flat: dict[str, float | None] = {}
        for name in self.mae:
            flat |= {f"{name}_mae": self.mae[name], f"{name}_score": self.score[name]}
        for name in self.skill:
            flat |= {f"{name}_skill": self.skill[name], f"{name}_skill_naive": self.skill_naive[name]}
            flat[f"{name}_coverage_{COVERAGE}"] = self.coverage[name]
            flat[f"{name}_interval_score_{COVERAGE}"] = self.interval_score[name]
        return flat


def score(
    challenger: Version, champion: Version | None, home: Path, rules: PromotionParams, allow_chance: bool = False
) -> tuple[list[GateResult], Figures]:
    """The results of all gates that depend on scores on the same unseen origins, and the scores."""
    versions = {OURS: challenger} | ({THEIRS: champion} if champion else {})
    frame, yard = _forecast(versions, home)
    made, itself = challenger.trained_on, challenger.facts.is_bar
    parts: tuple[Part, ...] = ()
    results = [
        gates.enough_origins(frame),
        gates.whole(frame, {name: is_baseline(version.facts.family) for name, version in versions.items()}),
    ]
    if all(result.passed for result in results):
        results += gates.bar_itself(yard, rules) if itself else [gates.skill(frame, yard, rules)]
        if rules.min_skill_naive is not None:
            results.append(gates.skill_naive(frame, yard, rules.min_skill_naive))
        if champion is None and not itself:
            results.append(gates.chance(frame, yard, allow_chance))
        results += [] if itself else [gates.slice_skill(frame, yard, rules)]
        holds, parts = coverage(frame, yard.fifths, rules)
        results.append(holds)
        if champion:
            results.append(gates.against_champion(frame, yard, made.newest > champion.trained_on.newest, rules))
            results.append(gates.against_its_intervals(frame, yard, rules))
    return results, replace(_figures(frame, list(versions), yard), parts=parts)


def _forecast(versions: Mapping[str, Version], home: Path) -> tuple[pl.DataFrame, Yardstick]:
    """The wide frame of the versions and of what the challenger is compared with, on unseen origins."""
    challenger = versions[OURS]
    made, run = challenger.trained_on, challenger.trained_on.run
    stride, split = run.evaluation.stride, made.job.split
    assert split is not None  # a judged version was trained on a split
    panel = panel_of(challenger, home)
    origins = common_origins(panel, split, stride, list(versions.values()))
    origins = spread_origins([name for version in versions.values() for name in _baselines(version)], panel, origins, run)
    scale = scale_of(run.evaluation, pasts(panel, split))
    needed = {made.bar: None, made.naive: None, **dict.fromkeys(scale.besides)}
    itself = [made.bar] if challenger.facts.is_bar else []
    frame = forecast_frames(panel, origins, versions, run, baselines=[name for name in needed if name not in itself])
    frame = frame.with_columns(pl.col(OURS).alias(name) for name in itself)
    return frame, Yardstick(bar=made.bar, naive=made.naive, scale=scale, fifths=fifths(scale.series))


def _baselines(version: Version) -> list[str]:
    """The baselines a version forecasts with: itself, or members of an ensemble."""
    bundle = version.facts
    return [bundle.family, *(baseline.name for baseline in (bundle.combined.baselines if bundle.combined else ()))]


def unlike(challenger: Version, champion: Version | None) -> str | None:
    """Why two versions cannot be compared; None if they can."""
    if champion is None:
        return None
    if champion.facts.trained_on is None:
        return f"{champion} was registered by an older lagline and does not say what it has seen; roll back or compare again"
    ours, theirs = challenger.facts, champion.facts
    if ours.columns["y"] != theirs.columns["y"]:
        what = f"the challenger forecasts {ours.columns['y']}, the champion {theirs.columns['y']}"
        return f"{what}: their errors are of different things"
    for what, own, other in (
        ("horizon", ours.windows.horizon, theirs.windows.horizon),
        ("gap", ours.windows.gap, theirs.windows.gap),
    ):
        if own != other:
            return f"the challenger has a {what} of {own}, the champion of {other}: they forecast different things"
    if ours.frequency != theirs.frequency:
        return "the challenger and the champion have different frequencies"
    return None


def _figures(frame: pl.DataFrame, versions: Sequence[str], yard: Yardstick) -> Figures:
    """Scores on the rows the versions and the bar forecast; another naive one's on those of them it has."""
    models, plain = list(dict.fromkeys((*versions, yard.bar))), replace(yard.scale, by="mae")
    judged, errors = (measured([frame], models, scale) for scale in (yard.scale, plain))
    other = {} if yard.naive in models else {yard.naive: [*models, yard.naive]}
    common = frame.filter(pl.all_horizontal(pl.col("y", *models).cast(pl.Float64).is_finite()))
    pairs = [*((name, yard.bar) for name in versions), *([(OURS, THEIRS)] if THEIRS in versions else [])]
    return Figures(
        origins=common["cutoff"].n_unique(),
        series=common["unique_id"].n_unique(),
        rows=common.height,
        naive=yard.naive,
        bar=yard.bar,
        measure=yard.scale.by,
        mae={**errors.scores, **{name: measured([frame], some, plain).scores[name] for name, some in other.items()}},
        score={**judged.scores, **{name: measured([frame], some, yard.scale).scores[name] for name, some in other.items()}},
        skill={name: judged.skill(name, yard.bar) for name in versions},
        skill_naive={name: skill([frame], name, yard.naive) for name in versions},
        less={(one, other): yard.lead(frame, one, other) for one, other in pairs},
        coverage={name: covered(frame, name) for name in versions},
        interval_score=measured([interval_scores(frame, versions)], versions, interval_scale(yard.scale)).scores,
    )
