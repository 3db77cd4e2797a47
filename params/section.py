"""Building blocks of a run file's sections: the base class, and types for names, spans and borders."""

import re
from datetime import datetime
from typing import Annotated
from zoneinfo import available_timezones

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

MOST = 1e30  # safely within a 32-bit float
MOST_SECONDS = 10**8  # three years, for anything
MOST_ROWS = 10**9  # for any count
MOST_STEP = 10**15  # an integer time step: a day in nanoseconds is a tenth of it
MOST_FOLDS = 20  # validation ranges, one before another
YEARS = 1_000  # longest duration
KEYS = ("unique_id", "ds", "cutoff", "step", "y")  # columns of a forecast frame besides the models
RESERVED = ("unique_id", "ds")  # not for covariates: the keys of every long frame and of served forecasts
LEDGER, REALISED = ".promotions", ".realised"  # suffixes of the experiments kept next to a run file's own
DURATION = re.compile(r"^[1-9]\d*(s|m|h|d|bd|w|mo|q|y)$", re.ASCII)
SECONDS = {
    "s": 1,
    "m": 60,
    "h": 3600,
    "d": 86_400,
    "bd": 120_960,
    "w": 7 * 86_400,
    "mo": 30 * 86_400,
    "q": 91 * 86_400,
    "y": 365 * 86_400,
}
DATE = re.compile(r"^\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2})?)?Z?$", re.ASCII)
FIXED_OFFSET = re.compile(r"([+-])(0\d|1[0-8]):?([0-5]\d)", re.ASCII)
UTC_NAMES = ("UTC", "Z", "Zulu", "Etc/UTC", "GMT", "Etc/GMT", "+00:00", "-00:00", "+0000", "-0000")

Positive = Annotated[int, Field(ge=1, le=MOST_ROWS)]
NonNegative = Annotated[int, Field(ge=0, le=MOST_ROWS)]
Threads = Annotated[int, Field(ge=1, le=1024)]
Share = Annotated[float, Field(ge=0, le=1)]
TARGET = r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*"  # code from outside: package.module:Name
OUTSIDE = "baseline:"  # begins the family of a baseline from outside, before its target
NAME = r"^[a-z0-9][a-z0-9._-]{0,63}$"
Name = Annotated[str, StringConstraints(pattern=NAME)]
Text = Annotated[str, StringConstraints(min_length=1, max_length=4096)]


def _is_target(value: object) -> object:
    if not isinstance(value, str) or not re.fullmatch(TARGET, value) or len(value) > 200:
        raise ValueError("write the module and the name in it, such as my_package.nets:MyNet")
    return value


Target = Annotated[str, BeforeValidator(_is_target)]


def owner(name: str) -> str | None:
    """The run file whose extra experiment has this name; None if the name is free."""
    return next((name.removesuffix(end) for end in (LEDGER, REALISED) if name.endswith(end)), None)


def _is_span(value: object) -> object:
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise ValueError("give a duration such as 1h, 28d or 1mo, or a whole number of rows")
    if isinstance(value, int) and value < 0:
        raise ValueError("must not be negative")
    if isinstance(value, int) and value > MOST_STEP:
        raise ValueError(f"must be at most {MOST_STEP}")
    if isinstance(value, str) and not DURATION.match(value):
        raise ValueError("not a duration: write a whole number and one of s m h d bd w mo q y, such as 15m, 1h, 28d, 1mo")
    if isinstance(value, str) and (len(value) > 18 or rough_seconds(value) > YEARS * SECONDS["y"]):
        raise ValueError(f"longer than {YEARS:,} years: write a shorter one, such as 28d")
    return value


def rough_seconds(span: str) -> int:
    """The length of a duration in seconds, counting a month as 30 days and a year as 365."""
    number, unit = re.fullmatch(r"(\d+)([a-z]+)", span).groups()  # type: ignore[union-attr]
    return int(number) * SECONDS[unit]


def _is_border(value: object) -> object:
    if isinstance(value, str) and DATE.match(value):
        try:
            datetime.fromisoformat(value)
        except ValueError:
            raise ValueError("no date of the calendar: write one such as 2013-10-01") from None
        return value
    if isinstance(value, int) and value > MOST_ROWS:
        raise ValueError(f"must be at most {MOST_ROWS:,} rows")
    return _is_span(value)


def zone_names() -> list[str]:
    """The names of all time zones, sorted."""
    return sorted(available_timezones() - {"localtime", "Factory"})


def zone_name(text: str) -> str:
    """A canonical time zone: one name for UTC, offsets as +05:30.  Raises ValueError if unknown."""
    if text in UTC_NAMES:
        return "UTC"
    fixed = FIXED_OFFSET.fullmatch(text)
    if fixed is not None:
        return f"{fixed[1]}{fixed[2]}:{fixed[3]}"
    if text not in zone_names():
        raise ValueError(f"{text!r} is no time zone: write one such as Europe/Berlin, or a fixed offset such as +05:30")
    return text


def as_tuple(value: object) -> object:
    """A YAML list as a tuple; other values unchanged."""
    return tuple(value) if isinstance(value, list) else value


Span = Annotated[str | int, BeforeValidator(_is_span)]
Border = Annotated[str | int, BeforeValidator(_is_border)]


class Section(BaseModel):
    """A part of a run file: frozen, strict about types; rejects unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)
