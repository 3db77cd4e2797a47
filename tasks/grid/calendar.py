"""The calendar: sine and cosine of the hour, the weekday, the day or the month of a time, and whether it is a holiday."""

import numpy as np
import polars as pl

from models.data.window import CALENDAR, HOLIDAY
from tasks.grid.frequency import Frequency
from tasks.grid.zone import to_wall

DAY = 86400 * 10**6  # microseconds
FIRST_WEEKDAY = 3  # 1970-01-01 was a Thursday; Monday is 0


def calendar_columns(times: np.ndarray, name: str, frequency: Frequency) -> tuple[np.ndarray, ...]:
    """The channels [rows], float32, of a calendar feature at the `times` of a panel: its waves, or 1 on a holiday and else 0.

    A day is that of the table's zone.
    """
    if name != HOLIDAY:
        return calendar_waves(times, name)
    if not frequency.by_day and frequency.zone:
        shown = pl.Series(times).cast(frequency.dtype).to_frame("ds").select(to_wall(pl.col("ds"), frequency.zone))
        times = shown["ds"].to_physical().to_numpy()
    return (np.isin(times // DAY, np.array(frequency.holidays, "datetime64[D]").astype(np.int64)).astype(np.float32),)


def calendar_waves(times: np.ndarray, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Sine and cosine [rows], float32, of a calendar feature (a key of CALENDAR); `times` int64 in microseconds.

    hour counts its minutes, monthday, yearday and month count from 0; the angle of a whole period is 2 pi.
    """
    days = times // DAY
    steps: np.ndarray
    if name == "hour":
        number, steps = times // (60 * 10**6) % 1440, np.arange(1440) / 60
    elif name == "weekday":
        number, steps = (days + FIRST_WEEKDAY) % 7, np.arange(7)
    else:
        number, steps = _since(days, name), np.arange(366)
    angle = 2 * np.pi * steps / CALENDAR[name]  # a table: the same few angles come millions of times
    return np.sin(angle).astype(np.float32)[number], np.cos(angle).astype(np.float32)[number]


def _since(days: np.ndarray, name: str) -> np.ndarray:
    """Days since the month or year began, or months since the year did."""
    date = days.astype("datetime64[D]")
    if name == "month":
        return np.asarray(date.astype("datetime64[M]").astype(np.int64) % 12)
    begin = date.astype("datetime64[M]" if name == "monthday" else "datetime64[Y]").astype("datetime64[D]")
    return np.asarray((date - begin).astype(np.int64))
