"""The verb forecast: applies a registered version to a user's table, in that table's own columns."""

from pathlib import Path

from rich.console import Console

from flows.runtime.progress import Board
from params.errors import UserError
from tasks.registry.admitted import admit
from tasks.registry.load import opened
from tasks.registry.versions import needed, parse
from tasks.serve.forecast import Asked, check_out, counted, forecast, rows_trained_on, write_out
from tasks.serve.given import in_columns_of
from tasks.serve.plot import draw
from tasks.tracking import connection


def show_forecast(home: Path, reference: str, data: str, out: Path, asked: Asked) -> None:
    """Writes the forecasts of a table and says how many, and by which weights.
    An existing file stays if no forecast can be made."""
    name, which = parse(reference)
    for table in (data, *([asked.future] if asked.future else [])):
        check_out(out, table)
    if asked.stride != 1 and asked.start is None:
        raise UserError("--stride needs --from: without it there is one forecast per series, after its last row")
    if asked.series is not None and asked.plot is None:
        raise UserError("--series says what --plot shows: give --plot forecasts.html, or leave it out")
    with Board() as board, board.stage(f"forecast with {name}@{which}"), connection.answered():
        connection.connect(home)
        with opened(needed(name, which)) as version:
            admit(version, home)
            forecasts = forecast(version, data, asked)
            returned = in_columns_of(forecasts.given, forecasts.made, out, asked.nixtla)
            write_out(returned.rows, out)
            drawn = None if asked.plot is None else f"{asked.plot}: {draw(forecasts, version, asked.plot, asked.series)}"
            summary = f"{out}: {counted(forecasts.made)} by {version}"
            if version.trained_on.refit:
                summary += ", by the weights that have not seen its test range" if asked.judged else ", trained on all its rows"
            seen = 0 if asked.judged else rows_trained_on(version, forecasts.made)
    note = (
        f"Note: the model was trained on {seen:,} of these {forecasts.made.height:,} rows, so their errors say nothing of it; "
        "--judged gives honest forecasts of the test range, by the weights that have not seen it."
    )
    console = Console(highlight=False, soft_wrap=True)
    for line in filter(None, (summary, drawn, returned.renamed, *forecasts.notes, note if seen else None)):
        console.print(line, markup=False)
