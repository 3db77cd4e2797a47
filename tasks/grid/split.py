"""Where validation and test begin in a table."""

from dataclasses import replace

import polars as pl

from models.data.panel import Panel, Split
from params.errors import UserError
from params.schema import RunParams
from params.section import DURATION
from tasks.grid.frequency import Frequency
from tasks.grid.times import parse_time
from tasks.grid.zone import to_instant, to_wall


def resolve_split(run: RunParams, frequency: Frequency, oldest: int, newest: int) -> Split:
    """The borders of a run: durations back from the newest row of all series, dates, or rows per series.

    `oldest`, `newest`: the first and last timestamp of the table (microseconds, or integer steps).  Raises
    UserError if a border is outside the data.
    """
    given, embargo = run.split, frequency.rows_in(run.split.embargo)
    if isinstance(given.validation, int) and isinstance(given.test, int):
        return Split("rows", given.validation, given.test, embargo)
    ends = pl.Series("ds", [oldest, newest]).cast(frequency.dtype)
    after = ends.to_frame().select(frequency.shift(pl.col("ds"), 1)).to_series().slice(1)
    if DURATION.match(str(given.test)):
        if frequency.months is not None:  # one row per month, on whatever day
            after = after.dt.truncate("1mo")
        test = after.to_frame().select(frequency.before(pl.col("ds"), str(given.test))).to_series()
        validation = test.to_frame().select(frequency.before(pl.col("ds"), str(given.validation))).to_series()
    else:
        test, validation = (_moment(str(text), run, frequency) for text in (given.test, given.validation))
    borders = [int(border.to_physical()[0]) for border in (validation, test)]
    if borders[0] <= oldest or borders[1] > newest:
        raise UserError(
            f"split: validation would begin {validation[0]} and test {test[0]}, but the data runs from {ends[0]} to {ends[1]}; "
            "shorten split.validation and split.test"
        )
    return Split("time", borders[0], borders[1], embargo)


def resolve_folds(run: RunParams, frequency: Frequency, oldest: int, newest: int) -> list[Split]:
    """The borders of every validation range of a run, oldest first; the last are those of `resolve_split`.

    Each range has the same length and ends where the next begins.  Raises UserError if one precedes the data.
    """
    splits = [resolve_split(run, frequency, oldest, newest)]
    while len(splits) < run.split.folds:
        splits.insert(0, _earlier(splits[0], run, frequency))
        if splits[0].by == "time" and splits[0].validation <= oldest:
            first, start = (pl.Series([time]).cast(frequency.dtype)[0] for time in (splits[0].validation, oldest))
            raise UserError(
                f"split.folds {run.split.folds}: the data begins {start}, and validation range {len(splits)} from the end "
                f"would begin {first}: lower split.folds to {len(splits) - 1} or less, or shorten split.validation"
            )
    return splits


def _earlier(split: Split, run: RunParams, frequency: Frequency) -> Split:
    """The borders of a validation range of the same length that ends where that of `split` begins."""
    if split.by == "rows":
        return replace(split, test=split.test + split.validation)
    later, given = pl.Series("ds", [split.validation, split.test]).cast(frequency.dtype), str(run.split.validation)
    ends = pl.DataFrame({"validation": later[:1], "test": later[1:]})
    if DURATION.match(given):
        moved = frequency.before(pl.col("validation"), given)
    else:
        moved = frequency.shift(pl.col("validation"), -frequency.position(pl.col("test"), pl.col("validation")))
    return replace(split, validation=int(ends.select(moved.to_physical()).item()), test=split.validation)


def split_of(run: RunParams, panel: Panel) -> Split:
    """The borders of a run on its panel."""
    return folds_of(run, panel)[-1]


def folds_of(run: RunParams, panel: Panel) -> list[Split]:
    """The borders of every validation range of a run on its panel, oldest first; the last: `split_of`."""
    oldest, newest = panel.times[panel.offsets[:-1]].min(), panel.times[panel.offsets[1:] - 1].max()
    return resolve_folds(run, Frequency.of(panel.facts), int(oldest), int(newest))


def _moment(text: str, run: RunParams, frequency: Frequency) -> pl.Series:
    """A date on the table's clock: in the zone of its grid, or `data.time_zone` for steps below a day."""
    moment = pl.select(parse_time(pl.lit(text))).to_series()
    if text.endswith("Z") and frequency.by_day:
        moment = pl.select(to_wall(pl.lit(moment), frequency.zone)).to_series()
    if not (text.endswith("Z") or frequency.by_day):
        moment = pl.select(to_instant(pl.lit(moment), run.data.time_zone)).to_series()
    if moment.null_count():
        raise UserError(f"split: {text} is no date of the calendar")
    return moment
