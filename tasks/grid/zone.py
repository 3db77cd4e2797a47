"""Time zones as polars expressions: between a zone's wall clock and instants in UTC.

A zone is an IANA name (`Europe/Berlin`) or a fixed offset (`+05:30`); None is UTC, or unknown.  A wall clock
is a Datetime labelled UTC, so that steps of a day or more are exact arithmetic.
"""

import os
from datetime import timedelta

import polars as pl

from params.section import FIXED_OFFSET

os.environ.setdefault("POLARS_IGNORE_TIMEZONE_PARSE_ERROR", "1")  # polars panics on fixed offsets in Parquet
NO_SHIFT = (None, "UTC")
SKIPPED = timedelta(hours=25)  # no clock was ever put forward by more


def to_wall(instant: pl.Expr, zone: str | None) -> pl.Expr:
    """The zone's wall clock at an instant."""
    if zone in NO_SHIFT:
        return instant
    if (offset := _offset(zone)) is not None:
        return instant + offset
    return instant.dt.convert_time_zone(zone).dt.replace_time_zone("UTC")


def to_day(instant: pl.Expr, zone: str | None) -> pl.Expr:
    """`to_wall` for steps of a day or more: a day starts at midnight, even where clocks skipped it."""
    if zone in NO_SHIFT or _offset(zone) is not None:
        return to_wall(instant, zone)
    wall = to_wall(instant, zone)
    midnight = wall.dt.truncate("1d")
    return pl.when(to_instant(midnight, zone) == instant).then(midnight).otherwise(wall)


def to_instant(wall: pl.Expr, zone: str | None) -> pl.Expr:
    """The instant of a wall clock time in the zone.

    Ambiguous times give the first of the two; skipped times move forward by as much as the clocks did.
    """
    if zone in NO_SHIFT:
        return wall
    if (offset := _offset(zone)) is not None:
        return wall - offset

    def in_utc(time: pl.Expr) -> pl.Expr:
        local = time.dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null")
        return local.dt.convert_time_zone("UTC")

    return pl.coalesce(in_utc(wall), in_utc(wall - SKIPPED) + SKIPPED)


def _offset(zone: str) -> timedelta | None:
    """The UTC offset of a fixed-offset zone; None for a named zone."""
    fixed = FIXED_OFFSET.fullmatch(zone)
    if fixed is None:
        return None
    size = timedelta(hours=int(fixed[2]), minutes=int(fixed[3]))
    return -size if fixed[1] == "-" else size
