"""The progress display of a run: its stages, and every fit with its epoch and time left.

On a terminal the current stage and fits update in place, and finished ones scroll up as lines; elsewhere
(a schedule, a log file) there are only lines, with an occasional one for a long stage or fit.  On stderr.
"""

import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from flows.runtime.terminal import guard

if TYPE_CHECKING:
    from models.fit.settings import Result
    from tasks.train.fits import Fit

QUIET, STAGE_QUIET = 60.0, 10.0  # seconds between two lines per fit, and per stage, in a log file
BAR, LEAST_BAR = 24, 6  # cells of a progress bar, and the fewest worth drawing


@dataclass
class Stage:
    """A stage in progress; `advance` reports how far it is."""

    name: str
    board: "Board" = field(repr=False)
    started: float = field(default_factory=time.monotonic)
    said: float = field(default_factory=time.monotonic)
    note: str = ""
    share: float | None = None

    def advance(self, done: int, total: int, what: str = "") -> None:
        """`done` of `total` are done; `what`: the unit, or the current item.  Thread-safe and cheap."""
        now = time.monotonic()
        left = (now - self.started) * (total / done - 1) if done else 0.0
        parts = (f"{done:,} of {total:,}", what, f"about {_time(left)} left" if left >= 1 else "")
        self.note, self.share = ", ".join(filter(None, parts)), done / max(total, 1)
        if now - self.said >= STAGE_QUIET:
            self.said = now
            self.board.note(f"{self.name}: {self.note}")

    def line(self, width: int) -> RenderableType:
        """The stage in one line, or more if it does not fit."""
        seconds = f"{time.monotonic() - self.started:.0f} s"
        text = f"{self.name}: {self.note}, {seconds}" if self.note else f"{self.name} ... {seconds}"
        room = min(BAR, width - len(text) - 4)
        grid = Table.grid(padding=(0, 1))
        cells: list[RenderableType] = [Spinner("dots"), Text(text, overflow="fold")]
        if self.share is not None and room >= LEAST_BAR:
            cells.append(ProgressBar(1.0, self.share, room))
        grid.add_row(*cells)
        return grid


@dataclass
class _Fit:
    """A fit in progress: its last epoch (0: none yet) and the parts of its status line."""

    most: int
    told: float = field(default_factory=time.monotonic)
    epoch: int = 0
    note: dict[str, str] = field(default_factory=dict)


class Board:
    """Stages and fits of one run.  Thread-safe.  `log` receives every line, on a terminal or not."""

    def __init__(self, console: Console | None = None, log: Callable[[str], None] = lambda _: None) -> None:
        # plain lines also in a notebook, where rich would make a block of HTML of each
        self.console, self.log = console or Console(stderr=True, highlight=False, force_jupyter=False), log
        self.seconds: dict[str, float] = {}
        self._lock = threading.RLock()
        self._stages: list[Stage] = []
        self._fits: dict[str, _Fit] = {}  # those in progress
        self._all = 0
        self._naive: Mapping[str, float | None] = {}
        self._live: Live | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    @contextmanager
    def stage(self, name: str) -> Iterator[Stage]:
        """Times a stage and reports its end; yields the stage, to report its progress."""
        stage, started = Stage(name, self), time.perf_counter()
        self._stages.append(stage)
        self.note(f"{name} ...")
        if self.console.is_terminal and self._live is None:
            self._live = Live(console=self.console, get_renderable=self._now, refresh_per_second=4, transient=True)
            self._live.start()
            guard()  # rich wraps the streams, and would interpret escapes in what others print
        try:
            yield stage
        finally:
            self._stages.remove(stage)
            if not self._stages:
                self._stop()
        self.seconds[name] = time.perf_counter() - started
        self.say(f"{name}: done in {self.seconds[name]:.1f} s")

    def say(self, text: str) -> None:
        """Prints one line between the stages."""
        self.console.print(text, markup=False, soft_wrap=True)
        self.log(text)

    def note(self, text: str) -> None:
        """Prints one line for logs: not on a terminal, where the display updates in place."""
        if self.console.is_terminal:
            self.log(text)
        else:
            self.say(text)

    def fits(self, epochs: Mapping[str, int], naive: Mapping[str, float | None] | None = None) -> None:
        """Announces the fits to come: label -> most epochs; `naive`: label -> best naive error."""
        with self._lock:
            self._naive, self._all = naive or {}, len(epochs)
            self._fits = {label: _Fit(most) for label, most in epochs.items()}

    def fit_begins(self, label: str, most: int) -> None:
        """Announces one more fit, of at most `most` epochs."""
        with self._lock:
            self._all += 1
            self._fits[label] = _Fit(most)

    def fit_over(self, label: str, words: str) -> None:
        """A fit has ended; `words` describe its result."""
        with self._lock:
            self._fits.pop(label, None)
        self.say(f"  {label}: {words}")

    def epoch(self, label: str, row: Mapping[str, float]) -> None:
        """A fit has finished an epoch (`epoch` from 0, `train_loss`, `best` val_mae so far, seconds `left`).

        A refit on all rows has no val_mae.  Epochs that arrive after an interruption are not shown.
        """
        with self._lock:
            fit, best = self._fits.get(label), row.get("best", row.get("val_mae"))
            if fit is None:
                return
            fit.epoch = int(row["epoch"]) + 1
            what = "penalty" if "penalty" in row else "epoch"
            fit.note = {"epoch": f"{what} {fit.epoch}/{fit.most}", "loss": f"  loss {row['train_loss']:.3f}"}
            if best is not None:
                fit.note |= {"error": f"  val_mae {best:.3f}", "skill": self._skill(label, best)}
            if "left" in row:
                fit.note["left"] = f"  at most {_time(row['left'])} left"
            due = time.monotonic() - fit.told >= QUIET
            fit.told = time.monotonic() if due else fit.told
        if due:
            self.note(f"  {label}: {''.join(fit.note.values())}")

    def _skill(self, label: str, best: float) -> str:
        """The share of the best naive baseline's error that a fit saves."""
        naive = self._naive.get(label)
        return f" (skill {100 * (1 - best / naive):+.1f} %)" if naive else ""

    def fit_done(self, done: "Fit") -> None:
        """A fit has ended, in success or failure."""
        result = done.result
        if not result.finished:
            note = f"failed: {result.reason}"
        elif result.val_mae is None:
            penalty = next((row["penalty"] for row in result.history if "penalty" in row), None)
            length = f"epochs: {result.best_epoch + 1}" if penalty is None else f"penalty: {penalty:g}"
            length = f", {length}" if result.ended_by == "refit" else ""
            note = self._reused("trained on all rows", f"in {result.train_seconds:.1f} s{length}", done.reused)
        else:
            took = f"in {result.train_seconds:.1f} s, {_end(result)}"
            note = self._reused(f"val_mae {result.val_mae:.3f}{self._skill(done.label, result.val_mae)}", took, done.reused)
        with self._lock:
            self._fits.pop(done.label, None)
        self.say(f"  {done.label}: {note}")

    @staticmethod
    def _reused(error: str, took: str, reused: bool) -> str:
        return f"{error}, taken as it was trained before" if reused else f"{error} {took}"

    def fits_done(self) -> None:
        """No fit is running any more."""
        with self._lock:
            self._fits.clear()

    def _stop(self) -> None:
        live, self._live = self._live, None  # a restarted one would erase what was printed since
        if live is not None:
            sys.stdout.flush()
            sys.stderr.flush()
            live.stop()

    def _now(self) -> RenderableType:
        """The part that updates in place: the stages, the fits that train, and how many have ended."""
        width = self.console.width
        with self._lock:
            training = {label: fit for label, fit in self._fits.items() if fit.epoch}
            lines = [stage.line(width) for stage in self._stages]
            if training:
                lines.append(_table(training, width))
            if self._fits:
                lines.append(Text(f"  {self._all - len(self._fits)} of {self._all} fits have ended"))
        return Group(*lines)


def _end(result: "Result") -> str:
    """What was best in a fit, and what ended it."""
    best = next((row for row in result.history if row["epoch"] == result.best_epoch), None)
    if best is not None and "penalty" in best:
        return f"best penalty {best['penalty']:g}, in {result.ended_by}"
    if result.ended_by == "its members":
        return f"from {result.ended_by}"
    return f"best epoch {result.best_epoch + 1}, ended by {result.ended_by}"


def _table(fits: Mapping[str, _Fit], width: int) -> Table:
    """One line per fit: its whole name, and as much of the rest as fits."""
    names = max(map(len, fits)) + 3
    notes = {label: _shortened(fit.note, width - names) for label, fit in fits.items()}
    room = min(BAR, width - names - max(map(len, notes.values())) - 1)
    grid = Table.grid(padding=(0, 1))
    grid.add_column(no_wrap=True, overflow="fold", min_width=min(names - 1, width))
    for label, fit in fits.items():
        bar = [ProgressBar(fit.most, fit.epoch, room)] if room >= LEAST_BAR else []
        grid.add_row(Text(f"  {label}"), *bar, Text(notes[label], overflow="fold"))
    return grid


def _shortened(note: Mapping[str, str], width: int) -> str:
    """As much of a note as fits into `width` cells."""
    kept = dict(note)
    for name in ("loss", "skill", "left", "error"):  # the least important first
        if len("".join(kept.values())) > width:
            kept.pop(name, None)
    return "".join(kept.values())


def _time(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
