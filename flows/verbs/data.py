"""The verbs validate and lags: the report of the data checks, and the windows as a table."""

from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rich.console import Console

from flows.runtime.progress import Board
from models.data.panel import Panel
from models.data.window import WindowParams
from params.errors import ChecksFailed
from params.schema import RunParams
from tasks.files import TABLES, require_writable
from tasks.lags.file import write_lag_table
from tasks.lags.panel import write_panel
from tasks.lags.table import check_names, first_series, head_text, lag_head
from tasks.load.source import history_frame, open_source
from tasks.validate.report import failure_message, report_lines, report_table
from tasks.validate.suite import validate

HEADS = 10  # series whose first rows are printed


def show_checks(run: RunParams) -> None:
    """Prints the report of the data checks.  Raises ChecksFailed if they fail."""
    with Board() as board, board.stage("check the data"):
        verdict = validate(run, open_source(run.data))
    console = Console()
    console.print(report_table(verdict))
    for line in report_lines(verdict):
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    if not verdict.passed:
        raise ChecksFailed("the data checks failed")


@dataclass(frozen=True)
class LagCut:
    """The panel that a lag table is cut from, its windows, the zone of its clock, and how many series it may show."""

    panel: Panel
    windows: WindowParams
    clock: str | None
    series: int


def cut_for_lags(run: RunParams, panels: Path, look: bool, most: int | None = None) -> LagCut:
    """Checks the table of a run and writes its panel, of the first `most` series alone, into a folder.

    The windows are those of compare.  The table's own checks run first, and what they drop is dropped here
    too; nothing is trained, so no series is too short.  `look`: see `judge`.  Raises ChecksFailed if they fail.
    """
    board = Board()
    with board, board.stage("check the data"):
        source = open_source(run.data)
        verdict = validate(run, source, look=look, table_alone=True)
    if not verdict.passed:
        raise ChecksFailed(failure_message(verdict))
    for line in report_lines(verdict):
        board.say(line)
    tail = bool(verdict.facts["to_forecast"][0])
    frame = history_frame(run, source, verdict.dropped_features, verdict.dropped_series, tail)
    windows, frequency = run.windows.window_params().without(verdict.dropped_features), source.frequency
    windows = replace(windows, start_padding=0)  # the table's rows are those of the data
    with board, board.stage("write the panel"):
        some = frame if most is None else first_series(frame, most)
        panel = Panel.open(write_panel(some, windows, frequency, run.windows.forward_fill, panels))
    return LagCut(panel, windows, frequency.clock, verdict.facts["series"] - len(verdict.dropped_series))


def show_lags(home: Path, run: RunParams, out: Path | None, head: bool, edges: Any, rolling: tuple[int, ...]) -> None:
    """Prints the first rows of the lag table for some series, or writes the whole in bounded memory."""
    if out is not None:
        require_writable("--out", out, TABLES)
    check_names(run.windows.window_params(), rolling)
    board = Board()
    with TemporaryDirectory(prefix=".lags-", dir=home) as scratch:  # for a head: only series shown
        panels, most = (Path(scratch), HEADS) if out is None else (home / "panels", None)
        cut = cut_for_lags(run, panels, out is None, most)
        if head:
            print(head_text(lag_head(cut.panel, cut.windows, edges, rolling, rows=10, series=HEADS), cut.clock))
            if cut.series > HEADS:
                board.say(f"... and {cut.series - HEADS:,} more series")
        if out is not None:
            with board, board.stage("write the rows") as stage:
                written = write_lag_table(cut.panel, cut.windows, out, edges, rolling, report=stage.advance)
            board.say(f"{out}: {written.rows:,} rows, {written.columns} columns")
