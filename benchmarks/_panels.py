"""The tables of `benchmarks.defaults`: public panels, thinned by one rule, and generated ones with known structure; polars and
numpy, nothing of ours but where the shipped file lies.

The rule: of rows that repeat a series and time the first is kept; a panel has at most 25,000 rows.  Where it has more: of more
than 100 series every k-th in the order of their names, k the smallest that does it; of fewer series the newest rows of each,
the same number of each.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import numpy as np
import polars as pl
from polars import selectors as cs
from scipy.signal import lfilter

MOST_ROWS, MANY = 25_000, 100  # rows of a panel; series, of more of which some are left out
KEYS = ("unique_id", "ds", "y")
SHIPPED = Path(__file__).resolve().parents[1] / "data" / "nyc_weather.parquet"


@dataclass(frozen=True)
class Source:
    """A file of a public panel in the long format.  `only`: column -> the value of the rows that belong to it; `covariates`:
    whether its other columns are kept."""

    file: str
    only: dict[str, str] = field(default_factory=dict)
    covariates: bool = False


SOURCES = {
    "etth1": Source("etth1_to_test_end.parquet"),
    "ettm1": Source("ettm1_to_test_end.parquet"),
    "weather": Source("weather.parquet"),
    "m4_weekly": Source("m4_weekly_train.parquet"),
    "m4_hourly": Source("m4_hourly_train.parquet"),
    "m1_monthly": Source("m1.parquet", only={"period": "MONTHLY"}),
    "bike": Source("bike_sharing_hourly.parquet", covariates=True),
    "beijing": Source("beijing_air_quality.parquet", covariates=True),
}
NYC = "nyc"
PANELS = (*SOURCES, NYC)
HELD_OUT = ("bike", "beijing")  # no default was ever tuned on these


def file_of(name: str, folder: Path | None) -> Path | None:
    """The file of a panel in a folder, by its own name there or as `<panel>.parquet`; None where there is none."""
    if name == NYC:
        return SHIPPED
    names = (SOURCES[name].file, f"{name}.parquet")
    return next((folder / candidate for candidate in names if (folder / candidate).is_file()), None) if folder else None


def read(name: str, file: Path) -> pl.DataFrame:
    """A panel as it is compared: its own rows and columns, thinned.  The shipped one stays as it is."""
    frame = pl.read_parquet(file)
    if name == NYC:
        return frame
    source = SOURCES[name]
    frame = frame.with_columns((cs.by_name("unique_id") | cs.categorical() | cs.enum()).cast(pl.String))
    for column, value in source.only.items():
        frame = frame.filter(pl.col(column) == value) if column in frame.columns else frame
    return thinned(frame if source.covariates else frame.select(KEYS))


def thinned(frame: pl.DataFrame, most: int = MOST_ROWS, many: int = MANY) -> pl.DataFrame:
    """The rows that the rule leaves, by series and time."""
    frame = frame.unique(["unique_id", "ds"], keep="first", maintain_order=True).sort("unique_id", "ds")
    if frame.height <= most:
        return frame
    lengths = frame.group_by("unique_id").len().sort("unique_id")
    if lengths.height <= many:
        return frame.group_by("unique_id", maintain_order=True).tail(most // lengths.height).select(frame.columns)
    k = next(k for k in range(2, lengths.height + 1) if lengths["len"].gather_every(k).sum() <= most)
    return frame.filter(pl.col("unique_id").is_in(lengths["unique_id"].gather_every(k).implode()))


@dataclass(frozen=True)
class Kind:
    """A kind of generated table: its maker, the season that MASE is scaled by, and the rows of each series that come after the
    table, which no command sees before they are scored."""

    make: Callable[[np.random.Generator], pl.DataFrame]
    season: int
    ahead: int


def monthly(
    rng: np.random.Generator, series: int = 200, shortest: int = 36, longest: int = 84, ahead: int = 12
) -> pl.DataFrame:
    """Series of 36 to 84 months (and `ahead` more) that end together: level, growth, a season near one of four shared ones, a
    random walk and noise, all multiplied."""
    months = longest + ahead
    t, lengths = np.arange(months), rng.integers(shortest, longest + 1, series) + ahead
    shared = rng.normal(size=(4, 12))
    figure = (shared - shared.mean(1, keepdims=True))[rng.integers(4, size=series)] + 0.4 * rng.normal(size=(series, 12))
    walk = np.cumsum(rng.uniform(0, 0.03, (series, 1)) * rng.normal(size=(series, months)), 1)
    noise = rng.uniform(0.03, 0.10, (series, 1)) * rng.normal(size=(series, months))
    logs = rng.normal(5, 1.2, (series, 1)) + rng.normal(0.003, 0.006, (series, 1)) * t + walk + noise
    logs += rng.uniform(0.05, 0.35, (series, 1)) * figure[:, t % 12]
    return _long("m", _times(1, "mo", months), np.exp(logs).round(2), lengths)


def retail(rng: np.random.Generator, series: int = 50, days: int = 730, ahead: int = 28) -> pl.DataFrame:
    """Counts a day: a weekly and a yearly season, a level that walks, and promotions of 3 to 7 days every 20 to 60 that no
    column tells; small shops sell nothing on many days."""
    total = days + ahead
    t, week = np.arange(total), np.array([0.8, 0.75, 0.8, 0.9, 1.2, 1.5, 1.3])
    pauses, lengths = (rng.integers(low, high, (series, total // 23 + 1)) for low, high in ((20, 60), (3, 8)))
    spans = np.stack([pauses, lengths], 2).reshape(series, -1)
    promoted = np.stack([np.repeat(np.arange(spans.shape[1]) % 2, span)[:total] for span in spans])
    level = np.exp(rng.normal(1.5, 1.0, (series, 1)) + np.cumsum(rng.normal(0, 0.01, (series, total)), 1))
    yearly = 1 + rng.uniform(0, 0.4, (series, 1)) * np.sin(2 * np.pi * t / 365 + rng.uniform(0, 2 * np.pi, (series, 1)))
    mean = level * week[t % 7] ** rng.uniform(0.4, 1.4, (series, 1)) * yearly
    mean = mean * (1 + promoted * rng.uniform(0.5, 1.5, (series, 1)))
    return _long("s", _times(1, "d", total), rng.negative_binomial(5, 5 / (5 + mean)))


def energy(rng: np.random.Generator, series: int = 3, days: int = 120, ahead: int = 96) -> pl.DataFrame:
    """Load every quarter of an hour: a day, a weekend, weather that walks and returns, and autoregressive noise."""
    total = 96 * days + ahead
    t = np.arange(total)
    day, weekend = t % 96 / 96, t // 96 % 7 >= 5
    shape = 1 + 0.35 * np.sin(2 * np.pi * (day - 0.3)) + 0.2 * np.sin(4 * np.pi * (day - 0.1))
    shape = shape * np.where(weekend, rng.uniform(0.6, 0.85, (series, 1)), 1.0)
    walk = np.cumsum(rng.normal(0, 0.15, (series, total)), 1)
    sums = np.cumsum(np.pad(walk, ((0, 0), (1, 0))), 1)
    first = np.maximum(0, t + 1 - 20 * 96)  # of the 20 days up to a row
    weather = walk - (sums[:, t + 1] - sums[:, first]) / (t + 1 - first)
    noise = lfilter([1.0], [1.0, -0.97], rng.normal(0, 0.02, (series, total)), axis=1) + rng.normal(0, 0.02, (series, total))
    load = 100 * np.arange(1, series + 1)[:, None] * (shape * (1 + 0.04 * weather) + noise)
    return _long("e", _times(15, "m", total), load.round(2))


def _times(step: int, unit: str, count: int) -> pl.Series:
    """So many times from a Monday on, the first day of a year."""
    return pl.Series([datetime(2018, 1, 1)] * count).dt.offset_by(pl.Series([f"{n * step}{unit}" for n in range(count)]))


def _long(letter: str, times: pl.Series, values: np.ndarray, lengths: np.ndarray | None = None) -> pl.DataFrame:
    """unique_id, ds, y of series that end together, each with its newest `lengths` rows."""
    series, total = values.shape
    ids = [f"{letter}{number:03}" for number in range(series)]
    there = np.arange(total) >= total - (np.full(series, total) if lengths is None else lengths)[:, None]
    frame = pl.DataFrame({"unique_id": np.repeat(ids, total), "ds": pl.concat([times] * series), "y": values.ravel()})
    return frame.filter(pl.Series(there.ravel()))


KINDS = {"monthly": Kind(monthly, 12, 12), "retail": Kind(retail, 7, 28), "energy": Kind(energy, 672, 96)}


def generated(name: str, seed: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """A table of a kind, and the rows that come after it."""
    kind = KINDS[name]
    frame = kind.make(np.random.default_rng([seed, *name.encode()]))
    place = pl.int_range(pl.len()).over("unique_id")
    ahead = place >= pl.len().over("unique_id") - kind.ahead
    return frame.filter(~ahead), frame.filter(ahead)


def mase(history: pl.DataFrame, actual: pl.DataFrame, forecast: str, season: int) -> float | None:
    """The mean over series of the MAE of a column of `actual` (unique_id, ds, y and forecasts; rows without one are left out)
    over the mean step of `season` rows in the history; without series whose scale is 0."""
    step = (pl.col("y") - pl.col("y").shift(season)).abs().mean()
    scale = history.sort("unique_id", "ds").group_by("unique_id", maintain_order=True).agg(scale=step)
    errors = actual.select("unique_id", error=(pl.col("y") - pl.col(forecast)).abs()).drop_nulls()
    both = errors.group_by("unique_id").agg(pl.col("error").mean()).join(scale, on="unique_id").filter(pl.col("scale") > 0)
    value = both.select((pl.col("error") / pl.col("scale")).mean()).item()
    return None if value is None else float(value)
