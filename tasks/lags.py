"""Panel -> lag table: the windows as columns, for people, checks and tabular models; never what a network trains on."""

from pathlib import Path
from typing import Literal

import polars as pl
from prefect import task
from prefect.cache_policies import NO_CACHE

from models.panel import Panel
from models.windows import OBSERVED, WindowParams
from params.schema import RunParams
from tasks.frequency import Frequency
from tasks.panel import KEYS, panel_frame, write_panel


def lag_table(
    frame: pl.DataFrame, params: WindowParams, frequency: Frequency, edges: Literal["keep", "drop"] = "keep"
) -> pl.DataFrame:
    """The windows of a gridded frame (sorted by unique_id and ds; the observed target or y, features) as columns.

    `ds` is the time of the target of step 1.  Columns, oldest first: `{feature}_lag{k}`, k rows before that target, then
    `y_step1 .. y_step{horizon}`.  keep: n + 1 rows for a series of n rows, the last one step past its end, null where there is
    nothing; drop: only the rows whose window and targets lie wholly within the series.
    """
    target = OBSERVED if OBSERVED in frame.columns else "y"
    past_end = frame.group_by("unique_id", maintain_order=True).agg(
        frequency.shift(pl.col("ds").last(), 1, pl.col("ds").first()).alias("ds")
    )
    size = pl.len().over("unique_id")
    rows = pl.concat([frame, past_end], how="diagonal").sort(KEYS)
    rows = rows.with_columns(pl.int_range(pl.len()).over("unique_id").alias("(row)"), (size - 1).alias("(size)"))
    columns = [
        pl.when(pl.col("(row)") >= k).then(pl.col(name).shift(k)).alias(f"{name}_lag{k}")
        for name, window in params.features.items()
        for k in (params.gap + 1 + window.delay + window.sampling_rate * i for i in reversed(range(window.lookback)))
    ]
    steps = [
        pl.when(pl.col("(row)") + h < pl.col("(size)")).then(pl.col(target).shift(-h)).alias(f"y_step{h + 1}")
        for h in range(params.horizon)
    ]
    table = rows.select(*KEYS, "(row)", "(size)", *columns, *steps)
    if edges == "drop":
        first, ahead = params.reach + params.gap + 1, params.horizon
        table = table.filter((pl.col("(row)") >= first) & (pl.col("(row)") + ahead <= pl.col("(size)")))
    return table.drop("(row)", "(size)")


def head_text(table: pl.DataFrame, rows: int = 10) -> str:
    """The first rows of each series of a lag table as people read it; the middle columns of a wide one are left out.

    Values have the seven digits that 32 bits hold: 39.92, not 39.919998.
    """
    shown = table.group_by("unique_id", maintain_order=True).head(rows)
    shown = shown.with_columns(pl.col(pl.Float32).cast(pl.Float64).round_sig_figs(7))
    with pl.Config(
        tbl_cols=12, tbl_rows=-1, tbl_width_chars=160, tbl_hide_dataframe_shape=True, tbl_hide_column_data_types=True
    ):
        return str(shown)


def lag_head(panel: Panel, params: WindowParams, rows: int = 20) -> pl.DataFrame:
    """The first complete rows of the lag table of the first series."""
    frequency = Frequency(panel.facts["frequency"])
    some = panel_frame(panel).head(min(panel.rows(0).stop, params.reach + params.ahead + rows))
    return lag_table(some, params, frequency, "drop").head(rows)


@task(cache_policy=NO_CACHE)
def generate_lags(frame: pl.LazyFrame, windows: WindowParams, run: RunParams, folder: Path) -> str:
    """Writes the panel of a run (its windows without the features that the checks dropped); returns its folder."""
    return str(write_panel(frame, windows, Frequency(run.data.frequency), run.windows.forward_fill, folder))
