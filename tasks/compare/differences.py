"""How much larger one model's error is than another's, in the run's measure, and whether that may be chance.

Blocks: as in `measures.py`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from tasks.compare import significance
from tasks.compare.board import Difference
from tasks.compare.measures import UNITS, Factors, Scale, errors_of, shares_of
from tasks.compare.significance import Shares
from tasks.compare.sums import merged

AT_A_TIME = 1024  # series whose errors at every origin are in memory at once


def compared(blocks: Iterable[pl.DataFrame], models: Sequence[str], others: Sequence[str], scale: Scale) -> Difference | None:
    """How much larger the score of `models` (a variant's fits, whose mean counts) is than that of `others`.

    On the rows that all of them forecast; None if there are none or nothing to divide by.  For an RMSSE,
    reads `blocks` again.
    """
    return differences(blocks, [Pair(tuple(dict.fromkeys(models)), tuple(dict.fromkeys(others)))], scale)[0]


@dataclass(frozen=True)
class Pair:
    """The fits of one variant, and those of another."""

    models: tuple[str, ...]
    others: tuple[str, ...]

    @property
    def both(self) -> list[str]:
        """All fits of both, without repeats."""
        return list(dict.fromkeys((*self.models, *self.others)))


def differences(blocks: Iterable[pl.DataFrame], pairs: Sequence[Pair], scale: Scale) -> list[Difference | None]:
    """`compared` for each pair, in one pass over the blocks (two for an RMSSE)."""
    origins: list[list[pl.DataFrame]] = [[] for _ in pairs]
    series: list[list[pl.DataFrame]] = [[] for _ in pairs]
    for block in blocks:
        for place, pair in enumerate(pairs):
            shares = _of_sides(block, pair, scale)
            last = _last(block, pair.both, scale, shares["unique_id"])
            origins[place].append(_by(shares, "cutoff").join(last, on="cutoff", how="left", maintain_order="left"))
            series[place].append(_by(shares, "unique_id"))
    comparable = {
        place: pair_shares
        for place, pair in enumerate(pairs)
        if (pair_shares := _shares_of_pair(blocks, pair, scale, origins[place], series[place])) is not None
    }
    judged = dict(zip(comparable, significance.judged(list(comparable.values())), strict=True))
    return [judged.get(place) for place in range(len(pairs))]


def _of_sides(block: pl.DataFrame, pair: Pair, scale: Scale) -> pl.DataFrame:
    """The shares per origin and series: `0` and `1`, each side's mean over its models, and Naive2 as `2`."""
    both = pair.both
    shares = shares_of(block, both, scale, ("cutoff",))
    parts = [part for part in ("plain", "even") if f"_{part}0" in shares.columns]
    sides = [
        pl.mean_horizontal(f"_{part}{both.index(name)}" for name in names).alias(f"_{part}{side}")
        for side, names in enumerate((pair.models, pair.others))
        for part in parts
    ]
    base = [pl.col(f"_{part}{len(both)}").alias(f"_{part}2") for part in parts if scale.besides]
    return shares.select("unique_id", "cutoff", "_n", "_one", *sides, *base)


def _by(shares: pl.DataFrame, key: str) -> pl.DataFrame:
    return merged([shares.drop({"cutoff", "unique_id"} - {key})], [key])


def _last(block: pl.DataFrame, models: Sequence[str], scale: Scale, series: pl.Series) -> pl.DataFrame:
    """cutoff, _last: the latest row of each origin that all models forecast, for some series."""
    columns = ["y", *models, *scale.besides]
    there = [pl.col(name).cast(pl.Float64).fill_nan(None).is_not_null() for name in dict.fromkeys(columns)]
    rows = block.filter(pl.all_horizontal(there)).select("unique_id", "cutoff", "ds")
    if scale.by in UNITS:
        rows = rows.filter(pl.col("unique_id").is_in(series.unique().implode()))
    return rows.group_by("cutoff").agg(pl.col("ds").max().alias("_last"))


def _shares_of_pair(
    blocks: Iterable[pl.DataFrame], pair: Pair, scale: Scale, origins: Sequence[pl.DataFrame], series: Sequence[pl.DataFrame]
) -> Shares | None:
    """The shares that a pair is judged by; None if nothing can be said."""
    ends = pl.concat(part.select("cutoff", "_last") for part in origins).group_by("cutoff").agg(pl.col("_last").max())
    tables = [merged([part.drop("_last") for part in origins], ["cutoff"]), merged(series, ["unique_id"])]
    total = tables[0].select(pl.lit(0).alias("_slice"), pl.exclude("cutoff"))
    factors = Factors.of(merged([total], ["_slice"]), scale.by, 2)
    units = [np.stack([factors.weight(table), factors.share(table, 0), factors.share(table, 1)], axis=1) for table in tables]
    rows = float(total["_n"].sum())
    if not rows or not np.isfinite(units[0]).all():
        return None
    cutoffs = tables[0]["cutoff"]
    again = None if scale.by != "rmsse" else lambda draws: _roots(blocks, pair, scale, cutoffs, draws)
    return Shares(rows, units[0], units[1], significance.overlap_in(ends), again)


def _roots(
    blocks: Iterable[pl.DataFrame], pair: Pair, scale: Scale, cutoffs: pl.Series, draws: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """[draws] each side's RMSSE (the mean over its models), with origins weighted as drawn.

    `draws` [draws, origins]: these counts, for the origins `cutoffs`.
    """
    both, known = pair.both, np.zeros(len(draws))
    totals = np.zeros((len(both), len(draws)))
    for block in blocks:
        sums = errors_of(block, both, scale, ("cutoff",))
        origin = cutoffs.search_sorted(sums["cutoff"]).to_numpy().astype(np.int64)
        series = sums["unique_id"].rank("dense").to_numpy().astype(np.int64) - 1
        for first in range(0, int(series.max(initial=-1)) + 1, AT_A_TIME):
            some = (series >= first) & (series < first + AT_A_TIME)
            cells, shape = (origin[some], series[some] - first), (len(cutoffs), int(series[some].max()) - first + 1)
            drawn = draws @ _table(sums["_n"].to_numpy()[some], cells, shape)
            known += (drawn > 0).sum(axis=1)
            for place in range(len(both)):
                squares = (sums[f"_square{place}"] / sums["_scale"]).to_numpy()[some]
                totals[place] += np.sqrt(draws @ _table(squares, cells, shape) / np.maximum(drawn, 1)).sum(axis=1)
    ours, theirs = (
        np.mean([totals[both.index(name)] for name in names], axis=0) / known for names in (pair.models, pair.others)
    )
    return ours, theirs


def _table(values: np.ndarray, at: tuple[np.ndarray, np.ndarray], shape: tuple[int, int]) -> np.ndarray:
    table = np.zeros(shape)
    table[at] = values
    return table
