"""Challenger, champion and the naive forecasts scored on the same unseen origins, and the gates that these scores answer."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import polars as pl

from params.schema import PromotionParams
from tasks.compare import scores, significance
from tasks.compare.board import Difference
from tasks.promote import gates
from tasks.promote.gates import OURS, THEIRS, GateResult
from tasks.registry.load import Version
from tasks.registry.unseen import common_origins, forecast_frames, panel_of


@dataclass(frozen=True)
class Figures:
    """Scores on the same rows: the `mae` of each version and of the best naive, the `skill` of each version against the latter.

    `less`: by (one, other), how much larger the error of one is, with its interval; None where too few origins say so.
    """

    origins: int
    series: int
    naive: str
    mae: Mapping[str, float | None]
    skill: Mapping[str, float | None]
    less: Mapping[tuple[str, str], Difference | None]

    def metrics(self) -> dict[str, float]:
        """Every score that is a number, by its name in MLflow."""
        return {name: value for name, value in self._flat().items() if value is not None}

    def to_dict(self) -> dict[str, object]:
        """The content of scores.json of a ledger entry."""
        gaps = {f"{one}_less_{other}": asdict(gap) if gap else None for (one, other), gap in self.less.items()}
        return {"origins": self.origins, "series": self.series, "naive": self.naive, **self._flat(), **gaps}

    def _flat(self) -> dict[str, float | None]:
        found: dict[str, float | None] = {}
        for name, mae in self.mae.items():
            found[f"{name}_mae"] = mae
            found |= {f"{name}_skill": self.skill[name]} if name in self.skill else {}
        return found


def score(
    challenger: Version, champion: Version | None, home: Path, rules: PromotionParams
) -> tuple[list[GateResult], Figures]:
    """The results of all gates that scores on the same unseen origins answer, and the scores."""
    versions = {OURS: challenger} | ({THEIRS: champion} if champion else {})
    made, params = challenger.trained_on, challenger.facts.windows
    stride, split = made.run.evaluation.stride, made.job.split
    assert split is not None  # what is judged was trained on a split
    panel = panel_of(challenger, home)
    origins = common_origins(panel, split, stride, list(versions.values()))
    frame = forecast_frames(panel, origins, versions, made.run)
    overlap = significance.overlap_of(params.horizon, params.gap, stride)
    results = [gates.enough_origins(frame, overlap), gates.whole(frame, list(versions))]
    if all(one.passed for one in results):
        naive = made.naive
        results += [gates.skill(frame, naive, rules), gates.slice_skill(frame, naive, rules), gates.coverage(frame, rules)]
        if champion:
            newer = made.newest > champion.trained_on.newest
            results.append(gates.against_champion(frame, overlap, newer, rules))
    return results, _figures(frame, made.naive, versions, overlap)


def unlike(challenger: Version, champion: Version | None) -> str | None:
    """What makes two versions no answers to the same question; None where nothing does."""
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


def _figures(frame: pl.DataFrame, naive: str, versions: Mapping[str, Version], overlap: int) -> Figures:
    pairs = [(OURS, naive), *([(OURS, THEIRS)] if THEIRS in versions else [])]
    return Figures(
        origins=frame["cutoff"].n_unique(),
        series=frame["unique_id"].n_unique(),
        naive=naive,
        mae={name: scores.mae(frame, name) for name in (*versions, naive)},
        skill={name: scores.skill(frame, name, naive) for name in versions},
        less={
            (one, other): significance.judge(significance.differences(frame, [one], [other]), overlap) for one, other in pairs
        },
    )
