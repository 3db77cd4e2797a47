"""The lag table: the windows of a panel as columns, for people, checks and tabular models."""

from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

import polars as pl

from models.data.panel import Panel
from models.data.window import AHEAD, WindowParams
from params.errors import UserError
from params.shown import visible
from tasks.lags.panel import KEYS
from tasks.lags.rows import Source, lay_out, statics, table_rows
from tasks.names import apart

Edges = Literal["keep", "drop"]


class Lag(NamedTuple):
    """A column of the table: a source shifted back by `back` rows (ahead if negative)."""

    name: str
    source: str
    back: int


def lag_table(panel: Panel, params: WindowParams, edges: Edges = "keep", rolling: Sequence[int] = ()) -> pl.DataFrame:
    """The windows of a panel as columns.

    `ds` is the time of the target of step 1; k counts rows before it.  Columns: `{feature}_lag{k}`, oldest
    first; `{feature}_mean{w}`, the mean of the w newest known values, for each w of `rolling`; covariates
    known ahead, as `{name}_lag{k}` in the gap and `{name}_step{h}` at the targets; the calendar at `ds`;
    static covariates; `y_step1 .. y_step{horizon}` as observed.  Null: missing or outside the series. keep: n
    + 1 rows for a series of n rows, the last one step past its end; drop: only rows whose window, means and
    targets are entirely inside.  Every row of the grid is here, whatever `stride`, `start_index`, `end_index`
    and `max_missing_share`, which choose windows.
    """
    return table_part(panel, params, edges, rolling, 0, table_rows(panel))


def table_part(panel: Panel, params: WindowParams, edges: Edges, rolling: Sequence[int], start: int, stop: int) -> pl.DataFrame:
    """Rows start .. stop of the lag table (as with edges kept); reads only the panel's rows that they need.

    On whole columns a shift is a view and a mask one bit per row, so the memory overhead is small.
    """
    lags, first, (back, ahead) = list(_lags(params, rolling)), first_whole_row(params, rolling), table_reach(params, rolling)
    check_names(params, rolling)
    sources = _sources(panel, params, rolling)
    frame = lay_out(panel, sources, params.calendar, start - back, stop + ahead, max(back, ahead, first))
    targets = len(lags) - params.horizon
    waves = (pl.col(f"wave {name}").alias(name) for name in params.waves)
    constant = (pl.col(f"static {name}").alias(name) for name in statics(panel))
    shown = [*map(pl.col, KEYS), *_shifted(frame, lags[:targets]), *waves, *constant, *_shifted(frame, lags[targets:])]
    table = frame.select(shown).slice(back, stop - start)
    if edges == "keep":
        return table
    row = pl.col("row")
    within = frame.select((row >= first) & (row.shift(-ahead) >= ahead)).to_series()
    return table.filter(within.slice(back, stop - start))


def table_reach(params: WindowParams, rolling: Sequence[int]) -> tuple[int, int]:
    """How many rows before and after a row of the table are needed for it."""
    return max(lag.back for lag in _lags(params, rolling)), params.horizon


def first_whole_row(params: WindowParams, rolling: Sequence[int]) -> int:
    """The first row of a series whose window and means are inside it."""
    reach = [max(window.reach, window.delay + max(rolling, default=1) - 1) for window in params.features.values()]
    return params.gap + 1 + max(reach)


def _lags(params: WindowParams, rolling: Sequence[int]) -> Iterator[Lag]:
    """Every shifted column in order, targets last."""
    for name, window in params.features.items():
        newest = params.gap + 1 + window.delay
        for k in range(newest + window.sampling_rate * (window.lookback - 1), newest - 1, -window.sampling_rate):
            yield Lag(f"{name}_lag{k}", f"past {name}", k)
    for name, window in params.features.items():
        for w in dict.fromkeys(rolling):
            yield Lag(f"{name}_mean{w}", f"mean{w} {name}", params.gap + 1 + window.delay)
    for name in params.future:
        yield from (Lag(f"{name}_lag{k}", f"ahead {name}", k) for k in range(params.gap, 0, -1))
        yield from (Lag(f"{name}_step{h}", f"ahead {name}", 1 - h) for h in range(1, params.horizon + 1))
    yield from (Lag(f"y_step{h}", "target y", 1 - h) for h in range(1, params.horizon + 1))


def _sources(panel: Panel, params: WindowParams, rolling: Sequence[int]) -> dict[str, Source]:
    """The columns to shift, by their names in `lay_out`: a word of ours before the name."""
    past = {f"past {name}": Source(panel.column(name)) for name in params.features}
    means = {f"mean{w} {name}": Source(panel.column(name), w) for name in params.features for w in rolling}
    ahead = {f"ahead {name}": Source(panel.column(name + AHEAD), ends=True) for name in params.future}
    return past | means | ahead | {"target y": Source(None, ends=True)}


def _shifted(frame: pl.DataFrame, lags: Sequence[Lag]) -> Iterator[pl.Expr]:
    """The columns of the table: a shifted column, null where the shift left the series.

    Sources without missing values share one mask per lag.
    """
    gapless = {lag.source for lag in lags if not frame[lag.source].null_count()}
    masks = {lag.back: frame["row"] >= lag.back for lag in lags if lag.source in gapless and lag.back > 0}
    row = pl.col("row")
    for name, source, back in lags:
        moved = pl.col(source).shift(back)
        if back > 0:
            moved = pl.when(pl.lit(masks[back]) if source in gapless else row >= back).then(moved)
        elif back < 0:
            moved = pl.when(row.shift(back) >= -back).then(moved)
        yield moved.alias(name)


def check_names(params: WindowParams, rolling: Sequence[int]) -> None:
    """Raises UserError for a static covariate named like a lag or calendar column.

    No other names can collide: the suffixes of `{feature}_lag{k}` and the like are ours.
    """
    for name in {lag.name for lag in _lags(params, rolling)}.union(KEYS, params.waves) & {*params.static} - {"unique_id"}:
        raise UserError(f"windows.static: {name!r} is also the name of a column of lags: rename it in the table")


def lag_head(
    panel: Panel, params: WindowParams, edges: Edges = "drop", rolling: Sequence[int] = (), rows: int = 20, series: int = 1
) -> pl.DataFrame:
    """The first rows of the lag table for each of the first series; reads only these."""
    skip = first_whole_row(params, rolling) if edges == "drop" else 0
    parts = []
    for number in range(min(series, len(panel.ids))):
        begin, end = (int(panel.offsets[number + i]) + number + i for i in (0, 1))
        start = min(begin + skip, end)
        parts.append(table_part(panel, params, edges, rolling, start, min(start + rows, end)))
    return pl.concat(parts)


def head_text(table: pl.DataFrame, clock: str | None = None) -> str:
    """Rows of a lag table for people; omits the middle columns of a wide table.

    `clock`: the zone of its times, which are then shown without one.  Values are rounded to the seven digits
    of 32 bits: 39.92, not 39.919998.
    """
    rounded = table.with_columns(pl.col(pl.Float32).cast(pl.Float64).round_sig_figs(7))
    if clock is not None:
        rounded = rounded.with_columns(pl.col("ds").dt.replace_time_zone(None))
    shown = rounded.with_columns(pl.col(pl.String).map_elements(visible, pl.String))
    names: list[str] = []
    for name in table.columns:
        names.append(apart(visible(name), names))
    shown.columns = names
    with pl.Config(
        tbl_cols=12, tbl_rows=-1, tbl_width_chars=160, tbl_hide_dataframe_shape=True, tbl_hide_column_data_types=True
    ):
        return str(shown)


def first_series(frame: pl.LazyFrame, count: int) -> pl.LazyFrame:
    """The rows of the first series of a long frame, by name."""
    names = frame.select(pl.col("unique_id").unique().sort().head(count)).collect(engine="streaming")
    return frame.filter(pl.col("unique_id").is_in(names["unique_id"].to_list()))
