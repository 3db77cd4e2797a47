"""The gate `coverage`: whether an interval holds for every part of a panel, not only overall.

Parts are all rows, every size fifth of the series (every series, if there are fewer than ten) and every
quarter of the horizon.  A part is refused if its coverage lies outside the limits by more than chance: the
spread of its share over a block bootstrap of the origins (rows of an origin share their weather, neighbours
their targets), 99 %, with Holm's correction over the parts.  A part that covers everything has no spread:
that of the same rows is used, with intervals stretched or shrunk to exactly the limit.
A value on the end of its interval counts as inside when coverage may be too low and as outside when it may be
too high: whole numbers, and many zeros, cannot be covered to the percent.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import polars as pl

from params.evaluation import PromotionParams
from tasks.compare import significance
from tasks.compare.distribution import FIFTHS
from tasks.evaluate.frames import COVERAGE
from tasks.promote.gates import LEAST_ORIGINS, OURS, GateResult, part_of_horizon

LEVEL = 0.01  # family-wise error rate, over all parts
ALL = "all rows"
NAMES = {group: f"the {name} of the series" for group, name in FIFTHS.items()}


@dataclass(frozen=True, kw_only=True)
class Part:
    """The `share` of a part's rows that their interval covers, and whether it is judged.

    `outside`: whether the share is below the lower limit or above the upper; `p`: its probability by chance,
    after Holm's correction.  `judged`: whether it has enough origins; else `p` is 1.
    """

    name: str
    share: float
    origins: int
    outside: bool
    judged: bool
    p: float

    @property
    def refused(self) -> bool:
        """Whether it is outside by more than chance."""
        return self.outside and self.p < LEVEL


def coverage(frame: pl.DataFrame, fifths: pl.DataFrame, rules: PromotionParams) -> tuple[GateResult, tuple[Part, ...]]:
    """Whether the challenger's 90 % interval covers what it should, and the parts, all rows first.

    `fifths`: unique_id, fifth (`distribution.fifths`).
    """
    rows, bare = interval_rows(frame, OURS), _bare(frame)
    if rows.is_empty() or bare:
        words = f"there is no interval {bare or 'to judge'}: too few validation residuals"
        return GateResult("coverage", False, words), ()
    all_parts = parts(rows, fifths, rules.coverage)
    passed = not any(part.refused for part in all_parts)
    return GateResult("coverage", passed, coverage_in_words(all_parts, rules.coverage)), all_parts


def interval_rows(frame: pl.DataFrame, model: str, level: int = COVERAGE) -> pl.DataFrame:
    """unique_id, cutoff, ds, step, y, low, high: the rows with an actual and an interval of the model."""
    low, high = (pl.col(f"{model}-{side}-{level}").alias(name) for side, name in (("lo", "low"), ("hi", "high")))
    rows = frame.filter(pl.col(model).cast(pl.Float64).is_finite())
    return rows.select("unique_id", "cutoff", "ds", "step", pl.col("y").cast(pl.Float64).fill_nan(None), low, high).drop_nulls()


def covered(frame: pl.DataFrame, model: str) -> float | None:
    """The share of its `interval_rows` that are covered; None if there are none."""
    return interval_rows(frame, model).select(pl.col("y").is_between("low", "high").mean()).item()  # type: ignore[no-any-return]


def _bare(frame: pl.DataFrame) -> str:
    """The steps or series whose forecasts have no interval, in words; empty if each has one."""
    rows = frame.filter(pl.col(OURS).cast(pl.Float64).is_finite(), pl.col("y").is_not_null())
    bare = rows.filter(pl.col(f"{OURS}-lo-{COVERAGE}").is_null() | pl.col(f"{OURS}-hi-{COVERAGE}").is_null())
    if bare.is_empty():
        return ""
    steps, series = (bare[name].unique().sort().to_list() for name in ("step", "unique_id"))
    if len(series) < rows["unique_id"].n_unique():
        return f"of series {', '.join(map(repr, series[:5]))}"
    return f"of step {', '.join(map(str, steps[:5]))}"


def parts(rows: pl.DataFrame, fifths: pl.DataFrame, limits: tuple[float, float]) -> tuple[Part, ...]:
    """Every part of some `interval_rows`, all rows first; `limits`: the bounds of each share."""
    rows = rows.join(fifths, on="unique_id", how="left", maintain_order="left")
    origin, overlap = rows["cutoff"].rank("dense").to_numpy().astype(np.int64) - 1, significance.overlap_in(rows)
    count = int(origin.max()) + 1
    samples = {name: _sample(rows.filter(some), origin[some], count, limits) for name, some in _places(rows, fifths)}
    tested = {name: sample for name, sample in samples.items() if sample.apart and sample.origins >= LEAST_ORIGINS}
    judged = [name for name, sample in samples.items() if sample.origins >= LEAST_ORIGINS]
    chances = significance.holm(dict.fromkeys(judged, 1.0) | _chances(tested, overlap))
    return tuple(
        Part(
            name=name,
            share=sample.share,
            origins=sample.origins,
            outside=sample.apart != 0,
            judged=name in chances,
            p=chances.get(name, 1.0),
        )
        for name, sample in samples.items()
    )


def _places(rows: pl.DataFrame, fifths: pl.DataFrame) -> Iterator[tuple[str, np.ndarray]]:
    """Each part by name, with a mask [R] of its rows; none by size or step if there is only one."""
    yield ALL, np.ones(rows.height, bool)
    places = []
    if fifths["fifth"].n_unique() > 1:
        each = fifths["fifth"].n_unique() == fifths.height  # every series is a part
        places.append(pl.format("series '{}'", "fifth") if each else pl.col("fifth").replace_strict(NAMES, default=None))
    if rows["step"].n_unique() > 1:
        places.append(part_of_horizon(rows))
    order = {name: rank for rank, name in enumerate(NAMES.values())}
    for place in places:
        names = rows.select(place.alias("_place")).to_series()
        for name in sorted(names.drop_nulls().unique(maintain_order=True), key=lambda name: order.get(name, 0)):
            yield name, (names == name).fill_null(False).to_numpy()


class _Sample(NamedTuple):
    """A part's `share`, and how far that is below or above the limits (`apart`, 0 inside), over O origins.

    `rows` [O]; `hits` [2, O]: the covered rows, and those covered if exactly the limit were.
    """

    share: float
    apart: float
    rows: np.ndarray
    hits: np.ndarray

    @property
    def origins(self) -> int:
        """The number of origins with rows."""
        return int((self.rows > 0).sum())


def _sample(rows: pl.DataFrame, origin: np.ndarray, origins: int, limits: tuple[float, float]) -> _Sample:
    """The sample of a part; `origin` [R]: the number of each row's origin."""
    y, low, high = (rows[name].cast(pl.Float64).to_numpy() for name in ("y", "low", "high"))
    inside, within = (low <= y) & (y <= high), (low < y) & (y < high)
    share, (least, most) = float(inside.mean()), limits
    hit, edge = (inside, least) if share < least else (within, most)
    apart = float(hit.mean()) - edge
    apart = 0.0 if share >= least and apart < 0 else apart
    with np.errstate(divide="ignore", invalid="ignore"):
        reach = np.nan_to_num(np.abs(y - (low + high) / 2) / ((high - low) / 2), nan=1.0, posinf=np.inf)
    wanted = reach <= np.sort(reach)[int(edge * (len(reach) - 1))]
    hits = np.stack([np.bincount(origin, weights, origins) for weights in (hit, wanted)])
    return _Sample(share, apart, np.bincount(origin, minlength=origins).astype(float), hits)


def _chances(tested: Mapping[str, _Sample], overlap: int) -> dict[str, float]:
    """Each part's probability to be this far outside by chance, on its own."""
    if not tested:
        return {}
    apart = np.array([sample.apart for sample in tested.values()])
    rows, hits = (np.stack([getattr(sample, what) for sample in tested.values()], -1) for what in ("rows", "hits"))
    return dict(zip(tested, significance.share_p(apart, hits, rows, overlap).tolist(), strict=True))


def coverage_in_words(all_parts: Sequence[Part], limits: tuple[float, float]) -> str:
    """The overall coverage, the parts outside (by chance or not), and how many are not judged, in words."""
    least, most = limits
    words = f"the {COVERAGE} % interval covers {all_parts[0].share:.1%}, between {least:.0%} and {most:.0%} is asked for"
    low, high = (end(all_parts, key=lambda part: part.share) for end in (min, max))
    if len(all_parts) > 1:
        words += f"; of {len(all_parts)} parts {low.name} covers least, {low.share:.1%}, and {high.name} most, {high.share:.1%}"
    for several, verdict in (
        ([part for part in all_parts if part.refused], "outside by more than chance"),
        ([part for part in all_parts if part.outside and part.judged and not part.refused], "outside by no more than chance"),
        (
            [part for part in all_parts if part.outside and not part.judged],
            f"outside, not judged by fewer than {LEAST_ORIGINS} origins",
        ),
    ):
        if several:
            names = ", ".join(f"{part.name} with {part.share:.1%}" for part in several[:5])
            more = f" and {len(several) - 5} more" if len(several) > 5 else ""
            words += f"; {len(several)} {verdict}: {names}{more}"
    if not any(part.judged for part in all_parts):
        words += f"; shown and not judged: {all_parts[0].origins} origins, {LEAST_ORIGINS} are needed"
    return words
