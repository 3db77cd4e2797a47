"""Forecasts of chosen series as an offline page or a picture: history, forecast and intervals."""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import polars as pl

from params.errors import UserError, clipped
from params.shown import visible
from tasks import pages
from tasks.files import placed
from tasks.load.files import did_you_mean
from tasks.registry.load import Version
from tasks.report.plots.outlook import Outlook, outlook_of, outlook_picture, outlook_pictures
from tasks.serve.forecast import Forecasts
from tasks.serve.given import in_columns_of, on_clock

SHOWN = 6  # series shown by default
MOST = 100
MOST_STEPS = 200  # rows in a table of the page
LOOKBACKS, LEAST, LARGEST = 3, 4, 12  # rows before a forecast: in lookbacks; at least and at most in horizons


def chosen_series(made: pl.DataFrame, history: pl.DataFrame, names: str | None) -> tuple[list[str], str]:
    """The series to draw, and a description of them.  Raises UserError for a name without forecasts."""
    there = made["unique_id"].unique().sort().to_list()
    if names is not None:
        wanted = [names] if names in there else list(dict.fromkeys(filter(None, map(str.strip, names.split(",")))))
        for name in wanted:
            if name not in there:
                hint = did_you_mean(name, there) or f"; there are {len(there):,} series, such as {clipped(there[0])!r}"
                raise UserError(f"--series: no forecast is of {clipped(name)!r}{hint}")
        if not 0 < len(wanted) <= MOST:
            raise UserError(f"--series: name 1 to {MOST} series, such as --series {clipped(there[0])}")
        return wanted, f"{len(wanted)} of {len(there):,} series, as they were asked for (--series)"
    if len(there) <= SHOWN:
        return there, "all series" if len(there) > 1 else "the one series"
    sizes = history.filter(pl.col("unique_id").is_in(there)).group_by("unique_id")
    size = pl.col("y").fill_nan(None).abs().mean().fill_null(0)
    largest = sizes.agg(size).sort("y", "unique_id", descending=[True, False]).head(SHOWN)["unique_id"].to_list()
    return largest, f"the {SHOWN} largest of {len(there):,} series, by their mean; --series A,B shows others"


def draw(forecasts: Forecasts, version: Version, plot: Path, names: str | None = None) -> str:
    """Writes the page or picture and returns what it shows, in words.  Raises UserError if it cannot."""
    series, which = chosen_series(forecasts.made, forecasts.history, names)
    unit, clock = version.trained_on.run.data.target, forecasts.given.zone or ""
    some = [_outlook(forecasts, version, name) for name in series]
    if plot.suffix.lower() == ".png":
        content = outlook_pictures(
            [replace(outlook, series=f"{outlook.series}{_by(outlook, version)}") for outlook in some], unit, clock
        )
    else:
        content = _page(forecasts, version, some, which, unit, clock).encode()
    try:
        with placed(plot) as partial:
            partial.write_bytes(content)
    except OSError as error:
        raise UserError(f"--plot {plot}: cannot be written ({error.strerror})") from None
    return which


def _outlook(forecasts: Forecasts, version: Version, series: str) -> Outlook:
    windows = version.facts.windows
    rows = max(LEAST * windows.horizon, min(LOOKBACKS * (windows.reach + 1), LARGEST * windows.horizon))
    known = forecasts.history.filter(pl.col("unique_id") == series).select("ds", "y")
    made = forecasts.made.filter(pl.col("unique_id") == series)
    known = known.with_columns(ds=on_clock(forecasts.given, known["ds"]))
    made = made.with_columns(ds=on_clock(forecasts.given, made["ds"]), cutoff=on_clock(forecasts.given, made["cutoff"]))
    return outlook_of(series, known, made, rows)


def _by(outlook: Outlook, version: Version) -> str:
    """The baselines that forecast a series instead of the version, in words; nothing if none did."""
    others = [name for name in outlook.forecasts["model"].unique(maintain_order=True) if name != version.facts.variant]
    return f", by {', '.join(others)}" if others else ""


def _drawn(outlook: Outlook) -> str:
    """What a picture shows, in words."""
    levels = [f"{level} %" for level in outlook.levels]
    if not levels:
        return "Actual values and forecast"
    several = f"{', '.join(levels[:-1])} and {levels[-1]} intervals"
    return f"Actual values, forecast and {several if levels[1:] else f'{levels[0]} interval'}"


def _page(forecasts: Forecasts, version: Version, some: Sequence[Outlook], which: str, unit: str, clock: str) -> str:
    bundle = version.facts
    cutoffs = forecasts.made.select("unique_id", "cutoff").unique().height
    words = (
        f"{visible(unit)}: {bundle.windows.horizon} steps of {bundle.frequency}, {cutoffs:,} forecasts of "
        f"{forecasts.made['unique_id'].n_unique():,} series, by {version} ({bundle.variant}). Shown: {which}."
    )
    several = (
        ""
        if cutoffs == forecasts.made["unique_id"].n_unique()
        else " Of several forecasts of a series those that do not overlap."
    )
    sections = [
        pages.Section(
            f"s{number}",
            visible(outlook.series),
            body=pages.figure(
                f"{_drawn(outlook)} of {visible(outlook.series)}{_by(outlook, version)}.{several}",
                outlook_picture(outlook, unit, clock),
                outlook_picture(outlook, unit, clock, narrow=True),
            )
            + _numbers(forecasts, outlook),
        )
        for number, outlook in enumerate(some)
    ]
    return pages.page(f"Forecasts of {version}", words, sections)


def _numbers(forecasts: Forecasts, outlook: Outlook) -> pages.Html:
    """A series' newest forecast as a collapsible table."""
    made = forecasts.made.filter(pl.col("unique_id") == outlook.series)
    newest = made.filter(pl.col("cutoff") == made["cutoff"].max()).head(MOST_STEPS)
    rows = in_columns_of(forecasts.given, newest, Path("x.csv")).rows
    values = [name for name in newest.columns if name.startswith("yhat")]
    times = rows.select(pl.exclude(*values, "cutoff", "model")).get_columns()[-len(forecasts.given.times) :]
    labels = [" ".join(map(str, row)) for row in zip(*(column.to_list() for column in times), strict=True)]
    numbers = [
        ["" if value != value else f"{value:,.6g}" for value in row]
        for row in rows.select(values).fill_null(math.nan).iter_rows()
    ]
    body = [(time, *row) for time, row in zip(labels, numbers, strict=True)]
    heads = ("time", *(_heading(name) for name in values))
    return pages.folded("the newest forecast in numbers", pages.grid(heads, body))


def _heading(name: str) -> str:
    """The column of a forecast, an interval or a quantile, in words."""
    for start, words in (("yhat-lo-", "low, {} %"), ("yhat-hi-", "high, {} %"), ("yhat-q-", "quantile {}")):
        if name.startswith(start):
            return words.format(name.removeprefix(start))
    return "forecast"
