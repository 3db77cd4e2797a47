"""Learns from a table's rows how its columns write times, and writes other times the same way.

A column may hold polars times, text of any form, counts since 1970, or one part of a time (year, hour).  The
form is not declared: it is the one that reproduces most rows of the table as they are.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, auto

import polars as pl

from params.section import FIXED_OFFSET
from tasks.grid.frequency import Frequency
from tasks.grid.zone import to_instant, to_wall

EPOCHS = {"s": 10**6, "ms": 10**3, "us": 1}  # microseconds
PARTS = {
    "year": "%Y",
    "quarter": "%q",
    "month": "%-m",
    "week": "%-V",
    "day": "%-d",
    "hour": "%-H",
    "minute": "%-M",
    "second": "%-S",
    "weekday": "%u",
    "iso year": "%G",
}
DIGITS = ("%Y%m%d", "%Y%m", "%Y%m%d%H", "%Y%m%d%H%M", "%Y%m%d%H%M%S", "%Y%q", "%Y%V", "%Y%j", "%-H%M", "%H%M%S", "%j", "%y")
PLAIN, TO_THE_DAY = "%Y-%m-%d %H:%M:%S", "%Y-%m-%d"
SHAPES = 8  # text shapes of a column from which forms are made
TEXT = re.compile(
    r"(?P<date>\d{4}(?P<part>[-: ]?[QqMmWw]\d{1,2}(?:-?\d)?|(?P<mark>[-/.]?)\d{1,2}(?:(?P=mark)(?P<day>\d{1,2}))?)?)?"
    r"(?:(?P<apart>(?:[Tt]| +)?)(?P<clock>\d{1,2}(?P<colon>:?)"
    r"(?:(?P<minute>\d\d)(?:(?P=colon)(?P<second>\d\d)(?P<fraction>[.,]\d+)?)?)?)"
    r"(?P<half> ?[AaPp][Mm])?)?"
    r"(?P<zone> ?(?:UTC|GMT|[Zz]|[+-]\d\d(?::?\d\d)?))?"
)
A_DAY, CLOCK = ("Yy", "mbBh", "de"), "HIklTRs"  # directives that together give a day; those of a clock
LETTERS = {"q": "%q", "m": "%m", "w": "%V"}


class How(Enum):
    """What a column holds."""

    TIME = auto()  # a polars time
    STEP = auto()  # the number of a time step
    EPOCH = auto()  # a count since 1970
    NUMBER = auto()  # digits as strftime writes them
    TEXT = auto()


@dataclass(frozen=True)
class Moments:
    """Times on their table's `wall` clock (a naive dtype) and as `instant` (UTC); or integer `step`s."""

    wall: pl.Series | None = None
    instant: pl.Series | None = None
    step: pl.Series | None = None


@dataclass(frozen=True)
class Form:
    """How a column writes times: content, dtype, strftime format, microseconds per count (0: nanoseconds).

    `zone`: whose clock the text shows (None: the table's); `ending`: the constant end of all texts.
    """

    how: How
    dtype: pl.DataType
    format: str = ""
    unit: int = 1
    zone: str | None = None
    ending: str = ""

    def write(self, at: Moments) -> pl.Series:
        """These times, written in this form."""
        if self.how is How.STEP:
            assert at.step is not None
            return _cast_integers(at.step, self.dtype)
        assert at.wall is not None and at.instant is not None
        if self.how is How.EPOCH:
            count = at.instant.to_physical()
            return _cast_integers(count * 1000 if self.unit == 0 else count // self.unit, self.dtype)
        if self.how is How.TIME:
            return _as_time(at, self.dtype)
        text = _clock(at, self.zone).dt.strftime(self.format) + self.ending
        return text if self.how is How.TEXT else _cast_integers(text.cast(pl.Int64), self.dtype)

    def typed(self) -> "Form":
        """The same as a time dtype if the text has a day: a date, a naive time, or UTC (with an offset)."""
        says = {*re.findall(r"%[-_0]?([A-Za-z])", self.format)}
        if self.how is not How.TEXT or not all(says & {*directives, "F", "D"} for directives in A_DAY):
            return self
        if not says & {*CLOCK}:
            return Form(How.TIME, pl.Date())
        return Form(How.TIME, pl.Datetime("us", None if self.zone is None else "UTC"))


def moments(ds: pl.Series, frequency: Frequency, zone: str | None) -> Moments:
    """The times of a long frame: wall clock if steps are a day or more, else instants; or integers."""
    if ds.dtype.is_integer():
        return Moments(step=ds)
    column = pl.col("ds")
    wall, instant = (column, to_instant(column, zone)) if frequency.by_day else (to_wall(column, zone), column)
    both = pl.DataFrame({"ds": ds}).select(wall=wall, instant=instant)
    return Moments(both["wall"].dt.replace_time_zone(None), both["instant"])


def form_of(column: pl.Series, at: Moments, zone: str | None, given: str | None = None) -> Form:
    """The form of a column whose rows are these times.

    `given`: a format that the user gave.  Text numbers without leading zeros become numbers, as a CSV reader
    would read them.
    """
    called, column = column.name.lower(), column.alias("cells")  # polars reads a name like ^...$ as a pattern
    text, best, most = column.cast(pl.String).str.strip_chars(), _plain(at), 0
    for form in _forms(column, called, at, zone, given):
        if form.how in (How.TIME, How.STEP):
            return form
        right = int((form.write(at).cast(pl.String) == text).sum() or 0)
        best, most = (form, right) if right > most else (best, most)
        if most == len(text):
            break
    return best


def enough(form: Form, at: Moments) -> Form:
    """The form, or a plain one if it cannot tell these times apart."""
    if form.how is not How.TEXT or at.wall is None or form.write(at).n_unique() >= at.wall.n_unique():
        return form
    return _plain(at)


def _plain(at: Moments) -> Form:
    if at.wall is None:
        return Form(How.STEP, pl.Int64())
    days = bool((at.wall == at.wall.dt.truncate("1d")).all())
    return Form(How.TEXT, pl.String(), TO_THE_DAY if days else PLAIN)


def _forms(column: pl.Series, name: str, at: Moments, zone: str | None, given: str | None) -> Iterator[Form]:
    """The forms that a column of this dtype and name may have, more usual ones first."""
    column = column.cast(pl.String) if column.dtype in (pl.Categorical, pl.Enum) else column
    dtype = column.dtype
    if dtype.is_temporal():
        yield Form(How.TIME, dtype)
        return
    numbers = pl.Int64() if dtype == pl.String else dtype
    if at.step is not None:
        yield Form(How.STEP, numbers)
        return
    if dtype == pl.String and given is not None:
        yield from _given(given, zone)
    named = sorted(PARTS, key=lambda part: part not in name)  # prefer the part that the column is named after
    for format in (*(PARTS[part] for part in named), *DIGITS):
        yield Form(How.NUMBER, numbers, format)
    yield from (Form(How.EPOCH, numbers, unit=unit) for unit in (*EPOCHS.values(), 0))
    if dtype == pl.String:
        for format in (*(f"%{PARTS[part][-1]}" for part in named), *DIGITS, "%b", "%B"):
            yield Form(How.TEXT, dtype, format.replace("%-", "%"))
        yield from _texts(column, zone)


def _texts(column: pl.Series, zone: str | None) -> Iterator[Form]:
    """The forms that the texts of a column look like."""
    text = column.str.strip_chars()
    shapes = pl.DataFrame({"text": text, "shape": text.str.replace_all(r"\d", "9")}).drop_nulls()
    for example in shapes.group_by("shape").agg(pl.len(), pl.col("text").last()).sort("len", descending=True)["text"][:SHAPES]:
        match = TEXT.fullmatch(example)
        if match is not None:
            padded = _format(match)
            for format in (padded, *_unpadded(padded)):
                yield from _zoned(format, match["zone"] or "", zone)


def _format(match: re.Match[str]) -> str:
    """The strftime format of a text, with single digits zero-padded."""
    part, mark, date = match["part"] or "", match["mark"], "" if match["date"] is None else "%Y"
    lettered = re.fullmatch(r"(\D+)\d{1,2}(?:(-?)(\d))?", part) if mark is None else None
    if lettered is not None:
        letter = lettered[1][-1].lower()
        weekday = f"{lettered[2]}%u" if lettered[3] else ""
        date = ("%G" if letter == "w" else "%Y") + lettered[1] + LETTERS[letter] + weekday
    elif part:
        date += f"{mark}%m" + (f"{mark}%d" if match["day"] else "")
    if match["clock"] is None:
        return date
    clock = ("%I" if match["half"] else "%H") + "".join(
        f"{match['colon']}%{x[0].upper()}" for x in ("minute", "second") if match[x]
    )
    if fraction := match["fraction"]:
        digits = len(fraction) - 1
        clock += "%.f" if digits not in (3, 6, 9) else f"%.{digits}f" if fraction[0] == "." else f",%{digits}f"
    if half := match["half"]:
        clock += half[:-2] + ("%p" if half[-1] == "M" else "%P")
    return date + match["apart"] + clock


def _unpadded(format: str) -> list[str]:
    """The same without zero-padding: in date and hour, and in either."""
    date, hour = (re.sub(f"%([{letters}])", r"%-\1", format) for letters in ("md", "HI"))
    return list(dict.fromkeys((re.sub("%([HI])", r"%-\1", date), date, hour)))


def _zoned(format: str, ending: str, zone: str | None) -> Iterator[Form]:
    """A format with the zone's current offset, or with a constant ending."""
    match = re.fullmatch(r"( ?)([+-])(\d\d)(:?)(\d\d)?", ending)
    if match is None:
        yield Form(How.TEXT, pl.String(), format, zone="+00:00" if ending else None, ending=ending)
        return
    if zone is not None and not FIXED_OFFSET.fullmatch(zone):
        style = "%:z" if match[4] else "%z" if match[5] else "%:::z"
        yield Form(How.TEXT, pl.String(), format + match[1] + style, zone=zone)
    yield Form(How.TEXT, pl.String(), format, zone=f"{match[2]}{match[3]}:{match[5] or '00'}", ending=ending)


def _given(format: str, zone: str | None) -> Iterator[Form]:
    """A user's format; its offset is that of a named zone, or is written out."""
    named = zone if zone is not None and not FIXED_OFFSET.fullmatch(zone) else None
    if named is None:
        offset = zone or "+00:00"
        format = re.sub("%(:?)[z#]+", lambda part: offset if part[1] else offset.replace(":", ""), format)
    zoned = re.search("%:*[zZ]", format)
    six, three = (re.sub("%f", f"%{digits}f", format) for digits in (6, 3))
    for variation in dict.fromkeys(padded for form in (format, six, three) for padded in (form, *_unpadded(form))):
        yield Form(How.TEXT, pl.String(), variation, zone=named if zoned else None)


def _clock(at: Moments, zone: str | None) -> pl.Series:
    """Times on the table's clock, at a fixed offset, or in a named zone, which the result then carries."""
    assert at.wall is not None and at.instant is not None
    if zone is None:
        return at.wall
    if FIXED_OFFSET.fullmatch(zone):
        return pl.DataFrame({"ds": at.instant}).select(to_wall(pl.col("ds"), zone)).to_series().dt.replace_time_zone(None)
    return at.instant.dt.convert_time_zone(zone)


def _cast_integers(numbers: pl.Series, dtype: pl.DataType) -> pl.Series:
    """Integers in a dtype, or unchanged if they do not fit."""
    cast = numbers.cast(dtype, strict=False)
    return cast if cast.null_count() == numbers.null_count() else numbers


def _as_time(at: Moments, dtype: pl.DataType) -> pl.Series:
    assert at.wall is not None and at.instant is not None
    if dtype == pl.Date:
        return at.wall.dt.date()
    if dtype == pl.Time:
        return at.wall.dt.time()
    if isinstance(dtype, pl.Datetime) and dtype.time_zone is not None:
        return at.instant.dt.cast_time_unit(dtype.time_unit).cast(dtype)  # polars casts to fixed offsets only
    return at.wall.dt.cast_time_unit(dtype.time_unit) if isinstance(dtype, pl.Datetime) else at.wall
