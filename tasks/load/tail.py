"""The tail of a table: the newest rows of a series without a target, which are to be forecast.

They are not history: they are not used for training, testing or counts.
"""

from dataclasses import dataclass

import polars as pl

from tasks.load.files import collect
from tasks.names import apart, column


@dataclass(frozen=True)
class Tail:
    """`ends`: per series with a tail, unique_id and `until`, the time of its last target; `rows`: in all."""

    ends: pl.DataFrame
    rows: int

    @property
    def series(self) -> int:
        """How many series have a tail."""
        return self.ends.height


def is_observed(schema: pl.Schema) -> pl.Expr:
    """Whether a row has a target; non-numeric text counts, for the checks to refuse."""
    y = pl.col("y")
    return y.is_not_null() & y.is_not_nan() if schema["y"].is_float() else y.is_not_null()


def tail_of(frame: pl.LazyFrame, name: str) -> Tail:
    """The tail of a long frame (unique_id, ds, y)."""
    until = pl.col("ds").filter(is_observed(frame.collect_schema())).max()
    return tail_from(frame, collect(frame.group_by("unique_id").agg(until=until, last=pl.col("ds").max()), name), name)


def tail_from(frame: pl.LazyFrame, series: pl.DataFrame, name: str) -> Tail:
    """Like `tail_of`, with `until` and `last` of each series given.  Series without a target have none."""
    ends = series.filter(pl.col("until") < pl.col("last")).select("unique_id", "until")
    if ends.is_empty():
        return Tail(ends, 0)
    after = frame.select("unique_id", "ds").join(ends.lazy(), on="unique_id").filter(pl.col("ds") > pl.col("until"))
    return Tail(ends, int(collect(after.select(pl.len()), name).item()))


def without_tail(frame: pl.LazyFrame, tail: Tail) -> pl.LazyFrame:
    """The rows of a long frame up to each series' last observed target."""
    if tail.ends.is_empty():
        return frame
    names = frame.collect_schema().names()
    until = apart("until", names)
    known = frame.join(tail.ends.lazy().rename({"until": until}), on="unique_id", how="left", maintain_order="left")
    return known.filter(pl.col(until).is_null() | (pl.col("ds") <= pl.col(until))).select(map(column, names))
