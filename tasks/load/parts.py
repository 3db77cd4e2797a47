"""Which of several columns gives which part of a time: year, month, day, hour; or a date and a clock."""

import re
import unicodedata
from collections.abc import Sequence
from enum import Enum

import polars as pl

from params.errors import UserError
from tasks.grid.times import parse_format, parse_time
from tasks.load.files import Table, collect
from tasks.names import column

LOOKED_AT = 100  # rows examined if the names do not tell


class Part(Enum):
    """A part of a time, and the words in column names that mean it; else values and order decide."""

    DATE = "date", "datum", "fecha", "data", "dato"
    YEAR = "year", "yr", "yyyy", "jahr", "annee", "ano", "anno", "jaar"
    QUARTER = "quarter", "qtr", "quartal", "trimestre"
    MONTH = "month", "mon", "mth", "mnth", "mo", "mm", "monat", "mois", "mes", "mese", "maand"
    WEEK = "week", "wk", "woche", "kw", "semaine", "semana", "settimana"
    WEEKDAY = "weekday", "dayofweek", "dow", "wochentag"
    DAY = "day", "dayofmonth", "mday", "dom", "dd", "dy", "tag", "jour", "dia", "giorno", "dag"
    CLOCK = "time", "clock", "uhrzeit", "zeit", "hora", "heure", "tijd"
    HOUR = "hour", "hr", "hod", "hh", "stunde", "ora", "uur"
    MINUTE = "minute", "min", "minuto"
    SECOND = "second", "sec", "sekunde", "seconde", "segundo", "secondo"


IN_ORDER = (Part.YEAR, Part.MONTH, Part.DAY, Part.HOUR, Part.MINUTE, Part.SECOND)


def parts_of(table: Table, names: Sequence[str], form: str | None = None) -> dict[str, Part]:
    """The part that each column gives; `form`: the format of dates.

    Raises UserError if two give the same part, or none the year.
    """
    parts = {name: part for name, part in zip(names, told_by_name(names), strict=True) if part is not None}
    parts |= _by_value(table, names, form)
    left = IN_ORDER[3:] if Part.DATE in parts.values() else IN_ORDER
    unknown = [name for name in names if name not in parts]
    parts |= dict(zip(unknown, (part for part in left if part not in parts.values()), strict=False))
    _refuse(table, names, parts)
    return {name: parts[name] for name in names}


def told_by_name(names: Sequence[str]) -> list[Part | None]:
    """The part that each name means; next to a year, a date is the day of the month."""
    parts = [part_of(name) for name in names]
    if Part.YEAR in parts and Part.DAY not in parts:
        parts = [Part.DAY if part is Part.DATE else part for part in parts]
    return parts


def part_of(name: str) -> Part | None:
    """The part that a name means: all of it, or its first matching word; "date" and "time" match last."""
    plain = unicodedata.normalize("NFKD", re.sub(r"([a-z])([A-Z])", r"\1_\2", name)).encode("ascii", "ignore").decode().lower()
    words = [word for word in re.split("[^a-z]+", plain) if word]
    candidates = ["".join(words), *words, *(re.sub("s$", "", word) for word in words)]
    matches = [part for word in candidates for part in Part if word in part.value]
    return next((part for part in matches if part not in (Part.DATE, Part.CLOCK)), matches[0] if matches else None)


def _by_value(table: Table, names: Sequence[str], form: str | None) -> dict[str, Part]:
    """The columns whose dtype or first values are clocks or whole days, whatever their names."""
    parts = {name: Part.CLOCK for name in names if table.columns[name] == pl.Time}
    parts |= {name: Part.DATE for name in names if table.columns[name].is_temporal() and name not in parts}
    texts = {str(i): column(name).cast(pl.String).str.strip_chars() for i, name in enumerate(names) if name not in parts}
    rows = collect(table.rows.head(LOOKED_AT).select(**texts), table.name) if texts else pl.DataFrame()
    for i in texts:
        some, text = rows[i].drop_nulls(), pl.col(i)
        if len(some) and some.str.contains("^[0-9]{1,2}:").all():
            parts[names[int(i)]] = Part.CLOCK
        elif len(some):
            moment = parse_time(text) if form is None else parse_format(text, form)
            if not some.to_frame().select(moment).to_series().null_count():
                parts[names[int(i)]] = Part.DATE
    return parts


def _refuse(table: Table, names: Sequence[str], by_name: dict[str, Part]) -> None:
    parts = [by_name.get(name) for name in names]
    more = {*parts} & {Part.YEAR, Part.QUARTER, Part.MONTH, Part.WEEK, Part.WEEKDAY, Part.DAY}
    dated = not more if Part.DATE in parts else Part.YEAR in parts
    if dated and None not in parts and len({*parts}) == len(parts):
        return
    taken = ", ".join(
        f"{name!r} for {'nothing' if part is None else part.name.lower()}" for name, part in zip(names, parts, strict=True)
    )
    raise UserError(
        f"{table.name}: data.time {list(names)}: several columns make a time where each says another part of it: year, month, "
        f"day, hour, minute, second in this order, or a date and a clock; here they were taken as {taken}"
    )
