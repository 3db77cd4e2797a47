"""Forecast: a registered version on a table of one's own, as Parquet."""

from pathlib import Path

from rich.console import Console

from flows.runtime.progress import Board
from params.errors import UserError
from tasks.registry.load import opened
from tasks.registry.versions import needed, parse
from tasks.serve.forecast import check_out, forecast, rows_trained_on, write_out
from tasks.tracking import connection


def show_forecast(
    home: Path, reference: str, data: Path, out: Path, start: str | None, stride: int, judged: bool = False
) -> None:
    """Writes the forecasts of a table and says how many, and by which weights; what stood there before stays where none can be
    made."""
    name, which = parse(reference)
    check_out(out, data)
    if stride != 1 and start is None:
        raise UserError("--stride needs --from: without it there is one forecast a series, after its last row")
    with Board() as board, board.stage(f"forecast with {name}@{which}"), connection.answered():
        connection.connect(home)
        with opened(needed(name, which)) as version:
            made, short = forecast(version, data, start, stride, judged)
            told = f"{out}: {write_out(made, out)} by {version}"
            if version.trained_on.refit:
                told += ", by the weights that have not seen its test range" if judged else ", trained on all its rows"
            seen = 0 if judged else rows_trained_on(version, made)
    console = Console(highlight=False, soft_wrap=True)
    console.print(told, markup=False)
    if short:
        console.print(short, markup=False)
    if seen:
        console.print(
            f"Note: the model was trained on {seen:,} of these {made.height:,} rows, so their errors say nothing of it; "
            "--judged gives honest forecasts of the test range, by the weights that have not seen it.",
            markup=False,
        )
