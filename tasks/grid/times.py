"""Parses text times to UTC, year first: the order of day and month is never guessed.

Explicit offsets are converted to UTC; other times count as UTC.  models/serving.py accepts the same forms.
"""

import re
from itertools import product

import polars as pl

from tasks.grid.forms import CLOCK_ALONE, MONTHS, YEAR_FIRST, pattern_of

UTC = pl.Datetime("us", "UTC")
OFFSET = r"(?: ?(?:UTC|GMT)|[Zz]|[+-](?:0\d|1[0-8])(?::?[0-5]\d)?)$"
LEAST_YEAR, MOST_YEAR = 1677, 2262  # in texts without separators; outside, a number is not a time

# the usual forms, as pattern and strptime format: a text matches at most one of them
DAYS = {f"[0-9]{{4}}{mark}[0-9]{{2}}{mark}[0-9]{{2}}": f"%Y{mark}%m{mark}%d" for mark in "-/"}
MINUTES = "[0-9]{2}:[0-9]{2}"
CLOCKS = {MINUTES: "%H:%M", f"{MINUTES}:[0-9]{{2}}": "%H:%M:%S", rf"{MINUTES}:[0-9]{{2}}\.[0-9]+": "%H:%M:%S%.f"}
ZONES = {"": "", "Z": "Z", "[+-](?:0[0-9]|1[0-8]):[0-5][0-9]": "%z"}
FORMS = DAYS | {
    day + mark + clock + zone: DAYS[day] + mark + CLOCKS[clock] + ZONES[zone]
    for day, mark, clock, zone in product(DAYS, "T ", CLOCKS, ZONES)
}


def parse_time(text: pl.Expr, years: bool = False) -> pl.Expr:
    """Year-first text as UTC microseconds; null if it is not a time.  `years`: accept a bare year, 2020."""
    return text.map_batches(lambda texts: _read_batch(texts.alias("text"), years), return_dtype=UTC, is_elementwise=True)


def _read_batch(texts: pl.Series, years: bool) -> pl.Series:
    """One strptime if all texts share a usual form (10x faster), else text by text, with equal results."""
    first = texts.drop_nulls().head(1)
    form = next((form for form in FORMS if len(first) and re.fullmatch(form, first[0])), None)
    if form is not None and texts.str.contains(f"^{form}$").all():
        times = texts.str.to_datetime(FORMS[form], time_unit="us", strict=False)
        if times.null_count() == texts.null_count():
            return times if times.dtype == UTC else times.dt.replace_time_zone("UTC")
    return texts.to_frame("text").select(parse_any(pl.col("text"), years)).to_series()


def parse_any(text: pl.Expr, years: bool = False) -> pl.Expr:
    """The definition of `parse_time`, for texts that each have their own form; slow."""
    parts = _Parts(_plain(text), YEAR_FIRST)
    days, months = parts["day", "days", "weekday"], parts["month", "months", "number", "quarter", "week"]
    digits = months.is_null() | parts["months"].is_not_null()
    date = pl.when(~digits | parts["year"].cast(pl.Int64).is_between(LEAST_YEAR, MOST_YEAR)).then(parts.date())
    date = date if years else pl.when(months.is_not_null()).then(date)
    date = pl.when(parts["hour", "hours"].is_null() | days.is_not_null()).then(date)
    return date + parts.clock()


def parse_format(text: pl.Expr, form: str) -> pl.Expr:
    """Text in a strftime format as UTC microseconds; null if it does not match."""
    parts = _Parts(text.str.strip_chars(), pattern_of(form))
    return parts.date() + parts.clock()


def parse_clock(text: pl.Expr) -> pl.Expr:
    """A time of day (18:00, 6 PM, 1800, or the hour alone) as a duration; 24 is the end of the day."""
    return _Parts(text.str.strip_chars(), CLOCK_ALONE).clock()


class _Parts:
    """The parts of a text that matches a pattern of forms.py, as text; null if absent."""

    def __init__(self, text: pl.Expr, pattern: str) -> None:
        self.names = set(re.findall(r"\?P<(\w+)>", pattern))
        self.struct = text.str.extract_groups(pattern).struct

    def __getitem__(self, names: str | tuple[str, ...]) -> pl.Expr:
        """The first of these parts that is present."""
        wanted = [name for name in ((names,) if isinstance(names, str) else names) if name in self.names]
        return pl.coalesce(self.struct.field(name) for name in wanted) if wanted else pl.lit(None, pl.String)

    def date(self) -> pl.Expr:
        """Midnight UTC of the day, or of the first day of the week, month, quarter or year."""
        century = pl.when(self["short"].cast(pl.Int64) < 70).then(pl.lit("20")).otherwise(pl.lit("19"))
        year = pl.coalesce(self["year"], century + self["short"])
        named = self["name"].str.to_lowercase().replace_strict(MONTHS, range(1, 13), default=None, return_dtype=pl.Int64)
        quarter = self["quarter"].cast(pl.Int64) * 3 - 2
        month = pl.coalesce(self["month", "months", "number"], named.cast(pl.String), quarter.cast(pl.String), pl.lit("01"))
        days = year + "-" + month.str.zfill(2) + "-" + self["day", "days"].fill_null("01").str.zfill(2)
        week = year + "-W" + self["week"].str.zfill(2) + "-" + self["weekday"].fill_null("1")
        yearday = year + "-" + self["yearday"].str.zfill(3)
        date = (
            pl.when(self["week"].is_not_null())
            .then(week.str.to_date("%G-W%V-%u", strict=False))
            .when(self["yearday"].is_not_null())
            .then(yearday.str.to_date("%Y-%j", strict=False))
            .otherwise(days.str.to_date("%Y-%m-%d", strict=False))
        )
        return date.cast(pl.Datetime("us")).dt.replace_time_zone("UTC")

    def clock(self) -> pl.Expr:
        """The time since midnight minus the UTC offset; 0 without a clock, null for an impossible one."""
        hour, minute = self["hour", "hours"].cast(pl.Int64), self["minute", "minutes"].fill_null("0").cast(pl.Int64)
        second, half = self["second", "seconds"].fill_null("0").str.replace(",", "."), self["half"].str.to_lowercase()
        whole = second.str.extract(r"^([0-9]+)").cast(pl.Int64)
        part = pl.coalesce(second.str.extract(r"\.([0-9]+)"), self["fraction"], pl.lit("0"))
        micro = part.str.slice(0, 6).str.pad_end(6, "0").cast(pl.Int64)
        of_twelve = pl.when(hour.is_between(1, 12)).then(hour % 12 + pl.when(half == "p").then(12).otherwise(0))
        hour = pl.when(half.is_not_null()).then(of_twelve).otherwise(hour.fill_null(0))
        fits = ((hour < 24) & (minute < 60) & (whole <= 60)) | ((hour == 24) & (minute == 0) & (whole == 0) & (micro == 0))
        zone = self["zone"].str.strip_chars()
        sign, offset = pl.when(zone.str.starts_with("-")).then(-1).otherwise(1), zone.str.replace_all("[^0-9]", "")
        east = sign * pl.coalesce(
            offset.str.pad_end(4, "0").str.slice(0, 2).cast(pl.Int64) * 60
            + offset.str.pad_end(4, "0").str.slice(2, 2).cast(pl.Int64),
            0,
        )
        micro = ((hour * 60 + minute - east) * 60 + whole) * 1_000_000 + micro
        return pl.when(fits).then(micro.cast(pl.Duration("us")))


def _plain(text: pl.Expr) -> pl.Expr:
    """Strips the text and joins the numbers of its date by hyphens: 2020/1/5 and 2020.1.5 become 2020-1-5."""
    plain = text.str.strip_chars()
    for mark in ("/", r"\."):
        plain = plain.str.replace(f"^([0-9]{{4}}){mark}([0-9]{{1,2}}){mark}([0-9]{{1,2}})", "$1-$2-$3")
    return plain.str.replace("^([0-9]{4})/([0-9]{1,2})$", "$1-$2")
