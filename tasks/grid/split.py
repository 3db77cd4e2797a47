"""Where validation and test begin on a table."""

import polars as pl

from models.data.panel import Panel, Split
from params.errors import UserError
from params.schema import RunParams
from params.section import DURATION
from tasks.grid.frequency import Frequency
from tasks.grid.times import parse_time
from tasks.grid.zone import to_instant, to_wall


def resolve_split(run: RunParams, frequency: Frequency, oldest: int, newest: int) -> Split:
    """The borders of a run: moments counted back from the newest row of all series, dates, or rows of each series.

    `oldest`, `newest`: the first and last timestamp of the table (microseconds, or integer steps).  Raises UserError where a
    border lies outside the data.
    """
    given, embargo = run.split, frequency.rows_in(run.split.embargo)
    if isinstance(given.validation, int) and isinstance(given.test, int):
        return Split("rows", given.validation, given.test, embargo)
    ends = pl.Series("ds", [oldest, newest]).cast(frequency.dtype)
    after = ends.to_frame().select(frequency.shift(pl.col("ds"), 1)).to_series().slice(1)
    if DURATION.match(str(given.test)):
        if frequency.months is not None:  # a series has one row in a month, whatever its day
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


def split_of(run: RunParams, panel: Panel) -> Split:
    """The borders of a run on its panel."""
    oldest, newest = panel.times[panel.offsets[:-1]].min(), panel.times[panel.offsets[1:] - 1].max()
    return resolve_split(run, Frequency.of(panel.facts), int(oldest), int(newest))


def _moment(text: str, run: RunParams, frequency: Frequency) -> pl.Series:
    """A date as the clocks of the table show it: of the zone of its grid, or of `data.time_zone` where a step is shorter."""
    moment = pl.select(parse_time(pl.lit(text))).to_series()
    if text.endswith("Z") and frequency.by_day:
        moment = pl.select(to_wall(pl.lit(moment), frequency.zone)).to_series()
    if not (text.endswith("Z") or frequency.by_day):
        moment = pl.select(to_instant(pl.lit(moment), run.data.time_zone)).to_series()
    if moment.null_count():
        raise UserError(f"split: {text} is no date of the calendar")
    return moment
