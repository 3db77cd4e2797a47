"""The rows that came since a version was made, next to those it was made from: drift of each feature, series missing or late.

Both are numbers in units of each series' training: less its mean at that place of the season, in its standard
deviations.  A season that training knew is then no drift, and no series counts more for being large.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from models.data.panel import Panel
from models.data.window import AHEAD
from tasks.grid.frequency import Frequency
from tasks.names import column
from tasks.registry.load import Version
from tasks.serve.drift import Drift, counted, drift, edges_of
from tasks.serve.realised import on_grid

SEASONS = 5  # seasons that the longest series must have, or its rows are not told apart by season
SHOWN = 30  # buckets of training in a picture, at least
ROUNDED = 6  # decimals: training holds features in 32 bits, and what only that changes is no change


@dataclass(frozen=True)
class Series:
    """Series of training that are `absent` now or `late` (with steps behind the newest row), and `new` ones.

    A series that had ended in training, more than a horizon before the newest row, is none of these.
    """

    absent: tuple[str, ...] = ()
    late: tuple[tuple[str, int], ...] = ()
    new: tuple[str, ...] = ()


@dataclass(frozen=True)
class Since:
    """What came since training: `rows`, `steps` of the grid and the `newest` time; `drifts` by feature.

    `times`: the start of each time bucket since, which `Drift.since` counts.  `courses`: of each feature that
    drifts, by bucket from training's last on (start, low, mid, high: deciles and median in training's units).
    `unit`: what a bucket is, days or steps.
    """

    rows: int
    steps: int
    newest: object
    times: pl.Series
    drifts: tuple[Drift, ...]
    series: Series
    courses: Mapping[str, pl.DataFrame] = field(default_factory=dict)
    unit: str = "steps"

    def began(self, drift: Drift) -> str:
        """The day or time at which a feature's drift began; empty without one."""
        return "" if drift.since is None else moment(self.times[drift.since])


def moment(time: object) -> str:
    """A time bucket in words: a day, a time that is not midnight, or a step."""
    text = str(time)
    return text[:10] if " 00:00:00" in text else text


def features_of(version: Version, panel: Panel) -> list[tuple[str, str]]:
    """(column of a table, channel of the panel) of everything that a version reads and that varies in time."""
    windows = version.facts.windows
    names = {name: name for name in windows.features if name != "y"}
    names |= {name: name + AHEAD for name in windows.future if name not in names}
    return [("y", "y"), *((name, channel) for name, channel in names.items() if channel in panel.channels)]


def since(version: Version, panel: Panel, table: pl.DataFrame, clock: str | None, season: int) -> Since:
    """Holds a table (a long frame with the columns that the version reads) against a version's panel.

    `clock`: the zone whose days are the time buckets of steps shorter than a day.
    """
    grid, features = Frequency.of(panel.facts), features_of(version, panel)
    trained = _trained(panel, features, grid)
    ends = trained.group_by("unique_id").agg(
        first=pl.col("ds").min(), last=pl.col("ds").max(), observed=pl.col("ds").filter(pl.col("f0").is_not_nan()).max(),
        day=grid.day(pl.col("ds")), rows=pl.len(),
    )  # fmt: skip
    here = _numbered(table, features)
    new = _gridded(here.join(ends, on="unique_id").filter(pl.col("ds") > pl.col("last")).select(here.columns), grid)
    if fill := version.facts.forward_fill:
        new = new.with_columns(pl.exclude("unique_id", "ds", "f0").forward_fill(fill).over("unique_id"))
    season = season if season > 1 and trained.height and ends["rows"].max() >= SEASONS * season else 1  # type: ignore[operator]
    place = grid.position(pl.col("ds"), pl.col("first"), pl.col("day")) % season
    trained, new = (rows.join(ends, on="unique_id").with_columns(slot=place) for rows in (trained, new))
    both = [_scaled(rows, trained, len(features)) for rows in (trained, new)]
    (old, _), (late, times) = (_bucketed(rows, grid, clock) for rows in both)
    drifts = tuple(_judged(name, f"f{n}", old, late) for n, (name, _) in enumerate(features))
    courses = {drift.feature: _course(f"f{n}", old, late) for n, drift in enumerate(drifts) if drift.since is not None}
    newest = here["ds"].max()
    steps = 0 if newest is None else max(_steps(grid, ends["last"].max(), newest), 0)
    series = _series(ends, here, grid, version.facts.windows.horizon)
    return Since(new.height, steps, newest, times, drifts, series, courses, "days" if _by_days(grid) else "steps")


def _trained(panel: Panel, features: Sequence[tuple[str, str]], grid: Frequency) -> pl.DataFrame:
    """unique_id, ds, f0 (y), f1 ...: a panel's rows without padding, NaN where missing."""
    counts, padding = np.diff(panel.offsets), panel.facts.start_padding
    place = np.arange(panel.offsets[-1]) - np.repeat(panel.offsets[:-1], counts)
    kept = np.flatnonzero(place >= padding)
    ids = pl.Series("unique_id", panel.ids, pl.String).gather(np.repeat(np.arange(len(panel.ids)), counts)[kept])
    columns = [
        pl.Series(f"f{n}", np.asarray(panel.target if channel == "y" else panel.channel(channel))[kept], pl.Float64)
        for n, (_, channel) in enumerate(features)
    ]
    return pl.DataFrame([ids, pl.Series("ds", np.asarray(panel.times)[kept]).cast(grid.dtype), *columns])


def _numbered(table: pl.DataFrame, features: Sequence[tuple[str, str]]) -> pl.DataFrame:
    """The same columns of a table up to each series' last target; a column that it lacks is missing throughout."""
    given = [
        (column(name) if name in table.columns else pl.lit(None)).cast(pl.Float64).fill_nan(None).alias(f"f{n}")
        for n, (name, _) in enumerate(features)
    ]
    rows, ds = table.select("unique_id", "ds", *given), pl.col("ds")
    return rows.filter(ds <= ds.filter(pl.col("f0").is_not_null()).max().over("unique_id")).sort("unique_id", "ds")


def _gridded(rows: pl.DataFrame, grid: Frequency) -> pl.DataFrame:
    """Rows with one for each missing step, as a panel has."""
    return rows if rows.is_empty() else on_grid(rows, grid)


def _scaled(rows: pl.DataFrame, trained: pl.DataFrame, count: int) -> pl.DataFrame:
    """Rows in units of their series' training."""
    names = [f"f{n}" for n in range(count)]
    trained = trained.with_columns(pl.col(names).fill_nan(None))
    means = trained.group_by("unique_id", "slot").agg(pl.col(name).mean().alias(f"{name} mean") for name in names)
    whole = trained.group_by("unique_id").agg(pl.col(name).mean().alias(f"{name} whole") for name in names)
    trained = trained.join(means, on=["unique_id", "slot"])
    spread = trained.group_by("unique_id").agg(
        (pl.col(name) - pl.col(f"{name} mean")).std().alias(f"{name} spread") for name in names
    )
    rows = rows.join(means, on=["unique_id", "slot"], how="left").join(whole, on="unique_id", how="left")
    rows = rows.join(spread, on="unique_id", how="left", maintain_order="left")
    return rows.select("unique_id", "ds", *(_standardised(name) for name in names))


def _standardised(name: str) -> pl.Expr:
    level = pl.coalesce(f"{name} mean", f"{name} whole", 0.0)
    size, spread = pl.max_horizontal(level.abs(), 1.0), pl.col(f"{name} spread").fill_null(0.0)
    unit = pl.when(spread > 1e-9 * size).then(spread).otherwise(size)
    return ((pl.col(name).fill_nan(None) - level) / unit).round(ROUNDED).alias(name)


def _by_days(grid: Frequency) -> bool:
    """Whether several steps make a day, and days are the buckets."""
    return not isinstance(grid.span, int) and not grid.by_day


def _bucketed(rows: pl.DataFrame, grid: Frequency, clock: str | None) -> tuple[pl.DataFrame, pl.Series]:
    """Rows with the number of their time bucket, and the buckets' starts."""
    ds = pl.col("ds")
    if _by_days(grid):
        ds = ds.dt.convert_time_zone(clock or "UTC").dt.truncate("1d")
    rows = rows.with_columns(start=ds)
    times = rows["start"].unique().sort()
    numbers = pl.DataFrame({"start": times, "bucket": pl.Series(np.arange(len(times)), dtype=pl.Int64)})
    return rows.join(numbers, on="start", how="left", maintain_order="left"), times


def _judged(feature: str, name: str, old: pl.DataFrame, late: pl.DataFrame) -> Drift:
    values = [rows[name].fill_null(np.nan).to_numpy() for rows in (old, late)]
    edges = edges_of(values[0])
    counts = [
        counted(column, rows["bucket"].to_numpy(), int(rows["bucket"].max() or 0) + 1, edges)  # type: ignore[arg-type]
        for column, rows in zip(values, (old, late), strict=True)
    ]
    return drift(feature, *counts)


def _course(name: str, old: pl.DataFrame, late: pl.DataFrame) -> pl.DataFrame:
    """A feature by bucket: since training, and in as many buckets of training (SHOWN at least)."""
    kept = old["start"].unique().sort().tail(max(late["start"].n_unique(), SHOWN))
    rows = pl.concat([old.filter(pl.col("start") >= kept[0]), late]) if len(kept) else late
    value = pl.col(name).drop_nulls()
    deciles = {"low": value.quantile(0.1), "mid": value.median(), "high": value.quantile(0.9)}
    return rows.group_by("start").agg(**deciles).sort("start")


def _steps(grid: Frequency, first: object, last: object) -> int:
    return int(pl.select(grid.position(pl.lit(last, grid.dtype), pl.lit(first, grid.dtype))).item())


def _series(ends: pl.DataFrame, here: pl.DataFrame, grid: Frequency, horizon: int) -> Series:
    """Which series of training are gone or behind, and which are new."""
    now = here.group_by("unique_id").agg(now=pl.col("ds").max())
    new = now.join(ends, on="unique_id", how="anti")["unique_id"].sort().to_list()
    if ends.is_empty() or now.is_empty():
        return Series(tuple(ends["unique_id"].sort().to_list()), (), tuple(new))
    known, newest = ends.join(now, on="unique_id", how="left"), now["now"].max()
    top = known["observed"].max()
    before = grid.position(pl.lit(top, grid.dtype), pl.col("observed"))
    behind = grid.position(pl.lit(newest, grid.dtype), pl.col("now"))
    known = known.with_columns(before=before, behind=behind).filter(pl.col("before") <= horizon).sort("unique_id")
    late = known.filter(pl.col("behind") > pl.max_horizontal("before", 1)).select("unique_id", "behind")
    return Series(tuple(known.filter(pl.col("now").is_null())["unique_id"]), tuple(late.iter_rows()), tuple(new))
