"""Calendar features: sine and cosine of the hour, weekday, day or month, and 1 on holidays."""

import numpy as np
import polars as pl

from models.data.window import CALENDAR, HOLIDAY
from tasks.grid.frequency import Frequency
from tasks.grid.zone import to_wall

DAY = 86400 * 10**6  # microseconds
FIRST_WEEKDAY = 3  # 1970-01-01 was a Thursday; Monday is 0


def calendar_columns(times: np.ndarray, name: str, frequency: Frequency) -> tuple[np.ndarray, ...]:
    """The channels [rows], float32, of a calendar feature: its two waves or, for holiday, one of 1 and 0.

    `times`: int64 [rows], microseconds since 1970 as in the panel.  Holidays are days in the table's zone.
    """
    if name != HOLIDAY:
        return calendar_waves(times, name)
    if not frequency.by_day and frequency.zone:
        wall = pl.Series(times).cast(frequency.dtype).to_frame("ds").select(to_wall(pl.col("ds"), frequency.zone))
        times = wall["ds"].to_physical().to_numpy()
    return (np.isin(times // DAY, np.array(frequency.holidays, "datetime64[D]").astype(np.int64)).astype(np.float32),)


def calendar_waves(times: np.ndarray, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Sine and cosine [rows], float32, of a calendar feature (a key of CALENDAR) at `times`, int64 in microseconds.

    hour includes minutes; monthday, yearday and month count from 0; a whole period is an angle of 2 pi.
    """
    days = times // DAY
    steps: np.ndarray
    if name == "hour":
        phase, steps = times // (60 * 10**6) % 1440, np.arange(1440) / 60
    elif name == "weekday":
        phase, steps = (days + FIRST_WEEKDAY) % 7, np.arange(7)
    else:
        phase, steps = _since(days, name), np.arange(366)
    angle = 2 * np.pi * steps / CALENDAR[name]  # a lookup table: few angles, repeated millions of times
    return np.sin(angle).astype(np.float32)[phase], np.cos(angle).astype(np.float32)[phase]


def _since(days: np.ndarray, name: str) -> np.ndarray:
    """Days since the start of the month or year, or months since the start of the year."""
    date = days.astype("datetime64[D]")
    if name == "month":
        return np.asarray(date.astype("datetime64[M]").astype(np.int64) % 12)
    begin = date.astype("datetime64[M]" if name == "monthday" else "datetime64[Y]").astype("datetime64[D]")
    return np.asarray((date - begin).astype(np.int64))
