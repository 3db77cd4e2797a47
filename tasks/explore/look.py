"""Looks at a table: its columns, step, gaps, season and likely target."""

import glob
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from datetime import time as midnight
from functools import partial
from pathlib import Path

import polars as pl

from params.data import DataParams, no_table
from params.errors import UserError
from params.shown import shown, visible
from tasks.explore.asked import Asked
from tasks.explore.clocks import clocks_went_back, on_its_clock
from tasks.explore.columns import Column, columns_of, constant_within, ids_of
from tasks.explore.counts import row_numbers
from tasks.explore.draft import MOST_FEATURES, Draft, name_of, some
from tasks.explore.nature import nature_of
from tasks.explore.pace import paced
from tasks.explore.rhythm import Grid, grid_of, seasons_of, some_series, span_of
from tasks.explore.roles import Roles, check_numbers, roles_of
from tasks.explore.sizes import best_season, sizes_of
from tasks.explore.times import Times, no_time, times_of
from tasks.explore.wide import Form, Wide, column_a_series, melt, row_a_series
from tasks.files import ROOT
from tasks.grid.frequency import Frequency
from tasks.grid.zone import to_wall
from tasks.load.keys import check_keys
from tasks.load.remote import address_of
from tasks.load.source import KEYS, Source, look_into, scan_series

MELT = "add --melt to write it long and a run file for that"


@dataclass(frozen=True)
class Found:
    """What was found in a table, and the draft of its run file.  `melted`: the long table written for it.

    `counted`: row number columns, which are not used.
    """

    draft: Draft
    nulls: dict[str, float]
    wide: Wide | None = None
    melted: Path | None = None
    counted: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The run file."""
        return self.draft.text()

    def facts(self) -> list[tuple[str, str]]:
        """The main findings as pairs of a word and a sentence."""
        draft = self.draft
        grid, roles, sizes, pace = draft.grid, draft.roles, draft.sizes, draft.pace
        lengths = grid.lengths
        series = f"{len(lengths):,} ({' and '.join(map(visible, roles.ids))})" if roles.ids else "1 (no column names a series)"
        each = f"{lengths[0]:,}" if lengths[0] == lengths[-1] else f"{lengths[0]:,} to {lengths[-1]:,}"
        gaps = f"{grid.missing:,} steps missing in {grid.gappy:,} series, at most {grid.worst_gap_share:.1%} of one"
        shares = ", ".join(f"{visible(name)} {max(share, 0.001):.1%}" for name, share in self.nulls.items() if share)
        strengths = ", ".join(f"{s} ({v:.2f})" for s, v in draft.seasons.items())
        seen = f"{sizes.lookback:,} samples of y in" + (f" ({sizes.reach:,} rows)" if sizes.rate > 1 else "")
        findings = [
            ("series", f"{series}, {each} steps each"),
            ("rows", f"{grid.rows:,}, {_time_text(grid.first)} to {_time_text(grid.last)}"),
            (
                "time",
                f"{' and '.join(map(visible, roles.times))}, every {grid.span}"
                + (f"; {draft.times.took}" if draft.times and draft.times.took else ""),
            ),
            ("gaps", gaps if grid.missing else "none"),
            ("nulls", shares or "none"),
            (
                "season",
                f"{best_season(draft.seasons)} steps (autocorrelation: {strengths})" if draft.seasons else "none is clear",
            ),
            (
                "target",
                f"{visible(roles.target)} ({roles.why})"
                + (f"; another by --target: {some(roles.others, 5)}" if roles.others else ""),
            ),
            ("features", ", ".join(("y", *map(visible, draft.features[:8]))) + (" ..." if len(draft.features) > 8 else "")),
            (
                "windows",
                f"{seen}, {sizes.horizon:,} steps out" + (f"; {sizes.padding} rows of padding" if sizes.padding else ""),
            ),
            ("a run", f"{len(pace.variants)} variants, {pace.words(sizes)}"),
        ]
        ahead = [("known ahead?", f"{some(roles.ahead, 5)}: if so, uncomment future: in the file")] if roles.ahead else []
        static = [("static", some(tuple(roles.static), 5))] if roles.static else []
        numbers = [("left out", f"{some(self.counted, 5)}: row numbers")] if self.counted else []
        return [*findings[:8], *ahead, *static, *numbers, *findings[8:]]


def _as_shown(grid: Grid, zone: str | None) -> Grid:
    """The same grid with its ends on the table's own clock."""
    if isinstance(grid.span, int) or Frequency(grid.span).by_day:
        return grid
    ends = pl.DataFrame({"ends": [grid.first, grid.last]}).select(to_wall(pl.col("ends"), zone)).to_series()
    return replace(grid, first=ends[0], last=ends[1])


def _time_text(time: object) -> str:
    """A grid's time for people, without a meaningless clock."""
    if not isinstance(time, datetime):
        return str(time)
    return f"{time:%Y-%m-%d}" if time.time() == midnight() else f"{time:%Y-%m-%d %H:%M:%S}".removesuffix(":00")


def look_at(path: str, out: Path, melting: bool, asked: Asked) -> Found:
    """Looks at the table at `path` and drafts a run file for it; `asked` is respected, the rest guessed.

    If `melting`, a wide table is written long next to `out`.  Raises UserError if it cannot be forecast.
    """
    try:
        path.encode()
    except UnicodeEncodeError:
        raise UserError(f"{path}: a name that is no UTF-8 cannot stand in a run file; rename it") from None
    source = look_into(DataParams(path=settled(path), time="time", target="y", frequency="1h"), known=asked.form)
    asked = asked if melting else asked.of(source.columns)
    columns, rows = columns_of(source.tables)
    check_numbers(columns, asked)
    free = [c for c in columns if c.name not in (asked.target, *asked.future, *asked.static)]
    times = times_of(source.tables, free, asked)
    times = times and replace(times, zone=asked.zone)
    spoken = {*(times.names if times else ()), *asked.names}
    counted = row_numbers(source.tables, columns, rows, (), spoken) if times else []
    columns, free = ([c for c in kept if c.name not in counted] for kept in (columns, free))
    why = partial(clocks_went_back, source, times)
    ids = ids_of(source.tables, free, rows, times.names, asked.ids, why, asked.zone is not None) if times else ()
    counted += row_numbers(source.tables, columns, rows, ids, spoken) if ids else []
    columns = [c for c in columns if c.name not in counted]
    wide = None if asked.ids or asked.target else _wide_of(columns, rows, times, ids)
    if times is None and wide is None:
        raise no_time(path, source.tables, columns)
    if melting and wide is None:
        raise UserError(f"{path}: this table is long already: leave --melt out")
    if melting and wide is not None:
        melted = out.with_suffix(".long.parquet")
        melt(source.tables, wide, melted)
        return replace(
            look_at(str(melted.absolute()), out, False, replace(Asked(), horizon=asked.horizon)), wide=wide, melted=melted
        )
    if wide is not None and wide.form is not Form.COLUMN_PER_SERIES:
        raise UserError(f"{path}: {wide.sentence}; {MELT}")
    assert times is not None, "a table without a time was refused above"
    source = replace(source, data=_keys(source.data, columns, times, ids, asked))
    findings = _findings(path, source, columns, asked)
    left = (f"  # row numbers, not used: {some(counted)}",) if counted else ()
    draft = replace(findings.draft, times=times, where=(*findings.draft.where, *left))
    return replace(findings, draft=draft, wide=wide, counted=tuple(counted))


def _wide_of(columns: Sequence[Column], rows: int, times: Times | None, ids: tuple[str, ...]) -> Wide | None:
    if times is None:
        return row_a_series(columns, rows)
    return None if ids or len(times.names) > 1 else column_a_series(columns, times.names[0])


def _keys(data: DataParams, columns: Sequence[Column], times: Times, ids: tuple[str, ...], asked: Asked) -> DataParams:
    """The params with the table's keys; the frequency is not known yet: one second, or 1."""
    numbers = [c.name for c in columns if c.number and c.name not in (*times.names, *ids)]
    target = asked.target or next(iter(numbers), times.names[0])
    id_ = (ids[0] if len(ids) == 1 else ids) if ids else None
    return data.model_copy(update={"id": id_, "target": target, **times.keys})


def _findings(path: str, source: Source, columns: Sequence[Column], asked: Asked) -> Found:
    check_keys(source)
    roles = _roles(path, source, columns, asked)
    target = next(c for c in columns if c.name == roles.target)
    source = replace(source, data=source.data.model_copy(update={"target": roles.target}))
    source, frame, keys = on_its_clock(source, path)
    span = span_of(keys, isinstance(source.data.frequency, int), path)
    grid = _as_shown(grid_of(keys, span, path), source.clock.zone)
    values = some_series(frame, span, path)
    seasons, nature = seasons_of(values, span), nature_of(frame, target, values, path)
    horizon = None if asked.steps is None else Frequency(span).rows_in(asked.steps)
    channels = 6 + min(len(roles.features), MOST_FEATURES)
    sizes, pace = paced(sizes_of(grid, seasons, horizon, path), grid.lengths, seasons, channels)
    name = name_of(Path(path).name.split(".")[0] if not glob.has_magic(path) else Path(path).parent.name)
    csv = source.data.csv
    where = (f"  csv: {csv.written}  # how its text is written",) if csv else ()
    draft = Draft(name, str(source.data.path), roles, grid, seasons, nature, sizes, pace, where)
    nulls = {c.name: c.null_share for c in columns if c.name in (roles.target, *draft.features)}
    return Found(draft, nulls)


def _roles(path: str, source: Source, columns: Sequence[Column], asked: Asked) -> Roles:
    """The roles of all columns; constant ones are found in one pass."""
    data = source.data
    rest = [c for c in columns if c.name not in (*data.ids, *data.times, *KEYS) and c.kind in ("whole", "number", "text")]
    constant: list[str] = []
    if data.ids:
        frame = scan_series(source, [c.name for c in rest], [c.name for c in rest if c.kind == "text"])
        held = frame.collect_schema().names()
        constant = constant_within(frame, [c for c in rest if c.name in held], path)
    series = max((c.distinct for c in columns if c.name in data.ids), default=1)
    return roles_of(columns, constant, asked, series, data, path)


def settled(path: str) -> str:
    """A path that a run file can use from any folder: absolute, or relative to the repository if inside."""
    if (why := no_table(path)) is not None:
        raise UserError(f"{shown(path)}: {why}")
    if address_of(path) is not None:
        return path
    here = Path(path).expanduser()
    whole = here if here.is_absolute() else Path.cwd() / here
    if not (whole.exists() or glob.glob(str(whole), recursive=True)):  # noqa: PTH207 - an absolute pattern
        return path  # find_files reports the problem, or finds it in the repository
    return str(whole.relative_to(ROOT)) if whole.is_relative_to(ROOT) else str(whole)
