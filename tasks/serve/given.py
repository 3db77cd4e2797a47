"""How a user's table names its series and writes its times, and forecasts returned in the same columns.

All written forecasts pass through here: the id columns, the time under the name of the time column, `cutoff`
like the time, `yhat` and its interval; names, types and zone are those of the table.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl

from params.errors import clipped
from tasks.grid.frequency import Frequency
from tasks.grid.written import Form, Moments, enough, form_of, moments
from tasks.load.files import collect
from tasks.load.ids import series_name
from tasks.load.source import KEYS, Source
from tasks.names import all_apart, column

SAMPLE = 10_000  # times from which a column's format is learnt


@dataclass(frozen=True)
class Given:
    """How a table names its series and writes its times: columns, each series' cells, each time's format.

    `series`: unique_id, and a column `0`, `1` ... for each of `ids`.  `zone`: the zone of naive times.
    """

    ids: tuple[str, ...]
    series: pl.DataFrame
    times: tuple[str, ...]
    forms: tuple[Form, ...]
    frequency: Frequency
    zone: str | None = None


@dataclass(frozen=True)
class Returned:
    """Forecasts in the user's columns, and which of those were renamed, in words."""

    rows: pl.DataFrame
    renamed: str | None = None


def given_in(source: Source) -> Given:
    """The form of a table, learnt from its rows.

    Text tables (CSV) are read as usual: whole numbers become numbers, everything else stays text.
    """
    data, frequency, zone = source.data, source.frequency, source.clock.zone
    ids = [column(name).alias(str(at)) for at, name in enumerate(data.ids)]
    times = [column(name).alias(str(at)) for at, name in enumerate(data.times)]
    names, rows = [], []
    for number, table in enumerate(source.tables):
        keyed = table.rows.select(series_name(table, data).alias("unique_id"), *ids)
        names.append(keyed.unique("unique_id", keep="first", maintain_order=True))
        lazy, time = source.clock.times(number, table, data)
        rows.append(lazy.select(*times, time.alias("ds")).unique())
    series = collect(pl.concat(names, how="vertical_relaxed"), data.where)
    series = series.unique("unique_id", keep="first", maintain_order=True)
    some = collect(pl.concat(rows, how="vertical_relaxed").drop_nulls("ds").top_k(SAMPLE, by="ds"), data.where)
    text = all(table.columns[data.target] == pl.String for table in source.tables)
    if text:
        series = series.with_columns(_as_numbers(series[name]) for name in series.columns[1:])
    at = moments(some["ds"], frequency, zone)
    columns = [some[str(number)].alias(name) for number, name in enumerate(data.times)]
    forms = [form_of(cells, at, zone, data.time_format) for cells in columns]
    if not text:
        forms = [replace(form, dtype=c.dtype) if c.dtype == pl.String else form for form, c in zip(forms, columns, strict=True)]
    return Given(data.ids, series, data.times, tuple(forms), frequency, zone)


def in_columns_of(given: Given, made: pl.DataFrame, out: Path | None = None, nixtla: bool = False) -> Returned:
    """Forecasts (unique_id, cutoff, ds, yhat ...) in a table's columns, sorted by series, cutoff and time.

    Text times keep their format if `out` is a CSV; otherwise they become dates and times.  `nixtla`: under
    `unique_id` and `ds`, still with the table's types.
    """
    if out is None or out.suffix.lower() != ".csv":
        given = replace(given, forms=tuple(form.typed() for form in given.forms))
    values = [name for name in made.columns if name not in (*KEYS, "cutoff")]
    named = made.select("unique_id").join(given.series, on="unique_id", how="left", maintain_order="left")
    ids = dict(zip(given.ids, named.get_columns()[1:], strict=True))
    times, cutoff = _times(given, made)
    if nixtla:
        only = next(iter(ids.values())) if len(ids) == 1 else made["unique_id"]
        ids, times = {"unique_id": only}, {"ds": next(iter(times.values())) if len(times) == 1 else on_clock(given, made["ds"])}
    key_cells = ids | times
    called = all_apart(key_cells, ("cutoff", *values))
    columns = [cells.alias(called[name]) for name, cells in key_cells.items()]
    keys = [cells.alias(str(at)) for at, cells in enumerate(ids.values())]
    order = made.select("unique_id", "cutoff", "ds").select(pl.arg_sort_by(*keys, "unique_id", "cutoff", "ds")).to_series()
    rows = pl.DataFrame([*columns, cutoff.alias("cutoff"), *(made[name] for name in values)])
    other = [f"{clipped(name)!r} is {clipped(new)!r}" for name, new in called.items() if new != name]
    note = f"in the forecasts your column {', '.join(other)}: those names are ours there" if other else None
    return Returned(rows[order], note)


def _times(given: Given, made: pl.DataFrame) -> tuple[dict[str, pl.Series], pl.Series]:
    """The time columns of forecasts, and their cutoffs in the same form (one column if there are several)."""
    at = moments(pl.concat([made["ds"], made["cutoff"]]), given.frequency, given.zone)
    if len(given.forms) > 1:
        here = moments(made["ds"], given.frequency, given.zone)
        columns = {name: form.write(here) for name, form in zip(given.times, given.forms, strict=True)}
        return columns, on_clock(given, made["cutoff"])
    ((name,), (form,)) = given.times, given.forms
    both = enough(form, at).write(at)
    return {name: both.head(made.height)}, both.tail(made.height)


def on_clock(given: Given, ds: pl.Series) -> pl.Series:
    """Times on the table's clock, in one column and without a zone."""
    at: Moments = moments(ds, given.frequency, given.zone)
    times = at.step if at.wall is None else at.wall
    assert times is not None
    return times


def _as_numbers(texts: pl.Series) -> pl.Series:
    """Texts as numbers if all of them are written that way, else unchanged (001 is text)."""
    for dtype in (pl.Int64, pl.Float64):
        numbers = texts.cast(dtype, strict=False)
        if (numbers.cast(pl.String) == texts).fill_null(False).all():
            return numbers
    return texts
