"""Time zones: the wall clock of a column's own zone and the instants in UTC, as polars expressions.

A zone is a name of the IANA database (`Europe/Berlin`) or a fixed offset (`+05:30`); None is UTC, or not
known.  A wall clock is a Datetime
that is labelled UTC, so that a step of a day or more is exact arithmetic.
"""

import os
from datetime import timedelta

import polars as pl

from params.section import FIXED_OFFSET

os.environ.setdefault("POLARS_IGNORE_TIMEZONE_PARSE_ERROR", "1")  # else a Parquet column of a fixed offset is a panic of polars
NO_SHIFT = (None, "UTC")
SKIPPED = timedelta(hours=25)  # no clock was ever put forward by more


def to_wall(instant: pl.Expr, zone: str | None) -> pl.Expr:
    """What the clocks of the zone show at an instant."""
    if zone in NO_SHIFT:
        return instant
    if (offset := _offset(zone)) is not None:
        return instant + offset
    return instant.dt.convert_time_zone(zone).dt.replace_time_zone("UTC")


def to_day(instant: pl.Expr, zone: str | None) -> pl.Expr:
    """`to_wall` for steps of a day or more: the first instant of a day is its midnight, also where clocks skipped that."""
    if zone in NO_SHIFT or _offset(zone) is not None:
        return to_wall(instant, zone)
    wall = to_wall(instant, zone)
    midnight = wall.dt.truncate("1d")
    return pl.when(to_instant(midnight, zone) == instant).then(midnight).otherwise(wall)


def to_instant(wall: pl.Expr, zone: str | None) -> pl.Expr:
    """The instant at which the clocks of the zone show a time.

    The first of two where they showed it twice; where they skipped it, as much later as they were put forward.
    """
    if zone in NO_SHIFT:
        return wall
    if (offset := _offset(zone)) is not None:
        return wall - offset

    def found(time: pl.Expr) -> pl.Expr:
        local = time.dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null")
        return local.dt.convert_time_zone("UTC")

    return pl.coalesce(found(wall), found(wall - SKIPPED) + SKIPPED)


def _offset(zone: str) -> timedelta | None:
    """The distance from UTC of a fixed offset; None for a name."""
    fixed = FIXED_OFFSET.fullmatch(zone)
    if fixed is None:
        return None
    size = timedelta(hours=int(fixed[2]), minutes=int(fixed[3]))
    return -size if fixed[1] == "-" else size
