"""Forecast: a registered version on a table of one's own, by the serving code that travels in its bundle; trains nothing."""

import os
from pathlib import Path

import polars as pl
from rich.console import Console

from flows.progress import Board
from params.errors import UserError
from params.schema import RunParams
from tasks import tracking
from tasks.load import long_frame
from tasks.registry.load import Version, needed, opened, parse
from tasks.reproduce import check_whole
from tasks.source import open_tables


def show_forecast(home: Path, reference: str, data: Path, out: Path, start: str | None, stride: int) -> None:
    """Writes the forecasts of a table as Parquet (beside, then renamed) and says how many."""
    name, which = parse(reference)
    if not out.absolute().parent.is_dir():
        raise UserError(f"--out {out}: there is no folder {out.absolute().parent}; make it first")
    if stride != 1 and start is None:
        raise UserError("--stride needs --from: without it there is one forecast a series, after its last row")
    with Board() as board, board.stage(f"forecast with {name}@{which}"):
        tracking.connect(home)
        with opened(needed(name, which)) as version:
            check_whole(version)
            made = forecast(version, data, start, stride)
    partial = out.with_name(f".{out.name}.{os.getpid()}.partial")
    made.write_parquet(partial)
    os.replace(partial, out)
    cutoffs = made.select("unique_id", "cutoff").unique().height
    told = f"{out}: {made.height:,} rows, {cutoffs:,} forecasts of {made['unique_id'].n_unique():,} series by {version}"
    Console(highlight=False).print(told, markup=False, soft_wrap=True)


def forecast(version: Version, data: Path, start: str | None, stride: int) -> pl.DataFrame:
    """unique_id, cutoff, ds, yhat, yhat-lo-90, yhat-hi-90.  Raises UserError naming what cannot be used."""
    frame = read(version, data)
    whole = isinstance(version.facts["frequency"], int) and start is not None and start.lstrip("-").isdecimal()
    try:
        return pl.from_pandas(version.model().forecast(frame, int(start) if whole and start else start, stride))
    except ValueError as error:
        raise UserError(f"{data}: {error}") from None


def read(version: Version, data: Path) -> pl.DataFrame:
    """The table as the run read its own: the same names, or unique_id, ds and y; text turned to times and numbers."""
    run = RunParams(**version.trained_on["run"])
    own = run.data.model_copy(update={"path": str(data.absolute()), "query": None, "uri": None})
    there = open_tables(own, Path.cwd())[0].columns
    names = {"id": "unique_id", "time": "ds", "target": "y"}
    renamed = {key: name for key, name in names.items() if getattr(own, key) not in there and name in there}
    features = version.facts["windows"]["features"]
    dropped = [name for name in run.windows.features if name not in features]
    run = run.model_copy(update={"data": own.model_copy(update=renamed)})
    return long_frame(run, {"dropped_features": dropped, "dropped_series": []}).collect()
