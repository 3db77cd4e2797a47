"""Rolling refits: every variant is retrained after every few test origins (`evaluation.refit`).

Each refit is an ordinary fit on borders moved on by those origins' rows; it forecasts the test origins from
its border to the next.  Validation chooses once, by the first fits, whose residuals give the intervals.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import polars as pl

from models.data.origins import origin_rows
from models.data.panel import Data, Split
from params.schema import RunParams
from tasks.evaluate.forecasts import KEYS, own_columns
from tasks.evaluate.frames import blocks_of, write_blocks
from tasks.grid.frequency import Frequency
from tasks.train.fits import Fit
from tasks.train.kind import Kind


def refit_splits(run: RunParams, data: Data) -> list[Split]:
    """The borders of each refit, oldest first; empty without `evaluation.refit` or test origins."""
    every, stride = run.evaluation.refit, run.evaluation.stride
    splits: list[Split] = []
    while every:
        moved = _moved(data.split, (len(splits) + 1) * every * stride, Frequency.of(data.panel.facts))
        if (moved.by == "rows" and moved.test < 1) or not len(origin_rows(data.panel, data.windows, moved, "test", stride)):
            break
        splits.append(moved)
    return splits


def _moved(split: Split, rows: int, frequency: Frequency) -> Split:
    """The borders `rows` steps later."""
    if split.by == "rows":
        return replace(split, test=split.test - rows)
    borders = pl.Series("ds", [split.validation, split.test]).cast(frequency.dtype).to_frame()
    later = borders.select(frequency.shift(pl.col("ds"), rows).to_physical()).to_series().to_list()
    return replace(split, validation=later[0], test=later[1])


def join_refits(fits: Sequence[Fit]) -> list[Fit]:
    """The first fits, each with the test forecasts of its newest refit at each origin.

    A fit fails if one of its refits did.
    """
    return with_repeats(fits, Kind.REFIT, _joined)


def with_repeats(fits: Sequence[Fit], kind: Kind, join: Callable[[Fit, Sequence[Fit]], Fit]) -> list[Fit]:
    """The fits not of a kind, each joined with its repetitions of that kind; fails if one of these did."""
    repeats: dict[str, list[Fit]] = {}
    for fit in fits:
        if fit.planned.kind is kind:
            repeats.setdefault(fit.planned.first, []).append(fit)

    def whole(fit: Fit, again: Sequence[Fit]) -> Fit:
        if not fit.finished or not again:
            return fit
        failed = next((repeat for repeat in again if not repeat.finished), None)
        return join(fit, again) if failed is None else fit.failed(f"{failed.label}: {failed.result.reason}")

    return [whole(fit, repeats.get(fit.label, [])) for fit in fits if fit.planned.kind is not kind]


def _joined(fit: Fit, again: Sequence[Fit]) -> Fit:
    path = fit.folder / "test-refitted.parquet"
    write_blocks(newest([each_fit.test for each_fit in (fit, *again) if each_fit.test], fit.label), path)
    return replace(fit, test=path)


def newest(files: Sequence[Path], label: str) -> Iterator[pl.DataFrame]:
    """The rows of the first file, in blocks, each with the forecast of the last file that has its origin, and
    with its own quantiles if all files have them.  All files are sorted by series and cutoff."""
    own_names = own_columns(pl.read_parquet_schema(files[0]), label)
    if not all({*own_names} <= {*pl.read_parquet_schema(file)} for file in files):
        own_names = []
    later = [_Later(blocks_of(file, [*KEYS, label, *own_names])) for file in files[1:]]
    for frame in blocks_of(files[0], [*KEYS, "y", label, *own_names]):
        for reader in later:
            rows = reader.upto(frame).rename({name: f"_{name}" for name in (label, *own_names)})
            joined = frame.join(rows, on=KEYS, how="left", maintain_order="left")
            there = pl.col(f"_{label}").is_not_null()
            chosen = (
                pl.when(there).then(pl.col(f"_{name}")).otherwise(pl.col(name)).alias(name) for name in (label, *own_names)
            )
            frame = joined.with_columns(chosen).select(frame.columns)
        yield frame


class _Later:
    """The rows of a file, handed out in order."""

    def __init__(self, blocks: Iterator[pl.DataFrame]) -> None:
        self.blocks, self.left = blocks, next(blocks)

    def upto(self, frame: pl.DataFrame) -> pl.DataFrame:
        """The rows up to the last row of a frame that were not handed out before."""
        parts, keys = [self.left.clear()], ("unique_id", "cutoff", "step")
        for last in frame.select(keys).tail(1).rows():
            while True:
                series, cutoff, step = (pl.col(name) for name in keys)
                early = (cutoff < last[1]) | ((cutoff == last[1]) & (step <= last[2]))
                some = self.left.filter((series < last[0]) | ((series == last[0]) & early))
                parts.append(some)
                self.left = self.left.slice(some.height)
                if self.left.height or (more := next(self.blocks, None)) is None:
                    break
                self.left = more
        return pl.concat(parts)
