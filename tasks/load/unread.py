"""Advice on unreadable times: a format for days and months, or a unit for numbers since 1970."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime

from params.data import DataParams

UNITS = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
SOONEST, LATEST = 315_532_800, 4_102_444_800  # seconds since 1970: the years 1980 to 2100
DAY_OR_MONTH = r"\s*(\d{1,2})([-/. ])(\d{1,2})\2(\d{4}|\d{2})(?!\d)(.*)"
SOME = 10_000  # unreadable times examined for what would read them
YEAR_FIRST = "write it year first, such as 2013-01-31T18:00:00Z"


def what_to_write(some: Sequence[str], data: DataParams) -> str:
    """What a time is on this grid, and what to write so that these unreadable texts can be read."""
    if isinstance(data.frequency, int):
        return "a whole number"
    if data.time_format is not None:
        return f"a time of the form {data.time_format!r} (data.time_format)"
    if data.time_unit is not None:
        return f"a number of {data.time_unit} since 1970 (data.time_unit)"
    if len(data.times) > 1:
        return f"a time: together {', '.join(data.times)} must say a date and, where there is one, a clock"
    return f"a time: {YEAR_FIRST}" + _other_form(some)


def _other_form(some: Sequence[str]) -> str:
    known = form_of(some)
    if known is not None:
        return known
    if all(re.fullmatch(r"\s*[+-]?\d+\s*", text) for text in some):
        return "; for integer time steps write data.frequency as a whole number"
    return '; another form is named by data.time_format, such as "%d.%m.%Y %H:%M"'


def form_of(some: Sequence[str]) -> str | None:
    """What reads texts with days and months in another order, or numbers since 1970; None for others."""
    days = [match for text in some if text and (match := re.fullmatch(DAY_OR_MONTH, text))]
    if days and len(days) == len(some):
        first, second = (max(int(match[group]) for match in days) for group in (1, 3))
        forms = [form for form, month in (("%d{0}%m{0}%{1}", second), ("%m{0}%d{0}%{1}", first)) if month <= 12]
        year, mark = "Y" if len(days[0][4]) == 4 else "y", days[0][2]
        shown = " or ".join(f'"{form.format(mark, year)}{_clock(days[0][5])}"' for form in forms)
        ambiguous = f"03{mark}04 could be 3 April or March 4, so the order of day and month is never guessed"
        return f", or name its form, data.time_format: {shown} ({ambiguous})" if shown else None
    unit = unit_of(some)
    if unit is None:
        return None
    moment = datetime.fromtimestamp(int(float(some[0])) / UNITS[unit], UTC)
    return f"; where it counts from 1970, write data.time_unit: {unit} (it is then {moment:%Y-%m-%d %H:%M})"


def _clock(rest: str) -> str:
    """The directives of the clock that follows a day."""
    text = re.sub(r"\d{1,2}:\d{2}:\d{2}[.,]\d+", "%H:%M:%S.%f", rest.strip(), count=1)
    text = re.sub(r"\d{1,2}:\d{2}:\d{2}", "%H:%M:%S", text, count=1)
    text = re.sub(r"\d{1,2}:\d{2}", "%H:%M", text, count=1) if "%" not in text else text
    if re.search("[AaPp][Mm]$", text):
        text = re.sub("[AaPp][Mm]$", "%p", text).replace("%H", "%I")
    return f" {text}" if text else ""


def unit_of(some: Sequence[str]) -> str | None:
    """The unit in which all of these numbers count from 1970 to a plausible year; None if there is none."""
    if not some or not all(re.fullmatch(r"\s*\d{9,20}(\.\d*)?\s*", text) for text in some):
        return None
    low, high = (bound(float(text) for text in some) for bound in (min, max))
    for unit, per_second in UNITS.items():
        if low / per_second > SOONEST and high / per_second < LATEST:
            return unit
    return None
