"""Looks at a table: its columns, step, gaps and season, and what to forecast."""

import glob
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl

from params.data import DataParams
from params.errors import UserError
from params.shown import visible
from tasks.explore.columns import Column, Roles, columns_of, constant_within, ids_of, roles_of, time_of
from tasks.explore.draft import Sizes, best_season, name_of, run_text, sizes_of
from tasks.explore.rhythm import Grid, grid_of, seasons_of, span_of
from tasks.explore.wide import Form, Wide, column_a_series, melt, row_a_series
from tasks.files import ROOT
from tasks.load.files import collect
from tasks.load.keys import check_keys
from tasks.load.source import KEYS, Source, open_source, scan_series

MELT = "add --melt to write it long and a run file for that"


@dataclass(frozen=True)
class Found:
    """What was found in a table, and the text of its run file.  `melted`: the long table that was written for it."""

    name: str
    roles: Roles
    grid: Grid
    seasons: dict[int, float]
    sizes: Sizes
    nulls: dict[str, float]
    text: str
    wide: Wide | None
    melted: Path | None

    def facts(self) -> list[tuple[str, str]]:
        """What people want to know, as pairs of a word and a sentence."""
        grid, roles, lengths = self.grid, self.roles, self.grid.lengths
        series = f"{len(lengths):,} ({' and '.join(map(visible, roles.ids))})" if roles.ids else "1 (no column names a series)"
        each = f"{lengths[0]:,}" if lengths[0] == lengths[-1] else f"{lengths[0]:,} to {lengths[-1]:,}"
        gaps = f"{grid.missing:,} steps missing in {grid.gappy:,} series, at most {grid.worst_gap_share:.1%} of one"
        others = (
            f"; others: {', '.join(map(visible, roles.targets[1:6]))}"
            if len(roles.targets) > 1
            else "; the only one that may be"
        )
        best = best_season(self.seasons)
        shares = ", ".join(f"{visible(name)} {max(share, 0.001):.1%}" for name, share in self.nulls.items() if share)
        strengths = ", ".join(f"{s} ({v:.2f})" for s, v in self.seasons.items())
        return [
            ("series", f"{series}, {each} steps each"),
            ("rows", f"{grid.rows:,}, {grid.first} to {grid.last}"),
            ("time", f"{visible(roles.time)}, every {grid.span}"),
            ("gaps", gaps if grid.missing else "none"),
            ("nulls", shares or "none"),
            ("season", f"{best} steps (autocorrelation: {strengths})" if self.seasons else "none is clear"),
            ("target", visible(roles.target) + others),
            ("features", ", ".join(("y", *map(visible, roles.features[:8]))) + (" ..." if len(roles.features) > 8 else "")),
            ("windows", f"{self.sizes.lookback} steps of y in, {self.sizes.horizon} out"),
        ]


def look_at(path: str, out: Path, melting: bool) -> Found:
    """Looks at the table at `path` (from the working folder) and writes a run file's text for it.

    With `melting` a wide table is written long next to `out`.  Raises UserError for a table that cannot be forecast as it is.
    """
    try:
        path.encode()
    except UnicodeEncodeError:
        raise UserError(f"{path}: a name that is no UTF-8 cannot stand in a run file; rename it") from None
    source = open_source(DataParams(path=settled(path), time="time", target="y", frequency="1h"))
    columns, rows = columns_of(source.tables)
    time = time_of(columns)
    ids = ids_of(source.tables, columns, rows, time) if time else ()
    wide = _wide_of(columns, rows, time, ids)
    if time is None and wide is None:
        raise UserError(
            f"{path}: no column holds times: write them year first (2013-01-31 18:00), or as whole numbers under a name "
            f"such as ds or step, with none empty (columns found: {', '.join(repr(c.name) for c in columns)[:300]})"
        )
    if melting and wide is None:
        raise UserError(f"{path}: this table is long already: leave --melt out")
    if melting and wide is not None:
        melted = out.with_suffix(".long.parquet")
        melt(source.tables, wide, melted)
        return replace(look_at(str(melted.absolute()), out, False), wide=wide, melted=melted)
    if wide is not None and wide.form is not Form.COLUMN_PER_SERIES:
        raise UserError(f"{path}: {wide.sentence}; {MELT}")
    assert time is not None, "a table without a time was refused above"
    return _found(path, source, columns, time, ids, wide)


def _wide_of(columns: Sequence[Column], rows: int, time: Column | None, ids: tuple[str, ...]) -> Wide | None:
    if time is None:
        return row_a_series(columns, rows)
    if len(ids) == 2:
        return Wide(Form.NAME_IN_TWO_COLUMNS, (time.name, *ids), ())
    return None if ids else column_a_series(columns, time.name)


def _roles(path: str, source: Source, columns: Sequence[Column], time: Column, ids: tuple[str, ...]) -> tuple[Source, Roles]:
    """The source with its columns named (its frequency is not known yet: one second, or 1), and the roles of all columns."""
    numbers = [c.name for c in columns if c.kind in ("whole", "number") and c.name not in (time.name, *ids)]
    step, any_one = 1 if time.kind == "whole" else "1s", next(iter(numbers), time.name)
    where, name = source.data.path, ids[0] if ids else None
    source = replace(source, data=DataParams(path=where, id=name, time=time.name, target=any_one, frequency=step))
    check_keys(source)
    static: list[str] = []
    if ids:
        frame = scan_series(source, [name for name in numbers if name not in KEYS])
        static = constant_within(frame, [name for name in numbers if name in frame.collect_schema().names()], path)
    roles = roles_of(columns, static, time.name, ids, path)
    return replace(source, data=source.data.model_copy(update={"target": roles.target})), roles


def _found(
    path: str, source: Source, columns: Sequence[Column], time: Column, ids: tuple[str, ...], wide: Wide | None
) -> Found:
    source, roles = _roles(path, source, columns, time, ids)
    frame = scan_series(source, [])
    keys = frame.select("unique_id", "ds").sort("unique_id", "ds")
    span = span_of(keys, isinstance(source.data.frequency, int), path)
    grid = grid_of(keys, span, path)
    constant = _has_constant(frame, roles.target, path)
    seasons = seasons_of(frame, span, path)
    sizes = sizes_of(grid, seasons, path)
    name = name_of(Path(path).name.split(".")[0] if not glob.has_magic(path) else Path(path).parent.name)
    text = run_text(name, str(source.data.path), roles, grid, seasons, sizes, constant)
    nulls = {c.name: c.null_share for c in columns if c.name in (roles.target, *roles.features)}
    return Found(name, roles, grid, seasons, sizes, nulls, text, wide, None)


def _has_constant(frame: pl.LazyFrame, target: str, path: str) -> bool:
    """Whether the target never changes in some series.  Raises UserError where some have no value of it at all."""
    value = pl.col("y").cast(pl.Float64, strict=False).fill_nan(None)
    series = collect(frame.group_by("unique_id").agg(n=value.count(), varies=value.max() > value.min()), path)
    empty = series.filter(pl.col("n") == 0)["unique_id"].sort()
    if len(empty):
        raise UserError(f"{path}: {len(empty)} series have no value of {target!r}, such as {empty[0]!r}: remove their rows")
    return not bool(series["varies"].all())


def settled(path: str) -> str:
    """A path of the working folder as the run file names it from any folder: whole, or relative to the repository within it."""
    here = Path(path).expanduser()
    whole = here if here.is_absolute() else Path.cwd() / here
    if not (whole.exists() or glob.glob(str(whole), recursive=True)):  # noqa: PTH207 - an absolute pattern
        return path  # find_files tells what is wrong, or finds it in the repository
    return str(whole.relative_to(ROOT)) if whole.is_relative_to(ROOT) else str(whole)
