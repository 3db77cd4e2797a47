"""What each column of a table may be: time, name of the series, target, feature."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import polars as pl

from models.data.window import CALENDAR
from params.errors import UserError
from params.section import RESERVED
from tasks.grid.times import parse_time
from tasks.load.cells import cleaned
from tasks.load.files import Table, collect

TRIED = 2_000  # rows in which a text column must hold nothing but times
TIME_NAMES = ("ds", "timestamp", "datetime", "date", "time", "period", "t", "step", "week", "month", "year", "hour", "day")
ID_NAMES = ("unique_id", "item_id", "series_id", "id", "series", "name", "item", "sku", "store", "station", "product", "sensor")
TARGET_NAMES = ("y", "target", "value", "sales", "demand", "load", "cnt", "count", "quantity", "sold", "consumption", "price")
ROW_NUMBERS = ("", "unnamed: 0", "rownames")  # the row numbers that other programs add to a table
CALENDAR_NAMES = {"hour", "hr", "weekday", "dayofweek", "day", "dayofyear", "week", "month", "mnth", "quarter", "year", "yr"}
MOST_NULL = 0.2  # params/base.yaml drops a feature with more

Kind = Literal["time", "whole", "number", "text", "empty", "other"]


@dataclass(frozen=True)
class Column:
    """One column: what it holds, its share of nulls, and about how many distinct values."""

    name: str
    kind: Kind
    null_share: float
    distinct: int


@dataclass(frozen=True)
class Roles:
    """Which column is what: `target` is the first of `targets`; `static` are constant for a series; `left` were left out."""

    time: str
    ids: tuple[str, ...]
    targets: tuple[str, ...]
    features: tuple[str, ...]
    static: tuple[str, ...]
    left: tuple[str, ...]

    @property
    def target(self) -> str:
        """The column that is forecast."""
        return self.targets[0]


def columns_of(tables: Sequence[Table]) -> tuple[list[Column], int]:
    """Every column of the table but row numbers, in order, and the number of rows; one pass."""
    first = tables[0]
    names = [name for name in first.columns if name.strip().lower() not in ROW_NUMBERS]
    for name in names:
        if name == "*" or (name.startswith("^") and name.endswith("$")):
            raise UserError(f"{first.name}: a column cannot be called {name!r}, which is a pattern to polars: rename it")
    rows = pl.concat([table.rows.select(names) for table in tables], how="vertical_relaxed")
    schema = rows.collect_schema()
    facts = collect(
        rows.select(pl.len().alias("rows"), *(e for i, name in enumerate(names) for e in _facts(i, name, schema))), first.name
    )
    found = facts.row(0, named=True)
    if not found["rows"]:
        raise UserError(f"{first.name}: a header and no rows; give a table with rows")
    head = collect(rows.head(TRIED), first.name)
    columns = []
    for i, name in enumerate(names):
        numbers = {fact: found[f"{fact}:{i}"] for fact in ("filled", "numbers", "whole", "truths", "distinct")}
        empty = 1 - numbers["filled"] / found["rows"]
        columns.append(Column(name, _kind(schema[name], numbers, head[name]), empty, numbers["distinct"]))
    return columns, found["rows"]


def _facts(i: int, name: str, schema: pl.Schema) -> list[pl.Expr]:
    dtype, column = schema[name], pl.col(name)
    text = dtype in (pl.String, pl.Categorical, pl.Enum)
    if text:
        column = cleaned(column.cast(pl.String))
    simple = not (dtype.is_nested() or dtype in (pl.Object, pl.Binary))
    counts = simple and not dtype.is_temporal()
    number = column.cast(pl.Float64, strict=False).fill_nan(None) if counts else pl.lit(None, pl.Float64)
    return [
        column.count().alias(f"filled:{i}"),
        number.count().alias(f"numbers:{i}"),
        (number == number.floor()).sum().alias(f"whole:{i}"),
        (column.str.to_lowercase().is_in(("true", "false")).sum() if text else pl.lit(0)).alias(f"truths:{i}"),
        (column.approx_n_unique() if simple else pl.lit(0)).alias(f"distinct:{i}"),
    ]


def _kind(dtype: pl.DataType, found: dict[str, int], head: pl.Series) -> Kind:
    if not found["filled"]:
        return "empty"
    if isinstance(dtype, pl.Datetime) or dtype == pl.Date:
        return "time"
    if dtype in (pl.String, pl.Categorical, pl.Enum):
        if found["truths"] == found["filled"]:
            return "whole"
        if found["numbers"] == found["filled"]:
            return "whole" if found["whole"] == found["filled"] else "number"
        text = head.cast(pl.String).drop_nulls()
        times = text.to_frame("t").select(parse_time(pl.col("t"))).to_series() if len(text) else text
        return "time" if len(times) and not times.null_count() else "text"
    if dtype.is_integer():
        return "whole"
    return "number" if dtype.is_numeric() or dtype == pl.Boolean else "other"


def _by_name(columns: Sequence[Column], hints: Sequence[str]) -> list[Column]:
    """The columns with the hinted names first, in the order of the hints; a name that ends in a hint comes next."""

    def rank(column: Column) -> tuple[int, int]:
        words = [word for word in re.split(r"[^a-z0-9]+", re.sub(r"([a-z])([A-Z])", r"\1_\2", column.name).lower()) if word]
        whole = column.name.lower()
        if whole in hints:
            return 0, hints.index(whole)
        return (1, min(hints.index(w) for w in words if w in hints)) if set(words) & set(hints) else (2, 0)

    return sorted(columns, key=rank)


def time_of(columns: Sequence[Column]) -> Column | None:
    """The time column: one that holds times, or else whole numbers under a name that says time."""
    times = _by_name([c for c in columns if c.kind == "time" and not c.null_share], TIME_NAMES)
    whole = [c for c in columns if c.kind == "whole" and not c.null_share and c.distinct > 2]
    named = [c for c in _by_name(whole, TIME_NAMES) if c.name.lower() in TIME_NAMES]
    return next(iter([*times, *named]), None)


def ids_of(tables: Sequence[Table], columns: Sequence[Column], rows: int, time: Column) -> tuple[str, ...]:
    """The columns that name the series: none where each time stands once, one, or two that do it together.

    Raises UserError where no such columns make the times unique: there are duplicates.
    """

    def repeated(*names: str) -> int:
        found = pl.concat([table.rows.select(time.name, *names) for table in tables], how="vertical_relaxed")
        return rows - int(collect(found.select(pl.struct(pl.all()).n_unique()), tables[0].name).item())

    twice = repeated()
    if not twice:
        return ()
    may = [
        c for c in columns if c.kind in ("text", "whole") and c is not time and not c.null_share and 1 < c.distinct <= rows / 2
    ]
    texts, numbers = ([c for c in _by_name(may, ID_NAMES) if c.kind == kind] for kind in ("text", "whole"))
    named = [
        c for c in numbers if re.search(r"(^|[^a-z])(id|store|item|sku|station|series|product|sensor|shop)\d*$", c.name.lower())
    ]
    alone = {c.name: repeated(c.name) for c in [*texts, *named][:12]}
    if not alone:
        raise UserError(
            f"{tables[0].name}: column {time.name!r} repeats a time in {twice:,} rows and no column names the series: "
            "keep one row a time, or add a column with the name of the series"
        )
    for name, count in alone.items():
        if not count:
            return (name,)
    for pair in combinations(list(alone)[:6], 2):
        if not repeated(*pair):
            return pair
    best = min(alone, key=lambda name: alone[name])
    raise UserError(
        f"{tables[0].name}: {alone[best]:,} rows repeat a time ({time.name!r}) of the same series ({best!r}): keep one row a "
        "series and time, or add a column that tells these series apart"
    )


def roles_of(columns: Sequence[Column], static: Sequence[str], time: str, ids: tuple[str, ...], source: str) -> Roles:
    """Who is target and who is feature.  `static`: numeric columns that are constant within each series.

    Raises UserError where no column can be a target.
    """
    rest = [c for c in columns if c.name != time and c.name not in ids]
    numbers = [c for c in rest if c.kind in ("whole", "number") and c.distinct > 1 and c.name not in static]
    if not numbers:
        raise UserError(
            f"{source}: no column can be the target: it needs one with numbers that change (columns found: "
            f"{', '.join(repr(c.name) for c in columns)[:300]})"
        )
    likely = [c for c in numbers if c.distinct > 2 and c.name.lower() not in CALENDAR_NAMES and c.null_share <= MOST_NULL]
    ranked = [*_by_name(likely, TARGET_NAMES), *(c for c in numbers if c not in likely)]
    waves = {f"{name}_{wave}" for name in CALENDAR for wave in ("sin", "cos")}
    forbidden = {*RESERVED, *waves, "y"}
    usable = [
        c.name
        for c in numbers
        if c is not ranked[0] and c.null_share <= MOST_NULL and c.name not in forbidden and c.name.lower() not in CALENDAR_NAMES
    ]  # fmt: skip
    used = {ranked[0].name, *usable, *static}
    left = tuple(c.name for c in rest if c.name not in used)
    return Roles(time, ids, tuple(c.name for c in ranked), tuple(usable), tuple(static), left)


def constant_within(rows: pl.LazyFrame, names: Sequence[str], name: str) -> list[str]:
    """Those of the number columns of a long frame that never change within a series."""
    if not names:
        return []
    value = {n: pl.col(n).cast(pl.Float64, strict=False) for n in names}
    spread = rows.group_by("unique_id").agg((value[n].max() - value[n].min()).alias(n) for n in names)
    constant = collect(spread.select((pl.col(n).fill_null(0) == 0).all() for n in names), name).row(0)
    return [n for n, same in zip(names, constant, strict=True) if same]
