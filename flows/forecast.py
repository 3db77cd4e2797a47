"""Forecast: a registered version on a table of one's own, as Parquet; trains nothing."""

from pathlib import Path

from rich.console import Console

from flows.progress import Board
from params.errors import UserError
from tasks import tracking
from tasks.forecast import forecast, write
from tasks.registry.load import needed, opened, parse
from tasks.reproduce import check_whole


def show_forecast(home: Path, reference: str, data: Path, out: Path, start: str | None, stride: int) -> None:
    """Writes the forecasts of a table and says how many; what stood there before stays where none can be made."""
    name, which = parse(reference)
    if not out.absolute().parent.is_dir():
        raise UserError(f"--out {out}: there is no folder {out.absolute().parent}; make it first")
    if stride != 1 and start is None:
        raise UserError("--stride needs --from: without it there is one forecast a series, after its last row")
    with Board() as board, board.stage(f"forecast with {name}@{which}"):
        tracking.connect(home)
        with opened(needed(name, which)) as version:
            check_whole(version)
            told = f"{out}: {write(forecast(version, data, start, stride), out)} by {version}"
    Console(highlight=False).print(told, markup=False, soft_wrap=True)
