"""The clock of a table: the time zone of its times, and which of two equal local times is the later one.

Steps of a day or more follow the zone's wall clock, shorter ones instants.  The zone is `data.time_zone`, or
what the columns imply: their dtype, one offset, or the first zone that had all of their offsets.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import polars as pl

from params.data import DataParams
from params.errors import UserError
from params.section import zone_name, zone_names
from params.shown import visible
from tasks.grid.frequency import Frequency
from tasks.grid.times import OFFSET
from tasks.grid.zone import NO_SHIFT, to_day
from tasks.load.cells import time_of
from tasks.load.files import Table, collect
from tasks.load.ids import series_name
from tasks.load.moments import dated
from tasks.names import apart, column

# among zones with the same offsets at all times of a table, the first of these wins, else the first by name
FIRST_ZONES = (
    "Europe/Berlin", "Europe/London", "Europe/Helsinki", "America/New_York", "America/Chicago", "America/Denver",
    "America/Los_Angeles", "America/Halifax", "America/St_Johns", "America/Anchorage", "America/Sao_Paulo",
    "America/Santiago", "Australia/Sydney", "Australia/Adelaide", "Pacific/Auckland", "Asia/Tehran", "Asia/Jerusalem",
)  # fmt: skip
BEGINNING = 1000  # rows checked for UTC instants, where the zone only matters for display


@dataclass(frozen=True)
class Clock:
    """`zone`: of a table's times, None if unknown; `told`: how it was found, in words, if it was guessed.

    `zoned`: per file, whether its times are instants; `later`: per file, the second of equal local times.
    """

    zone: str | None = None
    told: str = ""
    zoned: tuple[bool, ...] = ()
    later: tuple[pl.Series, ...] = ()

    def times(self, number: int, table: Table, data: DataParams) -> tuple[pl.LazyFrame, pl.Expr]:
        """The rows of a file, and their times on the run's grid: a wall clock for steps of a day or more."""
        read, rows = time_of(table, data), table.rows
        if isinstance(data.frequency, int) or self.zone in NO_SHIFT:
            return rows, read
        if Frequency(data.frequency).by_day:
            return rows, to_day(read, self.zone) if self.zoned[number] else read
        if self.zoned[number]:
            return rows, read
        row = apart("row", table.columns)
        second = column(row).is_in(self.later[number].implode())
        which = pl.when(second).then(pl.lit("latest")).otherwise(pl.lit("earliest"))
        return rows.with_row_index(row), _localized(read, self.zone, which)


def clock_of(tables: Sequence[Table], data: DataParams) -> Clock:
    """The clock of a table.

    Raises UserError if steps are a day or more and files or offsets do not share a zone, and for a local time
    that the clocks of `data.time_zone` skipped, or showed twice with nothing to tell which is meant.
    """
    if isinstance(data.frequency, int):
        return Clock()
    by_day, zones = Frequency(data.frequency).by_day, [_zone_of(table, data) for table in tables]
    zoned = tuple(zone is not None for zone in zones)
    if data.time_zone is None:
        zone, zone_note = _one_zone(tables, data, sorted({zone for zone in zones if zone is not None}), by_day)
        return Clock(zone, zone_note, zoned)
    if by_day or all(zoned) or data.time_zone in NO_SHIFT:
        return Clock(data.time_zone, "", zoned)
    return Clock(data.time_zone, "", zoned, _second_of_two(tables, data, zoned))


def _zone_of(table: Table, data: DataParams) -> str | None:
    """The zone of a file's times; `?` for changing offsets, None for naive times."""
    name = dated(table, data)
    dtype = table.columns[name]
    if isinstance(dtype, pl.Datetime):
        return None if dtype.time_zone is None else zone_name(dtype.time_zone)
    if data.time_unit is not None:
        return "UTC"
    if dtype != pl.String or (data.time_format is not None and "%z" not in data.time_format):
        return None
    minutes = _offset_minutes(column(name))
    if not Frequency(data.frequency).by_day:
        beginning = _distinct(table.rows.head(BEGINNING).select(minutes), table)
        if beginning in ([], [0]):
            return "UTC" if beginning else None
    every = _distinct(table.rows.select(minutes), table)
    return None if not every else "?" if len(every) > 1 else _fixed(every[0])


def _distinct(rows: pl.LazyFrame, table: Table) -> list[int]:
    return sorted(collect(rows.unique(), table.name).to_series().drop_nulls().to_list())


def _offset_minutes(text: pl.Expr) -> pl.Expr:
    """The UTC offset in a text; null without one."""
    plain = text.str.strip_chars()
    zone = pl.when(plain.str.len_chars() > 10).then(plain.str.extract(f"({OFFSET})"))
    digits = zone.str.replace_all(r"[^0-9]", "").str.pad_end(4, "0")
    hours, minutes = digits.str.slice(0, 2).cast(pl.Int64), digits.str.slice(2, 2).cast(pl.Int64)
    return pl.when(zone.str.starts_with("-")).then(-1).otherwise(1) * (hours * 60 + minutes)


def _fixed(minutes: int) -> str:
    """A constant offset as a zone."""
    hours, rest = divmod(abs(minutes), 60)
    return zone_name(f"{'-' if minutes < 0 else '+'}{hours:02}:{rest:02}")


def _one_zone(tables: Sequence[Table], data: DataParams, candidates: list[str], by_day: bool) -> tuple[str | None, str]:
    """The zone of all files, and how it was found."""
    if len(candidates) < 2 and candidates != ["?"]:
        return (candidates[0], "") if candidates else (None, "")
    name = visible(dated(tables[0], data))
    if not all(table.columns[dated(table, data)] == pl.String for table in tables):
        if not by_day:
            return "UTC", ""
        zones = ", ".join(candidates)
        raise UserError(
            f"{data.where}: column {name!r}: its files have other time zones ({zones}): name the one whose days count, as "
            f"data.time_zone: {candidates[0]}"
        )
    pairs = _offsets(tables, data)
    zone = next((zone for zone in dict.fromkeys([*FIRST_ZONES, *zone_names()]) if _had(zone, pairs)), None)
    minutes = sorted(set(pairs["minutes"].to_list()))
    some = ", ".join(_fixed(number).replace("UTC", "+00:00") for number in minutes[:6]) + (" ..." if len(minutes) > 6 else "")
    if zone is not None:
        return zone, f"{name}: the offsets {some} are taken for those of {zone}; data.time_zone names another"
    if not by_day:
        return "UTC", ""
    raise UserError(
        f"{data.where}: column {name!r} has the offsets {some}, which no time zone had at these times; a step of "
        f"{data.frequency} counts on the clocks of one: name it, such as data.time_zone: Europe/Berlin"
    )


def _offsets(tables: Sequence[Table], data: DataParams) -> pl.DataFrame:
    """The distinct hours (instants) of all files with their offset in `minutes`."""
    rows = [
        table.rows.select(ds=time_of(table, data), minutes=_offset_minutes(column(dated(table, data)))).drop_nulls()
        for table in tables
    ]
    hours = [frame.with_columns(pl.col("ds").dt.truncate("15m")).unique() for frame in rows]
    return collect(pl.concat(hours).unique(), data.where)


def went_back(times: Sequence[datetime]) -> str | None:
    """A zone in which all of these local times occurred twice, as clocks went back; None if there is none."""

    def twice(time: datetime, clock: ZoneInfo) -> bool:
        first, second = (time.replace(tzinfo=clock, fold=fold).utcoffset() for fold in (0, 1))
        return first is not None and second is not None and first > second

    zones = dict.fromkeys([*FIRST_ZONES, *zone_names()]) if times else ()
    return next((zone for zone in zones if all(twice(time, ZoneInfo(zone)) for time in times)), None)


def came_twice(zone: str, option: str = "data.time_zone:") -> str:
    """Advice on local times that occurred twice; `option`: the setting that names the zone."""
    return (
        f"clocks went back then (in {zone}, for one), so that an hour came twice: write {option} {zone}, or the zone whose "
        "clocks these are, and the two are told apart by their order"
    )


def _had(zone: str, pairs: pl.DataFrame) -> bool:
    """Whether a zone had these offsets at these times."""
    clock = ZoneInfo(zone)
    return all(when.astimezone(clock).utcoffset() == timedelta(minutes=minutes) for when, minutes in pairs.iter_rows())


def _localized(read: pl.Expr, zone: str, ambiguous: "pl.Expr | str") -> pl.Expr:
    """Local times as instants; null for skipped ones."""
    local = read.dt.replace_time_zone(None).dt.replace_time_zone(zone, ambiguous=ambiguous, non_existent="null")  # type: ignore[arg-type]
    return local.dt.convert_time_zone("UTC")


def _second_of_two(tables: Sequence[Table], data: DataParams, zoned: Sequence[bool]) -> tuple[pl.Series, ...]:
    """Per file, the rows that are the second of two equal local times, by row order within series."""
    zone = str(data.time_zone)
    parts = []
    for number, (table, has_zone) in enumerate(zip(tables, zoned, strict=True)):
        read = time_of(table, data)
        row = apart("row", table.columns)
        rows = table.rows.with_row_index(row).select(
            file=pl.lit(number), row=column(row), unique_id=series_name(table, data), wall=read
        )
        parts += [rows] if not has_zone else []
    every = pl.concat(parts).drop_nulls("wall")
    odd = collect(every.filter(_localized(pl.col("wall"), zone, "null").is_null()), data.where).sort("file", "row")
    skipped = odd.filter(_localized(pl.col("wall"), zone, "earliest").is_null())
    if skipped.height:
        first = skipped.row(0, named=True)
        raise UserError(
            f"{data.where}: {first['wall']:%Y-%m-%d %H:%M} of series {first['unique_id']!r} "
            f"was never shown: clocks went forward then in {zone} (data.time_zone); are the times those of another zone?"
        )
    about = every.filter(pl.col("unique_id").is_in(odd["unique_id"].unique().implode())).group_by("unique_id").agg(
        pl.col("wall").min().alias("oldest"), pl.col("wall").max().alias("newest"),
        pl.col("wall").sort_by("file", "row").first().alias("begin"),
        pl.col("wall").sort_by("file", "row").last().alias("end"),
    )  # fmt: skip
    odd = odd.join(collect(about, data.where), on="unique_id", how="left", maintain_order="left")
    second = _marked(odd, data, zone)
    return tuple(second.filter(pl.col("file") == number)["row"] for number in range(len(tables)))


def _marked(odd: pl.DataFrame, data: DataParams, zone: str) -> pl.DataFrame:
    """The rows of the second pass through repeated hours.  Raises UserError for a pass that may be either.

    In series in ascending order, a time that does not advance begins the second pass; in descending order,
    the pass that comes first is the second.
    """
    keys = ["unique_id", pl.col("wall").dt.date().alias("date")]
    back = pl.col("begin") > pl.col("end")
    step = pl.col("wall").diff().over("unique_id", pl.col("wall").dt.date())
    turns = pl.when(back).then(step >= pl.duration()).otherwise(step <= pl.duration()).fill_null(False).cast(pl.Int64)
    odd = odd.with_columns(turn=turns.cum_sum().over("unique_id", pl.col("wall").dt.date()), back=back)
    hours = odd.group_by(keys, maintain_order=True).agg(
        pl.col("turn").max().alias("turns"), pl.col("wall").min().alias("low"), pl.col("wall").max().alias("high"),
        pl.col("oldest", "newest").first(),
    )  # fmt: skip
    begins, ends = pl.col("low") == pl.col("oldest"), pl.col("high") == pl.col("newest")
    unclear = hours.filter((pl.col("turns") > 1) | ((pl.col("turns") == 0) & ~begins & ~ends))
    if unclear.height:
        first = unclear.row(0, named=True)
        how = "once" if first["turns"] == 0 else "in an order that does not tell them apart"
        raise UserError(
            f"{data.where}: {first['low']:%Y-%m-%d %H:%M} of series {first['unique_id']!r} "
            f"stands there {how}, and clocks went back then in {zone} (data.time_zone), so that it came twice: give these "
            "times an offset, or leave the rows of that hour out"
        )
    odd = odd.join(
        hours.select("unique_id", "date", "turns", alone=ends.not_()),
        left_on=["unique_id", pl.col("wall").dt.date()], right_on=["unique_id", "date"], how="left", maintain_order="left",
    )  # fmt: skip
    two = pl.when(pl.col("back")).then(pl.col("turn") == 0).otherwise(pl.col("turn") == 1)
    return odd.filter(pl.when(pl.col("turns") == 1).then(two).otherwise(pl.col("alone")))
