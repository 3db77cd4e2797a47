"""The steps that comparison, first look and search share: check the data, cut windows and splits."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from flows.runtime.lines import to_prefect
from flows.runtime.progress import Board
from flows.runtime.state import ready
from flows.runtime.turns import alone
from models.data.panel import Data
from params.errors import ChecksFailed
from params.load import Plan
from params.schema import RunParams
from tasks import shelf
from tasks.grid.split import folds_of
from tasks.lags.panel import generate_lags
from tasks.lags.sizes import Sizes, sizes_of
from tasks.load.source import LongFrame, Source, history_frame, load_series
from tasks.report.inputs import log_failed_checks
from tasks.tracking import connection, runs
from tasks.train.outside import take_in_all
from tasks.validate.report import failure_message, notes
from tasks.validate.suite import validate_series
from tasks.validate.verdict import Verdict


@dataclass(frozen=True)
class Cut:
    """The long frame, the panel with its windows and splits, and their sizes."""

    frame: LongFrame
    data: Data
    sizes: Sizes


@dataclass(frozen=True)
class Begun:
    """What a flow works with until its end: state folder, board, an empty folder of its own, and the data.

    `experiment`: the id of the run's experiment in MLflow; `verdict`: of the data checks.
    """

    home: Path
    board: Board
    folder: Path
    experiment: str
    source: Source
    verdict: Verdict
    cut: Cut


@contextmanager
def begun(plan: Plan) -> Iterator[Begun]:
    """Checks and cuts the data of a plan; no other flow works on the run meanwhile.  Raises ChecksFailed."""
    home, run = ready(), plan.run
    with Board(log=to_prefect()) as board, tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with board.stage("open the store"):
            connection.connect(home)
            experiment = runs.experiment(run.name, home)
        with board.stage("check the data"):
            source = load_series(run)
            verdict = _checked(run, source, experiment, folder, board)
        with alone(home, run.name, board):
            cut = _cut_windows(plan, source, verdict, home, board)
            yield Begun(home, board, folder, experiment, source, verdict, cut)


def _checked(run: RunParams, source: Source, experiment: str, folder: Path, board: Board) -> Verdict:
    """The verdict of the checks; logged to MLflow if they fail.  Raises ChecksFailed."""
    verdict = validate_series(run, source, folder)
    for line in notes(verdict):  # failures are reported once, at the end
        board.say(f"  {line}")
    if not verdict.passed:
        failed = log_failed_checks(experiment, run, folder)
        raise ChecksFailed(
            f"{failure_message(verdict)}\n"
            f"Nothing was trained; the whole report is in MLflow (run {failed}, checks/checks.html)."
        )
    return verdict


def _cut_windows(plan: Plan, source: Source, verdict: Verdict, home: Path, board: Board) -> Cut:
    """Cuts the windows and reports how many there are and how much memory they take."""
    run = plan.run
    take_in_all(plan, home)
    with board.stage("cut the windows"):
        tail = bool(verdict.facts["to_forecast"][0])
        frame = history_frame(run, source, verdict.dropped_features, verdict.dropped_series, tail)
        windows = run.windows.window_params().without(verdict.dropped_features)
        panel = generate_lags(frame, windows, run, source.frequency, home / "panels")
        shelf.put(home / "panels" / panel.digest)
        *earlier, split = folds_of(run, panel)
        data = Data(panel, panel.widened(windows), split, tuple(earlier))
        sizes = sizes_of(data, run.evaluation.stride, run.training.batch_size)
    for line in sizes.lines():
        board.say(f"  {line}")
    return Cut(frame, data, sizes)
